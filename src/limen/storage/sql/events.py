"""The audit trail: one row an act, in the transaction of the act."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from limen.core.events import Event
from limen.storage.sql.statement import Statement, Steps, rows, run

_INSERT = Statement("""
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
VALUES (@now, :event, :outcome, :actor, :source, :user_agent, :target, :request_id, :data)
""")

_PAGE = Statement("""
SELECT seq, time, event, outcome, actor, source, user_agent, target, request_id, data
  FROM limen_events WHERE seq > :after ORDER BY seq LIMIT :limit
""")

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A record of the audit trail as it lies in the database.

    Attributes:
        seq: grows with each record and is never used twice.
        time: milliseconds since 1970 UTC by the database's clock.
        source: the address the request came from.
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


def record(event: Event) -> Steps[None]:
    """Insert the event, in the transaction of its act."""
    yield from run(_INSERT, **columns_of(event))


def columns_of(event: Event) -> dict[str, Any]:
    """Return the event as the parameters of a statement that inserts it."""
    origin = event.origin
    return {
        "event": event.name.value,
        "outcome": event.outcome.value,
        "actor": event.actor,
        "source": origin.address,
        "user_agent": origin.user_agent,
        "target": event.target,
        "request_id": origin.request_id,
        "data": _encode(dict(event.data)).decode(),
    }


def page(*, limit: int, after: int) -> Steps[list[StoredEvent]]:
    """Return at most ``limit`` records that follow the record numbered ``after``, in order."""
    found = yield from rows(_PAGE, after=after, limit=limit)
    return [StoredEvent(*columns, data=msgspec.json.decode(data)) for *columns, data in found]
