"""What every gate does with policies: it loads them, asks them, and lets principals carry what they read.

No web framework is imported here: a worker, or the command line, asks policies too.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from limen.authz.attributes import AttributeLoader, Attributes, load_attributes
from limen.core import metrics
from limen.core.clock import Clock
from limen.core.decision import Decision
from limen.core.errors import ConfigurationError, LimenError
from limen.core.principal import Principal
from limen.guard.policies import Context, LoadedPolicies

if TYPE_CHECKING:
    # Names only: what compiles policies is loaded by those who have some.
    from limen.authz.compilers.explain import Explanation
    from limen.authz.compilers.partial import Scope
    from limen.authz.engine import Policies
    from limen.authz.policy.rules import PolicySet, Rule
    from limen.authz.shadow import Differences, PolicyDifferences
    from limen.web.guard.attributes import Connection

    Declared: TypeAlias = PolicySet | Iterable[Rule]

PolicyContext: TypeAlias = Callable[[Any], Mapping[str, object]]
"""Given by the application: returns what it knows of a request, a WebSocket or a message, by name. It does no I/O."""

_log = logging.getLogger("limen.policies")
_ROLES_ARE_ASKED = " A role is asked by has_role(…), a permission by has_permission(…), and neither needs to be loaded."


def _kept(declared: "Declared") -> "Declared":
    """Return what is declared as something that can be read twice."""
    return declared if hasattr(declared, "rules") else tuple(declared)


class DecidingGate(ABC):
    """The part of a gate that has policies.

    Attributes:
        loaded_policies: the policies of this moment, and what the guard knows of them; None where there are none. It is
            replaced as a whole.
        policy_context: tells policies of a request what the application knows of it.
    """

    loaded_policies: LoadedPolicies | None
    policy_context: PolicyContext | None = None
    _attributes: AttributeLoader | None = None
    _declared_policies: "Declared | None" = None
    _policies_refused: str | None = None
    _failures_before: int = 0
    _declared_shadow: "Declared | None" = None
    _shadow_refused: str | None = None
    _differences: "Differences | None" = None
    _policy_clock: Clock

    def _prepare_policies(
        self,
        declared: "Declared | None",
        attributes: AttributeLoader | None,
        context: PolicyContext | None,
        clock: Clock,
    ) -> None:
        # Here and not only on the class, where each request would look for it longer.
        self.loaded_policies = None
        self._declared_policies = None if declared is None else _kept(declared)
        self._attributes, self.policy_context, self._policy_clock = attributes, context, clock

    @abstractmethod
    def _known_permissions(self) -> Collection[str]:
        """Return every permission that a role, or anything else that is declared, gives."""

    @abstractmethod
    def _permissions_of_roles(self) -> Callable[[frozenset[str]], frozenset[str]]:
        """Return what roles give, as it is now."""

    @property
    def policies(self) -> "Policies":
        """The snapshot of policies that decides at this moment.

        Raises:
            ConfigurationError: there are none, or the gate has not been started.
        """
        return self._decider.policies

    @property
    def declared_policies(self) -> "Declared | None":
        """The policies as they were declared; None where there are none."""
        return self._declared_policies

    def load_policies(self, declared: "Declared") -> None:
        """Decide by other policies from now on.

        They are checked before anything changes. Where they are refused, those of before stay in use, and ``/readyz``
        says so; what is decided at this moment is decided by the one or by the other, never by both.

        Raises:
            ConfigurationError: they are refused; it lists every fault.
        """
        declared = _kept(declared)
        try:
            loaded = self._loaded(declared)
        except ConfigurationError as error:
            self._policies_refused = str(error)
            _log.error("policies are refused; those of before stay", extra={"faults": str(error)})
            raise
        if self.loaded_policies is not None:
            self._failures_before += self.loaded_policies.policies.failures
        self._declared_policies = declared
        self.loaded_policies = self._with_shadow(loaded)
        metrics.POLICY_FAILURES.read_by(self._count_failures)
        self._policies_refused = None
        _log.info("policies loaded", extra={"version": loaded.policies.version, "rules": len(loaded.policies.rules)})

    def shadow_policies(self, declared: "Declared | None") -> None:
        """Let other policies decide beside those in force from now on; what they answer changes nothing.

        Where their answer to `can`, `check`, `decide` or `can_many`, to a route or to a message is another one, it is
        counted; see `policy_differences`. It begins at 0. Before the gate has been started they are only noted, and
        loaded with those in force.

        Args:
            declared: the policies to compare; None ends it.

        Raises:
            ConfigurationError: they are refused, and what was in the shadow before stays there; or there are no
                policies in force.
        """
        if declared is None:
            self._declared_shadow = self._shadow_refused = self._differences = None
            if self.loaded_policies is not None:
                self.loaded_policies = self.loaded_policies.in_force
            return
        if self._declared_policies is None:
            raise ConfigurationError("There are no policies to compare with: give policies= first.")
        declared = _kept(declared)
        if self.loaded_policies is not None:
            try:
                shadowed = self._shadowed(self.loaded_policies.in_force, declared)
            except ConfigurationError as error:
                self._refuse_shadow(error)
                raise
            self.loaded_policies = shadowed
        self._declared_shadow, self._shadow_refused = declared, None

    def policy_differences(self) -> "PolicyDifferences | None":
        """Return where the policies in the shadow differ from those in force, as this process has seen it until now.

        None where none are in the shadow.
        """
        from limen.guard.shadow import ShadowedPolicies

        loaded = self.loaded_policies
        if not isinstance(loaded, ShadowedPolicies):
            return None
        return loaded.differences.snapshot(loaded.shadow.policies.failures)

    def _with_shadow(self, in_force: LoadedPolicies) -> LoadedPolicies:
        """Return policies with those in their shadow, if there are any; where these are unusable, they are left out."""
        declared = self._declared_shadow
        if declared is None:
            return in_force
        try:
            shadowed = self._shadowed(in_force, declared, self._differences)
        except Exception as error:  # a test of theirs may raise anything, and nobody goes by it
            self._refuse_shadow(error)
            return in_force
        self._shadow_refused = None
        return shadowed

    def _shadowed(
        self, in_force: LoadedPolicies, declared: "Declared", before: "Differences | None" = None
    ) -> LoadedPolicies:
        from limen.authz.shadow import Differences
        from limen.guard.shadow import ShadowedPolicies

        shadow = self._loaded(declared, in_shadow=True)
        versions = (in_force.policies.version, shadow.policies.version)
        if before is None or before.versions != versions:
            before = Differences(in_force.policies, shadow.policies, self._policy_clock)
        self._differences = before
        _log.info("policies in the shadow", extra={"version": versions[0], "shadow_version": versions[1]})
        return ShadowedPolicies(in_force, shadow, before)

    def _refuse_shadow(self, error: Exception) -> None:
        self._shadow_refused = type(error).__name__
        faults = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
        _log.error("policies for the shadow are refused; those in force stay", extra={"faults": faults})

    def _count_failures(self) -> int:
        return self._failures_before + self._decider.policies.failures

    def _load_declared(self) -> None:
        """Load what is declared, again where the roles have changed; at first it is refused aloud, later in the log.

        Raises:
            ConfigurationError: it is refused, and there are no policies yet.
        """
        declared = self._declared_policies
        if declared is None:
            return
        try:
            self.load_policies(declared)
        except ConfigurationError:
            if self.loaded_policies is None:
                raise

    def _loaded(self, declared: "Declared", *, in_shadow: bool = False) -> LoadedPolicies:
        from limen.authz.engine import Policies

        known = self._known_permissions()
        policies = Policies.load(declared, permissions=known, clock=self._policy_clock, in_shadow=in_shadow)
        loaded = LoadedPolicies(policies, declared, self._permissions_of_roles())
        if loaded.attribute_names and self._attributes is None:
            named = ", ".join(sorted(loaded.attribute_names))
            known = "" if loaded.attribute_names.isdisjoint({"roles", "permissions"}) else _ROLES_ARE_ASKED
            raise ConfigurationError(
                f"Policies read {named} of who acts, and nothing loads that: give attributes=.{known}"
            )
        return loaded

    @property
    def _decider(self) -> LoadedPolicies:
        loaded = self.loaded_policies
        if loaded is None:
            raise ConfigurationError("There are no policies: give policies=, and start the gate before it is asked.")
        return loaded

    # --- attributes

    async def attributes_of(self, who: "Principal | Connection") -> Attributes:
        """Return what the loader of ``attributes=`` tells of a principal: read-only, and bounded in time.

        Args:
            who: a request or socket, for which it is loaded once, when it is first asked for; or a principal.

        Raises:
            LimenError: the loader failed, which is a no.
        """
        if isinstance(who, Principal):
            return await load_attributes(self._attributes, who)
        from limen.web.guard.attributes import attributes_in

        return await attributes_in(who.scope, self, self.attributes_of)  # type: ignore[arg-type]

    async def subject_of(self, who: "Principal | Connection") -> Principal:
        """Return the principal as policies want it: with its attributes, where they read any.

        Routes and messages get it so. Services that are handed a principal by something else ask here before they ask
        `can`, `check` or `where`, which load nothing.

        Args:
            who: a principal; or a request or socket, for which the loader is called once.

        Raises:
            LimenError: the loader failed, which is a no.
        """
        if isinstance(who, Principal):
            loaded = self.loaded_policies
            if loaded is None or who.attributes is not None:
                return who
            if loaded.reads_attributes:
                return replace(who, attributes=await self.attributes_of(who))
            if loaded.shadow_reads_attributes:
                with suppress(LimenError):
                    return replace(who, attributes=await self.attributes_of(who))
            return who
        from limen.web.guard.attributes import learn_attributes, state_in

        state = state_in(who.scope, self)  # type: ignore[arg-type]
        await learn_attributes(state)
        return state.principal

    # --- asking

    def can(self, principal: Principal, action: str, resource: object = None, context: Context = None) -> bool:
        """Tell whether a principal may do something, to a resource where there is one.

        Args:
            principal: who acts; from `subject_of` where policies read attributes.
            action: ``resource:action``.
            resource: what is acted on.
            context: what is known beside, by name; the time is known anyway.

        Raises:
            ConfigurationError: there are no policies.
        """
        loaded = self.loaded_policies  # here, not by a property: this is called for every row
        return (self._decider if loaded is None else loaded).can(principal, action, resource, context)

    def decide(self, principal: Principal, action: str, resource: object = None, context: Context = None) -> Decision:
        """Return the decision, with the rule and the version of the policies; see `can`."""
        return self._decider.decide(principal, action, resource, context)

    def check(self, principal: Principal, action: str, resource: object = None, context: Context = None) -> None:
        """Refuse what a principal may not do; see `can`.

        Raises:
            PolicyDenied: it may not.
        """
        self._decider.check(principal, action, resource, context)

    def can_many(
        self, principal: Principal, action: str, resources: Iterable[object], context: Context = None
    ) -> list[bool]:
        """Tell of each resource whether a principal may do something to it; see `can`."""
        return self._decider.can_many(principal, action, resources, context)

    def explain(
        self, principal: Principal, action: str, resource: object = None, context: Context = None
    ) -> "Explanation":
        """Return why something is allowed or not, with values: for an administrator, never for the caller."""
        return self._decider.policies.explain(principal, action, resource, context)

    def fields(self, principal: Principal, action: str, resource: object, context: Context = None) -> frozenset[str]:
        """Return the fields of a resource that a principal may read, or write, by an action."""
        return self._decider.policies.fields(principal, action, resource, context)

    def scope(self, principal: Principal, action: str, model: type[Any], context: Context = None) -> "Scope":
        """Tell whether a principal may do something to all rows of a model, to some, or to none: for a menu."""
        return self._decider.policies.scope(principal, action, model, context)

    def where(self, principal: Principal, action: str, model: Any, context: Context = None) -> Any:
        """Return the condition of SQLAlchemy for the rows of a model to which a principal may do something."""
        return self._decider.policies.where(principal, action, model, context)

    def bind(self, session: Any, principal: Principal, context: Context = None) -> None:
        """Let a session of SQLAlchemy show a principal only what it may read; see `limen.authz.compilers.sql.bind`.

        Raises:
            ConfigurationError: the session holds objects, which nobody has filtered; or it is bound to somebody else.
        """
        from limen.authz.compilers.sql.bind import bind

        bind(session, self._decider.policies, principal, context)
