"""Who may do what: for each role and each action always, never, or under which condition."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from limen.authz.compilers.partial import condition_of_rules
from limen.authz.engine import Policies
from limen.authz.policy.nodes import And, HasPermission, HasRole, Node, Or, Truth
from limen.authz.policy.normal_form import joined, normal_form
from limen.authz.policy.shapes import Model
from limen.authz.policy.text import text_of
from limen.authz.roles import RoleCatalogue


class Answer(Enum):
    """Whether a role may do something."""

    ALWAYS = "always"
    NEVER = "never"
    DEPENDS = "depends"


@dataclass(frozen=True, slots=True)
class Cell:
    """One role and one action.

    Attributes:
        role: who holds this role, and no other; empty for somebody without any.
        action: what is done.
        resource: the name of the model; empty where the action is about none.
        answer: whether.
        condition: under which condition, where it depends.
    """

    role: str
    action: str
    resource: str
    answer: Answer
    condition: str = ""


def cases_of(policies: Policies) -> list[tuple[str, Model | None]]:
    """Return every action with each model that its rules are about, in order; with None where they are about none."""
    found: list[tuple[str, Model | None]] = []
    for action in sorted(policies.actions):
        rules = policies.rules_for(action)
        models = {rule.row.model for rule in rules if rule.row is not None}
        models |= {model for model, name in policies.loaded.reads.items() if name == action}
        found += [(action, model) for model in sorted(models, key=lambda model: model.__qualname__)]
        if not models:
            found.append((action, None))
    return found


def condition_in_case(policies: Policies, action: str, model: Model | None) -> Node:
    """Return all the rules of an action as one condition in normal form: for a model, or without a resource."""
    if model is not None:
        return policies.condition(action, model)
    return condition_of_rules(rule for rule in policies.rules_for(action) if rule.row is None)


def matrix(policies: Policies, catalogue: RoleCatalogue, roles: Iterable[str] | None = None) -> list[Cell]:
    """Return a cell for each role and each action.

    Args:
        policies: what decides.
        catalogue: what the roles give.
        roles: those to list; every role, and somebody without any, where it is left out.
    """
    listed = ["", *sorted(catalogue.names)] if roles is None else list(roles)
    return [
        _cell(role, action, model, _with_role(condition_in_case(policies, action, model), role, catalogue))
        for action, model in cases_of(policies)
        for role in listed
    ]


def _cell(role: str, action: str, model: Model | None, left: Node) -> Cell:
    cell = Cell(role, action, "" if model is None else model.__name__, Answer.DEPENDS)
    if isinstance(left, Truth):
        return replace(cell, answer=Answer.ALWAYS if left.value else Answer.NEVER)
    return replace(cell, condition=text_of(left))


def _with_role(node: Node, role: str, catalogue: RoleCatalogue) -> Node:
    """Return what is left of a condition for somebody who holds one role."""
    held = frozenset({role}) if role else frozenset()
    permissions = catalogue.permissions_of(held)

    def left(each: Node) -> Node:
        match each:
            case And(parts):
                return joined(And, [left(part) for part in parts])
            case Or(parts):
                return joined(Or, [left(part) for part in parts])
            case HasRole(name, negated):
                return Truth((name in held) is not negated)
            case HasPermission(name, negated):
                return Truth((name in permissions) is not negated)
            case _:
                return each

    return left(normal_form(node))
