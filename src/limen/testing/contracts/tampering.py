"""The contract of the chain over the audit trail: what whoever may write to the database can do, and what is found."""

import logging
from collections.abc import Callable, Sequence

import pytest

from limen.core.errors import Conflict, Unavailable
from limen.core.events import EventName
from limen.features.audit.verification import Fault
from limen.features.events.service import EventService
from limen.storage import Storage
from limen.testing.contracts.contract import SECOND, Contract, all_events, event
from limen.testing.contracts.trail import SECRETS, chain, faults, service, write

STANDS = "number, link, floor, head_kid, head_mac"

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

    @pytest.mark.parametrize("is_pruned", [False, True])
    async def test_it_goes_on_once_that_is_said(
        self, is_pruned: bool, storage: Storage, by_hand: Callable[[str], None], turn_clock: Callable[[int], None]
    ) -> None:
        """A command lets the chain go on where it ended, and says so in it, also after old records were removed."""
        trail = service(storage)
        await write(storage, 4)
        await trail.seal()
        if is_pruned:
            turn_clock(60 * SECOND)
            await write(storage, 1)
            await trail.seal()
            assert await trail.prune((await trail.head()).now - 30 * SECOND, actor="cli") == 4
            await trail.seal()
        by_hand("DELETE FROM limen_trail_head")
        await write(storage, 2)
        stands = await trail.recover(actor="cli")
        assert stands is not None
        assert stands.number == (6 if is_pruned else 4)
        assert await trail.recover(actor="cli") is None
        assert await trail.seal() == 3
        assert faults(await trail.verify()) == []
        (told,) = await all_events(storage, EventName.TRAIL_RECOVERED)
        assert (told.actor, told.data) == ("cli", {"place": stands.number, "stood": None})

    async def test_a_beginning_that_cannot_be_made_out_is_none(
        self, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """Where nothing vouches for the first seal that is left, nothing is recovered, and nothing is written."""
        trail = service(storage)
        await write(storage, 4)
        await trail.seal()
        by_hand("DELETE FROM limen_trail_head")
        by_hand("DELETE FROM limen_trail WHERE number < 3")
        with pytest.raises(Conflict):
            await trail.recover(actor="cli")
        assert not await all_events(storage, EventName.TRAIL_RECOVERED)
        with pytest.raises(Unavailable):
            await trail.seal()

    async def test_a_forged_removal_hides_no_cut(self, storage: Storage, by_hand: Callable[[str], None]) -> None:
        """A record of a removal that never was, sealed like any, lets nobody begin behind what was cut off."""
        trail = service(storage)
        await write(storage, 4)
        await trail.seal()
        cut = (await chain(storage))[1].seal
        told: dict[str, object] = {"until": cut.number, "link": cut.link.hex(), "kid": cut.kid, "mac": "00" * 32}
        await storage.sessions.record(event(EventName.TRAIL_PRUNED, actor="system", target="", data=told))
        await trail.seal()
        by_hand("DELETE FROM limen_events WHERE seq IN (SELECT seq FROM limen_trail WHERE number < 3)")
        by_hand("DELETE FROM limen_trail WHERE number < 3")
        by_hand("DELETE FROM limen_trail_head")
        with pytest.raises(Conflict):
            await trail.recover(actor="cli")
        assert not await all_events(storage, EventName.TRAIL_RECOVERED)

    async def test_a_place_that_was_moved_is_vouched_for_anew(
        self, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """After the command nothing is left to find but the record, which says where it stood before."""
        trail = service(storage)
        await write(storage, 3)
        await trail.seal()
        assert await trail.recover(actor="cli") is None
        by_hand("UPDATE limen_trail_head SET number = 2")
        await write(storage, 1)
        await trail.seal()
        assert (Fault.BROKEN, None) in faults(await trail.verify())
        stands = await trail.recover(actor="cli")
        assert stands is not None
        assert stands.number == 4
        await trail.seal()
        assert faults(await trail.verify()) == []
        assert not trail.is_broken
        assert len(await all_events(storage, EventName.TRAIL_RECOVERED)) == 1

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE limen_events SET actor = 'somebody' WHERE {2}",
            "DELETE FROM limen_events WHERE {2}",
            "DELETE FROM limen_events WHERE {2}; DELETE FROM limen_trail WHERE number = 2",
            "DELETE FROM limen_events WHERE {1}; DELETE FROM limen_trail WHERE number = 1",
            "UPDATE limen_trail_head SET base_number = 1, base_link = link",
            "UPDATE limen_trail SET number = -1 WHERE number = 1",
            "UPDATE limen_trail_head SET floor = floor - 1",
        ],
        ids=["changed", "removed", "with its seal", "the first", "the beginning", "below it", "where it stands"],
    )
    async def test_traces_are_not_removed_with_what_is_old(
        self, statement: str, storage: Storage, by_hand: Callable[[str], None], turn_clock: Callable[[int], None]
    ) -> None:
        """What does not hold is not removed, and no beginning behind it is vouched for."""
        trail = service(storage)
        await write(storage, 4)
        await trail.seal()
        turn_clock(60 * SECOND)
        await write(storage, 2)
        await trail.seal()
        places = [f"seq = {each.seal.seq}" for each in await chain(storage)]
        for each in statement.format("", *places).split(";"):
            by_hand(each)
        before = faults(await trail.verify())
        with pytest.raises(Conflict):
            await trail.prune((await trail.head()).now - 30 * SECOND, actor="cli")
        assert before
        assert faults(await trail.verify()) == before
        assert not await all_events(storage, EventName.TRAIL_PRUNED)

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
