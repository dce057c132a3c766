"""``/admin/api``: everything that is administered over HTTP, each area in a module of its own."""

from dataclasses import dataclass
from typing import Final

from limen.features.roles.service import RoleService
from limen.web.routes.endpoint import Routes
from limen.web.routes.roles import role_paths, role_routes
from limen.web.routes.schema import Paths

PREFIX: Final = "/admin/api"
"""Where the routes are; the same in every application, whatever the prefix of the others is."""


@dataclass(frozen=True, slots=True)
class Administered:
    """The use cases behind the routes."""

    roles: RoleService


def administration_routes(services: Administered) -> Routes:
    """Make the endpoints of every area."""
    return {**role_routes(services.roles, prefix=PREFIX)}


def administration_paths() -> Paths:
    """Describe them."""
    return {**role_paths(PREFIX)}
