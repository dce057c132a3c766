"""The audit trail: one row an act, in the transaction of the act."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from limen.core.events import Event
from limen.features.events.store import EventFilter, StoredEvent, Stretch
from limen.storage.sql.database import Database
from limen.storage.sql.notices import notify
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

LOOKED_AT: Final = 20_000
"""Records that one page looks at: without an index a rare event may be far away, and a page is not to take seconds."""

_INSERT = Statement("""
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
VALUES (@now, :event, :outcome, :actor, :source, :user_agent, :target, :request_id, :data)
""")

_TEXTS: Final = ("event", "outcome", "actor", "source", "user_agent", "target", "request_id", "data")
LAST_TIME: Final = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def whole(name: str) -> str:
    """Return the expression by which SQLite, whose columns take anything, answers an integer or octets."""
    return f"CASE typeof({name}) WHEN 'integer' THEN {name} ELSE CAST({name} AS BLOB) END"


def octets(name: str) -> str:
    """Return the expression by which SQLite answers octets, or NULL; a text that is no UTF-8 would fail."""
    return f"CAST({name} AS BLOB)"


def reading(text: str, wholes: Sequence[str] = (), others: Sequence[str] = ()) -> Statement:
    """Make a statement that reads records as `stored` takes them, from ``limen_events e``, at ``{record}``.

    Other columns stand in it as ``{name}``: ``wholes`` hold integers, ``others`` texts and octets.
    """
    plain = ", ".join(f"e.{name}" for name in ("seq", "time", *_TEXTS))
    lenient = ", ".join(["e.seq", whole("e.time"), *(octets(f"e.{name}") for name in _TEXTS)])
    sqlite, postgres = text.replace("{record}", lenient), text.replace("{record}", plain)
    for name in (*wholes, *others):
        sqlite = sqlite.replace(f"{{{name}}}", whole(name) if name in wholes else octets(name))
        postgres = postgres.replace(f"{{{name}}}", name)
    return Statement(sqlite, postgres=postgres)


_PAGE = reading("""
SELECT {record} FROM limen_events e WHERE e.seq > :after ORDER BY e.seq LIMIT :limit
""")

_WANTED = """
       (CAST(:event AS text) = '' OR event = CAST(:event AS text))
   AND (CAST(:actor AS text) = '' OR actor = CAST(:actor AS text))
   AND (CAST(:target AS text) = '' OR target = CAST(:target AS text))
"""

_FOLLOWING = reading(f"""
SELECT {{record}} FROM limen_events e
 WHERE seq > :after AND seq <= :until AND {_WANTED} ORDER BY seq LIMIT :limit
""")  # noqa: S608

_PRECEDING = reading(f"""
SELECT {{record}} FROM limen_events e
 WHERE seq < :before AND seq >= :until AND {_WANTED} ORDER BY seq DESC LIMIT :limit
""")  # noqa: S608

_END_AFTER = Statement("""
SELECT max(seq), count(*) FROM (SELECT seq FROM limen_events WHERE seq > :after ORDER BY seq LIMIT :looked_at) stretch
""")

_END_BEFORE = Statement("""
SELECT min(seq), count(*) FROM (
    SELECT seq FROM limen_events WHERE seq < :before ORDER BY seq DESC LIMIT :looked_at) stretch
""")

_LAST = 2**63 - 1
"""No record has a number beyond this one."""

_encode = msgspec.json.Encoder(order="sorted").encode


def record(event: Event) -> Steps[None]:
    """Insert the event, in the transaction of its act, and the notice that goes with it."""
    yield from run(_INSERT, **columns_of(event))
    if event.notice is not None:
        yield from notify(event.notice.account_id, event.notice)


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


class SQLEvents:
    """Implements `limen.features.events.store.EventStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def following(self, seq: int, *, wanted: EventFilter, limit: int) -> Stretch:
        """Return at most ``limit`` records with numbers beyond ``seq``, the oldest first."""
        return await self._database.read(partial(_following, seq, wanted, limit))

    async def preceding(self, seq: int | None, *, wanted: EventFilter, limit: int) -> Stretch:
        """Return the last records, at most ``limit``, with numbers before ``seq``; None: the last ones there are."""
        return await self._database.read(partial(_preceding, _LAST if seq is None else seq, wanted, limit))


def page(*, limit: int, after: int) -> Steps[list[StoredEvent]]:
    """Return at most ``limit`` records that follow the record numbered ``after``, in order."""
    return stored((yield from rows(_PAGE, after=after, limit=limit)))


def _following(after: int, wanted: EventFilter, limit: int) -> Steps[Stretch]:
    end = yield from row(_END_AFTER, after=after, looked_at=LOOKED_AT)
    until, count = _end(end)
    found = yield from rows(_FOLLOWING, after=after, until=until, limit=limit + 1, **_values(wanted))
    records = stored(found[:limit])
    return Stretch(records, _reached(records, until, is_cut=len(found) > limit, is_full=count == LOOKED_AT))


def _preceding(before: int, wanted: EventFilter, limit: int) -> Steps[Stretch]:
    end = yield from row(_END_BEFORE, before=before, looked_at=LOOKED_AT)
    until, count = _end(end)
    found = yield from rows(_PRECEDING, before=before, until=until, limit=limit + 1, **_values(wanted))
    records = stored(found[:limit])
    reached = _reached(records, until, is_cut=len(found) > limit, is_full=count == LOOKED_AT)
    return Stretch(records[::-1], reached)


def _end(found: Row | None) -> tuple[int, int]:
    """Return the number at which the stretch ends, and how many records there are up to it."""
    return (found[0] or 0, found[1]) if found is not None else (0, 0)


def _reached(records: Sequence[StoredEvent], until: int, *, is_cut: bool, is_full: bool) -> int | None:
    if is_cut:
        return records[-1].seq
    return until if is_full else None


def _values(wanted: EventFilter) -> dict[str, str]:
    return {"event": wanted.event, "actor": wanted.actor, "target": wanted.target}


def stored(found: Sequence[Row]) -> list[StoredEvent]:
    """Return the records of rows that `reading` read, also of those that cannot be read, as a hand may leave them."""
    return [_stored(columns) for columns in found]


def _stored(columns: Row) -> StoredEvent:
    seq, time, *others = columns
    try:
        *texts, data = [each if type(each) is str else each.decode() for each in others]
        decoded = msgspec.json.decode(data, type=dict[str, Any])
        if type(time) is int and 0 <= time <= LAST_TIME and _is_writable(decoded, texts):
            return StoredEvent(seq, time, *texts, data=decoded)
    except (AttributeError, ValueError, RecursionError):
        pass
    told = [lossy(each) for each in columns[1:]]
    return StoredEvent(seq, 0, *told[1:-1], data={"unreadable": told}, is_damaged=True)


def _is_writable(data: dict[str, Any], texts: Sequence[str]) -> bool:
    """Tell whether what was read can be written as JSON again: not each number can."""
    try:
        _encode([data, texts])
    except (OverflowError, RecursionError, ValueError):
        return False
    return True


def lossy(value: object) -> str:
    """Return whatever a column held as a text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
