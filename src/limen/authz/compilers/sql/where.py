"""Compiles what is left of a condition into a condition of SQLAlchemy, for SQLite and for PostgreSQL.

It says of every row what the compiled function of `limen.authz.compilers.python` says of the instance. A leaf is never
unknown to its surroundings in a way that matters: only «is it TRUE» is asked, and no NOT stands above a leaf.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import Grouping

from limen.authz.compilers.partial import Bound, EveryRow
from limen.authz.compilers.sql.functions import begins, by_code_point, contains, is_no_number, is_number
from limen.authz.compilers.sql.numbers import equal, settled
from limen.authz.compilers.sql.rows import Column, Entity, Rows, exists, linked
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Comparison,
    Constant,
    In,
    IsNull,
    Match,
    Operand,
    Or,
    PythonLeaf,
    Row,
    TextMatch,
    Truth,
)
from limen.authz.policy.shapes import NUMBERS, Kind
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal

NO: Final = sa.false()
YES: Final = sa.true()

_REVERSED: Final[Mapping[Comparison, Comparison]] = {
    Comparison.EQUAL: Comparison.EQUAL,
    Comparison.NOT_EQUAL: Comparison.NOT_EQUAL,
    Comparison.LESS: Comparison.GREATER,
    Comparison.LESS_OR_EQUAL: Comparison.GREATER_OR_EQUAL,
    Comparison.GREATER: Comparison.LESS,
    Comparison.GREATER_OR_EQUAL: Comparison.LESS_OR_EQUAL,
}
_OPERATORS: Final[Mapping[Comparison, Callable[[Any, Any], Any]]] = {
    Comparison.EQUAL: sa.sql.operators.eq,
    Comparison.NOT_EQUAL: sa.sql.operators.ne,
    Comparison.LESS: sa.sql.operators.lt,
    Comparison.LESS_OR_EQUAL: sa.sql.operators.le,
    Comparison.GREATER: sa.sql.operators.gt,
    Comparison.GREATER_OR_EQUAL: sa.sql.operators.ge,
}
_WITHOUT_ORDER: Final = frozenset({Comparison.EQUAL, Comparison.NOT_EQUAL})
_MAY_BE_NO_NUMBER: Final = frozenset({Kind.FLOAT, Kind.DECIMAL})
_NEVER_OF_NO_NUMBER: Final = frozenset({Comparison.EQUAL, Comparison.LESS, Comparison.LESS_OR_EQUAL})
"""What PostgreSQL never finds true of not-a-number, the greatest of all, and a number."""

# As wide as they come: a value that a narrower column cannot hold is compared with it, and is no error of the driver.
_TYPES: Final[Mapping[Kind, Any]] = {Kind.INTEGER: sa.BigInteger(), Kind.FLOAT: sa.Double(), Kind.DECIMAL: sa.Numeric()}


def where(left: Bound, entity: Any, principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition of SQL that is true of exactly the rows that the condition is true of.

    Args:
        left: what is left of a condition for that principal; see `limen.authz.compilers.partial.bound`.
        entity: the mapped class whose rows are asked, or an alias of it.
        principal: who asks; only functions given to ``python(…, sql=…)`` see it.

    Raises:
        ConfigurationError: SQL cannot say it: ``python()`` without ``sql=``, or a field that is no column.
    """
    return compiled(left, Entity(entity), principal)


def compiled(left: Bound, top: Entity | Rows, principal: Principal) -> Column:
    """Return the condition of SQL about an entity, or about rows under a name of their own; see `where`."""
    return _Compiler(top, principal).node(left, {})


_Scopes = Mapping[Row, Entity | Rows]


