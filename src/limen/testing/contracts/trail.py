"""The contract of the chain over the audit trail."""

import asyncio
from collections.abc import Callable

import pytest

from limen.core.errors import ConfigurationError, InvalidInput
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.audit.service import AuditService
from limen.features.audit.store import Base, SealedRecord
from limen.features.audit.verification import Fault, Verdict
from limen.storage import Storage
from limen.testing.contracts.contract import BROKEN_EVENT, ORIGIN, SECOND, Contract, all_events, event

SECRETS = ("a secret of the data of this contract", "another secret of the data of this contract")


def service(storage: Storage, *secrets: str) -> AuditService:
    """Return what seals and verifies the trail of this storage."""
    return AuditService(storage.audit, secrets or SECRETS[:1])


async def write(storage: Storage, count: int, *, actor: str = "actor-1") -> None:
    """Write so many records."""
    for n in range(count):
        await storage.sessions.record(event(actor=actor, data={"n": n, "ä": [1.5, None, "\u2028"]}))


async def chain(storage: Storage) -> list[SealedRecord]:
    """Return the whole chain."""
    return list(await storage.audit.sealed(0, limit=100_000))


def faults(verdict: Verdict) -> list[tuple[Fault, int | None]]:
    """Return what was found, and where."""
    return [(finding.fault, finding.number) for finding in verdict.findings]


