"""Random rows of SQLAlchemy models in a real database, and whether lists of them agree with the check.

Needs hypothesis. What is here is called by `limen.testing.policies`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis.errors import Unsatisfiable
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Mapper, Session, selectinload

from limen.authz.engine import Policies
from limen.authz.policy.nodes import And, AnyRow, Attribute, Constant, Node, Not, Or, Row
from limen.authz.policy.tree import operands_of
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal
from limen.testing.policy_rows import Given, Path, World, mappers_of, worlds_of

_PHASES: Final = (Phase.explicit, Phase.generate, Phase.shrink)


# --- what rules read, and name


def _leaves(node: Node, at: Mapping[Row, Path]) -> Iterator[tuple[Node, Mapping[Row, Path]]]:
    """Yield the leaves of a condition, each with the relations that lead to the rows that it names."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part, at)
        case Not(part):
            yield from _leaves(part, at)
        case AnyRow(relation, row, condition):
            yield node, at
            yield from _leaves(condition, {**at, row: _path(relation, at)})
        case _:
            yield node, at


def _path(attribute: Attribute, at: Mapping[Row, Path]) -> Path:
    before: Path = () if attribute.row is None else at.get(attribute.row, ())
    return (*before, *attribute.path)


def _conditions(policies: Policies, action: str, model: type[Any]) -> list[Node]:
    classes = [each.class_ for each in sa.inspect(model).self_and_descendants]
    return [policies.condition(action, each) for each in classes]


def _paths(conditions: Iterable[Node]) -> list[Path]:
    """Return every way that rules go from the row to a field."""
    found: dict[Path, None] = {}
    for condition in conditions:
        for leaf, at in _leaves(condition, {}):
            operands = (leaf.relation,) if isinstance(leaf, AnyRow) else operands_of(leaf)
            for each in operands:
                if isinstance(each, Attribute) and each.row is not None:
                    found[_path(each, at)] = None
    return list(found)


def _named(
    conditions: Iterable[Node], principals: Iterable[Principal], context: Mapping[str, object]
) -> tuple[object, ...]:
    """Return the values that rules, principals and the context name, and those right beside them."""
    told: list[object] = []
    for condition in conditions:
        for leaf, _ in _leaves(condition, {}):
            told += [each.value for each in operands_of(leaf) if isinstance(each, Constant)]
    for principal in principals:
        told += [principal.sub, *(principal.attributes or {}).values()]
    told += context.values()
    several = [
        each for value in told for each in (value if isinstance(value, frozenset | set | list | tuple) else [value])
    ]
    return tuple(each for value in several for each in _around(value))


def _around(value: object) -> tuple[object, ...]:  # noqa: PLR0911 - one for each kind
    match value:
        case bool() | None | "":
            return (value,)
        case int():
            return (value, value - 1, value + 1)
        case Decimal() if value.is_finite():
            return (value, value - Decimal("0.01"), value + Decimal("0.01"))
        case datetime():
            step = timedelta(microseconds=1)
            return (value, value - step, value + step)
        case str() if len(value) == 36:
            try:
                return (value, UUID(value))
            except ValueError:
                return (value,)
        case _:
            return (value,)


# --- the proof


def prove(  # noqa: PLR0917 - what the public function was given, read and ready
    policies: Policies,
    database: sa.Engine | sa.Connection,
    model: type[Any],
    action: str,
    principals: tuple[Principal, ...],
    examples: int,
    context: Mapping[str, object],
    given_: Given,
) -> None:
    """Compare list and check on random rows; see `limen.testing.policies.assert_lists_agree`."""
    conditions = _conditions(policies, action, model)
    paths = _paths(conditions)
    named = _named(conditions, principals, context)
    with _connection(database) as connection:
        first = _first_numbers(connection, mappers_of(model, paths))
        worlds = worlds_of(model, paths, named, given_, first)

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=_PHASES,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(worlds)
        def agrees(world: World) -> None:
            transaction = connection.begin()
            try:
                with Session(connection, autoflush=False, join_transaction_mode="rollback_only") as session:
                    _write(session, world)
                    rows = _read(session, model, paths)
                    for principal in principals:
                        _compare(policies, session, (model, action), principal, context, rows)
            finally:
                if transaction.is_active:
                    transaction.rollback()

        try:
            agrees()
        except Unsatisfiable as error:
            raise ConfigurationError(
                f"The database takes no row of {model.__name__} that was tried. Give strategies: columns={{…}}."
            ) from error


