"""What the fields of a SQLAlchemy model are, as far as policies are concerned.

A column is readable where its values compare the same in Python, in SQLite and in PostgreSQL. Every other one is
refused, with what to write instead: a policy that the check and the list read differently is a hole.
"""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import NoInspectionAvailable, SQLAlchemyError
from sqlalchemy.ext.associationproxy import AssociationProxy
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import ColumnProperty, CompositeProperty, Mapped, Mapper, RelationshipProperty, SynonymProperty
from sqlalchemy.orm.base import InspectionAttr

from limen.authz.policy.models import field_shape
from limen.authz.policy.shapes import NUMBERS, FieldShape, Kind, Model, Shape
from limen.core.errors import ConfigurationError

_SIMPLE: Final[tuple[tuple[type[Any], Kind], ...]] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.LargeBinary, Kind.BYTES),
    (sa.Date, Kind.DATE),
    (sa.Interval, Kind.DURATION),
)

_EXACT_COLLATION: Final = re.compile(
    r"(?:C|POSIX|BINARY|ucs_basic|default|C\.[\w-]+|pg_c_utf8|unicode|[\w-]+-x-icu|[a-z]{2,3}_[A-Z]{2}(?:[.@][\w.@-]+)?)\Z"
)
"""Collations in which only the same text is equal: SQLite's BINARY, and those that PostgreSQL brings along."""

_CODE: Final = frozenset(
    {
        "bind_expression", "bind_processor", "coerce_compared_value", "column_expression", "comparator_factory",
        "literal_processor", "process_bind_param", "process_literal_param", "process_result_value", "result_processor",
    }
)  # fmt: skip
"""What a type of somebody else's may say about how values are stored and compared."""

_DIALECTS: Final[tuple[Callable[[], sa.Dialect], ...]] = (sqlite.dialect, postgresql.dialect)

_SINGLE_PRECISION: Final = 24
"""The most binary digits of a ``FLOAT(n)`` that PostgreSQL stores in four bytes (its manual, section 8.1.3)."""


def mapped_shape(model: Model) -> Shape:
    """Return what is known of a model that SQLAlchemy maps.

    Raises:
        ConfigurationError: it is mapped to no table, or a relation names a class that is not imported yet.
    """
    name = model.__name__
    try:
        mapper: Mapper[Any] = sa.inspect(model)
        mapper.registry.configure(cascade=True)
        properties = dict(mapper.attrs)
    except NoInspectionAvailable:
        raise ConfigurationError(f"{name} is mapped to no table. Write resource() with a class that has one.") from None
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"The models of {name} cannot be put together: {error}. Import all of them before the policies."
        ) from error
    if any(each.concrete for each in mapper.self_and_descendants) or not isinstance(mapper.local_table, sa.Table):
        raise ConfigurationError(
            f"{name} is mapped to no table of its own alone: to an expression, or by concrete inheritance. "
            "Write a model of the table, or of joined or single-table inheritance."
        )
    fields: dict[str, FieldShape] = {}
    for key, described in mapper.all_orm_descriptors.items():
        fields[key] = _described(mapper, str(key), properties.get(key), described)
    for key, shape in fields.items():
        declared = _declared(model, key)
        if declared is not None and not shape.refused and shape.kind is not Kind.RELATION:
            fields[key] = _agreeing(shape, declared)
    return Shape(model, name, fields, is_mapped=True)


def _described(mapper: Mapper[Any], name: str, found: object, described: InspectionAttr) -> FieldShape:
    match found:
        case RelationshipProperty():
            return _relation(name, found)
        case SynonymProperty():
            # The name that the loaded state has.
            target = mapper.attrs.get(found.name)
            shape = _described(mapper, found.name, target, described)
            return shape if target is not None else _refused(name, "it is a synonym of code; compare what that reads")
        case CompositeProperty():
            return _refused(name, f"it is made of several columns; compare {' and '.join(_columns_of(found))}")
        case ColumnProperty():
            return _column(name, found)
        case _:
            return _code(name, described)


def _column(name: str, found: ColumnProperty[Any]) -> FieldShape:
    if _compares_by_own_code(found):
        return _refused(name, "it compares by a comparator of your own; write python(…, sql=…)")
    column = found.columns[0]
    if not isinstance(column, sa.Column):
        return _refused(name, "it is an expression and no column; write python(…, sql=…)")
    return _typed(name, column.type, nullable=all(getattr(each, "nullable", True) for each in found.columns))


def _compares_by_own_code(found: ColumnProperty[Any] | RelationshipProperty[Any]) -> bool:
    return not found.comparator_factory.__module__.startswith("sqlalchemy.")


