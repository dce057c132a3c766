"""Roles: named sets of permissions, declared in code as plain values."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from limen.authz.permissions import permission_name
from limen.core.errors import ConfigurationError
from limen.core.held import RoleNames

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


def separated_pairs(declared: Iterable[Iterable[str]]) -> frozenset[tuple[str, str]]:
    """Return the pairs of roles that nobody may hold at once, each in the order of the names.

    Args:
        declared: sets of roles; of each set nobody may hold two at once.

    Raises:
        ConfigurationError: a name is malformed, or a set has not two roles at least.
    """
    pairs: set[tuple[str, str]] = set()
    for each in declared:
        names = sorted({role_name(name) for name in each}) if not isinstance(each, str) else []
        if len(names) < 2:
            raise ConfigurationError(f"separation of duty is between two roles at least, not {each!r}")
        pairs.update((one, other) for place, one in enumerate(names) for other in names[place + 1 :])
    return frozenset(pairs)


class RoleCatalogue:
    """Every role there is, and what each of them allows. It never changes: another state is another catalogue.

    Args:
        declared: ``{"maker": ["order:create"], …}``, or roles.
        separated: pairs of roles that nobody may hold at once, by `separated_pairs`.

    Attributes:
        names: the names of the roles, a `RoleNames`.
        separated: the pairs of roles that nobody may hold at once.
        permissions: every permission that some role gives.

    Raises:
        ConfigurationError: a name is malformed or declared twice, or a role extends one that is unknown or, in the end,
            itself.
    """

    __slots__ = ("_above", "_closed", "_counting", "_remembered", "names", "permissions", "roles", "separated")

    def __init__(
        self,
        declared: Mapping[str, Iterable[str]] | Iterable[Role],
        separated: Collection[tuple[str, str]] = (),
    ) -> None:
        listed = _roles_of(declared) if isinstance(declared, Mapping) else list(declared)
        roles: dict[str, Role] = {}
        for role in listed:
            if role.name in roles:
                raise ConfigurationError(f"the role {role.name} is declared twice")
            roles[role.name] = role
        above: dict[str, frozenset[str]] = {}
        for name in roles:
            _climb(name, roles, above, ())
        closed = {name: frozenset().union(*(roles[each].permissions for each in over)) for name, over in above.items()}
        self.roles: Mapping[str, Role] = MappingProxyType(roles)
        self.names: frozenset[str] = RoleNames(roles, self.counting)
        self.permissions: frozenset[str] = frozenset().union(*closed.values())
        self.separated = frozenset(separated)
        self._above = above
        self._closed = closed
        self._remembered: dict[frozenset[str], frozenset[str]] = {}
        self._counting: dict[frozenset[str], frozenset[str]] = {}

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """Return every permission that the roles give together; a role that is not in the catalogue gives none."""
        known = self._remembered.get(roles)
        if known is None:
            known = frozenset().union(*(self._closed.get(name, frozenset()) for name in roles))
            if len(self._remembered) >= _REMEMBERED_SETS:
                self._remembered.clear()
            self._remembered[roles] = known
        return known

    def extends(self, role: str, name: str) -> bool:
        """Tell whether a role is another one, or extends it in the end."""
        return name in self._above.get(role, frozenset())

    def violated_by(self, roles: Iterable[str]) -> list[tuple[str, str]]:
        """Return, in order, the pairs of which these roles have both, themselves or by what they extend."""
        if not self.separated:
            return []
        held = frozenset().union(*(self._above.get(name, frozenset()) for name in roles))
        return sorted(pair for pair in self.separated if held.issuperset(pair))

    def counting(self, roles: frozenset[str]) -> frozenset[str]:
        """Return those of the roles that exist, without any two that nobody may hold at once: neither counts.

        Nothing can be granted so; it is for what was granted before two roles were separated, or by other hands.
        """
        known = roles if roles <= self.names else roles & self.names
        if not self.separated or len(known) == 0:
            return known
        found = self._counting.get(known)
        if found is None:
            apart = frozenset().union(*self.violated_by(known))
            found = frozenset(name for name in known if self._above[name].isdisjoint(apart)) if apart else known
            if len(self._counting) >= _REMEMBERED_SETS:
                self._counting.clear()
            self._counting[known] = found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return f"RoleCatalogue({', '.join(sorted(self.names))})"


def _roles_of(declared: Mapping[str, Iterable[str]]) -> list[Role]:
    return [Role(name, permissions) for name, permissions in declared.items()]


def _climb(
    name: str, roles: Mapping[str, Role], above: dict[str, frozenset[str]], path: tuple[str, ...]
) -> frozenset[str]:
    """Return a role and all it extends."""
    if name in path:
        raise ConfigurationError(f"roles extend each other in a circle: {' -> '.join((*path, name))}")
    if name not in roles:
        raise ConfigurationError(f"the role {path[-1]} extends {name}, which is not declared")
    if name not in above:
        inherited = (_climb(parent, roles, above, (*path, name)) for parent in sorted(roles[name].extends))
        above[name] = frozenset({name}).union(*inherited)
    return above[name]
