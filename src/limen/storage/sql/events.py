"""The audit trail: one row an act, in the transaction of the act."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from limen.core.events import Event
from limen.storage.sql.connection import Connection

_INSERT = """
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_PAGE = """
SELECT seq, time, event, outcome, actor, source, user_agent, target, request_id, data
  FROM limen_events WHERE seq > :after ORDER BY seq LIMIT :limit
"""

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


def record(connection: Connection, event: Event) -> None:
    """Insert the event, in the transaction that the connection is in."""
    origin = event.origin
    connection.run(
        _INSERT,
        (
            connection.now(),
            event.name.value,
            event.outcome.value,
            event.actor,
            origin.address,
            origin.user_agent,
            event.target,
            origin.request_id,
            _encode(dict(event.data)).decode(),
        ),
    )


def page(connection: Connection, *, limit: int, after: int) -> list[StoredEvent]:
    """Return at most ``limit`` records that follow the record numbered ``after``, in order."""
    rows = connection.rows(_PAGE, {"after": after, "limit": limit})
    return [StoredEvent(*columns, data=msgspec.json.decode(data)) for *columns, data in rows]
