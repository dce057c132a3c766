"""Looks at a statement before a bound session runs it, for rows that would not be filtered.

SQLAlchemy filters what it knows to be a mapped class, which is nearly everywhere and not everywhere. So each SELECT of
a statement, however deep, is compiled for a look, as it will be compiled for the database: every table that rows come
from must bear the mark of a filter, or the statement is refused. What is known to be filtered is remembered by the
statement's cache key.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.elements import BindParameter, ColumnClause, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import (
    Alias,
    CompoundSelect,
    FromClause,
    FromGrouping,
    Join,
    Lateral,
    ScalarValues,
    Select,
    SelectBase,
    Subquery,
    Values,
)

from limen.authz.compilers.sql.criteria import Criterion, Visible
from limen.authz.compilers.sql.rows import Trusted
from limen.core.errors import ConfigurationError

UNFILTERED: Final = "limen_reads_rows_that_no_policy_was_asked_about"
"""The execution option by which a statement is run as it is, in a session that filters."""

_REMEMBERED: Final = 2000
_seen: dict[Any, tuple[Mapper[Any], ...]] = {}


class StatementNotFiltered(ConfigurationError):
    """A statement of a bound session reads rows that cannot be filtered, so it was not run."""


def refuse(why: str) -> NoReturn:
    """Raise.

    Raises:
        StatementNotFiltered: always.
    """
    raise StatementNotFiltered(
        f"This session shows a principal only what it may read, and {why} Where every row is meant, whoever asks, "
        f'say so: execution_options={{"{UNFILTERED}": True}}.'
    )


def hierarchies(statement: Any, *, is_loading: bool = False) -> tuple[Mapper[Any], ...]:
    """Return the roots of the classes whose rows a statement can lead to, after a look that each is filtered.

    Args:
        statement: as written.
        is_loading: SQLAlchemy wrote it, to load a relation.

    Raises:
        StatementNotFiltered: some rows would not be.
    """
    told = statement._generate_cache_key()
    key = None if told is None else (told.key, is_loading)
    if key in _seen:
        return _seen[key]
    roots = _roots(statement)
    _Look(roots, is_loading=is_loading).statement(statement)
    if key is not None:
        if len(_seen) >= _REMEMBERED:
            _seen.clear()
        _seen[key] = roots
    return roots


def as_mapped(statement: Any) -> Any:
    """Return a statement whose mapped classes stand further in, such as in EXISTS alone, as one about mapped classes.

    Raises:
        StatementNotFiltered: there are none.
    """
    mapper = next((found for each in visitors.iterate(statement) for found in _named(each)), None)
    if mapper is None or not isinstance(statement, Select):
        refuse("this is no statement about mapped classes.")
    copy = statement._clone()
    copy._propagate_attrs = copy._propagate_attrs.union({"compile_state_plugin": "orm", "plugin_subject": mapper})
    return copy


def _roots(statement: Any) -> tuple[Mapper[Any], ...]:
    """Return the roots of all classes that are named, and of all that relations lead to from there."""
    found: dict[Mapper[Any], None] = {}
    waiting = [mapper for element in visitors.iterate(statement) for mapper in _named(element)]
    while waiting:
        root = waiting.pop().base_mapper
        if root not in found:
            found[root] = None
            for mapper in root.self_and_descendants:
                if mapper.concrete:
                    refuse(f"{mapper.class_.__name__} has concrete inheritance, which is not covered.")
                waiting += [relation.mapper for relation in mapper.relationships]
    return tuple(found)


def _named(element: Any) -> Iterator[Mapper[Any]]:
    told = element._annotations
    for name in ("parententity", "parentmapper"):
        mapper = getattr(told.get(name), "mapper", None)
        if mapper is not None:
            yield mapper


def _is_entity(element: Any) -> bool:
    return "parententity" in element._annotations


def _conjuncts(clause: Any) -> Iterator[Any]:
    """Return what all of must be true."""
    if isinstance(clause, sa.BooleanClauseList) and clause.operator is sa.sql.operators.and_:
        for each in clause.clauses:
            yield from _conjuncts(each)
    elif clause is not None:
        yield clause


def _marked(clauses: Iterable[Any]) -> set[str]:
    """Return the names of the tables whose rows a condition of a policy holds for."""
    return {each.row.table.name for clause in clauses for each in _conjuncts(clause) if isinstance(each, Visible)}


class _Look:
    """One look at one statement."""

    def __init__(self, roots: tuple[Mapper[Any], ...], *, is_loading: bool) -> None:
        self._is_loading = is_loading
        mappers = [mapper for root in roots for mapper in root.self_and_descendants]
        self._root_of = {table: mapper.base_mapper.local_table for mapper in mappers for table in mapper.tables}
        # A relation need not be known at both of its ends.
        known = [mapper for registry in {root.registry for root in roots} for mapper in registry.mappers]
        between = {relation.secondary for mapper in known for relation in mapper.relationships}
        self._between = between - {None}
        self._options = [Criterion(root, sa.true()) for root in roots]
        self._entered: set[int] = set()

    def statement(self, statement: Any) -> None:
        """Look at a whole statement."""
        if isinstance(statement, Insert | Update | Delete):
            _no_added_text(statement)
        if isinstance(statement, Select | CompoundSelect):
            self._selectable(statement, [])
        elif isinstance(statement, Insert):
            if statement._post_values_clause is not None:
                refuse("INSERT … ON CONFLICT may change and return a row that it may not.")
            _no_expressions(statement._multi_values)
            self._nested(statement.get_children(), [])
        elif isinstance(statement, Update | Delete):
            self._change(statement)
        else:
            refuse(f"a {type(statement).__name__} says for itself which rows it reads.")

    def _change(self, statement: Update | Delete) -> None:
        subject = statement.table
        mapper = next(_named(subject), None)
        if mapper is None or not isinstance(subject, sa.Table):
            refuse(f"{subject} is no mapped class.")
        if mapper.local_table is not mapper.base_mapper.local_table:
            refuse(f"the rows of {mapper.class_.__name__} are in several tables: change them one by one.")
        for element in _surface(statement.get_children()):
            table: Any = element.table if isinstance(element, ColumnClause) else element
            if (
                isinstance(table, FromClause)
                and not isinstance(table, SelectBase)
                and _table_of(table) is not _table_of(subject)
            ):
                refuse(f"{table} is read beside {subject.name}: write a subquery.")
        self._nested(statement.get_children(), [subject])

    def _selectable(self, selectable: Any, around: list[Any]) -> None:
        if isinstance(selectable, CompoundSelect):
            for each in selectable.selects:
                self._selectable(each, around)
            self._nested(selectable._order_by_clauses, around)
        elif isinstance(selectable, Select):
            self._select(selectable, around)
        elif hasattr(selectable, "element"):
            self._selectable(selectable.element, around)
        else:
            refuse(f"a {type(selectable).__name__} says for itself which rows it reads.")

    def _select(self, select: Any, around: list[Any]) -> None:
        """Look at one SELECT.

        Args:
            select: as written.
            around: the tables of the statements around it, each filtered there, that it may be correlated with.
        """
        _no_added_text(select)
        if not self._is_loading:
            self._written(select)
        final = select
        if select._propagate_attrs.get("compile_state_plugin") == "orm":
            told = select.options(*self._options)
            final = _state(told).statement
        state = _state(final)
        froms = state._get_display_froms(explicit_correlate_froms=around, implicit_correlate_froms=around)
        marked = _marked(final._where_criteria)
        for each in froms:
            self._from(each, marked, around)
        inner = [*around, *(table for each in froms for table in _tables(each))]
        self._nested(final._where_criteria, inner)
        self._nested([each.onclause for join in froms for each in _joins(join)], inner)
        # What a class adds, such as a column_property, is in the final one alone.
        parts = {id(each): each for each in (*_parts(select), *final._raw_columns, *final._order_by_clauses)}
        self._nested([each for each in parts.values() if not _is_source(each)], inner)

    def _from(self, each: Any, marked: set[str], around: list[Any]) -> None:
        each = _opened(each)
        if isinstance(each, Join):
            self._join(each, marked, around)
        elif isinstance(each, sa.Table) or (isinstance(each, Alias) and isinstance(each.element, sa.Table)):
            self._table(each, marked)
        elif isinstance(each, Values):
            _no_expressions(each._data)
        elif isinstance(each, Lateral):
            self._selectable(each.element, around)
        elif isinstance(each, sa.CTE | Subquery | Alias):
            # A recursive one reads itself.
            if id(each.element) not in self._entered:
                self._entered.add(id(each.element))
                self._selectable(each.element, [])
        elif not isinstance(each, sa.TableValuedAlias):
            refuse(f"a {type(each).__name__} says for itself which rows it reads.")

    def _join(self, join: Any, marked: set[str], around: list[Any]) -> None:
        """Look at both sides: in ON a condition filters what is joined, and on the left only where both must be there.

        A table of an heir is filtered by being joined with the table at the root, which is.
        """
        if join.full:
            refuse("a FULL JOIN keeps the rows that its condition excludes.")
        on = _marked([join.onclause])
        self._from(join.left, marked if join.isouter else marked | on, around)
        right = _table_of(join.right)
        if right is not None and self._root_of.get(right, right) != right:
            on_both: list[Any] = [each for each in visitors.iterate(join.onclause) if _has_table(each)]
            joined = {each.table.name for each in on_both}
            kin: list[Any] = [t for t in _tables(join.left) if self._root_of.get(_table_of(t)) == self._root_of[right]]
            if joined.isdisjoint(table.name for table in kin):
                refuse(f"{right} is joined without the table it extends.")
            return
        self._from(join.right, marked | on, around)

    def _table(self, each: Any, marked: set[str]) -> None:
        table = _table_of(each)
        if each.name in marked or table in self._between:
            return
        if table not in self._root_of:
            refuse(f"{table} is no mapped class.")
        refuse(
            f"{table}, as {each.name}, would not be filtered here: name its class in the columns, in select_from(…) or "
            "in join(…)."
        )

    def _written(self, select: Any) -> None:
        """Refuse what only the application can have written: its own text, and tables that belong to a class."""
        explicit = [*select._raw_columns, *(target for target, *_ in select._setup_joins)]
        # Which rows there are between two classes nobody learns from a truth; it is how .any() and .has() are written.
        if not all(isinstance(each, ColumnClause) and each.is_literal for each in select._raw_columns):
            explicit += select._from_obj
        for each in explicit:
            table = _table_of(each)
            if table is not None and not _is_entity(each) and self._root_of.get(table) != table:
                refuse(f"{table} is read as a table.")
        for element in _surface([*_parts(select), *select._from_obj, *_conditions(select)]):
            _no_text(element)
            is_between = isinstance(element, ColumnClause) and _table_of(element.table) in self._between
            if is_between and element._annotations.keys().isdisjoint(("remote", "foreign", "local")):
                refuse(f"{element} is a column of a table between two classes.")

    def _nested(self, elements: Iterable[Any], around: list[Any]) -> None:
        """Look at every SELECT within expressions."""
        for element in _surface(elements):
            _no_text(element)
            if isinstance(element, sa.CTE):
                self._from(element, set(), [])
            elif isinstance(element, Select | CompoundSelect | Subquery):
                self._selectable(element, around)


def _surface(elements: Iterable[Any]) -> Iterator[Any]:
    """Return the elements of expressions, each SELECT among them as one: what is within it is not returned."""
    waiting = [element for element in elements if element is not None]
    while waiting:
        element = waiting.pop()
        if isinstance(element, Trusted):
            continue
        yield element
        if not isinstance(element, Select | CompoundSelect | Subquery | sa.CTE):
            waiting += element.get_children()


def _no_text(element: Any) -> None:
    if isinstance(element, TextClause | sa.TextualSelect):
        refuse("text of SQL says for itself which rows it reads.")
    if isinstance(element, ColumnClause) and element.is_literal and "(" in element.name:
        refuse("a literal column can hold a whole statement.")
    if isinstance(element, Values | ScalarValues):
        _no_expressions(element._data)


def _no_added_text(statement: Any) -> None:
    """Refuse hints, which are written into a statement as they are, and so are the prefixes of what changes rows."""
    hints = statement._hints or getattr(statement, "_statement_hints", ())
    if hints or (not isinstance(statement, Select) and statement._prefixes):
        refuse("a hint or a prefix is text of SQL, which can hold a whole statement.")


def _no_expressions(lists: Iterable[Any]) -> None:
    """Refuse expressions among the values of several rows: SQLAlchemy walks past them, and so would a look."""
    for row in (row for rows in lists for row in rows):
        for value in row.values() if isinstance(row, dict) else row:
            is_expression = isinstance(value, sa.sql.ClauseElement) or hasattr(value, "__clause_element__")
            if is_expression and not isinstance(value, BindParameter):
                refuse("an expression among the values of several rows is not looked at.")


def _is_source(element: Any) -> bool:
    """Tell whether a part of a SELECT brings rows along, which are looked at in FROM; a function is a value there."""
    return isinstance(element, FromClause) and not isinstance(element, sa.CTE | FunctionElement)


def _state(select: Any) -> Any:
    """Return what a SELECT is compiled from, with its FROM list made; by a compiler that knows no database."""
    dialect = DefaultDialect()
    return select._compile_state_factory(select, dialect.statement_compiler(dialect, None))


def _has_table(element: Any) -> bool:
    return isinstance(element, ColumnClause) and element.table is not None


def _parts(select: Any) -> Iterator[Any]:
    """Return all that a SELECT is made of but its FROM."""
    for group in (
        select._raw_columns, select._where_criteria, select._having_criteria, select._order_by_clauses,
        select._group_by_clauses, select._distinct_on, select._independent_ctes,
    ):  # fmt: skip
        yield from group
    yield from (select._limit_clause, select._offset_clause, select._fetch_clause)
    yield from (each for each, _ in (*select._prefixes, *select._suffixes))


def _conditions(select: Any) -> Iterator[Any]:
    """Return the conditions of joins that somebody wrote; that of a relation is its class's own."""
    for target, onclause, *_ in select._setup_joins:
        yield from (each for each in (target, onclause) if isinstance(each, sa.sql.ClauseElement))


def _table_of(each: Any) -> Any:
    """Return the table that a part of FROM is, also under another name; None where it is something else."""
    element = each.element if isinstance(each, Alias) else each
    # The same object, whatever SQLAlchemy has noted on the one that is at hand.
    return element.metadata.tables.get(element.key, element) if isinstance(element, sa.Table) else None


def _tables(each: Any) -> Iterator[Any]:
    each = _opened(each)
    if isinstance(each, Join):
        yield from _tables(each.left)
        yield from _tables(each.right)
    else:
        yield each


def _opened(each: Any) -> Any:
    """Return what is in brackets."""
    return each.element if isinstance(each, FromGrouping) else each


def _joins(each: Any) -> Iterator[Any]:
    each = _opened(each)
    if isinstance(each, Join):
        yield each
        yield from _joins(each.left)
        yield from _joins(each.right)
