"""What the fields of an application's models are: of dataclasses, pydantic models, TypedDicts and SQLAlchemy's."""

import dataclasses
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from enum import Enum, Flag
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from limen.authz.policy.shapes import KINDS_OF_TYPES, FieldShape, Kind, Model, Shape
from limen.core.errors import ConfigurationError

_DEEPEST: Final = 16
"""How far an annotation is followed; an alias of a type may name itself."""

_FEW: Final = 12
"""How many names a message may list."""

_PYDANTIC: Final[Mapping[str, Kind]] = {
    "AwareDatetime": Kind.AWARE,
    "EmailStr": Kind.TEXT,
    "FutureDate": Kind.DATE,
    "FutureDatetime": Kind.AWARE,
    "NaiveDatetime": Kind.NAIVE,
    "PastDate": Kind.DATE,
    "PastDatetime": Kind.AWARE,
}
"""Types of pydantic that no value is an instance of, and what their values are."""

_COLLECTIONS: Final = (list, set, frozenset, tuple, Sequence, Collection, Set, Iterable)
_MARKS: Final = (typing.Required, typing.NotRequired, typing.Final)

_shapes: Final[WeakKeyDictionary[type, Shape]] = WeakKeyDictionary()


def shape_of(model: Model) -> Shape:
    """Return what is known of a model; it is remembered.

    Raises:
        ConfigurationError: it is none of the kinds that have declared fields, or they cannot be told yet.
    """
    if not isinstance(model, type):
        raise ConfigurationError(
            f"{model!r} is no class. Write resource(Order), with a class that declares its fields."
        )
    shape = _shapes.get(model)
    if shape is None:
        shape = _shapes[model] = _shape(model)
    return shape


def field_of(shape: Shape, name: str) -> FieldShape:
    """Return a field by its name.

    Raises:
        ConfigurationError: there is none; it says which may have been meant.
    """
    found = shape.fields.get(name)
    if found is None and shape.is_mapped:
        # A model that was imported since may have brought a relation along.
        shape = _shapes[shape.model] = _shape(shape.model)
        found = shape.fields.get(name)
    if found is not None:
        return found
    if name in shape.other_names:
        raise ConfigurationError(f"{shape.name} has no field {name}. Write {shape.other_names[name]}.")
    if hasattr(shape.model, name) and shape.model is not object:
        raise ConfigurationError(
            f"{shape.name}.{name} is no field but code. Compare the fields that it reads, or write python(…)."
        )
    raise ConfigurationError(f"{shape.name} has no field {name}.{meant(name, shape.fields)}")


