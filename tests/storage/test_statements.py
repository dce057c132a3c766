"""What the statements of the stores may look like, read from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import limen.storage.sql
from limen.crypto.keys import key_id
from limen.storage.sql.issuing import _OPEN, _ROTATE
from limen.storage.sql.seeding import KID, Pattern, _made
from limen.storage.sql.statement import Statement

SQL = Path(limen.storage.sql.__file__).parent
PACKAGE = SQL.parents[1]

MAKES_A_SESSION = re.compile(r"\b(insert|replace)\b[^;]*\binto\s+limen_sessions\b", re.IGNORECASE)
COPIES_A_SESSION = re.compile(r"\s*limen_sessions\s*\Z", re.IGNORECASE)
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
    """The INSERT of a session and the UPDATE of its secret stand in `issuing` and nowhere else in the package.

    But for the seeding of test data, whose sessions are rows without a token: see the next test.
    """
    places: dict[str, set[str]] = {"makes": set(), "sets": set()}
    # PostgreSQL's COPY is a method with the table's name.
    copying = {name for name, tree in _modules() if "copy_records_to_table" in ast.dump(tree)}
    for name, tree in _modules():
        for _, text in _texts(tree):
            if MAKES_A_SESSION.search(text) or (name in copying and COPIES_A_SESSION.match(text)):
                places["makes"].add(name)
            if SETS_A_SECRET.search(text):
                places["sets"].add(name)
    assert places == {
        "makes": {"storage/sql/issuing.py", "storage/sql/seeding.py"},
        # What Valkey has moved on, by scripts that ask the same, is written down in the row.
        "sets": {"storage/sql/issuing.py", "storage/valkey/rows.py"},
    }
    assert MAKES_A_SESSION.search(_OPEN.sqlite)
    assert SETS_A_SECRET.search(_ROTATE.sqlite)


def test_a_seeded_session_has_no_token() -> None:
    """Seeding knows no secret: it reaches nothing that hashes, derives or signs, and its bytes are random ones."""
    for name in ("storage/sql/seeding.py", "cli/seed.py"):
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        imports |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        # The one hash is that of the accounts' password.
        wrong = {each for each in imports if re.match(r"hashlib|hmac|limen\.(crypto(?!\.passwords)|authn)\b", each)}
        assert not wrong, name
    made = _made(["a", "b"], 300, Pattern("hash", (), "client", 1_000, 2_000))[2]
    hashes = {row[5] for row in made}
    assert len(hashes) == 300
    assert {len(each) for each in hashes} == {32}
    # No key has this id, so a process asked to state such a session's token again has nothing to derive it with.
    assert {row[6] for row in made} == {KID}
    assert len(KID) != len(key_id(b"k" * 32))


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
