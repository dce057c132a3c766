"""What a Starlette application imports: ``from limen.starlette import public, roles``, and the others."""

from limen.web.starlette import CurrentPrincipal, current_principal, interactive, live, permissions, public, roles

__all__ = ["CurrentPrincipal", "current_principal", "interactive", "live", "permissions", "public", "roles"]
