"""One transaction for all who wait: who is answered, when, and what a failure takes with it."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from limen.core.errors import Busy, Conflict, Unavailable
from limen.storage import SQLiteStorage
from limen.storage.sql.database import Operation
from limen.storage.sql.statement import Statement, Steps, rows, run
from limen.testing.contracts.contract import a_session, all_events, an_account, event, rotate, state
from tests.storage.conftest import contents, looking_into, replace_contents

ADD = Statement("INSERT INTO limen_roles (name, source) VALUES (:name, 'database')")
COUNT = Statement("SELECT count(*) FROM limen_roles")


def adds(name: str) -> Operation[str]:
    """An operation that inserts a role."""

    def operation() -> Steps[str]:
        yield from run(ADD, name=name)
        return name

    return operation


@asynccontextmanager
async def writer_held(storage: SQLiteStorage) -> AsyncIterator[None]:
    """Hold the writer inside a transaction, so that what is called meanwhile is queued."""
    holds, release = threading.Event(), threading.Event()

    def operation() -> Steps[None]:
        holds.set()
        assert release.wait(10)
        yield from ()

    holding = asyncio.ensure_future(storage.write(operation))
    await asyncio.to_thread(holds.wait, 10)
    try:
        yield
    finally:
        release.set()
        await holding


def traced(storage: SQLiteStorage, statements: list[str]) -> None:
    """Note every statement that the writer runs."""
    raw = storage._writer._raw
    assert raw is not None
    raw.set_trace_callback(statements.append)


def roles(storage: SQLiteStorage) -> list[str]:
    """The names of the stored roles, by a connection of its own."""
    with looking_into(storage.path) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM limen_roles ORDER BY name")]


async def test_what_is_queued_shares_one_commit(storage: SQLiteStorage) -> None:
    """Forty operations that wait together are one transaction, without a savepoint each."""
    statements: list[str] = []
    async with writer_held(storage):
        calls = [asyncio.ensure_future(storage.write(adds(f"{n:02}"))) for n in range(40)]
        await asyncio.sleep(0)
        traced(storage, statements)
    assert await asyncio.gather(*calls) == [f"{n:02}" for n in range(40)]
    assert statements.count("BEGIN IMMEDIATE") == 1
    # The first is the one that held the writer.
    assert statements.count("COMMIT") == 2
    assert not any(statement.startswith("SAVEPOINT") for statement in statements)
    assert roles(storage) == [f"{n:02}" for n in range(40)]


async def test_one_turn_of_the_loop_is_one_commit(storage: SQLiteStorage) -> None:
    """What a loop submits in one turn is one transaction, although the writer had nothing to do."""
    statements: list[str] = []
    traced(storage, statements)
    await asyncio.gather(*(storage.write(adds(f"{n:02}")) for n in range(40)))
    assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
    assert len(roles(storage)) == 40


async def test_a_loop_that_closed_at_once_holds_nobody_up(storage: SQLiteStorage) -> None:
    """A loop that was closed in the turn in which it submitted hands nothing over; whoever comes next does."""

    def closed_at_once() -> None:
        async def call() -> None:
            write = storage.write(adds("orphan"))
            with contextlib.suppress(StopIteration):
                write.send(None)
            write.close()
            asyncio.get_running_loop().stop()

        loop = asyncio.new_event_loop()
        task = loop.create_task(call())
        loop.run_forever()
        assert task.done()
        loop.close()

    await asyncio.to_thread(closed_at_once)
    async with asyncio.timeout(60):
        assert await storage.write(adds("next")) == "next"
    assert roles(storage) == ["next", "orphan"]


async def test_nobody_is_answered_before_the_commit(storage: SQLiteStorage) -> None:
    """In the moment a call is answered, a stranger's connection sees what it wrote."""
    seen: list[bool] = []

    async def call(name: str) -> None:
        await storage.write(adds(name))
        seen.append(name in roles(storage))

    await asyncio.gather(*(call(str(n)) for n in range(20)))
    assert seen == [True] * 20


@pytest.mark.parametrize("fault", ["integrity", "python", "statement", "text"])
async def test_a_fault_is_its_own(storage: SQLiteStorage, fault: str) -> None:
    """Among operations that share a transaction, those with a fault fail and take back their own work only."""

    def faulty() -> Steps[None]:
        yield from adds(f"faulty-{fault}")()
        if fault == "integrity":
            yield from adds(f"faulty-{fault}")()
        elif fault == "python":
            raise ZeroDivisionError
        elif fault == "statement":
            yield from run(Statement("INSERT INTO no_such_table VALUES (1)"))
        else:
            yield from adds("lone surrogate \ud800")()

    errors = {"integrity": Conflict, "python": ZeroDivisionError, "statement": Unavailable, "text": UnicodeEncodeError}
    async with writer_held(storage):
        calls: list[asyncio.Future[object]] = [
            asyncio.ensure_future(storage.write(faulty if n in {0, 7, 8, 19} else adds(f"{n:02}"))) for n in range(20)
        ]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for n, answer in enumerate(answers):
        if n in {0, 7, 8, 19}:
            assert type(answer) is errors[fault]
        else:
            assert answer == f"{n:02}"
    assert roles(storage) == [f"{n:02}" for n in range(20) if n not in {0, 7, 8, 19}]


