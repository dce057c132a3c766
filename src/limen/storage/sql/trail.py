"""The chain over the audit trail. No act waits for it: records are sealed after their commit, by one process at a time.

Which records can still come is not told by their numbers: a transaction takes a number when it writes a record, and
commits when it likes. So the sealer looks which transactions are writing records (PostgreSQL holds a lock on the table
for each until it ends), and moves the floor, below which it does not look again, only once all of those that may hold a
lower number have ended. SQLite has one writer: there nothing comes late.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from limen.core.errors import Unavailable
from limen.core.events import Event, EventName
from limen.features.audit.store import Base, Due, Mark, Seal, SealedRecord, Sealing, TrailHead
from limen.features.events.store import StoredEvent
from limen.storage.sql.database import Database
from limen.storage.sql.events import LAST_TIME, lossy, octets, reading, record, stored
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run, run_each

_WHOLES: Final = ("number", "floor", "base_number")
_OCTETS: Final = ("link", "base_link", "base_kid", "base_mac", "head_kid", "head_mac")
_HEAD: Final = (
    "SELECT {number}, {link}, {floor}, {base_number}, {base_link}, {base_kid}, {base_mac}, {head_kid}, {head_mac}, @now"
    " FROM limen_trail_head WHERE id = 1"
)

_READ_HEAD = reading(_HEAD, _WHOLES, _OCTETS)

# Whoever finds it taken goes away: the other one is sealing.
_TAKE_HEAD = reading(f"{_HEAD} @skip_locked", _WHOLES, _OCTETS)

# Whoever erases or removes waits for the sealer: it must not seal what it read before.
_LOCK_HEAD = reading(f"{_HEAD} @for_update", _WHOLES, _OCTETS)

# Of the numbers of sealed records: SQLite takes a text for one, and has it after each number.
_HIGHEST_SEALED: Final = f"SELECT seq FROM limen_trail WHERE seq <= {2**63 - 1} ORDER BY seq DESC LIMIT 1"  # noqa: S608

_DUE = reading(
    f"""
SELECT h.floor, (SELECT max(seq) FROM limen_events), @now, (SELECT {{e.time}} FROM limen_events e
        WHERE e.seq > h.floor AND NOT EXISTS (SELECT 1 FROM limen_trail t WHERE t.seq = e.seq AND t.seq > h.floor)
        ORDER BY e.seq LIMIT 1)
  FROM (SELECT @least(COALESCE((SELECT floor FROM limen_trail_head WHERE id = 1), 0),
                      COALESCE(({_HIGHEST_SEALED}), 0)) AS floor) h
""",  # noqa: S608
    others=("e.time",),
)

_LAST = Statement(
    f"SELECT number, {octets('link')}, ({_HIGHEST_SEALED}) FROM limen_trail ORDER BY number DESC LIMIT 1",  # noqa: S608
    postgres=f"SELECT number, link, ({_HIGHEST_SEALED}) FROM limen_trail ORDER BY number DESC LIMIT 1",  # noqa: S608
)

_NEWEST = Statement("SELECT COALESCE(max(seq), 0) FROM limen_events")

# A lock is taken before a number is, and given up after the commit can be seen.
_WRITERS = Statement(
    "SELECT '' WHERE 1 = 0",
    postgres="""
SELECT virtualtransaction FROM pg_locks
 WHERE locktype = 'relation' AND relation = 'limen_events'::regclass AND mode = 'RowExclusiveLock'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""",
)

_UNSEALED = reading("""
SELECT {record} FROM limen_events e
 WHERE e.seq > :floor AND NOT EXISTS (SELECT 1 FROM limen_trail t WHERE t.seq = e.seq AND t.seq > :floor)
 ORDER BY e.seq LIMIT :limit
