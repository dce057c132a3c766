import ast
import importlib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "orders"
PUBLIC = {"limen", "limen.consumers", "limen.fastapi"}


def imports(file: Path) -> list[tuple[str, str]]:
    """Return module and name of everything a file imports, by absolute or relative name."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(module, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("file", sorted(EXAMPLE.glob("*.py")), ids=lambda file: file.name)
def test_the_example_uses_public_names_only(file: Path) -> None:
    """What the example imports of limen is listed in ``__all__`` of a public module."""
    for module, name in imports(file):
        if module.partition(".")[0] == "limen":
            assert module in PUBLIC
            assert name in importlib.import_module(module).__all__


def test_the_example_does_use_limen() -> None:
    """The check above is not empty: the example imports from each of the doors."""
    used = {module for file in EXAMPLE.glob("*.py") for module, _ in imports(file)}
    assert used >= PUBLIC


def test_the_example_does_not_know_under_which_name_it_is() -> None:
    """It imports its own modules relatively, and goes up no further: the wheel carries it under another name."""
    for file in EXAMPLE.glob("*.py"):
        for module, _ in imports(file):
            assert not module.startswith(("..", "examples", "orders"))
