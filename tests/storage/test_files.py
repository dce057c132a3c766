"""The file: who may read it, what is refused, how it is switched."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from limen.core.errors import ConfigurationError, Unavailable
from limen.storage import SQLiteStorage, open_storage
from limen.storage.sql.sqlite import path_of
from limen.storage.sql.sqlite_file import connect
from limen.storage.sql.statement import Statement, Steps, rows, run
from limen.testing.contracts.contract import an_account, event
from tests.storage.conftest import contents, replace_contents


@pytest.fixture
def open_umask() -> Iterator[None]:
    """An umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_umask")
async def test_only_the_owner_may_read(path: Path) -> None:
    """The database, its log and its shared memory are 0600, their folder 0700, whatever the umask."""
    storage = SQLiteStorage(path)
    await storage.start()
    await an_account(storage)
    files = {file.name: _mode(file) for file in path.parent.iterdir()}
    await storage.stop()
    assert files == {"limen.db": 0o600, "limen.db-wal": 0o600, "limen.db-shm": 0o600}
    assert _mode(path.parent) == 0o700


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_file_that_others_may_read_is_warned_of(prepared: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its mode is the owner's business, but the log says so."""
    os.chmod(prepared, 0o644)  # noqa: PTH101
    storage = SQLiteStorage(prepared)
    await storage.start()
    await storage.stop()
    assert "database_file_readable_by_others" in caplog.messages
    assert _mode(prepared) == 0o644


async def test_nothing_is_touched_before_the_start(path: Path) -> None:
    """Making the object opens nothing, so that a process may fork afterwards; a call before the start is refused."""
    storage = SQLiteStorage(path)
    assert not path.parent.exists()
    with pytest.raises(Unavailable):
        await storage.accounts.by_username("ada")
    with pytest.raises(Unavailable):
        await storage.sessions.record(event())
    await storage.stop()
    assert not path.parent.exists()


async def test_every_switch_is_set(storage: SQLiteStorage) -> None:
    """Write-ahead log, flushed at each commit; foreign keys; no trust in the schema; a reader that cannot write."""

    def read() -> Steps[dict[str, object]]:
        switches: dict[str, object] = {}
        for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "query_only", "busy_timeout"):
            ((switches[name],),) = yield from rows(Statement(f"PRAGMA {name}"))
        return switches

    common = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "busy_timeout": 5_000,
    }
    assert await storage.write(read) == {**common, "query_only": 0}
    assert await storage.read(read) == {**common, "query_only": 1}


async def test_what_reads_cannot_write(storage: SQLiteStorage) -> None:
    """A write that strays into the reading thread fails and changes nothing."""
    account = await an_account(storage)
    with pytest.raises(Unavailable):
        await storage.read(lambda: run(Statement("DELETE FROM limen_accounts")))
    assert await storage.accounts.by_id(account.id) == account


async def test_a_file_that_is_no_database_is_refused(prepared: Path) -> None:
    """Garbage is not started on, and not overwritten; with the right file in its place the same object starts."""
    whole, garbage = contents(prepared), b"this is no database, but long enough to be taken for one" * 100
    replace_contents(prepared, garbage)
    storage = SQLiteStorage(prepared)
    with pytest.raises(Unavailable):
        await storage.start()
    assert contents(prepared) == garbage
    replace_contents(prepared, whole)
    await storage.start()
    await storage.ping()
    await storage.stop()


async def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """A path that cannot be a file is a fault of the configuration, and the message names the setting."""
    with pytest.raises(ConfigurationError, match="LIMEN_DATABASE_URL"):
        await SQLiteStorage(tmp_path).start()


def test_a_file_that_vanished_is_not_made_again(path: Path) -> None:
    """To open is not to create: an empty database in its place would forget everything that was revoked."""
    path.parent.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        connect(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "a?b=c.db", "a#b.db", "ü.db"])
async def test_a_path_is_a_path(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URL mean nothing in a file's name."""
    storage = SQLiteStorage(tmp_path / name)
    await storage.start()
    await storage.stop()
    assert _names(tmp_path) == [name]


def test_urls() -> None:
    """Three slashes and a relative path, four and an absolute one."""
    assert path_of("sqlite:///var/limen.db") == Path("var/limen.db")
    assert path_of("sqlite:////srv/limen.db") == Path("/srv/limen.db")
    storage = open_storage("sqlite:////srv/limen.db")
    assert isinstance(storage, SQLiteStorage)
    assert storage.path == Path("/srv/limen.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "limen.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://:memory:",
        "sqlite:///:memory:",
        "sqlite:///x.db?mode=memory",
        "sqlite:///file:x.db#f",
        "sqlite+aiosqlite:///x.db",
        "mysql://limen:hunter2@db/limen",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """What names no file, or another engine, does not start; a password in it is not repeated."""
    with pytest.raises(ConfigurationError, match="LIMEN_DATABASE_URL") as refusal:
        open_storage(url)
    assert "hunter2" not in str(refusal.value)