""")

_INSERT = Statement("""
INSERT INTO limen_trail (number, seq, sealed_at, kid, nonce, details, digest, link)
VALUES (:number, :seq, :sealed_at, :kid, :nonce, :details, :digest, :link)
""")

_MOVE_HEAD = Statement("UPDATE limen_trail_head SET number = :number, link = :link, floor = :floor WHERE id = 1")

_VOUCH = Statement("UPDATE limen_trail_head SET head_kid = :kid, head_mac = :mac WHERE id = 1")

_SEALED = reading(
    """
SELECT t.number, {t.seq}, {sealed_at}, {kid}, {nonce}, {details}, {digest}, {link}, {record}
  FROM limen_trail t LEFT JOIN limen_events e ON e.seq = t.seq
 WHERE t.number >= :first ORDER BY t.number LIMIT :limit
""",
    ("t.seq", "sealed_at"),
    ("kid", "nonce", "details", "digest", "link"),
)

_END_OF_STRETCH = Statement("""
SELECT max(seq), count(*) FROM (SELECT seq FROM limen_events WHERE seq >= :first ORDER BY seq LIMIT :limit) stretch
""")

_WITHOUT_SEAL = reading("""
SELECT {record} FROM limen_events e
 WHERE e.seq >= :first AND e.seq <= :until
   AND NOT EXISTS (SELECT 1 FROM limen_trail t WHERE t.seq = e.seq) ORDER BY e.seq
""")

_SESSIONS_OF = Statement("""
SELECT DISTINCT target FROM limen_events WHERE actor = :account_id AND target <> :account_id AND target <> ''
""")

# What says that something was erased stays as it is, and so does who deleted an account, and from where: others did.
_OF_ACCOUNT: Final = f"""
seq >= :first AND seq <= :until AND (actor = :account_id OR target = :account_id)
   AND event NOT IN ('{EventName.DETAILS_ERASED.value}', '{EventName.ACCOUNT_DELETED.value}')
"""

_ERASE_NONCES = Statement(f"""
UPDATE limen_trail SET nonce = NULL WHERE seq IN (SELECT seq FROM limen_events WHERE {_OF_ACCOUNT})
""")  # noqa: S608

_ERASE_DETAILS = Statement(f"UPDATE limen_events SET source = '', user_agent = '', data = '{{}}' WHERE {_OF_ACCOUNT}")  # noqa: S608

# Somebody who had proved nothing came with a token of one of these sessions. Nothing else is taken: what the account
# did something with may be another account, and who tried to log in there is no trace of this one.
_WITH_TOKENS: Final = ", ".join(
    f"'{name.value}'" for name in (EventName.REFRESH_REFUSED, EventName.REFRESH_REUSED, EventName.STORE_ROLLED_BACK)
)
_OF_SESSIONS: Final = f"""
seq >= :first AND seq <= :until AND actor = '' AND (source <> '' OR user_agent <> '') AND event IN ({_WITH_TOKENS})
"""
_LISTED: Final = "AND target IN (SELECT value FROM json_each(:sids))"
_LISTED_PG: Final = "AND target IN (SELECT json_array_elements_text(CAST(:sids AS json)))"

_ERASE_SESSION_NONCES = Statement(
    f"UPDATE limen_trail SET nonce = NULL WHERE seq IN (SELECT seq FROM limen_events WHERE {_OF_SESSIONS} {_LISTED})",  # noqa: S608
    postgres=f"""
UPDATE limen_trail SET nonce = NULL WHERE seq IN (SELECT seq FROM limen_events WHERE {_OF_SESSIONS} {_LISTED_PG})
""",  # noqa: S608
)

_ERASE_SESSIONS = Statement(
    f"""
UPDATE limen_events SET source = '', user_agent = '', data = '{{}}' WHERE {_OF_SESSIONS} {_LISTED} RETURNING target
""",  # noqa: S608
    postgres=f"""
UPDATE limen_events SET source = '', user_agent = '', data = '{{}}' WHERE {_OF_SESSIONS} {_LISTED_PG} RETURNING target
""",  # noqa: S608
)

# What a sink has not taken stays.
_UNTIL = Statement("""
SELECT number FROM limen_trail
 WHERE number = :until AND link = :link AND number < (SELECT max(number) FROM limen_trail)
   AND number <= COALESCE((SELECT min(place) FROM limen_trail_sinks), number)
