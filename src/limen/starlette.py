"""What a Starlette application imports: ``from limen.starlette import public, roles``, and the others."""

from limen.web.starlette import (
    CurrentPrincipal,
    ResponseStart,
    client_certificate,
    current_principal,
    enforce_policy,
    guard,
    interactive,
    intercept,
    live,
    permissions,
    policy,
    public,
    rate_limit,
    requires_approval,
    roles,
)

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
