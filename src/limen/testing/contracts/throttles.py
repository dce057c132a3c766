"""The contract of throttling: what is counted is counted once, and nobody gets past a full bucket."""

import asyncio
from collections.abc import Callable

from limen.core.ids import uuid7
from limen.features.throttling.store import Back, Take
from limen.storage import Storage
from limen.testing.contracts.contract import DAY, SECOND, Contract

MINUTE = 60 * SECOND


def a_take(most: int = 10, window_ms: int = 15 * MINUTE, *, renewed: bool = False) -> Take:
    """Return a take from a bucket that nobody has asked for."""
    return Take(f"t{uuid7()}", most, window_ms, renewed)


class ThrottlesContract(Contract):
    """`ThrottleStore`."""

    async def test_of_many_at_once_as_many_are_counted_as_there_is_room_for(
        self, storage: Storage, peer: Storage
    ) -> None:
        """Two hundred in two processes, at a limit of ten: ten."""
        take = a_take(10)
        asked = [(storage, peer)[number % 2].throttles.take([take]) for number in range(200)]
        verdicts = await asyncio.gather(*asked)
        assert sum(verdict.admitted for verdict in verdicts) == 10
        assert sorted(verdict.held[take.bucket].taken for verdict in verdicts if verdict.admitted) == [*range(1, 11)]

    async def test_of_many_who_ask_for_several_no_more_than_the_smallest_holds(
        self, storage: Storage, peer: Storage
    ) -> None:
        """Buckets are asked for in any order, nobody waits for ever, and no bucket is overfilled."""
        small, large = a_take(5), a_take(50)
        orders = ([small, large], [large, small])
        asked = [(storage, peer)[number % 2].throttles.take(orders[number // 2 % 2]) for number in range(60)]
        assert sum(verdict.admitted for verdict in await asyncio.gather(*asked)) == 5

    async def test_what_is_full_says_when_it_will_be_empty(self, storage: Storage) -> None:
        """The first one that is counted begins the window."""
        take = a_take(1)
        counted = (await storage.throttles.take([take])).held[take.bucket]
        assert 14 * MINUTE < counted.ends_in <= 15 * MINUTE
        refused = await storage.throttles.take([take])
        assert not refused.admitted
        assert refused.full[take.bucket].ends_at == counted.ends_at
        assert refused.full[take.bucket].ends_in <= counted.ends_in

    async def test_where_one_is_full_none_is_counted(self, storage: Storage) -> None:
        """What is refused costs the others nothing: a colleague is not locked out by what did not happen."""
        full, other = a_take(1), a_take(2)
        assert (await storage.throttles.take([full])).admitted
        for _ in range(5):
            refused = await storage.throttles.take([full, other])
            assert not refused.admitted
            assert set(refused.full) == {full.bucket}
        assert (await storage.throttles.take([other])).held[other.bucket].taken == 1

    async def test_after_its_window_a_bucket_is_empty(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Not a moment before, and then for a whole window."""
        take = a_take(2)
        assert (await storage.throttles.take([take])).admitted
        turn_clock(14 * MINUTE)
        assert (await storage.throttles.take([take])).admitted
        assert not (await storage.throttles.take([take])).admitted
        turn_clock(MINUTE + SECOND)
        found = (await storage.throttles.take([take])).held[take.bucket]
        assert found.taken == 1
        assert found.ends_in > 14 * MINUTE

    async def test_what_is_renewed_lasts_from_the_last_one(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A count of what came in a row is not forgotten in its middle."""
        take = a_take(3, 30 * DAY, renewed=True)
        for _ in range(3):
            assert (await storage.throttles.take([take])).admitted
            turn_clock(20 * DAY)
        assert not (await storage.throttles.take([take])).admitted
        turn_clock(11 * DAY)
        assert (await storage.throttles.take([take])).admitted

    async def test_an_end_that_a_wrong_clock_wrote_does_not_last(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A clock that was a day ahead for a moment locks nobody out for the day."""
        take = a_take(1)
        turn_clock(DAY)
        assert (await storage.throttles.take([take])).admitted
        turn_clock(-DAY)
        assert (await storage.throttles.take([take])).admitted
        assert not (await storage.throttles.take([take])).admitted

    async def test_a_clock_that_goes_back_a_little_empties_nothing(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Ten seconds back are no new window."""
        take = a_take(1)
        assert (await storage.throttles.take([take])).admitted
        turn_clock(-10 * SECOND)
        assert not (await storage.throttles.take([take])).admitted

    async def test_what_is_given_back_is_there_again(self, storage: Storage, peer: Storage) -> None:
        """One, and not the others."""
        take = a_take(2)
        first = (await storage.throttles.take([take])).held[take.bucket]
        await storage.throttles.take([take])
        await peer.throttles.give_back([Back(take.bucket, first.ends_at)])
        assert (await storage.throttles.take([take])).admitted
        assert not (await storage.throttles.take([take])).admitted

    async def test_what_is_given_back_to_another_window_changes_nothing(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Who logs in slowly takes nothing from those who were counted later."""
        take = a_take(1)
        before = (await storage.throttles.take([take])).held[take.bucket]
        turn_clock(16 * MINUTE)
        assert (await storage.throttles.take([take])).admitted
        await storage.throttles.give_back([Back(take.bucket, before.ends_at)])
        assert not (await storage.throttles.take([take])).admitted

    async def test_what_is_emptied_is_empty_and_nothing_else_is(self, storage: Storage, peer: Storage) -> None:
        """A success empties the buckets that it names."""
        emptied, other = a_take(2), a_take(2)
        for _ in range(2):
            await storage.throttles.take([emptied, other])
        await peer.throttles.give_back([Back(emptied.bucket, 0, emptied=True)])
        assert (await storage.throttles.take([emptied])).held[emptied.bucket].taken == 1
        assert not (await storage.throttles.take([other])).admitted

    async def test_nothing_goes_below_nothing(self, storage: Storage) -> None:
        """What is given back twice makes no room that there never was; a bucket that is not there stays so."""
        take = a_take(2)
        held = (await storage.throttles.take([take])).held[take.bucket]
        for _ in range(3):
            await storage.throttles.give_back([Back(take.bucket, held.ends_at), Back(f"none-{uuid7()}")])
        admitted = [(await storage.throttles.take([take])).admitted for _ in range(3)]
        assert admitted == [True, True, False]

    async def test_sweeping_takes_only_what_is_over(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A bucket whose window lasts is counted on after a sweep."""
        short, long = a_take(1), a_take(1, 30 * DAY)
        await storage.throttles.take([short, long])
        turn_clock(3 * DAY)
        await storage.sweep()
        assert not (await storage.throttles.take([long])).admitted
        assert (await storage.throttles.take([short])).admitted
