"""``/auth/api-keys``, and ``/admin/api/services`` with the keys of services.

No key opens them: a person has to have logged in, so that a leaked key cannot make another one (ASVS 13.3).
"""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.api_key_issuing import IssuedKey
from limen.authz.administration import Administration
from limen.features.accounts.service import AccountView
from limen.features.api_keys.building import ApiKeys
from limen.features.api_keys.service import ApiKeyService, KeyView, Wanted
from limen.features.api_keys.services import ServiceAccounts
from limen.features.throttling.requests import Purpose, RequestThrottle
from limen.web.body import read_json
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.lists import asked, list_answer, rfc3339
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

_OWN: Final = Administration.API_KEYS_OWN
_SERVICES: Final = Administration.SERVICES_WRITE


class NewKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made. Whose it is to be is not for the body to say."""

    name: str
    scopes: list[str] | None = None
    expires_in: int | None = None
    networks: list[str] | None = None

    def wanted(self) -> Wanted:
        """Return what is asked for."""
        return Wanted(self.name, self.scopes, self.expires_in, self.networks)


class NewServiceBody(msgspec.Struct, forbid_unknown_fields=True):
    """The account of a service, to be made."""

    name: str
    roles: list[str] = []


class ShownOnce(msgspec.Struct):
    """A key, in the one answer that shows it."""

    id: str
    key: str
    name: str
    scopes: list[str] | None
    expires_at: str


class ShownKey(msgspec.Struct):
    """What is shown of a key afterwards. Times are RFC 3339 in UTC."""

    id: str
    name: str
    scopes: list[str] | None
    networks: list[str] | None
    created_at: str
    expires_at: str
    last_used_at: str | None
    created_by: str
    confirmed: bool


class ShownService(msgspec.Struct):
    """What is shown of a service's account."""

    id: str
    name: str
    status: str
    roles: list[str]
    created_at: str


def own_key_routes(keys: ApiKeyService, throttle: RequestThrottle, *, prefix: str) -> Routes:
    """Make the endpoints of the caller's own keys under ``prefix``."""
    path = f"{prefix}/api-keys"

    @live
    @interactive
    @permissions(_OWN)
    @endpoint
    async def own_keys(request: Request) -> Response:
        """List the caller's keys, the newest first."""
        limit, after = asked(request)
        page = await keys.page(principal_of(request).sub, limit=limit, after=after)
        return list_answer([_shown(key) for key in page.items], page.next)

    @live
    @interactive
    @permissions(_OWN)
    @endpoint
    async def make_own_key(request: Request) -> Response:
        """Make a key for the caller's account; it is shown in this answer and never again."""
        body = await read_json(request.scope, request.receive, NewKeyBody)
        await throttle.count(Purpose.KEYS, key=principal_of(request).sub)
        return _shown_once(
            await keys.create_own(principal_of(request), body.wanted(), origin=origin_of(request)), request, path
        )

    @live
    @interactive
    @permissions(_OWN)
    @endpoint
    async def rotate_own_key(request: Request) -> Response:
        """Give a key of the caller's a new secret; the one before works for 24 hours more."""
        await throttle.count(Purpose.KEYS, key=principal_of(request).sub)
        return _shown_once(
            await keys.rotate_own(principal_of(request), _key(request), origin=origin_of(request)), request, path
        )

    @live
    @interactive
    @permissions(_OWN)
    @endpoint
    async def confirm_own_key(request: Request) -> Response:
        """Let a key of the caller's be used again that came back with a restored database."""
        await keys.confirm_own(principal_of(request), _key(request), origin=origin_of(request))
        return no_content()

    # Whoever lost the permission may still end what they have.
    @live
    @interactive
    @endpoint
    async def revoke_own_key(request: Request) -> Response:
        """Revoke a key of the caller's."""
        await keys.revoke_own(principal_of(request), _key(request), origin=origin_of(request))
        return no_content()

    return {
        path: {"GET": own_keys, "POST": make_own_key},
        f"{path}/{{key}}": {"DELETE": revoke_own_key},
        f"{path}/{{key}}/rotate": {"POST": rotate_own_key},
        f"{path}/{{key}}/confirm": {"POST": confirm_own_key},
    }


def service_routes(api_keys: ApiKeys, *, prefix: str) -> Routes:
    """Make the endpoints of services' accounts and of their keys under ``prefix``."""
    path = f"{prefix}/services"
    return {**_account_routes(api_keys.services, path), **_key_routes(api_keys.service, path)}


