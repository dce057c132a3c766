"""A small gate, counted handlers, and a client that sends exactly the scope it is told to."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from limen.authz.attributes import Attributes
from limen.authz.roles import RoleCatalogue
from limen.core.errors import LimenError, SessionEnded, TokenRejected
from limen.core.principal import Principal, PrincipalKind
from limen.features.throttling.counting import Throttle
from limen.features.throttling.memory import MemoryThrottles
from limen.guard.policies import LoadedPolicies
from limen.web.cors import NO_ORIGINS, CorsPolicy
from limen.web.front import USUAL_FRONT, Front
from limen.web.guard import GuardState
from limen.web.peers import NO_PROXIES, TrustedProxies

CATALOGUE = RoleCatalogue(
    {"maker": ["order:create"], "checker": ["order:approve", "order:read"], "admin": ["order:delete"]}
)


def principal(role: str) -> Principal:
    """Return somebody who holds one role."""
    roles = frozenset({role})
    return Principal(
        sub=f"id-of-{role}",
        kind=PrincipalKind.PERSON,
        roles=roles,
        permissions=CATALOGUE.permissions_of(roles),
        sid=role,
    )


@dataclass
class SmallGate:
    """The bearer of the token ``checker`` is the checker, and so on; it notes what it was asked."""

    catalogue: RoleCatalogue | None = CATALOGUE
    cors: CorsPolicy = NO_ORIGINS
    challenges: tuple[str, ...] = ("Bearer",)
    proxies: TrustedProxies = NO_PROXIES
    front: Front = USUAL_FRONT
    people: dict[str, Principal] = field(default_factory=lambda: {each: principal(each) for each in CATALOGUE.names})
    ended: set[str] = field(default_factory=set)
    live_asked: list[str] = field(default_factory=list)
    live_roles: dict[str, frozenset[str]] = field(default_factory=dict)
    started: int = 0
    stopped: int = 0
    unavailable: LimenError | None = None
    awaits: bool = False
    loaded_policies: LoadedPolicies | None = None
    policy_context: Callable[[Any], Mapping[str, object]] | None = None
    throttle: Throttle = field(default_factory=lambda: Throttle(MemoryThrottles(), secret="counts"))
    told: dict[str, dict[str, object]] = field(default_factory=dict)
    loader_asked: list[str] = field(default_factory=list)

    async def attributes_of(self, who: Principal) -> Attributes:
        self.loader_asked.append(who.sub)
        return self.told.get(who.sub, {})

    def authenticate(self, scope: Scope, state: GuardState) -> Awaitable[None] | None:
        token = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if token in self.people:
            state.principal = self.people[token]
        elif token:
            state.rejection = TokenRejected()
        return self._nothing() if self.awaits else None

    async def _nothing(self) -> None:
        return

    async def live(self, principal: Principal) -> Principal:
        self.live_asked.append(principal.sub)
        if principal.sid in self.ended:
            raise SessionEnded()
        roles = self.live_roles.get(principal.sub, principal.roles)
        return Principal(
            sub=principal.sub,
            kind=principal.kind,
            roles=roles,
            permissions=CATALOGUE.permissions_of(roles),
            sid=principal.sid,
        )

    def still_valid(self, state: GuardState) -> bool:
        return state.principal.sid not in self.ended

    async def start(self) -> None:
        if self.unavailable is not None:
            raise self.unavailable
        self.started += 1

    async def stop(self) -> None:
        self.stopped += 1


class Counted:
    """Handlers that note that they ran: a status alone proves nothing."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def endpoint(self, name: str = "endpoint") -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            self.ran.append(name)
            return PlainTextResponse(name)

        return handler

    def handler(self, name: str = "handler") -> Callable[[], Awaitable[str]]:
        async def handler() -> str:
            self.ran.append(name)
            return name

        return handler

    def socket(self, name: str = "socket") -> Callable[[WebSocket], Awaitable[None]]:
        async def handler(websocket: WebSocket) -> None:
            self.ran.append(name)
            await websocket.accept()
            await websocket.close()

        return handler

    def application(self, name: str = "application") -> ASGIApp:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            self.ran.append(name)
            await PlainTextResponse(name)(scope, receive, send)

        return application


@dataclass(frozen=True)
class Reply:
    """An answer: for a WebSocket, 101 where it was opened, and 403 where it was closed at once."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["code"])


async def call(
    app: ASGIApp,
    path: str,
    who: str | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    host: str = "app.example",
    **more: Any,
) -> Reply:
    """Send one request, spelt exactly like this; ``method="SOCKET"`` for a WebSocket handshake."""
    is_socket = method == "SOCKET"
    given = [(b"host", host.encode()), (b"content-type", b"application/json")]
    given += [(name.encode(), value.encode()) for name, value in headers]
    if who is not None:
        given.append((b"authorization", f"Bearer {who}".encode()))
    scope: dict[str, Any] = {
        "type": "websocket" if is_socket else "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws" if is_socket else "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": given,
        "client": ("192.0.2.1", 4711),
        "server": ("app.example", 80),
        "state": {},
        "extensions": {"websocket.http.response": {}},
        **({"subprotocols": []} if is_socket else {"method": method}),
        **more,
    }
    incoming = [{"type": "websocket.connect"} if is_socket else {"type": "http.request", "body": body}]
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        return {"type": "websocket.disconnect" if is_socket else "http.disconnect", "code": 1000}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return _reply(sent)


def _reply(sent: list[Message]) -> Reply:
    first = sent[0]
    if first["type"] == "websocket.accept":
        return Reply(101, {}, b"")
    if first["type"] == "websocket.close":
        return Reply(403, {}, b"")
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Reply(first["status"], {name.decode(): value.decode() for name, value in first["headers"]}, content)


class CopyingMiddleware:
    """Middleware of somebody else's: it hands a plain copy of the scope on, as many do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(dict(scope), receive, send)
