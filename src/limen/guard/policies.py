"""A loaded set of policies, and what the guard has to know of it before it can ask."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from limen.authz.policy.expressions import SUBJECT_FIELDS, operands_of
from limen.authz.policy.nodes import And, AnyRow, Attribute, Node, Not, Or, PythonLeaf, Source
from limen.authz.policy.rules import Effect, PolicySet, Rule
from limen.core import metrics, telemetry
from limen.core.decision import ALLOWED, Decision
from limen.core.principal import Principal
from limen.guard.requirements import Question, Requirement

if TYPE_CHECKING:
    # A name only: whoever has no policies does not wait for what compiles them.
    from limen.authz.engine import Policies
    from limen.authz.shadow import Compared

Context: TypeAlias = Mapping[str, object] | None
"""What is known beside subject and resource, by name. The time is always known; what is not told is unknown."""

MOST_REMEMBERED: Final = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What it takes to decide a requirement.

    Attributes:
        by_names: no policy has a say, so the names of roles and permissions decide, and may be remembered.
        attributes: attributes of the principal are read.
        context: something is read that the application tells of the request.
        shadow_attributes: policies in the shadow read attributes. They are loaded; nobody is refused where that fails.
        shadow_context: the same of the context.
    """

    by_names: bool
    attributes: bool
    context: bool
    shadow_attributes: bool = False
    shadow_context: bool = False


