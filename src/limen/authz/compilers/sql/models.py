"""What the fields of a SQLAlchemy model are, as far as policies are concerned."""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, RelationshipProperty

from limen.authz.policy.shapes import FieldShape, Kind, Model, Shape

_KINDS: Final[tuple[tuple[type[Any], Kind], ...]] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.INTEGER),
    (sa.String, Kind.TEXT),
    (sa.LargeBinary, Kind.BYTES),
    (sa.Date, Kind.DATE),
    (sa.Time, Kind.TIME),
    (sa.Interval, Kind.DURATION),
    (sa.Uuid, Kind.UUID),
)


def mapped_shape(model: Model) -> Shape:
    """Return what is known of a model that SQLAlchemy maps."""
    mapper: Mapper[Any] = sa.inspect(model)
    fields = {}
    for name, column in mapper.columns.items():
        fields[name] = _column(name, column)
    for name, relation in mapper.relationships.items():
        fields[name] = _relation(name, relation)
    return Shape(model, model.__name__, fields, is_mapped=True)


def _relation(name: str, relation: RelationshipProperty[Any]) -> FieldShape:
    return FieldShape(name, Kind.RELATION, related=relation.mapper.class_, to_many=bool(relation.uselist))


def _column(name: str, column: Any) -> FieldShape:
    nullable = bool(getattr(column, "nullable", True))
    kind = column.type
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return FieldShape(name, Kind.ENUM, nullable, enum=kind.enum_class)
    if isinstance(kind, sa.Numeric):
        return FieldShape(name, Kind.DECIMAL if kind.asdecimal else Kind.FLOAT, nullable)
    if isinstance(kind, sa.DateTime):
        return FieldShape(name, Kind.AWARE if kind.timezone else Kind.NAIVE, nullable)
    if isinstance(kind, sa.String) and kind.collation is not None:
        return FieldShape(name, Kind.TEXT, nullable, refused=f"its collation is {kind.collation}")
    for cls, found in _KINDS:
        if isinstance(kind, cls):
            return FieldShape(name, found, nullable)
    return FieldShape(name, Kind.ANY, nullable, refused=f"its type {kind!r} compares differently in each database")
