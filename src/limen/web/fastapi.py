"""What a FastAPI application writes: each requirement is a decorator, a dependency and an annotation in one object."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import params
from starlette.requests import HTTPConnection

from limen.core.errors import ConfigurationError
from limen.core.principal import Principal
from limen.guard.requirements import PUBLIC, Question, Requirement
from limen.web.approvals import Quorum, asking_endpoint
from limen.web.fastapi_body import ValidatedBody
from limen.web.guard.declarations import (
    Declaration,
    Enforcement,
    GuardFactory,
    InterceptFactory,
    PermissionsFactory,
    RateLimitFactory,
    RolesFactory,
    current_principal,
    current_principal_dependency,
    enforce_policy,
)
from limen.web.guard.own_code import ResponseStart
from limen.web.guard.policies import answer_about
from limen.web.guard.state import state_of
from limen.web.guard.wrapping import CONNECTION_PARAMETER, PrincipalMarker
from limen.web.validation import answer_invalid_input


class _ByIdentity(params.Depends):
    """FastAPI's `Depends` compares by value; ours are told apart, or ``typing`` would take two for one."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class DependableDeclaration(Declaration, _ByIdentity):
    """A requirement that FastAPI takes for a dependency as well: ``dependencies=[roles("admin")]``."""

    def __init__(self, requirement: Requirement) -> None:
        params.Depends.__init__(self, dependency=Enforcement(requirement))
        Declaration.__init__(self, requirement)
        # What FastAPI is to hand in where it takes the object itself for a dependency: ``Depends(roles("maker"))``.
        connection = Parameter(CONNECTION_PARAMETER, Parameter.KEYWORD_ONLY, annotation=HTTPConnection)
        object.__setattr__(self, "__signature__", Signature([connection]))

    __repr__ = Declaration.__repr__


class PolicyEnforcement(Enforcement):
    """A question to the policies about what a dependency loads: decided when that has run, before the handler does.

    Args:
        question: the action, and the dependency that loads.
    """

    def __init__(self, question: Question) -> None:
        super().__init__(Requirement(questions=(question,)))
        self.decides = (question,)
        # As FastAPI reads it: the loader is a dependency like any other, with dependencies and parameters of its own.
        self.__signature__ = Signature(
            [
                Parameter("connection", Parameter.KEYWORD_ONLY, annotation=HTTPConnection),
                Parameter("resource", Parameter.KEYWORD_ONLY, default=params.Depends(question.load), annotation=Any),
            ]
        )

    async def __call__(self, connection: HTTPConnection, resource: Any = None) -> Any:
        """Return the resource, to which whoever calls may do what is asked.

        Raises:
            NotFound: there is none.
            LimenError: the policies do not allow it.
            ConfigurationError: the application is not protected.
        """
        state = state_of(connection.scope)
        refused = state.refusal(self.requirement)
        if refused is not None:
            raise refused
        await answer_about(self.decides[0], state, connection.scope, resource)
        return resource


class PolicyDeclaration(DependableDeclaration):
    """A requirement of policies about a resource: an annotation, or a member of ``dependencies=[…]``."""

    def __init__(self, requirement: Requirement) -> None:
        super().__init__(requirement)
        params.Depends.__init__(self, dependency=PolicyEnforcement(requirement.questions[0]))

    def __call__(self, target: Any = None, /, **_: Any) -> Any:
        """Refuse to be a decorator: FastAPI calls dependencies, and the resource is one.

        Raises:
            ConfigurationError: always.
        """
        action = self.requirement.questions[0].action
        raise ConfigurationError(
            f'policy("{action}", load=…) is no decorator, and needs no Depends() around it: write it as an annotation, '
            f'order: Annotated[Order, policy("{action}", load=…)], or in dependencies=[…] of the route'
        )


