"""Connections to PostgreSQL: how they are set, who waits for one, and which is never lent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from limen.core.errors import Busy, Conflict, Unavailable
from limen.storage.sql import postgres_pool
from limen.storage.sql.database import Operation
from limen.storage.sql.postgres import PostgresStorage
from limen.storage.sql.postgres_pool import PostgresPool
from limen.storage.sql.statement import Statement, Steps, row, rows, run
from limen.testing.contracts.contract import a_session, an_account, event, rotate
from tests.support.postgres import Databases

SLEEP = Statement("SELECT CAST(pg_sleep(CAST(:seconds AS float8)) AS text)")
WHOSE = Statement("SELECT pg_backend_pid()")
ADD = Statement("INSERT INTO limen_roles (name, source) VALUES (:name, 'database')")


def asks(statement: str) -> Operation[object]:
    """An operation that reads one value."""

    def operation() -> Steps[object]:
        found = yield from row(Statement(statement))
        return None if found is None else found[0]

    return operation


def sleeps(seconds: float) -> Operation[None]:
    """An operation that keeps its connection for a while."""

    def operation() -> Steps[None]:
        yield from rows(SLEEP, seconds=seconds)

    return operation


@asynccontextmanager
async def small(url: str, size: int) -> AsyncIterator[PostgresStorage]:
    """A storage with so many connections."""
    storage = PostgresStorage(url, pool_size=size)
    await storage.start()
    try:
        yield storage
    finally:
        await storage.stop()


def pool_of(storage: PostgresStorage) -> PostgresPool:
    """The connections of the running loop."""
    return storage._pools[asyncio.get_running_loop()]


async def test_what_a_role_prefers_does_not_count(
    postgres: Databases, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Isolation, durability and the waits are limen's, whatever the role and the database are set to."""
    monkeypatch.undo()  # the waits of every day, not those of the tests
    name = url.rsplit("/", 1)[1]
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "synchronous_commit = off",
        "lock_timeout = 0",
        "statement_timeout = 0",
        "default_transaction_read_only = on",
    ):
        postgres.execute(f'ALTER DATABASE "{name}" SET {setting}')
    async with small(url, 1) as storage:
        for setting, expected in (
            ("transaction_isolation", "read committed"),
            ("synchronous_commit", "on"),
            ("lock_timeout", "2s"),
            ("statement_timeout", "4s"),
            ("transaction_read_only", "off"),
        ):
            assert await storage.write(asks(f"SELECT current_setting('{setting}')")) == expected
        await an_account(storage)


async def test_twenty_who_rotate_at_once_are_no_failures(postgres: Databases, url: str) -> None:
    """Losers of a race get an answer, not a serialization failure, although the database's default is SERIALIZABLE."""
    postgres.execute(f"ALTER DATABASE \"{url.rsplit('/', 1)[1]}\" SET default_transaction_isolation = 'serializable'")
    async with small(url, 10) as storage:
        account = await an_account(storage)
        opened = await a_session(storage, account)
        answers = await asyncio.gather(*(rotate(storage, opened, bytes([n])) for n in range(20)))
        assert sum(answer is not None for answer in answers) == 1


