"""The policy engine: an immutable snapshot of rules that answers questions, synchronously and without I/O."""

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from limen.authz.applicable import Case, case_of, mapping_as, models_of, rules_about
from limen.authz.compilers.explain import UNKNOWN_ACTION, Explanation
from limen.authz.compilers.partial import Scope, bound, condition_of_rules, scope_of, with_heirs
from limen.authz.compilers.python import Access, Branch, Decide, Surroundings, cases, never
from limen.authz.compilers.reading import NO_CONTEXT, NotLoaded
from limen.authz.deciding import Unit, untold
from limen.authz.expectations import principal_of, unmet
from limen.authz.failing import Failures
from limen.authz.loading import Loaded, PolicyRefused, load
from limen.authz.policy.expressions import meant
from limen.authz.policy.nodes import Node
from limen.authz.policy.normal_form import negated
from limen.authz.policy.rules import Effect, Expectation, PolicySet, Rule
from limen.authz.policy.shapes import Model
from limen.core.clock import Clock, system_clock
from limen.core.decision import Decision
from limen.core.errors import PolicyDenied
from limen.core.principal import Principal

__all__ = ["Explanation", "Policies", "PolicyRefused", "Scope"]

_log = logging.getLogger(__name__)

_REMEMBERED_CLASSES: Final = 512
"""For how many classes of resources an action remembers which function decides; of more, it is looked up each time."""

Context = Mapping[str, object]


