"""Roles, and how an account's roles are read beside another row."""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from limen.core.events import Event
from limen.storage.sql.connection import Connection
from limen.storage.sql.database import Database
from limen.storage.sql.events import record

_HELD = """
SELECT json_group_array(held.role) FROM limen_account_roles held JOIN limen_roles known ON known.name = held.role
 WHERE known.source <> 'retired' AND held.account_id = {account}
"""

HELD_BY_ACCOUNT = _HELD.format(account="limen_accounts.id")
"""A subquery: the roles of the account in the outer statement, as a JSON array."""

HELD_BY_SESSION = _HELD.format(account="limen_sessions.account_id")
"""The same for the account of the session in the outer statement."""


@lru_cache(maxsize=1024)
def role_names(array: str) -> frozenset[str]:
    """Turn the JSON array of such a subquery into names; accounts with the same roles share one set."""
    return frozenset(msgspec.json.decode(array, type=list[str]))


_CODE_ROLES = """
SELECT r.name, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source = 'code'
"""

_ALL_ROLES = """
SELECT r.name, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source <> 'retired'
"""

_DECLARE = """
INSERT INTO limen_roles (name, source) VALUES (:name, 'code') ON CONFLICT (name) DO UPDATE SET source = 'code'
"""

_GIVE = "INSERT INTO limen_role_permissions (role, permission) VALUES (:name, :permission)"

_TAKE_ALL = "DELETE FROM limen_role_permissions WHERE role = :name"

_FORGET = """
DELETE FROM limen_roles
 WHERE name = :name AND NOT EXISTS (SELECT 1 FROM limen_account_roles WHERE role = limen_roles.name)
"""

_RETIRE = "UPDATE limen_roles SET source = 'retired' WHERE name = :name"


class SQLiteRoles:
    """Implements `limen.features.roles.store.RoleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sync(self, roles: Mapping[str, frozenset[str]], event: Event) -> bool:
        """Make the stored roles of code be exactly these, in one transaction; see the Protocol.

        A role that the code no longer declares and that accounts still hold is kept as «retired»: it has no permission
        and is not among anybody's roles, until it is declared again. So an older version that is started once more
        finds the assignments as they were.
        """
        wanted = dict(roles)

        def operation(connection: Connection) -> bool:
            return _synced(connection, wanted, event)

        return await self._database.write(operation)

    async def all(self) -> Mapping[str, frozenset[str]]:
        """Read every stored role and its permissions; a retired one is not among them."""

        def operation(connection: Connection) -> Mapping[str, frozenset[str]]:
            return _read(connection, _ALL_ROLES)

        return await self._database.read(operation)


def _read(connection: Connection, sql: str) -> dict[str, frozenset[str]]:
    permissions_of: dict[str, set[str]] = {}
    for name, permission in connection.rows(sql, {}):
        permissions = permissions_of.setdefault(name, set())
        if permission is not None:
            permissions.add(permission)
    return {name: frozenset(permissions) for name, permissions in permissions_of.items()}


def _synced(connection: Connection, wanted: Mapping[str, frozenset[str]], event: Event) -> bool:
    stored = _read(connection, _CODE_ROLES)
    if stored == wanted:
        return False
    for name in stored.keys() - wanted.keys():
        connection.run(_TAKE_ALL, {"name": name})
        if not connection.run(_FORGET, {"name": name}):
            connection.run(_RETIRE, {"name": name})
    for name, permissions in wanted.items():
        if stored.get(name) != permissions:
            connection.run(_DECLARE, {"name": name})
            connection.run(_TAKE_ALL, {"name": name})
            connection.run_many(_GIVE, [{"name": name, "permission": permission} for permission in permissions])
    record(connection, event)
    return True
