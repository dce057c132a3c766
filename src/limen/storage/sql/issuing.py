"""The statements that bring a credential into being. Nobody but `limen.authn.issuing` has a use for them."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

from limen.authn.records import CurrentSession, NewSession, Renewal, Rotation, SessionCap
from limen.core.events import Event
from limen.features.sessions.store import EndReason
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of, record
from limen.storage.sql.notices import notify
from limen.storage.sql.roles import HELD_BY_SESSION, role_names
from limen.storage.sql.sessions import list_as_ended
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

COLUMNS = "generation, kid, rotated_at, idle_until, ends_at, auth_time, amr, acr, client_id"

_RETURNING = f"RETURNING {COLUMNS}, ({HELD_BY_SESSION})"

# PostgreSQL does the act and its record in one statement: one round trip, one commit, and no row without its record.
# What the act has changed is called ``done``; the record bears its time.
_RECORDED = f"""
, recorded AS (
    INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
    SELECT rotated_at, :event, :outcome, :actor, :source, :user_agent, :target, :request_id, :data FROM done)
SELECT {COLUMNS}, roles FROM done
"""  # noqa: S608

# The time at which the statement began, the same wherever it stands in it: `@now` would be another one each time.
BEGAN = "((extract(epoch FROM statement_timestamp()) * 1000)::bigint + :clock_shift)"

# The conditions are part of the INSERT: between the proof (a hash takes a quarter of a second) and this statement the
# account may have been disabled, or its password changed, which raises the epoch. SQLite's writer holds the lock that
# FOR SHARE takes on PostgreSQL: without it a reset that commits meanwhile would not be seen.
_OPEN = Statement(
    f"""
INSERT INTO limen_sessions (
    id, account_id, account_epoch, kind, generation, token_hash, kid, rotated_at, idle_until, ends_at, created_at,
    auth_time, amr, acr, client_id, user_agent, address)
SELECT :sid, a.id, a.session_epoch, :kind, 0, :token_hash, :kid, @now, @now + min(:refresh_ttl, :max_ttl),
       @now + :max_ttl, @now, min(COALESCE(:auth_time, @now), @now), :amr, :acr, :client_id, :device, :address
  FROM limen_accounts a
 WHERE a.id = :account_id AND a.status = 'active' AND a.session_epoch = :epoch AND a.account_kind = 'person'
   AND :factors >= CASE WHEN a.second_factor_required THEN 2 ELSE 1 END
{_RETURNING}
""",  # noqa: S608
    postgres=f"""
WITH account AS (
    SELECT id, session_epoch FROM limen_accounts
     WHERE id = :account_id AND status = 'active' AND session_epoch = :epoch AND account_kind = 'person'
       AND :factors >= CASE WHEN second_factor_required THEN 2 ELSE 1 END
       FOR SHARE),
done AS (
    INSERT INTO limen_sessions (
        id, account_id, account_epoch, kind, generation, token_hash, kid, rotated_at, idle_until, ends_at, created_at,
        auth_time, amr, acr, client_id, user_agent, address)
    SELECT :sid, account.id, account.session_epoch, :kind, 0, :token_hash, :kid, {BEGAN},
           {BEGAN} + LEAST(:refresh_ttl::bigint, :max_ttl::bigint), {BEGAN} + :max_ttl::bigint, {BEGAN},
           LEAST(COALESCE(:auth_time::bigint, {BEGAN}), {BEGAN}), :amr, :acr, :client_id, :device, :address
      FROM account
    RETURNING {COLUMNS}, ({HELD_BY_SESSION}) AS roles)
{_RECORDED}
""",  # noqa: S608
)

# Whatever opens a session of the account holds the account's row by now, so no two of them count the same ones.
_DISPLACE = Statement("""
DELETE FROM limen_sessions WHERE id IN (
    SELECT s.id FROM limen_sessions s JOIN limen_accounts a ON a.id = s.account_id
     WHERE s.account_id = :account_id AND s.id <> :sid AND s.kind <> 'bound' AND s.account_epoch = a.session_epoch
       AND @now < s.idle_until AND @now < s.ends_at
     ORDER BY s.created_at DESC, s.id DESC LIMIT 1000000 OFFSET :others)
RETURNING id
""")

_VOUCH = Statement("""
INSERT INTO limen_sso_sessions (session_id, provider, issuer, subject, provider_sid, hint)
VALUES (:sid, :provider, :issuer, :subject, :provider_sid, :hint)
""")

# The account's row is locked by the statement before, and whoever takes the name away locks it as well.
_OPEN_BOUND = Statement(f"""
INSERT INTO limen_sessions (
    id, account_id, account_epoch, kind, generation, token_hash, kid, rotated_at, idle_until, ends_at, created_at,
    auth_time, amr, acr, client_id, user_agent, address)
