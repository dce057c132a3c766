"""What the guard knows about one request, and what it needs from whoever puts the parts together."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from limen.authz.attributes import Attributes
from limen.authz.roles import RoleCatalogue
from limen.core.decision import Decision
from limen.core.errors import (
    CertificateRequired,
    ConfigurationError,
    CredentialMissing,
    LimenError,
    NotFound,
    PermissionRequired,
    PolicyDenied,
    RoleRequired,
    StepUpRequired,
)
from limen.core.events import Origin
from limen.core.principal import ANONYMOUS, Principal
from limen.features.throttling.counting import Throttle
from limen.guard.decisions import decide
from limen.guard.policies import Context, LoadedPolicies
from limen.guard.requirements import Question, Requirement
from limen.web.cors import CorsPolicy
from limen.web.front import Front
from limen.web.guard.rules import PathRules
from limen.web.origin import origin_of
from limen.web.peers import TrustedProxies

GUARD_KEY = "limen.guard"
"""Where the state of a request is in its scope."""

_REFUSALS: dict[str, type[LimenError]] = {
    "role_required": RoleRequired,
    "permission_required": PermissionRequired,
    "policy_denied": PolicyDenied,
    "step_up_required": StepUpRequired,
    "certificate_required": CertificateRequired,
}

_log = logging.getLogger("limen.guard")


class Gate(Protocol):
    """What the guard asks of the one object that an application holds."""

    @property
    def catalogue(self) -> RoleCatalogue | None:
        """The roles there are, known from `start` on; None, or without any role, where they are not known."""
        ...

    @property
    def cors(self) -> CorsPolicy:
        """Which origins may read answers and open sockets."""
        ...

    @property
    def challenges(self) -> tuple[str, ...]:
        """The authentication schemes that a 401 names, one ``WWW-Authenticate`` each."""
        ...

    @property
    def front(self) -> Front:
        """What answers carry, and what is asked of a request before anything else."""
        ...

    @property
    def proxies(self) -> TrustedProxies:
        """The proxies that are believed when they say who is behind them."""
        ...

    @property
    def loaded_policies(self) -> LoadedPolicies | None:
        """The policies of this moment; None where there are none. Others are another object."""
        ...

    @property
    def throttle(self) -> Throttle:
        """Counts the requests to routes that have limits."""
        ...

    @property
    def policy_context(self) -> Callable[[Any], Mapping[str, object]] | None:
        """Tells policies of a request what the application knows of it; None where it tells nothing."""
        ...

    async def attributes_of(self, who: Principal) -> Attributes:
        """Return what the application's loader tells of a principal.

        Raises:
            LimenError: it failed, which is a no.
        """
        ...

    def authenticate(self, scope: Scope, state: "GuardState") -> Awaitable[None] | None:
        """Find out who is calling.

        It sets `GuardState.principal`, or `GuardState.rejection` where a credential was presented and refused, and may
        leave what it needs later in `GuardState.credential`. Where that takes an await, it returns what is to be
        awaited.
        """
        ...

    async def live(self, principal: Principal) -> Principal:
        """Ask the store again, and return the principal as it is now, with the roles of now.

        Raises:
            LimenError: it is no longer active, its session has ended, or the store does not answer.
        """
        ...

    def still_valid(self, state: "GuardState") -> bool:
        """Tell whether an open WebSocket or a streaming answer may go on: not expired, and its session not ended."""
        ...

    async def start(self) -> None:
        """Get ready; called at the application's start or at its first request, and perhaps more than once."""
        ...

    async def stop(self) -> None:
        """Give back what `start` took."""
        ...


