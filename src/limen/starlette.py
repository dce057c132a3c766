"""What a Starlette application imports: ``from limen.starlette import public, roles``, and the others."""

from limen.web.starlette import (
    CurrentPrincipal,
    ResponseStart,
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