class _Compiler:
    """Compiles conditions about one entity."""

    __slots__ = ("_principal", "_top")

    def __init__(self, top: Entity | Rows, principal: Principal) -> None:
        self._top = top
        self._principal = principal

    def node(self, node: Bound, scopes: _Scopes) -> Column:
        match node:
            case And(parts):
                return sa.and_(*[self.node(part, scopes) for part in parts])
            case Or(parts):
                return sa.or_(*[self.node(part, scopes) for part in parts])
            case Truth(value):
                return YES if value else NO
            case PythonLeaf():
                return self._python(node, scopes)
            case AnyRow() | EveryRow():
                return self._rows(node, scopes)
            case Compare() | In() | IsNull() | TextMatch():
                return self._leaf(node, scopes)
            case _:
                raise TypeError(f"{type(node).__name__} is not what is left for a principal")

    def _leaf(self, leaf: Compare | In | IsNull | TextMatch, scopes: _Scopes) -> Column:
        """Compile a leaf. Where it reads across relations to one, there must be such a row, in both polarities."""
        joined = _Joined(self._top, scopes)
        match leaf:
            case Compare():
                found = _compare(leaf, joined)
            case In():
                found = _in(leaf, joined)
            case IsNull():
                found = _is_null(leaf.operand, joined, negated=leaf.negated)
            case _:
                found = _text(leaf, joined)
        return joined.around(found)

    def _rows(self, node: AnyRow | EveryRow, scopes: _Scopes) -> Column:
        joined = _Joined(self._top, scopes)
        source = joined.source(node.relation)
        target, froms, conditions = linked(source, source.mapper.relationships[node.relation.path[-1]])
        condition = self.node(node.condition, {**scopes, node.row: target})
        if isinstance(node, AnyRow):
            return joined.around(exists(froms, [*conditions, condition]))
        # A row of which it is unknown counts against «every».
        return joined.around(exists(froms, [*conditions, _in_brackets(condition).is_not(YES)], negated=True))

    def _python(self, leaf: PythonLeaf, scopes: _Scopes) -> Column:
        if leaf.sql is None:
            raise ConfigurationError(
                f"python({leaf.name}) decides in Python alone, so no list is filtered by it. "
                "Write python(…, sql=…) with the same as a condition of SQLAlchemy."
            )
        if scopes or isinstance(self._top, Rows):
            raise ConfigurationError(f"python({leaf.name}) about rows of a relation, or of an heir, has no SQL")
        said = leaf.sql(self._principal, self._top.entity)
        if said is None or isinstance(said, bool):
            return YES if said is (not leaf.negated) else NO
        return _in_brackets(sa.type_coerce(said, sa.Boolean())).is_(NO if leaf.negated else YES)


def _in_brackets(condition: Column) -> Column:
    """Return a condition in brackets, whatever it is: PostgreSQL reads ``NOT a IS TRUE`` as ``NOT (a IS TRUE)``."""
    return Grouping(condition)


class _Joined:
    """The rows that one leaf reads: those in scope, and those that relations to one lead to from there."""

    __slots__ = ("_conditions", "_froms", "_scopes", "_sources", "_top")

    def __init__(self, top: Entity | Rows, scopes: _Scopes) -> None:
        self._top = top
        self._scopes = scopes
        self._sources: dict[Any, Rows] = {}
        self._froms: list[Any] = []
        self._conditions: list[Column] = []

    def source(self, attribute: Attribute) -> Entity | Rows:
        """Return where the last name of an attribute's path is a column."""
        here: Entity | Rows = self._top if attribute.row is None else self._scopes.get(attribute.row, self._top)
        for depth, name in enumerate(attribute.path[:-1], 1):
            key = (attribute.row, attribute.path[:depth])
            if key not in self._sources:
                target, froms, conditions = linked(here, here.mapper.relationships[name])
                self._sources[key] = target
                self._froms += froms
                self._conditions += conditions
            here = self._sources[key]
        return here

    def column(self, attribute: Attribute) -> Column:
        """Return the column of an attribute."""
        return self.source(attribute).column(attribute.path[-1])

    def around(self, condition: Column) -> Column:
        """Return the condition, of rows that are there."""
        return exists(self._froms, [*self._conditions, condition]) if self._froms else condition


def _bind(value: Any, kind: Kind, column: Column) -> Column:
    return sa.bindparam(None, value, type_=_TYPES.get(kind, column.type), unique=True)


