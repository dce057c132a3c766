"""Filter by default: a session that shows a principal only the rows it may read, whatever statement is written."""

from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, undefer
from sqlalchemy.orm.exc import ObjectDeletedError

from limen.authz.compilers.sql.criteria import Criterion
from limen.authz.compilers.sql.listing import visible
from limen.authz.compilers.sql.statements import UNFILTERED, as_mapped, hierarchies, refuse
from limen.authz.engine import Policies
from limen.authz.policy.nodes import Node
from limen.authz.policy.normal_form import FALSE
from limen.authz.policy.shapes import Model
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal

_bound: "WeakKeyDictionary[Session, _Filter]" = WeakKeyDictionary()

_PAST_THE_FILTER: Final = {
    "connection": "a connection runs whatever it is given.",
    "bulk_update_mappings": "it changes rows by their key alone, whoever may read them.",
    "bulk_save_objects": "it changes rows by their key alone, whoever may read them.",
}


def bind(
    session: Session | AsyncSession,
    policies: Policies,
    principal: Principal,
    context: Mapping[str, object] | None = None,
) -> None:
    """Let a session show a principal only what it may read, from now on and for as long as the session lives.

    The action that `PolicySet.reads` names for a class, or for one it inherits from, is asked of every row that an ORM
    statement of this session reads, and of every row that a bulk UPDATE or DELETE changes. A class that it does not
    name has no rows here. What cannot be filtered is refused: see `limen.authz.compilers.sql.statements`.

    Args:
        session: a session that holds no objects yet.
        policies: what decides; a policy loaded later does not change a session that is bound.
        principal: who reads.
        context: what is known beside, now.

    Raises:
        ConfigurationError: the session holds objects, which nobody has filtered; or it is bound to somebody else.
    """
    inner = session.sync_session if isinstance(session, AsyncSession) else session
    made = _Filter(policies, principal, context)
    before = _bound.get(inner)
    if before is not None:
        if before.is_same(made):
            return
        raise ConfigurationError("The session is bound to a principal, and stays so: open another one for the next.")
    if len(inner.identity_map) or inner.new:
        raise ConfigurationError("The session holds objects already, which were not filtered: bind it first.")
    _bound[inner] = made
    event.listen(inner, "do_orm_execute", made.filter)
    for name, why in _PAST_THE_FILTER.items():
        setattr(inner, name, _refusing(getattr(inner, name), f"{name}() goes past that: {why}"))


def _refusing(method: Any, why: str) -> Any:
    def refusing(*arguments: Any, execution_options: Mapping[str, Any] | None = None, **named: Any) -> Any:
        if not (execution_options or {}).get(UNFILTERED):
            refuse(why)
        rest = {key: value for key, value in (execution_options or {}).items() if key != UNFILTERED}
        return method(*arguments, **named, **({"execution_options": rest} if rest else {}))

    return refusing


class _Filter:
    """What one session filters by."""

    def __init__(self, policies: Policies, principal: Principal, context: Mapping[str, object] | None) -> None:
        self._policies = policies
        self._principal = principal
        self._context = context
        self._criteria: dict[Mapper[Any], Criterion] = {}

    def is_same(self, other: "_Filter") -> bool:
        """Tell whether the other one filters by the same."""
        same = self._policies is other._policies and self._principal == other._principal
        return (
            same
            and self._principal.attributes == other._principal.attributes
            and (self._context or {}) == (other._context or {})
        )

    def filter(self, state: ORMExecuteState) -> None:
        """Filter a statement before it is run.

        Raises:
            StatementNotFiltered: that is not possible.
        """
        if state.execution_options.get(UNFILTERED) is True:
            return
        if state.is_column_load:
            self._refresh(state)
            return
        if state.is_update or state.is_delete:
            # With a list of values, rows are found by their key alone.
            told = state.execution_options.get("dml_strategy", "auto")
            if state.is_executemany or isinstance(state.parameters, list | tuple) or told not in {"auto", "orm"}:
                refuse("a bulk UPDATE by key changes rows that it may not read.")
        elif not (state.is_select or state.is_insert):
            refuse("this is neither SELECT, INSERT, UPDATE nor DELETE.")
        statement: Any = state.statement if state.is_orm_statement else as_mapped(state.statement)
        roots = hierarchies(statement, is_loading=state.is_relationship_load)
        state.statement = statement.options(*[self._criterion(root) for root in roots])

    def _refresh(self, state: ORMExecuteState) -> None:
        """Let an object be refreshed only where its row may be read now. SQLAlchemy filters no refresh.

        Raises:
            ObjectDeletedError: it may not.
            StatementNotFiltered: a column of it reads rows that cannot be filtered.
        """
        instance: Any = state.load_options._refresh_state
        mapper = instance.mapper.base_mapper
        key = zip(mapper.primary_key, instance.key[1], strict=True)
        same = [getattr(mapper.class_, mapper.get_property_by_column(column).key) == value for column, value in key]
        found = state.session.execute(sa.select(sa.func.count()).select_from(mapper.class_).where(*same))
        if found.scalar_one() != 1:
            raise ObjectDeletedError(instance)
        # A column_property reads other rows, and a refresh can be the first to ask for it.
        told: Any = state.statement
        named = [name for name in told._compile_options._only_load_props or () if name in instance.mapper.column_attrs]
        model = instance.mapper.class_
        roots = hierarchies(sa.select(model).options(*[undefer(getattr(model, name)) for name in named]))
        state.statement = told.options(*[self._criterion(root) for root in roots])

    def _criterion(self, root: Mapper[Any]) -> Criterion:
        made = self._criteria.get(root)
        if made is None:
            condition = visible(self._condition, root.class_, self._principal, self._policies.told(self._context))
            made = self._criteria[root] = Criterion(root, condition)
        return made

    def _condition(self, model: Model) -> Node:
        """Return the condition for reading instances of a class: by the nearest class that has an action for it."""
        reads = self._policies.loaded.reads
        action = next((reads[each] for each in model.__mro__ if each in reads), None)
        return FALSE if action is None else self._policies.condition(action, model)
