"""What roles, extensions, separated roles and grants that end mean, written anew and as plainly as can be.

It imports nothing of limen and remembers nothing. Whoever wants to know the semantics reads this.
"""

from dataclasses import dataclass, field


@dataclass
class World:
    """The state: ``roles`` name to (permissions, extends); ``held`` of the account: name to end, or None."""

    roles: dict[str, tuple[set[str], set[str]]]
    apart: list[tuple[str, str]]
    held: dict[str, int | None] = field(default_factory=dict)
    direct: dict[str, int | None] = field(default_factory=dict)


def above(world: World, role: str) -> set[str]:
    """Return the role and everything it extends, at any depth."""
    found, waiting = set(), [role]
    while waiting:
        name = waiting.pop()
        if name in world.roles and name not in found:
            found.add(name)
            waiting += world.roles[name][1]
    return found


def violated(world: World, roles: set[str]) -> set[tuple[str, str]]:
    """Return the pairs of which these roles have both, by themselves or by what they extend."""
    everything = {name for role in roles for name in above(world, role)}
    return {(one, other) for one, other in world.apart if one in everything and other in everything}


def may(world: World, now: int) -> tuple[set[str], set[str]]:
    """Return the roles that count at a moment, and the permissions: of two that exclude each other neither counts."""
    held = {role for role, end in world.held.items() if role in world.roles and (end is None or now < end)}
    apart = {name for pair in violated(world, held) for name in pair}
    counting = {role for role in held if not above(world, role) & apart}
    given = {each for role in counting for name in above(world, role) for each in world.roles[name][0]}
    return counting, given | {name for name, end in world.direct.items() if end is None or now < end}


def may_be_granted(world: World, role: str, now: int) -> bool:
    """Tell whether the account may get the role beside those that it holds now."""
    held = {name for name, end in world.held.items() if end is None or now < end}
    return not violated(world, held | {role})
