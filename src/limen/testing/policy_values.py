"""Strategies for the values of fields, by what is known of them. Needs hypothesis."""

import typing
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument, ResolutionFailed

from limen.authz.policy.models import field_shape, is_pydantic, shape_of
from limen.authz.policy.shapes import FieldShape, Kind, Shape
from limen.core.errors import ConfigurationError

# What PostgreSQL does not store as text is left out.
_SIGNS: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_LONGEST: Final = 8
_DEEPEST: Final = 2

_CLASSES: Final[Mapping[Kind, type]] = {
    Kind.BOOLEAN: bool, Kind.INTEGER: int, Kind.FLOAT: float, Kind.DECIMAL: Decimal, Kind.TEXT: str,
    Kind.BYTES: bytes, Kind.AWARE: datetime, Kind.NAIVE: datetime, Kind.DATE: date, Kind.TIME: time,
    Kind.DURATION: timedelta, Kind.UUID: UUID,
}  # fmt: skip


def values_of(field: FieldShape, named: Iterable[object] = (), *, length: int | None = None) -> Any:
    """Return a strategy for the values of a field, None not among them; None where nothing makes them.

    Args:
        field: what is known of it.
        named: values that rules and principals name; those that the field may have come up often.
        length: how many characters a text may have; of a decimal, how many digits.
    """
    if field.is_own_type:
        return None
    made = _any(field, length)
    if made is None:
        return None
    often = [value for value in named if _fits(field, value, length)]
    return st.sampled_from(often) | made if often else made


def _any(field: FieldShape, length: int | None) -> Any:  # noqa: C901, PLR0911, PLR0912 - one for each kind
    if field.options is not None:
        return st.sampled_from(sorted(field.options))
    match field.kind:
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.INTEGER:
            most = 2 ** (field.bits - 1)
            return st.integers(-2, 3) | st.integers(-most, most - 1)
        case Kind.FLOAT:
            return st.floats(width=32, allow_nan=False, allow_infinity=False)
        case Kind.TEXT:
            most = _LONGEST if length is None else min(_LONGEST, length)
            return st.text(_SIGNS, max_size=most)
        case Kind.BYTES:
            return st.binary(max_size=_LONGEST)
        case Kind.AWARE:
            return st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
        case Kind.NAIVE:
            return st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))  # noqa: DTZ001
        case Kind.DATE:
            return st.dates(date(1970, 1, 2), date(2200, 1, 1))
        case Kind.TIME:
            return st.times()
        case Kind.DURATION:
            return st.timedeltas(timedelta(days=-1000), timedelta(days=1000))
        case Kind.UUID:
            return st.uuids()
        case Kind.ENUM if field.enum is not None:
            return st.sampled_from(list(field.enum))
        case Kind.DECIMAL:
            return st.decimals(-1000, 1000, places=2)
        case _:
            return None


def _fits(field: FieldShape, value: Any, length: int | None) -> bool:  # noqa: PLR0911 - one for each kind
    """Tell whether a value that was named somewhere may stand in the field."""
    if field.kind is Kind.ENUM:
        return isinstance(value, Enum) and isinstance(value, field.enum or Enum)
    cls = _CLASSES.get(field.kind)
    # A bool is no number and a datetime no date here, whatever Python inherits them from.
    if cls is None or type(value) is not cls:
        return False
    match value:
        case str():
            is_listed = field.options is None or value in field.options
            return is_listed and "\0" not in value and _is_plain(value) and (length is None or len(value) <= length)
        case bool():
            return True
        case int():
            return bool(-(2 ** (field.bits - 1)) <= value < 2 ** (field.bits - 1))
        case float():
            return abs(value) < 1e30
        case Decimal():
            return bool(value.is_finite() and abs(value) <= 1000 and value == round(value, 2))
        case datetime():
            return (value.tzinfo is not None) is (field.kind is Kind.AWARE)
        case _:
            return True


def instances_of(
    model: type[Any], named: tuple[object, ...], given: Mapping[str, Any], depth: int = 0
) -> st.SearchStrategy[Any]:
    """Return a strategy for instances of a model; see `limen.testing.policies.instances`.

    Raises:
        ConfigurationError: the type of a field is unknown, or a strategy is for none.
    """
    shape = shape_of(model)
    unknown = sorted(set(given) - set(shape.fields))
    if unknown:
        raise ConfigurationError(f"{shape.name} has no field {', '.join(unknown)}.")
    if shape.is_mapped:
        from limen.testing.policy_rows import columns_of

        columns = columns_of(model, named, given)
        return st.fixed_dictionaries(columns).map(lambda told: model(**told))
    hints = _hints(model)
    known = {name: field_shape(name, hints[name]) for name in shape.fields} if shape.is_mapping else shape.fields
    fields = {
        name: given[name] if name in given else _of_plain(shape, field, hints.get(name), named, depth)
        for name, field in known.items()
    }
    if shape.is_mapping:
        optional = {name: fields.pop(name) for name in getattr(model, "__optional_keys__", ())}
        return st.fixed_dictionaries(fields, optional=optional)
    if not is_pydantic(model):
        takes = {name: each for name, each in fields.items() if _is_taken(model, name)}
        return st.fixed_dictionaries(takes).map(lambda told: model(**told))

    def validated(told: Mapping[str, Any]) -> Any:
        try:
            # By what each field is called from outside, where it has an alias.
            return model.model_validate({_outside(model, name): value for name, value in told.items()})
        except ValueError:
            reject()

    return st.fixed_dictionaries(fields).map(validated)


def _is_taken(model: Any, name: str) -> bool:
    return bool(model.__dataclass_fields__[name].init)


def _outside(model: Any, name: str) -> str:
    field = model.model_fields[name]
    alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias
    return name if alias is None else str(alias)


def _of_plain(shape: Shape, field: FieldShape, hint: Any, named: tuple[object, ...], depth: int) -> Any:
    if field.related is not None:
        return _related(field, field.related, named, depth)
    made = None if field.refused else values_of(field, named)
    if made is None:
        try:
            made = st.from_type(hint)
            made.validate()
        except (InvalidArgument, ResolutionFailed) as error:
            raise ConfigurationError(
                f"Nothing is known that makes {shape.name}.{field.name}. Give a strategy: {field.name}=…."
            ) from error
        return made
    return st.none() | made if field.nullable else made


def _related(field: FieldShape, related: type[Any], named: tuple[object, ...], depth: int) -> Any:
    if field.to_many:
        # Where models refer to each other, it ends with an empty list, or with None.
        return st.just([]) if depth >= _DEEPEST else st.lists(instances_of(related, named, {}, depth + 1), max_size=3)
    if depth >= _DEEPEST and field.nullable:
        return st.none()
    made = st.deferred(lambda: instances_of(related, named, {}, depth + 1))
    return st.none() | made if field.nullable else made


def _hints(model: type[Any]) -> Mapping[str, Any]:
    if is_pydantic(model):
        return {name: field.annotation for name, field in model.model_fields.items()}
    hints = typing.get_type_hints(model, include_extras=True)
    return {name: _bare(hint) for name, hint in hints.items()}


def _bare(hint: Any) -> Any:
    while typing.get_origin(hint) in {typing.Required, typing.NotRequired}:
        hint = typing.get_args(hint)[0]
    return hint


def _is_plain(text: str) -> bool:
    """Tell whether PostgreSQL stores a text: half a surrogate pair it does not."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)
