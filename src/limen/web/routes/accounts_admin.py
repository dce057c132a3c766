"""``/admin/api/accounts``: the accounts of others, as an administrator sees and changes them."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.features.accounts.administration import AccountAdministration
from limen.features.accounts.service import AccountService, AccountView
from limen.features.roles.permissions import PermissionService
from limen.features.sessions.service import SessionService
from limen.features.throttling.requests import Purpose, RequestThrottle, by_administrator
from limen.web.body import read_json
from limen.web.disconnect import while_connected
from limen.web.routes.endpoint import Endpoint, Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.grants import GRANT, ShownGrant, shown_grants
from limen.web.routes.lists import asked, list_answer, parameter, rfc3339
from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    GUARDED,
    PAGE,
    Paths,
    Schema,
    array,
    listed,
    object_of,
    operation,
    text,
)
from limen.web.routes.schema import parameter as described
from limen.web.routes.sessions import SESSION, listed_as
from limen.web.starlette import interactive, live, permissions


class NewAccountBody(msgspec.Struct, forbid_unknown_fields=True):
    """An account to be made. Without a password nobody can log in with one."""

    username: str
    password: str | None = None
    email: str | None = None
    roles: list[str] = []


class AccountChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; what is not there stays. ``roles`` are all that the account is to hold."""

    roles: list[str] | msgspec.UnsetType = msgspec.UNSET
    email: str | msgspec.UnsetType | None = msgspec.UNSET


class ShownAccount(msgspec.Struct):
    """What is shown of an account: never anything of its password but whether it is temporary."""

    id: str
    username: str
    email: str | None
    status: str
    roles: list[str]
    created_at: str
    password_temporary: bool


class ShownWithGrants(ShownAccount):
    """An account with what was granted to it beside its roles, and which of the roles end by themselves."""

    permissions: list[ShownGrant]
    roles_ending: list[ShownGrant]


def shown(account: AccountView) -> ShownAccount:
    """Return what is shown of an account."""
    return ShownAccount(
        id=account.id,
        username=account.username,
        email=account.email,
        status=str(account.status),
        roles=sorted(account.roles),
        created_at=rfc3339(account.created_at),
        password_temporary=account.password_temporary,
    )


def account_admin_routes(
    accounts: AccountService,
    administration: AccountAdministration,
    sessions: SessionService,
    granted: PermissionService,
    throttle: RequestThrottle,
    *,
    prefix: str,
) -> Routes:
    """Make the endpoints of accounts under ``prefix``. Each is asked live, and by permission."""
    path = f"{prefix}/accounts"
    return {
        path: {"GET": _listing(accounts), "POST": _making(administration, accounts, throttle, path)},
        f"{path}/{{id}}": {
            "GET": _showing(accounts, granted),
            "PATCH": _changing(administration),
            "DELETE": _verb(administration.delete, Administration.ACCOUNTS_DELETE),
        },
        f"{path}/{{id}}/sessions": {"GET": _listing_sessions(accounts, sessions)},
        f"{path}/{{id}}/disable": {"POST": _verb(administration.disable, Administration.ACCOUNTS_WRITE)},
        f"{path}/{{id}}/enable": {"POST": _verb(administration.enable, Administration.ACCOUNTS_WRITE)},
        f"{path}/{{id}}/block": {"POST": _verb(administration.block, Administration.ACCOUNTS_WRITE)},
        f"{path}/{{id}}/unblock": {"POST": _verb(administration.unblock, Administration.ACCOUNTS_WRITE)},
        f"{path}/{{id}}/end-sessions": {"POST": _verb(administration.end_sessions, Administration.SESSIONS_END)},
    }


def _listing(accounts: AccountService) -> Endpoint:
    @live
    @permissions(Administration.ACCOUNTS_READ)
    @endpoint
    async def list_accounts(request: Request) -> Response:
        """List or search the accounts, by name."""
        principal_of(request)  # of this limen, as on every route of its own
        limit, after = asked(request)
        page = await accounts.page(query=parameter(request, "q") or "", limit=limit, after=after)
        return list_answer([shown(account) for account in page.items], page.next)

    return list_accounts


def _making(
    administration: AccountAdministration, accounts: AccountService, throttle: RequestThrottle, path: str
) -> Endpoint:
    @live
    @interactive
    @permissions(Administration.ACCOUNTS_WRITE)
    @endpoint
    async def make_account(request: Request) -> Response:
        """Make an account; its roles only as far as the caller may grant them."""
        body = await read_json(request.scope, request.receive, NewAccountBody)
        principal = principal_of(request)
        await throttle.count(Purpose.INVITE, recipient=by_administrator(accounts.recipient(body.email)))
        making = administration.create(
            principal,
            body.username,
            body.password,
            email=body.email,
            roles=frozenset(body.roles),
            origin=origin_of(request),
        )
        account = await while_connected(request.receive, making)
        answer = json_answer(shown(account), 201)
        answer.headers["Location"] = f"{request.scope.get('root_path', '')}{path}/{account.id}"
        return answer

    return make_account


