"""The list of ended sessions for services elsewhere, which verify tokens by the public keys and have no database."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from limen.core.errors import InputFault, InvalidInput
from limen.core.ids import UUID7
from limen.features.sessions.service import POLL_OVERLAP_MS
from limen.features.sessions.store import Ended, SessionStore

MOST: Final = 1_000
"""Entries of one answer; whoever restored a backup ends every session at once."""

_CURSOR: Final = re.compile(rf"(0|[1-9][0-9]{{0,15}})(?:\.({UUID7}))?\Z")


@dataclass(frozen=True, slots=True)
class EndedPart:
    """A part of the list.

    Attributes:
        items: what ended, oldest first. Entries may come twice: what has come last is read again for a while, since
            transactions do not end in the order of their times.
        next: the place to ask from, at once where there is more, else when the list is looked at again.
        more: there is more already.
    """

    items: Sequence[Ended]
    next: str
    more: bool


class EndedFeed:
    """Reads the list of ended sessions by parts.

    Args:
        store: where it is.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def after(self, place: str | None) -> EndedPart:
        """Return what ended since a place; from the beginning, everything of which tokens may be alive.

        Args:
            place: ``next`` of the part before, or None.

        Raises:
            InvalidInput: no part has named such a place.
            Unavailable: the database does not answer.
        """
        since, sid = _read(place)
        # In the middle of a list it goes on exactly there; at its end the last seconds are read again.
        found = await self._store.ended_since(since if sid else since - POLL_OVERLAP_MS)
        if sid:
            found = [each for each in found if (each.ended_at, each.sid) > (since, sid)]
        if len(found) > MOST:
            last = found[MOST - 1]
            return EndedPart(found[:MOST], f"{last.ended_at}.{last.sid}", more=True)
        newest = max((each.ended_at for each in found), default=since)
        return EndedPart(found, str(max(newest, since)), more=False)


def _read(place: str | None) -> tuple[int, str]:
    if place is None:
        return 0, ""
    match = _CURSOR.match(place)
    if match is None:
        fault = InputFault(("query", "after"), "invalid_value", "This is no place in the list.")
        raise InvalidInput(errors=[fault])
    return int(match[1]), match[2] or ""
