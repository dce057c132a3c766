"""The command line, called in this process, on an installation of its own."""

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limen.cli import main

PASSWORD = "a long enough pass phrase"


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        return json.loads(self.err)


Run = Callable[..., Done]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings but the cheapest allowed hash, in an empty working directory."""
    for name in [name for name in os.environ if name.startswith("LIMEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LIMEN_BCRYPT_COST", "10")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(clean_environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call ``limen`` with arguments and what stands on its standard input."""

    def call(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(int(code), captured.out, captured.err)

    return call


@pytest.fixture
def installation(run: Run, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An initialised installation that the environment names; its folder."""
    assert run("init").code == 0
    monkeypatch.setenv("LIMEN_ENV_FILE", str(clean_environment / ".env"))
    return clean_environment
