"""What a policy says that its author may not have meant: findings of ``limen policy lint``.

A set that can be loaded may still deny everybody because a column is empty, or be read by nobody. Errors are what fails
closed or open in a way that nobody sees; warnings are what deserves a second look.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from limen.authz.engine import Policies
from limen.authz.loading import leaves_of
from limen.authz.policy.expressions import operands_of
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Comparison,
    Constant,
    In,
    IsNull,
    Node,
    Or,
    Source,
    TextMatch,
)
from limen.authz.policy.normal_form import FALSE, TRUE, normal_form
from limen.authz.policy.rules import Effect, Rule
from limen.authz.policy.shapes import Model
from limen.authz.policy.text import name_of

EVERYWHERE: Final = frozenset({"now"})
"""What every entrance knows of the context."""


class Severity(Enum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Attributes:
        code: what it is, the same in every version: ``LP`` and three digits.
        severity: error or warning.
        where: the rule, the route or the model.
        message: what happens.
        remedy: how to write it.
    """

    code: str
    severity: Severity
    where: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """A route, as far as policies are concerned.

    Attributes:
        name: method and path.
        permissions: the permissions that are asked by name.
        actions: the actions that are asked of the policy with a resource.
    """

    name: str
    permissions: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()


def lint(policies: Policies, *, routes: Iterable[RouteFacts] = (), models: Iterable[Model] = ()) -> list[Finding]:
    """Return what deserves a look, errors first, in the order of the rules.

    Args:
        policies: a set that could be loaded.
        routes: the routes of an application, where one is known.
        models: mapped classes beside those that rules are about; those of the same registry are found by themselves.
    """
    found = [finding for rule in policies.rules for finding in _of_rule(rule, policies)]
    found += _denied_to_all(policies)
    found += _unfiltered(policies, models)
    found += _by_name_only(policies, routes)
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _of_rule(rule: Rule, policies: Policies) -> Iterator[Finding]:
    where = f"{rule.effect.value} {rule.id}"
    yield from _of_context(rule, where, policies.loaded.context)
    form = normal_form(rule.condition)
    if rule.effect is Effect.DENY:
        if not rule.unknown_denies:
            for attribute in _unguarded(form):
                yield _denying_the_unknown(where, attribute)
    else:
        for attribute in _negated_on_nullable(form):
            yield Finding(
                "LP003", Severity.WARNING, where,
                f"{name_of(attribute)} may be missing, and is then neither equal nor unequal: it does not hold.",
                f"Add | {name_of(attribute)}.is_null() where it is to hold then, or leave it as it is.",
            )  # fmt: skip
    if _never_holds(form):
        yield Finding(
            "LP006", Severity.WARNING, where, "Its condition is never true, so the rule does nothing.", "Remove it."
        )


def _never_holds(form: Node) -> bool:
    match form:
        case And(parts):
            return any(_never_holds(part) for part in parts)
        case Or(parts):
            return all(_never_holds(part) for part in parts)
        case In(options=Constant(value=frozenset() as options), negated=False):
            return not options
        case _:
            return form == FALSE


def _denying_the_unknown(where: str, attribute: Attribute) -> Finding:
    name = name_of(attribute)
    whom = "denied to everybody" if attribute.source is Source.RESOURCE else "denied to whoever has none"
    return Finding(
        "LP001", Severity.ERROR, where,
        f"It reads {name}, which may be missing: then the action is {whom}.",
        f'Write {name}.is_not_null() & (…) if the rule does not apply then, or unknown="deny" if that is meant.',
    )  # fmt: skip


def _of_context(rule: Rule, where: str, everywhere: frozenset[str]) -> Iterator[Finding]:
    if rule.effect is not Effect.DENY:
        return
    told = everywhere | EVERYWHERE
    read = {each.path[0] for each in _attributes(rule.condition) if each.source is Source.CONTEXT}
    for name in sorted(read - told):
        yield Finding(
            "LP002", Severity.ERROR, where,
            f"It reads context.{name}, which not every entrance tells: where it is missing, messages and lists are "
            "denied to everybody.",
            f'Tell it everywhere and name it in PolicySet(context=["{name}"]).',
        )  # fmt: skip


