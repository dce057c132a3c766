"""What a Starlette application writes on its endpoints. FastAPI is not needed for it."""

from collections.abc import Callable
from typing import Annotated, Any

from limen.core.principal import Principal
from limen.guard.requirements import PUBLIC, Requirement
from limen.web.approvals import Quorum, asking_endpoint, body_of
from limen.web.guard.declarations import (
    Declaration,
    GuardFactory,
    InterceptFactory,
    PermissionsFactory,
    PolicyFactory,
    RateLimitFactory,
    RolesFactory,
    current_principal,
    enforce_policy,
)
from limen.web.guard.own_code import ResponseStart
from limen.web.guard.wrapping import PrincipalMarker

CurrentPrincipal = Annotated[Principal, PrincipalMarker()]
"""Annotates a parameter of a decorated endpoint that is to get whoever is calling."""

client_certificate = Declaration(Requirement(client_certificate=True))
"""A service has to have proved itself by its client certificate on this connection (401 ``certificate_required``)."""

guard = GuardFactory(Declaration)
"""``guard(check)``: a function of one's own, ``check(principal, request)``, has to say yes as well."""

intercept = InterceptFactory(Declaration)
"""``intercept(before=…, after=…)``: functions of one's own around the handler, which refuse or look on."""

interactive = Declaration(Requirement(interactive=True))
"""A person has to have logged in: what an API key, a service or a message must not do (401 ``step_up_required``)."""

live = Declaration(Requirement(live=True))
"""Ask the store again before the handler runs: the account is active, and holds the roles still."""

public = Declaration(PUBLIC)
"""Anybody may call. It counts only directly on what is registered: it must be the outermost decorator."""

roles = RolesFactory(Declaration)
"""``roles("maker", "admin")``: one of them is required."""

rate_limit = RateLimitFactory(Declaration)
"""``rate_limit("10/minute")``: whoever calls more often is answered 429; see `limen.web.guard.limits`."""

permissions = PermissionsFactory(Declaration)
"""``permissions("order:create")``: all of them are required; ``permissions.any(…)``: one of them."""

policy = PolicyFactory(Declaration)
"""``policy("order:create")``: the policies have to allow it; for a resource there is `enforce_policy`."""


def requires_approval(
    action: str, *, quorum: Quorum = None, resource: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Ask for an approval instead of doing it: the JSON object of the body becomes the payload, and the answer is 202.

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
        return asking_endpoint(target, str(action), quorum=quorum, resource=resource, payload_of=body_of)

    return declare


__all__ = [
    "CurrentPrincipal",
    "ResponseStart",
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