def fits(value: str) -> bool:
    """Tell whether a text can be a parameter: no database takes half a surrogate pair, PostgreSQL no NUL either."""
    return "\0" not in value and (value.isascii() or value.isprintable() or _is_encodable(value))


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _compare(leaf: Compare, joined: _Joined) -> Column:
    left, right, comparison = leaf.left, leaf.right, leaf.comparison
    if isinstance(left, Constant):
        left, right, comparison = right, left, _REVERSED[comparison]
    if not isinstance(left, Attribute):
        raise TypeError("a comparison of two constants is decided before")
    column = joined.column(left)
    if isinstance(right, Attribute):
        return _compare_columns(comparison, (left.kind, column), (right.kind, joined.column(right)))
    return _compare_value(comparison, left.kind, column, right.value)


def _compare_value(comparison: Comparison, kind: Kind, column: Column, value: Any) -> Column:
    if kind in NUMBERS:
        told = settled(kind, comparison, value)
        if isinstance(told, bool):
            return _is_there(kind, column) if told else NO
        comparison, value = told
    elif kind is Kind.TEXT:
        if not fits(value):
            return NO
        if comparison not in _WITHOUT_ORDER:
            column = by_code_point(column)
    elif kind is Kind.ANY:
        raise ConfigurationError(f"{column} has no declared type that SQL and Python compare alike")
    found: Column = _OPERATORS[comparison](column, _bind(value, kind, column))
    if kind in _MAY_BE_NO_NUMBER and comparison not in _NEVER_OF_NO_NUMBER:
        return sa.and_(found, is_number(column))
    return found


def _compare_columns(comparison: Comparison, one: tuple[Kind, Column], other: tuple[Kind, Column]) -> Column:
    sides = [
        by_code_point(column) if kind is Kind.TEXT and comparison not in _WITHOUT_ORDER else column
        for kind, column in (one, other)
    ]
    numbers = [is_number(column) for kind, column in (one, other) if kind in _MAY_BE_NO_NUMBER]
    return sa.and_(_OPERATORS[comparison](*sides), *numbers)


def _in(leaf: In, joined: _Joined) -> Column:
    item, options = leaf.item, leaf.options
    if not (isinstance(item, Attribute) and isinstance(options, Constant)):
        raise ConfigurationError("A column that holds several values is compared differently in each database")
    column = joined.column(item)
    values = _values(item.kind, options.value)
    if values is None:
        return NO
    if not values:
        return _is_null(item, joined, negated=True) if leaf.negated else NO
    bound = sa.bindparam(None, values, type_=_TYPES.get(item.kind, column.type), unique=True, expanding=True)
    if not leaf.negated:
        return column.in_(bound)
    return sa.and_(column.not_in(bound), is_number(column)) if item.kind in _MAY_BE_NO_NUMBER else column.not_in(bound)


def _values(kind: Kind, values: frozenset[Any]) -> list[Any] | None:
    """Return those values that a column may be; None where one of them cannot even be asked for."""
    if kind in NUMBERS:
        told = [equal(kind, value) for value in values]
        return [value for value in told if value is not None]
    if kind is Kind.TEXT:
        return list(values) if all(map(fits, values)) else None
    return list(values)


def _is_null(operand: Attribute, joined: _Joined, *, negated: bool) -> Column:
    column = joined.column(operand)
    if negated:
        return _is_there(operand.kind, column)
    return is_no_number(column) if operand.kind in _MAY_BE_NO_NUMBER else column.is_(None)


def _is_there(kind: Kind, column: Column) -> Column:
    return is_number(column) if kind in _MAY_BE_NO_NUMBER else column.is_not(None)


def _text(leaf: TextMatch, joined: _Joined) -> Column:
    text, part = (_text_side(side, joined) for side in (leaf.text, leaf.part))
    if text is None or part is None:
        return NO
    found: Column = (contains if leaf.match is Match.CONTAINS else begins)(text, part)
    return _in_brackets(sa.not_(found)) if leaf.negated else found


def _text_side(side: Operand, joined: _Joined) -> Column | None:
    if isinstance(side, Attribute):
        return joined.column(side)
    if not fits(side.value):
        return None
    return sa.bindparam(None, side.value, type_=sa.String(), unique=True)
