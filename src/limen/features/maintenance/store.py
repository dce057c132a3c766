"""What maintenance asks of a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """What one step of ending everything did.

    Attributes:
        accounts: whose epoch was raised.
        sessions: that were deleted and listed as ended.
        next: what to hand in as ``after`` for the next step; None where this was the last.
        keys: API keys that somebody has to confirm from now on.
    """

    accounts: int
    sessions: int
    next: str | None
    keys: int = 0


@dataclass(frozen=True, slots=True)
class EventMark:
    """By what a record of the audit trail is known again: it is never changed and its number never used twice.

    Attributes:
        seq: its number.
        time: when it was written, milliseconds since 1970 UTC by the database's clock.
        event: what happened.
    """

    seq: int
    time: int
    event: str


class MaintenanceStore(Protocol):
    """Work on the data as a whole. Every verb is one transaction."""

    async def count_accounts(self) -> int:
        """Count the accounts: how much there is to do, for whoever waits."""
        ...

    async def end_every_session(self, *, after: str | None, limit: int, event: Event, keep_ended_ms: int) -> EndedBatch:
        """Raise the epoch of the next accounts, delete and list their sessions; their keys wait to be confirmed.

        Args:
            after: the id of the account before; None begins.
            limit: how many accounts at most: others wait for their rows only so long.
            event: written in the same transaction, with ``accounts``, ``sessions`` and ``keys`` added to its data,
                where there was an account.
            keep_ended_ms: how long the sessions stay on the list.
        """
        ...

    async def sessions_by_secret(self) -> Mapping[str, int]:
        """Count the sessions by the id of the secret (``kid``) that signed their current refresh token."""
        ...

    async def newest_event(self, seen: int) -> Sequence[EventMark]:
        """Return the record numbered ``seen``, if it is there, and the newest one; in order, and once if they are one.

        What is read was committed. So a record that was seen once is there for ever, unless the database went back.
        """
        ...

    async def was_restored_after(self, seq: int) -> bool:
        """Tell whether a record beyond this number says that the work after a restore was done."""
        ...
