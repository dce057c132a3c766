"""Sessions: read one, end some. What opens and rotates them is in `issuing`."""

from collections.abc import Sequence
from functools import partial

from limen.authz.authority import Authority
from limen.core import metrics
from limen.core.events import Event
from limen.core.ids import is_uuid7
from limen.features.sessions.store import ALWAYS_READ_MS, Ended, EndReason, LivingSession, SessionState
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.holdings import HELD_BY_SESSION, role_names
from limen.storage.sql.proofs import take_proofs
from limen.storage.sql.statement import NOBODY, Statement, Steps, row, rows, run, run_each

# The clock in the same statement: one round trip. A row may then be younger than the clock by the time that the
# statement takes to begin, which a judge allows for (`limen.features.sessions.service.CLOCK_STEP_MS`).
_READ = Statement(f"""
SELECT limen_sessions.account_id, account_epoch, kind, generation, token_hash, parent_hash, nonce, kid, rotated_at,
       idle_until, ends_at, auth_time, amr, acr, client_id, a.status, a.session_epoch, ({HELD_BY_SESSION}), @now
  FROM limen_sessions JOIN limen_accounts a ON a.id = limen_sessions.account_id
 WHERE limen_sessions.id = :sid
""")  # noqa: S608

# The newest first: ids begin with the time. A row that cannot rotate any more is not shown, although it is still there.
_LIVING = Statement("""
SELECT s.id, s.kind, s.user_agent, s.address, s.created_at, s.rotated_at
  FROM limen_sessions s JOIN limen_accounts a ON a.id = s.account_id
 WHERE s.account_id = :account_id AND s.id < :before AND s.account_epoch = a.session_epoch AND a.status = 'active'
   AND @now < s.idle_until AND @now < s.ends_at
 ORDER BY s.id DESC LIMIT :limit
""")

_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""No session has an id beyond this one."""

_DELETE = Statement("DELETE FROM limen_sessions WHERE id = :sid AND account_id = :account_id RETURNING id")

_DELETE_ALL = Statement("DELETE FROM limen_sessions WHERE account_id = :account_id AND id <> :keep_sid RETURNING id")

LIST_AS_ENDED = Statement("""
INSERT INTO limen_ended_sessions (id, account_id, reason, ended_at, keep_until)
VALUES (:sid, :account_id, :reason, @now, @now + :keep) ON CONFLICT (id) DO NOTHING
""")

_RAISE_EPOCH = Statement("UPDATE limen_accounts SET session_epoch = session_epoch + 1 WHERE id = :account_id")

# A clock that was ahead for a while, or steps back, must not hide what ends afterwards: the recent past is always read.
_ENDED_SINCE = Statement(f"""
SELECT id, ended_at, keep_until FROM limen_ended_sessions
 WHERE ended_at >= @least(:since, @now - {ALWAYS_READ_MS}) AND keep_until > @now ORDER BY ended_at, id
""")  # noqa: S608


class SQLSessions:
    """Implements `limen.features.sessions.store.SessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, sid: str) -> SessionState | None:
        """Read the session, its account and the clock."""
        return await self._database.read(partial(_state, sid))

    async def of_account(self, account_id: str, *, limit: int, after: str | None) -> Sequence[LivingSession]:
        """List at most ``limit`` living sessions of the account, the newest first, that follow ``after``."""
        return await self._database.read(partial(_living, account_id, limit, after))

    async def end(self, sid: str, *, account_id: str, reason: EndReason, event: Event, keep_ended_ms: int) -> bool:
        """Delete the session's row if it is this account's, and list it as ended; True for the one that deleted it."""
        return await self._database.write(partial(_ended, sid, account_id, reason, event, keep_ended_ms))

    async def end_all(
        self,
        account_id: str,
        *,
        reason: EndReason,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> int:
        """Raise the account's epoch, delete all its sessions and list each as ended; return how many there were.

        The epoch is raised, and the event written, also where there was no session: a login whose password is still
        being hashed must not open one afterwards. Only where there is no such account is nothing written.
        """
        return await self._database.write(partial(_all_ended, account_id, reason, event, keep_ended_ms, authority))

    async def ended_since(self, since_ms: int) -> Sequence[Ended]:
        """List what ended at or after this time (milliseconds since 1970 UTC) and is still to be kept."""
        return await self._database.read_committed(partial(_ended_since, since_ms))

    async def record(self, event: Event) -> None:
        """Write an event of an act that changed nothing: a refusal, or a failure."""
        await self._database.write_one(partial(record, event))


def delete_all(account_id: str, *, reason: EndReason, keep_ended_ms: int, keep_sid: str | None = None) -> Steps[int]:
    """Delete the account's sessions but ``keep_sid``, list each as ended, and return how many there were."""
    found = yield from rows(_DELETE_ALL, account_id=account_id, keep_sid=keep_sid or NOBODY)
    sids = [str(sid) for (sid,) in found]
    yield from list_as_ended(sids, account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    return len(sids)


def list_as_ended(sids: Sequence[str], *, account_id: str, reason: EndReason, keep_ended_ms: int) -> Steps[None]:
    """Put sessions on the list that every process polls, so that their access tokens die early too."""
    each = {"account_id": account_id, "reason": reason.value, "keep": keep_ended_ms}
    metrics.REVOCATIONS.add(reason.value, times=len(sids))
    yield from run_each(LIST_AS_ENDED, [{"sid": sid, **each} for sid in sids])


def _ended(sid: str, account_id: str, reason: EndReason, event: Event, keep_ended_ms: int) -> Steps[bool]:
    deleted = yield from row(_DELETE, sid=sid, account_id=account_id)
    if deleted is None:
        return False
    yield from list_as_ended([sid], account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return True


def _all_ended(
    account_id: str, reason: EndReason, event: Event, keep_ended_ms: int, authority: Authority | None
) -> Steps[int]:
    if authority is not None:
        yield from locked(account_id, authority)
    raised = yield from run(_RAISE_EPOCH, account_id=account_id)
    if not raised:
        return 0
    yield from take_proofs(account_id)
    ended = yield from delete_all(account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return ended


def _ended_since(since_ms: int) -> Steps[Sequence[Ended]]:
    found = yield from rows(_ENDED_SINCE, since=since_ms)
    return [Ended(sid=str(sid), ended_at=ended_at, keep_until=keep_until) for sid, ended_at, keep_until in found]


def _living(account_id: str, limit: int, after: str | None) -> Steps[Sequence[LivingSession]]:
    found = yield from rows(_LIVING, account_id=account_id, before=after or _LAST, limit=limit)
    return [LivingSession(str(sid), *columns) for sid, *columns in found]


def _state(sid: str) -> Steps[SessionState | None]:
    # PostgreSQL would call it an error: what is no id names no session.
    found = (yield from row(_READ, sid=sid)) if is_uuid7(sid) else None
    if found is None:
        return None
    return SessionState(
        sid=sid,
        account_id=str(found[0]),
        account_epoch=found[1],
        kind=found[2],
        generation=found[3],
        token_hash=found[4],
        parent_hash=found[5],
        nonce=found[6],
        kid=found[7],
        rotated_at=found[8],
        idle_until=found[9],
        ends_at=found[10],
        auth_time=found[11],
        amr=tuple(found[12].split()),
        acr=found[13],
        client_id=found[14],
        account_status=found[15],
        session_epoch=found[16],
        roles=role_names(found[17]),
        now=found[18],
    )
