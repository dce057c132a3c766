"""The SQLite file: where it lies, who may read it, how it is opened, and which schema it has."""

import logging
import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

from limen.core.errors import ConfigurationError
from limen.storage.sql import migrations
from limen.storage.sql.connection import Connection
from limen.storage.sql.migrations import Schema, Standing
from limen.storage.sql.statement import row

_log = logging.getLogger(__name__)

OLDEST_SQLITE = (3, 35, 0)
"""The first SQLite with RETURNING."""

BUSY_MS = 5_000
"""How long a statement waits for another process's transaction, in milliseconds."""


def create_private(path: Path) -> None:
    """Make the file, readable by its owner only (0600), in a folder that is made 0700 where there is none.

    SQLite gives the write-ahead log and the shared memory beside it the same mode. A file that is there keeps its mode;
    one that others may read is worth a warning: it holds password hashes.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is too old: limen needs 3.35 or newer (RETURNING). Use a newer Python."
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(
            f"The database file of LIMEN_DATABASE_URL cannot be opened for writing: {error.strerror}."
        ) from error
    if os.name == "posix" and mode & 0o077:
        _log.warning("database_file_readable_by_others", extra={"mode": f"{mode:04o}", "wanted": "0600"})


def connect(path: Path, *, busy_ms: int = BUSY_MS, query_only: bool = False) -> sqlite3.Connection:
    """Open the file with every switch limen relies on: durable at each commit, foreign keys enforced.

    Raises ConfigurationError where the file system cannot do write-ahead logging, and sqlite3.Error.
    """
    connection = sqlite3.connect(
        # Never make the file here: one that vanished must not come back empty, readable by everybody.
        path.absolute().as_uri() + "?mode=rw",
        uri=True,
        timeout=busy_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        _switch_to_wal(connection, busy_ms)
        # FULL: the log is flushed before COMMIT returns, so that what was acknowledged outlives a loss of power.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # A schema that somebody else wrote into the file runs no functions with side effects.
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        if query_only:
            connection.execute("PRAGMA query_only=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection, busy_ms: int) -> None:
    """Turn write-ahead logging on, and wait for another process that is just doing so: SQLite itself would not."""
    deadline = time.monotonic() + busy_ms / 1000
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise ConfigurationError(
                "The file system under LIMEN_DATABASE_URL cannot do write-ahead logging (a network share?)."
                " Use a local disk, or PostgreSQL."
            )
        return


def read_version(connection: sqlite3.Connection) -> str | None:
    """Return the revision the database bears, or None where limen has never been here."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (migrations.VERSION_TABLE,)
    ).fetchall()
    if not known:
        return None
    rows = connection.execute(migrations.READ_VERSION.sqlite).fetchall()
    return str(rows[0][0]) if rows else None


def is_compatible(connection: sqlite3.Connection) -> bool:
    """Tell whether a schema that this version does not know says that this version works with it."""
    parameters = {"revision": migrations.REVISIONS[-1]}
    try:
        return bool(connection.execute(migrations.READ_COMPATIBLE.sqlite, parameters).fetchall())
    except sqlite3.OperationalError:
        return False


def schema_version(connection: Connection) -> str | None:
    """Return the revision the database bears now, by a real read; None where the row is gone."""
    found = connection.drive(row(migrations.READ_VERSION))
    return None if found is None else str(found[0])


def schema_of(path: Path) -> Schema:
    """Tell which schema a file bears, and change nothing; a file that is not there bears none.

    Raises sqlite3.Error.
    """
    if not path.exists():
        return Schema.of(None, compatible=False)
    with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=BUSY_MS / 1000)) as raw:
        return Schema.of(read_version(raw), compatible=is_compatible(raw))


def migrate(path: Path, *, allowed: bool = True) -> None:
    """Bring the file to this version's schema; processes that start at once wait for the first.

    Raises ConfigurationError for a database of a newer version, and for one that is behind where it is not allowed.
    """
    connection = connect(path)
    try:
        version = read_version(connection)
        migrations.refuse_newer(version, compatible=is_compatible(connection))
    finally:
        connection.close()
    if not allowed:
        migrations.refuse_behind(version)
    if migrations.standing(version) is Standing.BEHIND:
        from limen.storage.sql.sqlite_migration import migrate_locked

        migrate_locked(path)
