"""How far each sink has been handed the trail. One process hands on at a time, by a lease that ends by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from limen.core.events import Event
from limen.core.ids import uuid7
from limen.features.audit.store import SinkLease, SinkState
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

# The chain's end is asked of the chain itself: the row that says where it stands may have been removed by hand.
_STATE: Final = """
SELECT {name}, {place}, {link}, (SELECT COALESCE(max(number), 0) FROM limen_trail),
       COALESCE((SELECT @now - sealed_at FROM limen_trail WHERE number > {place} ORDER BY number LIMIT 1), 0),
       {is_free}, @now - {checkpoint_at}, {attempts}, {failure}, {handed_at}
"""

_STATES = Statement(
    _STATE.format(
        name="s.name",
        place="s.place",
        link="s.link",
        is_free="s.lease_until <= @now AND s.next_at <= @now",
        checkpoint_at="s.checkpoint_at",
        attempts="s.attempts",
        failure="COALESCE(s.failure, '')",
        handed_at="s.handed_at",
    )
    + "  FROM limen_trail_sinks s WHERE CAST(:name AS text) = '' OR s.name = CAST(:name AS text) ORDER BY s.name"
)

_OF_NEW = Statement(
    _STATE.format(
        name="CAST(:name AS text)",
        place="0",
        link="NULL",
        is_free="1 = 1",
        checkpoint_at="0",
        attempts="0",
        failure="''",
        handed_at="NULL",
    )
)

_CLAIM = Statement("""
INSERT INTO limen_trail_sinks (name, place, checkpoint_at, lease, lease_until, next_at, attempts)
VALUES (:name, 0, 0, :lease, @now + :lease_ms, 0, 0)
ON CONFLICT (name) DO UPDATE SET lease = excluded.lease, lease_until = excluded.lease_until
 WHERE limen_trail_sinks.lease_until <= @now AND limen_trail_sinks.next_at <= @now
RETURNING place, link, attempts, @now - checkpoint_at
""")

_MOVE = Statement("""
UPDATE limen_trail_sinks
   SET place = :place, link = :link, attempts = 0, failure = NULL, handed_at = @now, lease_until = @now + :lease_ms,
       checkpoint_at = CASE WHEN :with_checkpoint THEN @now ELSE checkpoint_at END
 WHERE name = :name AND lease = :lease
""")

_RELEASE = Statement("UPDATE limen_trail_sinks SET lease = NULL, lease_until = 0 WHERE name = :name AND lease = :lease")

_PUT_OFF = Statement("""
UPDATE limen_trail_sinks
   SET lease = NULL, lease_until = 0, attempts = attempts + 1, failure = :failure, next_at = @now + :again_ms
 WHERE name = :name AND lease = :lease
""")

_FORGET = Statement("DELETE FROM limen_trail_sinks WHERE name = :name RETURNING place")

_MOST_OF_FAILURE: Final = 200


class SQLTrailSinks:
    """Implements `limen.features.audit.store.SinkStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def state(self, name: str) -> SinkState:
        """Tell how far a sink is; one that is not known yet is at the beginning."""
        return await self._database.read(partial(_state, name))

    async def states(self) -> Sequence[SinkState]:
        """Tell how far every sink is that was ever handed anything, by name."""
        return await self._database.read(_states)

    async def claim(self, name: str, *, lease_ms: int) -> SinkLease | None:
        """Take the right to hand on; None where somebody else has it, or a pause is kept."""
        return await self._database.write_one(partial(_claimed, name, lease_ms))

    async def moved(
        self, lease: SinkLease, place: int, link: bytes | None, *, with_checkpoint: bool, lease_ms: int
    ) -> bool:
        """Note what the sink has taken; the right goes on. False: it was lost, and nothing is noted."""
        values = {"place": place, "link": link, "with_checkpoint": with_checkpoint, "lease_ms": lease_ms}
        return await self._database.write_one(partial(_changed, _MOVE, lease, values))

    async def released(self, lease: SinkLease) -> bool:
        """Give the right back; False where it was lost."""
        return await self._database.write_one(partial(_changed, _RELEASE, lease, {}))

    async def put_off(self, lease: SinkLease, *, failure: str, again_ms: int) -> bool:
        """Note a failure and keep a pause, and give the right back; False where it was lost."""
        values = {"failure": failure[:_MOST_OF_FAILURE], "again_ms": again_ms}
        return await self._database.write_one(partial(_changed, _PUT_OFF, lease, values))

    async def forget(self, name: str, event: Event) -> bool:
        """Forget a sink, with the event in the same transaction; False where it is not known."""
        return await self._database.write(partial(_forgotten, name, event))


def _state(name: str) -> Steps[SinkState]:
    found = (yield from row(_STATES, name=name)) or (yield from row(_OF_NEW, name=name))
    return _of(found or ())


def _states() -> Steps[list[SinkState]]:
    return [_of(each) for each in (yield from rows(_STATES, name=""))]


def _of(found: Row) -> SinkState:
    name, place, link, last, lag, is_free, since, attempts, failure, handed_at = found
    # A clock that was set back makes nothing younger than it is.
    return SinkState(name, place, link, last, max(lag, 0), bool(is_free), max(since, 0), attempts, failure, handed_at)


def _claimed(name: str, lease_ms: int) -> Steps[SinkLease | None]:
    lease = uuid7()
    found = yield from row(_CLAIM, name=name, lease=lease, lease_ms=lease_ms)
    return None if found is None else SinkLease(name, lease, *found)


def _changed(statement: Statement, lease: SinkLease, values: Mapping[str, object]) -> Steps[bool]:
    return bool((yield from run(statement, name=lease.name, lease=lease.lease, **values)))


def _forgotten(name: str, event: Event) -> Steps[bool]:
    gone = yield from row(_FORGET, name=name)
    if gone is None:
        return False
    yield from record(replace(event, data={**event.data, "place": gone[0]}))
    return True
