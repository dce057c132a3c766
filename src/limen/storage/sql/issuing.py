"""The two statements that bring a credential into being. Nobody but `limen.authn.issuing` has a use for them."""

from limen.authn.records import CurrentSession, NewSession, Rotation
from limen.core.events import Event
from limen.storage.sql.connection import Connection, Row
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.roles import HELD_BY_SESSION, role_names

_RETURNING = f"""
RETURNING generation, kid, rotated_at, idle_until, ends_at, auth_time, amr, acr, client_id, ({HELD_BY_SESSION})
"""

# The conditions are part of the INSERT: between the proof (a hash takes a quarter of a second) and this statement the
# account may have been disabled, or its password changed, which raises the epoch. The writer's transaction holds the
# lock that FOR SHARE takes elsewhere.
_OPEN = f"""
INSERT INTO limen_sessions (
    id, account_id, account_epoch, kind, generation, token_hash, kid, rotated_at, idle_until, ends_at, created_at,
    auth_time, amr, acr, client_id, user_agent, address)
SELECT :sid, a.id, a.session_epoch, :kind, 0, :token_hash, :kid, :now, :now + min(:refresh_ttl, :max_ttl),
       :now + :max_ttl, :now, :now, :amr, :acr, :client_id, :user_agent, :address
  FROM limen_accounts a
 WHERE a.id = :account_id AND a.status = 'active' AND a.session_epoch = :epoch
   AND :factors >= CASE WHEN a.second_factor_required THEN 2 ELSE 1 END
{_RETURNING}
"""  # noqa: S608

_ROTATE = f"""
UPDATE limen_sessions
   SET generation = generation + 1, parent_hash = token_hash, token_hash = :next_hash, nonce = :nonce, kid = :kid,
       rotated_at = :now, idle_until = min(:now + :refresh_ttl, ends_at)
 WHERE id = :sid AND kind = 'refresh' AND generation = :generation AND token_hash = :presented_hash
   AND :now < idle_until AND :now < ends_at AND account_id = :account_id
   AND EXISTS (SELECT 1 FROM limen_accounts a
                WHERE a.id = limen_sessions.account_id AND a.status = 'active'
                  AND a.session_epoch = limen_sessions.account_epoch)
{_RETURNING}
"""  # noqa: S608


class SQLiteIssuing:
    """Implements `limen.authn.records.IssuingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, session: NewSession, event: Event) -> CurrentSession | None:
        """Insert the session by one conditional INSERT … SELECT from its account, and the event with it."""

        def operation(connection: Connection) -> CurrentSession | None:
            return _opened(connection, session, event)

        return await self._database.write(operation)

    async def rotate(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        """Replace the current secret by one conditional UPDATE that also asks the account, and write the event."""

        def operation(connection: Connection) -> CurrentSession | None:
            return _rotated(connection, rotation, event)

        return await self._database.write(operation)


def _opened(connection: Connection, session: NewSession, event: Event) -> CurrentSession | None:
    row = connection.row(
        _OPEN,
        {
            "sid": session.sid,
            "account_id": session.account_id,
            "epoch": session.account_epoch,
            "kind": session.kind,
            "factors": session.factors,
            "token_hash": session.token_hash,
            "kid": session.kid,
            "refresh_ttl": session.refresh_ttl_ms,
            "max_ttl": session.max_ttl_ms,
            "amr": " ".join(session.amr),
            "acr": session.acr,
            "client_id": session.client_id,
            "user_agent": session.user_agent,
            "address": session.address,
            "now": connection.now(),
        },
    )
    if row is None:
        return None
    record(connection, event)
    return _current(session.sid, session.account_id, row)


def _rotated(connection: Connection, rotation: Rotation, event: Event) -> CurrentSession | None:
    row = connection.row(
        _ROTATE,
        {
            "sid": rotation.sid,
            "account_id": rotation.account_id,
            "generation": rotation.generation,
            "presented_hash": rotation.presented_hash,
            "next_hash": rotation.next_hash,
            "nonce": rotation.nonce,
            "kid": rotation.kid,
            "refresh_ttl": rotation.refresh_ttl_ms,
            "now": connection.now(),
        },
    )
    if row is None:
        return None
    record(connection, event)
    return _current(rotation.sid, rotation.account_id, row)


def _current(sid: str, account_id: str, row: Row) -> CurrentSession:
    generation, kid, rotated_at, idle_until, ends_at, auth_time, amr, acr, client_id, roles = row
    # By place, in the order of the fields: with their names it takes a third longer, while the loop waits for the lock.
    return CurrentSession(
        sid,
        account_id,
        generation,
        kid,
        rotated_at,
        idle_until,
        ends_at,
        auth_time,
        tuple(amr.split()),
        acr,
        client_id,
        role_names(roles),
    )
