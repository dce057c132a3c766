"""What type checkers see: `typing/right.py` is clean and `typing/wrong.py` is not, which mypy proves in `make lint`.

Here both are run: what is right works, and what is wrong is refused without a type checker, too.
"""

import ast
import inspect
from pathlib import Path

import pytest

from limen.core.errors import ConfigurationError
from tests.policies.typing import right, wrong

SOURCE = Path(inspect.getfile(wrong)).read_text("utf-8")
LINES = {
    ast.unparse(line): line
    for function in ast.parse(SOURCE).body
    if isinstance(function, ast.FunctionDef)
    for line in function.body[1:]
}


def test_what_is_right_works() -> None:
    """The policies that type checkers understand are declared, too."""
    assert [rule.id for rule in right.POLICIES.rules] == ["own", "paid", "closed"]
    assert repr(right.own("maker_id")).startswith("<condition (Order.maker_id == subject.id) & (context.now > ")


@pytest.mark.parametrize("line", LINES)
def test_what_is_wrong_is_refused_when_it_runs(line: str) -> None:
    """Nobody needs a type checker to be safe: each line raises."""
    code = compile(ast.Module([LINES[line]], []), "wrong.py", "exec")
    with pytest.raises((ConfigurationError, TypeError, AttributeError)):
        exec(code, dict(vars(wrong)))  # noqa: S102 - lines of the tests' own file


def test_each_wrong_line_is_known_to_mypy() -> None:
    """Every line says which error it is; `make lint` fails where mypy does not find it there."""
    lines = [line for line in SOURCE.splitlines() if line.startswith("    ") and not line.startswith('    """')]
    assert len(lines) == len(LINES)
    assert all("# type: ignore[" in line for line in lines)