def _columns_of(composite: CompositeProperty[Any]) -> list[str]:
    return [each.key for each in composite.props]


def _code(name: str, described: InspectionAttr) -> FieldShape:
    if isinstance(described, AssociationProxy):
        way = f"{described.target_collection}.{described.value_attr}"
        return _refused(
            name,
            f"it is a proxy of {way}; write .{described.target_collection}.any(…), or .{way} where it leads to one",
        )
    if isinstance(described, hybrid_property | hybrid_method):
        return _refused(
            name, "it is a hybrid, whose Python and SQL may disagree; compare its columns, or write python(…, sql=…)"
        )
    return _refused(name, "it is code; compare the columns that it reads, or write python(…, sql=…)")


def _relation(name: str, relation: RelationshipProperty[Any]) -> FieldShape:
    to_many = bool(relation.uselist)
    shape = FieldShape(name, Kind.RELATION, related=relation.mapper.class_, to_many=to_many)
    if relation.lazy in {"dynamic", "write_only"}:
        return replace(shape, refused=f"its rows are never loaded (lazy={relation.lazy!r}); write python(…, sql=…)")
    holds = relation.collection_class
    if to_many and holds is not None and not (isinstance(holds, type) and issubclass(holds, list | set)):
        return replace(shape, refused="its collection is neither a list nor a set; write python(…, sql=…)")
    if _compares_by_own_code(relation):
        return replace(shape, refused="it compares by a comparator of your own; write python(…, sql=…)")
    if relation.secondary is not None and not isinstance(relation.secondary, sa.Table):
        return replace(shape, refused="it leads through something that is no table; write python(…, sql=…)")
    if not relation.entity.is_mapper:
        return replace(shape, refused="it leads to an alias of a model; write python(…, sql=…)")
    return shape


def _refused(name: str, why: str) -> FieldShape:
    return FieldShape(name, Kind.ANY, refused=why)


def _typed(name: str, kind: Any, *, nullable: bool) -> FieldShape:
    """Return what a column of a type is; of a type with variants, where all of them agree."""
    shape = _of_type(name, kind)
    for dialect, variant in getattr(kind, "_variant_mapping", {}).items():
        other = _of_type(name, variant)
        if other.refused:
            shape = replace(other, refused=f"on {dialect}, {other.refused}")
        elif other.kind is not shape.kind and not shape.refused:
            shape = _refused(name, f"it is {shape.kind.value}, and on {dialect} {other.kind.value}; give it one type")
        else:
            shape = replace(shape, bits=min(shape.bits, other.bits))
    return replace(shape, nullable=nullable)


def _of_type(name: str, kind: Any) -> FieldShape:
    if _has_own_code(type(kind)) or hasattr(kind, "limen_type"):
        return _by_own_code(name, kind)
    return _of_plain_type(name, kind)


def _of_plain_type(name: str, kind: Any) -> FieldShape:
    for cls, found in _SIMPLE:
        if isinstance(kind, cls):
            return FieldShape(name, found)
    if isinstance(kind, sa.types.TypeDecorator) and not isinstance(kind, sa.PickleType):
        return _decorated(name, kind)
    for cls, read in _READ:
        if isinstance(kind, cls):
            return read(name, kind)
    return _no_equal(name, kind)


def _no_equal(name: str, kind: Any) -> FieldShape:
    called = type(kind).__name__
    return _refused(
        name, f"its type {called} does not compare the same in Python, SQLite and PostgreSQL; write python(…, sql=…)"
    )


def _by_own_code(name: str, kind: Any) -> FieldShape:
    """Return what a type is that the application's own code reads and writes, where it says so."""
    called, told = type(kind).__name__, getattr(kind, "limen_type", None)
    if told is None:
        return _refused(
            name,
            f"limen cannot see whether what {called} stores is equal and ordered as its values are; "
            f"where it is, write limen_type = str (or UUID, datetime, …) in {called}",
        )
    shape = field_shape(name, told)
    if shape.kind in {*NUMBERS, Kind.COLLECTION, Kind.RELATION, Kind.ANY}:
        return _refused(
            name,
            f"limen compares no {shape.kind.value} that {called} stores in a way of its own; write python(…, sql=…)",
        )
    stored = _of_plain_type(name, kind.impl_instance) if isinstance(kind, sa.types.TypeDecorator) else shape
    if shape.kind is Kind.TEXT and stored.refused:
        return stored
    return replace(shape, is_own_type=True)


