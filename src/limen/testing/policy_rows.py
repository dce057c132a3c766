"""Random rows of SQLAlchemy models that belong together: keys that lead somewhere, and what must be unique is.

Needs hypothesis.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import UnmappedColumnError

from limen.authz.policy.models import shape_of
from limen.authz.policy.shapes import FieldShape, Kind
from limen.core.errors import ConfigurationError
from limen.testing.policy_values import values_of

Path: TypeAlias = tuple[str, ...]
Given: TypeAlias = Mapping[type[Any], Mapping[str, Any]]

_MOST_ROWS: Final = 4
_BY_PYTHON: Final[Mapping[type, Kind]] = {
    bool: Kind.BOOLEAN, int: Kind.INTEGER, float: Kind.FLOAT, Decimal: Kind.DECIMAL, str: Kind.TEXT,
    bytes: Kind.BYTES, UUID: Kind.UUID,
}  # fmt: skip


# --- columns


def columns_of(model: type[Any], named: Iterable[object], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a strategy for each column of a model that is set by hand, by the name of its attribute.

    Raises:
        ConfigurationError: a column must not be NULL, has no default, and nothing makes values of its type.
    """
    mapper: Mapper[Any] = sa.inspect(model)
    found: dict[str, Any] = {}
    for each in mapper.column_attrs:
        column = each.columns[0]
        if each.key in given:
            found[each.key] = given[each.key]
        elif isinstance(column, sa.Column) and column.computed is None and not _is_discriminator(mapper, column):
            made = _of_column(shape_of(model).fields[each.key], column, named)
            if made is not None:
                found[each.key] = made
            elif not column.nullable and column.default is None and column.server_default is None:
                raise ConfigurationError(
                    f"Nothing is known that makes {model.__name__}.{each.key}. "
                    f"Give a strategy: columns={{{model.__name__}: {{{each.key!r}: …}}}}."
                )
    return found


def _is_discriminator(mapper: Mapper[Any], column: sa.Column[Any]) -> bool:
    return mapper.polymorphic_on is column and mapper.polymorphic_identity is not None


def _of_column(field: FieldShape, column: sa.Column[Any], named: Iterable[object]) -> Any:
    """Return a strategy for a column, NULL among it where it may be; None where there is none."""
    if column.primary_key and column.autoincrement and field.kind is Kind.INTEGER:
        return st.integers(1, 10_000)
    made = _of_type(field, column, tuple(named))
    if made is None:
        return st.none() if column.nullable else None
    return st.none() | made if column.nullable else made


def _of_type(field: FieldShape, column: sa.Column[Any], named: tuple[object, ...]) -> Any:
    if field.kind is Kind.DECIMAL and isinstance(column.type, sa.Numeric):
        return _decimals(column.type, named)
    if field.refused:
        # No policy reads it, and it needs a value all the same.
        try:
            kind = _BY_PYTHON.get(column.type.python_type)
        except NotImplementedError:
            return None
        if kind is None or isinstance(column.type, sa.Enum | sa.TypeDecorator):
            return None
        field = FieldShape(field.name, kind)
    return values_of(field, named, length=getattr(column.type, "length", None))


def _decimals(type_: sa.Numeric[Any], named: tuple[object, ...]) -> Any:
    places = 2 if type_.scale is None else type_.scale
    # SQLite keeps decimals as floats, exact for this many digits.
    digits = min(type_.precision or 12, 12)
    most = Decimal(10 ** max(digits - places, 0)) - Decimal(10) ** -places
    often = [
        each
        for each in named
        if type(each) is Decimal and each.is_finite() and abs(each) <= most and each == round(each, places)
    ]
    made = st.decimals(-most, most, places=places, allow_nan=False, allow_infinity=False)
    return st.sampled_from(often) | made if often else made


# --- rows that belong together


class World:
    """What is written for one example.

    Args:
        first: the first number of each table whose key is one.
    """

    def __init__(self, first: Mapping[str, int]) -> None:
        self.rows: list[list[Any]] = []
        self.links: dict[tuple[sa.Table, tuple[tuple[str, Any], ...]], None] = {}
        self.made: dict[sa.FromClause, list[dict[str, Any]]] = {}
        self._next = dict(first)
        self._taken: set[tuple[str, Path, tuple[Any, ...]]] = set()

    def number(self, table: str) -> int:
        """Return the next key of a table."""
        self._next[table] = self._next.get(table, 1) + 1
        return self._next[table] - 1

    def is_new(self, mapper: Mapper[Any], told: Mapping[str, Any]) -> bool:
        """Tell whether a row is unlike the others where it has to be, and note what it is."""
        keys = [
            (str(table), names, tuple(told.get(name) for name in names))
            for table in mapper.tables
            for names in _unique(mapper, table)
        ]
        whole = [key for key in keys if None not in key[2]]
        if not self._taken.isdisjoint(whole):
            return False
        self._taken.update(whole)
        return True