def meant(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return a sentence with the names that may have been meant; some of all where none is like it.

    Args:
        name: as written.
        names: those that there are.
        prefix: what stands before each in the sentence.
    """
    from difflib import get_close_matches

    known = sorted(names)
    near = get_close_matches(name, known, n=3)
    if near:
        return f" Did you mean {' or '.join(prefix + each for each in near)}?"
    listed = ", ".join(prefix + each for each in known[:_FEW])
    return f" Write one of {listed}{', …' if len(known) > _FEW else ''}." if listed else ""


def field_shape(name: str, annotation: object) -> FieldShape:
    """Return what is known of a field by its annotation."""
    return _annotated(name, annotation, 0)


def _shape(model: type[Any]) -> Shape:
    name = model.__name__
    if "__mapper__" in vars(model) or hasattr(model, "__mapper__"):
        from limen.authz.compilers.sql.models import mapped_shape

        return mapped_shape(model)
    if typing.is_typeddict(model):
        optional: frozenset[str] = getattr(model, "__optional_keys__", frozenset())
        fields = _fields(_hints(model))
        loose = {key: dataclasses.replace(field, nullable=True) for key, field in fields.items() if key in optional}
        return Shape(model, name, {**fields, **loose}, is_mapping=True)
    if dataclasses.is_dataclass(model):
        hints = _hints(model)
        return Shape(model, name, _fields({each.name: hints[each.name] for each in dataclasses.fields(model)}))
    if is_pydantic(model):
        return _pydantic_shape(model)
    raise ConfigurationError(
        f"{name} declares no fields. Write a dataclass, a pydantic model, a TypedDict or a SQLAlchemy model."
    )


def is_pydantic(model: type[Any]) -> bool:
    """Tell whether a class is a model of pydantic."""
    return hasattr(model, "__pydantic_complete__") and hasattr(model, "model_fields")


def _pydantic_shape(model: type[Any]) -> Shape:
    if not model.__pydantic_complete__ and model.model_rebuild(raise_errors=False) is not True:
        raise ConfigurationError(
            f"{model.__name__} names types that are not known yet. Import them first, or call {model.__name__}"
            ".model_rebuild()."
        )
    aliases = {}
    for name, field in model.model_fields.items():
        for alias in (field.alias, field.validation_alias, field.serialization_alias):
            if isinstance(alias, str) and alias not in model.model_fields:
                aliases[alias] = name
    hints = {name: field.annotation for name, field in model.model_fields.items()}
    return Shape(model, model.__name__, _fields(hints), other_names=aliases)


def _hints(model: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(model, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise ConfigurationError(
            f"The annotations of {model.__name__} cannot be read: {error}. Write types that its module can name."
        ) from error


def _fields(hints: Mapping[str, Any]) -> dict[str, FieldShape]:
    return {name: field_shape(name, annotation) for name, annotation in hints.items()}


def _annotated(name: str, annotation: Any, depth: int) -> FieldShape:
    plain = _unwrapped(annotation)
    origin, arguments = get_origin(plain), get_args(plain)
    if depth > _DEEPEST or plain is None:
        return _refused(name, "its type names itself; compare what is in it by python(…)")
    if origin in {Union, types.UnionType}:
        return _union(name, arguments, depth)
    if origin is Literal:
        return _literal(name, arguments)
    if origin is not None:
        return _generic(name, origin, arguments, depth)
    return _plain(name, plain)


def _unwrapped(annotation: Any) -> Any:
    """Return what an annotation stands for: of NewType, Annotated, NotRequired and named aliases; None if of itself."""
    for _ in range(_DEEPEST):
        if get_origin(annotation) in {Annotated, *_MARKS}:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation
    return None


def _refused(name: str, why: str) -> FieldShape:
    return FieldShape(name, Kind.ANY, refused=why)


def _union(name: str, options: tuple[Any, ...], depth: int) -> FieldShape:
    nullable = type(None) in options
    shapes = [_annotated(name, each, depth + 1) for each in options if each is not type(None)]
    for shape in shapes:
        if shape.refused:
            return shape
    nullable = nullable or any(shape.nullable and shape.kind is not Kind.ANY for shape in shapes)
    if len({(each.kind, each.enum, each.element, each.related, each.to_many) for each in shapes}) == 1:
        options_of = [each.options for each in shapes if each.options is not None]
        listed = frozenset().union(*options_of) if len(options_of) == len(shapes) else None
        return dataclasses.replace(shapes[0], nullable=nullable, options=listed)
    if {each.kind for each in shapes} == {Kind.INTEGER, Kind.FLOAT}:
        return FieldShape(name, Kind.FLOAT, nullable)
    kinds = " or ".join(each.kind.value for each in shapes)
    return _refused(name, f"it may be {kinds}, which no column can be; give it one type")


def _literal(name: str, values: tuple[Any, ...]) -> FieldShape:
    told = [value for value in values if value is not None]
    nullable = len(told) < len(values)
    shape = _union(name, tuple(dict.fromkeys(type(value) for value in told)), 0)
    texts = frozenset(told) if told and all(type(value) is str for value in told) else None
    return dataclasses.replace(shape, nullable=nullable, options=texts)


def _generic(name: str, origin: Any, arguments: tuple[Any, ...], depth: int) -> FieldShape:
    if origin not in _COLLECTIONS:
        return _no_equal(name, origin)
    several = [each for each in arguments if each is not Ellipsis]
    element = _union(name, tuple(several), depth) if several else FieldShape(name, Kind.ANY)
    if element.refused:
        return element
    if element.kind is Kind.RELATION and not element.to_many:
        return FieldShape(name, Kind.RELATION, nullable=False, related=element.related, to_many=True)
    if element.kind in {Kind.RELATION, Kind.COLLECTION}:
        return _refused(name, "it is a collection of collections; compare what is in it by python(…)")
    return FieldShape(name, Kind.COLLECTION, nullable=False, element=element.kind, enum=element.enum)


def _plain(name: str, annotation: Any) -> FieldShape:
    if annotation in (Any, object):
        return FieldShape(name, Kind.ANY)
    if isinstance(annotation, str | TypeVar):
        return _refused(name, f"its type is the name {str(annotation)!r}; write the type itself")
    if annotation in _COLLECTIONS:
        return FieldShape(name, Kind.COLLECTION, nullable=False)
    return _of_class(name, annotation) if isinstance(annotation, type) else _no_equal(name, annotation)


def _of_class(name: str, cls: type[Any]) -> FieldShape:
    if issubclass(cls, Flag):
        return _refused(name, "its members are flags, which are sets; compare them by python(…)")
    if issubclass(cls, Enum):
        return FieldShape(name, Kind.ENUM, nullable=False, enum=cls)
    kind = next((kind for known, kind in KINDS_OF_TYPES if issubclass(cls, known)), None)
    if kind is None and cls.__module__.startswith("pydantic."):
        kind = _PYDANTIC.get(cls.__name__)
    if kind is not None:
        return FieldShape(name, kind, nullable=False)
    return FieldShape(name, Kind.RELATION, nullable=False, related=cls) if _is_model(cls) else _no_equal(name, cls)


def _is_model(annotation: type[Any]) -> bool:
    return (
        hasattr(annotation, "__mapper__")
        or dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
        or is_pydantic(annotation)
    )


def _no_equal(name: str, annotation: Any) -> FieldShape:
    called = getattr(annotation, "__name__", repr(annotation))
    return _refused(name, f"values of {called} do not compare the same in Python and in SQL; ask them by python(…)")
