"""Single sign-on: logins under way, one-time codes, identities, and the sessions that a provider vouched for."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from limen.core.errors import Conflict
from limen.core.events import Event
from limen.core.ids import uuid7
from limen.features.sessions.store import EndReason
from limen.features.sso.store import (
    Code,
    Created,
    Flow,
    Identity,
    KnownAccount,
    Linked,
    LinkedIdentity,
    NewCode,
    NewFlow,
    NewPerson,
    ProviderLogin,
)
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.holdings import HELD_BY_ACCOUNT, role_names
from limen.storage.sql.sessions import list_as_ended
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

_BEGIN = Statement("""
INSERT INTO limen_sso_flows (
    state_hash, browser_hash, provider, issuer, next_url, challenge, account_id, account_epoch,
    session_id, expires_at)
VALUES (:state_hash, :browser_hash, :provider, :issuer, :next, :challenge, :account_id, :account_epoch,
        :session_id, @now + :lifetime_ms)
""")

# One statement: of fifty that bring the same state, one gets the row.
_TAKE = Statement("""
DELETE FROM limen_sso_flows
 WHERE state_hash = :state_hash AND browser_hash = :browser_hash AND provider = :provider AND expires_at > @now
RETURNING provider, issuer, next_url, challenge, account_id, account_epoch, session_id
""")

_KEEP_CODE = Statement("""
INSERT INTO limen_sso_codes (
    code_hash, issuer, subject, account_id, account_epoch, challenge, content, hint, expires_at)
VALUES (:code_hash, :issuer, :subject, :account_id, :account_epoch, :challenge, :content, :hint, @now + :lifetime_ms)
""")

# Taken by whoever has the code, whatever their verifier: a guess spends it.
_TAKE_CODE = Statement("""
DELETE FROM limen_sso_codes WHERE code_hash = :code_hash AND expires_at > @now
RETURNING issuer, subject, account_id, account_epoch, challenge, content, hint
""")

_FIND = Statement(f"""
SELECT limen_accounts.id, status, session_epoch, ({HELD_BY_ACCOUNT})
  FROM limen_accounts JOIN limen_sso_identities i ON i.account_id = limen_accounts.id
 WHERE i.issuer = :issuer AND i.subject = :subject
""")  # noqa: S608

_EMAIL = Statement("SELECT 1 FROM limen_accounts WHERE email = :email AND status <> 'deleted' LIMIT 1")

_CREATE = Statement("""
INSERT INTO limen_accounts (id, username, email, status, created_at) VALUES (:id, :username, :email, 'active', @now)
ON CONFLICT (username) DO NOTHING RETURNING id
""")

_INTO = "INSERT INTO limen_sso_identities (issuer, subject, id, account_id, provider, created_at, was_linked)"
_ACCOUNT = """
  FROM limen_accounts a
 WHERE a.id = :account_id AND a.status = 'active' AND a.session_epoch = :epoch AND a.account_kind = 'person'
"""
# A link that was begun is worth no more than the session that began it.
_ALIVE = """
   AND EXISTS (SELECT 1 FROM limen_sessions s
                WHERE s.id = :sid AND s.account_id = a.id AND s.account_epoch = :epoch
                  AND @now < s.idle_until AND @now < s.ends_at)
"""
_DIRECTLY = f"{_INTO} SELECT :issuer, :subject, :id, a.id, :provider, @now, CAST(:linked AS boolean) {_ACCOUNT}"
# The account's row is locked on PostgreSQL, as the door does: one that is disabled meanwhile is not linked.
_BEFORE = f"WITH account AS (SELECT a.id {_ACCOUNT}"
_LOCKED = f"""FOR SHARE)
{_INTO}
SELECT CAST(:issuer AS text), CAST(:subject AS text), CAST(:id AS uuid), account.id, CAST(:provider AS text), @now,
       CAST(:linked AS boolean)
  FROM account
