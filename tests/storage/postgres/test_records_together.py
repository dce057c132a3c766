"""Records alone that wait at the same time share a statement, and each is what it would have been alone."""

import asyncio

from limen.core.errors import LimenError
from limen.core.events import EventName, Origin, Outcome
from limen.storage.sql.postgres import PostgresStorage
from limen.testing.contracts.contract import BROKEN_EVENT, all_events, event
from tests.support.one_connection import storage, uses_of
from tests.support.postgres import rows as ask
from tests.support.waiting import until

SHARED = "limen_events.*ORDINALIT[Y]"
"""What the statement is known by that several share."""

__all__ = ["storage"]


async def test_what_waits_shares_a_statement(storage: PostgresStorage) -> None:
    """Of thirty refusals at once one is written alone and the others together; each is whole, in its order."""
    asked = [
        event(
            EventName.LOGIN_FAILED,
            outcome=Outcome.FAILURE,
            actor=f"actor-{number}",
            origin=Origin(f"request-{number}", f"192.0.2.{number}", f"agent {number}"),
            data={"n": number, "ä": [None, "\u2028"]},
        )
        for number in range(30)
    ]
    await asyncio.gather(*map(storage.sessions.record, asked))
    assert await uses_of(storage, SHARED) == 1
    found = await all_events(storage, EventName.LOGIN_FAILED)
    told = [(each.actor, each.request_id, each.source, each.user_agent, each.outcome, each.data) for each in found]
    assert told == [
        (each.actor, each.origin.request_id, each.origin.address, each.origin.user_agent, "failure", dict(each.data))
        for each in asked
    ]
    assert len({each.seq for each in found}) == 30


async def test_one_that_cannot_be_written_spoils_no_other(storage: PostgresStorage) -> None:
    """What the database refuses is told to whoever asked for it alone; the rest is written."""
    good = [event(actor=f"actor-{number}") for number in range(8)]
    bad = [event(actor="x" * 100), event(data={"nul": "\x00"}), BROKEN_EVENT]
    results = await asyncio.gather(*map(storage.sessions.record, [*good[:4], *bad, *good[4:]]), return_exceptions=True)
    failed = [isinstance(each, BaseException) for each in results]
    assert failed == [False] * 4 + [True] * 3 + [False] * 4
    assert {each.actor for each in await all_events(storage)} == {each.actor for each in good}


async def test_a_storm_leaves_connections_to_others(storage: PostgresStorage) -> None:
    """While hundreds of refusals wait, somebody else's read is not behind each of them."""
    storm = [asyncio.create_task(storage.sessions.record(event())) for _ in range(300)]
    await asyncio.sleep(0)
    await storage.ping()
    assert storage.waiting <= 2
    await asyncio.gather(*storm)
    assert len(await all_events(storage)) == 300


async def test_after_a_failure_it_goes_on(storage: PostgresStorage, url: str) -> None:
    """A database that ends every connection meanwhile loses nothing that was answered, and the next is written."""
    storm = [asyncio.create_task(storage.sessions.record(event(actor=f"actor-{n}"))) for n in range(100)]
    await asyncio.sleep(0)
    everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    await asyncio.to_thread(ask, url, f"{everybody} AND datname = current_database()")
    results = await asyncio.gather(*storm, return_exceptions=True)
    assert all(each is None or isinstance(each, LimenError) for each in results)
    answered = {f"actor-{n}" for n, each in enumerate(results) if each is None}

    async def is_written() -> bool:
        try:
            await storage.sessions.record(event(actor="afterwards"))
        except LimenError:
            return False
        return True

    await until(is_written, "the next record")
    assert answered | {"afterwards"} <= {each.actor for each in await all_events(storage)}
