"""Writes the files that a page prints, and runs its commands and its applications."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.docs.markdown import ROOT, blocks


@dataclass
class Guide:
    """A page, and the folder in which its files are written."""

    name: str
    place: Path
    environment: dict[str, str]

    @property
    def _text(self) -> str:
        return (ROOT / "docs" / "guides" / f"{self.name}.md").read_text(encoding="utf-8")

    def files(self) -> dict[str, str]:
        """Return the files of the page by their names, which are their first lines."""
        found = {}
        for block in blocks(self._text):
            if block.language == "python":
                first, _, _ = block.text.partition("\n")
                assert first.startswith("# "), first
                found[first.removeprefix("# ")] = block.text
        return found

    def commands(self) -> list[str]:
        """Return the blocks of commands, in their order."""
        return [block.text for block in blocks(self._text) if block.language == "sh"]

    def write(self) -> None:
        """Write every file of the page whose folder is there.

        None is named as an installed package: whoever follows the page would shadow that package, or import it.
        """
        for name, text in self.files().items():
            assert importlib.util.find_spec(name.partition("/")[0].removesuffix(".py")) is None, name
            if (self.place / name).parent.is_dir():
                (self.place / name).write_text(text, encoding="utf-8")

    def run(self, commands: str) -> str:
        """Run commands as printed, in the folder, with the programs of this environment; return what they print."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **self.environment, "PATH": path, "PYTHONPATH": str(self.place)}
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=self.place, env=environment, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def imported(self, name: str) -> Iterator[ModuleType]:
        """Import a module of the page; it is forgotten at the end, with all others of the page."""
        before = {key: os.environ.get(key) for key in self.environment}
        os.environ.update(self.environment)
        sys.path.insert(0, str(self.place))
        try:
            yield importlib.import_module(name)
        finally:
            sys.path.remove(str(self.place))
            for module in [key for key, value in sys.modules.items() if self._is_ours(value)]:
                del sys.modules[module]
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value

    def _is_ours(self, module: ModuleType) -> bool:
        return str(getattr(module, "__file__", None) or "").startswith(str(self.place))
