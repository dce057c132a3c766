"""Constants of a policy: each must be comparable with its field, in Python and in SQL alike, or it is refused.

A text that looks like a number, a float beside a Decimal, a time without a zone: Python and every database have their
own answer to these. None of them is asked.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from limen.authz.policy.nodes import Attribute, Comparison, Constant, Operand
from limen.authz.policy.shapes import NUMBERS, FieldShape, Kind
from limen.core.errors import ConfigurationError

MOST_OPTIONS: Final = 1000
"""How many values a policy may list; more of them are data, and belong into a table."""

_KINDS: Final[tuple[tuple[type, Kind], ...]] = (
    (bool, Kind.BOOLEAN),
    (int, Kind.INTEGER),
    (float, Kind.FLOAT),
    (Decimal, Kind.DECIMAL),
    (str, Kind.TEXT),
    (bytes, Kind.BYTES),
    (datetime, Kind.AWARE),
    (date, Kind.DATE),
    (time, Kind.TIME),
    (timedelta, Kind.DURATION),
    (UUID, Kind.UUID),
)


def constant(shape: FieldShape, value: object, where: str) -> Constant:
    """Return a constant that is compared with a field, as a value of exactly the field's kind.

    Args:
        shape: the field.
        value: as written in the policy.
        where: what messages call the field.

    Raises:
        ConfigurationError: it cannot be compared with the field, or means different things in Python and in SQL.
    """
    kind = shape.kind
    if kind is Kind.ENUM and shape.enum is not None:
        return Constant(_member(shape.enum, value, where), Kind.ENUM)
    given = _plain(value, where)
    if kind is Kind.ANY:
        return given
    if given.kind is kind:
        return given
    exact = _exact(given, kind)
    if exact is None:
        raise ConfigurationError(
            f"{where} is {kind.value} and {value!r} is {given.kind.value}: they are never compared. {_advice(kind)}"
        )
    return exact


def constants(shape: FieldShape, values: Iterable[object], where: str) -> Constant:
    """Return the constants that a field may be one of, as a frozenset.

    Raises:
        ConfigurationError: one of them is refused, or there are too many.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ConfigurationError(
            f"{where}: in_() and not_in() take a list of values, not {values!r}. Write [{values!r}]."
        )
    found: set[object] = set()
    kinds: set[Kind] = set()
    for count, value in enumerate(values):
        if count >= MOST_OPTIONS:
            raise ConfigurationError(
                f"{where} is compared with more than {MOST_OPTIONS} values. Keep them in a table, and compare with it."
            )
        if value is None:
            raise ConfigurationError(
                f"{where}: None is in the list, and nothing equals None. Leave it out, and write | {where}.is_null()."
            )
        one = constant(shape, value, where)
        found.add(one.value)
        kinds.add(one.kind)
    if len(kinds) > 1:
        raise ConfigurationError(f"{where} is compared with values of different kinds. Write one in_() for each kind.")
    return Constant(frozenset(found), kinds.pop() if kinds else shape.kind)


def kinds_fit(left: Operand, right: Operand, comparison: Comparison) -> None:
    """Check that two operands can be compared.

    Raises:
        ConfigurationError: they cannot.
    """
    one, other = left.kind, right.kind
    if Kind.ANY in {one, other}:
        return
    if one is other:
        enums = [side.shape.enum for side in (left, right) if isinstance(side, Attribute)]
        if one is not Kind.ENUM or len(set(enums)) < 2:
            return
    if {one, other} <= NUMBERS and {one, other} != {Kind.FLOAT, Kind.DECIMAL}:
        return
    raise ConfigurationError(f"{one.value} {comparison.value} {other.value}: they are never compared.")


def _member(kind: type[Enum], value: object, where: str) -> Enum:
    if isinstance(value, kind):
        return value
    for name, member in kind.__members__.items():
        if type(value) is type(member.value) and value == member.value or value == name:
            raise ConfigurationError(f"{where} is one of {kind.__name__}, not {value!r}. Write {kind.__name__}.{name}.")
    names = ", ".join(f"{kind.__name__}.{name}" for name in kind.__members__)
    raise ConfigurationError(f"{where} is one of {kind.__name__}, not {value!r}. Write one of {names}.")


def _plain(value: object, where: str) -> Constant:
    if isinstance(value, Enum) and not isinstance(value, str | int):
        return Constant(value, Kind.ENUM)
    if isinstance(value, Enum):
        value = value.value
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return _checked(value, name, where)
    raise ConfigurationError(f"{where} is compared with {value!r}, which no database can hold.")


def _checked(value: Any, kind: Kind, where: str) -> Constant:
    if kind in {Kind.FLOAT, Kind.DECIMAL} and not math.isfinite(value):
        raise ConfigurationError(f"{where} is compared with {value!r}, which is no number. Leave the comparison out.")
    if kind is Kind.AWARE:
        if value.tzinfo is None:
            return Constant(value, Kind.NAIVE)
        return Constant(value.astimezone(UTC), kind)
    return Constant(value, kind)


def _exact(given: Constant, kind: Kind) -> Constant | None:
    """Return a number as one of another kind, where nothing is lost."""
    value = given.value
    match given.kind, kind:
        case Kind.INTEGER, Kind.DECIMAL:
            return Constant(Decimal(value), kind)
        case Kind.INTEGER, Kind.FLOAT if int(float(value)) == value:
            return Constant(float(value), kind)
        case ((Kind.FLOAT | Kind.DECIMAL), Kind.INTEGER) if int(value) == value:
            return Constant(int(value), kind)
        case _:
            return None


def _advice(kind: Kind) -> str:
    return f"Write a value that is {kind.value}."
