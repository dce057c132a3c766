"""Constants of a policy: each must be comparable with its field, in Python and in SQL alike, or it is refused.

A text that looks like a number, a float beside a Decimal, a time without a zone: Python and every database have their
own answer to these. None of them is asked.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from limen.authz.policy.models import meant
from limen.authz.policy.nodes import Attribute, Comparison, Constant, Operand, Source
from limen.authz.policy.shapes import KINDS_OF_TYPES, NUMBERS, FieldShape, Kind
from limen.core.errors import ConfigurationError

MOST_OPTIONS: Final = 1000
"""How many values a policy may list; more of them are data, and belong into a table."""

_MOST_DIGITS: Final = 15
"""The digits of a Decimal that SQLite keeps, which has only floats (IEEE 754)."""
_LARGEST_EXPONENT: Final = 300


def constant(shape: FieldShape, value: object, where: str) -> Constant:
    """Return a constant that is compared with a field, as a value of exactly the field's kind.

    Args:
        shape: the field.
        value: as written in the policy.
        where: what messages call the field.

    Raises:
        ConfigurationError: it cannot be compared with the field, or means different things in Python and in SQL.
    """
    if shape.kind is Kind.ENUM and shape.enum is not None:
        return Constant(_member(shape.enum, value, where), Kind.ENUM)
    given = _plain(value, where)
    if shape.kind is not Kind.ANY and given.kind is not shape.kind:
        exact = _exact(given, shape.kind)
        if exact is None:
            raise ConfigurationError(
                f"{where} is {shape.kind.value} and {value!r} is {given.kind.value}, and these are never compared. "
                f"Write {_spelling(given, shape.kind)}."
            )
        given = exact
    if shape.options is not None and given.value not in shape.options:
        raise ConfigurationError(f"{where} is never {value!r}.{meant(str(given.value), shape.options)}")
    if given.kind is Kind.INTEGER and not -(2 ** (shape.bits - 1)) <= given.value < 2 ** (shape.bits - 1):
        raise ConfigurationError(
            f"{where} holds integers of {shape.bits} bits, and {value} is none. Write another, or widen the column."
        )
    return given


def constants(shape: FieldShape, values: Iterable[object], where: str) -> Constant:
    """Return the constants that a field may be one of, as a frozenset.

    Raises:
        ConfigurationError: one of them is refused, or there are too many.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{where}: in_() and not_in() take a list, not {values!r}. Write [{values!r}].")
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
        raise ConfigurationError(
            f"{where} is compared with a list of {' and '.join(sorted(kind.value for kind in kinds))}. "
            "Write one in_() for each."
        )
    return Constant(frozenset(found), kinds.pop() if kinds else shape.kind)


def kinds_fit(left: Operand, right: Operand, comparison: Comparison) -> None:
    """Check that two operands can be compared.

    Raises:
        ConfigurationError: they cannot.
    """
    one, other = left.kind, right.kind
    sides = [side for side in (left, right) if isinstance(side, Attribute)]
    if all(side.source is Source.RESOURCE for side in sides) and any(side.shape.is_own_type for side in sides):
        _check_own_type(left, right, comparison)
    if len(sides) > 1 and any(side.shape.constants_only for side in sides):
        raise ConfigurationError(
            f"{_called(left)} {comparison.value} {_called(right)}: the database compares an enumeration of texts with "
            "constants only. Write Enum(Status), with a class, or compare with a constant."
        )
    if Kind.ANY in {one, other}:
        return
    if one is other:
        enums = {side.shape.enum for side in sides}
        if one is not Kind.ENUM or len(enums) < 2:
            return
    if {one, other} <= NUMBERS and {one, other} != {Kind.FLOAT, Kind.DECIMAL}:
        return
    advice = "Give both the same type"
    if any(side.source is Source.SUBJECT and side.path == ("id",) for side in sides):
        advice = (
            "subject.id is the account's id at limen; let attributes= tell the application's own under another name"
        )
    raise ConfigurationError(
        f"{_called(left)} is {_kind(left)} and {_called(right)} is {_kind(right)}, and these are never compared. "
        f"{advice}."
    )


def _check_own_type(left: Operand, right: Operand, comparison: Comparison) -> None:
    """Refuse what limen cannot ask a column of that the application's own type stores: it binds values, and no more."""
    called = f"{_called(left)} {comparison.value} {_called(right)}"
    if isinstance(left, Attribute) and isinstance(right, Attribute):
        raise ConfigurationError(
            f"{called}: two columns are compared as they are stored, and a type of your own stores one of them. Write "
            "python(…, sql=…)."
        )
    if Kind.TEXT in {left.kind, right.kind} and comparison not in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
        raise ConfigurationError(
            f"{called}: texts are ordered as they are stored, by a type of your own. Write == or .in_([…])."
        )


def _called(operand: Operand) -> str:
    if isinstance(operand, Constant):
        return repr(operand.value)
    whose = operand.row.name if operand.row is not None else operand.source.value
    return ".".join((whose, *operand.path))


def _kind(operand: Operand) -> str:
    enum = operand.shape.enum if isinstance(operand, Attribute) else None
    return enum.__name__ if enum is not None else operand.kind.value


