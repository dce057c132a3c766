"""``/auth/certificate/token``, and ``/admin/api/services/{id}/certificates``."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.features.client_certificates.service import ClientCertificateService, RegistrationView
from limen.web.body import read_json
from limen.web.guard.openapi import CERTIFICATE_SCHEME
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.lists import list_answer, rfc3339
from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    GUARDED,
    Paths,
    listed,
    object_of,
    operation,
    parameter,
    text,
)
from limen.web.starlette import client_certificate, interactive, live, permissions

_SERVICES: Final = Administration.SERVICES_WRITE


class NewNameBody(msgspec.Struct, forbid_unknown_fields=True):
    """A name of certificates to be registered."""

    kind: str
    value: str


class ShownName(msgspec.Struct):
    """What is shown of a name."""

    id: str
    kind: str
    value: str
    created_at: str
    created_by: str


class BoundAnswer(msgspec.Struct):
    """An access token that is bound to the certificate of the connection."""

    access_token: str
    token_type: str
    expires_in: int


def certificate_token_routes(certificates: ClientCertificateService, *, prefix: str) -> Routes:
    """Make the endpoint at which a service exchanges its certificate for a token, under ``prefix``."""

    @client_certificate
    @endpoint
    async def token(request: Request) -> Response:
        """Answer an access token that is bound to the certificate of this connection (RFC 8705, section 3)."""
        issued = await certificates.token(state_of(request.scope).credential, origin=origin_of(request))
        return json_answer(BoundAnswer(issued.access_token, "Bearer", issued.expires_in))

    return {f"{prefix}/certificate/token": {"POST": token}}


def certificate_routes(certificates: ClientCertificateService, *, prefix: str) -> Routes:
    """Make the endpoints of the names of a service's certificates under ``prefix``."""
    path = f"{prefix}/services/{{id}}/certificates"

    @live
    @permissions(_SERVICES)
    @endpoint
    async def list_names(request: Request) -> Response:
        """List the names of a service's certificates, the newest first; there are a hundred at most."""
        principal_of(request)  # of this limen, as on every route of its own
        found = await certificates.of_service(_account(request))
        return list_answer([_shown(each) for each in found], None)

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def add_name(request: Request) -> Response:
        """Register a name: certificates that bear it stand for the service."""
        body = await read_json(request.scope, request.receive, NewNameBody)
        account = _account(request)
        made = await certificates.add(principal_of(request), account, body.kind, body.value, origin=origin_of(request))
        answer = json_answer(_shown(made), 201)
        below = f"{prefix}/services/{account}/certificates/{made.id}"
        answer.headers["Location"] = f"{request.scope.get('root_path', '')}{below}"
        return answer

    @live
    @interactive
    @permissions(_SERVICES)
    @endpoint
    async def remove_name(request: Request) -> Response:
        """Take a name away: no certificate by it, and no token for it, opens anything any more."""
        registration = str(request.path_params["certificate"])
        await certificates.remove(principal_of(request), _account(request), registration, origin=origin_of(request))
        return no_content()

    return {path: {"GET": list_names, "POST": add_name}, f"{path}/{{certificate}}": {"DELETE": remove_name}}


def _account(request: Request) -> str:
    return str(request.path_params["id"])


def _shown(name: RegistrationView) -> ShownName:
    kind, _, value = name.name.partition(":")
    return ShownName(name.id, kind, value, rfc3339(name.created_at), name.created_by)


# --- described

_KIND: Final = text(enum=["uri", "dns", "sha256"])
_NAME: Final = object_of(
    {
        "id": text(format="uuid"),
        "kind": _KIND,
        "value": text(),
        "created_at": text(format="date-time"),
        "created_by": text(),
    }
)
_BOUND: Final = object_of(
    {
        "access_token": text(),
        "token_type": text(enum=["Bearer"]),
        "expires_in": {"type": "integer", "description": "seconds"},
    }
)


def certificate_token_paths(prefix: str) -> Paths:
    """Describe the endpoint of tokens."""
    described = operation(
        "Exchange my certificate for a token", {200: _BOUND}, 401, 503, security=[{CERTIFICATE_SCHEME: []}]
    )
    return {f"{prefix}/certificate/token": {"post": described}}


def certificate_paths(prefix: str) -> Paths:
    """Describe the endpoints of names."""
    path = f"{prefix}/services/{{id}}/certificates"
    service = (parameter("id", text(maxLength=36), where="path"),)
    one = (*service, parameter("certificate", text(maxLength=36), where="path"))
    new = object_of({"kind": _KIND, "value": text(minLength=1, maxLength=1024)})
    return {
        path: {
            "get": operation(
                "Names of a service's certificates",
                {200: listed(_NAME)},
                *GUARDED,
                404,
                parameters=service,
                security=BEARER,
            ),
            "post": operation(
                "Register a name of certificates",
                {201: _NAME},
                *GUARDED,
                *BODY_PROBLEMS,
                404,
                409,
                parameters=service,
                body=new,
                security=BEARER,
            ),
        },
        f"{path}/{{certificate}}": {
            "delete": operation(
                "Take a name of certificates away", {204: None}, *GUARDED, 404, parameters=one, security=BEARER
            )
        },
    }
