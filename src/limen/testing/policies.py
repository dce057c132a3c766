"""Tests of an application's own policies: rows of its models, lists against the check, and tables of who may do what.

* `check_matrix`: a table of questions and answers; all that is wrong is told at once.
* `assert_lists_agree`: fills a database with random rows and proves that a list shows what the check allows.
* `instances`: a strategy of hypothesis for the application's models, with None only where a field may be None.

The last two need hypothesis, which limen does not install: ``pip install hypothesis``.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from limen.authz.engine import Policies
from limen.authz.policy.rules import PolicySet, Rule
from limen.core.errors import ConfigurationError
from limen.core.principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    # Names only: neither is needed by whoever has a table alone.
    from hypothesis.strategies import SearchStrategy
    from sqlalchemy import Connection, Engine

__all__ = ["Asked", "assert_lists_agree", "check_matrix", "instances"]


class Asked(NamedTuple):
    """One row of a table: a question and its answer.

    Attributes:
        principal: who acts.
        action: ``resource:action``.
        resource: what is acted on; None for nothing in particular.
        allowed: the answer.
        rule: the id of the rule that has to be the reason; empty where it does not matter.
        context: what is known beside.
    """

    principal: Principal
    action: str
    resource: object
    allowed: bool
    rule: str = ""
    context: Mapping[str, object] | None = None


def check_matrix(policies: "Policies | PolicySet | Iterable[Rule]", rows: Iterable[Asked | tuple[Any, ...]]) -> None:
    """Ask every row of a table.

    Args:
        policies: a snapshot, or rules, which are loaded.
        rows: each an `Asked`, or a tuple of the same: principal, action, resource, allowed, and the rule.

    Raises:
        AssertionError: an answer is another one, or an action is unknown; it tells of every row that is wrong. So does
            an empty table, which proves nothing.
        ConfigurationError: the rules are refused.
    """
    loaded = _loaded(policies)
    faults, count = [], 0
    for count, row in enumerate(rows, 1):
        asked = row if isinstance(row, Asked) else Asked(*row)
        fault = _fault(loaded, asked)
        if fault:
            faults.append(f"row {count}: {_named(asked.principal)} {asked.action} {asked.resource!r}: {fault}")
    if not count:
        raise AssertionError("The table has no rows, so it proves nothing.")
    if faults:
        raise AssertionError("\n".join([f"{len(faults)} of {count} answers are others:", *faults]))


def assert_lists_agree(
    policies: "Policies | PolicySet | Iterable[Rule]",
    database: "Engine | Connection",
    model: type[Any],
    action: str,
    *,
    principals: Iterable[Principal],
    examples: int = 50,
    context: Mapping[str, object] | None = None,
    columns: "Mapping[type[Any], Mapping[str, SearchStrategy[Any]]] | None" = None,
) -> None:
    """Prove on a database that a list shows exactly the rows that the check allows.

    It writes random rows of the model, and of those that it refers to and the rules read, into tables that exist, asks
    of each row what `can` says, and of all of them what `where` lets through. Each example is rolled back. The same
    examples are tried at each run; the values that rules and principals name come up often.

    Args:
        policies: a snapshot, or rules, which are loaded.
        database: an engine of SQLAlchemy; or a connection that is in no transaction, such as ``run_sync`` of an
            asynchronous one hands in. A database for tests: rows that are there are compared as well.
        model: a mapped class.
        action: ``resource:action``.
        principals: who asks; the anonymous principal asks beside them. Give the attributes that rules read.
        examples: how many sets of rows are tried.
        context: what is known beside. The time is the same for the check and for the list.
        columns: strategies for columns that take no value of their type, such as those with a CHECK.

    Raises:
        AssertionError: they differ; it shows the row, the principal, both answers, and the rule.
        ConfigurationError: hypothesis is missing, a column's type is unknown and no strategy is given for it, or the
            connection is in a transaction.
    """
    _require_hypothesis()
    from limen.testing.policy_lists import prove

    loaded = _loaded(policies)
    if action not in loaded.actions:
        raise AssertionError(f"{action} is no action that is known, so nothing is proved.")
    asking = (*principals, ANONYMOUS)
    prove(loaded, database, model, action, asking, examples, loaded.told(context), columns or {})


def instances(model: type[Any], *, values: Iterable[object] = (), **fields: "SearchStrategy[Any]") -> Any:
    """Return a strategy of hypothesis that makes instances of a model.

    Args:
        model: a SQLAlchemy model, a dataclass, a pydantic model or a TypedDict.
        values: what ought to come up often, such as the ids and limits that rules are about.
        fields: strategies for single fields, in place of what their type says.

    Returns:
        A ``SearchStrategy`` of instances; None only in fields that may be None. Rows of SQLAlchemy have their columns
        set and no relations; a pydantic model refuses values as ever, and others are tried then.

    Raises:
        ConfigurationError: hypothesis is missing, the model declares no fields, or the type of one is unknown.
    """
    _require_hypothesis()
    from limen.testing.policy_values import instances_of

    return instances_of(model, tuple(values), fields)


def _loaded(policies: "Policies | PolicySet | Iterable[Rule]") -> Policies:
    return policies if isinstance(policies, Policies) else Policies.load(policies)


def _fault(policies: Policies, asked: Asked) -> str:
    if asked.action not in policies.actions:
        return "there is no such action"
    decision = policies.decide(asked.principal, asked.action, asked.resource, asked.context)
    can = policies.can(asked.principal, asked.action, asked.resource, asked.context)
    if can is not decision.allowed or can is not asked.allowed:
        by = f" by {decision.rule}" if decision.rule else ""
        return f"{_word(can)}{by}, and must be {_word(asked.allowed)}"
    if asked.rule and decision.rule != asked.rule:
        return f"{_word(can)} by {decision.rule or 'no rule'}, and must be by {asked.rule}"
    return ""


def _named(principal: Principal) -> str:
    roles = f" ({', '.join(sorted(principal.roles))})" if principal.roles else ""
    return (principal.sub or principal.kind.value) + roles


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "denied"


def _require_hypothesis() -> None:
    try:
        import hypothesis  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Random rows need hypothesis, which is not installed. Add it to the packages of your tests."
        ) from error