class Policies:
    """Rules, loaded: they never change. Another policy is another object.

    Attributes:
        version: 12 hexadecimal digits that are the same wherever the same rules are loaded.
        actions: every action that is known.
        rules: as declared.
        loaded: all that decides: wildcards spelled out, tenants, and what is read by which action.
    """

    __slots__ = (
        "_by_names",
        "_cases",
        "_clock",
        "_conditions",
        "_decided",
        "_failures",
        "_models",
        "_no",
        "_units",
        "loaded",
        "version",
    )

    def __init__(self, loaded: Loaded, clock: Clock = system_clock, *, in_shadow: bool = False) -> None:
        self.loaded = loaded
        self.version = loaded.version
        self._clock = clock
        self._failures = Failures(policies="shadow") if in_shadow else Failures()
        self._no = Decision(allowed=False, code="policy_denied", version=loaded.version)
        # Which function decides, by action and class. Nothing of a principal, a resource or a context is kept.
        self._decided: dict[str, dict[type, Decide]] = {action: {} for action in loaded.by_action}
        self._conditions: dict[tuple[str, Model], Node] = {}
        self._cases: dict[tuple[str, Case], Unit] = {}
        self._units: dict[str, dict[type, Unit]] = {}
        self._models: dict[str, tuple[Model, ...]] = {}
        self._by_names: dict[str, Decide] = {}

    @classmethod
    def load(
        cls,
        declared: PolicySet | Iterable[Rule],
        *,
        permissions: Collection[str] = (),
        clock: Clock = system_clock,
        in_shadow: bool = False,
    ) -> "Policies":
        """Return rules that decide, after everything about them was checked, their own tests included.

        Args:
            declared: the rules, or a set with tenants, reads and tests beside.
            permissions: every action that a role names; an allow rule makes its actions known as well.
            clock: answers the time that a policy knows as ``context.now``.
            in_shadow: nobody goes by it, and what it logs says so.

        Raises:
            PolicyRefused: with everything that is wrong.
        """
        policies = cls(load(declared, permissions), clock, in_shadow=in_shadow)
        if isinstance(declared, PolicySet):
            faults = [fault for test in declared.tests if (fault := policies._fault_of(test))]
            if faults:
                raise PolicyRefused(faults)
        return policies

    @property
    def actions(self) -> frozenset[str]:
        """Every action that is known."""
        return frozenset(self.loaded.by_action)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules as declared; `rules_for` spells their wildcards out."""
        return self.loaded.rules

    @property
    def failures(self) -> int:
        """How many decisions were a no because something failed while deciding."""
        return self._failures.count

    def can(self, principal: Principal, action: str, resource: Any = None, context: Context | None = None) -> bool:
        """Tell whether a principal may do something, to a resource or to none in particular.

        Whatever goes wrong is a no: it is counted in `failures`, and logged once for each rule.
        """
        try:
            try:
                decide = self._decided[action][type(resource)]
            except KeyError:
                decide = self._deciding(action, type(resource))
            return decide(principal, resource, context)  # type: ignore[no-any-return]
        except Exception as error:
            self._failed(error, principal, action, resource, context)
            return False

    def can_many(
        self, principal: Principal, action: str, resources: Iterable[Any], context: Context | None = None
    ) -> list[bool]:
        """Tell for each of several resources whether a principal may do something to it; in their order."""
        return [self.can(principal, action, resource, context) for resource in resources]

    def decide(
        self, principal: Principal, action: str, resource: Any = None, context: Context | None = None
    ) -> Decision:
        """Return the same answer as `can`, with the rule that made it and the version of the policy.

        The reason of a refusal is the id of the deny that turned an allow down; of what nothing allows there is none.
        """
        try:
            return self._unit(action, type(resource)).answer(principal, resource, context)
        except Exception as error:
            self._failed(error, principal, action, resource, context)
            return self._no

    def rule_of(
        self, principal: Principal, action: str, resource: Any = None, context: Context | None = None
    ) -> str | None:
        """Return the id of the rule that makes the answer; empty where no rule allows it, None where it fails.

        It is for those who have the answer: what fails is neither counted nor logged once more.
        """
        try:
            return self._unit(action, type(resource)).answer(principal, resource, context).rule
        except Exception:  # whoever answered has counted it
            return None

    def check(self, principal: Principal, action: str, resource: Any = None, context: Context | None = None) -> None:
        """Do nothing where it is allowed.

        Raises:
            PolicyDenied: it is not; the detail is the id of the deny, where one turned an allow down.
        """
        decision = self.decide(principal, action, resource, context)
        if not decision.allowed:
            raise PolicyDenied(decision.reason or None)

    def explain(
        self, principal: Principal, action: str, resource: Any = None, context: Context | None = None
    ) -> Explanation:
        """Return why `can` answers as it does. It holds values: see `Explanation.for_caller`."""
        if action not in self._decided:
            return Explanation(str(action), allowed=False, version=self.version, code=UNKNOWN_ACTION)
        answer = Explanation(action, self.can(principal, action, resource, context), self.version)
        reasons = self._unit(action, type(resource)).reasons
        return reasons.explain(answer, principal, resource, NO_CONTEXT if context is None else context)

    def fields(
        self, principal: Principal, action: str, resource: Any, context: Context | None = None
    ) -> frozenset[str]:
        """Return the fields of a resource that a principal may read, or write: none where `can` says no.

        An allow without fields gives all that the model has. A deny with fields takes them away, also where whether it
        holds is unknown.
        """
        if not self.can(principal, action, resource, context):
            return frozenset()
        try:
            unit = self._unit(action, type(resource))
            return unit.fields(principal, resource, context)
        except Exception as error:
            self._failed(error, principal, action, resource, context)
            return frozenset()

    def scope(self, principal: Principal, action: str, model: Model, context: Context | None = None) -> Scope:
        """Return whether a principal may do something to all rows of a model, to some, or to none: for a menu."""
        told = self.told(context)
        found = {scope_of(bound(self.condition(action, each), principal, told)) for each in with_heirs(model)}
        return found.pop() if len(found) == 1 else Scope.SOME

    def where(self, principal: Principal, action: str, model: Any, context: Context | None = None) -> Any:
        """Return the condition of SQLAlchemy that is true of exactly the rows that `can` allows.

        Args:
            principal: who asks.
            action: what is asked.
            model: a mapped class, or an alias of one.
            context: what is known beside.

        Raises:
            ConfigurationError: a rule is a function of Python without ``sql=``.
        """
        from limen.authz.compilers.sql.listing import visible

        return visible(lambda cls: self.condition(action, cls), model, principal, self.told(context))

    def condition(self, action: str, model: Model) -> Node:
        """Return all the rules for instances of a class as one condition in normal form.

        Classes that the same rules are for have the same object.
        """
        found = self._conditions.get((action, model))
        if found is None:
            found = condition_of_rules(self.rules_for(action, model))
            same = (node for (name, _), node in self._conditions.items() if name == action and node == found)
            found = next(same, found)
            if action in self._decided:
                self._conditions[action, model] = found
        return found

    def told(self, context: Context | None) -> Context:
        """Return a context with what is known wherever something is decided."""
        told = {} if context is None else dict(context)
        if told.get("now") is None:
            told["now"] = self._now()
        return told

    def denied_by_names(self, principal: Principal, action: str, context: Context | None = None) -> str | None:
        """Return the id of a deny that needs no resource and holds; None where there is none.

        For whoever asks for roles and permissions only, which say nothing of a resource: rules that read one are not
        asked. A function of the application's own is asked without one. What fails, denies.
        """
        denies = self._by_names.get(action)
        if denies is None:
            denies = self._denying_by_names(action)
        try:
            return denies(principal, None, context)  # type: ignore[no-any-return]
        except Exception as error:
            self._failed(error, principal, action, None, context)
            return next((rule.id for rule in self._of_names(action)), "")

    def rules_for(self, action: str, model: Model | None = None) -> tuple[Rule, ...]:
        """Return the rules of an action, wildcards spelled out; none of an unknown one.

        Args:
            action: ``resource:action``.
            model: where it is given, only those that decide about its instances, each with the condition that decides:
                the tenant's beside that of every allow. A deny of single fields is not among them.
        """
        if model is None:
            return self.loaded.by_action.get(action, ())
        found = rules_about(self.loaded, action, self._case(action, model))
        return tuple(rule for rule in found if rule.effect is Effect.ALLOW or rule.fields is None)

    def __repr__(self) -> str:
        return f"<Policies {self.version}: {len(self.rules)} rules, {len(self._decided)} actions>"

    # --- how it is found out

    def _case(self, action: str, cls: type) -> Case:
        models = self._models.get(action)
        if models is None:
            models = models_of(self.loaded, action)
            if action in self._decided:
                self._models[action] = models
        return case_of(cls, models)

    def _deciding(self, action: str, cls: type) -> Decide:
        """Return the function that decides, and remember it for the class; an unknown action is always a no."""
        if action not in self._decided:
            return never
        decide = self._unit(action, cls).deciding
        remembered = self._decided[action]
        if len(remembered) < _REMEMBERED_CLASSES:
            remembered[cls] = decide
        return decide

    def _unit(self, action: str, cls: type) -> Unit:
        units = self._units.get(action)
        if units is None:
            units = self._units.setdefault(action, {}) if action in self._decided else {}
        unit = units.get(cls)
        if unit is None:
            unit = self._unit_of_case(action, self._case(action, cls))
            if len(units) < _REMEMBERED_CLASSES:
                units[cls] = unit
        return unit

    def _unit_of_case(self, action: str, case: Case) -> Unit:
        """Return what decides; classes that are the same to the rules share it."""
        unit = self._cases.get((action, case))
        if unit is None:
            rules = rules_about(self.loaded, action, case)
            unit = Unit(rules, case, self._surroundings(rules), self.version)
            if action in self._decided:
                unit = self._cases.setdefault((action, case), unit)
        return unit

    def _surroundings(self, rules: Iterable[Rule]) -> Surroundings:
        return Surroundings(
            self._now, untold(rules, lambda rule: self._failures.log("policy_attributes_not_loaded", rule))
        )

    def _of_names(self, action: str) -> list[Rule]:
        rules = self.loaded.by_action.get(action, ())
        return [rule for rule in rules if rule.effect is Effect.DENY and rule.row is None and rule.fields is None]

    def _denying_by_names(self, action: str) -> Decide:
        rules = self._of_names(action)
        branches = [Branch(negated(rule.condition), holds=False, answer=rule.id) for rule in rules]
        made = cases(branches, None, Access.PLAIN, self._surroundings(rules))
        if action in self._decided:
            self._by_names[action] = made
        return made

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _failed(
        self, error: Exception, principal: Principal, action: str, resource: Any, context: Context | None
    ) -> None:
        """Count a failure, and log which rule it was; never raises."""
        self._failures.add()
        try:
            failing = self._unit(action, type(resource)).failing(principal, resource, context)
        except Exception:  # it cannot even be asked; then the type has to do
            failing = []
        for rule, cause in failing or [("", error)]:
            if isinstance(cause, NotLoaded):
                self._failures.log("policy_not_loaded", rule, field=cause.field)
            else:
                self._failures.log("policy_failed", rule, failure=type(cause).__name__)

    def _fault_of(self, test: Expectation) -> str | None:
        """Return what one of the policy's own tests finds; None where it is as it must be."""
        if test.action not in self._decided:
            return f"test: {test.action} is no action that is known.{meant(test.action, self._decided)}"
        principal = principal_of(test)
        if not isinstance(test.resource, Mapping):
            return unmet(test, self.decide(principal, test.action, test.resource, test.context))
        case = mapping_as(models_of(self.loaded, test.action))
        if case is None:
            return f"test: {test.action} is about several models; give it an instance of one of them."
        try:
            answer = self._unit_of_case(test.action, case).answer(principal, test.resource, test.context)
        except Exception as error:
            return f"test: {test.action} raises {type(error).__name__}."
        return unmet(test, answer)
