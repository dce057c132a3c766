import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PASSWORD, Done, Run


def standing(done: Done, check: str) -> list[str]:
    """Return how the findings of a check stand."""
    findings: list[dict[str, Any]] = done.json["findings"]
    return [finding["standing"] for finding in findings if finding["check"] == check]


@pytest.fixture
def used(run: Run, installation: Path) -> Path:
    """An installation with a database; its folder."""
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    return installation


@pytest.mark.usefixtures("used")
def test_a_healthy_installation_is_0(run: Run) -> None:
    """Nothing fails where all is well: 0, and the database, its schema and its file are ok."""
    done = run("doctor", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    for check in ("settings", "secrets", "database", "database file", "schema", "clock", "passwords", "versions"):
        assert standing(done, check) == ["ok"], check


def test_changes_nothing(run: Run, installation: Path) -> None:
    """A database that is not there yet is told and not made."""
    done = run("doctor", "--json")
    assert done.code == 0
    assert standing(done, "database") == ["warn"]
    assert not (installation / "limen.db").exists()


def test_settings_that_do_not_hold_are_findings(run: Run) -> None:
    """Unusable settings are findings that fail: 1, not 3, since to find them is what was asked for."""
    done = run("doctor", "--json")
    assert done.code == 1
    assert standing(done, "settings") == ["fail", "fail", "fail"]


def test_a_database_others_can_open_fails(run: Run, used: Path) -> None:
    """A database that group or others can open holds password hashes: it fails, with the line that closes it."""
    (used / "limen.db").chmod(0o644)
    done = run("doctor", "--json")
    assert (done.code, standing(done, "database file")) == (1, ["fail"])
    assert "chmod 600" in done.out


def test_a_newer_schema_fails(run: Run, used: Path) -> None:
    """A database of a newer limen fails, unless its schema says that this version works with it."""
    with sqlite3.connect(used / "limen.db") as connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
    assert standing(run("doctor", "--json"), "schema") == ["ok"]
    with connection:
        connection.execute("DELETE FROM limen_schema_compatible")
    connection.close()
    done = run("doctor", "--json")
    assert (done.code, standing(done, "schema")) == (1, ["fail"])


def test_a_clock_behind_the_database_fails(run: Run, used: Path) -> None:
    """A record of the future means that a clock is or was wrong: it fails."""
    with sqlite3.connect(used / "limen.db") as connection:
        connection.execute("UPDATE limen_events SET time = time + 3600000")
    connection.close()
    done = run("doctor", "--json")
    assert (done.code, standing(done, "clock")) == (1, ["fail", "ok"])


def test_no_database_at_all_fails(run: Run, used: Path) -> None:
    """A file that is no database fails, without a traceback."""
    for file in used.glob("limen.db*"):
        file.unlink()
    (used / "limen.db").write_bytes(b"certainly not a database file" * 100)
    (used / "limen.db").chmod(0o600)
    done = run("doctor", "--json")
    assert (done.code, standing(done, "database")) == (1, ["fail"])
    assert done.err == ""


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("LIMEN_REGISTRATION", "open", "registration"),
        ("LIMEN_SMTP_URL", "", "mail"),
        ("LIMEN_DOCS", "on", "documentation"),
        ("LIMEN_PUBLIC_URL", "http://app.example", "public address"),
        ("LIMEN_PUBLIC_URL", "https://app.example", "hosts"),
    ],
)
def test_what_is_allowed_but_unwise_is_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    """What one may do and should think about is a warning with advice, and the exit code stays 0."""
    monkeypatch.setenv(name, value)
    done = run("doctor", "--json")
    assert (done.code, standing(done, check)) == (0, ["warn"])


@pytest.mark.usefixtures("used")
def test_shows_a_table(run: Run) -> None:
    """Without ``--json`` it is a table for people, and advice below it; no secret is in it."""
    done = run("doctor")
    assert done.code == 0
    assert "standing" not in done.out
    assert "schema" in done.out
    for line in Path(".env").read_text().splitlines():
        if "SECRET=" in line:
            assert line.partition("=")[2] not in done.out
