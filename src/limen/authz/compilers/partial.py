"""What is left of a condition once it is known who asks: only what the rows themselves have to answer.

What the principal and the context tell becomes constants, leaves without a row become true or false, and branches that
cannot change the answer any more are gone. Lists are filtered by the rest, and a menu asks whether there is a rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias, assert_never

from limen.authz.compilers.leaves import comparing, element_of, including, matching, null
from limen.authz.compilers.reading import NO_CONTEXT, read
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Constant,
    HasPermission,
    HasRole,
    In,
    IsNull,
    Leaf,
    Node,
    Not,
    Operand,
    Or,
    PythonLeaf,
    Row,
    Source,
    TextMatch,
    Truth,
)
from limen.authz.policy.normal_form import FALSE, TRUE, joined, negated, normal_form
from limen.authz.policy.rules import Effect, Rule
from limen.authz.policy.shapes import Kind, Model
from limen.authz.policy.values import kind_of, teller, tellers
from limen.core.principal import Principal


class Scope(Enum):
    """How many of the rows there are somebody may act on, before one of them is looked at."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class EveryRow:
    """A condition is true of every row at the other end of a relation: what is left of `AnyRow`, negated."""

    relation: Attribute
    row: Row
    condition: "Bound"


Bound: TypeAlias = Node | EveryRow


def condition_of_rules(rules: Iterable[Rule]) -> Node:
    """Return one condition in normal form for the rules of an action: an allow holds, every deny is known not to.

    A deny of some fields takes only these away, not the action, so it is left out here.
    """
    allows: list[Node] = []
    denies: list[Node] = []
    for rule in rules:
        if rule.effect is Effect.ALLOW:
            allows.append(normal_form(rule.condition))
        elif rule.fields is None:
            denies.append(negated(rule.condition))
    return joined(And, [joined(Or, allows), *denies])


def bound(node: Node, principal: Principal, context: Mapping[str, object] | None = None) -> Bound:
    """Return what is left of a condition for one principal.

    Args:
        node: a condition; it is put into normal form where it is not.
        principal: who asks.
        context: what is known beside.

    Returns:
        `Truth`, or a condition in normal form whose operands are constants and attributes of the resource. A leaf that
        reads something missing is false, negated or not.
    """
    return Binding(principal, NO_CONTEXT if context is None else context).bound(node)


def scope_of(left: Bound) -> Scope:
    """Return how many rows what is left of a condition stands for."""
    if isinstance(left, Truth):
        return Scope.ALL if left.value else Scope.NONE
    return Scope.SOME


def with_heirs(model: Model) -> list[Model]:
    """Return a class, and where it is mapped, every class that its rows may turn out to be of."""
    mapper = getattr(model, "__mapper__", None)
    return [model] if mapper is None else [each.class_ for each in mapper.self_and_descendants]


