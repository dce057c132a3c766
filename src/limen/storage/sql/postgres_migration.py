"""Migrates a PostgreSQL database. Imported only where it is behind: SQLAlchemy and Alembic take their time."""

import logging
from functools import partial
from typing import Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from limen.storage.sql import migrations
from limen.storage.sql.migrations import Standing
from limen.storage.sql.migrations.upgrade import upgrade

_log = logging.getLogger(__name__)

# Chosen once, at random; whoever migrates limen's tables in this database holds it.
_LOCK: Final = 4_707_915_116_210_359_831

_SETTINGS: Final = {
    "application_name": "limen migration",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "synchronous_commit": "on",
    # A table that somebody else holds must not make everybody behind the migration wait; another migration may.
    "lock_timeout": "30s",
    "statement_timeout": "0",
}


async def migrate(url: str) -> None:
    """Bring the database to this version's schema; processes that start at once wait for the first.

    Raises ConfigurationError for a database of a newer version, and what asyncpg raises.
    """
    connect = partial(
        asyncpg.connect, url, timeout=10, server_settings=_SETTINGS, target_session_attrs=SessionAttribute.primary
    )
    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, async_creator=connect)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate_locked)
            await connection.commit()
    except DBAPIError as error:
        # The driver's own error: its name and code are what the operator needs to know.
        raise getattr(error.orig, "__cause__", None) or error from None
    finally:
        await engine.dispose()


def _migrate_locked(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (_LOCK,))
    # Another process may have done it while this one waited for the lock.
    version = _version(connection)
    if migrations.standing(version) is Standing.NEWER:
        found = connection.exec_driver_sql(migrations.READ_COMPATIBLE.postgres, (migrations.REVISIONS[-1],)).first()
        migrations.refuse_newer(version, compatible=found is not None)
    if migrations.standing(version) is not Standing.BEHIND:
        return
    upgrade(connection)
    _log.info("database_migrated", extra={"from_revision": version, "to_revision": migrations.REVISIONS[-1]})


def _version(connection: Connection) -> str | None:
    known = connection.exec_driver_sql("SELECT to_regclass($1)::text", (migrations.VERSION_TABLE,)).scalar()
    if known is None:
        return None
    found = connection.exec_driver_sql(migrations.READ_VERSION.postgres).first()
    return None if found is None else str(found[0])
