"""Sessions: read one, end some. What opens and rotates them is in `issuing`."""

from collections.abc import Sequence

from limen.core.events import Event
from limen.features.sessions.store import ALWAYS_READ_MS, Ended, EndReason, SessionState
from limen.storage.sql.connection import Connection
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.roles import HELD_BY_SESSION, role_names

_READ = f"""
SELECT limen_sessions.account_id, account_epoch, kind, generation, token_hash, parent_hash, nonce, kid, rotated_at,
       idle_until, ends_at, auth_time, amr, acr, client_id, a.status, a.session_epoch, ({HELD_BY_SESSION})
  FROM limen_sessions JOIN limen_accounts a ON a.id = limen_sessions.account_id
 WHERE limen_sessions.id = :sid
"""  # noqa: S608

_DELETE = "DELETE FROM limen_sessions WHERE id = :sid AND account_id = :account_id RETURNING id"

_DELETE_ALL = "DELETE FROM limen_sessions WHERE account_id = :account_id AND id <> :keep_sid RETURNING id"

_LIST_AS_ENDED = """
INSERT INTO limen_ended_sessions (id, account_id, reason, ended_at, keep_until)
VALUES (:sid, :account_id, :reason, :now, :now + :keep) ON CONFLICT (id) DO NOTHING
"""

_RAISE_EPOCH = "UPDATE limen_accounts SET session_epoch = session_epoch + 1 WHERE id = :account_id"

# A clock that was ahead for a while, or steps back, must not hide what ends afterwards: the recent past is always read.
_ENDED_SINCE = f"""
SELECT id, ended_at, keep_until FROM limen_ended_sessions
 WHERE ended_at >= min(:since, :now - {ALWAYS_READ_MS}) AND keep_until > :now ORDER BY ended_at, id
"""  # noqa: S608


class SQLiteSessions:
    """Implements `limen.features.sessions.store.SessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, sid: str) -> SessionState | None:
        """Read the session with its account, and then the clock, so that the row is never younger than ``now``."""

        def operation(connection: Connection) -> SessionState | None:
            return _state(connection, sid)

        return await self._database.read(operation)

    async def end(self, sid: str, *, account_id: str, reason: EndReason, event: Event, keep_ended_ms: int) -> bool:
        """Delete the session's row if it is this account's, and list it as ended; True for the one that deleted it."""

        def operation(connection: Connection) -> bool:
            if connection.row(_DELETE, {"sid": sid, "account_id": account_id}) is None:
                return False
            list_as_ended(connection, [sid], account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
            record(connection, event)
            return True

        return await self._database.write(operation)

    async def end_all(self, account_id: str, *, reason: EndReason, event: Event, keep_ended_ms: int) -> int:
        """Raise the account's epoch, delete all its sessions and list each as ended; return how many there were.

        The epoch is raised, and the event written, also where there was no session: a login whose password is still
        being hashed must not open one afterwards. Only where there is no such account is nothing written.
        """

        def operation(connection: Connection) -> int:
            if not connection.run(_RAISE_EPOCH, {"account_id": account_id}):
                return 0
            ended = delete_all(connection, account_id, reason=reason, keep_ended_ms=keep_ended_ms)
            record(connection, event)
            return ended

        return await self._database.write(operation)

    async def ended_since(self, since_ms: int) -> Sequence[Ended]:
        """List what ended at or after this time (milliseconds since 1970 UTC) and is still to be kept."""

        def operation(connection: Connection) -> Sequence[Ended]:
            rows = connection.rows(_ENDED_SINCE, {"since": since_ms, "now": connection.now()})
            return [Ended(sid=sid, ended_at=ended_at, keep_until=keep_until) for sid, ended_at, keep_until in rows]

        return await self._database.read(operation)

    async def record(self, event: Event) -> None:
        """Write an event of an act that changed nothing: a refusal, or a failure."""

        def operation(connection: Connection) -> None:
            record(connection, event)

        await self._database.write(operation)


def delete_all(
    connection: Connection, account_id: str, *, reason: EndReason, keep_ended_ms: int, keep_sid: str | None = None
) -> int:
    """Delete the account's sessions but ``keep_sid``, list each as ended, and return how many there were."""
    rows = connection.rows(_DELETE_ALL, {"account_id": account_id, "keep_sid": keep_sid or ""})
    sids = [row[0] for row in rows]
    list_as_ended(connection, sids, account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    return len(sids)


def list_as_ended(
    connection: Connection, sids: Sequence[str], *, account_id: str, reason: EndReason, keep_ended_ms: int
) -> None:
    """Put sessions on the list that every process polls, so that their access tokens die early too."""
    now = connection.now()
    connection.run_many(
        _LIST_AS_ENDED,
        [
            {"sid": sid, "account_id": account_id, "reason": reason.value, "now": now, "keep": keep_ended_ms}
            for sid in sids
        ],
    )


def _state(connection: Connection, sid: str) -> SessionState | None:
    row = connection.row(_READ, {"sid": sid})
    if row is None:
        return None
    return SessionState(
        sid=sid,
        account_id=row[0],
        account_epoch=row[1],
        kind=row[2],
        generation=row[3],
        token_hash=row[4],
        parent_hash=row[5],
        nonce=row[6],
        kid=row[7],
        rotated_at=row[8],
        idle_until=row[9],
        ends_at=row[10],
        auth_time=row[11],
        amr=tuple(row[12].split()),
        acr=row[13],
        client_id=row[14],
        account_status=row[15],
        session_epoch=row[16],
        roles=role_names(row[17]),
        now=connection.now(),
    )
