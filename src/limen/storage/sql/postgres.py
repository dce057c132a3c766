"""limen's stores in PostgreSQL: for more than one process."""

import asyncio
import logging
import time
from functools import partial
from secrets import SystemRandom
from typing import Final, Protocol, TypeVar

import asyncpg

from limen.core.clock import Clock, system_clock
from limen.core.errors import Unavailable
from limen.features.sessions.store import SessionStore
from limen.storage.sql import migrations
from limen.storage.sql.borrowed import Committed
from limen.storage.sql.borrowed_hosts import BorrowedPostgres, place
from limen.storage.sql.database import Operation
from limen.storage.sql.migrations import Schema, Standing
from limen.storage.sql.postgres_faults import (
    CONNECTION_IS_LOST,
    TRIED_AGAIN,
    is_lost,
    translated,
    translated_at_start,
)
from limen.storage.sql.postgres_issuing import PostgresIssuing
from limen.storage.sql.postgres_pool import PostgresConnection, PostgresPool
from limen.storage.sql.postgres_records import PostgresSessions
from limen.storage.sql.statement import Steps, row
from limen.storage.sql.stores import SQLStores

_log = logging.getLogger(__name__)
_DICE = SystemRandom()

T = TypeVar("T")

POOL_SIZE: Final = 10
PING_SECONDS: Final = 2.0
ATTEMPTS: Final = 5
"""How often a transaction is tried that the database rolls back because of another one."""


