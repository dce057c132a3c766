"""Rules: what is allowed and what is denied, by action, under a condition; and all of them as one declared set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Literal, TypeVar

from limen.authz.permissions import is_permission_name, permission_name
from limen.authz.policy.conditions import Condition, Expression, condition_of
from limen.authz.policy.models import field_of, shape_of
from limen.authz.policy.nodes import Node, Row, Truth
from limen.authz.policy.shapes import Model
from limen.authz.policy.tree import rows_of
from limen.core.errors import ConfigurationError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}\Z")
_T = TypeVar("_T")

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
        raise ConfigurationError(f'deny {id}: unknown={unknown!r} says nothing. Write unknown="deny", or leave it out.')
    return _rule(Effect.DENY, action, condition, id, fields, unknown_denies=unknown == "deny")


def _rule(
    effect: Effect, action: object, condition: object, id: object, fields: object, *, unknown_denies: bool
) -> Rule:
    if not isinstance(id, str) or _ID.match(str(id)) is None:
        raise ConfigurationError(
            f"{effect.value}: {id!r} is no id. Write letters, digits, and any of _ . : / - between them."
        )
    name = str(id)
    what = f"{effect.value} {name}"
    node: Node = Truth(True) if condition is None else _condition(what, condition)
    rows = rows_of(node)
    if len(rows) > 1:
        names = " and ".join(sorted(row.name for row in rows))
        raise ConfigurationError(f"{what} is about {names}, and a rule is about one resource. Write one for each.")
    row = next(iter(rows), None)
    return Rule(name, effect, _actions(what, action), node, row, _fields(what, fields, row), unknown_denies)


def _condition(what: str, condition: object) -> Node:
    try:
        return condition_of(condition).node
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error}") from None


def _names(what: str, given: object) -> tuple[object, ...]:
    """Return what was given as one or several names."""
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Iterable) and not isinstance(given, Expression | Mapping | bytes):
        return tuple(given)
    raise ConfigurationError(f"{what}: {given!r} is no list of names. Write [{given!r}].")


def _actions(what: str, action: object) -> tuple[str, ...]:
    given = _names(what, action)
    if not given:
        raise ConfigurationError(f"{what} names no action. Write resource:action, such as order:approve.")
    for name in given:
        if not (isinstance(name, str) and (is_permission_name(str(name)) or _WILDCARD.match(str(name)))):
            raise ConfigurationError(
                f"{what}: {name!r} is no action. Write resource:action, or resource:* for every action of a resource; "
                "there are no other patterns."
            )
    return tuple(dict.fromkeys(str(name) for name in given))


def _fields(what: str, fields: object, row: Row | None) -> frozenset[str] | None:
    if fields is None:
        return None
    if isinstance(fields, str):
        raise ConfigurationError(f"{what}: fields= is a list of names. Write fields=[{str(fields)!r}].")
    found = _names(f"{what}, fields=", fields)
    if not found:
        raise ConfigurationError(f"{what}: fields= names none. Leave it out for all of them.")
    for name in found:
        if not isinstance(name, str):
            raise ConfigurationError(f"{what}: fields= names {name!r}. Write the name, as a text.")
        if row is not None:
            try:
                field_of(shape_of(row.model), str(name))
            except ConfigurationError as error:
                raise ConfigurationError(f"{what}: {error}") from None
    return frozenset(str(name) for name in found)


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
    tenants: tuple[Condition, ...] = ()
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
        told = {
            "rules": _all(rules, Rule, "rules", "allow(…) or deny(…)"),
            "tenants": tuple(_tenant(each) for each in tenants),
            "untenanted": frozenset(_models(untenanted)),
            "actions": frozenset(permission_name(each) for each in _names("actions=", actions)),
            "reads": MappingProxyType({model: permission_name(name) for model, name in (reads or {}).items()}),
            "tests": _all(tests, Expectation, "tests=", "expect(…)"),
            "context": frozenset(str(each) for each in _names("context=", context)),
        }
        _models(told["reads"])
        for name, value in told.items():
            object.__setattr__(self, name, value)


def _all(given: Iterable[_T], kind: type[_T], where: str, how: str) -> tuple[_T, ...]:
    """Return what was given, each of it of one kind."""
    listed = tuple(given)
    for each in listed:
        if not isinstance(each, kind):
            raise ConfigurationError(f"{where}: {each!r} does not belong there. Write {how}.")
    return listed


def _models(models: object) -> tuple[Model, ...]:
    """Return the models, each of which declares its fields."""
    return tuple(shape_of(each).model for each in _classes(models))


def _classes(models: object) -> tuple[Model, ...]:
    if isinstance(models, type) or not isinstance(models, Iterable):
        raise ConfigurationError(f"{models!r} is no list of models. Write [{getattr(models, '__name__', models)}].")
    return tuple(models)


def _tenant(condition: Expression) -> Condition:
    found = condition_of(condition)
    if len(rows_of(found.node)) != 1:
        raise ConfigurationError(
            f"{found!r} is no condition of a tenant: it is about one resource. Write O.tenant_id == U.tenant_id."
        )
    return found


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
