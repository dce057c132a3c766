"""Rules: what is allowed and what is denied, by action, under a condition; and all of them as one declared set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from limen.authz.permissions import is_permission_name, permission_name
from limen.authz.policy.expressions import Expression, condition_of, rows_of
from limen.authz.policy.nodes import Node, Row, Truth
from limen.authz.policy.shapes import Model
from limen.core.errors import ConfigurationError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}\Z")
_WILDCARD: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9_.-]{0,63}:){1,3}\*\Z")


class Effect(Enum):
    """What a rule does where its condition is true."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: what decisions, explanations and the lock file call it; unique in a set.
        effect: allow or deny. A deny wins over every allow.
        actions: ``resource:action``; ``resource:*`` stands for every action of that resource that the set knows when it
            is loaded.
        condition: when it holds; `Truth` where it always does.
        row: the resource it is about; None where it reads none, and so holds for every resource, and for none.
        fields: the fields of the resource that it is about, or None for all. A deny with fields takes only them away.
        unknown_denies: it is meant that a deny holds where what it reads is missing.
    """

    id: str
    effect: Effect
    actions: tuple[str, ...]
    condition: Node
    row: Row | None = None
    fields: frozenset[str] | None = None
    unknown_denies: bool = False


def allow(
    action: str | Iterable[str],
    condition: Expression | None = None,
    /,
    *,
    id: str,
    fields: Iterable[str] | None = None,
) -> Rule:
    """Allow an action where a condition is true.

    Args:
        action: ``resource:action``, several of them, or ``resource:*``.
        condition: when; always where it is left out.
        id: the rule's name in decisions, explanations and the lock file.
        fields: the fields of the resource that may be read or written; all where it is left out.

    Raises:
        ConfigurationError: a name is malformed, or the condition is about two resources.
    """
    return _rule(Effect.ALLOW, action, condition, id, fields, unknown_denies=False)


def deny(
    action: str | Iterable[str],
    condition: Expression | None = None,
    /,
    *,
    id: str,
    fields: Iterable[str] | None = None,
    unknown: Literal["deny"] | None = None,
) -> Rule:
    """Deny an action where a condition is true, or cannot be told. It wins over every allow.

    Args:
        action: as in `allow`.
        condition: as in `allow`.
        id: as in `allow`.
        fields: take away only these fields of the resource, not the action.
        unknown: ``"deny"`` says that it is meant to hold where what it reads is missing, which else is a finding of
            ``limen policy lint`` for whatever may be NULL.

    Raises:
        ConfigurationError: as `allow`.
    """
    if unknown not in {None, "deny"}:
        raise ConfigurationError(f'deny {id}: unknown="deny" or nothing, not {unknown!r}')
    return _rule(Effect.DENY, action, condition, id, fields, unknown_denies=unknown == "deny")


def _rule(
    effect: Effect,
    action: str | Iterable[str],
    condition: Expression | None,
    id: str,
    fields: Iterable[str] | None,
    *,
    unknown_denies: bool,
) -> Rule:
    what = f"{effect.value} {id}"
    if not isinstance(id, str) or _ID.match(id) is None:
        raise ConfigurationError(f"{effect.value}: {id!r} is no id: letters, digits, and any of _.:/- between them")
    node: Node = Truth(True) if condition is None else condition_of(condition).node
    rows = rows_of(node)
    if len(rows) > 1:
        names = " and ".join(sorted(row.name for row in rows))
        raise ConfigurationError(f"{what}: a rule is about one resource, not {names}; write one for each")
    row = next(iter(rows), None)
    return Rule(id, effect, _actions(what, action), node, row, _fields(what, fields), unknown_denies)


def _actions(what: str, action: str | Iterable[str]) -> tuple[str, ...]:
    given = (action,) if isinstance(action, str) else tuple(action)
    if not given:
        raise ConfigurationError(f"{what} names no action")
    for name in given:
        if not (isinstance(name, str) and (is_permission_name(str(name)) or _WILDCARD.match(str(name)))):
            raise ConfigurationError(f"{what}: {name!r} is no action: write resource:action, or resource:*")
    return tuple(dict.fromkeys(str(name) for name in given))


def _fields(what: str, fields: Iterable[str] | None) -> frozenset[str] | None:
    if fields is None:
        return None
    if isinstance(fields, str):
        raise ConfigurationError(f"{what}: fields= is a list of names, not one text")
    found = frozenset(fields)
    if not found:
        raise ConfigurationError(f"{what}: fields= names none: leave it out for all of them")
    return found


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Everything that decides, as declared. It decides nothing before it was loaded.

    Attributes:
        rules: in any order.
        tenants: for each resource that belongs to a tenant, the condition that it is the subject's, such as
            ``O.tenant_id == U.tenant_id``. It must hold beside every allow. Where one is given, every other resource
            that a rule is about must be named in `untenanted`.
        untenanted: the models that belong to no tenant.
        actions: names of actions beside those that allow rules and roles name, for wildcards and for denies.
        reads: for each model, the action that is asked before one of its rows is shown; ``Order: "order:read"``.
        tests: rows of a table, each run at loading; a set that fails one is not loaded. See `expect`.
        context: the names of what is handed in as context in every entrance: HTTP, messages, services and lists.
    """

    rules: tuple[Rule, ...]
    tenants: tuple[Expression, ...] = ()
    untenanted: frozenset[Model] = frozenset()
    actions: frozenset[str] = frozenset()
    reads: Mapping[Model, str] = field(default_factory=dict)
    tests: tuple["Expectation", ...] = ()
    context: frozenset[str] = frozenset()

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        tenants: Iterable[Expression] = (),
        untenanted: Iterable[Model] = (),
        actions: Iterable[str] = (),
        reads: Mapping[Model, str] | None = None,
        tests: "Sequence[Expectation]" = (),
        context: Iterable[str] = (),
    ) -> None:
        listed = tuple(rules)
        for rule in listed:
            if not isinstance(rule, Rule):
                raise ConfigurationError(f"{rule!r} is no rule: write allow(…) or deny(…)")
        object.__setattr__(self, "rules", listed)
        object.__setattr__(self, "tenants", tuple(condition_of(each) for each in tenants))
        object.__setattr__(self, "untenanted", frozenset(untenanted))
        object.__setattr__(self, "actions", frozenset(permission_name(each) for each in actions))
        object.__setattr__(self, "reads", {model: permission_name(name) for model, name in (reads or {}).items()})
        object.__setattr__(self, "tests", tuple(tests))
        object.__setattr__(self, "context", frozenset(context))


@dataclass(frozen=True, slots=True)
class Expectation:
    """One row of a policy's own tests; see `expect`."""

    subject: Mapping[str, object]
    action: str
    resource: object
    allowed: bool
    by: str | None = None
    context: Mapping[str, object] = field(default_factory=dict)


def expect(
    action: str,
    resource: object = None,
    *,
    allowed: bool,
    id: str = "",
    roles: Iterable[str] = (),
    permissions: Iterable[str] = (),
    by: str | None = None,
    context: Mapping[str, object] | None = None,
    **attributes: object,
) -> Expectation:
    """State what the policy must answer; every loading asks it, and a set that answers otherwise is not loaded.

    Args:
        action: ``resource:action``.
        resource: an instance of a model, or a mapping with its fields.
        allowed: the answer.
        id: the subject's id.
        roles: the roles that the subject holds.
        permissions: its permissions.
        by: the id of the rule that has to be the reason.
        context: what is known beside.
        attributes: the subject's other fields.
    """
    told = {"id": id, "roles": frozenset(roles), "permissions": frozenset(permissions), **attributes}
    return Expectation(told, permission_name(action), resource, allowed, by, context or {})
