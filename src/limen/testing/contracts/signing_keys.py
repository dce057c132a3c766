"""The contract of the signing keys: one signs and one is published, whoever comes at the same time."""

import asyncio
import os
from collections.abc import Callable

import pytest

from limen.core.events import EventName
from limen.features.signing_keys.store import KeyState, NewKey, Retired
from limen.storage import Storage
from limen.testing.contracts.contract import BROKEN_EVENT, SECOND, Contract, all_events, event

LEAD = 360 * SECOND
KEEP = 960 * SECOND


def new_key(kid: str = "", alg: str = "ES256") -> NewKey:
    """Return a key as the store sees it: it looks into none of its parts."""
    return NewKey(
        kid or os.urandom(8).hex(), alg, '{"kty":"EC"}', b"sealed-" + os.urandom(8), b"proof-" + os.urandom(8)
    )


async def states(storage: Storage) -> dict[str, KeyState]:
    """Return what every key is for."""
    return {key.kid: key.state for key in (await storage.signing_keys.all()).keys}


class SigningKeysContract(Contract):
    """`SigningKeyStore`."""

    async def test_a_key_is_kept_as_it_came(self, storage: Storage, peer: Storage) -> None:
        """All its parts are read back by every process, with the time of the database."""
        assert (await storage.signing_keys.live()).keys == []
        key = new_key("first")
        assert await storage.signing_keys.begin(key, event(EventName.SIGNING_KEY_SIGNS))
        rows = await peer.signing_keys.live()
        (read,) = rows.keys
        assert (read.kid, read.alg, read.public_jwk, read.private, read.proof) == (
            key.kid,
            key.alg,
            key.public_jwk,
            key.private,
            key.proof,
        )
        assert (read.state, read.stopped_at, read.keep_until) == (KeyState.SIGNING, None, None)
        # The clock may turn over a millisecond between the two, though one statement writes both.
        assert abs((read.signs_at or 0) - read.published_at) < SECOND
        assert read.published_at <= rows.now <= read.published_at + 60 * SECOND

    @pytest.mark.parametrize("verb", ["begin", "publish"])
    async def test_of_many_at_once_one_wins(self, storage: Storage, peer: Storage, verb: str) -> None:
        """However many processes begin or publish a key of one algorithm, there is one, and one record of it."""
        for alg in ("ES256", "EdDSA"):
            keys = [new_key(alg=alg) for _ in range(12)]
            calls = [
                getattr((storage, peer)[number % 2].signing_keys, verb)(key, event(EventName.SIGNING_KEY_PUBLISHED))
                for number, key in enumerate(keys)
            ]
            won = await asyncio.gather(*calls)
            assert won.count(True) == 1
            assert keys[won.index(True)].kid in await states(storage)
        assert len(await states(storage)) == 2
        assert len(await all_events(storage, EventName.SIGNING_KEY_PUBLISHED)) == 2

    async def test_a_key_without_its_record_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, there is no key."""
        with pytest.raises(Exception, match=r".+"):
            await storage.signing_keys.begin(new_key(), BROKEN_EVENT)
        assert await states(storage) == {}

    async def test_a_published_key_waits_to_be_asked_for(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Nothing is scheduled where nothing is published; a published key alone never signs."""
        assert await storage.signing_keys.schedule("ES256", lead_ms=LEAD, event=event()) is None
        await storage.signing_keys.begin(new_key("one"), event())
        await storage.signing_keys.publish(new_key("two"), event())
        turn_clock(10 * LEAD)
        assert await storage.signing_keys.advance(keep_ms=KEEP) == 0
        assert await states(storage) == {"one": KeyState.SIGNING, "two": KeyState.PUBLISHED}

    async def test_it_signs_once_it_was_published_long_enough(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Not a second before; then it signs, and the one before it retires without its private half."""
        await storage.signing_keys.begin(new_key("one"), event())
        await storage.signing_keys.publish(new_key("two"), event())
        turn_clock(100 * SECOND)
        scheduled = await storage.signing_keys.schedule("ES256", lead_ms=LEAD, event=event())
        assert scheduled is not None
        assert scheduled.signs_at == scheduled.published_at + LEAD
        assert await peer.signing_keys.schedule("ES256", lead_ms=2 * LEAD, event=event()) == scheduled
        turn_clock(LEAD - 110 * SECOND)
        assert await peer.signing_keys.advance(keep_ms=KEEP) == 0
        turn_clock(11 * SECOND)
        assert await peer.signing_keys.advance(keep_ms=KEEP) == 2
        assert await states(storage) == {"one": KeyState.RETIRING, "two": KeyState.SIGNING}
        one, two = (await storage.signing_keys.live()).keys
        assert one.private is None
        assert one.stopped_at is not None
        assert one.keep_until is not None
        assert abs(one.keep_until - one.stopped_at - KEEP) <= SECOND
        assert two.private is not None
        (record,) = await all_events(storage, EventName.SIGNING_KEY_SIGNS)
        assert (record.target, record.actor) == ("two", "system")

    async def test_a_retiring_key_goes_when_its_last_token_has_expired(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Until then it is among those that count; afterwards it is not, and its row stays."""
        await storage.signing_keys.begin(new_key("one"), event())
        await storage.signing_keys.publish(new_key("two"), event())
        await storage.signing_keys.schedule("ES256", lead_ms=0, event=event())
        turn_clock(SECOND)
        await storage.signing_keys.advance(keep_ms=KEEP)
        turn_clock(KEEP - 2 * SECOND)
        assert await storage.signing_keys.advance(keep_ms=KEEP) == 0
        turn_clock(4 * SECOND)
        assert await storage.signing_keys.advance(keep_ms=KEEP) == 1
        assert [key.kid for key in (await storage.signing_keys.live()).keys] == ["two"]
        assert await states(storage) == {"one": KeyState.RETIRED, "two": KeyState.SIGNING}

    async def test_many_advance_at_once(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Every process looks every second: one of them does it, one signs, and one record is written."""
        for alg in ("ES256", "EdDSA"):
            await storage.signing_keys.begin(new_key(f"one-{alg}", alg), event())
            await storage.signing_keys.publish(new_key(f"two-{alg}", alg), event())
            await storage.signing_keys.schedule(alg, lead_ms=0, event=event())
        turn_clock(SECOND)
        changed = await asyncio.gather(
            *((storage, peer)[number % 2].signing_keys.advance(keep_ms=KEEP) for number in range(10))
        )
        assert sorted(changed) == [0] * 9 + [4]
        assert len(await all_events(storage, EventName.SIGNING_KEY_SIGNS)) == 2
        found = await states(peer)
        assert {kid for kid, state in found.items() if state is KeyState.SIGNING} == {"two-ES256", "two-EdDSA"}

    async def test_the_key_that_signs_is_replaced_when_it_is_retired(self, storage: Storage) -> None:
        """By the published one where there is one, at once; else by the replacement. The compromised one is out."""
        await storage.signing_keys.begin(new_key("one"), event())
        retire = storage.signing_keys.retire
        assert await retire("one", new_key("two"), event(EventName.SIGNING_KEY_RETIRED)) == Retired(
            KeyState.SIGNING, "two"
        )
        await storage.signing_keys.publish(new_key("three"), event())
        assert await retire("two", new_key("four"), event()) == Retired(KeyState.SIGNING, "three")
        assert await states(storage) == {
            "one": KeyState.RETIRED,
            "two": KeyState.RETIRED,
            "three": KeyState.SIGNING,
        }
        (record,) = await all_events(storage, EventName.SIGNING_KEY_RETIRED)
        assert record.data == {"was": "signing", "successor": "two"}
        assert all(key.private is None for key in (await storage.signing_keys.all()).keys if key.kid != "three")

    async def test_any_other_key_is_retired_without_a_successor(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A published and a retiring one simply go; one that is gone or never was is no key."""
        await storage.signing_keys.begin(new_key("one"), event())
        await storage.signing_keys.publish(new_key("two"), event())
        assert await storage.signing_keys.retire("two", new_key(), event()) == Retired(KeyState.PUBLISHED, None)
        await storage.signing_keys.publish(new_key("three"), event())
        await storage.signing_keys.schedule("ES256", lead_ms=0, event=event())
        turn_clock(SECOND)
        await storage.signing_keys.advance(keep_ms=KEEP)
        assert await storage.signing_keys.retire("one", new_key(), event()) == Retired(KeyState.RETIRING, None)
        for kid in ("one", "two", "nothing"):
            assert await storage.signing_keys.retire(kid, new_key(), event()) is None
        assert (await states(storage))["three"] is KeyState.SIGNING

    async def test_two_retire_the_same_key(self, storage: Storage, peer: Storage) -> None:
        """One of them does, and one replacement signs; so it is against an advance at the same time."""
        signing = new_key("begin")
        await storage.signing_keys.begin(signing, event())
        for number in range(10):
            current = next(kid for kid, state in (await states(storage)).items() if state is KeyState.SIGNING)
            await storage.signing_keys.publish(new_key(f"next-{number}"), event())
            await storage.signing_keys.schedule("ES256", lead_ms=0, event=event())
            first, second, _ = await asyncio.gather(
                storage.signing_keys.retire(current, new_key(), event()),
                peer.signing_keys.retire(current, new_key(), event()),
                peer.signing_keys.advance(keep_ms=KEEP),
            )
            assert (first is None) != (second is None)
            found = list((await states(storage)).values())
            assert found.count(KeyState.SIGNING) == 1

    async def test_sealed_anew(self, storage: Storage, peer: Storage) -> None:
        """What was sealed anew replaces what was seen, and nothing else."""
        key = new_key("one")
        await storage.signing_keys.begin(key, event())
        reseal = storage.signing_keys.reseal
        assert await reseal("one", seen=key.proof, private=b"private", proof=b"proof")
        assert not await peer.signing_keys.reseal("one", seen=key.proof, private=b"late", proof=b"late")
        assert await reseal("one", seen=b"proof", private=None, proof=b"newer")
        (read,) = (await peer.signing_keys.live()).keys
        assert (read.private, read.proof) == (b"private", b"newer")