class GuardState(msgspec.Struct, eq=False):
    """The one mutable object of a request; a Struct, since one is made for each.

    It does not hold the scope, which holds it: every request would be a circle for the garbage collector to find, and
    that alone costs more than all the rest of the guard.

    Attributes:
        gate: whose guard this is.
        rules: what is declared for leaves that the guard cannot see into.
        headers: the headers of the request.
        client: the address and port of the socket's peer.
        principal: who is calling.
        rejection: the error that a presented credential earned; a guarded leaf answers it.
        credential: whatever the gate wants to find again in `Gate.still_valid`.
        parent: the state of an outer application that is protected by another gate: both must say yes.
        entered: a router below was reached.
        decided: a leaf was allowed, or the request was refused.
        is_open: what was decided is declared public: everybody may have the answer.
        answered: the answer has begun.
        blocked: an answer without a decision was kept back.
        ended: the answer was cut off, because what opened it is no longer valid.
        ask_next: when a streaming answer is asked about next, in seconds of the monotonic clock; None before.
        endpoint: what was registered where the request was allowed to go.
        known_origin: where the request came from, once somebody has asked.
        below: the name of the mount that the request has entered, as rules know it; empty in the application itself.
        found: the route that a router is about to enter, and what it adds to the scope.
        live_leaf: the leaf for which the store was asked again in this request.
        asked_leaf: the leaf for which everything was asked that takes an await.
        passed: the functions of the application's own that have said yes in this request.
        safe_only: it was let in by what a browser sends unasked, without proof of whose page asks, since its method
            changes nothing.
        attributes: what `limen.web.guard.attributes` has asked the application's loader.
        answers: what the policies have allowed in this dispatch.
        context: what the application has told policies of this request; None before it was asked, or where it has
            nothing to tell.
    """

    gate: Gate
    rules: PathRules
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    parent: "GuardState | None" = None
    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: Any = None
    endpoint: object = None
    below: str = ""
    found: Any = None
    live_leaf: object = None
    asked_leaf: object = None
    passed: tuple[object, ...] = ()
    entered: bool = False
    decided: bool = False
    is_open: bool = False
    answered: bool = False
    blocked: bool = False
    ended: bool = False
    ask_next: float | None = None
    known_origin: Origin | None = None
    safe_only: bool = False
    attributes: Any = None
    answers: tuple[Question, ...] = ()
    context: Context = None

    __repr__ = object.__repr__  # the headers hold a credential, and scopes are logged

    @property
    def request_id(self) -> str:
        """The id by which the answer, the log and the audit trail name this request."""
        return self.origin.request_id

    @property
    def origin(self) -> Origin:
        """Where the request came from; found out when it is asked for, and then the same for everybody who asks."""
        if self.known_origin is None:
            scope = {"headers": self.headers, "client": self.client}
            self.known_origin = origin_of(scope, self.gate.proxies)
        return self.known_origin

    def refusal(self, requirement: Requirement) -> LimenError | None:
        """Return why the requirement is not met, or None where it is met."""
        decision = decide(requirement, self.principal)
        if not decision.allowed:
            kind = _REFUSALS.get(decision.code)
            if kind is not None:
                return kind(decision.reason)
            return self.rejection or CredentialMissing()
        return None if self.parent is None else self.parent.refusal(requirement)

    def denial(self, requirement: Requirement) -> LimenError | None:
        """Return the refusal by a policy that needs nothing but who asks, and when; None where there is none."""
        state: GuardState | None = self
        while state is not None:
            loaded = state.gate.loaded_policies
            if loaded is not None and state.principal.is_authenticated:
                try:
                    reason = loaded.denial(requirement, state.principal, state.context)
                except Exception:
                    _log.exception("policies could not be asked, which is a no", extra={"request_id": self.request_id})
                    return PolicyDenied()
                if reason is not None:
                    return refused_by_policy(requirement.questions, reason)
            state = state.parent
        return None

    def must_wait(self, requirement: Requirement, *, hands_out_principal: bool) -> bool:
        """Tell whether something has to be loaded before policies can be asked.

        Args:
            requirement: what is asked.
            hands_out_principal: the handler is given the principal, and may ask policies itself.
        """
        state: GuardState | None = self
        while state is not None:
            loaded = state.gate.loaded_policies
            if loaded is not None and state.principal.is_authenticated:
                facts = loaded.facts_of(requirement)
                reads = facts.attributes or facts.shadow_attributes
                if hands_out_principal:
                    reads = reads or loaded.reads_attributes or loaded.shadow_reads_attributes
                if reads and state.principal.attributes is None:
                    return True
                if (
                    (facts.context or facts.shadow_context)
                    and state.context is None
                    and state.gate.policy_context is not None
                ):
                    return True
            state = state.parent
        return False

    def undeclared(self) -> LimenError:
        """Return the refusal of a leaf for which no rule is declared."""
        if not self.principal.is_authenticated:
            return self.rejection or CredentialMissing()
        return PolicyDenied("No rule is declared for this path.")

    def mark_decided(self, endpoint: object = None, *, is_open: bool = False) -> None:
        """Note that the request was decided, for every gate it passed, and whether everybody may have the answer."""
        self.endpoint = endpoint
        self.decided, self.is_open = True, is_open
        if self.parent is not None:
            self.parent.mark_decided(endpoint, is_open=is_open)

    def mark_entered(self) -> None:
        """Note that a router was reached, for every gate it passed."""
        self.entered = True
        if self.parent is not None:
            self.parent.mark_entered()

    async def check_live(self, leaf: object) -> None:
        """Ask the store again, once for this leaf, and go on with the principal of now.

        Raises:
            LimenError: it is no longer active, or the gate failed in a way that nobody foresaw.
        """
        state: GuardState | None = self
        while state is not None:
            try:
                state.principal = _without_attributes(await state.gate.live(state.principal))
            except LimenError:
                raise
            except Exception as error:
                _log.exception("a live check failed", extra={"request_id": self.request_id})
                raise LimenError() from error
            state.live_leaf = leaf
            state = state.parent


def _without_attributes(principal: Principal) -> Principal:
    """Return the principal as it is before anybody asked the loader, whose answer may depend on its roles."""
    return replace(principal, attributes=None) if principal.attributes is not None else principal


def refused_by_policy(questions: tuple[Question, ...], reason: str = "") -> LimenError:
    """Return the refusal of what policies do not allow: one of the questions may want it to look like nothing."""
    if any(question.hide for question in questions):
        return NotFound()
    return PolicyDenied(reason or None)


def refusal_of(decision: Decision) -> LimenError:
    """Return the error for a decision of the application's own that says no."""
    return _REFUSALS.get(decision.code, PolicyDenied)(str(decision.reason) or None)


def connection_of(scope: Scope) -> HTTPConnection:
    """Return what a function of the application's own may look at: everything but the body, which is the handler's."""
    return Request(dict(scope)) if scope["type"] == "http" else HTTPConnection(dict(scope))


def state_of(scope: Scope) -> GuardState:
    """Return the guard's state of a request.

    Raises:
        ConfigurationError: the application is not protected. Metadata alone cannot fail closed, so whatever states a
            requirement asks this.
    """
    state = scope.get(GUARD_KEY)
    if not isinstance(state, GuardState):
        raise ConfigurationError(
            "this endpoint states a requirement, but the application is not protected: add gate.protect(app), where "
            "gate is your Limen object, once the application is made"
        )
    return state
