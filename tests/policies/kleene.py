"""A second reading of conditions, slow and plain: three-valued logic on the tree as it was written, leaf by leaf.

It knows nothing of normal forms nor of compiled functions, and shares no code with them.
"""

import math
import operator
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from limen.authz.policy import nodes as n
from limen.authz.policy.shapes import NUMBERS, Kind
from tests.policies.orders import Status

GONE = object()
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
CLASSES: dict[Kind, tuple[type, ...]] = {
    Kind.BOOLEAN: (bool,), Kind.TEXT: (str,), Kind.INTEGER: (int,), Kind.FLOAT: (float, int),
    Kind.DECIMAL: (Decimal, int), Kind.UUID: (UUID,), Kind.AWARE: (datetime,), Kind.ENUM: (Status,),
}  # fmt: skip


def value_of(operand: n.Operand, principal: Any, row: Any) -> Any:
    """Return the value of an operand, GONE where the row before it is missing."""
    if isinstance(operand, n.Constant):
        return operand.value
    if operand.source is n.Source.SUBJECT:
        if operand.path == ("id",):
            return principal.sub or None
        return GONE if principal.attributes is None else principal.attributes.get(operand.path[0])
    for name in operand.path:
        if row is None or row is GONE:
            return GONE
        row = row.get(name) if isinstance(row, dict) else getattr(row, name)
    return row


def compared(value: Any, kind: Kind) -> Any:
    """Return a value as one of a kind; None where it is none. What is undeclared is what it happens to be."""
    if kind is Kind.ANY:
        kind = next((each for each, classes in CLASSES.items() if isinstance(value, classes)), kind)
    if not isinstance(value, CLASSES.get(kind, ())) or (isinstance(value, bool) and kind is not Kind.BOOLEAN):
        return None
    if isinstance(value, float | Decimal) and math.isnan(value):
        return None
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return "".join(each for each in value) if isinstance(value, str) else value


def pair(comparison: str, left: Any, right: Any, kinds: tuple[Kind, Kind]) -> bool | None:
    """Compare two values: True, False, or None for unknown."""
    one, other = kinds
    is_number = NUMBERS.intersection(kinds)
    if Kind.ANY in kinds and is_number:
        one, other = (
            kind if kind is not Kind.ANY else kind_of_number(value)
            for kind, value in zip(kinds, (left, right), strict=True)
        )
    elif one is Kind.ANY:
        one = other
    elif other is Kind.ANY:
        other = one
    left, right = compared(left, one), compared(right, other)
    if left is None or right is None or {Decimal, float} == {type(left), type(right)}:
        return None
    return bool(COMPARED[comparison](left, right))


def kind_of_number(value: Any) -> Kind:
    """Return which number an undeclared value is."""
    return next((kind for kind in (Kind.INTEGER, Kind.DECIMAL) if isinstance(value, CLASSES[kind])), Kind.FLOAT)


def some(answers: Iterable[bool | None]) -> bool | None:
    """Return the «or» of three-valued answers."""
    listed = list(answers)
    return True if True in listed else (None if None in listed else False)


def opposite(answer: bool | None) -> bool | None:
    """Return the «not» of a three-valued answer."""
    return None if answer is None else not answer


def truth(node: n.Node, principal: Any, row: Any) -> bool | None:  # noqa: C901, PLR0911, PLR0912 - a case a node
    """Return what a condition is: True, False, or None for unknown."""
    match node:
        case n.Not(part):
            return opposite(truth(part, principal, row))
        case n.Or(parts):
            return some(truth(part, principal, row) for part in parts)
        case n.And(parts):
            return opposite(some(opposite(truth(part, principal, row)) for part in parts))
        case n.Truth(value):
            return value
        case n.HasRole(role):
            found: bool | None = role in principal.roles
        case n.IsNull(operand):
            value = value_of(operand, principal, row)
            may_be_nan = operand.kind in {Kind.FLOAT, Kind.DECIMAL, Kind.ANY} and isinstance(value, float | Decimal)
            found = None if value is GONE else value is None or (may_be_nan and math.isnan(value))
        case n.Compare(comparison, left, right):
            values = value_of(left, principal, row), value_of(right, principal, row)
            return pair(comparison.value, *values, (left.kind, right.kind))
        case n.In(item, options):
            value, many = value_of(item, principal, row), value_of(options, principal, row)
            kind = options.kind if isinstance(options, n.Constant) else (options.shape.element or Kind.ANY)
            one = kind if item.kind is Kind.ANY and kind not in NUMBERS else item.kind
            if not isinstance(many, frozenset | tuple | list | set) or compared(value, one) is None:
                return None
            found = some(pair("==", value, each, (item.kind, kind)) for each in many)
        case n.TextMatch(match, left, right):
            text, part = (compared(value_of(each, principal, row), Kind.TEXT) for each in (left, right))
            found = None if text is None or part is None else (part in text)
            if found is not None and match is n.Match.STARTS_WITH:
                found = text[: len(part)] == part
        case n.AnyRow(relation, _, condition):
            rows = value_of(relation, principal, row)
            found = None if rows is None or rows is GONE else some(truth(condition, principal, each) for each in rows)
        case _:
            raise AssertionError(node)
    return opposite(found) if node.negated else found
