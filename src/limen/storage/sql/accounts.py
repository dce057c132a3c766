"""Accounts: the subscriber's row, its status, its password hash and its roles."""

from collections.abc import Sequence
from functools import partial

from limen.authz.authority import Authority
from limen.core.errors import Conflict
from limen.core.events import Event
from limen.core.held import split
from limen.core.mails import NewMail
from limen.core.notices import Notice
from limen.features.accounts.store import Account, AccountStatus, NewAccount, StatusChange
from limen.features.sessions.store import EndReason
from limen.storage.sql.authority import actor_locked, locked
from limen.storage.sql.database import Database
from limen.storage.sql.erasures import take_what_is_personal
from limen.storage.sql.events import record
from limen.storage.sql.mails import queue
from limen.storage.sql.notices import notify
from limen.storage.sql.proofs import take_proofs
from limen.storage.sql.reach import end_reach
from limen.storage.sql.roles import HELD_BY_ACCOUNT, list_changed_roles, refuse_last_administrator, role_names
from limen.storage.sql.separation import refuse_separated
from limen.storage.sql.sessions import delete_all
from limen.storage.sql.statement import NOBODY, Row, Statement, Steps, row, rows, run

_COLUMNS = f"""
id, username, email, status, password_hash, session_epoch, second_factor_required, created_at, ({HELD_BY_ACCOUNT}),
password_expires_at, COALESCE(password_expires_at <= @now, FALSE), account_kind
"""

_CREATE = Statement("""
INSERT INTO limen_accounts (id, username, email, status, password_hash, created_at, account_kind)
VALUES (:id, :username, :email, 'active', :password_hash, @now, :kind)
ON CONFLICT (username) DO NOTHING RETURNING id
""")

# A role that is not there, or is retired, inserts nothing, which is then an error.
_GIVE_ROLE = Statement("""
INSERT INTO limen_account_roles (account_id, role)
SELECT :account_id, name FROM limen_roles WHERE name = :role AND source <> 'retired'
""")

_BY_USERNAME = Statement(f"SELECT {_COLUMNS} FROM limen_accounts WHERE username = :username")  # noqa: S608

_BY_ID = Statement(f"SELECT {_COLUMNS} FROM limen_accounts WHERE id = :id")  # noqa: S608

_PAGE = Statement(f"""
SELECT {_COLUMNS} FROM limen_accounts
 WHERE username > :after AND status <> 'deleted' AND (CAST(:kind AS text) = '' OR account_kind = CAST(:kind AS text))
   AND (username LIKE :pattern ESCAPE '\\' OR email LIKE :pattern ESCAPE '\\')
 ORDER BY username LIMIT :limit
""")  # noqa: S608

_CHANGE_STATUS = Statement("""
UPDATE limen_accounts SET status = :to, session_epoch = session_epoch + :raise_epoch
 WHERE id = :id AND status = :of
""")

_TAKE_ROLES = Statement("DELETE FROM limen_account_roles WHERE account_id = :id")

_TAKE_PERMISSIONS = Statement("DELETE FROM limen_account_permissions WHERE account_id = :id")

_TAKE_KEYS = Statement("DELETE FROM limen_api_keys WHERE account_id = :id")

_TAKE_CERTIFICATES = Statement("DELETE FROM limen_client_certificates WHERE account_id = :id")

_TAKE_IDENTITIES = Statement("DELETE FROM limen_sso_identities WHERE account_id = :id")

_TAKE_FORMER_IDENTITIES = Statement("DELETE FROM limen_former_identities WHERE account_id = :id")

_TAKE_MAILS = Statement("DELETE FROM limen_mails WHERE account_id = :id")

_TAKE_ADDRESSES = Statement("DELETE FROM limen_verified_emails WHERE account_id = :id")

# What was proved of another address says nothing of this one.
_UNVERIFY = Statement("""
DELETE FROM limen_verified_emails WHERE account_id = :id AND email <> COALESCE(CAST(:email AS text), '')
""")

# A name with a space is nobody's: no registration can take it, and no login can find it.
_BURY = Statement("""
UPDATE limen_accounts
   SET status = 'deleted', username = :tombstone, email = NULL, password_hash = NULL, password_expires_at = NULL,
       second_factor_required = FALSE, session_epoch = session_epoch + 1, roles_version = roles_version + 1
 WHERE id = :id
""")

_SET_EMAIL = Statement("UPDATE limen_accounts SET email = :email WHERE id = :id AND status <> 'deleted'")

_CHANGE_PASSWORD = Statement("""
UPDATE limen_accounts
   SET password_hash = :new_hash, password_expires_at = NULL, session_epoch = session_epoch + 1
 WHERE id = :id AND password_hash = :seen_hash AND status = 'active' RETURNING session_epoch
""")

