"""limen's verbs on the application's own connection, in the application's transaction.

The application begins the transaction, and commits it or rolls it back; limen only works in it. What limen does there
is seen by others, and recorded, when the application commits, and never was when it rolls back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from limen.core.errors import ConfigurationError, Conflict, Unavailable
from limen.storage.sql.database import Database, Operation
from limen.storage.sql.holdings import LIST_AS_CHANGED
from limen.storage.sql.sessions import LIST_AS_ENDED
from limen.storage.sql.statement import Ask, Row, Statement, Steps, Wanted

if TYPE_CHECKING:
    # Names only: a process that never borrows a connection does not import SQLAlchemy.
    from sqlalchemy import Connection
    from sqlalchemy import Row as SQLRow
    from sqlalchemy.engine import Transaction
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

_log = logging.getLogger(__name__)

T = TypeVar("T")

ApplicationConnection: TypeAlias = "AsyncConnection | AsyncSession"
"""What an application hands in."""

# Every process polls two lists, and reads the last ten seconds again. What is put on them in a transaction that the
# application commits later than that would never be met: so it is stamped anew just before the commit. It is kept for
# as much longer: until the commit, tokens were issued that know nothing of it.
_STAMPED: Final = {
    LIST_AS_ENDED: (
        "sid",
        Statement(
            "UPDATE limen_ended_sessions SET ended_at = @now,"
            " keep_until = CASE WHEN @now > ended_at THEN keep_until + @now - ended_at ELSE keep_until END"
            " WHERE id = :id"
        ),
    ),
    LIST_AS_CHANGED: (
        "account_id",
        Statement(
            "UPDATE limen_changed_roles SET changed_at = @now,"
            " keep_until = CASE WHEN @now > changed_at THEN keep_until + @now - changed_at ELSE keep_until END"
            " WHERE account_id = :id"
        ),
    ),
}


class Host(Protocol):
    """What differs between the engines whose connections are borrowed."""

    @property
    def driver(self) -> str:
        """The dialect and driver of SQLAlchemy."""
        ...

    async def check(self, connection: "AsyncConnection") -> None:
        """Raise ConfigurationError where limen's verbs would not mean on this connection what they promise."""
        ...

    async def begin(self, connection: "AsyncConnection") -> None:
        """See to it that the database itself is in the transaction, before a savepoint is made in it."""
        ...

    def text(self, statement: Statement) -> str:
        """Return the statement as the driver wants it."""
        ...

    def parameters(self, statement: Statement, named: Mapping[str, Any]) -> Any:
        """Return the statement's parameters as the driver wants them."""
        ...

    def row(self, found: "SQLRow[Any]") -> Row:
        """Return a row as limen's own connections would."""
        ...


class Borrowed:
    """The application's transaction, for the verbs that are called in one block.

    Args:
        connection: the application's.
        own: what it stands for.
        transaction: the one that was open when the block began.
        host: how the engine is spoken to.
        given: what the application has handed in: the connection, or the session that it is of.

    Attributes:
        given: the same.
    """

    def __init__(
        self,
        connection: "AsyncConnection",
        own: "Connection",
        transaction: "Transaction",
        host: Host,
        given: ApplicationConnection,
    ) -> None:
        self.given = given
        self._connection = connection
        self._own = own
        self._transaction = transaction
        self._host = host

    async def run(self, operation: Operation[T]) -> T:
        """Run the operation in a savepoint: where it fails, the application's transaction can go on.

        Raises Conflict and Unavailable as limen's own connections do, ConfigurationError where the transaction is over.
        """
        from sqlalchemy.exc import DBAPIError

        self._require_open()
        try:
            await self._host.begin(self._connection)
            async with self._connection.begin_nested():
                return await self._drive(operation())
        except DBAPIError as error:
            raise _translated(error) from error

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Take back what is done in the block, limen's and the application's, where the block fails.

        Of a session it is the session's own savepoint, which forgets as well what the session has put off to its flush.
        """
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.ext.asyncio import AsyncSession

        self._require_open()
        if isinstance(self.given, AsyncSession):
            await self.given.flush()  # what fails here was the application's before
        try:
            await self._host.begin(self._connection)
            async with self.given.begin_nested():
                if isinstance(self.given, AsyncSession):
                    _ = await self.given.connection()  # otherwise it begins with the session's own next statement
                yield
        except DBAPIError as error:
            raise _translated(error) from error

    def _require_open(self) -> None:
        if self._own.closed or self._own.get_transaction() is not self._transaction or not self._transaction.is_active:
            raise ConfigurationError("gate.using: the transaction that it began in is over; commit after the block.")

    async def _drive(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                answer = await self._answer(steps.send(answer))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def _answer(self, ask: Ask) -> list[Row] | int | None:
        statement, parameters, wanted = ask
        each = parameters if wanted is Wanted.NOTHING else [parameters]
        self._note(statement, each)
        text = self._host.text(statement)
        written = [self._host.parameters(statement, named) for named in each]
        if wanted is Wanted.NOTHING:
            await self._connection.exec_driver_sql(text, written)
            return None
        result = await self._connection.exec_driver_sql(text, written[0])
        return [self._host.row(found) for found in result] if wanted is Wanted.ROWS else result.rowcount

    def _note(self, statement: Statement, each: list[dict[str, Any]]) -> None:
        stamped = _STAMPED.get(statement)
        if stamped is None:
            return
        name, again = stamped
        late = _late_in(self._own, self._transaction, self._host)
        late.ids.setdefault(again, set()).update(str(named[name]) for named in each)


@dataclass(slots=True)
class _Late:
    """What a transaction has put on the lists, to be stamped anew at its commit."""

    transaction: "Transaction"
    host: Host
    ids: dict[Statement, set[str]] = field(default_factory=dict)


_LATE: WeakKeyDictionary["Connection", _Late] = WeakKeyDictionary()


def _late_in(connection: "Connection", transaction: "Transaction", host: Host) -> _Late:
    late = _LATE.get(connection)
    if late is None or late.transaction is not transaction:
        from sqlalchemy import event

        late = _LATE[connection] = _Late(transaction, host)
        if not event.contains(connection, "commit", _stamp):
            event.listen(connection, "commit", _stamp)
    return late


def _stamp(connection: "Connection") -> None:
    """Stamp anew, just before the application's commit; where this fails, nothing is committed."""
    late = _LATE.pop(connection, None)
    if late is None or late.transaction is not connection.get_transaction():
        return
    for statement, ids in late.ids.items():
        parameters = [late.host.parameters(statement, {"id": each}) for each in sorted(ids)]
        connection.exec_driver_sql(late.host.text(statement), parameters)