class Binding:
    """One principal and one context: what is left of conditions for them, and what their attributes are worth."""

    __slots__ = ("_context", "_principal")

    def __init__(self, principal: Principal, context: Mapping[str, object]) -> None:
        self._principal = principal
        self._context = context

    def bound(self, node: Node) -> Bound:
        """Return what is left of a condition; see `limen.authz.compilers.partial.bound`."""
        match node:
            case And(parts):
                return self._joined(And, parts)
            case Or(parts):
                return self._joined(Or, parts)
            case Not():
                return self.bound(normal_form(node))
            case _:
                return self._leaf(node)

    def _leaf(self, leaf: Leaf) -> Bound:
        match leaf:
            case Truth() | PythonLeaf():
                return leaf
            case HasRole(role):
                return _truth((role in self._principal.roles) is not leaf.negated)
            case HasPermission(permission):
                return _truth((permission in self._principal.permissions) is not leaf.negated)
            case AnyRow():
                return self._any_row(leaf)
            case _:
                return self._comparison(leaf)

    def _comparison(self, leaf: Compare | In | IsNull | TextMatch) -> Bound:
        match leaf:
            case Compare():
                return self._compare(leaf)
            case In():
                return self._in(leaf)
            case IsNull():
                return self._is_null(leaf)
            case TextMatch():
                return self._text(leaf)
            case _ as unreachable:
                assert_never(unreachable)

    def _joined(self, kind: type[And] | type[Or], parts: tuple[Node, ...]) -> Bound:
        """Join what is left; a part that settles the whole is the last one that is looked at."""
        final = FALSE if kind is And else TRUE
        left: list[Any] = []
        for part in parts:
            one = self.bound(part)
            if one == final:
                return final
            left.append(one)
        return joined(kind, left)

    def _compare(self, leaf: Compare) -> Bound:
        left, right = leaf.left, leaf.right
        if _is_of_a_row(left):
            # A constant was made to fit the field when the policy was written.
            if isinstance(right, Constant) or _is_of_a_row(right):
                return leaf
            told = comparable(right, left, self.value(right))
            return FALSE if told is None else Compare(leaf.comparison, left, told)
        if _is_of_a_row(right):
            told = comparable(left, right, self.value(left))
            return FALSE if told is None else Compare(leaf.comparison, told, right)
        return _truth(comparing(leaf.comparison, left, right)(self.value(left), self.value(right)))

    def _in(self, leaf: In) -> Bound:
        item, options = leaf.item, leaf.options
        if _is_of_a_row(options):
            if _is_of_a_row(item):
                return leaf
            one = comparable(item, _element(options), self.value(item))
            return FALSE if one is None else replace(leaf, item=one)
        if isinstance(options, Constant) and _is_of_a_row(item):
            return leaf
        if not _is_of_a_row(item):
            return _truth(including(leaf)(self.value(item), self.value(options)))
        return self._in_known(leaf, self.value(options))

    def _in_known(self, leaf: In, found: Any) -> Bound:
        """Keep a set whose values are known, as far as they can be compared with what the row has."""
        item = leaf.item
        if not isinstance(found, frozenset | set | list | tuple):
            return FALSE
        told = [comparable(_element(leaf.options), item, each) for each in found]
        # What cannot be compared may be the one: so nothing is in it, and nothing is known to be out of it.
        if leaf.negated and None in told:
            return FALSE
        values = [each for each in told if each is not None]
        if values:
            return replace(leaf, options=Constant(frozenset(each.value for each in values), values[0].kind))
        return IsNull(item, negated=True) if leaf.negated and isinstance(item, Attribute) else FALSE

    def _is_null(self, leaf: IsNull) -> Bound:
        return leaf if _is_of_a_row(leaf.operand) else _truth(null(leaf)(self.value(leaf.operand)))

    def _text(self, leaf: TextMatch) -> Bound:
        text, part = leaf.text, leaf.part
        if not _is_of_a_row(text) and not _is_of_a_row(part):
            return _truth(matching(leaf)(self.value(text), self.value(part)))
        tell = teller(Kind.TEXT)
        sides: list[Operand] = []
        for side in (text, part):
            value = None if _is_of_a_row(side) else tell(self.value(side))
            if value is None and not _is_of_a_row(side):
                return FALSE
            sides.append(side if value is None else Constant(value, Kind.TEXT))
        return replace(leaf, text=sides[0], part=sides[1])

    def _any_row(self, leaf: AnyRow) -> Bound:
        """Keep the relation: whether there is a row only the rows can tell.

        What is unknown in the condition is false there. Its opposite is therefore made before it is bound: afterwards
        the unknown would have become known.
        """
        if not _is_of_a_row(leaf.relation):
            return FALSE
        if leaf.negated:
            return EveryRow(leaf.relation, leaf.row, self.bound(negated(leaf.condition)))
        condition: Any = self.bound(leaf.condition)
        return FALSE if condition == FALSE else replace(leaf, condition=condition)

    def value(self, operand: Operand) -> Any:
        """Return what an operand of the principal or the context is worth now; None or `ABSENT` where it is missing."""
        if isinstance(operand, Constant):
            return operand.value
        return read(operand, self._principal, None, self._context)


def _truth(value: bool) -> Truth:
    return TRUE if value else FALSE


def _is_of_a_row(operand: Operand) -> bool:
    return isinstance(operand, Attribute) and operand.source is Source.RESOURCE


def _element(options: Operand) -> Operand:
    """Return what stands for one value of a set."""
    if isinstance(options, Attribute):
        return element_of(options)
    return Constant(next(iter(options.value), None), options.kind)


def comparable(known: Operand, other: Operand, value: Any) -> Constant | None:
    """Return a value as it is compared with a side that only a row has; None where it is missing, or never compared.

    Args:
        known: the operand that has the value.
        other: the side that only a row has.
        value: as it was read.
    """
    if known.kind is Kind.ANY or known.kind is other.kind:
        # What nearly every comparison is, without the questions that the others need.
        if type(value) is str and other.kind is Kind.TEXT:
            return Constant(value, Kind.TEXT)
        if type(value) is int and other.kind is Kind.INTEGER:
            return Constant(value, Kind.INTEGER)
    tells = tellers(known, other)
    told = value if tells is None else tells[0](value)
    kind = kind_of(told)
    if kind is None or {other.kind, kind} == {Kind.DECIMAL, Kind.FLOAT}:
        return None
    return Constant(told, kind)