class LoadedPolicies:
    """A snapshot of policies. It never changes: other policies, or other roles, are another one.

    Args:
        policies: the snapshot.
        declared: what it was made of: as it was written, with wildcards.
        permissions_of: what roles give.

    Attributes:
        policies: the snapshot.
        can: the snapshot's own, found with one look less; and so are `can_many`, `check` and `decide`.
        reads_attributes: some rule reads what the application's loader tells of the principal.
        attribute_names: the names of what is read so, as far as rules name them.
        reads_context: some rule reads what the application tells of the request.
        shadow_reads_attributes: some rule does that is in the shadow of these.
        shadow_reads_context: the same of what the application tells.
    """

    __slots__ = (
        "_attributes", "_context", "_denies", "_facts", "_permissions_of", "_wildcards", "attribute_names", "can",
        "can_many", "check", "decide", "policies", "reads_attributes", "reads_context", "shadow_reads_attributes",
        "shadow_reads_context",
    )  # fmt: skip

    def __init__(
        self,
        policies: "Policies",
        declared: "PolicySet | Iterable[Rule]",
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
    ) -> None:
        self.policies = policies
        self._ask(policies)
        self._permissions_of = permissions_of
        self._facts: dict[Requirement, Facts] = {}
        self._denies: dict[str, list[Rule]] = {}
        self._attributes: set[str] = set()
        self._context: set[str] = set()
        written = tuple(declared.rules if isinstance(declared, PolicySet) else declared)
        # A tenant's condition stands beside every allow.
        tenants = [each.node for each in declared.tenants] if isinstance(declared, PolicySet) else []
        conditions = [*(rule.condition for rule in written), *tenants]
        self.attribute_names = frozenset(name for each in conditions for name in _attributes_read(each))
        for action in policies.actions:
            rules = policies.rules_for(action)
            self._denies[action] = [each for each in rules if _is_by_names(each)]
            nodes = [*(rule.condition for rule in rules), *tenants]
            if any(_reads_attributes(each) for each in nodes):
                self._attributes.add(action)
            if any(_reads_context(each) for each in nodes):
                self._context.add(action)
        # An action that nobody knew when this was loaded is denied by a wildcard that would have covered it.
        self._wildcards = [
            (name.removesuffix("*"), rule)
            for rule in written
            if _is_by_names(rule)
            for name in rule.actions
            if name.endswith(":*")
        ]
        self.reads_attributes = bool(self._attributes)
        self.reads_context = bool(self._context)
        self.shadow_reads_attributes = self.shadow_reads_context = False

    def _ask(self, answering: "Policies | Compared") -> None:
        self.can, self.can_many = answering.can, answering.can_many
        self.check, self.decide = answering.check, answering.decide

    @property
    def in_force(self) -> "LoadedPolicies":
        """What decides, without anything in its shadow."""
        return self

    def facts_of(self, requirement: Requirement) -> Facts:
        """Return what it takes to decide a requirement."""
        known = self._facts.get(requirement)
        if known is None:
            known = self._look_at(requirement)
            if len(self._facts) >= MOST_REMEMBERED:
                self._facts.clear()
            self._facts[requirement] = known
        return known

    def _look_at(self, requirement: Requirement) -> Facts:
        denied = self._actions_denied(requirement)
        rules = [rule for action in denied for rule in self._denying(action)]
        asked = {question.action for question in requirement.questions}
        return Facts(
            by_names=not rules and not asked,
            attributes=not asked.isdisjoint(self._attributes)
            or any(_reads_attributes(each.condition) for each in rules),
            context=not asked.isdisjoint(self._context) or any(_reads_context(each.condition) for each in rules),
        )

    def _actions_denied(self, requirement: Requirement) -> set[str]:
        by_roles = self._permissions_of(requirement.role_names) if requirement.role_names else frozenset()
        return {*requirement.permission_names, *by_roles, *(each.action for each in requirement.questions)}

    def _denying(self, action: str) -> list[Rule]:
        known = self._denies.get(action)
        if known is not None:
            return known
        return [rule for prefix, rule in self._wildcards if action.startswith(prefix)]

    def denied_by_names(self, principal: Principal, action: str, context: Context) -> str | None:
        """Return why an action is denied whatever it is done to; None where it is not.

        A deny is asked here where it needs nothing but who asks, and when. One that cannot be told denies.
        """
        if not self._denying(action):
            return None
        if action not in self.policies.actions:
            return self._denying(action)[0].id
        return self.policies.denied_by_names(principal, action, context)

    def denial(self, requirement: Requirement, principal: Principal, context: Context) -> str | None:
        """Return why a requirement whose names are all held is not met all the same; None where it is met.

        A permission that is denied does not count, and neither does a role of which every permission is denied.
        """
        if self.facts_of(requirement).by_names:
            return None
        for action in (*requirement.permissions_all, *(each.action for each in requirement.questions)):
            denied = self.denied_by_names(principal, action, context)
            if denied is not None:
                return denied
        for names in requirement.permissions_any:
            denied = self._all_denied(principal, frozenset(names) & principal.permissions, context)
            if denied is not None:
                return denied
        for names in requirement.roles_any:
            held = [frozenset((name,)) for name in names if name in principal.roles]
            reasons = [self._all_denied(principal, self._permissions_of(role), context) for role in held]
            if reasons and None not in reasons:
                return reasons[0]
        return None

    def _all_denied(self, principal: Principal, actions: frozenset[str], context: Context) -> str | None:
        """Return the first reason where every action is denied; None where there is none, or one is left."""
        first: str | None = None
        for action in sorted(actions):
            denied = self.denied_by_names(principal, action, context)
            if denied is None:
                return None
            first = first or denied
        return first

    def answer(self, question: Question, principal: Principal, resource: object, context: Context) -> Decision:
        """Decide, note it in the log, and count it.

        Args:
            question: what is asked.
            principal: who acts.
            resource: what is acted on; None where the question has none.
            context: what is known beside.
        """
        tracer = telemetry.tracer()
        if tracer is None:
            return self._answer(question, principal, resource, context, is_told=False)
        with tracer.step("limen.policy", limen_action=question.action) as span:
            decision = self._answer(question, principal, resource, context, is_told=True)
            span.note(limen_effect="allowed" if decision.allowed else "denied", limen_rule=decision.rule or "")
            return decision

    def _answer(
        self, question: Question, principal: Principal, resource: object, context: Context, *, is_told: bool
    ) -> Decision:
        asked = (principal, question.action, resource, context)
        allowed = self.can(*asked) is True
        metrics.POLICY_DECISIONS.add("allowed" if allowed else "denied")
        if allowed and not is_told and not _log.isEnabledFor(logging.DEBUG):
            return ALLOWED
        # The verdict is what `can` says; this tells which rule it was.
        decision = self.policies.decide(*asked)
        _log.debug(
            "policy decision",
            extra={
                "action": question.action,
                "allowed": allowed,
                "rule": decision.rule,
                "version": self.policies.version,
            },
        )
        return decision if decision.allowed is allowed else Decision(allowed, "" if allowed else "policy_denied")


def _is_by_names(rule: Rule) -> bool:
    """Tell whether it is a deny that may need nothing but who asks, and when."""
    return rule.effect is Effect.DENY and rule.row is None and rule.fields is None


def _leaves(node: Node) -> Iterator[Node]:
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part):
            yield from _leaves(part)
        case AnyRow(condition=condition):
            yield from _leaves(condition)
        case _:
            yield node


def _operands(node: Node) -> Iterator[Attribute]:
    for leaf in _leaves(node):
        for operand in operands_of(leaf):
            if isinstance(operand, Attribute):
                yield operand


def _attributes_read(node: Node) -> Iterator[str]:
    for each in _operands(node):
        if each.source is Source.SUBJECT and each.path[0] not in SUBJECT_FIELDS:
            yield each.path[0]


def _has_python(node: Node) -> bool:
    return any(isinstance(leaf, PythonLeaf) for leaf in _leaves(node))


def _reads_attributes(node: Node) -> bool:
    """Tell whether a condition reads attributes of the principal; a function of the application's own may."""
    return _has_python(node) or next(_attributes_read(node), None) is not None


def _reads_context(node: Node) -> bool:
    return _has_python(node) or any(each.source is Source.CONTEXT and each.path[0] != "now" for each in _operands(node))
