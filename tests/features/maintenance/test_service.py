"""After a restore no token of before works, whichever it was."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from limen import Limen
from limen.authn.issuing import Issued
from limen.authn.strategy import Authenticated, Rejected
from limen.core.errors import InvalidRefreshToken, Unavailable
from limen.core.events import NOWHERE, EventName
from limen.features.approvals.service import cancel_all
from limen.features.maintenance import service
from limen.features.maintenance.service import MaintenanceService, Restored
from limen.features.sessions import service as polling
from tests.features.conftest import Turned
from tests.features.maintenance.conftest import Past
from tests.features.maintenance.test_watch import after_reconnecting, events_of
from tests.support.gates import PASSWORD
from tests.support.waiting import felt


def knows(gate: Limen, issued: Issued) -> Authenticated | Rejected:
    """Present the access token."""
    outcome = gate.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())])
    assert isinstance(outcome, Authenticated | Rejected)
    return outcome


async def test_no_token_of_before_works(running: Limen, past: Past) -> None:
    """Tokens that the restored database calls current, ended or unknown are refused; who logs in again is let in."""
    await running.accounts.create("ann", PASSWORD)
    spent, ended = [await running.login.login("ann", PASSWORD, origin=NOWHERE) for _ in range(2)]
    await asyncio.to_thread(past.keep)
    await after_reconnecting(running)
    current = await running.sessions.refresh(spent.refresh_token, origin=NOWHERE)
    await running.sessions.logout(ended.refresh_token, origin=NOWHERE)
    lost = await running.login.login("ann", PASSWORD, origin=NOWHERE)
    await asyncio.to_thread(past.restore)
    await after_reconnecting(running)
    assert await running.maintenance.restored(actor="cli") == Restored(1, 2)
    await running.sessions.catch_up()
    for issued in (spent, current, ended, lost):
        with pytest.raises(InvalidRefreshToken):
            await running.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    for issued in (spent, current, ended):
        assert isinstance(knows(running, issued), Rejected)
    again = await running.login.login("ann", PASSWORD, origin=NOWHERE)
    assert isinstance(knows(running, again), Authenticated)
    assert (await running.sessions.refresh(again.refresh_token, origin=NOWHERE)).sid == again.sid


async def test_it_is_felt_in_every_process(running: Limen, past: Past) -> None:
    """After a failover nothing is restarted: a process that knows nothing refuses within two seconds."""
    await running.accounts.create("ann", PASSWORD)
    async with Limen(running.settings).running() as other:
        issued = await other.login.login("ann", PASSWORD, origin=NOWHERE)
        assert isinstance(knows(other, issued), Authenticated)
        await running.maintenance.restored(actor="cli")
        await felt(lambda: isinstance(knows(other, issued), Rejected), within=2.0)
        with pytest.raises(InvalidRefreshToken):
            await other.sessions.refresh(issued.refresh_token, origin=NOWHERE)
        assert await other.ready() == {}


async def test_what_only_the_lost_database_knew_is_bounded(running: Limen, past: Past) -> None:
    """An access token of a session that was lost cannot be listed: it lives on, as long as it was issued for."""
    await running.accounts.create("ann", PASSWORD)
    await asyncio.to_thread(past.keep)
    await after_reconnecting(running)
    lost = await running.login.login("ann", PASSWORD, origin=NOWHERE)
    await asyncio.to_thread(past.restore)
    await after_reconnecting(running)
    await running.maintenance.restored(actor="cli")
    await running.sessions.catch_up()
    known = knows(running, lost)
    assert isinstance(known, Authenticated)
    assert known.expires_at <= running._clock() + running.settings.access_ttl


async def test_a_long_list_is_not_read_for_ever(gate: Limen, clock: Turned, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended is read with an overlap, so that a late commit is found, and afterwards no more."""
    await gate.accounts.create("ann", PASSWORD)
    ended = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.maintenance.restored(actor="cli")
    await gate.sessions.catch_up()
    began, since = gate.sessions._newest_known_at, gate.sessions._polled_until
    (entry,) = await gate.storage.sessions.ended_since(since)
    assert (entry.sid, entry.ended_at - since) == (ended.sid, 10_000)
    clock.ahead += 9
    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: began + 9))
    await gate.sessions.catch_up()
    assert gate.sessions._polled_until == since
    clock.ahead += 3
    monkeypatch.setattr(polling, "time", SimpleNamespace(monotonic=lambda: began + 12))
    await gate.sessions.catch_up()
    assert await gate.storage.sessions.ended_since(gate.sessions._polled_until) == []
    later = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    clock.ahead += 60
    await gate.sessions.logout(later.refresh_token, origin=NOWHERE)
    assert later.sid in gate.ended


async def test_it_goes_in_batches_and_is_recorded_at_the_end(running: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told after each; the record that it is done comes last, with the numbers."""
    monkeypatch.setattr(service, "BATCH", 2)
    for n in range(5):
        await running.accounts.create(f"ann{n}", PASSWORD)
    told: list[Restored] = []
    done = await running.maintenance.restored(actor="cli", on_batch=told.append)
    assert [each.accounts for each in told] == [2, 4, 5]
    assert done == told[-1]
    assert await events_of(running, EventName.STORE_RESTORED) == [
        {"accounts": 5, "sessions": 0, "keys": 0, "requests": 0}
    ]


async def test_interrupted_it_is_not_called_done(running: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in between, nothing says that it was done; run again it comes to its end."""
    monkeypatch.setattr(service, "BATCH", 1)
    for n in range(3):
        await running.accounts.create(f"ann{n}", PASSWORD)
        await running.login.login(f"ann{n}", PASSWORD, origin=NOWHERE)

    def stop(done: Restored) -> None:
        if done.accounts == 2:
            raise Unavailable

    with pytest.raises(Unavailable):
        await running.maintenance.restored(actor="cli", on_batch=stop)
    assert await events_of(running, EventName.STORE_RESTORED) == []
    maintenance = MaintenanceService(
        running.storage.maintenance,
        record=running.sessions.record,
        keep_ended_ms=1000,
        cancel_requests=partial(cancel_all, running.storage.approvals),
    )
    assert await maintenance.restored(actor="cli") == Restored(3, 1)
    assert len(await events_of(running, EventName.STORE_RESTORED)) == 1