SELECT :sid, a.id, a.session_epoch, :kind, 0, :token_hash, :kid, n.t, n.t + :max_ttl, n.t + :max_ttl, n.t, n.t, :amr,
       :acr, :client_id, :device, :address
  FROM limen_accounts a CROSS JOIN (SELECT @now AS t) n
 WHERE a.id = :account_id AND a.status = 'active' AND a.session_epoch = :epoch AND a.account_kind = 'service'
   AND EXISTS (SELECT 1 FROM limen_client_certificates c WHERE c.id = :registration AND c.account_id = a.id)
{_RETURNING}
""")  # noqa: S608

# A request names the session that it came by: it is theirs, too, who registered the certificate.
_NOTE_HAND = Statement("""
INSERT INTO limen_credential_hands (credential_id, held_by, since)
SELECT :sid, c.created_by, @now FROM limen_client_certificates c WHERE c.id = :registration
""")

_ROTATE = Statement(
    f"""
UPDATE limen_sessions
   SET generation = generation + 1, parent_hash = token_hash, token_hash = :next_hash, nonce = :nonce, kid = :kid,
       rotated_at = @now, idle_until = min(@now + :refresh_ttl, ends_at)
 WHERE id = :sid AND kind = 'refresh' AND generation = :generation AND token_hash = :presented_hash
   AND @now < idle_until AND @now < ends_at AND account_id = :account_id
   AND EXISTS (SELECT 1 FROM limen_accounts a
                WHERE a.id = limen_sessions.account_id AND a.status = 'active'
                  AND a.session_epoch = limen_sessions.account_epoch)
{_RETURNING}
""",  # noqa: S608
    postgres=f"""
WITH done AS (
    UPDATE limen_sessions
       SET generation = generation + 1, parent_hash = token_hash, token_hash = :next_hash, nonce = :nonce,
           kid = :kid, rotated_at = {BEGAN}, idle_until = LEAST({BEGAN} + :refresh_ttl, ends_at)
      FROM limen_accounts a
     WHERE limen_sessions.id = :sid AND kind = 'refresh' AND generation = :generation AND token_hash = :presented_hash
       AND {BEGAN} < idle_until AND {BEGAN} < ends_at AND account_id = :account_id
       AND a.id = account_id AND a.status = 'active' AND a.session_epoch = limen_sessions.account_epoch
    RETURNING {COLUMNS}, ({HELD_BY_SESSION}) AS roles)
{_RECORDED}
""",  # noqa: S608
)


# The generation stays: there is no parent that could come back. What was presented is dead with this statement.
_RENEW = Statement(
    f"""
UPDATE limen_sessions
   SET token_hash = :next_hash, rotated_at = @now, auth_time = @now, idle_until = min(@now + :idle, ends_at)
 WHERE id = :sid AND kind = 'cookie' AND token_hash = :presented_hash
   AND @now < idle_until AND @now < ends_at AND account_id = :account_id
   AND EXISTS (SELECT 1 FROM limen_accounts a
                WHERE a.id = limen_sessions.account_id AND a.status = 'active'
                  AND a.session_epoch = limen_sessions.account_epoch)
{_RETURNING}
""",  # noqa: S608
    postgres=f"""
