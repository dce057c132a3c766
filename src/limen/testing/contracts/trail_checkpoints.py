"""The contract of checkpoints of the trail: what was cut off or made anew is found by one from before."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from limen.core.events import EventName
from limen.crypto.keys import SigningKey
from limen.features.audit.chain import KeyedSealing, TrailKeys, vouched
from limen.features.audit.checkpoints import checkpoints_in, keys_in, line_of
from limen.features.audit.service import AuditService
from limen.features.audit.verification import Fault
from limen.storage import Storage
from limen.testing.contracts.contract import Contract, event
from limen.testing.contracts.tampering import STANDS
from limen.testing.contracts.trail import SECRETS, faults, service, write


class CheckpointsContract(Contract):
    """What is kept elsewhere, and what it finds."""

    async def test_a_checkpoint_by_a_key_of_its_own(self, storage: Storage) -> None:
        """Others verify it by the public key alone; who holds the secret of the chain and not that key makes none."""
        own, other = SigningKey.generate("EdDSA"), SigningKey.generate("ES256")
        trail = AuditService(storage.audit, SECRETS[:1], keys=[own])
        await write(storage, 3)
        await trail.seal()
        point = await trail.checkpoint()
        published = keys_in(json.dumps(trail.public_keys()))
        assert (await trail.verify([point], signed_by=published)).count == 0
        forger = AuditService(storage.audit, SECRETS[:1], keys=[other])
        for forged in (await forger.checkpoint(), replace(point, jws=""), replace(point, number=2)):
            assert faults(await trail.verify([forged], signed_by=published)) == [(Fault.NO_CHECKPOINT, forged.number)]
        assert faults(await trail.verify([await forger.checkpoint()])) == [(Fault.NO_CHECKPOINT, 3)]

    async def test_checkpoints_outlive_the_key_that_signed_them(self, storage: Storage) -> None:
        """What an old key has signed verifies as long as it stands behind the new one, or its public half is kept."""
        old, new = SigningKey.generate("EdDSA"), SigningKey.generate("EdDSA")
        await write(storage, 2)
        before = AuditService(storage.audit, SECRETS[:1], keys=[old])
        await before.seal()
        point, kept = await before.checkpoint(), before.public_keys()
        after = AuditService(storage.audit, SECRETS[:1], keys=[new, old])
        assert (await after.checkpoint()).jws.partition(".")[0] != point.jws.partition(".")[0]
        assert (await after.verify([point, await after.checkpoint()])).count == 0
        alone = AuditService(storage.audit, SECRETS[:1], keys=[new])
        assert faults(await alone.verify([point])) == [(Fault.NO_CHECKPOINT, 2)]
        assert (await alone.verify([point], signed_by=keys_in(json.dumps(kept)))).count == 0

    @pytest.mark.parametrize("what", ["cut", "rewritten"])
    async def test_a_chain_that_was_made_anew_with_its_secret(
        self, what: str, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """Who has the secret and the database can make another chain that verifies; a signed checkpoint finds it."""
        own = SigningKey.generate("EdDSA")
        trail = AuditService(storage.audit, SECRETS[:1], keys=[own])
        await write(storage, 5)
        await trail.seal()
        point, published = await trail.checkpoint(), keys_in(json.dumps(trail.public_keys()))
        if what == "cut":
            by_hand("DELETE FROM limen_events WHERE seq IN (SELECT seq FROM limen_trail WHERE number > 3)")
        else:
            by_hand("UPDATE limen_events SET actor = 'somebody'")
        by_hand("DELETE FROM limen_trail")
        by_hand("UPDATE limen_trail_head SET number = 0, link = NULL, floor = 0, head_kid = NULL, head_mac = NULL")
        forger = service(storage)
        await forger.seal()
        assert (await forger.verify()).count == 0
        fault = (Fault.CUT_OFF, 3) if what == "cut" else (Fault.REWRITTEN, 5)
        assert faults(await trail.verify([point], signed_by=published)) == [fault]

    async def test_a_chain_that_begins_behind_every_checkpoint(
        self, storage: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """Who has the secret can say that all of it was removed by retention, and is found: no checkpoint vouches."""
        trail = AuditService(storage.audit, SECRETS[:1], keys=[SigningKey.generate("EdDSA")])
        await write(storage, 5)
        await trail.seal()
        points, published = [await trail.checkpoint()], keys_in(json.dumps(trail.public_keys()))
        by_hand("DELETE FROM limen_events WHERE seq IN (SELECT seq FROM limen_trail WHERE number < 4)")
        by_hand("DELETE FROM limen_trail")
        by_hand("DELETE FROM limen_trail_head")
        keys = TrailKeys(SECRETS[:1])
        forged = vouched(keys, 100, bytes(32))
        await storage.audit.recover(forged, KeyedSealing(keys), event=event(EventName.TRAIL_PRUNED))
        await service(storage).seal()
        assert (await trail.verify()).count == 0
        assert faults(await trail.verify(points, signed_by=published)) == [(Fault.NO_CHECKPOINT, 5)]
        # One from after says how far it is now: those from before are of what was removed.
        points.append(await trail.checkpoint())
        assert (await trail.verify(points, signed_by=published)).count == 0

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
