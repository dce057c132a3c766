"""Roles and permissions as they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from limen.authz.roles import RoleCatalogue
from limen.features.roles.store import RoleSource, Snapshot


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role as it is shown.

    Attributes:
        name: how accounts and routes refer to it.
        source: ``code`` or ``database``; only the latter can be changed.
        permissions: its own.
        extends: the roles whose permissions it has as well.
        gives: all permissions that whoever holds it has.
    """

    name: str
    source: RoleSource
    permissions: frozenset[str]
    extends: frozenset[str]
    gives: frozenset[str]


@dataclass(frozen=True, slots=True)
class PermissionView:
    """A permission, and the roles that give it, in order of their names."""

    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolePage:
    """Some roles in the order of their names; ``next`` is the ``after`` of those that follow, None at the end."""

    items: Sequence[RoleView]
    next: str | None


@dataclass(frozen=True, slots=True)
class PermissionPage:
    """Some permissions in the order of their names; ``next`` is the ``after`` of those that follow, None at the end."""

    items: Sequence[PermissionView]
    next: str | None


def view_of(snapshot: Snapshot, catalogue: RoleCatalogue, name: str) -> RoleView:
    """Return the role of this name, which must be there."""
    stored = snapshot.roles[name]
    gives = catalogue.permissions_of(frozenset({name}))
    return RoleView(name, stored.source, stored.definition.permissions, stored.definition.extends, gives)