class TrailContract(Contract):
    """`AuditStore`, by the service that goes with it."""

    async def test_every_record_is_sealed_once_in_order(self, storage: Storage) -> None:
        """Places have no gaps, records follow one another, and a second round finds nothing to do."""
        await write(storage, 7)
        trail = service(storage)
        assert (await trail.seal(), await trail.seal()) == (7, 0)
        found = await chain(storage)
        assert [each.seal.number for each in found] == list(range(1, 8))
        assert [each.record for each in found] == list(await all_events(storage))
        await write(storage, 2)
        assert await trail.seal() == 2
        verdict = await trail.verify()
        assert (verdict.sealed, verdict.waiting, verdict.count) == (9, 0, 0)

    async def test_a_round_in_parts(self, storage: Storage) -> None:
        """Batches that are full follow one another: none is left out and none is sealed twice, and the floor moves."""
        await write(storage, 7)
        trail = service(storage)
        made = trail._after_head()
        counts = [await storage.audit.seal(made, limit=3) for _ in range(4)]
        assert counts == [3, 3, 1, 0]
        head = await trail.head()
        assert (head.number, head.floor) == (7, (await all_events(storage))[-1].seq)
        assert (await trail.verify()).count == 0

    async def test_sealers_at_once(self, storage: Storage, peer: Storage) -> None:
        """Several processes seal while records are written: each record is sealed once, and the chain is whole."""
        sealers = [service(storage), service(peer), service(peer)]

        async def seal(trail: AuditService) -> int:
            return sum([await trail.seal() for _ in range(12)])

        counts = await asyncio.gather(
            *map(seal, sealers), *(write(each, 40) for each in (storage, peer, storage)), return_exceptions=True
        )
        assert not [each for each in counts if isinstance(each, BaseException)]
        while await sealers[0].seal():
            pass
        found = await chain(storage)
        assert [each.seal.number for each in found] == list(range(1, 121))
        assert len({each.seal.seq for each in found}) == 120
        verdict = await sealers[1].verify()
        assert (verdict.sealed, verdict.waiting, verdict.count) == (120, 0, 0)

    async def test_what_was_rolled_back_is_not_sealed(self, storage: Storage) -> None:
        """A record that was never committed has no place, and leaves none empty."""
        trail = service(storage)
        await write(storage, 1)
        with pytest.raises(TypeError):
            await storage.sessions.record(BROKEN_EVENT)
        await write(storage, 1)
        assert await trail.seal() == 2
        assert (await trail.verify()).count == 0

    async def test_how_long_records_wait(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """The age of the oldest record without a seal is told; once it has one, none waits."""
        trail = service(storage)
        assert (await storage.audit.due()).waits is False
        await write(storage, 2)
        turn_clock(90 * SECOND)
        due = await storage.audit.due()
        assert due.waits
        assert due.lag_ms >= 90_000
        assert await trail.seal() == 2
        assert (trail.lag_ms, trail.is_behind, (await storage.audit.due()).waits) == (0, False, False)

    async def test_a_secret_is_replaced(self, storage: Storage) -> None:
        """The chain goes on under the new secret, and is verified by both; without the old one it is said."""
        await write(storage, 2)
        await service(storage, SECRETS[0]).seal()
        await write(storage, 2)
        both = service(storage, SECRETS[1], SECRETS[0])
        assert await both.seal() == 2
        assert len({each.seal.kid for each in await chain(storage)}) == 2
        assert (await both.verify()).count == 0
        assert faults(await service(storage, SECRETS[1]).verify()) == [(Fault.UNKNOWN_KEY, 1)]
        with pytest.raises(ConfigurationError, match="LIMEN_DATA_SECRETS"):
            await AuditService(storage.audit, ()).verify()

    async def test_erasing_keeps_the_chain(self, storage: Storage) -> None:
        """What may be personal is gone from its row with its salt; who did what to whom stays, and verifies."""
        me, trail = uuid7(), service(storage)
        await write(storage, 2, actor=me)
        await storage.sessions.record(event(target=me, data={"name": "Wilhelmina"}))
        await write(storage, 1)
        await trail.seal()
        await storage.sessions.record(event(actor=me, data={"name": "Wilhelmina"}))
        assert await trail.erase(me, actor="cli") == 4
        assert not [record for record in await all_events(storage) if "name" in record.data]
        assert (await trail.verify()).count == 0
        await trail.seal()
        verdict = await trail.verify()
        assert (verdict.sealed, verdict.count) == (6, 0)
        erased = [each for each in await chain(storage) if each.seal.nonce is None]
        assert [(each.record.source, each.record.data) for each in erased if each.record] == [("", {})] * 3
        (told,) = await all_events(storage, EventName.DETAILS_ERASED)
        assert (told.actor, told.target, told.data) == ("cli", me, {"records": 4})

    async def test_erasing_leaves_what_is_about_others(self, storage: Storage) -> None:
        """Who tried to log in to another account, on which the erased one acted once, is told as before."""
        me, other, session, trail = uuid7(), uuid7(), uuid7(), service(storage)
        await storage.sessions.record(event(EventName.LOGIN_FAILED, actor="", target=other))
        await storage.sessions.record(event(EventName.ACCOUNT_DISABLED, actor=me, target=other))
        await storage.sessions.record(event(EventName.LOGIN_SUCCEEDED, actor=me, target=session))
        await storage.sessions.record(event(EventName.REFRESH_REFUSED, actor="", target=session))
        await trail.seal()
        assert await trail.erase(me, actor="cli") == 3
        (tried,) = await all_events(storage, EventName.LOGIN_FAILED)
        assert (tried.source, tried.user_agent) == (ORIGIN.address, ORIGIN.user_agent)
        (refused,) = await all_events(storage, EventName.REFRESH_REFUSED)
        assert (refused.source, refused.user_agent) == ("", "")
        assert (await trail.verify()).count == 0

    async def test_only_accounts_are_erased(self, storage: Storage) -> None:
        """What is no account's id erases nothing: the server's own records bear names, or none."""
        await write(storage, 2, actor="system")
        for name in ("system", "", "cli"):
            with pytest.raises(InvalidInput):
                await service(storage).erase(name, actor="cli")
        assert all(record.source for record in await all_events(storage))

    async def test_old_records_are_removed(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """What is left verifies from where it begins now; the removal is a record, and the newest seal stays."""
        trail = service(storage)
        await write(storage, 5)
        await trail.seal()
        point = await trail.checkpoint()
        middle = (await service(storage).head()).now + 30 * SECOND
        turn_clock(60 * SECOND)
        await write(storage, 3)
        await trail.seal()
        assert await trail.prune(middle, actor="cli") == 5
        await trail.seal()
        verdict = await trail.verify([point])
        assert (verdict.sealed, verdict.removed, verdict.checkpoints, verdict.count) == (4, 5, 1, 0)
        turn_clock(60 * SECOND)
        assert await trail.prune((await service(storage).head()).now, actor="cli") == 3
        assert await trail.prune((await service(storage).head()).now, actor="cli") == 0
        assert (await trail.verify()).count == 0
        told = [record.data["until"] for record in await all_events(storage, EventName.TRAIL_PRUNED)]
        assert told == [5, 8]

    async def test_whoever_exports_in_parts_misses_none(self, storage: Storage) -> None:
        """Going on after the last place that was exported meets every record once."""
        trail = service(storage)
        met: list[int] = []
        for _ in range(3):
            await write(storage, 2)
            await trail.seal()
            met += [each.seal.number async for each in trail.export(met[-1] if met else 0)]
        assert met == [1, 2, 3, 4, 5, 6]

    async def test_what_a_sink_has_not_taken_stays(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Nothing is removed that was not handed on, until the sink is forgotten, which is a record."""
        trail = AuditService(storage.audit, SECRETS[:1], sinks=storage.sinks)
        await write(storage, 5)
        await trail.seal()
        turn_clock(60 * SECOND)
        await write(storage, 1)
        await trail.seal()
        lease = await storage.sinks.claim("file:///a", lease_ms=1000)
        assert lease is not None
        links = [each.seal.link for each in await chain(storage)]
        assert await storage.sinks.moved(lease, 2, links[1], with_checkpoint=False, lease_ms=1)
        now = (await trail.head()).now
        assert await trail.prune(now - 30 * SECOND, actor="cli") == 2
        assert await storage.audit.prune((await trail.head()).base, Base(4, links[3]), event=event()) == 0
        forgotten = event(EventName.TRAIL_SINK_FORGOTTEN, data={"sink": "file:///a"})
        assert await storage.sinks.forget("file:///a", forgotten)
        assert await trail.prune(now - 30 * SECOND, actor="cli") == 3
        (told,) = await all_events(storage, EventName.TRAIL_SINK_FORGOTTEN)
        assert told.data == {"sink": "file:///a", "place": 2}
