"""``/admin/api/accounts/{id}/permissions`` and ``…/roles``: what one account is granted, for good or for a time."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.core.errors import InputFault, InvalidInput
from limen.core.times import rfc3339_of, seconds_of
from limen.features.roles.permissions import Grants, PermissionService
from limen.features.roles.service import RoleService
from limen.web.body import read_optional_json
from limen.web.routes.endpoint import Endpoint, Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.schema import BEARER, BODY_PROBLEMS, GUARDED, Paths, Schema, array, object_of, operation, text
from limen.web.routes.schema import parameter as described
from limen.web.starlette import interactive, live, permissions


class GrantTerms(msgspec.Struct, forbid_unknown_fields=True):
    """When a grant ends; not by itself where nothing is said."""

    expires_at: str | None = None


class ShownGrant(msgspec.Struct):
    """A role or a permission that an account holds, and when that ends by itself."""

    name: str
    expires_at: str | None


class ShownGrants(msgspec.Struct):
    """All that an account was granted."""

    roles: list[ShownGrant]
    permissions: list[ShownGrant]


def shown_grants(ends: Mapping[str, int | None]) -> list[ShownGrant]:
    """Return what is shown of what an account holds."""
    return [ShownGrant(name, None if end is None else rfc3339_of(end)) for name, end in ends.items()]


def shown(grants: Grants) -> ShownGrants:
    """Return what is shown of all that an account holds."""
    return ShownGrants(shown_grants(grants.roles), shown_grants(grants.permissions))


GRANT = object_of({"name": text(), "expires_at": {"type": ["string", "null"], "format": "date-time"}})
"""The schema of a `ShownGrant`."""


def grant_routes(roles: RoleService, granted: PermissionService, *, prefix: str) -> Routes:
    """Make the endpoints under ``prefix``. Each is asked live, and by permission."""
    path = f"{prefix}/accounts/{{id}}"
    return {
        f"{path}/permissions/{{permission}}": {
            "PUT": _granting_permission(granted),
            "DELETE": _revoking_permission(granted),
        },
        f"{path}/roles/{{role}}": {"PUT": _granting_role(roles, granted), "DELETE": _revoking_role(roles)},
    }


def _assigning(answer: Callable[[Request], Awaitable[Response]]) -> Endpoint:
    """Declare an endpoint that grants or revokes: live, by a login of a person, and by permission."""
    return live(interactive(permissions(Administration.ROLES_ASSIGN)(endpoint(answer))))


def _granting_permission(granted: PermissionService) -> Endpoint:
    @_assigning
    async def grant_permission(request: Request) -> Response:
        """Grant a permission to one account, beside its roles."""
        until = await _until(request)
        names = [str(request.path_params["permission"])]
        grants = await granted.grant(principal_of(request), _id(request), names, until=until, origin=origin_of(request))
        return json_answer(shown(grants))

    return grant_permission


def _revoking_permission(granted: PermissionService) -> Endpoint:
    @_assigning
    async def revoke_permission(request: Request) -> Response:
        """Revoke a permission that was granted to one account; what its roles give stays."""
        names = [str(request.path_params["permission"])]
        await granted.revoke(principal_of(request), _id(request), names, origin=origin_of(request))
        return no_content()

    return revoke_permission


def _granting_role(roles: RoleService, granted: PermissionService) -> Endpoint:
    @_assigning
    async def grant_role(request: Request) -> Response:
        """Grant a role to one account, beside those that it holds."""
        until = await _until(request)
        names = [str(request.path_params["role"])]
        await roles.grant(principal_of(request), _id(request), names, until=until, origin=origin_of(request))
        return json_answer(shown(await granted.of_account(_id(request))))

    return grant_role


def _revoking_role(roles: RoleService) -> Endpoint:
    @_assigning
    async def revoke_role(request: Request) -> Response:
        """Revoke a role of one account; the others stay."""
        names = [str(request.path_params["role"])]
        await roles.revoke(principal_of(request), _id(request), names, origin=origin_of(request))
        return no_content()

    return revoke_role


async def _until(request: Request) -> int | None:
    """Return when the grant that is asked for ends, in seconds since 1970 UTC.

    Raises:
        InvalidInput: it is no time of RFC 3339.
    """
    body = await read_optional_json(request.scope, request.receive, GrantTerms)
    if body is None or body.expires_at is None:
        return None
    until = seconds_of(body.expires_at)
    if until is None:
        message = "A time is written as in RFC 3339, such as 2026-12-31T00:00:00Z."
        raise InvalidInput(message, errors=[InputFault(("body", "expires_at"), "invalid_value", message)])
    return until


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def grant_paths(prefix: str) -> Paths:
    """Describe them."""
    path = f"{prefix}/accounts/{{id}}"
    return {
        f"{path}/permissions/{{permission}}": _described("permission", 259),
        f"{path}/roles/{{role}}": _described("role", 64),
    }


def _described(what: str, longest: int) -> Schema:
    grants = object_of({"roles": array(GRANT), "permissions": array(GRANT)})
    terms = object_of({"expires_at": {"type": ["string", "null"], "format": "date-time"}}, "expires_at")
    one = (
        described("id", text(maxLength=36), where="path"),
        described(what, text(maxLength=longest), where="path"),
    )
    put = operation(
        f"Grant a {what} to one account",
        {200: grants},
        *GUARDED,
        *BODY_PROBLEMS,
        404,
        409,
        parameters=one,
        body=terms,
        body_required=False,
        security=BEARER,
    )
    delete = operation(
        f"Revoke a {what} of one account", {204: None}, *GUARDED, 404, 409, 422, parameters=one, security=BEARER
    )
    return {"put": put, "delete": delete}
