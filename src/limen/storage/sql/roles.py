"""Roles: what each of them gives, where it comes from, and who is granted it."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from limen.core.errors import Conflict, Unavailable
from limen.core.events import Event
from limen.features.roles.store import (
    Change,
    ChangedRoles,
    Definition,
    Holder,
    RoleChanges,
    RoleSource,
    Seen,
    Snapshot,
    StoredRole,
)
from limen.features.sessions.store import ALWAYS_READ_MS
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.grants import LOCK_HOLDERS, assigned, require_administrator
from limen.storage.sql.holdings import (
    HELD,
    HELD_BY_ACCOUNT,
    HELD_BY_SESSION,
    LAST_BY_SEPARATION,
    LOCK_CATALOGUE,
    administrators,
    list_changed_roles,
    refuse_last_administrator,
    role_names,
)
from limen.storage.sql.proofs import take_started
from limen.storage.sql.separation import separate, separated, violations, violators
from limen.storage.sql.statement import NOBODY, Statement, Steps, row, rows, run, run_each

__all__ = [
    "HELD_BY_ACCOUNT",
    "HELD_BY_SESSION",
    "SQLRoles",
    "list_changed_roles",
    "refuse_last_administrator",
    "role_names",
]

_log = logging.getLogger(__name__)

_VERSION = Statement("SELECT version, @now FROM limen_catalogue WHERE id = 1")

_RAISE_VERSION = Statement("UPDATE limen_catalogue SET version = version + 1 WHERE id = 1")

_RAISE_VERSION_SEEN = Statement("""
UPDATE limen_catalogue SET version = version + 1 WHERE id = 1 AND version = :version RETURNING version
""")

_ROLES = Statement("""
SELECT r.name, r.source, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source <> 'retired'
""")

# A retired role gives nothing, whoever extends it.
_EXTENSIONS = Statement("""
SELECT x.role, x.extends FROM limen_role_extensions x
  JOIN limen_roles known ON known.name = x.role JOIN limen_roles extended ON extended.name = x.extends
 WHERE known.source <> 'retired' AND extended.source <> 'retired'
""")

_HOLDER = Statement(f"""
SELECT id, status, ({HELD_BY_ACCOUNT}), roles_version,
       (SELECT @array_of(held.role) FROM limen_account_roles held JOIN limen_roles known ON known.name = held.role
         WHERE known.source = 'retired' AND held.account_id = limen_accounts.id)
  FROM limen_accounts WHERE id = :id
""")  # noqa: S608

_CODE_ROLES = Statement("""
SELECT r.name, p.permission FROM limen_roles r LEFT JOIN limen_role_permissions p ON p.role = r.name
 WHERE r.source = 'code'
""")

_SOURCE = Statement("SELECT source FROM limen_roles WHERE name = :name")

_DECLARE = Statement("""
INSERT INTO limen_roles (name, source) VALUES (:name, 'code') ON CONFLICT (name) DO UPDATE SET source = 'code'
""")

_DEFINE = Statement("INSERT INTO limen_roles (name, source) VALUES (:name, 'database') ON CONFLICT (name) DO NOTHING")

_GIVE = Statement("INSERT INTO limen_role_permissions (role, permission) VALUES (:name, :permission)")

_TAKE_ALL = Statement("DELETE FROM limen_role_permissions WHERE role = :name")

_EXTEND = Statement("""
INSERT INTO limen_role_extensions (role, extends)
SELECT :name, name FROM limen_roles WHERE name = :extended AND source <> 'retired'
""")

_EXTEND_NOTHING = Statement("DELETE FROM limen_role_extensions WHERE role = :name")

_EXTENDS_ITSELF = Statement("""
WITH RECURSIVE above (role) AS (
    SELECT x.extends FROM limen_role_extensions x WHERE x.role = :name
    UNION
    SELECT x.extends FROM limen_role_extensions x JOIN above ON above.role = x.role)