"""  # noqa: S608
_ONCE = "ON CONFLICT DO NOTHING RETURNING id"
_LINK = Statement(_DIRECTLY + _ALIVE + _ONCE, postgres=_BEFORE + _ALIVE + _LOCKED + _ONCE)
_LINK_NEW = Statement(_DIRECTLY + _ONCE, postgres=_BEFORE + _LOCKED + _ONCE)

_FRESH = Statement("""
SELECT 1 FROM limen_sessions
 WHERE id = :sid AND account_id = :account_id AND (created_at > @now - :within OR auth_time > @now - :within)
""")

_HOLDER = Statement("SELECT account_id FROM limen_sso_identities WHERE issuer = :issuer AND subject = :subject")

_OF_ACCOUNT = Statement("""
SELECT id, provider, issuer, created_at FROM limen_sso_identities WHERE account_id = :account_id ORDER BY id
""")

_LOCK_ACCOUNT = Statement("SELECT password_hash IS NOT NULL FROM limen_accounts WHERE id = :account_id @for_update")

_UNLINK = Statement("""
DELETE FROM limen_sso_identities WHERE id = :id AND account_id = :account_id RETURNING issuer, subject
""")

# Not those that the account came about by. In rows that do not say it, one comes with its account within a second.
_UNLINK_LINKED = Statement("""
DELETE FROM limen_sso_identities
 WHERE account_id = :account_id
   AND COALESCE(was_linked, created_at > 1000 + (
           SELECT a.created_at FROM limen_accounts a WHERE a.id = limen_sso_identities.account_id))
RETURNING issuer, subject
""")

# What it asks for from now on is still theirs, and what it has asked for as well: otherwise whoever unlinks it could
# approve that.
_KEEP_IDENTITY = Statement("""
INSERT INTO limen_former_identities (issuer, subject, account_id, unlinked_at)
VALUES (:issuer, :subject, :account_id, @now)
ON CONFLICT (issuer, subject, account_id) DO UPDATE SET unlinked_at = excluded.unlinked_at
""")

_KEEP_AS_MAKER = Statement("""
UPDATE limen_approvals SET maker_account = :account_id
 WHERE maker_issuer = :issuer AND maker_subject = :subject AND maker_account IS NULL AND status = 'pending'
""")

_LOGIN_OF = Statement("SELECT provider, issuer, subject, hint FROM limen_sso_sessions WHERE session_id = :sid")

_USE_TOKEN = Statement("""
INSERT INTO limen_sso_logouts (token_id, keep_until) VALUES (:token_id, @now + :keep)
ON CONFLICT (token_id) DO NOTHING RETURNING token_id
""")

_NAMED = """
SELECT session_id FROM limen_sso_sessions
 WHERE issuer = :issuer AND subject = COALESCE(CAST(:subject AS text), subject)
   AND (CAST(:provider_sid AS text) IS NULL OR provider_sid = CAST(:provider_sid AS text))
"""

# In the order of their ids, whoever asks: two who end the same sessions would otherwise wait for each other.
_LOCK_NAMED = Statement(f"SELECT id FROM limen_sessions WHERE id IN ({_NAMED}) ORDER BY id @for_update")  # noqa: S608

_DELETE = Statement("DELETE FROM limen_sessions WHERE id = :sid RETURNING account_id")

# Without a subject those of the provider's session, which is the fifth of what a code keeps of its login.
_DELETE_CODES = Statement(
    """
DELETE FROM limen_sso_codes
 WHERE issuer = :issuer
   AND (subject = :subject OR (:subject IS NULL AND json_extract(content, '$[4]') = :provider_sid))
""",
    postgres="""
DELETE FROM limen_sso_codes
 WHERE issuer = :issuer
   AND (subject = CAST(:subject AS text)
        OR (CAST(:subject AS text) IS NULL AND CAST(content AS jsonb) ->> 4 = CAST(:provider_sid AS text)))
