"""``/admin/api/roles`` and ``/admin/api/permissions``."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.features.roles.service import RoleService
from limen.features.roles.views import RoleView
from limen.web.body import read_json
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.lists import asked, list_answer
from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    GUARDED,
    PAGE,
    Paths,
    array,
    listed,
    object_of,
    operation,
    parameter,
    text,
)
from limen.web.starlette import interactive, live, permissions


class RoleDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """What a role is to be: its own permissions, and the roles whose permissions it is to have as well."""

    permissions: list[str]
    extends: list[str] = []


class ShownRole(msgspec.Struct):
    """A role; ``gives`` is everything that whoever holds it may do."""

    name: str
    source: str
    permissions: list[str]
    extends: list[str]
    gives: list[str]


class ShownPermission(msgspec.Struct):
    """A permission, and the roles that give it."""

    name: str
    roles: list[str]


def shown(role: RoleView) -> ShownRole:
    """Return what is shown of a role."""
    return ShownRole(
        name=role.name,
        source=role.source.value,
        permissions=sorted(role.permissions),
        extends=sorted(role.extends),
        gives=sorted(role.gives),
    )


def role_routes(roles: RoleService, *, prefix: str) -> Routes:
    """Make the endpoints of roles and permissions under ``prefix``. Each is asked live, and by permission."""

    @live
    @permissions(Administration.ROLES_READ)
    @endpoint
    async def list_roles(request: Request) -> Response:
        """List the roles by name."""
        principal_of(request)  # of this limen, as on every route of its own
        limit, after = asked(request)
        page = await roles.page(limit=limit, after=after)
        return list_answer([shown(role) for role in page.items], page.next)

    @live
    @permissions(Administration.ROLES_READ)
    @endpoint
    async def show_role(request: Request) -> Response:
        """Show one role."""
        principal_of(request)  # of this limen, as on every route of its own
        return json_answer(shown(await roles.show(_name(request))))

    @live
    @interactive
    @permissions(Administration.ROLES_WRITE)
    @endpoint
    async def put_role(request: Request) -> Response:
        """Make or replace a role of the database."""
        body = await read_json(request.scope, request.receive, RoleDefinition)
        is_new = await roles.put(
            principal_of(request),
            _name(request),
            permissions=body.permissions,
            extends=body.extends,
            origin=origin_of(request),
        )
        return json_answer(shown(await roles.show(_name(request))), 201 if is_new else 200)

    @live
    @interactive
    @permissions(Administration.ROLES_WRITE)
    @endpoint
    async def delete_role(request: Request) -> Response:
        """Delete a role of the database that nobody holds and nothing extends."""
        await roles.delete(principal_of(request), _name(request), origin=origin_of(request))
        return no_content()

    @live
    @permissions(Administration.ROLES_READ)
    @endpoint
    async def list_permissions(request: Request) -> Response:
        """List the permissions that there are, and which roles give them."""
        principal_of(request)  # of this limen, as on every route of its own
        limit, after = asked(request)
        page = await roles.permissions(limit=limit, after=after)
        return list_answer([ShownPermission(each.name, list(each.roles)) for each in page.items], page.next)

    return {
        f"{prefix}/roles": {"GET": list_roles},
        f"{prefix}/roles/{{name}}": {"GET": show_role, "PUT": put_role, "DELETE": delete_role},
        f"{prefix}/permissions": {"GET": list_permissions},
    }


def role_paths(prefix: str) -> Paths:
    """Describe them."""
    names = array(text(), uniqueItems=True)
    role = object_of(
        {
            "name": text(),
            "source": text(enum=["code", "database"]),
            "permissions": names,
            "extends": names,
            "gives": {**names, "description": "its own permissions, and those of what it extends"},
        }
    )
    definition = object_of({"permissions": array(text()), "extends": array(text())}, "extends")
    name = (parameter("name", text(maxLength=64), where="path"),)
    permission = object_of({"name": text(), "roles": names})
    put = operation(
        "Make or replace a role of the database",
        {200: role, 201: role},
        *GUARDED,
        *BODY_PROBLEMS,
        409,
        parameters=name,
        body=definition,
        security=BEARER,
    )
    delete = operation(
        "Delete a role of the database", {204: None}, *GUARDED, 404, 409, parameters=name, security=BEARER
    )
    return {
        f"{prefix}/roles": {
            "get": operation("The roles", {200: listed(role)}, *GUARDED, 422, parameters=PAGE, security=BEARER)
        },
        f"{prefix}/roles/{{name}}": {
            "get": operation("One role", {200: role}, *GUARDED, 404, parameters=name, security=BEARER),
            "put": put,
            "delete": delete,
        },
        f"{prefix}/permissions": {
            "get": operation(
                "The permissions, and the roles that give them",
                {200: listed(permission)},
                *GUARDED,
                422,
                parameters=PAGE,
                security=BEARER,
            )
        },
    }


def _name(request: Request) -> str:
    return str(request.path_params["name"])