SELECT role FROM above WHERE role = :name
""")

# What has ended holds nothing; a grant that is renewed meanwhile is either gone or seen by what asks next.
_SWEEP_ENDED = Statement("DELETE FROM limen_account_roles WHERE role = :name AND expires_at <= @now")

_IN_USE = Statement("""
SELECT EXISTS (SELECT 1 FROM limen_account_roles WHERE role = :name),
       EXISTS (SELECT 1 FROM limen_role_extensions WHERE extends = :name)
""")

_DELETE = Statement("DELETE FROM limen_roles WHERE name = :name AND source = 'database'")

_FORGET = Statement("""
DELETE FROM limen_roles
 WHERE name = :name AND NOT EXISTS (SELECT 1 FROM limen_account_roles WHERE role = limen_roles.name)
   AND NOT EXISTS (SELECT 1 FROM limen_role_extensions WHERE extends = limen_roles.name)
""")

_RETIRE = Statement("UPDATE limen_roles SET source = 'retired' WHERE name = :name")

# Of whom it is listed which roles they hold: that has just changed for who holds a role that was retired, or is back.
_LIST_HOLDERS_AGAIN = Statement(f"""
UPDATE limen_changed_roles
   SET changed_at = @now,
       roles = COALESCE(CAST(({HELD.format(account="limen_changed_roles.account_id")}) AS text), '[]')
 WHERE account_id IN (SELECT account_id FROM limen_account_roles WHERE role = :name)
""")  # noqa: S608

# One row at least: the version. A clock that was ahead for a while must not hide what changes afterwards.
_CHANGED_SINCE = Statement(f"""
SELECT c.version, changed.account_id, changed.roles, changed.changed_at, changed.keep_until
  FROM limen_catalogue c LEFT JOIN limen_changed_roles changed
    ON changed.changed_at >= @least(:since, @now - {ALWAYS_READ_MS}) AND changed.keep_until > @now
 WHERE c.id = 1 ORDER BY changed.changed_at, changed.account_id
""")  # noqa: S608


READINGS = 10
"""How often the roles are read again at most, when they were changed while they were read.

