"""An application with every route of limen's, every credential in hand, and how each of them is asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Final

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from limen import ADMINISTRATION, Limen, Settings, SSOProvider
from limen.features.api_keys.service import Wanted
from limen.features.approvals.service import Approved
from limen.features.roles.service import OPERATOR
from limen.starlette import live, permissions, public
from limen.web.guard.dispatch import instrument
from tests.support.gates import PASSWORD

HOST: Final = "https://app.example"
OWN: Final = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
ROLE: Final = "everything"
ROLES: Final = {ROLE: [*ADMINISTRATION, "order:read", "order:approve", "api-keys:own"]}
SOME: Final = "01890000-0000-7000-8000-000000000000"
NAME: Final = {"username": "ann", "password": PASSWORD}
NAMED: Final = {"provider": "corp", "role": ROLE, "name": "clerk", "permission": "order:read"}
KEY: Final = {"name": "a program"}
TOKEN: Final = "A" * 43

BODIES: Final[Mapping[tuple[str, str], Any]] = {
    ("POST", "/auth/register"): {"username": "bob", "password": PASSWORD},
    ("POST", "/auth/login"): NAME,
    ("POST", "/auth/session"): NAME,
    ("POST", "/auth/password"): {"current_password": "not this one", "new_password": "another battery, another horse"},
    ("POST", "/auth/password/forgot"): {"email": "ann@example.org"},
    ("POST", "/auth/password/reset"): {"token": TOKEN, "new_password": "another battery, another horse"},
    ("POST", "/auth/email"): {"email": "other@example.org", "current_password": PASSWORD},
    ("POST", "/auth/email/verify"): {"token": TOKEN},
    ("POST", "/auth/api-keys"): KEY,
    ("POST", "/auth/sso/exchange"): {"code": TOKEN, "code_verifier": TOKEN},
    ("POST", "/admin/api/accounts"): {"username": "carl"},
    ("PATCH", "/admin/api/accounts/{id}"): {"roles": []},
    ("PUT", "/admin/api/roles/{name}"): {"permissions": []},
    ("POST", "/admin/api/services"): {"name": "robot"},
    ("POST", "/admin/api/services/{id}/api-keys"): KEY,
    ("POST", "/admin/api/services/{id}/certificates"): {"name": "spiffe://example.org/robot"},
    ("POST", "/approvals/{id}/approve"): {},
    ("POST", "/approvals/{id}/reject"): {"reason": "no"},
}
"""What is sent, where anything has to be."""
QUERIES: Final[Mapping[str, Mapping[str, str]]] = {
    "/auth/sso/{provider}/callback": {"state": TOKEN, "code": TOKEN},
    "/admin/api/explain": {"account": SOME, "permission": "order:read"},
}
LAST: Final = (
    "/auth/session",
    "/auth/password",
    "/auth/sso/{provider}/logout",
    "/auth/logout-all",
    "/auth/logout",
)
"""What ends credentials, and so is asked at the end, in this order."""


async def somebody(request: Request) -> Response:
    """Answer whoever is authenticated."""
    return PlainTextResponse(request.user.sub)


@permissions("order:read")
async def by_permission(request: Request) -> Response:
    """Answer whoever may read orders."""
    return PlainTextResponse(request.user.sub)


@live
async def asked_live(request: Request) -> Response:
    """Answer whoever is active at this moment."""
    return PlainTextResponse(request.user.sub)


@public
async def anybody(_request: Request) -> Response:
    """Answer anybody."""
    return PlainTextResponse("anybody")


class NoPost:
    """Takes mails and forgets them."""

    async def send(self, message: EmailMessage) -> None:
        """Take one."""


@dataclass(frozen=True)
class Asked:
    """One question and its answer.

    Attributes:
        credential: what it came with.
        method: of HTTP.
        path: as the table of routes has it.
    """

    credential: str
    method: str
    path: str
    status: int
    code: str
    headers: httpx2.Headers

    @property
    def route(self) -> tuple[str, str]:
        """Return method and path."""
        return self.method, self.path

    def __str__(self) -> str:
        return f"{self.credential}: {self.method} {self.path}: {self.status} {self.code}"


@dataclass
class Everything:
    """The application, and what somebody may have in hand.

    Attributes:
        gate: its gate.
        app: it.
        credentials: headers, by the kind of credential.
        refresh_token: of a session of its own.
    """

    gate: Limen
    app: Starlette
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_token: str = ""

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Return method and path of every route, limen's own and the application's."""
        own = instrument(self.app.router).own
        assert own is not None
        found = [(method, path) for path, methods, _ in own.listed() for method in sorted(methods - {"HEAD"})]
        return [*found, *(("GET", route.path) for route in self.app.routes if isinstance(route, Route))]

    async def ask(self, credential: str, method: str, path: str) -> Asked:
        """Ask one route with one credential."""
        body = BODIES.get((method, path))
        if path in ("/auth/refresh", "/auth/logout") and credential == "refresh token":
            body = {"refresh_token": self.refresh_token}
        url = path
        for part in path.split("/"):
            if part.startswith("{"):
                url = url.replace(part, NAMED.get(part[1:-1].partition(":")[0], SOME))
        query = QUERIES.get(path)
        form = {"logout_token": TOKEN} if path.endswith("/backchannel-logout") else None
        # A client of its own: it keeps no cookie of another's, and speaks to the application without a network.
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url=HOST, timeout=120) as client:
            headers = self.credentials[credential]
            answer = await client.request(method, url, headers=headers, json=body, data=form, params=query)
        is_problem = answer.headers.get("content-type") == "application/problem+json"
        code = answer.json()["code"] if is_problem else ""
        return Asked(credential, method, path, answer.status_code, code, answer.headers)

    async def ask_all(self, *, at_once: bool = True, endings: bool = True) -> list[Asked]:
        """Ask every route with every credential, all at the same time or one by one; what ends them last, or not."""
        first = [route for route in self.routes if route[1] not in LAST]
        last = [route for each in LAST for route in self.routes if route[1] == each] if endings else []
        answers: list[Asked] = []
        for routes in (first, last):
            asking = [self.ask(credential, *route) for route in routes for credential in self.credentials]
            answers += await asyncio.gather(*asking) if at_once else [await each for each in asking]
        return answers


