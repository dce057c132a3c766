"""The contract of the audit trail."""

from limen.core.events import EventName
from limen.features.events.store import EventFilter, Stretch
from limen.storage import Storage
from limen.testing.contracts.contract import Contract, event

ANY = EventFilter()


def numbers(stretch: Stretch) -> list[int]:
    """Return what the records of the stretch were numbered by the tests."""
    return [record.data["n"] for record in stretch.records]


async def write(storage: Storage, count: int) -> None:
    """Write so many records: every third is a logout, and the actors are two."""
    for n in range(count):
        name = EventName.REFRESH_REFUSED if n % 3 else EventName.SESSION_ENDED
        await storage.sessions.record(event(name, actor=f"actor-{n % 2}", target=f"target-{n}", data={"n": n}))


class EventsContract(Contract):
    """`EventStore`."""

    async def test_onwards_from_a_number(self, storage: Storage) -> None:
        """Following where a stretch ended meets every record once, in order."""
        await write(storage, 7)
        met: list[int] = []
        reached: int | None = 0
        while reached is not None:
            stretch = await storage.trail.following(reached, wanted=ANY, limit=3)
            assert len(stretch.records) <= 3
            met += numbers(stretch)
            reached = stretch.reached
        assert met == list(range(7))

    async def test_the_latest_first(self, storage: Storage) -> None:
        """Without a number it is the end of the trail, in order; going back from there meets every record once."""
        await write(storage, 7)
        stretch = await storage.trail.preceding(None, wanted=ANY, limit=3)
        assert numbers(stretch) == [4, 5, 6]
        met = numbers(stretch)
        while stretch.reached is not None:
            stretch = await storage.trail.preceding(stretch.reached, wanted=ANY, limit=3)
            met = numbers(stretch) + met
        assert met == list(range(7))

    async def test_a_full_last_page_is_the_end(self, storage: Storage) -> None:
        """Where nothing comes after a stretch, it says so, also when the stretch is full; so does an empty trail."""
        for seq, wanted in ((0, ANY), (10**12, ANY)):
            assert await storage.trail.following(seq, wanted=wanted, limit=3) == Stretch([], None)
        assert await storage.trail.preceding(None, wanted=ANY, limit=3) == Stretch([], None)
        await write(storage, 6)
        first = await storage.trail.following(0, wanted=ANY, limit=6)
        assert (numbers(first), first.reached) == (list(range(6)), None)
        last = await storage.trail.preceding(None, wanted=ANY, limit=6)
        assert (numbers(last), last.reached) == (list(range(6)), None)

    async def test_only_what_is_wanted(self, storage: Storage) -> None:
        """Event, actor and target each choose exactly, and together; a text that looks like SQL chooses nothing."""
        await write(storage, 12)
        for wanted, expected in (
            (EventFilter(event="session_ended"), [0, 3, 6, 9]),
            (EventFilter(actor="actor-1"), [1, 3, 5, 7, 9, 11]),
            (EventFilter(target="target-5"), [5]),
            (EventFilter(event="session_ended", actor="actor-1"), [3, 9]),
            (EventFilter(event="session_ended", actor="actor-1", target="target-4"), []),
            (EventFilter(actor="actor-"), []),
            (EventFilter(actor="%"), []),
            (EventFilter(target="' OR '1'='1"), []),
        ):
            assert numbers(await storage.trail.following(0, wanted=wanted, limit=50)) == expected, wanted
            assert numbers(await storage.trail.preceding(None, wanted=wanted, limit=50)) == expected, wanted

    async def test_pages_of_what_is_wanted(self, storage: Storage) -> None:
        """A filter does not change how pages follow one another."""
        await write(storage, 12)
        wanted = EventFilter(event="session_ended")
        first = await storage.trail.following(0, wanted=wanted, limit=3)
        assert numbers(first) == [0, 3, 6]
        assert first.reached is not None
        assert numbers(await storage.trail.following(first.reached, wanted=wanted, limit=3)) == [9]
        last = await storage.trail.preceding(None, wanted=wanted, limit=3)
        assert numbers(last) == [3, 6, 9]
        assert last.reached is not None
        assert numbers(await storage.trail.preceding(last.reached, wanted=wanted, limit=3)) == [0]