class Borrowings:
    """Which tasks work in a transaction of the application's just now.

    By task, not by context: a task that is begun in the block would inherit a context, and with it a connection that
    two must not use at once, or that is gone by then.
    """

    def __init__(self) -> None:
        self._by_task: dict[asyncio.Task[Any], Borrowed] = {}

    def here(self) -> Borrowed | None:
        """Return what this very task has borrowed."""
        if not self._by_task:
            return None
        task = asyncio.current_task()
        return None if task is None else self._by_task.get(task)

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Make a savepoint in what this task has borrowed; ConfigurationError where that is nothing."""
        borrowed = self.here()
        if borrowed is None:
            raise ConfigurationError("a savepoint is made in a block of gate.using")
        return borrowed.savepoint()

    @asynccontextmanager
    async def using(self, connection: ApplicationConnection, host: Host) -> AsyncIterator[None]:
        """Run this task's verbs on the connection until the block ends.

        Raises ConfigurationError where it is no connection that limen can work on.
        """
        task = asyncio.current_task()
        if task is None:
            raise ConfigurationError("gate.using is for asyncio: there is no task here.")
        borrowed = await _borrowed(connection, host)
        outer = self._by_task.get(task)
        self._by_task[task] = borrowed
        try:
            yield
        finally:
            if outer is None:
                del self._by_task[task]
            else:
                self._by_task[task] = outer


async def _borrowed(given: ApplicationConnection, host: Host) -> Borrowed:
    from sqlalchemy.engine import TwoPhaseTransaction
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    connection = await given.connection() if isinstance(given, AsyncSession) else given
    if not isinstance(connection, AsyncConnection):
        raise ConfigurationError("gate.using takes an AsyncConnection or an AsyncSession of SQLAlchemy.")
    driver = f"{connection.dialect.name}+{connection.dialect.driver}"
    if driver != host.driver:
        raise ConfigurationError(f"gate.using: limen's database wants a connection of {host.driver}, this is {driver}.")
    try:
        await host.check(connection)
    except DBAPIError as error:
        raise _translated(error) from error
    own = connection.sync_connection
    transaction = None if own is None else own.get_transaction()
    if own is None or transaction is None or isinstance(transaction, TwoPhaseTransaction):
        raise ConfigurationError("gate.using takes a connection in a plain transaction, which is not of two phases.")
    return Borrowed(connection, own, transaction, host, given)


def _translated(error: "DBAPIError") -> Exception:
    """Return the error of the catalogue; the log names the failure, without statement and parameters."""
    from sqlalchemy.exc import IntegrityError

    orig = error.orig
    cause = getattr(orig, "__cause__", None) or orig
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    name = type(cause).__name__
    _log.error("database_failed", extra={"database_error": f"{name} {code}" if code else name, "borrowed": True})
    return Conflict() if isinstance(error, IntegrityError) else Unavailable()


class Committed:
    """A database for what must never be part of the application's transaction: the issuing of tokens.

    A token is signed for a session that is on the disk. In a transaction that may yet be rolled back there is none, and
    nothing would take the token back: its verification asks no database.
    """

    def __init__(self, database: Database, borrowings: Borrowings) -> None:
        self._database = database
        self._borrowings = borrowings

    async def write(self, operation: Operation[T]) -> T:
        """Write as the database does; ConfigurationError where this task has borrowed a connection."""
        self._refuse()
        return await self._database.write(operation)

    async def write_one(self, operation: Operation[T]) -> T:
        """Write as the database does; ConfigurationError where this task has borrowed a connection."""
        self._refuse()
        return await self._database.write_one(operation)

    async def read(self, operation: Operation[T]) -> T:
        """Read as the database does."""
        return await self._database.read(operation)

    async def read_committed(self, operation: Operation[T]) -> T:
        """Read as the database does."""
        return await self._database.read_committed(operation)

    def _refuse(self) -> None:
        if self._borrowings.here() is not None:
            raise ConfigurationError(
                "gate.using: tokens are issued only for what is committed. Log in, or refresh, after the block."
            )
