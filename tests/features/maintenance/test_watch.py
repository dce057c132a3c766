"""A database that goes back while a process runs is noticed, however busy it is afterwards."""

import asyncio
import logging

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from limen import Limen
from limen.core import metrics
from limen.core.errors import LimenError
from limen.core.events import NOWHERE, Event, EventName
from limen.features.maintenance.watch import RollbackWatch
from tests.features.maintenance.conftest import Past
from tests.support.gates import PASSWORD
from tests.support.waiting import PATIENCE, felt


async def events_of(gate: Limen, name: EventName) -> list[dict[str, object]]:
    """Return the data of every record of this name."""
    return [event.data for event in await gate.storage.events(limit=1000) if event.event == name]


async def after_reconnecting(gate: Limen) -> None:
    """Wait until the database answers again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await gate.storage.ping()
            except LimenError:
                await asyncio.sleep(0.05)
            else:
                return


async def until_noticed(gate: Limen, *, noticed: bool) -> None:
    """Wait until readiness says, or no longer says, that the store was rolled back."""

    async def as_wanted() -> bool:
        return (await gate.ready() == {"store": "rolled_back"}) is noticed

    await felt(as_wanted, within=5.0)


def rollbacks() -> float:
    """Return the number that is exposed."""
    ((_, number),) = metrics.ROLLBACKS.read().samples
    assert isinstance(number, float | int)
    return number


async def go_back(gate: Limen, past: Past) -> None:
    """Make a backup, act, and restore the backup."""
    await asyncio.to_thread(past.keep)
    await after_reconnecting(gate)
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    await gate._watch.look()
    await asyncio.to_thread(past.restore)
    await after_reconnecting(gate)


async def test_a_restore_under_a_running_process_is_noticed(
    running: Limen, past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    """Within seconds: one event, one line at error level, a count, and readiness says so, but serves on."""
    await running.accounts.create("ann", PASSWORD)
    before = rollbacks()
    await go_back(running, past)
    await until_noticed(running, noticed=True)
    await asyncio.sleep(2.5)
    (told,) = await events_of(running, EventName.STORE_ROLLED_BACK)
    seen, newest = told["seen"], told["newest"]
    assert isinstance(seen, int)
    assert isinstance(newest, int)
    assert newest < seen
    lines = [record for record in caplog.records if "was rolled back" in record.message]
    assert [record.levelno for record in lines] == [logging.ERROR]
    assert rollbacks() == before + 1
    assert (await running.login.login("ann", PASSWORD, origin=NOWHERE)).expires_in == 900


async def test_it_is_said_until_every_session_was_ended(running: Limen, past: Past) -> None:
    """What takes it back is the work after this restore, done by any process, and nothing else: not an earlier one."""
    await running.accounts.create("ann", PASSWORD)
    await running.maintenance.restored(actor="cli")
    await go_back(running, past)
    await until_noticed(running, noticed=True)
    for _ in range(20):
        await running.sessions.record(Event(EventName.REFRESH_REFUSED))
    await running._watch.look()
    assert await running.ready() == {"store": "rolled_back"}
    await running.maintenance.restored(actor="cli")
    await until_noticed(running, noticed=False)


async def test_numbers_that_are_used_again_do_not_hide_it(running: Limen, past: Past) -> None:
    """A busy server has caught up with the lost records before anybody looks: their time and name tell."""
    await running.accounts.create("ann", PASSWORD)
    watch = RollbackWatch(running.storage.maintenance, record=running.sessions.record)
    await asyncio.to_thread(past.keep)
    await after_reconnecting(running)
    for _ in range(5):
        await running.sessions.record(Event(EventName.REFRESH_REFUSED))
    await watch.look()
    (newest,) = await running.storage.maintenance.newest_event(0)
    await asyncio.to_thread(past.restore)
    await after_reconnecting(running)
    for _ in range(200):
        await running.sessions.record(Event(EventName.REFRESH_REFUSED))
    *_, now = await running.storage.maintenance.newest_event(0)
    assert now.seq > newest.seq
    await watch.look()
    assert watch.rolled_back


async def test_gaps_and_a_database_that_is_away_are_no_rollback(running: Limen, past: Past) -> None:
    """Acts that fail use up numbers on PostgreSQL, and a lost connection forgets nothing: both are everyday."""
    broken = Event(EventName.REFRESH_REFUSED, data={"cannot be written": object()})
    await running.sessions.record(Event(EventName.REFRESH_REFUSED))
    for _ in range(3):
        await running._watch.look()
        with pytest.raises(Exception, match=r".+"):
            await running.sessions.record(broken)
    await asyncio.to_thread(past.keep)
    await after_reconnecting(running)
    await running._watch.look()
    await running.sessions.record(Event(EventName.REFRESH_REFUSED))
    await running._watch.look()
    assert await running.ready() == {}
    assert await events_of(running, EventName.STORE_ROLLED_BACK) == []


async def test_readyz_says_so(running: Limen, past: Past) -> None:
    """The balancer goes on sending requests, and whoever reads the answer is told."""
    app = FastAPI()
    running.protect(app, health=True)
    transport = httpx.ASGITransport(app)
    async with LifespanManager(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        await running.accounts.create("ann", PASSWORD)
        await go_back(running, past)
        await until_noticed(running, noticed=True)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "store": "rolled_back"})
