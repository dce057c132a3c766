"""All of limen's own routes, and how a schema describes them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from limen.features.accounts.service import AccountService
from limen.features.login.service import LoginService
from limen.features.sessions.service import SessionService
from limen.web.guard.openapi import SCHEME
from limen.web.guard.own_routes import OwnRoutes
from limen.web.routes.account import account_routes
from limen.web.routes.health import health_routes
from limen.web.routes.login import login_routes
from limen.web.routes.sessions import session_routes


def own_routes(
    prefix: str,
    *,
    accounts: AccountService,
    login: LoginService,
    sessions: SessionService,
    registration_open: bool,
    ready: Callable[[], Awaitable[Mapping[str, str]]] | None,
) -> OwnRoutes:
    """Make the one entry for an application's list of routes; ``ready`` adds ``/healthz`` and ``/readyz``."""
    table = {
        **login_routes(login, accounts, prefix=prefix, registration_open=registration_open),
        **session_routes(sessions, prefix=prefix),
        **account_routes(accounts, prefix=prefix),
        **(health_routes(ready) if ready is not None else {}),
    }
    return OwnRoutes("", table)


def _text(**bounds: Any) -> dict[str, Any]:
    return {"type": "string", **bounds}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_PASSWORD = _text(format="password", maxLength=1024)
_TOKENS = _object(
    {
        "access_token": _text(),
        "refresh_token": _text(),
        "token_type": _text(enum=["Bearer"]),
        "expires_in": {"type": "integer", "description": "seconds"},
        "refresh_expires_in": {"type": "integer", "description": "seconds"},
    }
)
_REFRESH = _object({"refresh_token": _text()})
_ME = _object(
    {
        "sub": _text(format="uuid"),
        "kind": _text(enum=["person", "service"]),
        "username": _text(),
        "roles": {"type": "array", "items": _text()},
        "permissions": {"type": "array", "items": _text()},
        "sid": {"type": ["string", "null"]},
        "amr": {"type": "array", "items": _text()},
        "auth_time": {"type": ["string", "null"], "format": "date-time"},
    }
)
_BEARER: list[dict[str, list[str]]] = [{SCHEME: []}]
_BODY_PROBLEMS = (400, 413, 415, 422)


def _operation(
    summary: str,
    answers: Mapping[int, Mapping[str, Any] | None],
    *problems: int,
    body: Mapping[str, Any] | None = None,
    body_required: bool = True,
    security: list[dict[str, list[str]]] | None = None,
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, schema in answers.items():
        content = {"application/json": {"schema": schema}} if schema is not None else None
        responses[str(status)] = {"description": summary, **({"content": content} if content else {})}
    for status in problems:
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}}
        responses[str(status)] = {"description": "Problem details (RFC 9457)", "content": content}
    operation: dict[str, Any] = {"summary": summary, "tags": ["limen"], "security": security or []}
    if body is not None:
        operation["requestBody"] = {"required": body_required, "content": {"application/json": {"schema": body}}}
    return {**operation, "responses": responses}


def paths_of_schema(prefix: str, *, registration_open: bool, health: bool) -> dict[str, Any]:
    """Describe the routes as OpenAPI paths, so that they stand beside the application's own in its schema."""
    registration = _object(
        {"username": _text(minLength=1, maxLength=64), "password": _PASSWORD, "email": _text(format="email")}, "email"
    )
    credentials = _object({"username": _text(), "password": _PASSWORD})
    passwords = _object({"current_password": _PASSWORD, "new_password": _PASSWORD})
    registered = _object({"id": _text(format="uuid"), "username": _text()})
    alive = _object({"status": _text(), "store": _text(enum=["rolled_back"])}, "store")
    operations: dict[str, tuple[str, dict[str, Any]]] = {
        f"{prefix}/login": (
            "post",
            _operation("Log in with a password", {200: _TOKENS}, 401, *_BODY_PROBLEMS, 503, body=credentials),
        ),
        f"{prefix}/refresh": (
            "post",
            _operation("Exchange a refresh token", {200: _TOKENS}, 401, *_BODY_PROBLEMS, 503, body=_REFRESH),
        ),
        f"{prefix}/logout": (
            "post",
            _operation("End one session", {204: None}, 401, *_BODY_PROBLEMS, 503, body=_REFRESH, body_required=False),
        ),
        f"{prefix}/logout-all": (
            "post",
            _operation("End every session of mine", {204: None}, 401, 503, security=_BEARER),
        ),
        f"{prefix}/me": ("get", _operation("Who am I", {200: _ME}, 401, 503, security=_BEARER)),
        f"{prefix}/password": (
            "post",
            _operation("Change my password", {204: None}, 401, *_BODY_PROBLEMS, 503, body=passwords, security=_BEARER),
        ),
    }
    if registration_open:
        summary = "Make an account"
        answer = _operation(summary, {201: registered}, 409, *_BODY_PROBLEMS, 503, body=registration)
        operations[f"{prefix}/register"] = ("post", answer)
    if health:
        operations["/healthz"] = ("get", _operation("The process is alive", {200: alive}))
        operations["/readyz"] = ("get", _operation("Requests can be served", {200: alive}, 503))
    return {path: {method: operation} for path, (method, operation) in operations.items()}
