"""The contract of what is kept of the sinks of the audit trail."""

import asyncio
from collections.abc import Callable

from limen.core.events import EventName
from limen.features.audit.store import SinkLease, SinkStore
from limen.storage import Storage
from limen.testing.contracts.contract import SECOND, Contract, all_events, event
from limen.testing.contracts.trail import chain, service, write

NAME = "https://receiver.example/trail"
LEASE = 60 * SECOND


async def claimed(store: SinkStore) -> SinkLease:
    """Take the right to hand on, which is free."""
    lease = await store.claim(NAME, lease_ms=LEASE)
    assert lease is not None
    return lease


class SinksContract(Contract):
    """`SinkStore`."""

    async def test_a_new_sink_is_at_the_beginning(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Before it was handed anything the whole trail waits for it, and nothing is kept of it."""
        assert (await storage.sinks.state(NAME)).last == 0
        await write(storage, 3)
        await service(storage).seal()
        turn_clock(10 * SECOND)
        state = await storage.sinks.state(NAME)
        assert (state.name, state.place, state.last, state.is_free) == (NAME, 0, 3, True)
        assert state.lag_ms >= 10 * SECOND
        assert await storage.sinks.states() == []
        assert not await storage.sinks.forget(NAME, event())

    async def test_one_hands_on_at_a_time(self, storage: Storage, peer: Storage) -> None:
        """Of many that ask at once one is given the right, and the others when it was given back."""
        asked = await asyncio.gather(*(each.sinks.claim(NAME, lease_ms=LEASE) for each in (storage, peer) * 5))
        (lease,) = [each for each in asked if each is not None]
        assert not (await peer.sinks.state(NAME)).is_free
        assert await peer.sinks.claim("another", lease_ms=LEASE) is not None
        assert await storage.sinks.released(lease)
        assert await peer.sinks.claim(NAME, lease_ms=LEASE) is not None

    async def test_a_place_is_kept(self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]) -> None:
        """Whoever comes next goes on where the sink is, and the failures of before are over."""
        await write(storage, 3)
        await service(storage).seal()
        link = (await chain(storage))[1].seal.link
        lease = await claimed(storage.sinks)
        assert (lease.place, lease.link, lease.attempts) == (0, None, 0)
        assert await storage.sinks.put_off(lease, failure="it is down" * 100, again_ms=5 * SECOND)
        assert await peer.sinks.claim(NAME, lease_ms=LEASE) is None
        turn_clock(6 * SECOND)
        lease = await claimed(peer.sinks)
        assert lease.attempts == 1
        assert (await storage.sinks.state(NAME)).failure.startswith("it is down")
        assert await peer.sinks.moved(lease, 2, link, with_checkpoint=True, lease_ms=LEASE)
        assert await peer.sinks.released(lease)
        (state,) = await storage.sinks.states()
        assert (state.place, state.link, state.attempts, state.failure) == (2, link, 0, "")
        assert state.since_checkpoint_ms < LEASE
        assert state.handed_at is not None

    async def test_who_is_too_late_has_lost_it(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Once the right has ended and somebody else has it, the first one notes nothing any more."""
        late = await claimed(storage.sinks)
        turn_clock(LEASE + SECOND)
        lease = await claimed(peer.sinks)
        assert not await storage.sinks.moved(late, 9, bytes(32), with_checkpoint=False, lease_ms=LEASE)
        assert not await storage.sinks.put_off(late, failure="late", again_ms=SECOND)
        assert not await storage.sinks.released(late)
        assert (await storage.sinks.state(NAME)).place == 0
        assert await peer.sinks.moved(lease, 1, bytes(32), with_checkpoint=False, lease_ms=LEASE)

    async def test_a_sink_is_forgotten_with_a_record(self, storage: Storage) -> None:
        """It is at the beginning again, and the record says where it was."""
        lease = await claimed(storage.sinks)
        assert await storage.sinks.moved(lease, 7, bytes(32), with_checkpoint=False, lease_ms=LEASE)
        assert await storage.sinks.forget(NAME, event(EventName.TRAIL_SINK_FORGOTTEN, data={"sink": NAME}))
        assert (await storage.sinks.state(NAME)).place == 0
        (told,) = await all_events(storage, EventName.TRAIL_SINK_FORGOTTEN)
        assert told.data == {"sink": NAME, "place": 7}
