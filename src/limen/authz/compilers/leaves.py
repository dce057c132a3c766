"""What a leaf says of the values it compares: one function for each, for every value there may be.

The compiled functions of `limen.authz.compilers.python` ask these where a value is not exactly of the type that was
declared; explanations ask nothing else.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from limen.authz.policy.nodes import (
    Attribute,
    Comparison,
    Constant,
    In,
    IsNull,
    Match,
    Operand,
    PythonLeaf,
    TextMatch,
)
from limen.authz.policy.shapes import FieldShape, Kind
from limen.authz.policy.values import ABSENT, are_mixed, is_missing, teller, tellers, told_pair

Test = Callable[[Any, Any], bool]

_OPERATORS: Final[Mapping[Comparison, Callable[[Any, Any], Any]]] = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
}


def comparing(comparison: Comparison, left: Operand, right: Operand) -> Test:
    """Return what tells whether two values compare so; False where one is missing or they are of two kinds."""
    holds = _OPERATORS[comparison]
    told = tellers(left, right)
    if told is None:
        return lambda one, other: _of_two_undeclared(holds, one, other)
    tell_left, tell_right = told

    def test(one: Any, other: Any) -> bool:
        one = tell_left(one)
        if one is None:
            return False
        other = tell_right(other)
        if other is None or are_mixed(one, other):
            return False
        return holds(one, other) is True

    return test


def _of_two_undeclared(holds: Callable[[Any, Any], Any], one: Any, other: Any) -> bool:
    pair = told_pair(one, other)
    if pair is None or None in pair:
        return False
    try:
        return holds(*pair) is True
    except TypeError:  # of these there is no order
        return False


def including(leaf: In) -> Test:
    """Return what tells whether a value is in a set, or where negated, is not; False where either is missing.

    What is missing in a set of values, or of another kind, may be the one: so it is in no set, and out of none.
    """
    options = leaf.options
    if isinstance(options, Constant):
        element: Operand = Constant(next(iter(options.value), None), options.kind)
    else:
        element = element_of(options)
    comparison = Comparison.NOT_EQUAL if leaf.negated else Comparison.EQUAL
    compared = comparing(comparison, leaf.item, element)
    told = tellers(leaf.item, element)
    tell = told[0] if told is not None else _anything
    all_or_any = all if leaf.negated else any

    def test(item: Any, values: Any) -> bool:
        if not isinstance(values, (frozenset, tuple, list, set)) or tell(item) is None:
            return False
        return all_or_any(compared(item, value) for value in values)

    return test


def _anything(value: Any) -> Any:
    return None if value is ABSENT or is_missing(value) else value


def element_of(attribute: Attribute) -> Attribute:
    """Return what a collection holds, as an operand."""
    shape = attribute.shape
    kind = (shape.element or Kind.ANY) if attribute.kind is Kind.COLLECTION else Kind.ANY
    return Attribute(attribute.source, attribute.path, FieldShape(shape.name, kind, enum=shape.enum), attribute.row)


def matching(leaf: TextMatch) -> Test:
    """Return what tells whether a text holds another one, or where negated, does not; False where one is missing."""
    tell = teller(Kind.TEXT)
    wanted = not leaf.negated
    starts = leaf.match is Match.STARTS_WITH

    def test(text: Any, part: Any) -> bool:
        text, part = tell(text), tell(part)
        if text is None or part is None:
            return False
        return (text.startswith(part) if starts else part in text) is wanted

    return test


def null(leaf: IsNull) -> Callable[[Any], bool]:
    """Return what tells whether a value is missing, or where negated, is there; False where its row is missing."""
    wanted = not leaf.negated
    if leaf.operand.kind not in {Kind.FLOAT, Kind.DECIMAL, Kind.ANY}:
        return lambda value: value is not ABSENT and (value is None) is wanted
    return lambda value: value is not ABSENT and is_missing(value) is wanted


def asking(leaf: PythonLeaf) -> Callable[[Any, Any, Mapping[str, object]], bool]:
    """Return what asks a function of the application's; only True holds, and where negated only False."""
    function, wanted = leaf.function, not leaf.negated
    return lambda principal, row, context: function(principal, row, context) is wanted