def _member(kind: type[Enum], value: object, where: str) -> Enum:
    if isinstance(value, kind):
        return value
    members, called = kind.__members__, kind.__name__
    for name, member in members.items():
        if value == name or (type(value) is type(member.value) and value == member.value):
            raise ConfigurationError(
                f"{where} is a member of {kind.__name__}, not {value!r}. Write {kind.__name__}.{name}."
            )
    raise ConfigurationError(
        f"{where} is a member of {called}, and {value!r} is none.{meant(str(value), members, called + '.')}"
    )


def _plain(value: object, where: str) -> Constant:
    if isinstance(value, Enum):
        if not isinstance(value, str | int):
            return Constant(value, Kind.ENUM)
        # Compares and hashes as its value does, whatever the class makes of it.
        value = value.value
    for kind, name in KINDS_OF_TYPES:
        if isinstance(value, kind):
            return _checked(value, name, where)
    raise ConfigurationError(
        f"{where} is compared with {value!r}, which no column holds. Write a number, a text, a time or a member."
    )


def _checked(value: Any, kind: Kind, where: str) -> Constant:
    """Return a value as the databases can hold it."""
    match kind:
        case Kind.INTEGER:
            value = int(value)
        case Kind.FLOAT | Kind.DECIMAL:
            if not (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
                raise ConfigurationError(f"{where} is compared with {value}, which is no number. Leave that out.")
            if kind is Kind.DECIMAL:
                _check_digits(value, where)
        case Kind.TEXT:
            value = str.__str__(value)
            if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
                raise ConfigurationError(
                    f"{where} is compared with {value!r}, which no database stores. Leave out NUL and lone surrogates."
                )
        case Kind.AWARE if value.utcoffset() is None:
            kind = Kind.NAIVE
        case Kind.AWARE:
            try:
                value = value.astimezone(UTC)
            except OverflowError:
                raise ConfigurationError(
                    f"{where} is compared with {value}, which is no time in UTC. Write one after the year 1."
                ) from None
        case Kind.TIME if value.tzinfo is not None:
            raise ConfigurationError(f"{where} is compared with {value!r}. Write it without a time zone.")
        case _:
            pass
    return Constant(value, kind)


def _check_digits(value: Decimal, where: str) -> None:
    digits = len(value.normalize().as_tuple().digits)
    if value and (digits > _MOST_DIGITS or abs(value.adjusted()) > _LARGEST_EXPONENT):
        raise ConfigurationError(
            f"{where} is compared with {value}, of which SQLite keeps {_MOST_DIGITS} digits. Write fewer."
        )


def _exact(given: Constant, kind: Kind) -> Constant | None:
    """Return a number as one of another kind, where nothing is lost."""
    value = given.value
    match given.kind, kind:
        case Kind.INTEGER, Kind.DECIMAL if abs(value) < 10**_MOST_DIGITS:
            return Constant(Decimal(value), kind)
        case Kind.INTEGER, Kind.FLOAT if abs(value) <= 2**53:
            return Constant(float(value), kind)
        case ((Kind.FLOAT | Kind.DECIMAL), Kind.INTEGER) if int(value) == value:
            return Constant(int(value), kind)
        case _:
            return None


_SPELLED: Final = {
    Kind.BOOLEAN: "True or False",
    Kind.INTEGER: "an int",
    Kind.FLOAT: "a float",
    Kind.DECIMAL: "a Decimal",
    Kind.TEXT: "a text",
    Kind.BYTES: "bytes",
    Kind.AWARE: "a datetime with its zone",
    Kind.NAIVE: "a datetime without a zone",
    Kind.DATE: "a date",
    Kind.TIME: "a time",
    Kind.DURATION: "a timedelta",
    Kind.UUID: "a UUID",
}


def _spelling(given: Constant, kind: Kind) -> str:
    """Return how the value is written so that it is of the kind; what the kind is, where that is not certain."""
    value = given.value
    told = _SPELLED.get(kind, f"a value that is {kind.value}")
    match given.kind, kind:
        case Kind.TEXT, Kind.INTEGER if value.isascii() and value.lstrip("-").isdigit():
            told = value.lstrip("0") or "0"
        case Kind.TEXT, Kind.UUID:
            told = f"UUID({value!r})"
        case ((Kind.INTEGER | Kind.UUID), Kind.TEXT):
            told = repr(str(value))
        case Kind.FLOAT, Kind.DECIMAL:
            told = f'Decimal("{value!r}")'
        case Kind.DECIMAL, Kind.FLOAT:
            told = repr(float(value))
        case Kind.BOOLEAN, Kind.INTEGER:
            told = repr(int(value))
        case Kind.INTEGER, Kind.BOOLEAN if value in {0, 1}:
            told = repr(bool(value))
        case Kind.NAIVE, Kind.AWARE:
            told = "it with its zone, such as tzinfo=UTC"
        case Kind.AWARE, Kind.NAIVE:
            told = "it without a zone, or declare the field with one"
        case ((Kind.AWARE | Kind.NAIVE), Kind.DATE):
            told = repr(value.date())
        case _:
            pass
    return told
