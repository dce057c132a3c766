"""Connections to PostgreSQL: few, kept open, with their statements prepared, and nothing reset between two uses.

asyncpg's own pool resets a connection after each use, which costs a round trip. Here nothing is left to reset: every
operation ends its transaction, and a connection on which anything went wrong is closed.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute
from asyncpg.prepared_stmt import PreparedStatement

from limen.core.errors import Busy, Unavailable
from limen.storage.sql.postgres_faults import CONNECTION_IS_LOST, name_of
from limen.storage.sql.statement import CLOCK_SHIFT, Ask, Row, Statement, Steps, Wanted

_log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS: Final = 3.0
STATEMENT_SECONDS: Final = 5.0
"""How long a statement may take before its connection is given up: the server may hang, or the network."""
SETTLE_SECONDS: Final = 0.25
"""After a failure to connect nobody tries for so long; whoever comes is told at once."""
QUEUE_SIZE: Final = 512
"""Operations that may wait for a connection; whoever comes then is told to come back."""
WAIT_SECONDS: Final = 3.0
"""How long an operation waits for a connection."""

_SETTINGS: Final = {
    "application_name": "limen",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    # What is acknowledged is on the disk, whatever the role's default says.
    "synchronous_commit": "on",
    "lock_timeout": "2s",
    "statement_timeout": "4s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
    "jit": "off",
}
"""What every connection is set to, whatever the defaults of role, database and server are."""

_Prepared: TypeAlias = "PreparedStatement[Any]"


class PostgresConnection:
    """One connection, used by one operation at a time."""

    __slots__ = ("_prepared", "_raw")

    def __init__(self, raw: "asyncpg.Connection[Any]") -> None:
        self._raw = raw
        self._prepared: dict[Statement, _Prepared] = {}

    @classmethod
    async def open(cls, url: str) -> "PostgresConnection":
        """Connect to the primary.

        Raises what asyncpg raises, OSError and TimeoutError.
        """
        raw = await asyncpg.connect(
            url,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=_SETTINGS,
            # A replica may be behind: it must not judge tokens.
            target_session_attrs=SessionAttribute.primary,
            # What is prepared is prepared below, once for each statement there is.
            statement_cache_size=0,
        )
        return cls(raw)

    @property
    def is_closed(self) -> bool:
        """Whether the server or the network has closed it."""
        return self._raw.is_closed()

    async def begin(self) -> None:
        """Begin a transaction."""
        await self._raw.execute("BEGIN")

    async def commit(self) -> None:
        """Commit; what was done is on the disk when this returns.

        Raises:
            InternalClientError: PostgreSQL rolled back instead, as it does without an error after a failed statement.
        """
        if await self._raw.execute("COMMIT") != "COMMIT":
            raise asyncpg.InternalClientError("the transaction was rolled back")

    async def roll_back(self) -> None:
        """Take back what was done since `begin`."""
        await self._raw.execute("ROLLBACK")

    async def drive(self, steps: Steps[T], clock_shift: int) -> T:
        """Run an operation to its end, statement by statement, and return what it returns."""
        answer: Any = None
        try:
            while True:
                answer = await self.answer(steps.send(answer), clock_shift)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def answer(self, ask: Ask, clock_shift: int) -> list[Row] | int | None:
        """Run one statement."""
        statement, parameters, wanted = ask
        prepared = self._prepared.get(statement)
        if prepared is None:
            # With a name: without one, asyncpg has it parsed and planned anew at every use.
            name = f"limen_{len(self._prepared)}"
            prepared = self._prepared[statement] = await self._raw.prepare(statement.postgres, name=name)
        if wanted is Wanted.NOTHING:
            await prepared.executemany(
                [statement.arguments({**each, CLOCK_SHIFT: clock_shift}) for each in parameters],
            )
            return None
        if statement.asks_clock:
            parameters[CLOCK_SHIFT] = clock_shift
        found: list[Any] = await prepared.fetch(*statement.arguments(parameters))
        if wanted is Wanted.ROWS:
            return found
        # «UPDATE 3»
        status = prepared.get_statusmsg()
        return int(status.rsplit(" ", 1)[1]) if status else 0

    async def close(self) -> None:
        """Say good-bye, for at most a second."""
        try:
            await self._raw.close(timeout=1)
        except (asyncpg.PostgresError, *CONNECTION_IS_LOST):
            self._raw.terminate()

    def terminate(self) -> None:
        """Close it without a word."""
        self._raw.terminate()


_Waiter: TypeAlias = "asyncio.Future[PostgresConnection | Busy | None]"
"""Is given a connection, or None where there is room to open one, or is sent away."""


class PostgresPool:
    """The connections of one event loop.

    Args:
        url: ``postgresql://…``.
        size: connections that are open at most.

    Attributes:
        in_use: connections that an operation has.
        waiting: operations that wait for one.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._idle: list[PostgresConnection] = []
        self._open = 0
        self._waiters: deque[tuple[float, _Waiter]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    @property
    def in_use(self) -> int:
        """Connections that are in use, or being opened."""
        return self._open - len(self._idle)

    @property
    def waiting(self) -> int:
        """Operations that wait for a connection."""
        return len(self._waiters)

    def idle(self) -> PostgresConnection | None:
        """Return a connection that is free now; None where one is to be waited for (`take`)."""
        while self._idle:
            # The one used last: the others may be closed by whoever closes what is idle.
            lent = self._idle.pop()
            if not lent.is_closed:
                return lent
            self._open -= 1
        return None

    async def take(self) -> PostgresConnection:
        """Return an idle connection, open one, or wait for one; it must be given back.

        Raises:
            Busy: too many wait already, or none came free in time.
            Unavailable: the database does not answer.
        """
        lent = self.idle()
        if lent is not None:
            return lent
        if self._open < self._size:
            return await self._opened()
        if len(self._waiters) >= QUEUE_SIZE:
            raise Busy()
        return await self._awaited()

    def give_back(self, lent: PostgresConnection, *, broken: bool) -> None:
        """Take a connection back, for whoever waits for it."""
        if broken or lent.is_closed or self._open > self._size:
            lent.terminate()
            self._open -= 1
            self._wake(None)
        elif not self._wake(lent):
            self._idle.append(lent)

    def renew(self) -> None:
        """Close what is idle: what these connections have prepared is of an older schema."""
        while (idle := self.idle()) is not None:
            self.give_back(idle, broken=True)

    async def close(self) -> None:
        """Lend no more, let what is under way finish, and close every connection."""
        self._size = 0
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        for each in idle:
            await each.close()
        deadline = time.monotonic() + STATEMENT_SECONDS
        while self._open and time.monotonic() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.01)

    def abandon(self) -> None:
        """Forget every connection: their event loop is gone."""
        self._size = 0
        for each in self._idle:
            with contextlib.suppress(RuntimeError):
                each.terminate()
        self._idle = []

    async def _opened(self) -> PostgresConnection:
        if self._size == 0 or time.monotonic() < self._not_before:
            raise Unavailable("The database does not answer.")
        self._open += 1
        try:
            return await PostgresConnection.open(self._url)
        except BaseException as error:
            self._open -= 1
            self._wake(None)
            if not isinstance(error, (asyncpg.PostgresError, *CONNECTION_IS_LOST)):
                raise
            self._not_before = time.monotonic() + SETTLE_SECONDS
            _log.warning("database_connect_failed", extra={"database_error": name_of(error)})
            raise

    async def _awaited(self) -> PostgresConnection:
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        place = loop.time() + WAIT_SECONDS, waiter
        self._waiters.append(place)
        if self._timer is None:
            self._timer = loop.call_later(WAIT_SECONDS, self._expire)
        try:
            lent = await waiter
        except BaseException:
            if not waiter.done() or waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiters.remove(place)
            elif isinstance(given := waiter.result(), PostgresConnection):
                self.give_back(given, broken=False)
            elif given is None:
                self._wake(None)
            raise
        if isinstance(lent, Busy):
            raise lent
        return lent if lent is not None else await self.take()

    def _expire(self) -> None:
        """Send away whoever has waited too long: one timer for all, since each costs more than the waiting."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiters:
            deadline, waiter = self._waiters[0]
            if not waiter.done():
                if deadline > loop.time():
                    self._timer = loop.call_at(deadline, self._expire)
                    return
                waiter.set_result(Busy())
            self._waiters.popleft()

    def _wake(self, lent: PostgresConnection | None) -> bool:
        """Hand a connection, or the room for one, to whoever has waited longest."""
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lent)
                return True
        return False
