"""What the fields of an application's models are: of dataclasses, pydantic models, TypedDicts and SQLAlchemy's."""

import dataclasses
import sys
import types
import typing
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from limen.authz.policy.shapes import FieldShape, Kind, Model, Shape
from limen.core.errors import ConfigurationError

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

_COLLECTIONS: Final = (list, set, frozenset, tuple, Sequence, Collection, Set)


@cache
def shape_of(model: Model) -> Shape:
    """Return what is known of a model.

    Raises:
        ConfigurationError: it is none of the kinds that have declared fields.
    """
    if not isinstance(model, type):
        raise ConfigurationError(f"{model!r} is no class")
    if hasattr(model, "__mapper__"):
        from limen.authz.compilers.sql.models import mapped_shape

        return mapped_shape(model)
    if typing.is_typeddict(model):
        return Shape(model, model.__name__, _shapes(typing.get_type_hints(model, include_extras=True)), is_mapping=True)
    if dataclasses.is_dataclass(model):
        hints = typing.get_type_hints(model, include_extras=True)
        return Shape(
            model, model.__name__, _shapes({each.name: hints[each.name] for each in dataclasses.fields(model)})
        )
    if is_pydantic(model):
        hints = {name: field.annotation for name, field in model.model_fields.items()}
        return Shape(model, model.__name__, _shapes(hints))
    raise ConfigurationError(
        f"{model.__name__} declares no fields. Write a dataclass, a pydantic model, a TypedDict or a SQLAlchemy model."
    )


def is_pydantic(model: Model) -> bool:
    """Tell whether it is a model of pydantic; which then was imported by somebody else."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(model, pydantic.BaseModel)


def field_shape(name: str, annotation: object) -> FieldShape:
    """Return what is known of a field by its annotation."""
    origin = get_origin(annotation)
    if origin is Annotated or isinstance(annotation, typing.NewType):
        inner = get_args(annotation)[0] if origin is Annotated else annotation.__supertype__  # type: ignore[union-attr]
        return field_shape(name, inner)
    if origin in {Union, types.UnionType}:
        return _union(name, get_args(annotation))
    if origin is Literal:
        return _union(name, tuple({type(each) for each in get_args(annotation)}), nullable=None in get_args(annotation))
    if origin is not None:
        return _generic(name, origin, get_args(annotation))
    return _plain(name, annotation)


def _shapes(hints: Mapping[str, Any]) -> dict[str, FieldShape]:
    return {name: field_shape(name, annotation) for name, annotation in hints.items()}


def _union(name: str, options: tuple[object, ...], *, nullable: bool = False) -> FieldShape:
    nullable = nullable or type(None) in options
    shapes = [field_shape(name, each) for each in options if each is not type(None)]
    if len({(each.kind, each.enum, each.related) for each in shapes}) == 1:
        return dataclasses.replace(shapes[0], nullable=nullable)
    return FieldShape(name, Kind.ANY, nullable, refused="its type is a union of several")


def _generic(name: str, origin: object, arguments: tuple[object, ...]) -> FieldShape:
    if origin in _COLLECTIONS:
        element = field_shape(name, arguments[0]) if arguments else FieldShape(name, Kind.ANY)
        if element.kind is Kind.RELATION:
            return FieldShape(name, Kind.RELATION, nullable=False, related=element.related, to_many=True)
        return FieldShape(name, Kind.COLLECTION, nullable=False, element=element.kind, enum=element.enum)
    return FieldShape(name, Kind.ANY, refused=f"its type {origin!r} has no equal in a database")


def _plain(name: str, annotation: object) -> FieldShape:
    if annotation in {Any, object}:
        return FieldShape(name, Kind.ANY)
    if not isinstance(annotation, type):
        return FieldShape(name, Kind.ANY, refused=f"its type {annotation!r} has no equal in a database")
    if annotation in _COLLECTIONS:
        return FieldShape(name, Kind.COLLECTION, nullable=False)
    if issubclass(annotation, Enum) and not issubclass(annotation, Flag):
        return FieldShape(name, Kind.ENUM, nullable=False, enum=annotation)
    for kind, found in _KINDS:
        if issubclass(annotation, kind):
            return FieldShape(name, found, nullable=False)
    if hasattr(annotation, "__mapper__") or dataclasses.is_dataclass(annotation) or is_pydantic(annotation):
        return FieldShape(name, Kind.RELATION, nullable=False, related=annotation)
    return FieldShape(name, Kind.ANY, refused=f"its type {annotation.__name__} has no equal in a database")