""",
)


class _IdentityTaken(Conflict):
    """Another login was first: the account that was made for this one is taken back."""


class SQLSso:
    """Implements `limen.features.sso.store.SsoStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, flow: NewFlow) -> None:
        """Insert a login that is under way."""
        await self._database.write_one(partial(run, _BEGIN, **asdict(flow)))

    async def take(self, state_hash: bytes, browser_hash: bytes, provider: str) -> Flow | None:
        """Delete the login of this state, browser and provider, and return it."""
        return await self._database.write_one(partial(_taken, state_hash, browser_hash, provider))

    async def keep_code(self, code: NewCode) -> None:
        """Insert a one-time code."""
        columns = asdict(code)
        columns.update(columns.pop("identity"))
        await self._database.write_one(partial(run, _KEEP_CODE, **columns))

    async def take_code(self, code_hash: bytes) -> Code | None:
        """Delete a one-time code that is in time, and return it."""
        return await self._database.write_one(partial(_code_taken, code_hash))

    async def find(self, identity: Identity) -> KnownAccount | None:
        """Return the account that the identity is linked to."""
        return await self._database.read(partial(_found, identity))

    async def is_known_email(self, email: str) -> bool:
        """Tell whether an account that is not deleted has this address."""
        return await self._database.read(partial(row, _EMAIL, email=email)) is not None

    async def create(self, person: NewPerson, identity: Identity, *, provider: str, event: Event) -> Created:
        """Make the account and link the identity to it, both or neither."""
        try:
            return await self._database.write(partial(_created, person, identity, provider, event))
        except _IdentityTaken:
            return Created.IDENTITY_TAKEN

    async def link(
        self, account_id: str, account_epoch: int, identity: Identity, *, sid: str | None, provider: str, event: Event
    ) -> Linked:
        """Link the identity to an active account of this epoch, while its session lives."""
        return await self._database.write(partial(_linked, account_id, account_epoch, identity, sid, provider, event))

    async def is_fresh(self, sid: str, *, account_id: str, within_ms: int) -> bool:
        """Tell whether the account's session began, or its holder proved who they are, within this time."""
        fresh = partial(row, _FRESH, sid=sid, account_id=account_id, within=within_ms)
        return await self._database.read(fresh) is not None

    async def of_account(self, account_id: str) -> Sequence[LinkedIdentity]:
        """List the identities of an account, the oldest first."""
        return await self._database.read(partial(_of_account, account_id))

    async def unlink(self, identity_id: str, *, account_id: str, event: Event) -> bool | None:
        """Unlink an identity of this account, unless it is its last way in."""
        return await self._database.write(partial(_unlinked, identity_id, account_id, event))

    async def login_of(self, sid: str) -> ProviderLogin | None:
        """Return the login at a provider that a session came about by."""
        return await self._database.read(partial(_login_of, sid))

    async def end_of(
        self,
        issuer: str,
        *,
        subject: str | None,
        provider_sid: str | None,
        token_id: bytes,
        keep_token_ms: int,
        event: Event,
        keep_ended_ms: int,
    ) -> int | None:
        """End the sessions that a logout token names; None where the token was used before."""
        named = {"issuer": issuer, "subject": subject, "provider_sid": provider_sid}
        return await self._database.write(partial(_ended, named, token_id, keep_token_ms, event, keep_ended_ms))


def _taken(state_hash: bytes, browser_hash: bytes, provider: str) -> Steps[Flow | None]:
    found = yield from row(_TAKE, state_hash=state_hash, browser_hash=browser_hash, provider=provider)
    if found is None:
        return None
    name, issuer, following, challenge, account_id, epoch, sid = found
    account_id, sid = (None if each is None else str(each) for each in (account_id, sid))
    return Flow(name, issuer, following, challenge, account_id, epoch, sid)


def _code_taken(code_hash: bytes) -> Steps[Code | None]:
    found = yield from row(_TAKE_CODE, code_hash=code_hash)
    if found is None:
        return None
    issuer, subject, account_id, epoch, challenge, content, hint = found
    return Code(Identity(issuer, subject), str(account_id), epoch, challenge, content, hint)


def _found(identity: Identity) -> Steps[KnownAccount | None]:
    found = yield from row(_FIND, issuer=identity.issuer, subject=identity.subject)
    return None if found is None else KnownAccount(str(found[0]), found[1], found[2], role_names(found[3]))


def _created(person: NewPerson, identity: Identity, provider: str, event: Event) -> Steps[Created]:
    made = yield from row(_CREATE, id=person.id, username=person.username, email=person.email)
    if made is None:
        return Created.NAME_TAKEN
    linked = yield from row(_LINK_NEW, linked=False, **_link_of(person.id, 0, identity, provider))
    if linked is None:
        raise _IdentityTaken
    yield from record(event)
    return Created.DONE


def _linked(
    account_id: str, epoch: int, identity: Identity, sid: str | None, provider: str, event: Event
) -> Steps[Linked]:
    linked = yield from row(_LINK, sid=sid, linked=True, **_link_of(account_id, epoch, identity, provider))
    if linked is not None:
        yield from record(event)
        return Linked.DONE
    holder = yield from row(_HOLDER, issuer=identity.issuer, subject=identity.subject)
    if holder is None:
        return Linked.ENDED
    return Linked.DONE if str(holder[0]) == account_id else Linked.ANOTHERS


def _link_of(account_id: str, epoch: int, identity: Identity, provider: str) -> dict[str, str | int]:
    return {
        "issuer": identity.issuer,
        "subject": identity.subject,
        "id": uuid7(),
        "account_id": account_id,
        "provider": provider,
        "epoch": epoch,
    }


def _of_account(account_id: str) -> Steps[Sequence[LinkedIdentity]]:
    found = yield from rows(_OF_ACCOUNT, account_id=account_id)
    return [LinkedIdentity(str(id_), provider, issuer, created_at) for id_, provider, issuer, created_at in found]


def _unlinked(identity_id: str, account_id: str, event: Event) -> Steps[bool | None]:
    # Locked: two who unlink the last two at once would otherwise each see the other's.
    account = yield from row(_LOCK_ACCOUNT, account_id=account_id)
    found = yield from rows(_OF_ACCOUNT, account_id=account_id)
    if account is None or identity_id not in {str(each[0]) for each in found}:
        return None
    if not account[0] and len(found) == 1:
        return False
    unlinked = yield from row(_UNLINK, id=identity_id, account_id=account_id)
    if unlinked is not None:
        yield from _forgotten(account_id, unlinked)
    yield from record(event)
    return True


def _forgotten(account_id: str, unlinked: Row) -> Steps[None]:
    issuer, subject = unlinked
    yield from run(_KEEP_IDENTITY, account_id=account_id, issuer=issuer, subject=subject)
    yield from run(_KEEP_AS_MAKER, account_id=account_id, issuer=issuer, subject=subject)
    # A code that it was handed a moment ago would open a session of this account for a minute more.
    yield from run(_DELETE_CODES, issuer=issuer, subject=subject, provider_sid=None)


def unlink_linked(account_id: str) -> Steps[None]:
    """Unlink every identity that was linked from inside; to be called with the account's row locked."""
    for unlinked in (yield from rows(_UNLINK_LINKED, account_id=account_id)):
        yield from _forgotten(account_id, unlinked)


def _login_of(sid: str) -> Steps[ProviderLogin | None]:
    found = yield from row(_LOGIN_OF, sid=sid)
    return None if found is None else ProviderLogin(found[0], Identity(found[1], found[2]), found[3])


def _ended(
    named: dict[str, str | None], token_id: bytes, keep_token_ms: int, event: Event, keep_ended_ms: int
) -> Steps[int | None]:
    if (yield from row(_USE_TOKEN, token_id=token_id, keep=keep_token_ms)) is None:
        return None
    count = 0
    for (sid,) in (yield from rows(_LOCK_NAMED, **named)):
        deleted = yield from row(_DELETE, sid=str(sid))
        if deleted is not None:
            account_id = str(deleted[0])
            yield from list_as_ended(
                [str(sid)], account_id=account_id, reason=EndReason.SSO_LOGOUT, keep_ended_ms=keep_ended_ms
            )
            count += 1
    yield from run(_DELETE_CODES, **named)
    if count:
        yield from record(event)
    return count
