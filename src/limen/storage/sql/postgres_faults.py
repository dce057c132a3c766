"""What a failure of PostgreSQL means to whoever asked, and whether it may be tried again."""

import logging

import asyncpg

from limen.core.errors import ConfigurationError, Conflict, LimenError, Unavailable

_log = logging.getLogger(__name__)

CONNECTION_IS_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    # What was a primary is one no longer: whoever asks next is to look for the new one.
    asyncpg.ReadOnlySQLTransactionError,
    # A migration changed a type under statements that this connection has prepared.
    asyncpg.InvalidCachedStatementError,
    OSError,
    TimeoutError,
)
"""After these a connection is not to be relied on."""


def is_lost(error: BaseException) -> bool:
    """Tell whether a connection can no longer be relied on: cancelled in the midst of a statement, for one.

    A value that cannot be written as its type (a ValueError to Python) was never sent.
    """
    if not isinstance(error, Exception):
        return True
    return isinstance(error, CONNECTION_IS_LOST) and not isinstance(error, ValueError)


TRIED_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""The transaction was rolled back and would go through now: because of another one (40001, 40P01), or of a migration
that changed a type under the connection's prepared statements (0A000, on a new connection)."""

_MISCONFIGURED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
)


def translated(error: Exception) -> Exception:
    """Return the error of the catalogue for a failure; what is none of the database's stays as it is.

    The log names the failure: neither statements nor parameters, which hold hashes and names.
    """
    if not isinstance(error, (asyncpg.PostgresError, *CONNECTION_IS_LOST)):
        return error
    _log.error("database_failed", extra={"database_error": name_of(error)})
    answer: LimenError = Unavailable()
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        answer = Conflict()
    answer.__cause__ = error
    return answer


def translated_at_start(error: Exception) -> Exception:
    """Return the same for a failure to open the database: what waiting does not mend is told as what it is."""
    if isinstance(error, _MISCONFIGURED):
        return ConfigurationError(
            f"PostgreSQL refuses LIMEN_DATABASE_URL ({name_of(error)}): check role, password, database, and that the"
            " role may create tables there."
        )
    return translated(error)


def name_of(error: Exception) -> str:
    """Return the name of a failure, with PostgreSQL's code where it has one."""
    code = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
