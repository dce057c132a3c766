"""What each role may do; limen reads this at start. Which orders it may be done to, the policies say."""

from enum import StrEnum

from limen import ADMINISTRATION


class Role(StrEnum):
    """The roles of the people who work with orders."""

    MAKER = "maker"
    CHECKER = "checker"
    SUPER_CHECKER = "super-checker"
    ADMIN = "admin"


class Permission(StrEnum):
    """What can be done to an order."""

    CREATE = "order:create"
    READ = "order:read"
    UPDATE = "order:update"
    DELETE = "order:delete"
    ASSIGN = "order:assign"
    APPROVE = "order:approve"


ROLES: dict[str, list[str]] = {
    Role.MAKER: [
        Permission.CREATE,
        Permission.READ,
        Permission.UPDATE,
        Permission.DELETE,
        # May make API keys for programs of their own.
        "api-keys:own",
    ],
    Role.CHECKER: [Permission.READ, Permission.APPROVE],
    Role.SUPER_CHECKER: [Permission.READ, Permission.ASSIGN, Permission.APPROVE],
    Role.ADMIN: [
        Permission.READ,
        Permission.UPDATE,
        Permission.DELETE,
        Permission.ASSIGN,
        Permission.APPROVE,
        *ADMINISTRATION,
        # Makes no orders, since who makes them does not approve them; may make somebody a maker.
        f"grant:{Permission.CREATE}",
    ],
}

MAY_BE_ASSIGNED = frozenset({Role.CHECKER, Role.SUPER_CHECKER})
"""Only who holds one of these can be made the checker of an order."""
