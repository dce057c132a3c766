"""What an account holds: roles, and permissions that were granted to it alone, each of them perhaps only for a time.

Both travel together, as one set of names: whatever compares what an account held with what it holds now compares all of
it. A permission is told from a role by the sign before it, which no name of a role can begin with.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

DIRECT: Final = "+"
"""Before a permission that was granted to the account itself."""

UNTIL: Final = "@"
"""Between what is held and when that ends, in milliseconds since 1970 UTC, in the texts that stores read."""

_NEVER_ENDS: Final[Mapping[str, int]] = MappingProxyType({})
_REMEMBERED: Final = 4096


class RoleNames(frozenset[str]):
    """The names of the roles there are, with what tells which of a set of roles count.

    Attributes:
        counting: returns those of the roles that exist, without any two that nobody may hold at once.
    """

    counting: Callable[[frozenset[str]], frozenset[str]]

    def __new__(cls, names: Iterable[str], counting: Callable[[frozenset[str]], frozenset[str]]) -> "RoleNames":
        """Make the set."""
        made = super().__new__(cls, names)
        made.counting = counting
        return made


class Held(frozenset[str]):
    """A set of what is held, of which something ends by itself.

    It is equal to any set of the same names. Where nothing in it ends, a plain ``frozenset`` is as good.

    Attributes:
        until: when something ends, in milliseconds since 1970 UTC by the database's clock; what is missing does not.
    """

    until: Mapping[str, int]

    def __new__(cls, names: Iterable[str], until: Mapping[str, int]) -> "Held":
        """Make the set; ``until`` says of some of the names when they end."""
        made = super().__new__(cls, names)
        made.until = until
        return made


def ends_of(held: frozenset[str]) -> Mapping[str, int]:
    """Return what of this ends by itself, and when (milliseconds since 1970 UTC)."""
    return held.until if isinstance(held, Held) else _NEVER_ENDS


def held_at(held: frozenset[str], moment: int) -> frozenset[str]:
    """Return what of this was still held at a moment, in milliseconds since 1970 UTC."""
    ends = ends_of(held)
    over = {name for name, end in ends.items() if end <= moment}
    return _set_of(held - over, {name: end for name, end in ends.items() if name not in over}) if over else held


def lasting(held: frozenset[str], until: int | None) -> frozenset[str]:
    """Return what of this is held at least until then, in milliseconds since 1970 UTC; None: for good."""
    return held - {name for name, end in ends_of(held).items() if until is None or end < until}


def read(texts: Iterable[str], moment: int = 0) -> frozenset[str]:
    """Read what a store says is held, each with its end, where it has one; what had ended at the moment is left out."""
    until: dict[str, int] = {}
    names = []
    for text in texts:
        name, _, end = text.partition(UNTIL)
        if end and int(end) <= moment:
            continue
        names.append(name)
        if end:
            until[name] = int(end)
    return _set_of(names, until)


def _set_of(names: Iterable[str], until: Mapping[str, int]) -> frozenset[str]:
    return Held(names, until) if until else frozenset(names)


@lru_cache(maxsize=_REMEMBERED)
def split(held: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the roles, and the permissions that were granted beside them."""
    direct = frozenset(name[1:] for name in held if name.startswith(DIRECT))
    return (frozenset(name for name in held if not name.startswith(DIRECT)) if direct else frozenset(held)), direct


def joined(roles: frozenset[str], direct: Iterable[str]) -> frozenset[str]:
    """Return them as one set."""
    return roles.union(DIRECT + name for name in direct)


def counting(roles: frozenset[str], names: frozenset[str]) -> frozenset[str]:
    """Return those of the roles that count: which exist, where that is known, and exclude none of the others."""
    if not names:
        return roles
    return names.counting(roles) if isinstance(names, RoleNames) else roles & names


def given(
    held: frozenset[str], names: frozenset[str], permissions_of: Callable[[frozenset[str]], frozenset[str]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the roles that count and all permissions of whoever holds this.

    Args:
        held: what is held.
        names: the roles there are; none at all where they are not known. Of two that exclude each other neither counts.
        permissions_of: what a set of roles gives.
    """
    roles, direct = split(held)
    roles = counting(roles, names)
    permissions = permissions_of(roles)
    return roles, permissions | direct if direct else permissions
