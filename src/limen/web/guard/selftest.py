"""The guard tests itself before it serves: it leans on habits of the frameworks, and those change.

A scratch application of the same framework gets every kind of leaf, is put under guard like the real one, and is called
by nobody in particular. No handler may run. The handlers of the real application are not touched.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route, Router, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from limen.authz.attributes import Attributes
from limen.authz.roles import RoleCatalogue
from limen.core.decision import Decision
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal, PrincipalKind
from limen.features.throttling.counting import Throttle
from limen.guard.policies import LoadedPolicies
from limen.guard.requirements import PUBLIC, Requirement
from limen.web.cors import NO_ORIGINS, CorsPolicy
from limen.web.front import USUAL_FRONT, Front
from limen.web.guard.marks import write_mark
from limen.web.guard.outer import put_guard_around
from limen.web.guard.rules import PathRules
from limen.web.guard.state import Gate, GuardState
from limen.web.peers import NO_PROXIES, TrustedProxies

_KNOWN_TO_HOLD: set[tuple[int, ...]] = set()

_WITHOUT_ROLES = b"sentinel"
_FOREIGN = "/foreign"
_DECIDED, _ACTION = "/decided", "sentinel:read"
_CHECKED = ("/checked", "/included/checked")


class _SentinelGate:
    """Knows one principal, who holds nothing."""

    catalogue: RoleCatalogue | None = None
    cors: CorsPolicy = NO_ORIGINS
    challenges: tuple[str, ...] = ("Bearer",)
    proxies: TrustedProxies = NO_PROXIES
    front: Front = USUAL_FRONT
    loaded_policies: LoadedPolicies | None = None
    policy_context: Callable[[Any], Mapping[str, object]] | None = None
    throttle = Throttle(None, secret="")

    async def attributes_of(self, who: Principal) -> Attributes:
        return {}

    def authenticate(self, scope: Scope, state: GuardState) -> Awaitable[None] | None:
        if (b"authorization", _WITHOUT_ROLES) in scope["headers"]:
            state.principal = Principal(sub="sentinel", kind=PrincipalKind.PERSON)
        return None

    async def live(self, principal: Principal) -> Principal:
        return principal

    def still_valid(self, state: GuardState) -> bool:
        return state.principal.is_authenticated

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return


def _nobody(principal: Principal, request: Any) -> Decision:
    return Decision.deny(f"{principal.sub} {request.url.path}")


class _Scratch:
    """Stands for the protection of the scratch application."""

    ready = True

    def __init__(self, gate: Gate) -> None:
        self.gate: Gate = gate
        self.rules = PathRules()

    async def ensure_started(self) -> None:
        return

    async def serve_lifespan(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)


class _Sentinels:
    """Handlers that must not run, and one that must."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def endpoint(self) -> Callable[[Request], Awaitable[Response]]:
        async def sentinel(request: Request) -> Response:
            self.ran.append(request.url.path)
            return PlainTextResponse("")

        return sentinel

    async def socket(self, websocket: WebSocket) -> None:
        self.ran.append(websocket.url.path)
        await websocket.accept()

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ran.append(scope["path"])
        await PlainTextResponse("")(scope, receive, send)


class _ForeignRoute(BaseRoute):
    """A route that does not name its endpoint."""

    def __init__(self, sentinels: _Sentinels) -> None:
        self._sentinels = sentinels

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == _FOREIGN else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._sentinels.application(scope, receive, send)


async def assert_guard_holds(app: Starlette, *, has_policies: bool = False) -> None:
    """Send sentinel requests through a scratch application of the same framework.

    Args:
        app: the real one.
        has_policies: its gate has policies, so FastAPI must call no handler whose dependency refuses.

    Raises:
        ConfigurationError: one of them reached a handler, or the one that should did not.
    """
    fastapi = sys.modules.get("fastapi")
    is_fastapi = fastapi is not None and isinstance(app, fastapi.FastAPI)
    kind = fastapi.FastAPI if is_fastapi and fastapi is not None else Starlette
    habits = tuple(id(each) for each in (kind, kind.__call__, Router.app, Router.__call__, type(app.router).app))
    habits = (*habits, has_policies)
    if habits in _KNOWN_TO_HOLD:
        return
    sentinels = _Sentinels()
    scratch, paths = _starlette(sentinels)
    if is_fastapi:
        scratch, more = _fastapi(sentinels, scratch)
        paths += more
    gate = _SentinelGate()
    if is_fastapi and has_policies:
        _add_policy(scratch, gate, sentinels)
        paths.append(_DECIDED)
    put_guard_around(scratch, _Scratch(gate))
    failures = await _probe(scratch, sentinels, paths)
    if failures:
        raise ConfigurationError(
            f"the guard does not hold with the installed {kind.__module__.split('.')[0]}, so the application would be "
            f"open; install a version that limen supports. Passed: {', '.join(failures)}"
        )
    _KNOWN_TO_HOLD.add(habits)


