"""What a FastAPI application imports: ``from limen.fastapi import CurrentPrincipal, public, roles``, and the others."""

from limen.web.fastapi import CurrentPrincipal, current_principal, live, permissions, public, roles

__all__ = ["CurrentPrincipal", "current_principal", "live", "permissions", "public", "roles"]
