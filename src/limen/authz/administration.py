"""The permissions of limen's own administration: what a role has to give so that its holders may administer."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Administration(StrEnum):
    """What can be done to accounts, sessions, roles, services, keys and the audit trail; routes ask for each."""

    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    ACCOUNTS_DELETE = "accounts:delete"
    SESSIONS_END = "sessions:end"
    SESSIONS_WATCH = "sessions:watch"
    ROLES_READ = "roles:read"
    ROLES_WRITE = "roles:write"
    ROLES_ASSIGN = "roles:assign"
    EVENTS_READ = "events:read"
    SERVICES_WRITE = "services:write"
    API_KEYS_OWN = "api-keys:own"
    APPROVALS_READ = "approvals:read"
    POLICIES_EXPLAIN = "policies:explain"


ADMINISTRATION: Final[frozenset[str]] = frozenset(permission.value for permission in Administration)
"""All of them. An administrator is an active account with a role that gives ``roles:assign``; one always remains."""

GRANT: Final = "grant:"
"""Before the name of a permission: whoever holds it may pass the permission on without having it.

Where duties are separated, whoever makes somebody a maker is none: ``grant:order:create`` beside ``roles:assign``.
"""


def not_passable(permissions: Iterable[str], held: Collection[str]) -> list[str]:
    """Return, in order, those of the permissions that whoever holds these may neither use nor pass on."""
    return sorted(name for name in set(permissions) if name not in held and GRANT + name not in held)


DEFAULT_ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"admin": ADMINISTRATION})
"""What the stand-alone server and the command line write into a database that has never had a role."""
