"""Numbers that a principal brings along, made into ones that a column can be compared with exactly.

A driver refuses an integer of more than 64 bits, and a database may round before it compares; neither is to decide.
"""

import math
from decimal import Decimal
from typing import Any, Final

from limen.authz.policy.nodes import Comparison

SMALLEST: Final = -(1 << 63)
LARGEST: Final = (1 << 63) - 1
_LONGEST: Final = 1000
"""How many digits a decimal may have, before and after the point, to be asked of a database."""

_UPWARDS: Final = frozenset({Comparison.GREATER, Comparison.GREATER_OR_EQUAL})


def as_integer(value: Any) -> int | None:
    """Return the number as an integer, or None where it is none."""
    if isinstance(value, int):
        return value
    return int(value) if math.isfinite(value) and value == int(value) else None


def as_float(value: Any) -> float | None:
    """Return the number as a float, or None where something would be lost."""
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if found == value else None


def as_decimal(value: Any) -> Decimal | None:
    """Return the number as a decimal, or None where it is no number, or longer than a database takes."""
    found = Decimal(value)
    return found if found.is_finite() and abs(found.adjusted()) < _LONGEST else None


def whole(comparison: Comparison, value: Any) -> tuple[Comparison, int] | bool:
    """Return the comparison of an integer column with any number as one with an integer of 64 bits.

    Returns:
        a comparison and an integer; or True where it is true of every integer, False where of none.
    """
    if comparison in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
        found = as_integer(value)
        if found is None or not SMALLEST <= found <= LARGEST:
            return comparison is Comparison.NOT_EQUAL
        return comparison, found
    upwards = comparison in _UPWARDS
    if value < SMALLEST or value > LARGEST:
        return (value < SMALLEST) is upwards
    if isinstance(value, int):
        return comparison, value
    # Above 2.5 is above 2, and from 2.5 on is above 2 as well; downwards likewise.
    if value == int(value):
        return comparison, int(value)
    return (Comparison.GREATER, math.floor(value)) if upwards else (Comparison.LESS, math.ceil(value))