async def take_credentials(made: Everything) -> None:
    """Take one of each kind, each of a session of its own."""
    account = await made.gate.accounts.by_username("ann")
    assert made.gate.api_keys is not None
    key = (await made.gate.api_keys.service.create_for(OPERATOR, account.id, Wanted("a program"))).key
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(made.app), base_url=HOST, timeout=120) as client:
        bearer = (await client.post("/auth/login", json=NAME)).json()
        made.refresh_token = (await client.post("/auth/login", json=NAME)).json()["refresh_token"]
        client.cookies.clear()
        session = await client.post("/auth/session", json=NAME, headers=OWN)
        client.cookies.clear()
        refresh = await client.post("/auth/login", json={**NAME, "refresh": "cookie"}, headers=OWN)
        client.cookies.clear()
    csrf = {"X-CSRF-Token": session.json()["csrf_token"]}
    made.credentials = {
        "nobody": {},
        "access token": {"Authorization": f"Bearer {bearer['access_token']}"},
        "session cookie": {**OWN, **csrf, "Cookie": session.headers["set-cookie"].partition(";")[0]},
        "refresh cookie": {**OWN, "Cookie": refresh.headers["set-cookie"].partition(";")[0]},
        "refresh token": {},
        "API key": {"X-API-Key": key},
    }


@asynccontextmanager
async def lifespan_of(app: Starlette) -> AsyncIterator[None]:
    """Start an application and stop it, as a server does: one that is only asked starts by itself, for ever."""
    said: asyncio.Queue[Any] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.ensure_future(app(scope, said.get, heard.put))
    await said.put({"type": "lifespan.startup"})
    assert (await heard.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await said.put({"type": "lifespan.shutdown"})
        assert (await heard.get())["type"] == "lifespan.shutdown.complete"
        await running


@asynccontextmanager
async def everything(settings: Settings) -> AsyncIterator[Everything]:
    """Run it, with all that can be switched on; every credential is taken while nothing is amiss."""
    provider = SSOProvider(name="corp", issuer="https://idp.example", client_id="limen", client_secret="s" * 32)
    gate = Limen(settings, roles=ROLES, sso=[provider], mail=NoPost())

    @gate.approvals.action("order:approve", permission="order:approve")
    async def approve(_approved: Approved) -> None:
        """Do nothing."""

    app = Starlette(
        routes=[
            Route("/somebody", somebody),
            Route("/by-permission", by_permission),
            Route("/live", asked_live),
            Route("/anybody", anybody),
        ]
    )
    gate.protect(app, health=True, administration=True, approvals=True)
    async with lifespan_of(app):
        made = Everything(gate, app)
        await gate.accounts.create("ann", PASSWORD, roles=frozenset({ROLE}))
        await take_credentials(made)
        yield made
