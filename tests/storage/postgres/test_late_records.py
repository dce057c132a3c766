"""Records that are committed after others with higher numbers: on PostgreSQL a number is taken before the commit."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from limen.features.audit.service import AuditService
from limen.storage.sql.postgres import PostgresStorage
from limen.testing.contracts.contract import all_events, event

INSERT = """
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
VALUES (0, 'refreshed', 'success', 'late', '', '', '', '', '{}') RETURNING seq
"""


@pytest.fixture
async def late(storage: PostgresStorage, url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose transaction writes a record and takes its time."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def places(storage: PostgresStorage) -> list[int]:
    """Return the numbers of the sealed records, in the order of the chain."""
    return [each.seal.seq for each in await storage.audit.sealed(0, limit=1_000)]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_late_commit_is_sealed(
    commits: bool, storage: PostgresStorage, peer: PostgresStorage, late: asyncpg.Connection
) -> None:
    """The floor waits for whoever may still commit a lower number; then their record is sealed, once, by anybody."""
    trail, other = (AuditService(each.audit, ["a secret of the data of this test"]) for each in (storage, peer))
    transaction = late.transaction()
    await transaction.start()
    seq = await late.fetchval(INSERT)
    for _ in range(3):
        await storage.sessions.record(event())
        assert await trail.seal() + await other.seal() == 1
    assert seq not in await places(storage)
    assert (await trail.head()).floor < seq
    await (transaction.commit() if commits else transaction.rollback())
    assert await trail.seal() + await other.seal() == int(commits)
    assert (seq in await places(storage)) is commits
    assert len(await places(storage)) == len(await all_events(storage)) == 3 + commits
    await storage.sessions.record(event())
    for _ in range(2):
        await trail.seal()
        await other.seal()
    newest = (await all_events(storage))[-1].seq
    assert (await trail.head()).floor == newest
    assert (await trail.verify()).count == 0
    assert (await storage.audit.due()).waits is False


async def test_a_long_transaction_holds_nobody_up(storage: PostgresStorage, late: asyncpg.Connection) -> None:
    """While one transaction stays open, every record of the others is sealed in the next round, in full batches too."""
    trail = AuditService(storage.audit, ["a secret of the data of this test"])
    async with late.transaction():
        await late.fetchval(INSERT)
        for _ in range(4):
            for _ in range(5):
                await storage.sessions.record(event())
            made = trail._after_head()
            assert [await storage.audit.seal(made, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert await trail.seal() == 1
    assert (await trail.verify()).count == 0


async def test_who_seals_is_not_waited_for(
    storage: PostgresStorage, late: asyncpg.Connection, turn_clock: Callable[[int], None]
) -> None:
    """Where another process holds the chain nobody waits, neither an act nor a sealer; that it is behind is told."""
    trail = AuditService(storage.audit, ["a secret of the data of this test"])
    async with late.transaction():
        await late.fetchval("SELECT number FROM limen_trail_head FOR UPDATE")
        await storage.sessions.record(event())
        turn_clock(90_000)
        assert await trail.seal() == 0
        assert trail.is_behind
    assert await trail.seal() == 1
    assert not trail.is_behind