def policy(action: str, *, load: Callable[..., Any] | None = None, hide: bool = False) -> DependableDeclaration:
    """Require that the policies allow an action.

    ::

        @app.post("/orders")
        @policy("order:create")
        async def create(order: NewOrder) -> OrderOut: ...

        @app.post("/orders/{order_id}/approve")
        async def approve(order: Annotated[Order, policy("order:approve", load=get_order)]) -> OrderOut: ...

    Args:
        action: ``resource:action``.
        load: a dependency as FastAPI knows it, with parameters and dependencies of its own, that returns what is acted
            on, or None where there is no such thing, which is answered 404. Without one it is decided at dispatch, by
            who calls, when, and what is known of the request.
        hide: answer 404 ``not_found`` for what is not allowed, too, so that the two cannot be told apart.

    Raises:
        ConfigurationError: the action is malformed, or `load` is no function.
    """
    requirement = Requirement.of_question(action, load=load, hide=hide)
    return DependableDeclaration(requirement) if load is None else PolicyDeclaration(requirement)


class CurrentPrincipalDependency(PrincipalMarker, _ByIdentity):
    """In an annotation: the principal of this request, handed in by the decorator or by FastAPI."""

    def __init__(self) -> None:
        params.Depends.__init__(self, dependency=current_principal_dependency)


CurrentPrincipal = Annotated[Principal, CurrentPrincipalDependency()]
"""Annotates a parameter that is to get whoever is calling; on a public route that may be the anonymous principal."""

client_certificate = DependableDeclaration(Requirement(client_certificate=True))
"""A service has to have proved itself by its client certificate on this connection (401 ``certificate_required``)."""

guard = GuardFactory(DependableDeclaration)
"""``guard(check)``: a function of one's own, ``check(principal, request)``, has to say yes as well."""

intercept = InterceptFactory(DependableDeclaration)
"""``intercept(before=…, after=…)``: functions of one's own around the handler, which refuse or look on."""

interactive = DependableDeclaration(Requirement(interactive=True))
"""A person has to have logged in: what an API key, a service or a message must not do (401 ``step_up_required``)."""

live = DependableDeclaration(Requirement(live=True))
"""Ask the store again before the handler runs: the account is active, and holds the roles still."""

public = DependableDeclaration(PUBLIC)
"""Anybody may call. As a decorator it counts only directly on what is registered: it must be the outermost."""

roles = RolesFactory(DependableDeclaration)
"""``roles("maker", "admin")``: one of them is required."""

rate_limit = RateLimitFactory(DependableDeclaration)
"""``rate_limit("10/minute")``: whoever calls more often is answered 429; see `limen.web.guard.limits`."""

permissions = PermissionsFactory(DependableDeclaration)
"""``permissions("order:create")``: all of them are required; ``permissions.any(…)``: one of them."""


def requires_approval(
    action: str, *, quorum: Quorum = None, resource: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Ask for an approval instead of doing it: the validated body becomes the payload, and the answer is 202.

    What the function does is never run; what is to be done is named by ``gate.approvals.action(action)``.

    Args:
        action: the name of the action.
        quorum: how many have to say yes, where that is more than the action says: a number, or a function of the
            payload.
        resource: what it is to be done to, with the parameters of the path: ``"payout:{id}"``. Without it, the path
            where it has parameters, and otherwise nothing: it makes something new.

    Raises:
        ConfigurationError: it stands above something else than a function.
    """

    def declare(target: Callable[..., Any]) -> Callable[..., Any]:
        return asking_endpoint(target, str(action), quorum=quorum, resource=resource, payload_of=ValidatedBody(target))

    return declare


__all__ = [
    "CurrentPrincipal",
    "ResponseStart",
    "answer_invalid_input",
    "client_certificate",
    "current_principal",
    "enforce_policy",
    "guard",
    "interactive",
    "intercept",
    "live",
    "permissions",
    "policy",
    "public",
    "rate_limit",
    "requires_approval",
    "roles",
]