def _account_routes(services: ServiceAccounts, path: str) -> Routes:
    @live
    @permissions(_SERVICES)
    @endpoint
    async def list_services(request: Request) -> Response:
        """List the accounts of services, by name."""
        principal_of(request)  # of this limen, as on every route of its own
        limit, after = asked(request)
        page = await services.page(limit=limit, after=after)
        return list_answer([_shown_service(account) for account in page.items], page.next)

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def make_service(request: Request) -> Response:
        """Make the account of a service; its roles only as far as the caller may grant them."""
        body = await read_json(request.scope, request.receive, NewServiceBody)
        made = await services.create(
            principal_of(request), body.name, roles=frozenset(body.roles), origin=origin_of(request)
        )
        answer = json_answer(_shown_service(made), 201)
        answer.headers["Location"] = f"{request.scope.get('root_path', '')}{path}/{made.id}"
        return answer

    @live
    @permissions(_SERVICES)
    @endpoint
    async def show_service(request: Request) -> Response:
        """Show the account of one service."""
        principal_of(request)  # of this limen, as on every route of its own
        return json_answer(_shown_service(await services.by_id(_account(request))))

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def disable_service(request: Request) -> Response:
        """Switch a service off: its keys open nothing any more."""
        await services.disable(principal_of(request), _account(request), origin=origin_of(request))
        return no_content()

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def enable_service(request: Request) -> Response:
        """Switch a service on again."""
        await services.enable(principal_of(request), _account(request), origin=origin_of(request))
        return no_content()

    return {
        path: {"GET": list_services, "POST": make_service},
        f"{path}/{{id}}": {"GET": show_service},
        f"{path}/{{id}}/disable": {"POST": disable_service},
        f"{path}/{{id}}/enable": {"POST": enable_service},
    }


def _key_routes(keys: ApiKeyService, path: str) -> Routes:
    below = f"{path}/{{id}}/api-keys"

    @live
    @permissions(_SERVICES)
    @endpoint
    async def list_keys(request: Request) -> Response:
        """List the keys of a service, the newest first."""
        limit, after = asked(request)
        page = await keys.page_for(principal_of(request), _account(request), limit=limit, after=after)
        return list_answer([_shown(key) for key in page.items], page.next)

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def make_key(request: Request) -> Response:
        """Make a key for a service; it is shown in this answer and never again."""
        body = await read_json(request.scope, request.receive, NewKeyBody)
        account = _account(request)
        issued = await keys.create_for(principal_of(request), account, body.wanted(), origin=origin_of(request))
        return _shown_once(issued, request, f"{path}/{account}/api-keys")

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def rotate_key(request: Request) -> Response:
        """Give a key of a service a new secret; the one before works for 24 hours more."""
        account = _account(request)
        issued = await keys.rotate_for(principal_of(request), account, _key(request), origin=origin_of(request))
        return _shown_once(issued, request, f"{path}/{account}/api-keys")

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def revoke_key(request: Request) -> Response:
        """Revoke a key of a service."""
        await keys.revoke_for(principal_of(request), _account(request), _key(request), origin=origin_of(request))
        return no_content()

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def confirm_key(request: Request) -> Response:
        """Let a key of a service be used again that came back with a restored database."""
        await keys.confirm_for(principal_of(request), _account(request), _key(request), origin=origin_of(request))
        return no_content()

    return {
        below: {"GET": list_keys, "POST": make_key},
        f"{below}/{{key}}": {"DELETE": revoke_key},
        f"{below}/{{key}}/rotate": {"POST": rotate_key},
        f"{below}/{{key}}/confirm": {"POST": confirm_key},
    }


def _shown(key: KeyView) -> ShownKey:
    return ShownKey(
        id=key.id,
        name=key.name,
        scopes=None if key.scopes is None else list(key.scopes),
        networks=None if key.networks is None else list(key.networks),
        created_at=rfc3339(key.created_at),
        expires_at=rfc3339(key.expires_at),
        last_used_at=None if key.last_used_at is None else rfc3339(key.last_used_at),
        created_by=key.created_by,
        confirmed=not key.unconfirmed,
    )