def _unique(mapper: Mapper[Any], table: Any) -> list[Path]:
    """Return the sets of attributes that no two rows have in common."""
    sets = [list(table.primary_key.columns)]
    sets += [[column] for column in table.columns if column.unique]
    sets += [list(each.columns) for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    sets += [list(each.columns) for each in table.indexes if each.unique]
    named = [[_name(mapper, each) for each in columns] for columns in sets]
    return [tuple(names) for names in named if None not in names]  # type: ignore[arg-type]


def _name(mapper: Mapper[Any], column: Any) -> str | None:
    """Return the attribute of a column; None where the class has none, as of an heir's in the same table."""
    try:
        return str(mapper.get_property_by_column(column).key)
    except UnmappedColumnError:
        return None


def mappers_of(model: type[Any], paths: Iterable[Path]) -> list[Mapper[Any]]:
    """Return the mappers whose rows are needed, each after those that it refers to."""
    needed: dict[Mapper[Any], None] = {}
    for path in paths:
        mapper: Mapper[Any] = sa.inspect(model)
        for name in path:
            relation = mapper.relationships.get(name) or _of_heir(mapper, name)
            if relation is None:
                break
            mapper = relation.mapper
            needed[mapper] = None
    needed[sa.inspect(model)] = None
    ordered: dict[Mapper[Any], None] = {}

    def add(mapper: Mapper[Any], above: frozenset[Mapper[Any]]) -> None:
        if mapper in ordered or mapper in above:
            return
        for key in _foreign_keys(mapper):
            target = _mapper_of(mapper, key.referred_table)
            if target is not None:
                add(target, above | {mapper})
        ordered[mapper] = None

    for each in needed:
        add(each, frozenset())
    return list(ordered)


def _of_heir(mapper: Mapper[Any], name: str) -> Any:
    return next((each.relationships[name] for each in mapper.self_and_descendants if name in each.relationships), None)


def _mapper_of(mapper: Mapper[Any], table: sa.FromClause) -> Mapper[Any] | None:
    found = [each for each in mapper.registry.mappers if each.local_table is table and each.inherits is None]
    heirs = [each for each in mapper.registry.mappers if each.local_table is table]
    return next(iter([*found, *heirs]), None)


def _foreign_keys(mapper: Mapper[Any]) -> list[sa.ForeignKeyConstraint]:
    """Return what a row refers to, without what ties the tables of one row together."""
    own = set(mapper.tables)
    return [
        key
        for table in mapper.tables
        if isinstance(table, sa.Table)
        for key in sorted(table.foreign_key_constraints, key=lambda key: sorted(key.column_keys))
        if not (key.referred_table in own and all(column.primary_key for column in key.columns))
    ]


def worlds_of(
    model: type[Any], paths: list[Path], named: tuple[object, ...], given_: Given, first: Mapping[str, int]
) -> st.SearchStrategy[World]:
    """Return a strategy for the rows of a model, and of all that it refers to and rules read."""
    mappers = mappers_of(model, paths)
    columns = {
        heir: columns_of(heir.class_, named, _given_for(given_, heir))
        for mapper in mappers
        for heir in mapper.self_and_descendants
    }
    links = _links(model, paths)

    @st.composite
    def worlds(draw: Callable[[Any], Any]) -> World:
        world = World(first)
        for mapper in mappers:
            kinds = [each for each in mapper.self_and_descendants if _can_be_made(each)]
            made = [_row(draw, draw(st.sampled_from(kinds)), columns, world) for _ in range(draw(_COUNTS))]
            world.rows.append([each for each in made if each is not None])
        for table, left, right in links:
            _link(draw, world, table, left, right)
        return world

    return worlds()


_COUNTS: Final = st.integers(1, _MOST_ROWS)


def _given_for(given_: Given, mapper: Mapper[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for cls, told in given_.items():
        if issubclass(mapper.class_, cls):
            found |= told
    return found


def _can_be_made(mapper: Mapper[Any]) -> bool:
    return mapper.polymorphic_on is None or mapper.polymorphic_identity is not None


def _row(draw: Callable[[Any], Any], mapper: Mapper[Any], columns: Mapping[Any, Any], world: World) -> Any:
    told: dict[str, Any] = {}
    for name, strategy in columns[mapper].items():
        column = mapper.column_attrs[name].columns[0]
        is_number = column.primary_key and not column.foreign_keys and shape_of(mapper.class_).fields[name].kind
        if is_number is Kind.INTEGER and len(mapper.primary_key) == 1:
            told[name] = world.number(str(column.table))
        else:
            told[name] = draw(strategy)
    for key in _foreign_keys(mapper):
        names = [name for column in key.columns if (name := _name(mapper, column)) is not None]
        if len(names) < len(key.columns):
            continue
        parents = world.made.get(key.referred_table, [])
        may_be_null = all(column.nullable for column in key.columns)
        choices = [*parents, None] if may_be_null else parents
        if not choices:
            raise ConfigurationError(
                f"{mapper.class_.__name__}.{names[0]} refers to {key.referred_table.name}, of which no row is made: "
                "no class is mapped to it, or they refer to each other."
            )
        parent = draw(st.sampled_from(choices))
        for name, element in zip(names, key.elements, strict=True):
            told[name] = None if parent is None else parent[element.column.key]
    if not world.is_new(mapper, told):
        return None
    for table in mapper.tables:
        values = {column.key: told.get(_name(mapper, column) or "") for column in table.columns}
        world.made.setdefault(table, []).append(values)
    return mapper.class_(**told)


def _links(model: type[Any], paths: Iterable[Path]) -> list[tuple[sa.Table, Any, Any]]:
    """Return the tables that rules cross, each with its columns and those that they refer to."""
    found: dict[sa.Table, tuple[sa.Table, Any, Any]] = {}
    for path in paths:
        mapper: Mapper[Any] = sa.inspect(model)
        for name in path:
            relation = mapper.relationships.get(name) or _of_heir(mapper, name)
            if relation is None:
                break
            if isinstance(relation.secondary, sa.Table):
                pairs = relation.synchronize_pairs, relation.secondary_synchronize_pairs
                found[relation.secondary] = (relation.secondary, *pairs)
            mapper = relation.mapper
    return list(found.values())


def _link(draw: Callable[[Any], Any], world: World, table: sa.Table, left: Any, right: Any) -> None:
    for one in world.made.get(left[0][0].table, []):
        for other in world.made.get(right[0][0].table, []):
            if draw(st.booleans()):
                told = {own.key: one[far.key] for far, own in left} | {own.key: other[far.key] for far, own in right}
                world.links[table, tuple(told.items())] = None