async def test_those_who_wait_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every connection in use so many wait, and no more; who waits too long is told to come back."""
    monkeypatch.setattr(postgres_pool, "QUEUE_SIZE", 3)
    monkeypatch.setattr(postgres_pool, "WAIT_SECONDS", 0.2)
    async with small(url, 2) as storage:
        await storage.read(sleeps(0))
        lent = [await pool_of(storage).take() for _ in range(2)]
        answers = await asyncio.gather(*(storage.read(sleeps(0)) for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Busy] * 5
        assert pool_of(storage).waiting == 0
        for connection in lent:
            pool_of(storage).give_back(connection, broken=False)
        await storage.read(sleeps(0))
        assert pool_of(storage).in_use == 0


async def test_who_waited_longest_is_served_first(url: str) -> None:
    """One connection and ten who want it: all are served, in the order in which they came."""
    async with small(url, 1) as storage:
        order: list[int] = []

        async def call(n: int) -> None:
            await storage.read(sleeps(0.01))
            order.append(n)

        await asyncio.gather(*(call(n) for n in range(10)))
        assert order == list(range(10))


async def test_who_gives_up_waiting_takes_nothing_along(url: str) -> None:
    """A waiter that is cancelled, even in the moment it is handed a connection, leaves it to the next."""
    async with small(url, 1) as storage:
        await storage.read(sleeps(0))
        pool = pool_of(storage)
        lent = await pool.take()
        waiting = [asyncio.ensure_future(pool.take()) for _ in range(3)]
        await asyncio.sleep(0)
        pool.give_back(lent, broken=False)
        waiting[0].cancel()
        waiting[1].cancel()
        assert await waiting[2] is lent
        pool.give_back(lent, broken=False)
        assert (pool.in_use, pool.waiting) == (0, 0)


async def test_a_statement_that_was_cancelled_ends_its_connection(url: str) -> None:
    """The answer to a statement that nobody waits for any more never reaches whoever uses the pool next."""
    async with small(url, 1) as storage:
        before = await storage.read(asks("SELECT pg_backend_pid()"))
        call = asyncio.ensure_future(storage.read(sleeps(3)))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await storage.read(asks("SELECT 41 + 1")) == 42
        assert await storage.read(asks("SELECT pg_backend_pid()")) != before
        assert pool_of(storage).in_use == 0


async def test_who_is_cancelled_does_not_call_a_transaction_back(url: str) -> None:
    """A transaction that was begun is done, though its caller has gone."""
    async with small(url, 2) as storage:

        def operation() -> Steps[None]:
            yield from run(ADD, name="first")
            yield from rows(SLEEP, seconds=0.2)
            yield from run(ADD, name="second")

        call = asyncio.ensure_future(storage.write(operation))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(60):
            while await storage.read(asks("SELECT count(*) FROM limen_roles")) != 2:  # noqa: ASYNC110 - another's act
                await asyncio.sleep(0.02)


async def test_a_connection_that_the_server_closed_is_not_lent(postgres: Databases, url: str) -> None:
    """After the server ended every connection, the next operation opens one, without an error in between."""
    async with small(url, 3) as storage:
        await asyncio.gather(*(storage.read(sleeps(0.05)) for _ in range(3)))
        name = url.rsplit("/", 1)[1]
        postgres.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = $1", name)
        await asyncio.sleep(0.1)
        assert await asyncio.gather(*(storage.read(asks("SELECT 1")) for _ in range(5))) == [1] * 5


async def test_a_fault_is_its_own(url: str) -> None:
    """What fails takes back its own work only, is told as what it is, and leaves the connection fit for the next."""
    async with small(url, 1) as storage:

        def twice() -> Steps[None]:
            yield from run(ADD, name="twice")
            yield from run(ADD, name="twice")

        def fails() -> Steps[None]:
            yield from run(ADD, name="fails")
            raise ZeroDivisionError

        before = await storage.read(asks("SELECT pg_backend_pid()"))
        with pytest.raises(Conflict):
            await storage.write(twice)
        with pytest.raises(ZeroDivisionError):
            await storage.write(fails)
        with pytest.raises(Unavailable):
            await storage.write(asks("SELECT 1 FROM no_such_table"))
        with pytest.raises(Unavailable):
            await storage.write(lambda: run(ADD, name="nul \0 in it"))
        assert await storage.read(asks("SELECT count(*) FROM limen_roles")) == 0
        assert await storage.read(asks("SELECT pg_backend_pid()")) == before


async def test_a_deadlock_is_tried_again(url: str) -> None:
    """Two transactions that take two rows in opposite order both succeed: the one that was rolled back runs again."""
    lock = Statement("UPDATE limen_roles SET source = 'database' WHERE name = :name")
    async with small(url, 2) as storage:
        for name in ("a", "b"):
            await storage.write(lambda name=name: run(ADD, name=name))  # type: ignore[misc]
        begun: list[str] = []

        def takes(first: str, second: str) -> Operation[str]:
            def operation() -> Steps[str]:
                begun.append(first)
                yield from run(lock, name=first)
                yield from rows(SLEEP, seconds=0.3)
                yield from run(lock, name=second)
                return first

            return operation

        answers = await asyncio.gather(storage.write(takes("a", "b")), storage.write(takes("b", "a")))
        assert "".join(answers) == "ab"
        assert len(begun) == 3


async def test_an_operation_of_one_statement_is_no_more(url: str) -> None:
    """What promised to be one statement and asks for a second fails loudly: it would be two transactions."""
    async with small(url, 1) as storage:

        def two() -> Steps[None]:
            yield from run(ADD, name="one")
            yield from run(ADD, name="two")

        with pytest.raises(AssertionError):
            await storage.write_one(two)
        await storage.sessions.record(event())


async def test_no_failure_is_logged_with_its_values(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the failure; the values of the statement, and the database's address, are in no field of it."""
    canary = "canary-7f3a"
    async with small(url, 1) as storage:
        await storage.write(lambda: run(ADD, name=canary))
        with pytest.raises(Conflict):
            await storage.write(lambda: run(ADD, name=canary))
    told = "".join(f"{record.getMessage()} {record.__dict__} {record.exc_text}" for record in caplog.records)
    assert "UniqueViolationError 23505" in told
    assert canary not in told
    assert url.rsplit("/", 1)[1] not in told
