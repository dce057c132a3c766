"""The contract of the chain over the audit trail."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import pytest

from limen.core.errors import ConfigurationError, InvalidInput, Unavailable
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.audit.checkpoints import checkpoints_in, line_of
from limen.features.audit.service import AuditService
from limen.features.audit.store import SealedRecord
from limen.features.audit.verification import Fault, Verdict
from limen.features.events.service import EventService
from limen.storage import Storage
from limen.testing.contracts.contract import BROKEN_EVENT, SECOND, Contract, all_events, event

SECRETS = ("a secret of the data of this contract", "another secret of the data of this contract")

STANDS = "number, link, floor, head_kid, head_mac"


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


TAMPERING: Sequence[tuple[str, str, list[tuple[Fault, int | None]]]] = [
    ("outcome", "UPDATE limen_events SET outcome = 'failure' WHERE {3}", [(Fault.CHANGED, 3)]),
    ("actor", "UPDATE limen_events SET actor = 'somebody' WHERE {3}", [(Fault.CHANGED, 3)]),
    ("address", "UPDATE limen_events SET source = '192.0.2.1' WHERE {3}", [(Fault.CHANGED, 3)]),
    ("data", "UPDATE limen_events SET data = '{{}}' WHERE {3}", [(Fault.CHANGED, 3)]),
    ("time", "UPDATE limen_events SET time = time - 1 WHERE {3}", [(Fault.CHANGED, 3)]),
    ("one in the middle", "DELETE FROM limen_events WHERE {3}", [(Fault.REMOVED, 3)]),
    ("the last one", "DELETE FROM limen_events WHERE {6}", [(Fault.REMOVED, 6)]),
    (
        "one and its seal",
        "DELETE FROM limen_events WHERE {3}; DELETE FROM limen_trail WHERE number = 3",
        [(Fault.REMOVED, 3)],
    ),
    (
        "one with its seal, closing the gap",
        (
            "DELETE FROM limen_events WHERE {3}; DELETE FROM limen_trail WHERE number = 3;"
            "UPDATE limen_trail SET number = 3 WHERE number = 4; UPDATE limen_trail SET number = 4 WHERE number = 5;"
            "UPDATE limen_trail SET number = 5 WHERE number = 6"
        ),
        [(Fault.BROKEN, 3), (Fault.BROKEN, 4), (Fault.BROKEN, 5), (Fault.CUT_OFF, 5)],
    ),
    (
        "the last two, and their seals",
        "DELETE FROM limen_events WHERE {5} OR {6}; DELETE FROM limen_trail WHERE number > 4",
        [(Fault.CUT_OFF, 4)],
    ),
    ("a number", "UPDATE limen_events SET seq = 1000 WHERE {3}", [(Fault.REMOVED, 3)]),
    (
        "two change places",
        (
            "UPDATE limen_trail SET number = 1000 WHERE number = 3; UPDATE limen_trail SET number = 3 WHERE number = 4;"
            "UPDATE limen_trail SET number = 4 WHERE number = 1000"
        ),
        [(Fault.BROKEN, 3), (Fault.BROKEN, 4), (Fault.BROKEN, 5)],
    ),
    (
        "a seal without a key",
        (
            "INSERT INTO limen_trail SELECT 7, 1000, sealed_at, kid, nonce, details, digest, link FROM limen_trail"
            " WHERE number = 6"
        ),
        [(Fault.BROKEN, 7), (Fault.REMOVED, 7)],
    ),
    ("the time of a seal", "UPDATE limen_trail SET sealed_at = sealed_at + 1 WHERE number = 3", [(Fault.BROKEN, 3)]),
    ("the digest", "UPDATE limen_trail SET digest = link WHERE number = 3", [(Fault.BROKEN, 3), (Fault.CHANGED, 3)]),
    ("the salt", "UPDATE limen_trail SET nonce = details WHERE number = 3", [(Fault.CHANGED, 3)]),
    (
        "details, as if they were erased",
        (
            "UPDATE limen_events SET source = '', user_agent = '', data = '{{}}' WHERE {3};"
            "UPDATE limen_trail SET nonce = NULL WHERE number = 3"
        ),
        [(Fault.ERASED, 3)],
    ),
    (
        "the link where it stands",
        "UPDATE limen_trail_head SET link = (SELECT digest FROM limen_trail WHERE number = 6)",
        [(Fault.BROKEN, None), (Fault.BROKEN, 6)],
    ),
    (
        "the floor",
        "UPDATE limen_trail_head SET floor = 1",
        [(Fault.BROKEN, None)],
    ),
    (
        "what vouches for where it stands",
        "UPDATE limen_trail_head SET head_mac = link, head_kid = NULL",
        [(Fault.BROKEN, None)],
    ),
    ("the salt alone", "UPDATE limen_trail SET nonce = NULL WHERE number = 3", [(Fault.CHANGED, 3)]),
    (
        "the beginning",
        (
            "DELETE FROM limen_events WHERE {1} OR {2}; DELETE FROM limen_trail WHERE number < 3;"
            "UPDATE limen_trail_head SET base_number = 2, base_link = link WHERE id = 1"
        ),
        [(Fault.REMOVED, None), (Fault.BROKEN, 3)],
    ),
]


class TamperingContract(Contract):
    """What whoever may write to the database can do, and what is found."""

    @pytest.mark.parametrize(
        ("statements", "expected"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING]
    )
    async def test_tampering_is_found(
        self,
        statements: str,
        expected: list[tuple[Fault, int | None]],
        storage: Storage,
        by_hand: Callable[[str], None],
    ) -> None:
        """What was changed, removed, moved or made without the key is found, and where."""
        trail = service(storage)
        await write(storage, 6)
        await trail.seal()
        assert (await trail.verify()).count == 0
        places = [f"seq = {each.seal.seq}" for each in await chain(storage)]
        for statement in statements.format("", *places).split(";"):
            by_hand(statement)
        await trail.seal()
        assert faults(await trail.verify()) == expected

    async def test_nothing_goes_on_without_its_place(self, storage: Storage, by_hand: Callable[[str], None]) -> None:
        """Where the row that says where the chain stands is gone no second chain begins, and what waits is told."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        by_hand("DELETE FROM limen_trail_head")
        await write(storage, 2)
        assert (await storage.audit.due()).waits
        with pytest.raises(Unavailable):
            await trail.seal()
        assert [each.seal.number for each in await chain(storage)] == [1, 2]
        assert faults(await trail.verify()) == [(Fault.REMOVED, None)]

    @pytest.mark.parametrize("floor", [1_000_000, 2**63 - 1])
    async def test_a_floor_that_is_raised_stops_nothing(
        self, floor: int, storage: Storage, by_hand: Callable[[str], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Who makes the sealer overlook records is found at once, sealing goes on, and lowering it hides nothing."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        assert (trail.lag_ms, trail.is_broken) == (0, False)
        by_hand("CREATE TABLE kept AS SELECT * FROM limen_trail_head")
        by_hand(f"UPDATE limen_trail_head SET floor = {floor}")  # noqa: S608 - of this test
        await write(storage, 1)
        assert faults(await trail.verify()) == [(Fault.BROKEN, None), (Fault.INSERTED, None)]
        with caplog.at_level(logging.ERROR, logger="limen"):
            assert await trail.seal() == 1
        assert trail.is_broken
        assert [record.floor for record in caplog.records if hasattr(record, "floor")] == [floor]
        await write(storage, 1)
        assert await service(storage).seal() == 1
        verdict = await trail.verify()
        assert (verdict.sealed, verdict.waiting, faults(verdict)) == (4, 0, [(Fault.BROKEN, None)])
        by_hand("UPDATE limen_trail_head SET floor = (SELECT max(seq) FROM limen_events)")
        assert faults(await trail.verify()) == [(Fault.BROKEN, None)]
        by_hand(f"UPDATE limen_trail_head SET ({STANDS}) = (SELECT {STANDS} FROM kept)")  # noqa: S608 - of this test
        by_hand("DROP TABLE kept")
        await write(storage, 1)
        assert await trail.seal() == 1
        assert (await chain(storage))[-1].seal.number == 5
        assert faults(await trail.verify()) == [(Fault.BROKEN, None)]

    @pytest.mark.parametrize("when", ["before the seal", "after it"])
    @pytest.mark.parametrize(
        "hostile",
        ["data = '[1]'", "time = -1", f"time = {2**63 - 1}", f"time = {-(2**63)}"],
        ids=["a list", "before 1970", "after the end", "the lowest time"],
    )
    async def test_what_cannot_be_read_is_found(
        self, when: str, hostile: str, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """A record that cannot be read is found, listed and exported, and keeps no other from its seal."""
        trail = service(storage)
        if when == "before the seal":
            await trail.seal()
        await write(storage, 2)
        if when == "after it":
            await trail.seal()
        by_hand(f"UPDATE limen_events SET {hostile} WHERE seq = (SELECT max(seq) FROM limen_events)")  # noqa: S608
        seq = (await all_events(storage))[-1].seq
        await write(storage, 1)
        assert (await storage.audit.due()).waits
        assert await trail.seal() == (1 if when == "after it" else 3)
        verdict = await trail.verify()
        assert [(found.fault, found.seq) for found in verdict.findings] == [(Fault.CHANGED, seq)]
        assert (verdict.sealed, verdict.waiting) == (3, 0)
        listed = (await EventService(storage.trail).page(limit=10)).items
        assert [record.is_damaged for record in listed] == [False, True, False]
        assert [each.record.seq async for each in trail.export() if each.record] == [each.seq for each in listed]

    @pytest.mark.parametrize(
        ("statement", "expected"),
        [
            ("UPDATE limen_trail SET sealed_at = -1 WHERE number = 2", [(Fault.BROKEN, 2)]),
            ("UPDATE limen_trail SET digest = nonce WHERE number = 2", [(Fault.BROKEN, 2), (Fault.CHANGED, 2)]),
            ("UPDATE limen_trail_head SET number = -5", [(Fault.BROKEN, None)]),
            ("UPDATE limen_trail_head SET number = 9223372036854775807", [(Fault.BROKEN, None)]),
            ("UPDATE limen_trail_head SET base_number = -5", [(Fault.REMOVED, None)]),
        ],
        ids=["the time of a seal", "a short digest", "a place below", "a place too high", "a beginning below"],
    )
    async def test_what_no_chain_can_hold_is_found(
        self,
        statement: str,
        expected: list[tuple[Fault, int | None]],
        storage: Storage,
        by_hand: Callable[[str], None],
    ) -> None:
        """Numbers and lengths that no sealer makes are found, and neither end the verification nor stop the sealer."""
        trail = service(storage)
        await write(storage, 3)
        await trail.seal()
        by_hand(statement)
        await write(storage, 1)
        assert await trail.seal() == 1
        verdict = await trail.verify()
        assert (faults(verdict), verdict.sealed) == (expected, 4)

    async def test_a_seal_in_the_way_stops_nothing(self, storage: Storage, by_hand: Callable[[str], None]) -> None:
        """Who puts a seal where the next one belongs is found, and what comes is sealed behind it."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        by_hand(
            "INSERT INTO limen_trail SELECT 3, 1000, sealed_at, kid, nonce, details, digest, link FROM limen_trail"
            " WHERE number = 2"
        )
        await write(storage, 1)
        assert await trail.seal() == 1
        assert faults(await trail.verify()) == [(Fault.BROKEN, None), (Fault.BROKEN, 3), (Fault.REMOVED, 3)]

    async def test_the_place_is_vouched_for_under_the_new_secret(self, storage: Storage) -> None:
        """Once a secret was replaced, the next round vouches for the place with the new one, also without a record."""
        await write(storage, 2)
        await service(storage, SECRETS[0]).seal()
        both = service(storage, SECRETS[1], SECRETS[0])
        assert await both.seal() == 0
        assert (await both.verify()).count == 0
        new = service(storage, SECRETS[1])
        await new.seal()
        assert not new.is_broken

    async def test_an_inserted_record_is_found(self, storage: Storage, by_hand: Callable[[str], None]) -> None:
        """A record that is put among those that were sealed never gets a seal, and is found by that."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        by_hand("""
            INSERT INTO limen_events (seq, time, event, outcome, actor, source, user_agent, target, request_id, data)
            SELECT -5, time, event, outcome, actor, source, user_agent, target, request_id, data
              FROM limen_events WHERE seq = (SELECT max(seq) FROM limen_events)
        """)
        by_hand("UPDATE limen_events SET seq = seq + 1000000 WHERE seq > 0")
        by_hand("UPDATE limen_trail SET seq = seq + 1000000")
        by_hand("UPDATE limen_trail_head SET floor = floor + 1000000")
        by_hand("UPDATE limen_events SET seq = 5 WHERE seq = -5")
        assert await trail.seal() == 0
        assert (Fault.INSERTED, None) in faults(await trail.verify())

    @pytest.mark.parametrize("seq", [0, -3, -(2**63)])
    async def test_a_record_below_the_first_is_found(
        self, seq: int, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """A record with a number that is never given is found, with a seal that nobody reads and without one."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        by_hand(f"""
            INSERT INTO limen_events (seq, time, event, outcome, actor, source, user_agent, target, request_id, data)
            SELECT {seq}, time, event, outcome, actor, source, user_agent, target, request_id, data
              FROM limen_events WHERE seq = (SELECT max(seq) FROM limen_events)
        """)  # noqa: S608 - a number of this test
        assert await trail.seal() == 0
        verdict = await trail.verify()
        assert [(found.fault, found.seq) for found in verdict.findings] == [(Fault.INSERTED, seq)]
        by_hand(f"""
            INSERT INTO limen_trail SELECT -7, {seq}, sealed_at, kid, nonce, details, digest, link FROM limen_trail
             WHERE number = 2
        """)  # noqa: S608 - a number of this test
        assert (Fault.INSERTED, -7) in faults(await trail.verify())

    async def test_a_low_record_is_not_sealed(self, storage: Storage, by_hand: Callable[[str], None]) -> None:
        """Who lowers the floor for the sealer to take a record with a number never given is found, and it is not."""
        trail = service(storage)
        await write(storage, 2)
        by_hand("UPDATE limen_trail_head SET floor = -10")
        by_hand("UPDATE limen_events SET seq = -3 WHERE seq = (SELECT max(seq) FROM limen_events)")
        assert await trail.seal() == 1
        assert Fault.INSERTED in {fault for fault, _ in faults(await trail.verify())}

    @pytest.mark.parametrize("goes_on", [False, True])
    async def test_a_cut_tail_is_found_by_a_checkpoint(
        self, goes_on: bool, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """Who cuts off the end and sets back the place is found by a checkpoint, also after the chain has grown."""
        trail = service(storage)
        await write(storage, 4)
        await trail.seal()
        by_hand("CREATE TABLE kept AS SELECT * FROM limen_trail_head")
        await write(storage, 2)
        await trail.seal()
        (point,) = checkpoints_in(["", line_of(await trail.checkpoint())])
        assert (await trail.verify([point])).count == 0
        by_hand("DELETE FROM limen_events WHERE seq IN (SELECT seq FROM limen_trail WHERE number > 4)")
        by_hand("DELETE FROM limen_trail WHERE number > 4")
        by_hand(f"UPDATE limen_trail_head SET ({STANDS}) = (SELECT {STANDS} FROM kept)")  # noqa: S608 - of this test
        by_hand("DROP TABLE kept")
        assert (await trail.verify()).count == 0
        if goes_on:
            await write(storage, 5)
            assert await trail.seal() == 5
        verdict = await trail.verify([point])
        assert faults(verdict) == [(Fault.REWRITTEN, 6) if goes_on else (Fault.CUT_OFF, 4)]

    async def test_a_forged_checkpoint_is_none(self, storage: Storage) -> None:
        """A checkpoint that was altered, or signed under a secret that is not known, is said to be none."""
        trail = service(storage)
        await write(storage, 2)
        await trail.seal()
        line = line_of(await trail.checkpoint())
        for forged in (line.replace('"number":2', '"number":1'), line.replace('"mac":"', '"mac":"00')):
            assert faults(await trail.verify(checkpoints_in([forged])))[0][0] is Fault.NO_CHECKPOINT
        other = line_of(await service(storage, SECRETS[1]).checkpoint())
        assert faults(await trail.verify(checkpoints_in([other]))) == [(Fault.NO_CHECKPOINT, 2)]
