import sqlite3

import pytest

from limen import Limen
from limen.core.errors import InvalidInput
from limen.core.events import Event, EventName
from limen.features.events.service import EventPage, EventService
from limen.storage.sql import events as sql


@pytest.fixture
def trail(gate: Limen) -> EventService:
    """The audit trail of a gate."""
    return EventService(gate.storage.trail)


async def write(gate: Limen, count: int, name: EventName = EventName.REFRESHED) -> None:
    """Write so many records."""
    for n in range(count):
        await gate.sessions.record(Event(name, actor="writer", data={"n": n}))


def numbers(page: EventPage) -> list[int]:
    """Return what the records were numbered by the tests."""
    return [record.data["n"] for record in page.items]


async def test_the_latest_page_comes_first(gate: Limen, trail: EventService) -> None:
    """Without a place it is the latest page, the newest last; ``next`` leads back to the beginning."""
    await write(gate, 5)
    page = await trail.page(limit=2, actor="writer")
    pages = [numbers(page)]
    while page.next is not None:
        page = await trail.page(limit=2, actor="writer", after=page.next)
        pages.append(numbers(page))
    assert pages == [[3, 4], [1, 2], [0]]


async def test_a_number_leads_onwards(gate: Limen, trail: EventService) -> None:
    """After the number of a record come those that follow it, and nothing twice: a reader keeps up."""
    await write(gate, 5)
    page = await trail.page(limit=2, actor="writer", after="0")
    assert numbers(page) == [0, 1]
    page = await trail.page(limit=50, actor="writer", after=page.next)
    assert (numbers(page), page.next) == ([2, 3, 4], None)
    last = str(page.items[-1].seq)
    assert (await trail.page(after=last)).items == []
    await write(gate, 1)
    assert numbers(await trail.page(after=last)) == [0]


@pytest.mark.parametrize("after", ["", "-1", "before-", "before-x", "1.5", "٣", "9" * 19, "0 OR 1=1", "after-1"])
async def test_a_place_that_is_none_is_refused(trail: EventService, after: str) -> None:
    """What no page has answered is refused, and is not the beginning."""
    with pytest.raises(InvalidInput):
        await trail.page(after=after)


async def test_an_event_that_does_not_exist_is_refused(trail: EventService) -> None:
    """A name with a slip would otherwise look like a trail without such an event."""
    with pytest.raises(InvalidInput) as refused:
        await trail.page(event="login_suceeded")
    assert refused.value.errors[0].code == "unknown_event"
    assert (await trail.page(event="store_rolled_back")).items == []


async def test_a_page_looks_at_a_bounded_number_of_records(
    gate: Limen, trail: EventService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare event that is far away takes several pages, some of them empty, and none of them the whole trail."""
    monkeypatch.setattr(sql, "LOOKED_AT", 10)
    await write(gate, 1, EventName.STORE_ROLLED_BACK)
    await write(gate, 25)
    for after in (None, "0"):
        pages, page = 1, await trail.page(event="store_rolled_back", after=after)
        found = list(page.items)
        while page.next is not None:
            page = await trail.page(event="store_rolled_back", after=page.next)
            found += page.items
            pages += 1
        assert [record.event for record in found] == ["store_rolled_back"]
        assert pages >= 3


async def test_reading_writes_nothing(gate: Limen, trail: EventService) -> None:
    """The trail is the same after it was read, and no number is missing."""
    await write(gate, 3)
    before = await gate.storage.events(limit=1000)
    await trail.page()
    assert await gate.storage.events(limit=1000) == before
    path = gate.settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM limen_events")
    connection.close()
    assert count == len(before)
