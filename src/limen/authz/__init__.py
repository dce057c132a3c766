"""What may you do: the names of permissions, and roles as named sets of them."""

from limen.authz.administration import ADMINISTRATION, Administration
from limen.authz.permissions import is_permission_name, permission_name
from limen.authz.roles import Role, RoleCatalogue, role_name

__all__ = [
    "ADMINISTRATION",
    "Administration",
    "Role",
    "RoleCatalogue",
    "is_permission_name",
    "permission_name",
    "role_name",
]