""")

_BEGIN_AGAIN = Statement("""
INSERT INTO limen_trail_head (id, number, link, floor, base_number, base_link, base_kid, base_mac)
VALUES (1, :number, :link, :floor, :base_number, :base_link, :base_kid, :base_mac)
ON CONFLICT (id) DO UPDATE SET number = excluded.number, link = excluded.link, floor = excluded.floor
""")

_REMOVE_RECORDS = Statement("""
DELETE FROM limen_events WHERE seq IN (SELECT seq FROM limen_trail WHERE number > :base AND number <= :until)
""")

_REMOVE_SEALS = Statement("DELETE FROM limen_trail WHERE number > :base AND number <= :until")

_MOVE_BASE = Statement("""
UPDATE limen_trail_head SET base_number = :number, base_link = :link, base_kid = :kid, base_mac = :mac WHERE id = 1
""")

_BEGINNING: Final = bytes(32)
_TIME: Final = re.compile(r"[0-9]{1,18}\Z")
_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Horizon:
    """How far the floor may move, once everybody has ended who may still write a lower number.

    Attributes:
        bound: the highest number that could be seen then.
        writers: who was writing after it was read.
    """

    bound: int
    writers: frozenset[str]


class SQLAudit:
    """Implements `limen.features.audit.store.AuditStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._horizon: _Horizon | None = None

    async def due(self) -> Due:
        """Tell whether records may wait to be sealed."""
        return await self._database.read(_due)

    async def seal(self, sealing: Sealing, *, limit: int) -> int:
        """Seal committed records in one transaction; see the Protocol."""
        count, self._horizon = await self._database.write(partial(_seal, sealing, limit, self._horizon))
        return count

    async def head(self) -> TrailHead | None:
        """Return where the chain stands; None where the row that says so is gone."""
        return await self._database.read(_read_head)

    async def sealed(self, number: int | None, *, limit: int) -> Sequence[SealedRecord]:
        """Return at most ``limit`` seals that follow this number, in order, with their records; see the Protocol."""
        return await self._database.read(partial(_sealed, number, limit))

    async def unsealed(self, seq: int | None, *, limit: int) -> tuple[Sequence[StoredEvent], int | None]:
        """Return records without a seal among those that follow; see the Protocol."""
        return await self._database.read(partial(_without_seal, seq, limit))

    async def sessions_of(self, account_id: str) -> Sequence[str]:
        """Return the ids of what an account did something with: its sessions are among them."""
        return await self._database.read(partial(_sessions_of, account_id))

    async def erase(
        self, account_id: str, seq: int | None, *, limit: int, event: Event, sessions: Sequence[str] = ()
    ) -> tuple[int, int | None]:
        """Erase details of records by or about an account; see the Protocol."""
        return await self._database.write(partial(_erased, account_id, seq, limit, event, sessions))

    async def prune(self, old: Base, new: Base, *, event: Event) -> int:
        """Remove the oldest seals with their records; see the Protocol."""
        return await self._database.write(partial(_pruned, old, new, event))

    async def recover(self, found: Base, sealing: Sealing, *, event: Event) -> TrailHead | None:
        """Let the chain stand at its last seal; see the Protocol."""
        return await self._database.write(partial(_recovered, found, sealing, event))


def _due() -> Steps[Due]:
    found = yield from row(_DUE)
    if found is None or found[1] is None or found[1] <= found[0]:
        return Due(waits=False, lag_ms=0)
    # A clock that was set back makes nothing younger than it is.
    since = lossy(found[3] or "")
    return Due(waits=True, lag_ms=max(found[2] - int(since), 0) if _TIME.match(since) else 0)


def _seal(sealing: Sealing, limit: int, horizon: _Horizon | None) -> Steps[tuple[int, _Horizon | None]]:
    taken = yield from row(_TAKE_HEAD)
    if taken is None:
        return 0, horizon
    stands = _head(taken)
    head = yield from _end_of(stands, is_sound=sealing.is_sound(stands))
    newest = yield from row(_NEWEST)
    # In this order: a number up to the newest belongs to somebody who has ended by now, or is among the writers. And
    # what those who ended have committed is seen by the statement after.
    writers = frozenset(str(each[0]) for each in (yield from rows(_WRITERS)))
    found = stored((yield from rows(_UNSEALED, floor=head.floor, limit=limit)))
    made = sealing.seals(found, head)
    yield from run_each(_INSERT, [each._asdict() for each in made])
    bound = 0 if newest is None else newest[0]
    horizon = _still(horizon, writers) or _Horizon(bound, writers)
    floor = head.floor
    if not horizon.writers:
        floor = max(floor, horizon.bound if len(found) < limit else min(horizon.bound, found[-1].seq))
    number, link = (made[-1].number, made[-1].link) if made else (head.number, head.link)
    is_sound = head is stands
    if made or (is_sound and floor != stands.floor):
        yield from run(_MOVE_HEAD, number=number, link=link, floor=floor)
    # What was changed by hand is not vouched for: it would look as if nobody had done so.
    if is_sound and (made or floor != stands.floor or not sealing.is_current(stands)):
        yield from run(_VOUCH, **sealing.vouches(number, link, floor)._asdict())
    return len(made), horizon if floor < horizon.bound else None


def _end_of(head: TrailHead, *, is_sound: bool) -> Steps[TrailHead]:
    """Return what to go on from: the head, or the last seal, where nobody vouches for the head or seals are beyond it.

    So whoever changes the head does not stop the sealer.
    """
    found = yield from row(_LAST)
    number, link, seq = found or (head.base.number, head.base.link, 0)
    if is_sound and number <= head.number:
        return head
    if number == _HIGHEST:
        raise Unavailable("The last place of the audit trail is taken: limen audit verify.")
    floor = seq or 0
    return replace(
        head, number=max(number, 0), link=_link(link), floor=floor if head.floor < 0 else min(head.floor, floor)
    )


def _still(horizon: _Horizon | None, writers: Collection[str]) -> _Horizon | None:
    """Return the horizon with those of its writers that have not ended."""
    return None if horizon is None else replace(horizon, writers=horizon.writers.intersection(writers))


def _read_head() -> Steps[TrailHead | None]:
    found = yield from row(_READ_HEAD)
    return None if found is None else _head(found)


def _head(found: Row | None) -> TrailHead:
    if found is None:
        raise Unavailable("The row that says where the audit trail stands is not there: limen audit verify.")
    number, link, floor, base_number, base_link, base_kid, base_mac, kid, mac, now = found
    base = Base(_number(base_number), _link(base_link), lossy(base_kid or ""), base_mac or b"")
    return TrailHead(_number(number), _link(link), _number(floor), base, now, Mark(lossy(kid or ""), mac or b""))


def _number(value: object) -> int:
    """Return what a column held; -1 for what none of limen's can be."""
    return value if type(value) is int and value >= 0 else -1


def _link(value: bytes | None) -> bytes:
    """Return 32 octets: of another length they could be taken for part of what stands beside them."""
    return value if value is not None and len(value) == len(_BEGINNING) else _BEGINNING


def _seal_of(columns: Row) -> Seal:
    number, seq, sealed_at, kid, nonce, details, digest, link = columns
    made = _number(sealed_at)
    return Seal(
        number,
        seq if type(seq) is int else -1,
        made if made <= LAST_TIME else -1,
        lossy(kid),
        nonce,
        _link(details),
        _link(digest),
        _link(link),
    )


def _following(number: int | None) -> int:
    """Return the first number after this one; None: the very lowest there can be."""
    return _LOWEST if number is None else min(number + 1, _HIGHEST)


def _sealed(number: int | None, limit: int) -> Steps[list[SealedRecord]]:
    if number == _HIGHEST:
        return []
    found = yield from rows(_SEALED, first=_following(number), limit=limit)
    return [SealedRecord(_seal_of(each[:8]), None if each[8] is None else stored([each[8:]])[0]) for each in found]


def _stretch(first: int, limit: int) -> Steps[tuple[int, int | None]]:
    """Return where the stretch ends, and after which number it goes on, or None."""
    end = yield from row(_END_OF_STRETCH, first=first, limit=limit)
    until, count = (0, 0) if end is None else (end[0] or 0, end[1])
    return until, until if count == limit and until < _HIGHEST else None


def _without_seal(after: int | None, limit: int) -> Steps[tuple[list[StoredEvent], int | None]]:
    first = _following(after)
    until, following = yield from _stretch(first, limit)
    return stored((yield from rows(_WITHOUT_SEAL, first=first, until=until))), following


def _sessions_of(account_id: str) -> Steps[list[str]]:
    return [str(target) for (target,) in (yield from rows(_SESSIONS_OF, account_id=account_id))]


def _erased(
    account_id: str, after: int | None, limit: int, event: Event, sessions: Sequence[str]
) -> Steps[tuple[int, int | None]]:
    yield from row(_LOCK_HEAD)
    first = _following(after)
    until, following = yield from _stretch(first, limit)
    chosen = {"first": first, "until": until, "account_id": account_id}
    yield from run(_ERASE_NONCES, **chosen)
    count = yield from run(_ERASE_DETAILS, **chosen)
    if count:
        yield from record(replace(event, data={**event.data, "records": count}))
    return count + (yield from _sessions_erased(sessions, first, until, event)), following


def _sessions_erased(sessions: Sequence[str], first: int, until: int, event: Event) -> Steps[int]:
    """Erase what was done with these sessions by nobody, and say so of each: what is erased has to be accounted for."""
    if not sessions:
        return 0
    chosen = {"first": first, "until": until, "sids": json.dumps(list(sessions))}
    yield from run(_ERASE_SESSION_NONCES, **chosen)
    targets = Counter(str(target) for (target,) in (yield from rows(_ERASE_SESSIONS, **chosen)))
    for target, count in sorted(targets.items()):
        yield from record(replace(event, target=target, data={**event.data, "records": count}))
    return targets.total()


def _pruned(old: Base, new: Base, event: Event) -> Steps[int]:
    head = _head((yield from row(_LOCK_HEAD)))
    if head.base != old or new.number >= head.number:
        return 0
    if (yield from row(_UNTIL, until=new.number, link=new.link)) is None:
        return 0
    yield from run(_REMOVE_RECORDS, base=old.number, until=new.number)
    count = yield from run(_REMOVE_SEALS, base=old.number, until=new.number)
    yield from run(_MOVE_BASE, **new._asdict())
    # With what vouches for it: a record alone may be written by whoever may write to the database.
    told = {"records": count, "until": new.number, "link": new.link.hex(), "kid": new.kid, "mac": new.mac.hex()}
    yield from record(replace(event, data={**event.data, **told}))
    return count


def _recovered(found: Base, sealing: Sealing, event: Event) -> Steps[TrailHead | None]:
    taken = yield from row(_LOCK_HEAD)
    stands = None if taken is None else _head(taken)
    last = yield from row(_LAST)
    if stands is not None and sealing.is_sound(stands) and (last is None or last[0] <= stands.number):
        return None
    base = found if stands is None else stands.base
    number, link, floor = last or (base.number, base.link, 0)
    place, end = max(number, 0), _link(link)
    values = {"number": place, "link": end if place else None, "floor": floor or 0}
    yield from run(_BEGIN_AGAIN, **values, **{f"base_{name}": value for name, value in base._asdict().items()})
    yield from run(_VOUCH, **sealing.vouches(place, end, floor or 0)._asdict())
    stood = None if stands is None else stands.number
    yield from record(replace(event, data={**event.data, "place": place, "stood": stood}))
    return _head((yield from row(_READ_HEAD)))