WITH done AS (
    UPDATE limen_sessions
       SET token_hash = :next_hash, rotated_at = {BEGAN}, auth_time = {BEGAN},
           idle_until = LEAST({BEGAN} + :idle, ends_at)
      FROM limen_accounts a
     WHERE limen_sessions.id = :sid AND kind = 'cookie' AND token_hash = :presented_hash
       AND {BEGAN} < idle_until AND {BEGAN} < ends_at AND account_id = :account_id
       AND a.id = account_id AND a.status = 'active' AND a.session_epoch = limen_sessions.account_epoch
    RETURNING {COLUMNS}, ({HELD_BY_SESSION}) AS roles)
{_RECORDED}
""",  # noqa: S608
)


class SQLIssuing:
    """Implements `limen.authn.records.IssuingStore`.

    Args:
        database: where it is done.
        in_one: the engine records the event in the statement itself.
    """

    def __init__(self, database: Database, *, in_one: bool) -> None:
        self._database = database
        self._write = database.write_one if in_one else database.write
        self._recorded = _in_one if in_one else _in_two

    async def open(self, session: NewSession, event: Event) -> CurrentSession | None:
        """Insert the session by one conditional INSERT … SELECT from its account, and the event with it."""
        opening = partial(self._recorded, _OPEN, _columns_of_session(session), event)
        if session.vouched is None and session.cap is None:
            write = self._write if event.notice is None else self._database.write
            found = await write(opening)
        else:
            found = await self._database.write(partial(_opened, session, opening))
        return None if found is None else current(session.sid, session.account_id, found)

    async def open_bound(self, session: NewSession, registration: str, event: Event) -> CurrentSession | None:
        """Insert the session of a service that proved itself by a client certificate, and the event with it."""
        found = await self._database.write(partial(_bound, session, registration, event))
        return None if found is None else current(session.sid, session.account_id, found)

    async def rotate(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        """Replace the current secret by one conditional UPDATE that also asks the account, and write the event."""
        found = await self._write(partial(self._recorded, _ROTATE, _columns_of_rotation(rotation), event))
        return None if found is None else current(rotation.sid, rotation.account_id, found)

    async def renew(self, renewal: Renewal, event: Event) -> CurrentSession | None:
        """Replace the secret of a cookie session by one conditional UPDATE, and write the event."""
        found = await self._write(partial(self._recorded, _RENEW, _columns_of_renewal(renewal), event))
        return None if found is None else current(renewal.sid, renewal.account_id, found)


def _opened(session: NewSession, opening: Callable[[], Steps[Row | None]]) -> Steps[Row | None]:
    """Open a session together with the login that it comes about by, and end the oldest ones that are too many.

    No logout at the provider may miss it.
    """
    if session.cap is not None:
        yield from locked(session.account_id, None)
    found = yield from opening()
    if found is None:
        return None
    if session.vouched is not None:
        yield from run(_VOUCH, sid=session.sid, **asdict(session.vouched))
    if session.cap is not None:
        yield from _displaced(session, session.cap)
    return found


def _displaced(session: NewSession, cap: SessionCap) -> Steps[None]:
    ended = yield from rows(_DISPLACE, account_id=session.account_id, sid=session.sid, others=cap.most - 1)
    sids = [str(sid) for (sid,) in ended]
    yield from list_as_ended(
        sids, account_id=session.account_id, reason=EndReason.DISPLACED, keep_ended_ms=cap.keep_ended_ms
    )
    for sid in sids:
        yield from record(replace(cap.event, target=sid))


def _bound(session: NewSession, registration: str, event: Event) -> Steps[Row | None]:
    yield from locked(session.account_id, None)
    columns = {
        name: value
        for name, value in _columns_of_session(session).items()
        if name not in {"factors", "refresh_ttl", "auth_time"}
    }
    found = yield from _in_two(_OPEN_BOUND, {**columns, "registration": registration}, event)
    if found is not None:
        yield from run(_NOTE_HAND, sid=session.sid, registration=registration)
    return found


def _in_one(statement: Statement, columns: dict[str, object], event: Event) -> Steps[Row | None]:
    found = yield from row(statement, **columns, **columns_of(event))
    if found is not None and event.notice is not None:
        yield from notify(event.notice.account_id, event.notice)
    return found


def _in_two(statement: Statement, columns: dict[str, object], event: Event) -> Steps[Row | None]:
    found = yield from row(statement, **columns)
    if found is not None:
        yield from record(event)
    return found


def _columns_of_session(session: NewSession) -> dict[str, object]:
    return {
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
        "device": session.user_agent,
        "address": session.address,
        "auth_time": session.auth_time,
    }


def _columns_of_rotation(rotation: Rotation) -> dict[str, object]:
    return {
        "sid": rotation.sid,
        "account_id": rotation.account_id,
        "generation": rotation.generation,
        "presented_hash": rotation.presented_hash,
        "next_hash": rotation.next_hash,
        "nonce": rotation.nonce,
        "kid": rotation.kid,
        "refresh_ttl": rotation.refresh_ttl_ms,
    }


def _columns_of_renewal(renewal: Renewal) -> dict[str, object]:
    return {
        "sid": renewal.sid,
        "account_id": renewal.account_id,
        "presented_hash": renewal.presented_hash,
        "next_hash": renewal.next_hash,
        "idle": renewal.idle_ms,
    }


def current(sid: str, account_id: str, found: Row) -> CurrentSession:
    """Return the row that a statement has answered, whose values are `COLUMNS` and the roles."""
    generation, kid, rotated_at, idle_until, ends_at, auth_time, amr, acr, client_id, roles = found
    # By place, in the order of the fields: with their names it takes a third longer, for each refresh.
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
