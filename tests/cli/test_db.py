"""``limen db``: the schema told and migrated, and every session ended after a restore."""

import asyncio
import io
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limen import Limen, Settings
from limen.core.errors import ConfigurationError
from limen.core.events import NOWHERE
from limen.storage.sql.migrations import REVISIONS
from tests.cli.conftest import PASSWORD, Run
from tests.support.gates import settings_for
from tests.support.postgres import Databases, rows

HEAD = REVISIONS[-1]


class Terminal(io.StringIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def settings() -> Settings:
    """The settings of the installation."""
    return Settings.load()


def sessions(folder: Path) -> int:
    """Return how many sessions lie in the database."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM limen_sessions").fetchone()
    assert isinstance(count, int)
    return count


def set_revision(folder: Path, revision: str) -> None:
    """Say that the schema is another."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection, connection:
        connection.execute("UPDATE limen_schema_version SET version_num = ?", (revision,))


@pytest.fixture
def used(run: Run, installation: Path) -> Path:
    """An installation with an account; its folder."""
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    return installation


def test_current_makes_nothing(run: Run, installation: Path) -> None:
    """Where there is no database yet, it is behind: 1, what to run, and no file appears."""
    done = run("db", "current", "--json")
    assert (done.code, done.json) == (
        1,
        {"database": None, "code": HEAD, "standing": "behind", "run": "limen db upgrade"},
    )
    assert "limen db upgrade" in run("db", "current").err
    assert [path.name for path in installation.iterdir()] == [".env"]


def test_upgrade_then_current(run: Run, installation: Path) -> None:
    """``upgrade`` migrates and tells from where; a second time changes nothing; ``current`` is 0 then."""
    done = run("db", "upgrade", "--json")
    assert (done.code, done.json) == (0, {"from": None, "to": HEAD, "changed": True})
    assert run("db", "upgrade", "--json").json == {"from": HEAD, "to": HEAD, "changed": False}
    assert HEAD in run("db", "upgrade").out
    assert (installation / "limen.db").stat().st_mode & 0o777 == 0o600
    done = run("db", "current", "--json")
    assert (done.code, done.json) == (0, {"database": HEAD, "code": HEAD, "standing": "current"})
    assert run("db", "current").err == ""


def test_a_newer_schema(run: Run, used: Path) -> None:
    """One that does not say that this version suits is 1 and is not touched; one that does is 0."""
    set_revision(used, "9999")
    assert run("db", "current", "--json").json["standing"] == "newer"
    assert run("db", "current").code == 0
    with closing(sqlite3.connect(used / "limen.db")) as connection, connection:
        connection.execute("DELETE FROM limen_schema_compatible")
    done = run("db", "current", "--json")
    assert (done.code, done.json["standing"]) == (1, "newer")
    assert "newer" in done.json["run"]
    assert run("db", "upgrade").code == 3


def test_without_migration_at_start(run: Run, installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIMEN_MIGRATE=never refuses to start on a schema that is behind, and says what to run; that command works."""
    monkeypatch.setenv("LIMEN_MIGRATE", "never")
    refused = run("accounts", "list")
    assert refused.code == 3
    assert "limen db upgrade" in refused.err
    assert not (installation / "limen.db").exists()
    assert run("db", "upgrade").code == 0
    assert run("accounts", "list").code == 0


async def test_a_server_without_migration_is_not_ready(
    clean_environment: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL too: a gate that may not migrate does not start, and leaves the database as it was."""
    url = postgres.create()
    gate = Limen(settings_for(clean_environment, database_url=url, migrate="never"))
    with pytest.raises(ConfigurationError, match="limen db upgrade"):
        await gate.start()
    found = await asyncio.to_thread(rows, url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'limen%'")
    assert found == [(0,)]
    postgres.drop(url)


def test_restored_ends_every_session(run: Run, used: Path) -> None:
    """With ``--yes`` it asks nothing, ends all, and says what it cannot reach; the record has the operator as actor."""

    async def log_in() -> None:
        async with Limen(settings()).running() as gate:
            for _ in range(3):
                await gate.login.login("alice", PASSWORD, origin=NOWHERE)

    asyncio.run(log_in())
    assert sessions(used) == 3
    done = run("db", "restored", "--yes", "--json")
    assert (done.code, done.json) == (0, {"accounts": 1, "sessions": 3, "api_keys": 0, "approvals": 0})
    assert sessions(used) == 0
    told = run("db", "restored", "--yes")
    assert (told.code, told.out) == (0, "0 sessions of 1 accounts were ended.\n")
    assert "LIMEN_JWT_ACCESS_SECRET" in told.err
    with closing(sqlite3.connect(used / "limen.db")) as connection:
        found = connection.execute("SELECT actor FROM limen_events WHERE event = 'store_restored'").fetchall()
    assert found == [("cli",), ("cli",)]


def test_restored_asks(run: Run, used: Path) -> None:
    """Without a terminal and without ``--yes`` it is wrong usage, and nothing ends."""
    done = run("db", "restored", "--json")
    assert (done.code, done.problem["code"]) == (2, "usage")
    assert "--yes" in done.problem["hint"]
    with closing(sqlite3.connect(used / "limen.db")) as connection:
        assert connection.execute("SELECT session_epoch FROM limen_accounts").fetchall() == [(0,)]


@pytest.mark.parametrize(("answer", "code", "epoch"), [("n", 1, 0), ("", 1, 0), ("y", 0, 1)])
def test_restored_goes_by_the_answer(
    run: Run, used: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, epoch: int
) -> None:
    """On a terminal it asks, and only a yes ends anything."""
    monkeypatch.setattr(io, "StringIO", Terminal)
    assert run("db", "restored", stdin=f"{answer}\n").code == code
    with closing(sqlite3.connect(used / "limen.db")) as connection:
        assert connection.execute("SELECT session_epoch FROM limen_accounts").fetchall() == [(epoch,)]


def test_a_database_that_is_down(run: Run, installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command ends with 4 where PostgreSQL does not answer, without its password anywhere."""
    monkeypatch.setenv("LIMEN_DATABASE_URL", "postgresql://limen:canary@127.0.0.1:1/limen")
    for command in (["current"], ["upgrade"], ["restored", "--yes"]):
        done = run("db", *command)
        assert done.code == 4, command
        assert "canary" not in done.out + done.err


def test_on_postgres(run: Run, installation: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same commands work on PostgreSQL."""
    url = postgres.create()
    monkeypatch.setenv("LIMEN_DATABASE_URL", url)
    assert urlsplit(url).scheme == "postgresql"
    assert run("db", "current").code == 1
    assert run("db", "upgrade", "--json").json == {"from": None, "to": HEAD, "changed": True}
    assert run("db", "current").code == 0
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    done = run("db", "restored", "--yes", "--json")
    assert done.json == {"accounts": 1, "sessions": 0, "api_keys": 0, "approvals": 0}
    assert rows(url, "SELECT session_epoch FROM limen_accounts") == [(1,)]
    postgres.drop(url)


def test_the_revisions_are_those_of_the_code() -> None:
    """What is printed is what an operator finds in the change log: four digits."""
    assert re.fullmatch(r"\d{4}", HEAD)