def _showing(accounts: AccountService, granted: PermissionService) -> Endpoint:
    @live
    @permissions(Administration.ACCOUNTS_READ)
    @endpoint
    async def show_account(request: Request) -> Response:
        """Show one account, with what it was granted for a time, and beside its roles."""
        principal_of(request)  # of this limen, as on every route of its own
        account = shown(await accounts.by_id(_id(request)))
        grants = await granted.of_account(account.id)
        ending = {name: end for name, end in grants.roles.items() if end is not None}
        told = {name: getattr(account, name) for name in account.__struct_fields__}
        return json_answer(
            ShownWithGrants(**told, permissions=shown_grants(grants.permissions), roles_ending=shown_grants(ending))
        )

    return show_account


def _changing(administration: AccountAdministration) -> Endpoint:
    @live
    @interactive
    @permissions.any(Administration.ACCOUNTS_WRITE, Administration.ROLES_ASSIGN)
    @endpoint
    async def change_account(request: Request) -> Response:
        """Change the roles or the e-mail address; each takes its own permission."""
        body = await read_json(request.scope, request.receive, AccountChange)
        account = await administration.change(
            principal_of(request),
            _id(request),
            email=None if body.email is msgspec.UNSET else (body.email,),
            roles=None if body.roles is msgspec.UNSET else frozenset(body.roles),
            origin=origin_of(request),
        )
        return json_answer(shown(account))

    return change_account


def _listing_sessions(accounts: AccountService, sessions: SessionService) -> Endpoint:
    @live
    @permissions(Administration.ACCOUNTS_READ)
    @endpoint
    async def list_sessions(request: Request) -> Response:
        """List the living sessions of an account, the newest first."""
        limit, after = asked(request)
        account = await accounts.by_id(_id(request))
        page = await sessions.of_account(account.id, limit=limit, after=after)
        own = principal_of(request).sid
        return list_answer([listed_as(each, own) for each in page.items], page.next)

    return list_sessions


def _verb(act: Callable[..., Awaitable[object]], permission: str) -> Endpoint:
    @live
    @interactive
    @permissions(permission)
    @endpoint
    async def verb(request: Request) -> Response:
        """Do it to the account that the path names."""
        await act(principal_of(request), _id(request), origin=origin_of(request))
        return no_content()

    return verb


def _id(request: Request) -> str:
    return str(request.path_params["id"])


_ROLES: Final = array(text(), uniqueItems=True)
_ADDRESS: Final[Schema] = {"type": ["string", "null"]}
_ACCOUNT: Final = object_of(
    {
        "id": text(format="uuid"),
        "username": text(),
        "email": _ADDRESS,
        "status": text(enum=["active", "disabled", "blocked"]),
        "roles": _ROLES,
        "created_at": text(format="date-time"),
        "password_temporary": {"type": "boolean"},
    }
)
_WITH_GRANTS: Final = object_of({**_ACCOUNT["properties"], "permissions": array(GRANT), "roles_ending": array(GRANT)})
_NEW: Final = object_of(
    {
        "username": text(minLength=1, maxLength=64),
        "password": {"type": ["string", "null"], "format": "password", "maxLength": 1024},
        "email": _ADDRESS,
        "roles": array(text()),
    },
    "password",
    "email",
    "roles",
)
_CHANGE: Final = object_of({"roles": array(text()), "email": _ADDRESS}, "roles", "email")
_VERBS: Final = {
    "disable": "Switch an account off",
    "enable": "Switch it on again",
    "block": "Block an account on suspicion",
    "unblock": "Undo a block",
    "end-sessions": "End every session of an account",
}


def account_admin_paths(prefix: str) -> Paths:
    """Describe them."""
    one = (described("id", text(maxLength=36), where="path"),)
    search = described("q", text(maxLength=320), description="part of the name or of the address")
    path = f"{prefix}/accounts"
    paths: Paths = {
        path: {
            "get": operation(
                "The accounts", {200: listed(_ACCOUNT)}, *GUARDED, 422, parameters=(*PAGE, search), security=BEARER
            ),
            "post": operation(
                "Make an account", {201: _ACCOUNT}, *GUARDED, *BODY_PROBLEMS, 409, 429, body=_NEW, security=BEARER
            ),
        },
        f"{path}/{{id}}": {
            "get": operation("One account", {200: _WITH_GRANTS}, *GUARDED, 404, parameters=one, security=BEARER),
            "patch": operation(
                "Change roles or e-mail address",
                {200: _ACCOUNT},
                *GUARDED,
                *BODY_PROBLEMS,
                404,
                409,
                parameters=one,
                body=_CHANGE,
                security=BEARER,
            ),
            "delete": _described_verb("Delete an account for good", one),
        },
        f"{path}/{{id}}/sessions": {
            "get": operation(
                "Its sessions", {200: listed(SESSION)}, *GUARDED, 404, 422, parameters=(*one, *PAGE), security=BEARER
            )
        },
    }
    for verb, summary in _VERBS.items():
        paths[f"{path}/{{id}}/{verb}"] = {"post": _described_verb(summary, one)}
    return paths


def _described_verb(summary: str, one: tuple[dict[str, object], ...]) -> dict[str, object]:
    return operation(summary, {204: None}, *GUARDED, 404, 409, parameters=one, security=BEARER)
