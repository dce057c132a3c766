"""Granting to one account, and taking away: roles, and permissions of its own."""

from collections.abc import Sequence
from typing import Final

from limen.core.errors import Conflict
from limen.core.events import Event
from limen.core.held import DIRECT
from limen.features.roles.store import Change, Holder, Seen
from limen.storage.sql.cookies import end_cookies
from limen.storage.sql.events import record
from limen.storage.sql.holdings import LAST_ADMINISTRATOR, LOCK_CATALOGUE, administrators, list_changed_roles
from limen.storage.sql.separation import refuse_separated
from limen.storage.sql.statement import NOBODY, Statement, Steps, row, rows, run

# In the order of their ids, whoever asks: two who change each other's roles would otherwise wait for each other.
LOCK_HOLDERS: Final = Statement("""
SELECT id, status, roles_version FROM limen_accounts WHERE id = :one OR id = :other ORDER BY id @for_update
""")

# Where the account holds it already, it is held from now on until the time that is said now.
_GRANT: Final = Statement("""
INSERT INTO limen_account_roles (account_id, role, expires_at)
SELECT :account_id, name, CAST(:until AS bigint) FROM limen_roles WHERE name = :role AND source <> 'retired'
    ON CONFLICT (account_id, role) DO UPDATE SET expires_at = excluded.expires_at
""")

_GRANT_DIRECTLY: Final = Statement("""
INSERT INTO limen_account_permissions (account_id, permission, expires_at)
VALUES (:account_id, :permission, CAST(:until AS bigint))
    ON CONFLICT (account_id, permission) DO UPDATE SET expires_at = excluded.expires_at
""")

_EXISTS: Final = Statement("SELECT 1 FROM limen_roles WHERE name = :name AND source <> 'retired'")

_REVOKE: Final = Statement("DELETE FROM limen_account_roles WHERE account_id = :account_id AND role = :role")

_REVOKE_DIRECTLY: Final = Statement("""
DELETE FROM limen_account_permissions WHERE account_id = :account_id AND permission = :permission
""")

_RAISE_ROLES_VERSION: Final = Statement(
    "UPDATE limen_accounts SET roles_version = roles_version + 1 WHERE id = :account_id"
)


def assigned(
    target: Holder,
    grant: Sequence[str],
    revoke: Sequence[str],
    *,
    until: int | None,
    seen: Seen,
    event: Event,
    keep_ended_ms: int,
) -> Steps[Change]:
    """Grant and revoke; see `limen.features.roles.store.RoleStore.assign`."""
    if not (yield from _as_seen(target, seen)):
        return Change.MOVED
    _, was_one = yield from administrators(NOBODY)
    for name in revoke:
        if name.startswith(DIRECT):
            yield from run(_REVOKE_DIRECTLY, account_id=target.id, permission=name[1:])
        else:
            yield from run(_REVOKE, account_id=target.id, role=name)
    for name in grant:
        yield from _granted(target.id, name, until)
    if grant:
        yield from refuse_separated(target.id)
    yield from run(_RAISE_ROLES_VERSION, account_id=target.id)
    yield from list_changed_roles(target.id, keep_ended_ms=keep_ended_ms)
    yield from require_administrator(was_one=was_one)
    yield from end_cookies(target.id, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return Change.DONE


def _as_seen(target: Holder, seen: Seen) -> Steps[bool]:
    """Lock the account, who acts and the catalogue; tell whether all of them are as they were judged."""
    actor = seen.actor
    found = yield from rows(LOCK_HOLDERS, one=target.id, other=actor.id if actor is not None else target.id)
    locked = {str(account_id): (status, version) for account_id, status, version in found}
    status, version = locked.get(target.id, ("deleted", -1))
    if status == "deleted" or version != target.version:
        return False
    if actor is not None and locked.get(actor.id) != ("active", actor.version):
        return False
    catalogue = yield from row(LOCK_CATALOGUE)
    return catalogue is not None and catalogue[0] == seen.version


def _granted(account_id: str, name: str, until: int | None) -> Steps[None]:
    if name.startswith(DIRECT):
        yield from run(_GRANT_DIRECTLY, account_id=account_id, permission=name[1:], until=until)
        return
    if (yield from row(_EXISTS, name=name)) is None:
        raise Conflict(f"There is no role {name}.")
    yield from run(_GRANT, account_id=account_id, role=name, until=until)


def require_administrator(*, was_one: bool) -> Steps[None]:
    """Refuse a change by which the last administrator would be gone, where there was one.

    Raises:
        Conflict: none would be left; nothing may be changed.
    """
    if was_one and not (yield from administrators(NOBODY))[1]:
        raise Conflict(LAST_ADMINISTRATOR)
