"""Roles, and how an account's roles are read beside another row."""

from collections.abc import Mapping
from functools import lru_cache, partial

import msgspec

from limen.authz.administration import Administration
from limen.core.errors import Conflict
from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Statement, Steps, row, rows, run, run_each

LAST_ADMINISTRATOR = "No administrator would be left: first give another active account a role with roles:assign."

_HELD = """
SELECT @array_of(held.role) FROM limen_account_roles held JOIN limen_roles known ON known.name = held.role
 WHERE known.source <> 'retired' AND held.account_id = {account}
"""

HELD_BY_ACCOUNT = _HELD.format(account="limen_accounts.id")
"""A subquery: the roles of the account in the outer statement, as a JSON array."""

HELD_BY_SESSION = _HELD.format(account="limen_sessions.account_id")
"""The same for the account of the session in the outer statement."""


@lru_cache(maxsize=1024)
def role_names(array: str | None) -> frozenset[str]:
    """Turn the JSON array of such a subquery into names; accounts with the same roles share one set.

    PostgreSQL answers no array at all where SQLite answers an empty one.
    """
    return frozenset(msgspec.json.decode(array, type=list[str])) if array else frozenset()


# Whoever changes who is an administrator holds this row, so that two who do it at once do it one after the other.
_LOCK_CATALOGUE = Statement("SELECT version FROM limen_catalogue WHERE id = 1 @for_update")

_HELD_BY_ADMINISTRATOR = """
SELECT 1 FROM limen_account_roles holding JOIN limen_accounts a ON a.id = holding.account_id
 WHERE a.status = 'active' AND holding.role IN (SELECT role FROM giving)
"""

# Always a statement of its own, after the lock: on PostgreSQL one that began before would not see what was committed
# while it waited.
_ADMINISTRATORS = Statement(f"""
WITH RECURSIVE giving (role) AS (
    SELECT p.role FROM limen_role_permissions p JOIN limen_roles known ON known.name = p.role
     WHERE p.permission = '{Administration.ROLES_ASSIGN.value}' AND known.source <> 'retired'
    UNION
    SELECT x.role FROM limen_role_extensions x JOIN giving ON giving.role = x.extends
      JOIN limen_roles known ON known.name = x.role WHERE known.source <> 'retired')
SELECT EXISTS ({_HELD_BY_ADMINISTRATOR} AND a.id = :account_id),
       EXISTS ({_HELD_BY_ADMINISTRATOR} AND a.id <> :account_id)
""")  # noqa: S608


# What is kept longer stays: a clock that stepped back must not end it early.
_LIST_AS_CHANGED = Statement(f"""
INSERT INTO limen_changed_roles (account_id, roles, changed_at, keep_until)
SELECT a.id, COALESCE(CAST(({_HELD.format(account="a.id")}) AS text), '[]'), @now, @now + :keep
  FROM limen_accounts a WHERE a.id = :account_id
    ON CONFLICT (account_id) DO UPDATE SET roles = excluded.roles, changed_at = excluded.changed_at,
       keep_until = CASE WHEN excluded.keep_until > limen_changed_roles.keep_until THEN excluded.keep_until
                         ELSE limen_changed_roles.keep_until END
""")  # noqa: S608


def refuse_last_administrator(account_id: str) -> Steps[None]:
    """Refuse where this account is the last active one with a role that gives ``roles:assign``.

    To be called in the transaction that takes away the account or its standing: after the account's row was locked
    (``@for_update``), before anything is changed. It locks the row of the catalogue until that transaction ends.

    Raises:
        Conflict: it is the last one; nothing may be changed.
    """
    yield from row(_LOCK_CATALOGUE)
    is_one, is_another = yield from _administrators(account_id)
    if is_one and not is_another:
        raise Conflict(LAST_ADMINISTRATOR)


def list_changed_roles(account_id: str, *, keep_ended_ms: int) -> Steps[None]:
    """Tell every process which roles the account holds now, so that tokens with other ones are refused.

    To be called after the change, in its transaction, with the catalogue's row locked.
    """
    yield from run(_LIST_AS_CHANGED, account_id=account_id, keep=keep_ended_ms)


def _administrators(account_id: str) -> Steps[tuple[bool, bool]]:
    """Tell whether this account is an active administrator, and whether another one is."""
    found = yield from row(_ADMINISTRATORS, account_id=account_id)
    return (bool(found[0]), bool(found[1])) if found else (False, False)


_CODE_ROLES = Statement("""
SELECT r.name, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source = 'code'
""")

_ALL_ROLES = Statement("""
SELECT r.name, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source <> 'retired'
""")

_DECLARE = Statement("""
INSERT INTO limen_roles (name, source) VALUES (:name, 'code') ON CONFLICT (name) DO UPDATE SET source = 'code'
""")

_GIVE = Statement("INSERT INTO limen_role_permissions (role, permission) VALUES (:name, :permission)")

_TAKE_ALL = Statement("DELETE FROM limen_role_permissions WHERE role = :name")

_FORGET = Statement("""
DELETE FROM limen_roles
 WHERE name = :name AND NOT EXISTS (SELECT 1 FROM limen_account_roles WHERE role = limen_roles.name)
""")

_RETIRE = Statement("UPDATE limen_roles SET source = 'retired' WHERE name = :name")


class SQLRoles:
    """Implements `limen.features.roles.store.RoleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sync(self, roles: Mapping[str, frozenset[str]], event: Event) -> bool:
        """Make the stored roles of code be exactly these, in one transaction; see the Protocol.

        A role that the code no longer declares and that accounts still hold is kept as «retired»: it has no permission
        and is not among anybody's roles, until it is declared again. So an older version that is started once more
        finds the assignments as they were.
        """
        return await self._database.write(partial(_synced, dict(roles), event))

    async def all(self) -> Mapping[str, frozenset[str]]:
        """Read every stored role and its permissions; a retired one is not among them."""
        return await self._database.read(partial(_read, _ALL_ROLES))


def _read(statement: Statement) -> Steps[dict[str, frozenset[str]]]:
    permissions_of: dict[str, set[str]] = {}
    found = yield from rows(statement)
    for name, permission in found:
        permissions = permissions_of.setdefault(name, set())
        if permission is not None:
            permissions.add(permission)
    return {name: frozenset(permissions) for name, permissions in permissions_of.items()}


def _synced(wanted: Mapping[str, frozenset[str]], event: Event) -> Steps[bool]:
    stored = yield from _read(_CODE_ROLES)
    if stored == wanted:
        return False
    for name in stored.keys() - wanted.keys():
        yield from run(_TAKE_ALL, name=name)
        forgotten = yield from run(_FORGET, name=name)
        if not forgotten:
            yield from run(_RETIRE, name=name)
    for name, permissions in wanted.items():
        if stored.get(name) != permissions:
            yield from run(_DECLARE, name=name)
            yield from run(_TAKE_ALL, name=name)
            yield from run_each(_GIVE, [{"name": name, "permission": permission} for permission in permissions])
    yield from record(event)
    return True
