"""What a Starlette application imports: ``from limen.starlette import public, roles``, and the others."""

from limen.web.starlette import (
    CurrentPrincipal,
    client_certificate,
    current_principal,
    interactive,
    live,
    permissions,
    public,
    roles,
)

__all__ = [
    "CurrentPrincipal",
    "client_certificate",
    "current_principal",
    "interactive",
    "live",
    "permissions",
    "public",
    "roles",
]