def _starlette(sentinels: _Sentinels) -> tuple[Starlette, list[str]]:
    """Return an application with every kind of leaf, and their paths."""
    opened = sentinels.endpoint()
    write_mark(opened, PUBLIC)
    checked = sentinels.endpoint()
    write_mark(checked, Requirement.of_check(_nobody))
    app = Starlette(
        routes=[
            Route("/public", opened),
            Route("/unmarked", sentinels.endpoint(), methods=["GET", "POST", "OPTIONS"]),
            Route(_CHECKED[0], checked, methods=["GET", "POST"]),
            WebSocketRoute("/socket", sentinels.socket),
            _ForeignRoute(sentinels),
            Mount("/routes", routes=[Route("/unmarked", sentinels.endpoint())]),
            Mount("/mounted", app=Starlette(routes=[Route("/unmarked", sentinels.endpoint())])),
            Mount("/opaque", app=sentinels.application),
        ]
    )
    return app, [
        "/unmarked",
        _CHECKED[0],
        "/socket",
        _FOREIGN,
        "/routes/unmarked",
        "/mounted/unmarked",
        "/opaque/anything",
    ]


def _fastapi(sentinels: _Sentinels, inner: Starlette) -> tuple[Any, list[str]]:
    """Return the same as a FastAPI application, with what only that has."""
    from fastapi import APIRouter, Body, FastAPI

    from limen.web.fastapi import guard, roles

    def handler(payload: dict[str, Any] = Body()) -> str:
        sentinels.ran.append("a handler of FastAPI")
        return str(payload)

    nested = APIRouter()
    nested.add_api_route("/leaf", handler, methods=["POST"])
    nested.add_api_websocket_route("/socket", sentinels.socket)
    nested.add_route("/plain", sentinels.endpoint())
    included = APIRouter()
    included.include_router(nested, prefix="/nested")
    restricted = APIRouter()
    restricted.add_api_route("/leaf", handler, methods=["POST"])
    app = FastAPI(openapi_url=None)
    app.router.routes.extend(inner.router.routes)
    app.add_api_route("/direct", handler, methods=["POST"])
    checked = APIRouter()
    checked.add_api_route("/checked", handler, methods=["POST"], dependencies=[guard(_nobody)])
    included.include_router(checked)
    app.include_router(included, prefix="/included")
    app.include_router(restricted, prefix="/restricted", dependencies=[roles("nobody-holds-this")])
    app.mount("/application", FastAPI(openapi_url=None, routes=list(nested.routes)))
    paths = [
        "/direct",
        _CHECKED[1],
        "/included/nested/leaf",
        "/included/nested/socket",
        "/included/nested/plain",
        "/restricted/leaf",
        "/application/leaf",
    ]
    if hasattr(app, "frontend"):
        app.frontend("/frontend", directory="frontend", check_dir=False)
        paths.append("/frontend/index.html")
    return app, paths


def _add_policy(app: Any, gate: _SentinelGate, sentinels: _Sentinels) -> None:
    """Add a leaf whose policy is asked in a dependency, and says no."""
    from limen.authz.engine import Policies
    from limen.web.fastapi import policy

    async def load() -> str:
        return "a resource"

    async def handler() -> None:
        sentinels.ran.append(_DECIDED)

    gate.loaded_policies = LoadedPolicies(Policies.load((), permissions=(_ACTION,)), (), lambda roles: frozenset())
    app.add_api_route(_DECIDED, handler, methods=["GET", "POST"], dependencies=[policy(_ACTION, load=load)])


async def _probe(app: Any, sentinels: _Sentinels, paths: list[str]) -> list[str]:
    failures = []
    for path in paths:
        for method in ("POST", "GET") if "socket" not in path else ("",):
            status = await _call(app, path, method)
            # A method that the leaf does not have may be told as such; then no handler ran.
            if status not in {401, 403, 405}:
                failures.append(f"{method} {path} ({status})")
    preflight = ((b"origin", b"https://a.example"), (b"access-control-request-method", b"POST"))
    await _call(app, "/unmarked", "OPTIONS", *preflight)
    if "/restricted/leaf" in paths:
        status = await _call(app, "/restricted/leaf", "POST", (b"authorization", _WITHOUT_ROLES))
        if status != 403:
            failures.append(f"the dependencies of an included router ({status})")
    for path in {*_CHECKED, _DECIDED}.intersection(paths):
        status = await _call(app, path, "POST", (b"authorization", _WITHOUT_ROLES))
        if status != 403:
            failures.append(f"a guard or a policy of the application's own at {path} ({status})")
    failures += [f"a handler ran: {each}" for each in sentinels.ran]
    sentinels.ran.clear()
    if await _call(app, "/public", "GET") != 200 or sentinels.ran != ["/public"]:
        failures.append("a public route is not reached, so nothing else is proved")
    return failures


async def _call(app: Any, path: str, method: str, *headers: tuple[bytes, bytes]) -> int:
    """Return the status of the answer; for a WebSocket, that of the denial, or 101 where it was opened."""
    sent: list[Message] = []
    kind = "http" if method else "websocket"

    async def receive() -> Message:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": b"{", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"sentinel.invalid"), (b"content-type", b"application/json"), *headers],
        "client": None,
        "server": ("sentinel.invalid", 80),
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    if method:
        scope["method"] = method
    else:
        scope["subprotocols"] = []
    try:
        await app(scope, receive, send)
    except Exception as error:
        return 500 if sent else _unforeseen(error)
    first = sent[0] if sent else {}
    if first.get("type") == "websocket.accept":
        return 101
    if first.get("type") == "websocket.close":
        return 403
    return int(first.get("status", 0))


def _unforeseen(error: Exception) -> int:
    raise ConfigurationError(f"the guard cannot test itself: {type(error).__name__}: {error}") from error
