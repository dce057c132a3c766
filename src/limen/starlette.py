"""What Starlette applications import: ``from limen.starlette import CurrentPrincipal, live, permissions, public, roles``."""

from limen.web.starlette import CurrentPrincipal, current_principal, live, permissions, public, roles

__all__ = ["CurrentPrincipal", "current_principal", "live", "permissions", "public", "roles"]
