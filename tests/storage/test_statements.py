"""What the statements of the stores may look like, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import limen.storage.sql
from limen.storage.sql.issuing import _OPEN, _ROTATE
from limen.storage.sql.statement import Statement

SQL = Path(limen.storage.sql.__file__).parent
PACKAGE = SQL.parents[1]

MAKES_A_SESSION = re.compile(r"\b(insert|replace)\b[^;]*\binto\s+limen_sessions\b", re.IGNORECASE)
SETS_A_SECRET = re.compile(r"\bupdate\s+limen_sessions\b[^;]*\b(token_hash|parent_hash|nonce)\s*=\s*:", re.IGNORECASE)
STATEMENT = re.compile(r"^\s*(select|insert|update|delete|replace|with)\b|\bpragma\b", re.IGNORECASE)


def _texts(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every text of a module with its node; of an f-string, what stands between its braces is left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value for part in node.values if isinstance(part, ast.Constant))
            yield node, " ".join(str(part) for part in parts)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def test_sessions_are_made_in_one_place() -> None:
    """The INSERT of a session and the UPDATE of its secret stand in `issuing` and nowhere else in the package."""
    places: dict[str, set[str]] = {"makes": set(), "sets": set()}
    for name, tree in _modules():
        for _, text in _texts(tree):
            if MAKES_A_SESSION.search(text):
                places["makes"].add(name)
            if SETS_A_SECRET.search(text):
                places["sets"].add(name)
    assert places == {"makes": {"storage/sql/issuing.py"}, "sets": {"storage/sql/issuing.py"}}
    assert MAKES_A_SESSION.search(_OPEN.sqlite)
    assert SETS_A_SECRET.search(_ROTATE.sqlite)


def test_both_ask_the_account_in_the_statement_itself() -> None:
    """Active, and of the epoch: conditions of the INSERT and the UPDATE, since what is read before may be old."""
    for statement in (_OPEN.sqlite, _ROTATE.sqlite, _OPEN.postgres, _ROTATE.postgres):
        assert re.search(r"\bstatus = 'active'", statement)
        assert re.search(r"\bsession_epoch = (:epoch|\$\d+|(limen_sessions|s)\.account_epoch)", statement)
        assert "RETURNING" in statement
    assert "FOR SHARE" in _OPEN.postgres


def test_only_a_parameter_is_taken_for_one() -> None:
    """Neither a cast nor a permission in a text becomes a number: ``'roles:assign'`` stays what it is."""
    statement = Statement("SELECT x::bigint FROM t WHERE p = 'roles:assign' AND a = :one AND b = (:two) AND c=:one")
    assert statement.postgres == "SELECT x::bigint FROM t WHERE p = 'roles:assign' AND a = $1 AND b = ($2) AND c=$1"


def test_no_value_is_written_into_a_statement() -> None:
    """Statements are put together from constants of their module: within a function none is formatted."""
    found = 0
    for name, tree in _modules():
        if not name.startswith("storage/"):
            continue
        functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        for function in functions:
            for node, text in _texts(function):
                if STATEMENT.search(text):
                    found += 1
                    assert isinstance(node, ast.Constant), f"{name}:{function.lineno}"
            for node in ast.walk(function):
                if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
                    sides = [side.value for side in (node.left, node.right) if isinstance(side, ast.Constant)]
                    assert not any(STATEMENT.search(str(side)) for side in sides), f"{name}:{node.lineno}"
    assert found > 5
