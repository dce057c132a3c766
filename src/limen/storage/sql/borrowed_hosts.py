"""The engines whose connections limen borrows: what it asks of one before it works on it, and how it speaks to it."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.clock import Clock
from limen.core.errors import ConfigurationError
from limen.storage.sql.statement import CLOCK_SHIFT, Row, Statement, Steps, row

if TYPE_CHECKING:
    from sqlalchemy import Row as SQLRow
    from sqlalchemy.ext.asyncio import AsyncConnection

_ELSEWHERE: Final = "gate.using: the connection leads to another database than LIMEN_DATABASE_URL."
_AUTOCOMMIT: Final = "gate.using: the connection is in AUTOCOMMIT; limen wants a transaction."
_SWITCHES: Final = (
    "gate.using: run PRAGMA foreign_keys=ON and PRAGMA synchronous=FULL on each new connection, at the event «connect»"
    " of the engine; here {name} is {found}."
)
_LEAST: Final = (("PRAGMA foreign_keys", 1), ("PRAGMA synchronous", 2))


class BorrowedSQLite:
    """Connections of aiosqlite to the file that limen's stores are in."""

    driver = "sqlite+aiosqlite"

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    async def check(self, connection: "AsyncConnection") -> None:
        """Refuse another file, foreign keys that are not enforced, and a commit that is not on the disk."""
        databases = await _rows(connection, "PRAGMA database_list")
        if not any(found[1] == "main" and self._is_ours(found[2]) for found in databases):
            raise ConfigurationError(_ELSEWHERE)
        # A driver that begins nothing by itself is all right where the application has begun a transaction.
        if await _autocommits(connection) and not await _is_in(connection):
            raise ConfigurationError(_AUTOCOMMIT)
        # Neither can be set within a transaction, so limen cannot do it by itself.
        for question, least in _LEAST:
            ((found,),) = await _rows(connection, question)
            if found < least:
                raise ConfigurationError(_SWITCHES.format(name=question.split()[1], found=found))

    def _is_ours(self, file: str) -> bool:
        with suppress(OSError):
            return bool(file) and self._path.samefile(file)
        return False

    async def begin(self, connection: "AsyncConnection") -> None:
        """Begin the transaction where the driver has put it off.

        It does so even for savepoints, and would commit with the end of the first one.
        """
        if not await _is_in(connection):
            await connection.exec_driver_sql("BEGIN IMMEDIATE")

    def text(self, statement: Statement) -> str:
        """Return the statement with named parameters."""
        return statement.sqlite

    def parameters(self, statement: Statement, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters by name, with the time."""
        return {**named, "now": round(self._clock() * 1000)}

    def row(self, found: "SQLRow[Any]") -> Row:
        """Return the row as it is."""
        return tuple(found)


# The server by the identifier it was given when it was made, the database and limen's table by theirs; and, in the same
# round trip, what the application's defaults may have switched off: that a commit is on the disk when it returns.
_PLACE = Statement("""
SELECT (SELECT system_identifier FROM pg_control_system()),
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
       to_regclass('limen_schema_version')::oid::bigint,
       current_setting('transaction_isolation'),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                                             WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)
""")


def place() -> Steps[Row | None]:
    """Read which table of which database of which server limen's own connections see."""
    return row(_PLACE)


class BorrowedPostgres:
    """Connections of asyncpg to the database that limen's stores are in.

    Args:
        own_place: answers what `place` reads on limen's own connection.
        clock_shift: milliseconds by which tests have turned the clock.
    """

    driver = "postgresql+asyncpg"

    def __init__(self, own_place: Callable[[], Awaitable[Row | None]], clock_shift: Callable[[], int]) -> None:
        self._own_place = own_place
        self._clock_shift = clock_shift
        self._ours: Row | None = None

    async def check(self, connection: "AsyncConnection") -> None:
        """Refuse another database, AUTOCOMMIT, and any isolation but READ COMMITTED.

        Under a stricter one a statement sees what was there when the transaction began: a lock that was waited for
        would guard nothing, and an account that was disabled meanwhile would still be active.
        """
        if await _autocommits(connection):
            raise ConfigurationError(_AUTOCOMMIT)
        if self._ours is None:
            found = await self._own_place()
            self._ours = None if found is None else tuple(found)[:3]
        *theirs, isolation, _ = (await _rows(connection, _PLACE.postgres))[0]
        if theirs[2] is None or tuple(theirs) != self._ours:
            raise ConfigurationError(_ELSEWHERE)
        if isolation != "read committed":
            raise ConfigurationError(f"gate.using: the transaction is {isolation.upper()}; limen wants READ COMMITTED.")

    async def begin(self, connection: "AsyncConnection") -> None:
        """Do nothing: the driver begins a transaction with the first statement, be it a savepoint."""

    def text(self, statement: Statement) -> str:
        """Return the statement with parameters by number."""
        return statement.postgres

    def parameters(self, statement: Statement, named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the parameters in the order of their numbers."""
        return statement.arguments({**named, CLOCK_SHIFT: self._clock_shift()})

    def row(self, found: "SQLRow[Any]") -> Row:
        """Return the row with JSON as text: SQLAlchemy has set the application's connection to read it."""
        return tuple(
            msgspec.json.encode(value).decode() if isinstance(value, (list, dict)) else value for value in found
        )


async def _rows(connection: "AsyncConnection", text: str) -> list[Row]:
    return [tuple(found) for found in await connection.exec_driver_sql(text)]


async def _autocommits(connection: "AsyncConnection") -> bool:
    raw = (await connection.get_raw_connection()).dbapi_connection
    return raw is None or connection.dialect.detect_autocommit_setting(raw)


async def _is_in(connection: "AsyncConnection") -> bool:
    raw = (await connection.get_raw_connection()).driver_connection
    return raw is not None and bool(raw.in_transaction)
