"""Accounts: the subscriber's row, its status, its password hash and its roles."""

from collections.abc import Sequence

from limen.core.errors import Conflict
from limen.core.events import Event
from limen.features.accounts.store import Account, AccountStatus, NewAccount, StatusChange
from limen.features.sessions.store import EndReason
from limen.storage.sql.connection import Connection, Row
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.roles import HELD_BY_ACCOUNT, role_names
from limen.storage.sql.sessions import delete_all

_COLUMNS = f"""
id, username, email, status, password_hash, session_epoch, second_factor_required, created_at, ({HELD_BY_ACCOUNT})
"""

_CREATE = """
INSERT INTO limen_accounts (id, username, email, status, password_hash, created_at)
VALUES (:id, :username, :email, 'active', :password_hash, :now)
ON CONFLICT (username) DO NOTHING RETURNING id
"""

# A role that is not there, or is retired, inserts nothing, which is then an error.
_GIVE_ROLE = """
INSERT INTO limen_account_roles (account_id, role)
SELECT :account_id, name FROM limen_roles WHERE name = :role AND source <> 'retired'
"""

_BY_USERNAME = f"SELECT {_COLUMNS} FROM limen_accounts WHERE username = :username"  # noqa: S608

_BY_ID = f"SELECT {_COLUMNS} FROM limen_accounts WHERE id = :id"  # noqa: S608

_PAGE = f"""
SELECT {_COLUMNS} FROM limen_accounts
 WHERE username > :after AND (username LIKE :pattern ESCAPE '\\' OR email LIKE :pattern ESCAPE '\\')
 ORDER BY username LIMIT :limit
"""  # noqa: S608

_CHANGE_STATUS = """
UPDATE limen_accounts SET status = :to, session_epoch = session_epoch + :raise_epoch
 WHERE id = :id AND status = :of AND :of <> :to RETURNING id
"""

_STATUS = "SELECT status FROM limen_accounts WHERE id = :id"

_CHANGE_PASSWORD = """
UPDATE limen_accounts SET password_hash = :new_hash, session_epoch = session_epoch + :raise_epoch
 WHERE id = :id AND password_hash = :seen_hash AND status = 'active' RETURNING session_epoch
"""

# Only a session that was alive before the epoch was raised may move on: one of an older epoch is dead and stays so.
_KEEP_SESSION = """
UPDATE limen_sessions SET account_epoch = :epoch
 WHERE id = :sid AND account_id = :account_id AND account_epoch = :epoch - 1
"""


class SQLiteAccounts:
    """Implements `limen.features.accounts.store.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, account: NewAccount, event: Event) -> bool:
        """Insert the account with its roles; False, and nothing written, where the username is taken.

        Raises Conflict, and nothing is written, where a role is not known to the database or the id is taken.
        """

        def operation(connection: Connection) -> bool:
            return _created(connection, account, event)

        return await self._database.write(operation)

    async def by_username(self, username: str) -> Account | None:
        """Find the account with this normalised username."""

        def operation(connection: Connection) -> Account | None:
            return _account(connection.row(_BY_USERNAME, {"username": username}))

        return await self._database.read(operation)

    async def by_id(self, account_id: str) -> Account | None:
        """Find the account with this id."""

        def operation(connection: Connection) -> Account | None:
            return _account(connection.row(_BY_ID, {"id": account_id}))

        return await self._database.read(operation)

    async def page(self, *, query: str, limit: int, after: str | None) -> Sequence[Account]:
        """List at most ``limit`` accounts after the username ``after``, in order; see the Protocol."""
        parameters = {"pattern": f"%{_escaped(query.casefold())}%", "limit": limit, "after": after or ""}

        def operation(connection: Connection) -> Sequence[Account]:
            accounts = (_account(row) for row in connection.rows(_PAGE, parameters))
            return [account for account in accounts if account is not None]

        return await self._database.read(operation)

    async def change_status(
        self, account_id: str, *, of: AccountStatus, to: AccountStatus, event: Event, keep_ended_ms: int
    ) -> StatusChange:
        """Change the status if it is ``of``; where ``to`` is not active, every session ends with it."""

        def operation(connection: Connection) -> StatusChange:
            return _status_changed(connection, account_id, of, to, event, keep_ended_ms)

        return await self._database.write(operation)

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
    ) -> bool:
        """Replace the hash if it is still ``seen_hash`` and the account is active; see the Protocol."""

        def operation(connection: Connection) -> bool:
            row = connection.row(
                _CHANGE_PASSWORD,
                {"id": account_id, "seen_hash": seen_hash, "new_hash": new_hash, "raise_epoch": int(end_others)},
            )
            if row is None:
                return False
            if end_others:
                kept = {"sid": keep_sid or "", "account_id": account_id, "epoch": row[0]}
                moved = connection.run(_KEEP_SESSION, kept)
                delete_all(
                    connection,
                    account_id,
                    reason=EndReason.PASSWORD_CHANGED,
                    keep_ended_ms=keep_ended_ms,
                    keep_sid=keep_sid if moved else None,
                )
            record(connection, event)
            return True

        return await self._database.write(operation)


def _created(connection: Connection, account: NewAccount, event: Event) -> bool:
    row = connection.row(
        _CREATE,
        {
            "id": account.id,
            "username": account.username,
            "email": account.email,
            "password_hash": account.password_hash,
            "now": connection.now(),
        },
    )
    if row is None:
        return False
    for role in account.roles:
        if not connection.run(_GIVE_ROLE, {"account_id": account.id, "role": role}):
            raise Conflict("A role that the account is to hold does not exist.")
    record(connection, event)
    return True


def _status_changed(
    connection: Connection, account_id: str, of: AccountStatus, to: AccountStatus, event: Event, keep_ended_ms: int
) -> StatusChange:
    leaves = to is not AccountStatus.ACTIVE
    row = connection.row(_CHANGE_STATUS, {"id": account_id, "of": of.value, "to": to.value, "raise_epoch": int(leaves)})
    if row is None:
        found = connection.row(_STATUS, {"id": account_id})
        return StatusChange(changed=False, status=_status(found[0]) if found else None)
    if leaves:
        delete_all(connection, account_id, reason=EndReason.ACCOUNT_STATUS, keep_ended_ms=keep_ended_ms)
    record(connection, event)
    return StatusChange(changed=True, status=to)


def _account(row: Row | None) -> Account | None:
    if row is None:
        return None
    return Account(
        id=row[0],
        username=row[1],
        email=row[2],
        status=_status(row[3]),
        password_hash=row[4],
        session_epoch=row[5],
        second_factor_required=bool(row[6]),
        created_at=row[7],
        roles=role_names(row[8]),
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
