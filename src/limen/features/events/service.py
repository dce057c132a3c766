"""The audit trail, read in pages: the latest first, or onwards from a number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from limen.core.errors import InputFault, InvalidInput
from limen.core.events import EventName
from limen.core.pages import DEFAULT_PAGE, check_limit, no_such_place
from limen.features.events.store import EventFilter, EventStore, StoredEvent

# A record with a number below 1 was put there by hand; going on behind it is no fault.
_PLACE: Final = re.compile(r"(?:(before-)(-?[0-9]{1,18})|([0-9]{1,18}))\Z")
_NAMES: Final = frozenset(event.value for event in EventName)


RecordView: TypeAlias = StoredEvent
"""A record as it is shown: as it lies in the database."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some records in the order of their numbers.

    Attributes:
        items: the records.
        next: what to hand in as ``after`` for those that come next; None at the end.
    """

    items: Sequence[StoredEvent]
    next: str | None


class EventService:
    """Reads the audit trail.

    Args:
        store: where it lies.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def page(
        self,
        *,
        limit: int = DEFAULT_PAGE,
        after: str | None = None,
        event: str = "",
        actor: str = "",
        target: str = "",
    ) -> EventPage:
        """Return a page of the records that have these values; an empty value stands for any.

        Without ``after`` it is the latest page, and ``next`` leads to older ones. With the number of a record it is the
        page that follows that record, and ``next`` leads to newer ones. Within a page the newest is the last. A page
        may have fewer records than ``limit``, or none, and still have a ``next``.

        Raises:
            InvalidInput: a limit out of range, a place that is none, or an event that does not exist.
        """
        check_limit(limit)
        if event and event not in _NAMES:
            message = "There is no such event."
            raise InvalidInput(message, errors=[InputFault(("query", "event"), "unknown_event", message)])
        wanted = EventFilter(event, actor, target)
        place = _PLACE.match(after) if after is not None else None
        if after is not None and place is None:
            raise no_such_place()
        if place is None or place[1]:
            before = int(place[2]) if place is not None else None
            stretch = await self._store.preceding(before, wanted=wanted, limit=limit)
            following = f"before-{stretch.reached}"
        else:
            stretch = await self._store.following(int(place[3]), wanted=wanted, limit=limit)
            following = str(stretch.reached)
        return EventPage(stretch.records, following if stretch.reached is not None else None)
