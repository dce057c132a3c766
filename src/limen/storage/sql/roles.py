"""Roles, and how an account's roles are read beside another row."""

from collections.abc import Mapping
from functools import lru_cache, partial

import msgspec

from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Statement, Steps, rows, run, run_each

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