class PostgresStorage(SQLStores):
    """All stores in one PostgreSQL database. Nothing is opened before `start`: it may be made before a process forks.

    Any number of processes may use it at once; each event loop has connections of its own.

    Args:
        url: ``postgresql://…``.
        clock: the system's clock, or one that tests turn: PostgreSQL stamps and judges every row by its own clock, and
            is told how far this one has been turned.
        pool_size: connections of one event loop at most.
    """

    def __init__(self, url: str, *, clock: Clock = system_clock, pool_size: int = POOL_SIZE) -> None:
        super().__init__(BorrowedPostgres(partial(self._reading, place), self._clock_shift))
        self._url = url
        self._clock = clock
        self._pool_size = pool_size
        self._pools: dict[asyncio.AbstractEventLoop, PostgresPool] = {}
        self._started = False
        self.sessions: SessionStore = PostgresSessions(self, borrowed=self._borrowings.here)
        self.issuing = PostgresIssuing(Committed(self, self._borrowings), borrowed=self._borrowings.here)

    @property
    def in_use(self) -> int:
        """Connections that are in use, or being opened, in all event loops together."""
        return sum(pool.in_use for pool in list(self._pools.values()))

    @property
    def waiting(self) -> int:
        """Operations that wait for a connection."""
        return sum(pool.waiting for pool in list(self._pools.values()))

    async def start(self, *, migrate: bool = True) -> None:
        """Connect, and bring the schema up to date; a second call does nothing.

        Raises ConfigurationError where the database refuses the role, is of a newer limen, or is behind and ``migrate``
        is False; Unavailable where it does not answer.
        """
        if self._started:
            return
        try:
            # Not from the pool: it is closed before a migration begins, which may want the last connection there is.
            version, compatible = await self._version()
            migrations.refuse_newer(version, compatible=compatible)
            if not migrate:
                migrations.refuse_behind(version)
            if migrations.standing(version) is Standing.BEHIND:
                from limen.storage.sql import postgres_migration

                await postgres_migration.migrate(self._url)
        except (asyncpg.PostgresError, *CONNECTION_IS_LOST) as error:
            raise translated_at_start(error) from error
        self._started = True

    async def schema(self) -> Schema:
        """Tell which schema the database bears; nothing is changed, and it need not be started.

        Raises ConfigurationError where the database refuses the role, Unavailable where it does not answer.
        """
        try:
            version, compatible = await self._version()
        except (asyncpg.PostgresError, *CONNECTION_IS_LOST) as error:
            raise translated_at_start(error) from error
        return Schema.of(version, compatible=compatible)

    async def stop(self) -> None:
        """Close the connections; it may be started again."""
        self._started = False
        pools, self._pools = self._pools, {}
        own = asyncio.get_running_loop()
        for loop, pool in pools.items():
            if loop is own:
                await pool.close()
            else:
                pool.abandon()

    async def ping(self) -> None:
        """Read from the database, and see that its schema is one this version can work with; Unavailable otherwise.

        A newer schema is no fault of a process that already runs: a migration leaves the version before it working.
        """
        try:
            async with asyncio.timeout(PING_SECONDS):
                version = await self._reading(_version)
        except TimeoutError:
            raise Unavailable("The database does not answer in time.") from None
        if migrations.standing(version) is Standing.BEHIND:
            raise Unavailable("The schema of the database is not that of this version.")

    async def write(self, operation: Operation[T]) -> T:
        """Run the operation in a writing transaction; answer after it was committed to disk.

        Whoever is cancelled while waiting does not call it back: what is begun is done.
        """
        self.calls += 1
        if (borrowed := self._borrowings.here()) is not None:
            return await borrowed.run(operation)
        return await asyncio.shield(asyncio.ensure_future(self._writing(operation)))

    async def write_one(self, operation: Operation[T]) -> T:
        """Run an operation of exactly one statement, which is a transaction by itself.

        Whoever is cancelled meanwhile does not know whether it was done, as after a connection that was lost.
        """
        self.calls += 1
        if (borrowed := self._borrowings.here()) is not None:
            return await borrowed.run(operation)
        return await self._attempted(operation, _single)

    async def read_committed(self, operation: Operation[T]) -> T:
        """Read past a transaction that the application has handed in."""
        self.calls += 1
        return await self._reading(operation)

    async def _reading(self, operation: Operation[T]) -> T:
        return await self._attempted(operation, PostgresConnection.drive)

    async def _writing(self, operation: Operation[T]) -> T:
        return await self._attempted(operation, _in_transaction)

    async def _attempted(self, operation: Operation[T], how: "_Driver") -> T:
        pool = self._pool()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                # By hand: a context manager costs as much as all else that limen does here.
                connection = pool.idle() or await pool.take()
                try:
                    found: T = await how(connection, operation(), self._clock_shift())
                except BaseException as error:
                    pool.give_back(connection, broken=is_lost(error))
                    raise
                pool.give_back(connection, broken=False)
                return found
            except TRIED_AGAIN as error:
                if attempt == ATTEMPTS:
                    raise translated(error) from error
                if isinstance(error, asyncpg.InvalidCachedStatementError):
                    pool.renew()
                await asyncio.sleep(_DICE.uniform(0, 0.01) * 2**attempt)
            except (asyncpg.PostgresError, *CONNECTION_IS_LOST) as error:
                raise translated(error) from error
        raise Unavailable()

    def _pool(self) -> PostgresPool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            if not self._started:
                raise Unavailable("The database is not open.")
            pool = self._pools[loop] = PostgresPool(self._url, self._pool_size)
        return pool

    def _clock_shift(self) -> int:
        return 0 if self._clock is system_clock else round((self._clock() - time.time()) * 1000)

    async def _version(self) -> tuple[str | None, bool]:
        """Return the revision the database bears, and whether one that this version does not know suits it."""
        connection = await PostgresConnection.open(self._url)
        try:
            try:
                version = await connection.drive(_version(), 0)
            except asyncpg.UndefinedTableError:
                return None, False
            is_newer = migrations.standing(version) is Standing.NEWER
            return version, is_newer and await connection.drive(_is_compatible(), 0)
        finally:
            await connection.close()


class _Driver(Protocol):
    """How an operation is run on a connection."""

    async def __call__(self, connection: PostgresConnection, steps: Steps[T], clock_shift: int, /) -> T: ...


async def _in_transaction(connection: PostgresConnection, steps: Steps[T], clock_shift: int) -> T:
    await connection.begin()
    try:
        found = await connection.drive(steps, clock_shift)
    except Exception as error:
        if not is_lost(error):
            await connection.roll_back()
        raise
    await connection.commit()
    return found


async def _single(connection: PostgresConnection, steps: Steps[T], clock_shift: int) -> T:
    """Run the one statement; a second one would be a second transaction, so there must be none."""
    try:
        answer = await connection.answer(next(steps), clock_shift)
        steps.send(answer)
    except StopIteration as end:
        found: T = end.value
        return found
    finally:
        steps.close()
    raise AssertionError("an operation that was to be one statement asked for another")


def _is_compatible() -> Steps[bool]:
    return (yield from row(migrations.READ_COMPATIBLE, revision=migrations.REVISIONS[-1])) is not None


def _version() -> Steps[str | None]:
    found = yield from row(migrations.READ_VERSION)
    return None if found is None else str(found[0])
