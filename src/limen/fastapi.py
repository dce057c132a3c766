"""What a FastAPI application imports: ``from limen.fastapi import CurrentPrincipal, public, roles``, and the others."""

from limen.web.docs import add_docs
from limen.web.fastapi import (
    CurrentPrincipal,
    ResponseStart,
    answer_invalid_input,
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
    "add_docs",
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