def _attributes(node: Node) -> Iterator[Attribute]:
    for leaf in leaves_of(node):
        if isinstance(leaf, AnyRow):
            yield leaf.relation
        yield from (operand for operand in operands_of(leaf) if isinstance(operand, Attribute))


def may_be_missing(attribute: Attribute) -> bool:
    """Tell whether an attribute may have no value: its own, or a relation on the way to it."""
    if attribute.source is Source.CONTEXT:
        return attribute.path[0] not in EVERYWHERE
    if attribute.row is None or len(attribute.path) == 1:
        return attribute.shape.nullable
    shape = shape_of(attribute.row.model)
    for name in attribute.path[:-1]:
        step = shape.fields[name]
        if step.nullable or step.related is None:
            return True
        shape = shape_of(step.related)
    return attribute.shape.nullable


def _unguarded(form: Node, guarded: frozenset[tuple[str, ...]] = frozenset()) -> Iterator[Attribute]:
    """Find what a deny reads though it may be missing, and no ``is_not_null()`` beside it says that it is there."""
    match form:
        case And(parts):
            sure = guarded | {_key(part.operand) for part in parts if isinstance(part, IsNull) and part.negated}
            for part in parts:
                yield from _unguarded(part, sure)
        case Or(parts):
            for part in parts:
                yield from _unguarded(part, guarded)
        case AnyRow(condition=condition):
            yield from _unguarded(condition, guarded)
        case IsNull():
            return
        case _:
            for operand in operands_of(form):
                # What the context lacks is another finding.
                if not isinstance(operand, Attribute) or operand.source is Source.CONTEXT:
                    continue
                if may_be_missing(operand) and _key(operand) not in guarded:
                    yield operand


def _key(attribute: Attribute) -> tuple[str, ...]:
    whose = attribute.row.name if attribute.row is not None else attribute.source.value
    return (whose, *attribute.path)


def _negated_on_nullable(form: Node) -> Iterator[Attribute]:
    for leaf in leaves_of(form):
        is_negative = getattr(leaf, "negated", False) or (
            isinstance(leaf, Compare) and leaf.comparison is Comparison.NOT_EQUAL
        )
        if is_negative and isinstance(leaf, Compare | In | TextMatch):
            for operand in operands_of(leaf):
                if isinstance(operand, Attribute) and operand.source is Source.RESOURCE and may_be_missing(operand):
                    yield operand


def _denied_to_all(policies: Policies) -> Iterator[Finding]:
    for rule in policies.rules:
        if rule.effect is Effect.DENY and rule.fields is None and normal_form(rule.condition) == TRUE:
            yield Finding(
                "LP007", Severity.WARNING, f"deny {rule.id}",
                "It has no condition: nobody may do that, whatever any allow says.",
                "Give it a condition, or remove the allows of these actions.",
            )  # fmt: skip


def _unfiltered(policies: Policies, models: Iterable[Model]) -> Iterator[Finding]:
    """Find mapped classes of which a bound session shows nothing, because no read action is named for them."""
    reads = policies.loaded.reads
    if not reads:
        return
    mapped = {model for model in (*_models(policies), *models) if shape_of(model).is_mapped}
    everyone = {each.class_ for model in mapped for each in model.registry.mappers}
    for model in sorted(everyone, key=lambda model: model.__name__):
        if not any(parent in reads for parent in model.__mro__):
            yield Finding(
                "LP005", Severity.WARNING, model.__name__,
                "No read action is named for this model: a bound session shows none of its rows, and without gate.bind "
                "nobody filters them.",
                f'Name one: PolicySet(reads={{{model.__name__}: "…:read"}}).',
            )  # fmt: skip


def _models(policies: Policies) -> set[Model]:
    return {rule.row.model for rule in policies.rules if rule.row is not None} | set(policies.loaded.reads)


def _by_name_only(policies: Policies, routes: Iterable[RouteFacts]) -> Iterator[Finding]:
    for route in routes:
        for name in sorted(route.permissions - route.actions):
            about = [rule for rule in policies.rules_for(name) if rule.row is not None]
            if about:
                yield Finding(
                    "LP004", Severity.WARNING, route.name,
                    f"It asks for the permission {name} alone, and {about[0].effect.value} {about[0].id} is about the "
                    "resource: a permission is necessary here, not sufficient.",
                    f'Add policy("{name}", load=…), or ask gate.check(…) where the resource is loaded.',
                )  # fmt: skip
