"""Requirements that are about what the code does not do, asked of the code itself."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# What opens a connection to somewhere else.
CLIENTS = {
    "aiohttp", "ftplib", "http.client", "httpx", "httpx2", "imaplib", "poplib", "requests", "smtplib", "telnetlib",
    "urllib.request", "urllib3", "websockets", "xmlrpc",
}  # fmt: skip
# The one way out: bounded in time, size and the addresses that are called.
CALLS_OUT = {"authn/outbound.py"}
# Predictable, or made from the time and the machine (ASVS 5.0, 11.5.1).
PREDICTABLE = {"random", "uuid.uuid1", "uuid.uuid6", "numpy.random"}
SECRET_NAMES = re.compile(r"hash|digest|secret|tag|signature|mac|checksum|password", re.IGNORECASE)
# Compared by ==, and why nobody learns anything from the time it takes.
COMPARED_PLAINLY = {
    # Settings held against each other at start, by the operator who wrote both.
    ("settings/model.py", "secret == info.data.get('jwt_access_secret')"),
    ("settings/model.py", "secret != current"),
    ("settings/model.py", "info.data.get('data_secrets') == ()"),
    # Both came in one request, from whoever knows both.
    ("features/accounts/service.py", "accepted == check_presented_password(temporary)"),
    # One column, read twice.
    ("features/accounts/service.py", "found.password_hash != stored"),
    # What a payload comes to is no secret: it is told to whoever decides, to say which one they saw.
    ("features/approvals/payloads.py", "sha256(text.encode()).digest() == digest"),
    # The kind of a credential in a file that is imported, and the names of an ASGI application's parameters.
    ("features/accounts/foreign.py", "each.get('type') == 'password'"),
    ("checklist/importing.py", "list(inspect.signature(function).parameters)[:3] == ['scope', 'receive', 'send']"),
    # Names of functions, in source text that is read.
    ("checklist/routes/taking.py", "called.name == 'get_secret_value'"),
    ("checklist/source/logs.py", "name != 'get_secret_value'"),
    ("checklist/source/passwords.py", "name == 'compare_digest'"),
    ("checklist/source/passwords.py", "name == 'generate_password_hash'"),
    ("checklist/source/passwords.py", "name == 'hashlib.pbkdf2_hmac'"),
    ("storage/sql/approvals.py", "(digest, version, quorum) == (new.digest, new.version, new.quorum)"),
}
# The first looks at the operator's own secret at start; the others are tests that ship.
NOT_ASKED = ("settings/secret_strength.py", "testing/")

# A length, or the name of a setting.
HARMLESS = re.compile(r"len\(|field_name")

PRIVATE = (
    re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{20,}"),
    re.compile(r"^LIMEN_JWT_(?:ACCESS|REFRESH)_SECRET=['\"]?[A-Za-z0-9_-]{32,}", re.MULTILINE),
)


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every module and every name that is imported, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(tree: ast.AST) -> Iterator[str]:
    """Yield what is written as module.name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def uses(source: str, names: set[str]) -> set[str]:
    """Return which of the modules and names a source uses."""
    tree = ast.parse(source)
    found = {*imported(tree), *attributes(tree)}
    return {name for name in names if any(each == name or each.startswith(f"{name}.") for each in found)}


def plain_comparisons(source: str) -> set[str]:
    """Return the comparisons by == and != that have something on a side that is named like a secret."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(SECRET_NAMES.search(side) for side in sides) and not any(HARMLESS.search(side) for side in sides):
                found.add(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "limen")))
def test_nothing_calls_out_and_nothing_is_predictable(path: Path) -> None:
    """No module can open a connection for a token's sake, and none has numbers that somebody can foretell."""
    source = path.read_text(encoding="utf-8")
    if path.relative_to(ROOT / "src" / "limen").as_posix() not in CALLS_OUT:
        assert not uses(source, CLIENTS)
    assert not uses(source, PREDICTABLE)


def test_the_search_finds_what_it_looks_for() -> None:
    """Each way to write it is seen, and a name that only begins alike is not."""
    assert uses("import urllib.request", CLIENTS) == {"urllib.request"}
    assert uses("from urllib import request", CLIENTS) == {"urllib.request"}
    assert uses("from http.client import HTTPConnection", CLIENTS) == {"http.client"}
    assert uses("import random", PREDICTABLE) == {"random"}
    assert uses("import uuid\nuuid.uuid1()", PREDICTABLE) == {"uuid.uuid1"}
    assert not uses("from urllib.parse import urlsplit\nimport randomness", CLIENTS | PREDICTABLE)
    assert plain_comparisons("if presented_hash == stored: pass") == {"presented_hash == stored"}
    assert not plain_comparisons("if len(secret) != 32: pass")


def test_secrets_are_compared_in_constant_time() -> None:
    """No secret, tag or hash is compared by ==, but for those that are listed here with the reason."""
    found = {
        (path.relative_to(ROOT / "src" / "limen").as_posix(), comparison)
        for path in SOURCES
        for comparison in plain_comparisons(path.read_text(encoding="utf-8"))
        if not path.relative_to(ROOT / "src" / "limen").as_posix().startswith(NOT_ASKED)
    }
    assert found == COMPARED_PLAINLY
    constant = [path for path in SOURCES if "compare_digest" in path.read_text(encoding="utf-8")]
    assert {"keys.py", "passwords.py", "issuing.py"} <= {path.name for path in constant}


def tracked() -> list[Path]:
    """Return the files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_the_repository_holds_no_secret() -> None:
    """No tracked file holds a private key, a token of a known service, or a secret that limen would take."""
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {pattern.pattern}" for pattern in PRIVATE if pattern.search(text)]
    assert not found


def test_a_secret_would_be_found() -> None:
    """The patterns match what they are for: a key in PEM, and a settings file that somebody committed."""
    key = "-----BEGIN PRIVATE " + "KEY-----\n" + "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
    setting = "LIMEN_JWT_ACCESS_" + "SECRET=" + "k" * 40
    assert PRIVATE[0].search(key)
    assert PRIVATE[4].search(setting)


@pytest.mark.parametrize("path", ["var/limen.db", "var/demo.env", ".venv/bin/python"])
def test_what_runs_leave_is_not_tracked(path: str) -> None:
    """The demo's secrets and databases are ignored by git."""
    assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0


def test_no_settings_file_is_tracked() -> None:
    """Neither the file that `limen init` writes nor those of the demo are among the tracked ones."""
    names = {path.name for path in tracked()}
    assert not names & {".env", "demo.env", "demo-accounts.json"}
