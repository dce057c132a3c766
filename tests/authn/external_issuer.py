"""An issuer that is not limen, on the loopback, and an application that takes its tokens."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from limen import ClaimRule, ExternalIssuer, Limen, Principal
from limen.authn.external_tokens import ExternalTokens
from limen.crypto.keys import SigningKey
from limen.starlette import interactive, live, permissions, roles
from tests.support.gates import ROLES, settings_for

AUDIENCE = "https://orders.example"
KEYS = {"RS256": SigningKey.generate("RS256"), "ES256": SigningKey.generate("ES256")}
NEW = SigningKey.generate("RS256")
STRANGER = SigningKey.generate("RS256")

RULES = (
    ClaimRule(("realm_access", "roles"), "makers", roles=["maker"]),
    ClaimRule("https://orders.example/groups", "readers", permissions=["order:read"]),
    ClaimRule("permissions", "approve", permissions=["order:approve"], scope="orders:approve"),
    ClaimRule("scope", "orders:machine", permissions=["order:create"]),
    ClaimRule("level", "gold", roles=["admin"]),
    ClaimRule("level", "ghost", roles=["no-such-role"]),
)


class Issuer:
    """An issuer on the loopback: its metadata and keys over HTTP, and tokens of its own."""

    def __init__(self) -> None:
        self.head = "200 OK"
        self.asked: list[str] = []
        self.url = ""
        self.metadata: dict[str, Any] = {}
        self.keys = list(KEYS.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            self.asked.append(path)
            document: Any = {"keys": [key.verification_key.public_jwk() for key in self.keys]}
            if path.endswith("openid-configuration"):
                document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.metadata}
            body = json.dumps(document).encode()
            writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good access token, changed; None takes one away."""
        now = int(time.time())
        good = {
            "iss": self.url, "sub": "auth0|123", "aud": [AUDIENCE, f"{self.url}/userinfo"], "iat": now,
            "exp": now + 300, "azp": "spa", "scope": "openid orders", "realm_access": {"roles": ["makers", "other"]},
        }  # fmt: skip
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, key: SigningKey = KEYS["RS256"], header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Sign them with PyJWT."""
        members = {"kid": key.kid, "typ": "at+jwt", **(header or {})}
        return jwt.PyJWS().encode(json.dumps(self.claims(**changes)).encode(), key.material, key.alg, members)


def trusted(place: Issuer, /, **changes: Any) -> ExternalIssuer:
    """Declare it."""
    values: dict[str, Any] = {"issuer": place.url, "audience": AUDIENCE, "rules": RULES, **changes}
    return ExternalIssuer(**values)


class Service:
    """A protected application that takes tokens of external issuers beside limen's."""

    def __init__(self, gate: Limen, client: httpx.AsyncClient) -> None:
        self.gate = gate
        self.client = client

    @property
    def external(self) -> ExternalTokens:
        """The strategy."""
        assert self.gate.external is not None
        return self.gate.external

    async def get(self, path: str, token: str) -> httpx.Response:
        """Ask with a token."""
        return await self.client.get(path, headers={"Authorization": f"Bearer {token}"})

    async def status(self, path: str, token: str) -> int:
        """Return the status of a request with a token."""
        return (await self.get(path, token)).status_code


@asynccontextmanager
async def service(
    folder: Path, *issuers: ExternalIssuer, clock: Callable[[], float] = time.time
) -> AsyncIterator[Service]:
    """Serve an application."""
    settings = settings_for(folder, outbound_allow=["127.0.0.0/8"], issuer="https://limen.example")
    gate = Limen(settings, roles=ROLES, issuers=issuers, clock=clock)
    app = Starlette()
    gate.protect(app, administration=True)

    async def who(request: Request) -> JSONResponse:
        principal: Principal = request.user
        return JSONResponse(
            {"sub": principal.sub, "issuer": principal.issuer, "subject": principal.subject,
             "kind": principal.kind.value, "roles": sorted(principal.roles),
             "permissions": sorted(principal.permissions), "sid": principal.sid,
             "client_id": principal.client_id}
        )  # fmt: skip

    marks: dict[str, Callable[[Any], Any]] = {
        "maker": roles("maker"), "approve": permissions("order:approve"), "live": live, "interactive": interactive,
    }  # fmt: skip
    app.add_route("/who", who)
    for name, mark in marks.items():

        async def handler(request: Request) -> JSONResponse:
            return JSONResponse("done")

        app.add_route(f"/{name}", mark(handler))
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://orders.test") as client,
    ):
        yield Service(gate, client)
        for protection in gate._protections:
            protection.ready = False
