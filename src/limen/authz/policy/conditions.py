"""Conditions: what comparing fields gives, and how it is combined. They never change.

Everything that would mean something else than it says is refused where it is written, with the right spelling: Python's
``and``, ``or`` and ``not`` cannot be given another meaning, and ``&`` binds tighter than ``==``.
"""

from abc import ABC, abstractmethod
from typing import Final, Never, NoReturn

from limen.authz.policy.nodes import And, Node, Not, Or
from limen.authz.policy.text import text_of
from limen.core.errors import ConfigurationError

DEEPEST: Final = 40
"""How many levels of brackets a condition may have."""

MOST_LEAVES: Final = 1000
"""How many comparisons a condition may have."""

NO_TRUTH: Final = (
    "A condition has no truth before somebody asks, and Python's and, or, not, if, in and chained comparisons want it "
    "at once. Write & for and, | for or, ~ for not, .in_([…]) for in, and brackets around each comparison: "
    "(O.amount > 0) & (O.amount < 10)."
)
NO_BRACKETS: Final = (
    "Brackets are missing: & and | bind tighter than comparisons. Write (O.amount == 1) & (O.state == 2), not "
    "O.amount == 1 & O.state == 2."
)


class Expression(ABC):
    """What can be a condition: a comparison, a combination of them, or a field that holds truth values."""

    __slots__ = ()

    @property
    @abstractmethod
    def node(self) -> Node:
        """The tree of the condition.

        Raises:
            ConfigurationError: it is a field that holds something else than truth values.
        """

    def __and__(self, other: "Expression") -> "Condition":
        """Both."""
        return _joined(And, self, other)

    def __or__(self, other: "Expression") -> "Condition":
        """One of the two."""
        return _joined(Or, self, other)

    def __invert__(self) -> "Condition":
        """Not that. What is unknown stays unknown, which is a no."""
        part = condition_of(self)
        return Condition(Not(part.node), part.levels + 1, part.leaves)

    def __rand__(self, other: Never) -> NoReturn:
        """Refuse ``value & condition``, which a comparison without brackets becomes."""
        raise ConfigurationError(NO_BRACKETS)

    def __ror__(self, other: Never) -> NoReturn:
        """Refuse ``value | condition``."""
        raise ConfigurationError(NO_BRACKETS)

    def __bool__(self) -> NoReturn:
        """Refuse ``and``, ``or``, ``not``, ``if``, ``in`` and chained comparisons, which ask for the truth at once."""
        raise ConfigurationError(NO_TRUTH)

    def __hash__(self) -> NoReturn:
        """Refuse sets and keys of mappings, which compare by truth."""
        raise ConfigurationError(NO_TRUTH)


class Condition(Expression):
    """A condition.

    Args:
        node: the tree.
        levels: how deep it is.
        leaves: how many comparisons it has.

    Raises:
        ConfigurationError: it is too deep, or too large.
    """

    __slots__ = ("_node", "leaves", "levels")

    def __init__(self, node: Node, levels: int = 1, leaves: int = 1) -> None:
        if levels > DEEPEST:
            raise ConfigurationError(
                f"A condition of more than {DEEPEST} levels is read by nobody. Write several rules, each with an id."
            )
        if leaves > MOST_LEAVES:
            raise ConfigurationError(
                f"A condition of more than {MOST_LEAVES} comparisons is data. Write .in_([…]), or keep it in a table."
            )
        self._node = node
        self.levels = levels
        self.leaves = leaves

    @property
    def node(self) -> Node:
        """The tree of the condition."""
        return self._node

    def __eq__(self, other: object) -> NoReturn:
        """Refuse to compare conditions: brackets are missing."""
        raise ConfigurationError(NO_BRACKETS)

    def __ne__(self, other: object) -> NoReturn:
        """Refuse to compare conditions: brackets are missing."""
        raise ConfigurationError(NO_BRACKETS)

    __hash__ = Expression.__hash__

    def __repr__(self) -> str:
        return f"<condition {text_of(self._node)}>"


def condition_of(what: object) -> Condition:
    """Return what was written as a condition; a field of truth values is one.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(what, Condition):
        return what
    if isinstance(what, Expression):
        return Condition(what.node)
    raise ConfigurationError(f"{what!r} is no condition. Write comparisons, such as (O.amount > 0), each in brackets.")


def _joined(kind: type[And] | type[Or], first: Expression, second: object) -> Condition:
    both = condition_of(first), condition_of(second)
    parts: list[Node] = []
    levels = 0
    for each in both:
        # A join of the same kind is merged into this one, so that a & b & c is one level.
        merged = isinstance(each.node, kind)
        parts.extend(each.node.parts if isinstance(each.node, kind) else (each.node,))
        levels = max(levels, each.levels - merged)
    return Condition(kind(tuple(parts)), levels + 1, both[0].leaves + both[1].leaves)
