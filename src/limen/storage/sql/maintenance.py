"""Work on the data as a whole: ending everything after a restore, and marks by which a rollback is noticed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from limen.core.events import Event, EventName
from limen.features.maintenance.store import EndedBatch, EventMark
from limen.features.sessions.store import EndReason
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.proofs import take_proofs_between
from limen.storage.sql.statement import NOBODY, Statement, Steps, row, rows, run

_COUNT = Statement("SELECT count(*) FROM limen_accounts")

# Locked in the order of their ids, as everybody who locks several accounts does. A login that is under way waits for
# the lock, and then finds another epoch than it has seen; so between the two statements below no session is added.
_LOCK = Statement("SELECT id FROM limen_accounts WHERE id > :after ORDER BY id LIMIT :limit @for_update")

_RAISE_EPOCHS = Statement(
    "UPDATE limen_accounts SET session_epoch = session_epoch + 1 WHERE id > :after AND id <= :last"
)

_LIST_AS_ENDED = Statement("""
INSERT INTO limen_ended_sessions (id, account_id, reason, ended_at, keep_until)
SELECT id, account_id, :reason, @now, @now + :keep FROM limen_sessions
 WHERE account_id > :after AND account_id <= :last
ON CONFLICT (id) DO NOTHING
""")

_DELETE = Statement("DELETE FROM limen_sessions WHERE account_id > :after AND account_id <= :last")

# A key that was revoked after the backup is alive in it, and nothing in the database says so.
_UNCONFIRM = Statement("""
UPDATE limen_api_keys SET unconfirmed_since = @now
 WHERE account_id > :after AND account_id <= :last AND revoked_at IS NULL AND unconfirmed_since IS NULL
""")

# Dead ones too: they are swept a day after their end, and until then it is not worth a look at the clock.
_BY_SECRET = Statement("SELECT kid, count(*) FROM limen_sessions WHERE kind = 'refresh' GROUP BY kid ORDER BY kid")

# Two look-ups in the primary key.
_MARKS = Statement("""
SELECT seq, time, event FROM limen_events WHERE seq IN (:seen, (SELECT max(seq) FROM limen_events)) ORDER BY seq
""")

_RESTORED = Statement(f"""
SELECT seq FROM limen_events WHERE seq > :seq AND event = '{EventName.STORE_RESTORED.value}' LIMIT 1
""")  # noqa: S608


class SQLMaintenance:
    """Implements `limen.features.maintenance.store.MaintenanceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_accounts(self) -> int:
        """Count the accounts."""
        return await self._database.read(_counted)

    async def end_every_session(self, *, after: str | None, limit: int, event: Event, keep_ended_ms: int) -> EndedBatch:
        """Raise the epoch of the next accounts, delete their sessions and list each as ended; see the Protocol."""
        return await self._database.write(partial(_ended, after or NOBODY, limit, event, keep_ended_ms))

    async def sessions_by_secret(self) -> Mapping[str, int]:
        """Count the sessions by the id of the secret that signed their current refresh token."""
        return await self._database.read(_by_secret)

    async def newest_event(self, seen: int) -> Sequence[EventMark]:
        """Return the record numbered ``seen``, if it is there, and the newest one; in order."""
        return await self._database.read(partial(_marks, seen))

    async def was_restored_after(self, seq: int) -> bool:
        """Tell whether a record beyond this number says that the work after a restore was done."""
        return await self._database.read(partial(_was_restored_after, seq))


def _counted() -> Steps[int]:
    found = yield from row(_COUNT)
    return int(found[0]) if found is not None else 0


def _ended(after: str, limit: int, event: Event, keep_ended_ms: int) -> Steps[EndedBatch]:
    locked = yield from rows(_LOCK, after=after, limit=limit)
    if not locked:
        return EndedBatch(0, 0, None)
    between = {"after": after, "last": str(locked[-1][0])}
    accounts = yield from run(_RAISE_EPOCHS, **between)
    yield from take_proofs_between(**between)
    yield from run(_LIST_AS_ENDED, reason=EndReason.RESTORED.value, keep=keep_ended_ms, **between)
    sessions = yield from run(_DELETE, **between)
    keys = yield from run(_UNCONFIRM, **between)
    done = {"accounts": accounts, "sessions": sessions, "keys": keys}
    yield from record(replace(event, data={**event.data, **done}))
    return EndedBatch(accounts, sessions, between["last"] if len(locked) == limit else None, keys)


def _by_secret() -> Steps[Mapping[str, int]]:
    return {str(kid): int(count) for kid, count in (yield from rows(_BY_SECRET))}


def _marks(seen: int) -> Steps[Sequence[EventMark]]:
    found = yield from rows(_MARKS, seen=seen)
    return [EventMark(*columns) for columns in found]


def _was_restored_after(seq: int) -> Steps[bool]:
    return (yield from row(_RESTORED, seq=seq)) is not None
