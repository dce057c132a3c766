"""The fault proxy breaks exactly what it is told to break, seen from a real client of a real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import asyncpg
import pytest

from tests.support.fault_proxy import FaultProxy, Statements, fault_proxy
from tests.support.postgres import rows
from tests.support.processes import until

INSERT = "INSERT INTO t VALUES ($1)"
COUNT = "SELECT count(*) FROM t"
BROKEN = (OSError, asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[FaultProxy]:
    """A proxy before a database with an empty table."""
    rows(postgres_url, "CREATE TABLE t (i int)")
    with fault_proxy(postgres_url) as started:
        yield started


@pytest.fixture
async def client(proxy: FaultProxy, postgres_url: str) -> AsyncIterator[Connection]:
    """A client's connection through the proxy."""
    connection = await asyncpg.connect(proxy.url(postgres_url), timeout=60)
    yield connection
    connection.terminate()


async def test_without_a_fault_all_goes_through(proxy: FaultProxy, client: Connection) -> None:
    """Megabytes come through in both directions, unchanged."""
    text = "limen" * 400_000
    assert await client.fetchval("SELECT $1::text", text) == text
    counts = proxy.counts()
    assert (counts["open"], counts["statements_lost"], counts["answers_lost"]) == (1, 0, 0)


async def test_latency_delays_each_direction(proxy: FaultProxy, client: Connection) -> None:
    """100 ms each way are 200 ms a statement, and nothing is left of it afterwards."""
    await client.fetchval("SELECT 1")
    proxy.latency(0.1)
    began = time.monotonic()
    await client.fetchval("SELECT 1")
    assert time.monotonic() - began >= 0.2
    proxy.ok()
    took = []
    for _ in range(20):  # a busy machine delays one or the other, a latency that is left all of them
        began = time.monotonic()
        await client.fetchval("SELECT 1")
        took.append(time.monotonic() - began)
    assert min(took) < 0.2


async def test_a_hanging_server_answers_nobody_and_then_goes_on(
    proxy: FaultProxy, client: Connection, postgres_url: str
) -> None:
    """Old and new connections get no answer and no end; what waits is answered when the fault is over."""
    proxy.hang()
    asked = asyncio.ensure_future(client.fetchval("SELECT 7"))
    greeted = asyncio.ensure_future(asyncpg.connect(proxy.url(postgres_url), timeout=60))
    done, _ = await asyncio.wait({asked, greeted}, timeout=0.5)
    assert done == set()
    proxy.ok()
    assert await asked == 7
    (await greeted).terminate()


async def test_a_reset_breaks_old_and_new_connections(proxy: FaultProxy, client: Connection, postgres_url: str) -> None:
    """Who is connected is cut off, who comes is cut off, and afterwards a new connection works."""
    waiting = asyncio.ensure_future(client.fetchval("SELECT pg_sleep(20)"))
    await asyncio.sleep(0.1)
    proxy.reset()
    with pytest.raises(BROKEN):
        await asyncio.wait_for(waiting, 60)
    with pytest.raises(BROKEN):
        await asyncpg.connect(proxy.url(postgres_url), timeout=60)
    proxy.ok()
    assert rows(proxy.url(postgres_url), "SELECT 1") == [(1,)]


async def test_a_refusing_server_has_no_open_port(proxy: FaultProxy, client: Connection, postgres_url: str) -> None:
    """New connections are refused by the system, old ones are gone, and the port comes back the same."""
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(BROKEN):
        await client.fetchval("SELECT 1")
    proxy.ok()
    assert rows(proxy.url(postgres_url), "SELECT 1") == [(1,)]


async def test_who_waits_for_a_hanging_server_is_cut_off_by_a_reset(proxy: FaultProxy, postgres_url: str) -> None:
    """A hang that ends in a reset ends so for those who were just connecting, too."""
    proxy.hang()
    greeted = asyncio.ensure_future(asyncpg.connect(proxy.url(postgres_url), timeout=60))
    await asyncio.sleep(0.2)
    proxy.refuse()
    with pytest.raises(BROKEN):
        await asyncio.wait_for(greeted, 60)