async def test_a_commit_that_fails_answers_everybody(storage: SQLiteStorage) -> None:
    """Where COMMIT itself fails, all of its operations are answered Unavailable, none is stored, and it goes on."""

    def broken() -> Steps[None]:
        # Checked at COMMIT, not at the statement.
        yield from run(Statement("PRAGMA defer_foreign_keys = ON"))
        yield from run(Statement("INSERT INTO limen_role_permissions (role, permission) VALUES ('nobody', 'a:b')"))

    async with writer_held(storage):
        calls: list[asyncio.Future[object]] = [
            asyncio.ensure_future(storage.write(broken if n == 3 else adds(f"{n}"))) for n in range(6)
        ]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 6
    assert roles(storage) == []
    assert await storage.write(adds("next")) == "next"


async def test_the_queue_is_bounded(prepared: Path) -> None:
    """Whoever comes when too many wait is answered Busy with a time to come back; those who wait are served."""
    storage = SQLiteStorage(prepared, queue_size=3)
    await storage.start()
    async with writer_held(storage):
        calls = [asyncio.ensure_future(storage.write(adds(str(n)))) for n in range(5)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[:3] == ["0", "1", "2"]
    for answer in answers[3:]:
        assert isinstance(answer, Busy)
        assert answer.retry_after == 1
    await storage.stop()


async def test_a_cancelled_caller_calls_nothing_back(storage: SQLiteStorage) -> None:
    """What was queued is done, also when nobody waits for it any more; its neighbours do not notice."""
    async with writer_held(storage):
        cancelled = asyncio.ensure_future(storage.write(adds("cancelled")))
        neighbour = asyncio.ensure_future(storage.write(adds("neighbour")))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert cancelled.cancelled()
    assert await neighbour == "neighbour"
    assert roles(storage) == ["cancelled", "neighbour"]


async def test_several_event_loops_share_a_storage(storage: SQLiteStorage) -> None:
    """Loops in other threads, as test clients run them, are each answered in their own."""

    def other_loop(prefix: str) -> list[str]:
        async def calls() -> list[str]:
            return await asyncio.gather(*(storage.write(adds(f"{prefix}-{n}")) for n in range(50)))

        return asyncio.run(calls())

    answers = await asyncio.gather(*(asyncio.to_thread(other_loop, prefix) for prefix in "abc"))
    assert answers == [[f"{prefix}-{n}" for n in range(50)] for prefix in "abc"]
    assert len(roles(storage)) == 150


async def test_a_loop_that_is_gone_holds_nobody_up(storage: SQLiteStorage) -> None:
    """An answer to a loop that was closed meanwhile is dropped; the work is stored, the next caller served."""

    def short_lived() -> None:
        async def call() -> None:
            asyncio.ensure_future(storage.write(adds("orphan"))).add_done_callback(lambda _: None)
            await asyncio.sleep(0)

        loop = asyncio.new_event_loop()
        task = loop.create_task(call())
        loop.run_until_complete(task)
        for pending in asyncio.all_tasks(loop):
            pending.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async with writer_held(storage):
        await asyncio.to_thread(short_lived)
    assert await storage.write(adds("next")) == "next"
    assert roles(storage) == ["next", "orphan"]


async def test_stop_finishes_what_is_queued(prepared: Path) -> None:
    """Who called before the stop is answered; who calls after it is refused; a second start serves again."""
    before = set(threading.enumerate())
    storage = SQLiteStorage(prepared)
    await storage.start()
    await storage.start()
    calls = [asyncio.ensure_future(storage.write(adds(f"{n:02}"))) for n in range(30)]
    await asyncio.sleep(0)
    await storage.stop()
    assert len(await asyncio.gather(*calls)) == 30
    with pytest.raises(Unavailable):
        await storage.write(adds("late"))
    assert sorted(file.name for file in prepared.parent.iterdir()) == ["limen.db"]
    await storage.start()
    assert await storage.write(adds("again")) == "again"
    await storage.stop()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not left & {"limen-sqlite-writer", "limen-sqlite-reader"}


async def test_another_process_that_writes_too_long(storage: SQLiteStorage) -> None:
    """A lock that another process does not give back in time is Unavailable, and no harm once it is given back."""
    await storage.write(lambda: rows(Statement("PRAGMA busy_timeout = 50")))
    account = await an_account(storage)
    with looking_into(storage.path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await storage.write(adds("refused"))
        assert await storage.accounts.by_id(account.id) == account
        connection.execute("ROLLBACK")
    assert await storage.write(adds("next")) == "next"
    assert roles(storage) == ["next"]


async def test_what_was_read_cannot_be_old(storage: SQLiteStorage, peer: SQLiteStorage) -> None:
    """Between what an operation reads and what it writes no other process writes: the lock comes first."""
    read, other_waits = threading.Event(), threading.Event()

    def counts() -> Steps[int]:
        found = yield from rows(COUNT)
        return int(found[0][0])

    def operation() -> Steps[int]:
        before = yield from counts()
        read.set()
        other_waits.wait(0.2)
        yield from adds("mine")()
        return before

    mine = asyncio.ensure_future(storage.write(operation))
    await asyncio.to_thread(read.wait, 10)
    other = asyncio.ensure_future(peer.write(counts))
    assert [await mine, await other] == [0, 1]


async def test_a_failure_of_the_file_is_survived(storage: SQLiteStorage) -> None:
    """Damaged in the middle of work: Unavailable; with the file whole again it goes on without a restart."""
    opened = await a_session(storage, await an_account(storage))
    with looking_into(storage.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = contents(storage.path)
    replace_contents(storage.path, os.urandom(len(whole)))

    def uncached() -> Steps[None]:
        yield from rows(Statement("PRAGMA shrink_memory"))
        yield from rows(Statement("SELECT count(*) FROM limen_sessions"))

    for call in (storage.read, storage.write):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await call(uncached)
    replace_contents(storage.path, whole)
    assert (await state(storage, opened.sid)).generation == 0
    assert await rotate(storage, opened, b"next") is not None


async def test_no_failure_is_logged_with_its_values(storage: SQLiteStorage, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the failure; the values of the statement are in no field of it."""
    canary = "canary-7f3a"
    await storage.write(adds(canary))
    with pytest.raises(Conflict) as refusal:
        await storage.write(adds(canary))
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in errors] == ["database_statement_failed"]
    assert errors[0].__dict__["database_error"] == "SQLITE_CONSTRAINT_PRIMARYKEY"
    assert all(canary not in repr(record.__dict__) for record in caplog.records)
    assert canary not in str(refusal.value)


async def test_the_expiry_is_exact(storage: SQLiteStorage) -> None:
    """One millisecond before the end a token rotates, at the end it does not: the idle end and the absolute one."""
    clock = storage._writer._clock
    clock.stands_at_ms = 1_800_000_000_000  # type: ignore[attr-defined]
    account = await an_account(storage)
    for ttl, end in ((1_000, 1_000), (5_000, 2_000)):
        clock.stands_at_ms = start = 1_800_000_000_001  # type: ignore[attr-defined]
        early, late = [await a_session(storage, account, refresh_ttl_ms=ttl, max_ttl_ms=2_000) for _ in range(2)]
        assert (await state(storage, early.sid)).idle_until == start + end
        clock.stands_at_ms = start + end - 1  # type: ignore[attr-defined]
        assert (await state(storage, early.sid)).in_time
        assert await rotate(storage, early, b"next") is not None
        clock.stands_at_ms = start + end  # type: ignore[attr-defined]
        assert not (await state(storage, late.sid)).in_time
        assert await rotate(storage, late, b"next") is None


async def test_numbers_of_records_are_never_used_again(storage: SQLiteStorage) -> None:
    """A record that somebody cuts off at the end leaves a gap."""
    await storage.sessions.record(event())
    await storage.sessions.record(event())
    with looking_into(storage.path) as connection:
        connection.execute("DELETE FROM limen_events WHERE seq = 2")
    await storage.sessions.record(event())
    assert [record.seq for record in await all_events(storage)] == [1, 3]


def test_a_fork_is_refused(prepared: Path) -> None:
    """In a process that was forked off a started one the threads are not there: an error says so, nobody hangs."""
    script = """
import asyncio, os, sys
from limen.core.errors import ConfigurationError
from limen.storage import SQLiteStorage

storage = SQLiteStorage(sys.argv[1])
asyncio.run(storage.start())
child = os.fork()
if child == 0:
    for call in (storage.accounts.by_id("x"), storage.roles.sync({}, None)):
        try:
            asyncio.run(call)
        except ConfigurationError as error:
            print("refused" if "each worker" in str(error) else error, flush=True)
    storage._writer.stop()
    os._exit(0)
os.waitpid(child, 0)
asyncio.run(storage.stop())
"""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(prepared)], capture_output=True, text=True, timeout=60
    )
    assert (answer.stdout, answer.returncode) == ("refused\nrefused\n", 0)
