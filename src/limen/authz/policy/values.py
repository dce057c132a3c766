"""What a value is worth at the moment of a decision: told, or missing.

Missing is None, and NaN, and whatever is not of the kind that was declared: an int where an id is text would make
``!=`` true of everything. The rules are those of the databases, so that lists agree with the check:

- a bool is no number, a datetime is no date, an enumeration's member is one of that very enumeration;
- a Decimal and a float are not compared with each other; an int is compared with both;
- a time without a zone is UTC where a zone is declared, since SQLite keeps none; one with a zone is missing where none
  is declared;
- what was not declared takes the kind of what it is compared with.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isnan
from typing import Any, Final
from uuid import UUID

from limen.authz.policy.nodes import Constant, Operand
from limen.authz.policy.shapes import NUMBERS, Kind


class _Absent:
    """Stands where there is not even a place for a value: the row before it in the path is missing."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "not told"


ABSENT: Final = _Absent()
"""The value of a field of a row that is not there, of attributes that nobody has loaded, and of what the context does
not tell. Neither null nor not."""

Tell = Callable[[Any], Any]
"""Returns the value as it is compared, or None where it is missing."""

_REMEMBERED: Final = 4096
_uuids: dict[str, UUID | None] = {}


def uuid_of(text: object) -> UUID | None:
    """Return the UUID that a text is, written as RFC 9562 does (section 4); None for every other text.

    A function of the text alone; as ids come again and again, the last few thousand are remembered.
    """
    if type(text) is not str:
        return text if isinstance(text, UUID) else None
    found = _uuids.get(text)
    if found is None and len(text) == 36:
        try:
            found = UUID(text)
        except ValueError:
            return None
        if str(found) != text.lower():
            return None
        if len(_uuids) >= _REMEMBERED:
            _uuids.clear()
        _uuids[text] = found
    return found


def is_missing(value: object) -> bool:
    """Tell whether a value counts as NULL: None, and NaN."""
    if value is None:
        return True
    if isinstance(value, float):
        return isnan(value)
    return isinstance(value, Decimal) and value.is_nan()


def _text(value: Any) -> Any:
    if type(value) is str:
        return value
    # The characters themselves, whatever a subclass such as an enumeration makes of str().
    return str.__str__(value) if isinstance(value, str) else None


def _boolean(value: Any) -> Any:
    return value if value is True or value is False else None


def _integer(value: Any) -> Any:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: Any) -> Any:
    if isinstance(value, float):
        return None if isnan(value) else value
    return _integer(value)


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return None if value.is_nan() else value
    return _integer(value)


def _number(value: Any) -> Any:
    return _decimal(value) if isinstance(value, Decimal) else _float(value)


def _aware(value: Any) -> Any:
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value.astimezone(UTC)


def _naive(value: Any) -> Any:
    return value if isinstance(value, datetime) and value.tzinfo is None else None


def _date(value: Any) -> Any:
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


def _time(value: Any) -> Any:
    return value if isinstance(value, time) and value.tzinfo is None else None


def _of(kind: type) -> Tell:
    return lambda value: value if isinstance(value, kind) else None


def _nothing(_value: Any) -> Any:
    return None


_TELL: Final[Mapping[Kind, Tell]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.TEXT: _text,
    Kind.BYTES: _of(bytes),
    Kind.AWARE: _aware,
    Kind.NAIVE: _naive,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DURATION: _of(timedelta),
    Kind.UUID: _of(UUID),
    Kind.COLLECTION: _nothing,
    Kind.RELATION: _nothing,
}


def kind_of(value: object) -> Kind | None:
    """Return the kind of a value that nobody has declared; None where it is none that is compared."""
    if isinstance(value, Enum):
        return Kind.ENUM
    for kind in _UNDECLARED:
        if _TELL[kind](value) is not None:
            if kind is Kind.AWARE and value.tzinfo is None:  # type: ignore[attr-defined]
                return Kind.NAIVE
            return kind
    return None


_UNDECLARED: Final = (
    Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.UUID, Kind.AWARE, Kind.DATE, Kind.TIME,
    Kind.DURATION, Kind.BYTES,
)  # fmt: skip


def enum_of(operand: Operand) -> type[Enum] | None:
    """Return the enumeration whose members an operand has, where it is declared."""
    if isinstance(operand, Constant):
        values = operand.value if isinstance(operand.value, frozenset) else (operand.value,)
        return next((type(value) for value in values if isinstance(value, Enum)), None)
    return operand.shape.enum


def teller(kind: Kind, enum: type[Enum] | None = None) -> Tell:
    """Return the function that tells values of a declared kind, and of nothing else."""
    if kind is Kind.ENUM:
        return _of(enum) if enum is not None else _nothing
    return _TELL[kind]


def tellers(left: Operand, right: Operand) -> tuple[Tell, Tell] | None:
    """Return what tells the two sides of a comparison; None where neither was declared, so that their values decide.

    What was not declared takes the kind of the other side; of a number, any kind of number.
    """
    if left.kind is Kind.ANY and right.kind is Kind.ANY:
        return None
    told = []
    for one, other in ((left, right), (right, left)):
        if one.kind is Kind.ANY:
            told.append(_number if other.kind in NUMBERS else teller(other.kind, enum_of(other)))
        elif one.kind is Kind.UUID and not isinstance(one, Constant) and one.cast is Kind.UUID:
            told.append(uuid_of)
        else:
            told.append(teller(one.kind, enum_of(one)))
    return told[0], told[1]


def are_mixed(left: object, right: object) -> bool:
    """Tell whether one is a Decimal and the other a float, whose comparison databases do not agree on."""
    return (isinstance(left, Decimal) and isinstance(right, float)) or (
        isinstance(left, float) and isinstance(right, Decimal)
    )


def told_pair(left: object, right: object) -> tuple[Any, Any] | None:
    """Return two undeclared values as they are compared; None where one is missing, or they are of two kinds."""
    kinds = kind_of(left), kind_of(right)
    if None in kinds:
        return None
    if kinds[0] is Kind.ENUM or kinds[1] is Kind.ENUM:
        return (left, right) if type(left) is type(right) else None
    if kinds[0] in NUMBERS and kinds[1] in NUMBERS:
        return (_number(left), _number(right)) if not are_mixed(left, right) else None
    if kinds[0] is not kinds[1]:
        return None
    # An aware and a naive one are of two kinds; here both are of the same.
    tell = _TELL[kinds[0]]  # type: ignore[index]
    return tell(left), tell(right)
