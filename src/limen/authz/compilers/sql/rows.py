"""Where the columns of a condition are found: in the statement's own entity, or in rows that a relation leads to.

Rows at the other end of a relation are tables under names of their own, never mapped classes: whatever else filters a
session's statements does not reach into a condition, where a row that somebody may not see still decides.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.sql.elements import False_, Grouping
from sqlalchemy.sql.visitors import replacement_traverse

from limen.core.errors import ConfigurationError

Column = sa.ColumnElement[Any]


class Entity:
    """The mapped class, or its alias, that a statement is about."""

    __slots__ = ("entity", "mapper")

    def __init__(self, entity: Any) -> None:
        inspected: Any = sa.inspect(entity, raiseerr=False)
        mapper = getattr(inspected, "mapper", None)
        if not isinstance(mapper, Mapper):
            raise ConfigurationError(f"{entity!r} is neither a mapped class nor an alias of one")
        self.entity = entity
        self.mapper: Mapper[Any] = mapper

    def column(self, name: str) -> Column:
        """Return the column of an attribute.

        Raises:
            ConfigurationError: it is no column of a table, or the class has no such attribute.
        """
        _plain_column(self.mapper, name)
        expression: Column = getattr(self.entity, name).expression
        return expression

    def of_table(self, column: Column) -> Column:
        """Return the column of one of the mapped tables."""
        return self.column(self.mapper.get_property_by_column(column).key)


class Rows:
    """The rows of a mapped class, as tables under names of their own.

    Attributes:
        froms: these tables.
        conditions: what makes rows of several of them one row, and one of this class.
    """

    __slots__ = ("_tables", "conditions", "entity", "froms", "mapper")

    def __init__(self, mapper: Mapper[Any]) -> None:
        if mapper.concrete:
            raise ConfigurationError(f"{mapper.class_.__name__} has concrete inheritance, which policies do not cover")
        self.mapper = mapper
        self.entity = mapper.class_
        self._tables: dict[Any, Any] = {}
        parents = list(mapper.iterate_to_root())
        for each in parents:
            if each.local_table not in self._tables:
                if not isinstance(each.local_table, sa.Table):
                    raise ConfigurationError(f"{each.class_.__name__} is no table, so no policy reads its rows")
                self._tables[each.local_table] = each.local_table.alias()
        self.froms: list[Any] = list(self._tables.values())
        self.conditions: list[Column] = [
            self.adapted(each.inherit_condition)
            for each in parents
            if each.inherits is not None and each.local_table is not each.inherits.local_table
        ]
        if mapper.single and mapper.polymorphic_on is not None:
            self.conditions.append(self.adapted(mapper.polymorphic_on).in_(identities(mapper)))

    def column(self, name: str) -> Column:
        """Return the column of an attribute; see `Entity.column`."""
        return self.of_table(_plain_column(self.mapper, name))

    def of_table(self, column: Column) -> Column:
        """Return the column of one of the mapped tables."""
        found: Column = self._tables[column.table].c[column.key]
        return found

    def has(self, column: Any) -> bool:
        """Tell whether it is a column of one of the mapped tables."""
        return column.table in self._tables

    def adapted(self, clause: Any) -> Any:
        """Return a clause about the mapped tables as one about these rows."""
        return replacement_traverse(clause, {}, lambda element, **_: self._replaced(element))

    def _replaced(self, element: Any) -> Any:
        return self.of_table(element) if isinstance(element, sa.Column) and self.has(element) else None


def identities(mapper: Mapper[Any]) -> list[Any]:
    """Return the values of the discriminator that rows of a class and of its heirs have."""
    return [each.polymorphic_identity for each in mapper.self_and_descendants]


def linked(source: "Entity | Rows", relation: RelationshipProperty[Any]) -> tuple[Rows, list[Any], list[Column]]:
    """Return the rows at the other end of a relation.

    Args:
        source: where the relation begins.
        relation: the relation.

    Returns:
        the rows; the tables to look into; and the conditions that lead from the one to the other.

    Raises:
        ConfigurationError: it leads through something else than a table.
    """
    target = Rows(relation.mapper)
    if relation.secondary is None:
        joins = [replacement_traverse(relation.primaryjoin, {}, _Ends(source, target).direct)]
        return target, target.froms, [*joins, *target.conditions]
    if not isinstance(relation.secondary, sa.Table) or relation.secondaryjoin is None:
        raise ConfigurationError(f"{relation} leads through something that is no table")
    between = relation.secondary.alias()
    to_between = _Ends(source, None, relation.secondary, between)
    to_target = _Ends(None, target, relation.secondary, between)
    joins = [
        replacement_traverse(relation.primaryjoin, {}, to_between.through),
        replacement_traverse(relation.secondaryjoin, {}, to_target.through),
    ]
    return target, [*target.froms, between], [*joins, *target.conditions]


class _Ends:
    """Tells for each column of a join on which side it is."""

    __slots__ = ("_between", "_far", "_near", "_secondary")

    def __init__(
        self, near: "Entity | Rows | None", far: Rows | None, secondary: Any = None, between: Any = None
    ) -> None:
        self._near = near
        self._far = far
        self._secondary = secondary
        self._between = between

    def direct(self, element: Any, **_: Any) -> Any:
        """Replace a column of a join of two classes."""
        if not isinstance(element, sa.Column):
            return None
        near, far = self._near, self._far
        if near is None or far is None:
            return None
        # In a relation of a class to itself, only the mark tells which of the two ends a column is of.
        if far.has(element) and ("remote" in element._annotations or element.table not in near.mapper.tables):
            return far.of_table(element)
        return near.of_table(element)

    def through(self, element: Any, **_: Any) -> Any:
        """Replace a column of a join of one class with the table between."""
        if not isinstance(element, sa.Column):
            return None
        if element.table is self._secondary:
            return self._between.c[element.key]
        end = self._near or self._far
        return None if end is None else end.of_table(element)


def exists(froms: Iterable[Any], conditions: Iterable[Column], *, negated: bool = False) -> Column:
    """Return EXISTS: some row of these tables meets the conditions; every other table is the enclosing statement's.

    Args:
        froms: the tables.
        conditions: what a row of them must meet.
        negated: that there is no such row.
    """
    wanted = list(conditions)
    if any(isinstance(each, False_) for each in wanted):
        # No row does. SQLAlchemy would drop the joins beside it, and warn of a product of tables.
        return sa.true() if negated else sa.false()
    tables = list(froms)
    found: Any = sa.select(sa.literal_column("1")).select_from(*tables).where(*wanted).correlate_except(*tables)
    return Trusted(~found.exists() if negated else found.exists())


class Trusted(Grouping[bool]):
    """A part of a statement that a policy made: it may name tables, and nothing in it is filtered once more."""

    inherit_cache = True


def _plain_column(mapper: Mapper[Any], name: str) -> sa.Column[Any]:
    column = mapper.columns.get(name)
    if column is None:
        raise ConfigurationError(f"{mapper.class_.__name__} has no column {name}")
    if not isinstance(column, sa.Column):
        raise ConfigurationError(f"{mapper.class_.__name__}.{name} is an expression and no column of a table")
    return column
