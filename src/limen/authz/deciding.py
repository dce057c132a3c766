"""The functions that decide one action about one kind of resource, compiled when each is first asked for."""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from limen.authz.applicable import Case
from limen.authz.compilers.explain import Reasons
from limen.authz.compilers.python import Branch, Decide, Surroundings, cases, condition
from limen.authz.loading import leaves_of
from limen.authz.policy.expressions import SUBJECT_FIELDS, operands_of
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import And, Attribute, Node, Or, Source
from limen.authz.policy.normal_form import joined, negated, normal_form
from limen.authz.policy.rules import Effect, Rule
from limen.core.decision import Decision


class Unit:
    """What decides one action about one case. It holds functions and answers, nothing of whoever asks.

    Args:
        rules: those that count, see `limen.authz.applicable.rules_about`.
        case: what is asked about.
        surroundings: what the compiled functions need beside.
        version: of the policy, for the answers.
    """

    def __init__(self, rules: Iterable[Rule], case: Case, surroundings: Surroundings, version: str) -> None:
        self.rules = tuple(rules)
        self.case = case
        self.surroundings = surroundings
        self._version = version
        self._nothing = Decision(False, "policy_denied", version=version)
        self._allows = [rule for rule in self.rules if rule.effect is Effect.ALLOW]
        denies = [rule for rule in self.rules if rule.effect is Effect.DENY]
        self._denies = [rule for rule in denies if rule.fields is None]
        self._takes = [rule for rule in denies if rule.fields is not None]

    @cached_property
    def deciding(self) -> Decide:
        """The function that answers True or False: some allow holds, and every deny is known not to."""
        allowed = joined(Or, [normal_form(rule.condition) for rule in self._allows])
        return self._condition(joined(And, [allowed, *(negated(rule.condition) for rule in self._denies)]))

    @cached_property
    def allowing(self) -> Decide:
        """The function that answers with the first allow that holds; None where there is none."""
        branches = (Branch(normal_form(rule.condition), True, self._yes(rule)) for rule in self._allows)
        return cases(branches, None, self.case.access, self.surroundings)

    @cached_property
    def denying(self) -> Decide:
        """The function that answers with the first deny that holds, or may; None where there is none."""
        branches = (Branch(negated(rule.condition), False, self._no(rule)) for rule in self._denies)
        return cases(branches, None, self.case.access, self.surroundings)

    @cached_property
    def reasons(self) -> Reasons:
        """What explains the answers."""
        return Reasons(self.rules, self.case.access, self.surroundings)

    def answer(self, principal: Any, resource: Any, context: Any) -> Decision:
        """Return the answer with the rule that made it; it raises what `deciding` does.

        A deny is named only to whoever some allow lets in: to others it would tell what state the resource is in.
        """
        allowed = self.allowing(principal, resource, context)
        if allowed is None:
            return self._nothing
        denied = self.denying(principal, resource, context)
        # A refusal is false, so `or` would go on behind it, to the allow.
        return allowed if denied is None else denied  # type: ignore[no-any-return]

    def failing(self, principal: Any, resource: Any, context: Any) -> list[tuple[str, Exception]]:
        """Return the ids of the rules that cannot be asked about this, each with what is raised."""
        found = []
        for rule in self.rules:
            try:
                self._condition(normal_form(rule.condition))(principal, resource, context)
            except Exception as error:
                found.append((rule.id, error))
        return found

    @cached_property
    def _fields(self) -> tuple[list[tuple[frozenset[str], Decide]], list[tuple[frozenset[str], Decide]]]:
        every: frozenset[str] = frozenset().union(*(shape_of(model).fields for model in self.case.models))
        given = [
            (every if rule.fields is None else rule.fields, self._condition(normal_form(rule.condition)))
            for rule in self._allows
        ]
        taken = [(rule.fields or frozenset(), self._condition(negated(rule.condition))) for rule in self._takes]
        return given, taken

    def fields(self, principal: Any, resource: Any, context: Any) -> frozenset[str]:
        """Return the fields that the allows give and no deny takes away; it is asked before whether it is allowed."""
        given, taken = self._fields
        found: set[str] = set()
        for names, holds in given:
            if holds(principal, resource, context):
                found |= names
        for names, is_left in taken:
            if not is_left(principal, resource, context):
                found -= names
        return frozenset(found)

    def _condition(self, node: Node) -> Decide:
        return condition(node, self.case.access, self.surroundings)

    def _yes(self, rule: Rule) -> Decision:
        return Decision(allowed=True, rule=rule.id, version=self._version)

    def _no(self, rule: Rule) -> Decision:
        return Decision(False, "policy_denied", rule.id, rule=rule.id, version=self._version)


def untold(rules: Iterable[Rule], log: Callable[[str], None]) -> Callable[[], None]:
    """Return what says of every rule that reads the subject's attributes that they were not loaded."""
    named = [rule.id for rule in rules if _reads_attributes(rule.condition)]

    def tell() -> None:
        for name in named:
            log(name)

    return tell


def _reads_attributes(node: Node) -> bool:
    return any(
        isinstance(operand, Attribute) and operand.source is Source.SUBJECT and operand.path[0] not in SUBJECT_FIELDS
        for leaf in leaves_of(node)
        for operand in operands_of(leaf)
    )
