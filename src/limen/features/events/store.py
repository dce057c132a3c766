"""What the audit trail asks of a database. Records are written by the acts themselves, in their transactions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A record of the audit trail as it lies in the database.

    Attributes:
        seq: grows with each record and is never used twice.
        time: milliseconds since 1970 UTC by the database's clock.
        source: the address the request came from.
        is_damaged: it cannot be read, so limen did not write it: ``data`` has under ``unreadable`` what there is of it.
    """

    seq: int
    time: int
    event: str
    outcome: str
    actor: str
    source: str
    user_agent: str
    target: str
    request_id: str
    data: dict[str, Any] = field(hash=False, kw_only=True)
    is_damaged: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which records are wanted: those that have exactly these values; an empty one stands for any."""

    event: str = ""
    actor: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the audit trail.

    Attributes:
        records: in the order of their numbers.
        reached: the number up to which it was looked for more; None where the trail ends there.
    """

    records: Sequence[StoredEvent]
    reached: int | None


class EventStore(Protocol):
    """The audit trail in a database.

    One call looks at a bounded number of records: where few of them are wanted, a stretch has fewer than ``limit``, and
    still goes on. There is no index but the number: each would make every act dearer.
    """

    async def following(self, seq: int, *, wanted: EventFilter, limit: int) -> Stretch:
        """Return at most ``limit`` records with numbers beyond ``seq``, the oldest first."""
        ...

    async def preceding(self, seq: int | None, *, wanted: EventFilter, limit: int) -> Stretch:
        """Return the last records, at most ``limit``, with numbers before ``seq``; None: the last ones there are."""
        ...