# The same password under another hash; one that is temporary stays so.
_REHASH = Statement("""
UPDATE limen_accounts SET password_hash = :new_hash
 WHERE id = :id AND password_hash = :seen_hash AND status = 'active' RETURNING id
""")

_SET_TEMPORARY_PASSWORD = Statement("""
UPDATE limen_accounts
   SET password_hash = :new_hash, password_expires_at = @now + :lifetime, session_epoch = session_epoch + 1
 WHERE id = :id AND status <> 'deleted' AND account_kind = 'person'
""")

# Only a session that was alive before the epoch was raised may move on: one of an older epoch is dead and stays so.
_KEEP_SESSION = Statement("""
UPDATE limen_sessions SET account_epoch = :epoch
 WHERE id = :sid AND account_id = :account_id AND account_epoch = :epoch - 1
""")


class SQLAccounts:
    """Implements `limen.features.accounts.store.AccountStore` and `AccountAdministrationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, account: NewAccount, event: Event, *, authority: Authority | None = None, mail: NewMail | None = None
    ) -> bool:
        """Insert the account with its roles, and a mail; False, and nothing written, where the username is taken.

        Raises Conflict, and nothing is written, where a role is not known to the database or the id is taken.
        """
        return await self._database.write(partial(_created, account, event, authority, mail))

    async def by_username(self, username: str) -> Account | None:
        """Find the account with this normalised username."""
        return await self._database.read(partial(_by_username, username))

    async def by_id(self, account_id: str) -> Account | None:
        """Find the account with this id."""
        return await self._database.read(partial(_by_id, account_id))

    async def page(self, *, query: str, limit: int, after: str | None, kind: str = "") -> Sequence[Account]:
        """List at most ``limit`` accounts after the username ``after``, in order; see the Protocol."""
        return await self._database.read(partial(_page, query, limit, after, kind))

    async def change_status(
        self,
        account_id: str,
        *,
        of: AccountStatus,
        to: AccountStatus,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> StatusChange:
        """Change the status if it is ``of``; where ``to`` is not active, every session ends with it."""
        return await self._database.write(partial(_status_changed, account_id, of, to, event, keep_ended_ms, authority))

    async def change_password(
        self,
        account_id: str,
        *,
        seen_hash: str,
        new_hash: str,
        event: Event,
        end_others: bool,
        keep_sid: str | None = None,
        keep_ended_ms: int = 0,
        notice: Notice | None = None,
    ) -> bool:
        """Replace the hash if it is still ``seen_hash`` and the account is active; see the Protocol."""
        hashes = {"seen_hash": seen_hash, "new_hash": new_hash}
        if not end_others:
            return await self._database.write(partial(_rehashed, account_id, hashes, event))
        return await self._database.write(
            partial(_password_changed, account_id, hashes, event, keep_sid, keep_ended_ms, notice)
        )

    async def delete(
        self, account_id: str, *, event: Event, keep_ended_ms: int, authority: Authority | None = None
    ) -> bool:
        """Erase what is personal, end every session and keep a tombstone; see the Protocol."""
        return await self._database.write(partial(_deleted, account_id, event, keep_ended_ms, authority))

    async def set_email(
        self,
        account_id: str,
        email: str | None,
        *,
        event: Event,
        authority: Authority | None = None,
        notice: Notice | None = None,
    ) -> bool:
        """Replace the e-mail address; False where there is no such account or it is deleted."""
        return await self._database.write(partial(_email_set, account_id, email, event, authority, notice))

    async def set_temporary_password(
        self, account_id: str, *, new_hash: str, lifetime_ms: int, event: Event, keep_ended_ms: int
    ) -> bool:
        """Set a password that only leads to another one; see the Protocol."""
        return await self._database.write(
            partial(_temporary_password_set, account_id, new_hash, lifetime_ms, event, keep_ended_ms)
        )


def _created(account: NewAccount, event: Event, authority: Authority | None, mail: NewMail | None) -> Steps[bool]:
    yield from actor_locked(authority)
    inserted = yield from row(
        _CREATE,
        id=account.id,
        username=account.username,
        email=account.email,
        password_hash=account.password_hash,
        kind=account.kind,
    )
    if inserted is None:
        return False
    for role in account.roles:
        given = yield from run(_GIVE_ROLE, account_id=account.id, role=role)
        if not given:
            raise Conflict("A role that the account is to hold does not exist.")
    if len(account.roles) > 0:
        yield from refuse_separated(account.id)
    if mail is not None:
        yield from queue(mail)
    yield from record(event)
    return True


def _by_username(username: str) -> Steps[Account | None]:
    return _account((yield from row(_BY_USERNAME, username=username)))


def _by_id(account_id: str) -> Steps[Account | None]:
    return _account((yield from row(_BY_ID, id=account_id)))


def _page(query: str, limit: int, after: str | None, kind: str) -> Steps[Sequence[Account]]:
    pattern = f"%{_escaped(query.casefold())}%"
    found = yield from rows(_PAGE, pattern=pattern, limit=limit, after=after or "", kind=kind)
    return [account for account in map(_account, found) if account is not None]


def _status_changed(
    account_id: str,
    of: AccountStatus,
    to: AccountStatus,
    event: Event,
    keep_ended_ms: int,
    authority: Authority | None,
) -> Steps[StatusChange]:
    leaves = to is not AccountStatus.ACTIVE
    status = yield from locked(account_id, authority)
    if status != of.value or AccountStatus.DELETED in (of, to) or of is to:
        return StatusChange(changed=False, status=_status(status) if status is not None else None)
    if leaves:
        yield from refuse_last_administrator(account_id)
    yield from run(_CHANGE_STATUS, id=account_id, of=of.value, to=to.value, raise_epoch=int(leaves))
    if leaves:
        yield from take_proofs(account_id)
        yield from delete_all(account_id, reason=EndReason.ACCOUNT_STATUS, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return StatusChange(changed=True, status=to)


def _deleted(account_id: str, event: Event, keep_ended_ms: int, authority: Authority | None) -> Steps[bool]:
    status = yield from locked(account_id, authority)
    if status is None or status == AccountStatus.DELETED.value:
        return False
    yield from refuse_last_administrator(account_id)
    yield from run(_TAKE_ROLES, id=account_id)
    yield from run(_TAKE_PERMISSIONS, id=account_id)
    yield from run(_TAKE_KEYS, id=account_id)
    yield from run(_TAKE_CERTIFICATES, id=account_id)
    yield from run(_TAKE_IDENTITIES, id=account_id)
    yield from run(_TAKE_FORMER_IDENTITIES, id=account_id)
    yield from take_proofs(account_id)
    yield from take_what_is_personal(account_id, event)
    yield from run(_TAKE_MAILS, id=account_id)
    yield from run(_TAKE_ADDRESSES, id=account_id)
    yield from run(_BURY, id=account_id, tombstone=f"deleted {account_id}")
    yield from list_changed_roles(account_id, keep_ended_ms=keep_ended_ms)
    yield from delete_all(account_id, reason=EndReason.ACCOUNT_STATUS, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return True


def _email_set(
    account_id: str, email: str | None, event: Event, authority: Authority | None, notice: Notice | None
) -> Steps[bool]:
    status = yield from locked(account_id, authority)
    if status is None or status == AccountStatus.DELETED.value:
        return False
    before = yield from row(_BY_ID, id=account_id)
    if before is not None and before[2] != email:
        yield from notify(account_id, notice)  # to the address that it was until now
    yield from take_proofs(account_id)
    yield from run(_SET_EMAIL, id=account_id, email=email)
    yield from run(_UNVERIFY, id=account_id, email=email)
    yield from record(event)
    return True


def _temporary_password_set(
    account_id: str, new_hash: str, lifetime_ms: int, event: Event, keep_ended_ms: int
) -> Steps[bool]:
    changed = yield from run(_SET_TEMPORARY_PASSWORD, id=account_id, new_hash=new_hash, lifetime=lifetime_ms)
    if not changed:
        return False
    yield from end_reach(account_id, keep_ended_ms=keep_ended_ms, lost=True)
    yield from record(event)
    return True


def _rehashed(account_id: str, hashes: dict[str, str], event: Event) -> Steps[bool]:
    if (yield from row(_REHASH, id=account_id, **hashes)) is None:
        return False
    yield from record(event)
    return True


def _password_changed(
    account_id: str,
    hashes: dict[str, str],
    event: Event,
    keep_sid: str | None,
    keep_ended_ms: int,
    notice: Notice | None,
) -> Steps[bool]:
    changed = yield from row(_CHANGE_PASSWORD, id=account_id, **hashes)
    if changed is None:
        return False
    moved = yield from run(_KEEP_SESSION, sid=keep_sid or NOBODY, account_id=account_id, epoch=changed[0])
    yield from end_reach(account_id, keep_ended_ms=keep_ended_ms, keep_sid=keep_sid if moved else None)
    yield from notify(account_id, notice)
    yield from record(event)
    return True


def _account(found: Row | None) -> Account | None:
    if found is None:
        return None
    roles, permissions = split(role_names(found[8]))
    return Account(
        id=str(found[0]),
        username=found[1],
        email=found[2],
        status=_status(found[3]),
        password_hash=found[4],
        session_epoch=found[5],
        second_factor_required=bool(found[6]),
        created_at=found[7],
        roles=roles,
        password_expires_at=found[9],
        password_expired=bool(found[10]),
        kind=found[11],
        permissions=permissions,
    )


def _status(text: str) -> AccountStatus:
    """Read a status; one that a later version wrote is refused everywhere, as ``disabled`` is."""
    try:
        return AccountStatus(text)
    except ValueError:
        return AccountStatus.DISABLED


def _escaped(text: str) -> str:
    """Make LIKE take the text literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