@pytest.mark.parametrize("prepared_before", [False, True])
async def test_a_lost_statement_was_never_done(
    proxy: FaultProxy, client: Connection, postgres_url: str, prepared_before: bool
) -> None:
    """The connection breaks before the server gets it, also when its text was sent earlier; others are not touched."""
    if prepared_before:
        await client.execute(INSERT, 1)
    proxy.lose_statement("INSERT INTO t")
    await client.fetchval(COUNT)
    with pytest.raises(BROKEN):
        await client.execute(INSERT, 2)
    assert rows(postgres_url, "SELECT i FROM t") == ([(1,)] if prepared_before else [])
    assert proxy.counts()["statements_lost"] == 1
    rows(proxy.url(postgres_url), INSERT, 3)
    assert (3,) in rows(postgres_url, "SELECT i FROM t")


@pytest.mark.parametrize("prepared_before", [False, True])
async def test_a_lost_answer_is_one_to_a_statement_that_was_done(
    proxy: FaultProxy, client: Connection, postgres_url: str, prepared_before: bool
) -> None:
    """The client sees a broken connection and cannot know; the row is there."""
    if prepared_before:
        await client.execute(INSERT, 1)
    proxy.lose_answer("INSERT INTO t")
    await client.fetchval(COUNT)
    with pytest.raises(BROKEN):
        await client.execute(INSERT, 2)
    assert (2,) in rows(postgres_url, "SELECT i FROM t")
    assert proxy.counts()["answers_lost"] == 1


@pytest.mark.parametrize(("lost", "count"), [("lose_statement", 0), ("lose_answer", 1)])
async def test_a_commit_can_be_lost_on_either_side(
    proxy: FaultProxy, client: Connection, postgres_url: str, lost: str, count: int
) -> None:
    """Cut off before its COMMIT a transaction is undone; cut off before the answer to it, it is done."""
    getattr(proxy, lost)("COMMIT")
    with pytest.raises(BROKEN):
        async with client.transaction():
            await client.execute(INSERT, 1)
    assert until(lambda: rows(postgres_url, "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass") == [(0,)])
    assert rows(postgres_url, COUNT) == [(count,)]


async def test_statements_are_lost_as_often_as_was_asked(
    proxy: FaultProxy, client: Connection, postgres_url: str
) -> None:
    """Two are lost, the third goes through; and `ok` forgets what was still to be lost."""
    proxy.lose_statement("INSERT", times=2)
    for _ in range(2):
        with pytest.raises(BROKEN):
            rows(proxy.url(postgres_url), INSERT, 1)
    rows(proxy.url(postgres_url), INSERT, 1)
    proxy.lose_answer("INSERT", times=9)
    proxy.ok()
    rows(proxy.url(postgres_url), INSERT, 2)
    assert rows(postgres_url, COUNT) == [(2,)]
    assert await client.fetchval("SELECT 1") == 1


def message(kind: bytes, *parts: bytes) -> bytes:
    """Make a client's message."""
    body = b"\0".join(parts) + b"\0"
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def test_messages_are_read_whatever_pieces_they_come_in() -> None:
    """A request for encryption, the greeting and three statements, byte by byte, are the same as in one piece."""
    encryption = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
    greeting = message(b"", b"\0\3\0\0user", b"limen", b"")
    text = (
        encryption
        + greeting
        + message(b"P", b"one", b"SELECT 1", b"\0")
        + message(b"B", b"", b"one", b"\0\0\0\0")
        + message(b"Q", b"COMMIT")
        + message(b"B", b"", b"one", b"\0\0\0\0")
    )
    whole, piecewise = Statements(), Statements()
    expected = [b"SELECT 1", b"COMMIT", b"SELECT 1"]
    assert whole.run_by(text) == expected
    assert [run for byte in text for run in piecewise.run_by(bytes([byte]))] == expected