@contextmanager
def _connection(database: sa.Engine | sa.Connection) -> Iterator[sa.Connection]:
    if isinstance(database, sa.Engine):
        with database.connect() as connection:
            yield connection
        return
    if database.in_transaction():
        raise ConfigurationError("The connection is in a transaction, and each example is rolled back. Give another.")
    yield database


def _first_numbers(connection: sa.Connection, mappers: Iterable[Mapper[Any]]) -> dict[str, int]:
    """Return for each table whose key is a number the first that is free."""
    found: dict[str, int] = {}
    with connection.begin() as transaction:
        for mapper in mappers:
            column = mapper.primary_key[0]
            if len(mapper.primary_key) == 1 and isinstance(column.type, sa.Integer):
                found[str(column.table)] = (connection.scalar(sa.select(sa.func.max(column))) or 0) + 1
        transaction.rollback()
    return found


def _write(session: Session, world: World) -> None:
    try:
        for rows in world.rows:
            session.add_all(rows)
            session.flush()
        for table, told in world.links:
            session.execute(table.insert(), dict(told))
    except (IntegrityError, DataError):
        # A CHECK, or another rule of the table's own, that nobody knows of here.
        reject()
    session.expunge_all()


def _read(session: Session, model: type[Any], paths: Iterable[Path]) -> list[Any]:
    """Return all rows, with everything loaded that rules read."""
    options = [option for path in paths if (option := _option(model, path)) is not None]
    rows = list(session.scalars(sa.select(model).options(*options)).unique())
    for row in rows:
        for path in paths:
            _touch(row, path)
    return rows


def _option(model: type[Any], path: Path) -> Any:
    option: Any = None
    mapper: Mapper[Any] = sa.inspect(model)
    for name in path:
        if name not in mapper.relationships:
            break
        relation = getattr(mapper.class_, name)
        option = selectinload(relation) if option is None else option.selectinload(relation)
        mapper = mapper.relationships[name].mapper
    return option


def _touch(row: Any, path: Path) -> None:
    if not path or row is None or not hasattr(type(row), path[0]):
        return
    value = getattr(row, path[0])
    for each in value if isinstance(value, list | set | tuple) else [value]:
        _touch(each, path[1:])


def _compare(
    policies: Policies,
    session: Session,
    about: tuple[type[Any], str],
    principal: Principal,
    context: Mapping[str, object],
    rows: list[Any],
) -> None:
    model, action = about
    mapper: Mapper[Any] = sa.inspect(model)
    keys = [getattr(model, mapper.get_property_by_column(each).key) for each in mapper.primary_key]
    visible = policies.where(principal, action, model, context)
    listed = {tuple(each) for each in session.execute(sa.select(*keys).where(visible))}
    for row in rows:
        can = policies.can(principal, action, row, context)
        if can is not (tuple(sa.inspect(row).identity) in listed):
            raise AssertionError(_difference(policies, action, principal, context, row, can=can))


def _difference(
    policies: Policies, action: str, principal: Principal, context: Mapping[str, object], row: Any, *, can: bool
) -> str:
    why = policies.explain(principal, action, row, context)
    mapper: Mapper[Any] = sa.inspect(type(row))
    fields = ", ".join(f"{each.key}={getattr(row, each.key)!r}" for each in mapper.column_attrs)
    whose = principal.sub or principal.kind.value
    told = f"the check {'allows' if can else 'denies'} it, and the list {'leaves it out' if can else 'shows it'}"
    return "\n".join(
        [
            f"{action}: list and check differ about a row: {told}.",
            f"row: {type(row).__name__}({fields})",
            f"principal: {whose}, roles {sorted(principal.roles)}, attributes {dict(principal.attributes or {})}",
            f"the check says: {why.rule or why.code or 'no rule'}, version {why.version}",
        ]
    )
