"""Numbers that a principal brings along, made into ones that a column can be compared with exactly.

A driver refuses an integer of more than 64 bits, and a database may round before it compares; neither is to decide.
"""

import math
from decimal import Decimal
from typing import Any, Final, TypeAlias

from limen.authz.policy.nodes import Comparison
from limen.authz.policy.shapes import Kind

_SMALLEST: Final = -(1 << 63)
_LARGEST: Final = (1 << 63) - 1
_LONGEST: Final = 1000
"""How many digits a decimal may have, before the point and after it, to be asked of a database."""

_LESS: Final = frozenset({Comparison.LESS, Comparison.LESS_OR_EQUAL})

Settled: TypeAlias = tuple[Comparison, Any] | bool
"""A comparison with a number that the column's type has; or whether it is true of every number there is in it."""


def settled(kind: Kind, comparison: Comparison, value: Any) -> Settled:
    """Return the comparison of a column with any number as one with a number that the column's type has.

    Args:
        kind: of the column.
        comparison: the column's value stands on its left.
        value: int, float or Decimal, no NaN.
    """
    nearest = _nearest(kind, value)
    if nearest is None:
        # Further out than any number of the column's.
        if comparison is Comparison.NOT_EQUAL:
            return True
        return comparison is not Comparison.EQUAL and (value > 0) is (comparison in _LESS)
    if nearest == value:
        return comparison, nearest
    # There is nothing in between: less than 2.5 is at most 2, and less than 3.
    if comparison in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
        return comparison is Comparison.NOT_EQUAL
    if comparison in _LESS:
        return (Comparison.LESS if nearest > value else Comparison.LESS_OR_EQUAL), nearest
    return (Comparison.GREATER_OR_EQUAL if nearest > value else Comparison.GREATER), nearest


def equal(kind: Kind, value: Any) -> Any:
    """Return the number as the column's type has it; None where it has none that equals it."""
    nearest = _nearest(kind, value)
    return nearest if nearest is not None and nearest == value else None


def _nearest(kind: Kind, value: Any) -> Any:
    """Return a number that the column's type has, with none between it and the value; None where there is none."""
    if kind is Kind.INTEGER:
        if not _SMALLEST <= value <= _LARGEST:
            return None
        return math.floor(value)
    if kind is Kind.FLOAT:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    found = Decimal(value)
    if not found.is_finite() or found.adjusted() >= _LONGEST:
        return None
    return found if found.is_zero() or found.adjusted() > -_LONGEST else Decimal(0)