What was read across a change is not used: permissions of one version and extensions of another could give what neither
version gives.
"""


class SQLRoles:
    """Implements `limen.features.roles.store.RoleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sync(self, roles: Mapping[str, frozenset[str]], event: Event) -> bool:
        """Make the stored roles of code be exactly these, in one transaction; see the Protocol.

        A role that the code no longer declares and that accounts still hold, or roles extend, is kept as «retired»: it
        has no permission and is not among anybody's roles, until it is declared again. So an older version that is
        started once more finds the assignments as they were.
        """
        return await self._database.write(partial(_synced, dict(roles), event))

    async def read(self, account_ids: Collection[str] = (), *, committed: bool = False) -> Snapshot:
        """Read every role, the catalogue's version, and these accounts; see the Protocol."""
        read = self._database.read_committed if committed else self._database.read
        return await read(partial(_snapshot, tuple(account_ids)))

    async def put(self, role: Definition, *, seen: Seen, event: Event) -> Change:
        """Make or replace a role of the database; see the Protocol."""
        return await self._database.write(partial(_put, role, seen, event))

    async def delete(self, name: str, *, seen: Seen, event: Event) -> Change:
        """Delete a role of the database; see the Protocol."""
        return await self._database.write(partial(_deleted, name, seen, event))

    async def assign(
        self,
        target: Holder,
        *,
        grant: Collection[str],
        revoke: Collection[str],
        seen: Seen,
        event: Event,
        keep_ended_ms: int,
        until: int | None = None,
    ) -> Change:
        """Grant and revoke roles and permissions of one account; see the Protocol."""
        return await self._database.write(
            partial(
                assigned,
                target,
                sorted(grant),
                sorted(revoke),
                until=until,
                seen=seen,
                event=event,
                keep_ended_ms=keep_ended_ms,
            )
        )

    async def separate(self, pairs: Collection[tuple[str, str]], event: Event) -> int:
        """Make the pairs of roles that nobody may hold at once be exactly these; see the Protocol."""
        return await self._database.write(partial(_separated, frozenset(pairs), event))

    async def violations(self, limit: int) -> Sequence[tuple[str, str, str]]:
        """List who holds two roles that nobody may hold at once; see the Protocol."""
        return await self._database.read(partial(violations, limit))

    async def changed_since(self, since_ms: int) -> RoleChanges:
        """Return the catalogue's version, and whose roles changed since then, or lately."""
        return await self._database.read_committed(partial(_changed_since, since_ms))


def _snapshot(account_ids: Sequence[str]) -> Steps[Snapshot]:
    version, now = yield from _version()
    roles: dict[str, StoredRole] = {}
    pairs: frozenset[tuple[str, str]] = frozenset()
    for _ in range(READINGS):
        roles = yield from _roles()
        pairs = yield from separated()
        found, now = yield from _version()
        if found == version:
            break
        version = found
    else:
        raise Unavailable("The roles are being changed; try again.")
    holders = {}
    for account_id in account_ids:
        each = yield from row(_HOLDER, id=account_id)
        if each is not None:
            holders[account_id] = Holder.of(str(each[0]), each[1], role_names(each[2]), each[3], role_names(each[4]))
    return Snapshot(version, roles, holders, pairs, now)


def _version() -> Steps[tuple[int, int]]:
    found = yield from row(_VERSION)
    return (int(found[0]), int(found[1])) if found is not None else (-1, 0)


def _roles() -> Steps[dict[str, StoredRole]]:
    sources: dict[str, str] = {}
    permissions_of: dict[str, set[str]] = {}
    extended_by: dict[str, set[str]] = {}
    for name, source, permission in (yield from rows(_ROLES)):
        sources[name] = source
        permissions_of.setdefault(name, set()).update(() if permission is None else (permission,))
    for name, extended in (yield from rows(_EXTENSIONS)):
        extended_by.setdefault(name, set()).add(extended)
    return {
        name: StoredRole(
            Definition(name, frozenset(permissions), frozenset(extended_by.get(name, ()))), RoleSource(sources[name])
        )
        for name, permissions in permissions_of.items()
    }


def _synced(wanted: Mapping[str, frozenset[str]], event: Event) -> Steps[bool]:
    yield from row(LOCK_CATALOGUE)
    stored = yield from _permissions_in_code()
    if stored == wanted:
        return False
    _, was_one = yield from administrators(NOBODY)
    for name in stored.keys() - wanted.keys():
        yield from _withdrawn(name)
    taken_over = []
    for name, permissions in wanted.items():
        if stored.get(name) != permissions:
            found = yield from row(_SOURCE, name=name)
            if found is not None and found[0] == RoleSource.DATABASE.value:
                taken_over.append(name)
            yield from run(_DECLARE, name=name)
            yield from run(_EXTEND_NOTHING, name=name)
            yield from _given(name, permissions)
            yield from run(_LIST_HOLDERS_AGAIN, name=name)
    yield from run(_RAISE_VERSION)
    yield from take_started()
    _, is_one = yield from administrators(NOBODY)
    if was_one and not is_one:
        _log.warning("no administrator is left: no active account holds a role that gives roles:assign")
    data = {**event.data, "taken_over": sorted(taken_over)} if taken_over else event.data
    yield from record(replace(event, data=data))
    return True


def _separated(pairs: frozenset[tuple[str, str]], event: Event) -> Steps[int]:
    yield from row(LOCK_CATALOGUE)
    if (yield from separated()) != pairs:
        _, was_one = yield from administrators(NOBODY)
        yield from separate(pairs)
        if was_one and not (yield from administrators(NOBODY))[1]:
            raise Conflict(LAST_BY_SEPARATION)
        yield from run(_RAISE_VERSION)
        yield from take_started()
        yield from record(event)
    return (yield from violators())


def _permissions_in_code() -> Steps[dict[str, frozenset[str]]]:
    permissions_of: dict[str, set[str]] = {}
    for name, permission in (yield from rows(_CODE_ROLES)):
        permissions_of.setdefault(name, set()).update(() if permission is None else (permission,))
    return {name: frozenset(permissions) for name, permissions in permissions_of.items()}


def _withdrawn(name: str) -> Steps[None]:
    """Forget a role that the code no longer declares; retire it where somebody holds it, or a role extends it."""
    yield from run(_TAKE_ALL, name=name)
    yield from run(_SWEEP_ENDED, name=name)
    forgotten = yield from run(_FORGET, name=name)
    if not forgotten:
        yield from run(_RETIRE, name=name)
        yield from run(_LIST_HOLDERS_AGAIN, name=name)


def _given(name: str, permissions: Iterable[str]) -> Steps[None]:
    yield from run(_TAKE_ALL, name=name)
    yield from run_each(_GIVE, [{"name": name, "permission": permission} for permission in sorted(permissions)])


def _put(role: Definition, seen: Seen, event: Event) -> Steps[Change]:
    if not (yield from _catalogue_taken(seen)):
        return Change.MOVED
    _, was_one = yield from administrators(NOBODY)
    # Every holder is looked at, which takes its time; a role that extends nothing brings nobody two roles.
    violating = (yield from violators()) if role.extends else 0
    yield from run(_DEFINE, name=role.name)
    yield from _require_database_role(role.name)
    yield from _given(role.name, role.permissions)
    yield from run(_EXTEND_NOTHING, name=role.name)
    for extended in sorted(role.extends):
        added = yield from run(_EXTEND, name=role.name, extended=extended)
        if not added:
            raise Conflict(f"There is no role {extended}, which {role.name} is to extend.")
    if (yield from row(_EXTENDS_ITSELF, name=role.name)) is not None:
        raise Conflict(f"The role {role.name} would extend itself.")
    yield from require_administrator(was_one=was_one)
    yield from take_started()
    if role.extends and (yield from violators()) > violating:
        raise Conflict(f"Accounts would hold two roles by {role.name} that nobody may hold at once.")
    yield from record(event)
    return Change.DONE


def _deleted(name: str, seen: Seen, event: Event) -> Steps[Change]:
    if not (yield from _catalogue_taken(seen)):
        return Change.MOVED
    yield from _require_database_role(name)
    yield from run(_SWEEP_ENDED, name=name)
    found = yield from row(_IN_USE, name=name)
    is_held, is_extended = found or (True, True)
    if is_held:
        raise Conflict(f"Accounts hold the role {name}: revoke it first.")
    if is_extended:
        raise Conflict(f"Other roles extend the role {name}: change them first.")
    yield from run(_DELETE, name=name)
    yield from record(event)
    return Change.DONE


def _catalogue_taken(seen: Seen) -> Steps[bool]:
    """Raise the version that was seen, after the row of who acts was locked; False where either has moved."""
    actor = seen.actor
    if actor is not None:
        found = yield from rows(LOCK_HOLDERS, one=actor.id, other=actor.id)
        if [(status, version) for _, status, version in found] != [("active", actor.version)]:
            return False
    return (yield from row(_RAISE_VERSION_SEEN, version=seen.version)) is not None


def _require_database_role(name: str) -> Steps[None]:
    found = yield from row(_SOURCE, name=name)
    source = found[0] if found is not None else None
    if source == RoleSource.CODE.value:
        raise Conflict(f"The role {name} is declared by the application; it is changed in its code.")
    if source != RoleSource.DATABASE.value:
        raise Conflict(f"The role {name} was the application's, and accounts still hold it: it cannot be made anew.")


def _changed_since(since_ms: int) -> Steps[RoleChanges]:
    found = yield from rows(_CHANGED_SINCE, since=since_ms)
    version = int(found[0][0]) if found else -1
    accounts = [
        ChangedRoles(str(account_id), role_names(roles), changed_at, keep_until)
        for _, account_id, roles, changed_at, keep_until in found
        if account_id is not None
    ]
    return RoleChanges(version, accounts)
