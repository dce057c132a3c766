"""Migrates a SQLite file. Imported only where it is behind: SQLAlchemy and Alembic take their time."""

import logging
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from limen.core.errors import ConfigurationError
from limen.storage.sql import migrations
from limen.storage.sql.migrations import Standing
from limen.storage.sql.migrations.upgrade import upgrade
from limen.storage.sql.sqlite_file import connect, is_compatible, read_version

_log = logging.getLogger(__name__)

MIGRATION_BUSY_MS = 60_000
"""How long a process waits for another that migrates, in milliseconds."""


def migrate_locked(path: Path) -> None:
    """Take the file's lock, look again, and run what is missing in one transaction.

    Raises sqlite3.Error where the database fails, ConfigurationError where it is of a newer version.
    """
    engine = create_engine("sqlite://", creator=lambda: connect(path, busy_ms=MIGRATION_BUSY_MS), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            _migrate_in(connection)
    except DBAPIError as error:
        # A full disk is the same failure here as anywhere else.
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from None
        raise
    finally:
        engine.dispose()


def _migrate_in(connection: Connection) -> None:
    # SQLite alters tables by copying them, which must not cascade; the check before COMMIT makes up for it.
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    # Another process may have done it while this one waited for the lock.
    version = read_version(raw)
    migrations.refuse_newer(version, compatible=is_compatible(raw))
    if migrations.standing(version) is not Standing.BEHIND:
        connection.rollback()
        return
    upgrade(connection)
    if connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall():
        raise ConfigurationError("The migration would leave references without rows; nothing was changed.")
    connection.commit()
    _log.info("database_migrated", extra={"from_revision": version, "to_revision": migrations.REVISIONS[-1]})
