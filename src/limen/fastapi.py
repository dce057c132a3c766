"""What FastAPI applications import: ``from limen.fastapi import CurrentPrincipal, live, permissions, public, roles``."""

from limen.web.fastapi import CurrentPrincipal, current_principal, live, permissions, public, roles

__all__ = ["CurrentPrincipal", "current_principal", "live", "permissions", "public", "roles"]