def _decorated(name: str, kind: sa.types.TypeDecorator[Any]) -> FieldShape:
    """Return what a decorator is that leaves values as they are: what it stands for on each database."""
    found = [_of_type(name, kind.load_dialect_impl(dialect())) for dialect in _DIALECTS]
    return next((shape for shape in found if shape.refused), found[0])


def _has_own_code(cls: type[Any]) -> bool:
    """Tell whether a type has code of somebody else's about how values are stored or compared."""
    others = (each for each in cls.__mro__ if not each.__module__.startswith("sqlalchemy."))
    return any(not _CODE.isdisjoint(vars(each)) for each in others)


def _integer(name: str, kind: sa.Integer) -> FieldShape:
    bits = 64 if isinstance(kind, sa.BigInteger) else 16 if isinstance(kind, sa.SmallInteger) else 32
    return FieldShape(name, Kind.INTEGER, bits=bits)


def _number(name: str, kind: Any) -> FieldShape:
    if kind.asdecimal:
        return FieldShape(name, Kind.DECIMAL)
    if isinstance(kind, sa.REAL) or (isinstance(kind, sa.Float) and 0 < (kind.precision or 0) <= _SINGLE_PRECISION):
        return _refused(name, "it has single precision, so that 0.1 is not 0.1; write Double()")
    return FieldShape(name, Kind.FLOAT)


def _text(name: str, kind: sa.String) -> FieldShape:
    if isinstance(kind, postgresql.CITEXT):
        return _refused(name, "it is CITEXT, which ignores case; keep a column in lower case, of type String")
    if isinstance(kind, sa.CHAR | sa.NCHAR):
        return _refused(name, "it is CHAR, which pads with spaces; write String")
    if kind.collation is not None and _EXACT_COLLATION.match(kind.collation) is None:
        why = f"its collation {kind.collation} may call two texts equal that differ"
        return _refused(name, f"{why}; keep a column in lower case, without a collation")
    return FieldShape(name, Kind.TEXT)


def _enum(name: str, kind: sa.Enum) -> FieldShape:
    if kind.enum_class is not None:
        return replace(field_shape(name, kind.enum_class))
    return FieldShape(name, Kind.TEXT, options=frozenset(map(str, kind.enums)), constants_only=True)


def _datetime(name: str, kind: sa.DateTime) -> FieldShape:
    return FieldShape(name, Kind.AWARE if kind.timezone else Kind.NAIVE)


def _time(name: str, kind: sa.Time) -> FieldShape:
    if kind.timezone:
        return _refused(name, "a time of day with a zone has no order that all databases share; write Time()")
    return FieldShape(name, Kind.TIME)


def _uuid(name: str, kind: Any) -> FieldShape:
    if not kind.as_uuid:
        return _refused(name, "its values are texts in Python and UUIDs in the database; write Uuid()")
    return FieldShape(name, Kind.UUID)


_READ: Final[tuple[tuple[type[Any], Callable[[str, Any], FieldShape]], ...]] = (
    (sa.Enum, _enum),
    (sa.Integer, _integer),
    (sa.Numeric, _number),
    (sa.Float, _number),
    (sa.String, _text),
    (sa.DateTime, _datetime),
    (sa.Time, _time),
    (sa.Uuid, _uuid),
)


def _declared(model: Model, name: str) -> FieldShape | None:
    """Return what ``Mapped[…]`` says that a field is; None where it says nothing that can be read."""
    for cls in model.__mro__:
        try:
            annotation = inspect.get_annotations(cls).get(name)
            if annotation is None:
                continue
            namespace: Mapping[str, Any] = {name: annotation}
            hint = typing.get_type_hints(
                type(cls.__name__, (), {"__annotations__": namespace, "__module__": cls.__module__}),
                include_extras=True,
            )[name]
        except (NameError, TypeError, SyntaxError):
            return None
        origin = typing.get_origin(hint)
        if not (isinstance(origin, type) and issubclass(origin, Mapped)):
            return None
        return field_shape(name, typing.get_args(hint)[0])
    return None


def _agreeing(shape: FieldShape, declared: FieldShape) -> FieldShape:
    """Return the field; refused where its annotation says something else than its column holds."""
    if declared.refused or declared.kind is Kind.ANY:
        return shape
    same = declared.kind is shape.kind and declared.enum is shape.enum
    if same or {declared.kind, shape.kind} == {Kind.AWARE, Kind.NAIVE}:
        return shape
    why = f"it is annotated as {_called(declared)}, and its column holds {_called(shape)}; write one type in both"
    return replace(shape, refused=why)


def _called(shape: FieldShape) -> str:
    return shape.enum.__name__ if shape.enum is not None else shape.kind.value
