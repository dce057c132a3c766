"""A second reading of conditions, slow and plain: three-valued logic on the tree as written; no code is shared."""

import math
import operator as o
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from limen.authz.policy import nodes as n
from limen.authz.policy.shapes import NUMBERS, Kind
from tests.policies.orders import Status

GONE = object()
ORDER = (False, None, True)
COMPARED: dict[str, Any] = {"==": o.eq, "!=": o.ne, "<": o.lt, "<=": o.le, ">": o.gt, ">=": o.ge}
CLASSES: dict[Kind, tuple[type, ...]] = {
    Kind.BOOLEAN: (bool,), Kind.TEXT: (str,), Kind.INTEGER: (int,), Kind.FLOAT: (float, int),
    Kind.DECIMAL: (Decimal, int), Kind.UUID: (UUID,), Kind.AWARE: (datetime,), Kind.ENUM: (Status,),
}  # fmt: skip


def value_of(operand: n.Operand, who: Any, row: Any) -> Any:
    """Return the value of an operand, GONE where what it is of is missing."""
    if isinstance(operand, n.Constant):
        return operand.value
    if operand.source is n.Source.SUBJECT:
        row = {"id": who.sub or None} if operand.path == ("id",) else who.attributes
    for name in operand.path:
        if row is None or row is GONE:
            return GONE
        row = row.get(name) if isinstance(row, Mapping) else getattr(row, name)
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


def pair(comparison: str, left: Any, right: Any, one: Kind, other: Kind) -> bool | None:
    """Compare two values: True, False, or None for unknown. What is undeclared is read as the kind of the other."""
    if not {one, other} & NUMBERS:
        one, other = (other if one is Kind.ANY else one), (one if other is Kind.ANY else other)
    elif any(isinstance(each, bool) or not isinstance(each, int | float | Decimal) for each in (left, right)):
        return None
    left, right = compared(left, one), compared(right, other)
    if left is None or right is None or {Decimal, float} == {type(left), type(right)}:
        return None
    return bool(COMPARED[comparison](left, right))


def truth(node: n.Node, who: Any, row: Any) -> bool | None:
    """Return what a condition is: True, False, or None for unknown, which lies between the two."""
    match node:
        case n.Not(part):
            found = truth(part, who, row)
        case n.Or(parts):
            found = max((truth(part, who, row) for part in parts), key=ORDER.index)
        case n.And(parts):
            found = min((truth(part, who, row) for part in parts), key=ORDER.index)
        case n.Truth(value):
            found = value
        case n.HasRole(role):
            found = role in who.roles
        case n.IsNull(operand):
            value = value_of(operand, who, row)
            may_be_nan = operand.kind in {Kind.FLOAT, Kind.DECIMAL, Kind.ANY} and isinstance(value, float | Decimal)
            found = None if value is GONE else value is None or (may_be_nan and math.isnan(value))
        case n.Compare(comparison, left, right):
            found = pair(comparison.value, value_of(left, who, row), value_of(right, who, row), left.kind, right.kind)
        case n.In(item, options):
            value, many = value_of(item, who, row), value_of(options, who, row)
            kind = options.kind if isinstance(options, n.Constant) else (options.shape.element or Kind.ANY)
            one = kind if item.kind is Kind.ANY and kind not in NUMBERS else item.kind
            is_known = isinstance(many, frozenset | tuple | list | set) and compared(value, one) is not None
            answers = [pair("==", value, each, item.kind, kind) for each in many] if is_known else [None]
            found = max(answers, key=ORDER.index, default=False)
        case n.TextMatch(match, left, right):
            text, part = (compared(value_of(each, who, row), Kind.TEXT) for each in (left, right))
            found = None if text is None or part is None else (part in text)
            if found and match is n.Match.STARTS_WITH:
                found = text[: len(part)] == part
        case n.AnyRow(relation, _, condition):
            rows = value_of(relation, who, row)
            answers = [None] if rows is None or rows is GONE else [truth(condition, who, each) for each in rows]
            found = max(answers, key=ORDER.index, default=False)
        case _:
            raise AssertionError(node)
    is_negated = isinstance(node, n.Not) or getattr(node, "negated", False)
    return not found if is_negated and found is not None else found
