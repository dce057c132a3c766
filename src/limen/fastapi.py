"""What a FastAPI application imports: ``from limen.fastapi import CurrentPrincipal, public, roles``, and the others."""

from limen.web.fastapi import (
    CurrentPrincipal,
    ResponseStart,
    answer_invalid_input,
    client_certificate,
    current_principal,
    guard,
    interactive,
    intercept,
    live,
    permissions,
    public,
    roles,
)

__all__ = [
    "CurrentPrincipal",
    "ResponseStart",
    "answer_invalid_input",
    "client_certificate",
    "current_principal",
    "guard",
    "interactive",
    "intercept",
    "live",
    "permissions",
    "public",
    "roles",
]
