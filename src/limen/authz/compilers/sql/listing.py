"""Filters the rows of a mapped class, its heirs' among them, by what may be done with each."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper

from limen.authz.compilers.partial import Bound, bound
from limen.authz.compilers.sql.prepared import prepared
from limen.authz.compilers.sql.rows import Column, Entity, Rows, exists
from limen.authz.compilers.sql.where import NO, compiled
from limen.authz.policy.nodes import Node, Truth
from limen.authz.policy.shapes import Model
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal


def visible(
    condition_for: Callable[[Model], Node], entity: Any, principal: Principal, context: Mapping[str, object]
) -> sa.ColumnElement[bool]:
    """Return the condition that is true of the rows that a condition holds for, each as an instance of its own class.

    Args:
        condition_for: returns the condition that decides about instances of exactly that class. What is the same for a
            class and its heirs is best the same object.
        entity: the mapped class whose rows are asked, or an alias of it.
        principal: who asks.
        context: what is known beside.

    Raises:
        ConfigurationError: SQL cannot say it; see `limen.authz.compilers.sql.where.where`.
    """
    source = Entity(entity)
    if not source.mapper.polymorphic_map:
        # The usual case: no heirs, and none inherited from.
        return _of_one(condition_for(source.mapper.class_), source, principal, context)
    conditions: list[tuple[Node, list[Mapper[Any]]]] = []
    for mapper in _classes(source.mapper):
        node = condition_for(mapper.class_)
        same = next((mappers for other, mappers in conditions if other is node or other == node), None)
        if same is None:
            conditions.append((node, [mapper]))
        else:
            same.append(mapper)
    if len(conditions) == 1:
        return _of_one(conditions[0][0], source, principal, context)
    parts = [_of_classes(source, mappers, bound(node, principal, context), principal) for node, mappers in conditions]
    return sa.or_(*parts)


def _of_one(node: Node, source: Entity, principal: Principal, context: Mapping[str, object]) -> Column:
    """Return the condition for rows that the same is asked of, whatever class they are of."""
    if source.entity is source.mapper.class_:
        return prepared(node, source).where(principal, context)
    # An alias is made for a statement, and gone with it.
    return compiled(bound(node, principal, context), source, principal)


def _classes(mapper: Mapper[Any]) -> list[Mapper[Any]]:
    """Return the classes that rows are loaded as."""
    if any(each.concrete for each in mapper.self_and_descendants):
        raise ConfigurationError(f"{mapper.class_.__name__} has concrete inheritance, which policies do not cover")
    return [mapper] if mapper.polymorphic_on is None else list(mapper.self_and_descendants)


def _of_classes(source: Entity, mappers: list[Mapper[Any]], left: Bound, principal: Principal) -> Column:
    """Return the condition for rows of some classes of a hierarchy; a row of no known class is in none of them."""
    if isinstance(left, Truth) and not left.value:
        return NO
    names = [mapper.polymorphic_identity for mapper in mappers if mapper.polymorphic_identity is not None]
    discriminator = source.mapper.polymorphic_on
    if not isinstance(discriminator, sa.Column):
        raise ConfigurationError(f"{source.mapper.class_.__name__} is told from its heirs by an expression")
    is_one = source.of_table(discriminator).in_(names)
    if source.mapper in mappers:
        return sa.and_(is_one, compiled(left, source, principal))
    return sa.and_(is_one, sa.or_(*[_as_heir(source, mapper, left, principal) for mapper in mappers]))


def _as_heir(source: Entity, mapper: Mapper[Any], left: Bound, principal: Principal) -> Column:
    """Return the condition for a row whose class has columns that the statement's does not know."""
    rows = Rows(mapper)
    same = [rows.of_table(column) == source.of_table(column) for column in source.mapper.primary_key]
    return exists(rows.froms, [*same, *rows.conditions, compiled(left, rows, principal)])
