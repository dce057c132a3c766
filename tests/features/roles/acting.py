"""Accounts with roles, and the principals that act as them."""

from limen import Limen, Principal
from limen.authz.administration import ADMINISTRATION
from limen.core.events import EventName, Origin
from limen.core.principal import PrincipalKind
from limen.features.accounts.store import Account
from limen.storage import StoredEvent

ROLES = {
    "maker": ["order:create", "order:read"],
    "checker": ["order:approve", "order:read"],
    "admin": [*ADMINISTRATION, "order:create", "order:read", "order:approve"],
    "personnel": ["roles:assign", "roles:write", "order:read", "order:create"],
}
ORIGIN = Origin(request_id="request-1", address="192.0.2.7", user_agent="test/1")


async def made(gate: Limen, name: str, *roles: str) -> Account:
    """Make an account that nobody logs in to."""
    return await gate.accounts.create(name, None, roles=frozenset(roles), actor="cli")


def principal(gate: Limen, account: Account) -> Principal:
    """Return whom a request of this account is attributed to."""
    permissions = gate.catalogue.permissions_of(account.roles)
    return Principal(account.id, PrincipalKind.PERSON, account.roles, permissions)


async def roles_of(gate: Limen, account: Account) -> frozenset[str]:
    """Return the roles that an account holds."""
    return (await gate.accounts.by_id(account.id)).roles


async def events(gate: Limen, name: EventName) -> list[StoredEvent]:
    """Return the records of this name."""
    return [record for record in await gate.storage.events(limit=10_000) if record.event == name]
