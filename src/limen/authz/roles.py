"""Roles: named sets of permissions, declared in code as plain values."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from limen.authz.permissions import permission_name
from limen.core.errors import ConfigurationError

_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}\Z")

_REMEMBERED_SETS = 4096
"""How many sets of roles a catalogue remembers the permissions of. Tokens choose the sets, so it is bounded."""


def is_role_name(name: str) -> bool:
    """Tell whether the text has the form of a role's name."""
    return _ROLE.match(name) is not None


def role_name(name: object) -> str:
    """Return the name of a role as a plain ``str``; a member of a ``StrEnum`` is welcome.

    Raises:
        ConfigurationError: it is not a letter followed by at most 63 letters, digits, ``_``, ``.``, ``:`` or ``-``.
            A comma or a space would break the lists in which roles travel.
    """
    if not isinstance(name, str) or not is_role_name(str(name)):
        raise ConfigurationError(f"{name!r} is no name of a role: a letter, then letters, digits, '_', '.', ':' or '-'")
    return str(name)


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions.

    Attributes:
        name: how accounts and routes refer to it.
        permissions: what whoever holds it may do, as ``resource:action``.
        extends: the names of roles whose permissions it has as well.
    """

    name: str
    permissions: frozenset[str] = frozenset()
    extends: frozenset[str] = frozenset()

    def __init__(self, name: str, permissions: Iterable[str] = (), extends: Iterable[str] = ()) -> None:
        if isinstance(permissions, str) or isinstance(extends, str):
            raise ConfigurationError(f"role {name!r}: permissions and extends are lists of names, not one text")
        object.__setattr__(self, "name", role_name(name))
        object.__setattr__(self, "permissions", frozenset(permission_name(each) for each in permissions))
        object.__setattr__(self, "extends", frozenset(role_name(each) for each in extends))


class RoleCatalogue:
    """Every role there is, and what each of them allows. It never changes: another state is another catalogue.

    Args:
        declared: ``{"maker": ["order:create"], …}``, or roles.

    Attributes:
        names: the names of the roles.
        permissions: every permission that some role gives.

    Raises:
        ConfigurationError: a name is malformed or declared twice, or a role extends one that is unknown or, in the end,
            itself.
    """

    __slots__ = ("_closed", "_remembered", "names", "permissions", "roles")

    def __init__(self, declared: Mapping[str, Iterable[str]] | Iterable[Role]) -> None:
        listed = _roles_of(declared) if isinstance(declared, Mapping) else list(declared)
        roles: dict[str, Role] = {}
        for role in listed:
            if role.name in roles:
                raise ConfigurationError(f"the role {role.name} is declared twice")
            roles[role.name] = role
        closed: dict[str, frozenset[str]] = {}
        for name in roles:
            _close(name, roles, closed, ())
        self.roles: Mapping[str, Role] = MappingProxyType(roles)
        self.names = frozenset(roles)
        self.permissions: frozenset[str] = frozenset().union(*closed.values())
        self._closed = closed
        self._remembered: dict[frozenset[str], frozenset[str]] = {}

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """Return every permission that the roles give together; a role that is not in the catalogue gives none."""
        known = self._remembered.get(roles)
        if known is None:
            known = frozenset().union(*(self._closed.get(name, frozenset()) for name in roles))
            if len(self._remembered) >= _REMEMBERED_SETS:
                self._remembered.clear()
            self._remembered[roles] = known
        return known

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return f"RoleCatalogue({', '.join(sorted(self.names))})"


def _roles_of(declared: Mapping[str, Iterable[str]]) -> list[Role]:
    return [Role(name, permissions) for name, permissions in declared.items()]


def _close(
    name: str, roles: Mapping[str, Role], closed: dict[str, frozenset[str]], path: tuple[str, ...]
) -> frozenset[str]:
    """Return the permissions of a role and of all it extends."""
    if name in path:
        raise ConfigurationError(f"roles extend each other in a circle: {' -> '.join((*path, name))}")
    if name not in roles:
        raise ConfigurationError(f"the role {path[-1]} extends {name}, which is not declared")
    if name not in closed:
        role = roles[name]
        inherited = (_close(parent, roles, closed, (*path, name)) for parent in sorted(role.extends))
        closed[name] = role.permissions.union(*inherited)
    return closed[name]