def _shown_once(issued: IssuedKey, request: Request, path: str) -> Response:
    scopes = None if issued.scopes is None else list(issued.scopes)
    answer = json_answer(ShownOnce(issued.id, issued.key, issued.name, scopes, rfc3339(issued.expires_at)), 201)
    answer.headers["Location"] = f"{request.scope.get('root_path', '')}{path}/{issued.id}"
    return answer


def _shown_service(account: AccountView) -> ShownService:
    return ShownService(
        id=account.id,
        name=account.username,
        status=str(account.status),
        roles=sorted(account.roles),
        created_at=rfc3339(account.created_at),
    )


def _account(request: Request) -> str:
    return str(request.path_params["id"])


def _key(request: Request) -> str:
    return str(request.path_params["key"])


# --- described

_NAMES: Final = {"type": ["array", "null"], "items": text()}
_TIME: Final = text(format="date-time")
_NEW_KEY: Final = object_of(
    {
        "name": text(minLength=1, maxLength=128),
        "scopes": _NAMES,
        "expires_in": {"type": ["integer", "null"], "description": "seconds"},
        "networks": {**_NAMES, "description": "in CIDR notation"},
    },
    "scopes",
    "expires_in",
    "networks",
)
_ONCE: Final = object_of(
    {"id": text(format="uuid"), "key": text(), "name": text(), "scopes": _NAMES, "expires_at": _TIME}
)
_LISTED: Final = object_of(
    {
        "id": text(format="uuid"),
        "name": text(),
        "scopes": _NAMES,
        "networks": _NAMES,
        "created_at": _TIME,
        "expires_at": _TIME,
        "last_used_at": {**_TIME, "type": ["string", "null"]},
        "created_by": text(),
        "confirmed": {"type": "boolean"},
    }
)
_SERVICE: Final = object_of(
    {
        "id": text(format="uuid"),
        "name": text(),
        "status": text(enum=["active", "disabled", "blocked"]),
        "roles": array(text()),
        "created_at": _TIME,
    }
)


def own_key_paths(prefix: str) -> Paths:
    """Describe the endpoints of the caller's own keys."""
    return _described_keys(f"{prefix}/api-keys", ())


def service_paths(prefix: str) -> Paths:
    """Describe the endpoints of services' accounts and of their keys."""
    path = f"{prefix}/services"
    one = (parameter("id", text(maxLength=36), where="path"),)
    new = object_of({"name": text(minLength=1, maxLength=64), "roles": array(text())}, "roles")
    paths: Paths = {
        path: {
            "get": operation("Services", {200: listed(_SERVICE)}, *GUARDED, 422, parameters=PAGE, security=BEARER),
            "post": operation(
                "Make a service's account", {201: _SERVICE}, *GUARDED, *BODY_PROBLEMS, 409, body=new, security=BEARER
            ),
        },
        f"{path}/{{id}}": {
            "get": operation("One service", {200: _SERVICE}, *GUARDED, 404, parameters=one, security=BEARER)
        },
    }
    for verb, summary in (("disable", "Switch a service off"), ("enable", "Switch it on again")):
        described = operation(summary, {204: None}, *GUARDED, 404, 409, parameters=one, security=BEARER)
        paths[f"{path}/{{id}}/{verb}"] = {"post": described}
    return {**paths, **_described_keys(f"{path}/{{id}}/api-keys", one)}


def _described_keys(path: str, owner: tuple[dict[str, Any], ...]) -> Paths:
    one = (*owner, parameter("key", text(maxLength=36), where="path"))
    # Of services no keys are made in a hurry: who may is an administrator.
    problems = (*GUARDED, 404, 409) if owner else (*GUARDED, 404, 409, 429)
    return {
        path: {
            "get": operation(
                "API keys", {200: listed(_LISTED)}, *GUARDED, 422, parameters=(*owner, *PAGE), security=BEARER
            ),
            "post": operation(
                "Make an API key",
                {201: _ONCE},
                *problems,
                *BODY_PROBLEMS,
                parameters=owner,
                body=_NEW_KEY,
                security=BEARER,
            ),
        },
        f"{path}/{{key}}": {
            "delete": operation("Revoke an API key", {204: None}, *GUARDED, 404, parameters=one, security=BEARER)
        },
        f"{path}/{{key}}/confirm": {
            "post": operation("Confirm an API key", {204: None}, *GUARDED, 404, parameters=one, security=BEARER)
        },
        f"{path}/{{key}}/rotate": {
            "post": operation("A new secret for an API key", {201: _ONCE}, *problems, parameters=one, security=BEARER)
        },
    }
