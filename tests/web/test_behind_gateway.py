"""A service behind a gateway: the gateway's token lets in, and nothing else that arrives does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from limen import Limen
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.crypto.claims import ACCESS_TYP, access_claims
from limen.crypto.forwarded_claims import FORWARDED_TYP, forwarded_claims
from limen.crypto.keys import KeySet, SigningKey
from limen.crypto.signing import Signer
from limen.starlette import permissions, roles
from limen.testing.clock import TurnableClock

ISSUER = "https://id.example"
SUB = "01920000-0000-7000-8000-000000000001"
KEY, STRANGE = SigningKey.generate("ES256"), SigningKey.generate("ES256")


@pytest.fixture(scope="module")
def jwks() -> Iterator[str]:
    """Where the public key of the issuer is."""
    document = json.dumps(KeySet([KEY]).public_jwks()).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    server.shutdown()
    server.server_close()


@pytest.fixture
def clock() -> TurnableClock:
    """The service's clock."""
    return TurnableClock()


async def who(request: Request) -> JSONResponse:
    """Say who is there."""
    user = request.user
    return JSONResponse({"sub": user.sub, "kind": user.kind, "roles": sorted(user.roles), "sid": user.sid})


@roles("maker")
async def for_makers(request: Request) -> JSONResponse:
    """Say so."""
    return JSONResponse({})


@permissions("order:read")
async def for_readers(request: Request) -> JSONResponse:
    """Say so."""
    return JSONResponse({})


async def socket(websocket: WebSocket) -> None:
    """Stay open until somebody closes."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@pytest.fixture
def client(jwks: str, clock: TurnableClock) -> Iterator[TestClient]:
    """The service."""
    gate = Limen.behind_gateway(issuer=ISSUER, jwks_url=jwks, clock=clock)
    routes = [Route("/", who), Route("/makers", for_makers), Route("/readers", for_readers)]
    app = Starlette(routes=[*routes, WebSocketRoute("/socket", socket)])
    gate.protect(app)
    with TestClient(app) as client:
        yield client


def principal(**more: Any) -> Principal:
    """Return whom a gateway lets through."""
    values: dict[str, Any] = {"roles": frozenset({"maker"}), "permissions": frozenset({"order:read"}), "sid": "s-1"}
    authentication = Authentication(("pwd",), 1_790_000_000)
    return Principal(SUB, PrincipalKind.PERSON, **{**values, "authentication": authentication, **more})


def token(clock: TurnableClock, key: SigningKey = KEY, typ: str = FORWARDED_TYP, issuer: str = ISSUER) -> str:
    """Return a gateway's token."""
    return Signer(key, typ).sign(forwarded_claims(principal(), issuer=issuer, iat=int(clock())))


def status(client: TestClient, value: str, path: str = "/") -> int:
    """Return the status for a token in the gateway's header."""
    return int(client.get(path, headers={"X-Limen-Token": value}).status_code)


def test_token_lets_in(client: TestClient, clock: TurnableClock) -> None:
    """Who passed the gateway is who the service sees, with roles, permissions and kind."""
    answer = client.get("/", headers={"X-Limen-Token": token(clock)})
    assert answer.json() == {"sub": SUB, "kind": "person", "roles": ["maker"], "sid": "s-1"}
    assert (status(client, token(clock), "/makers"), status(client, token(clock), "/readers")) == (200, 200)


def test_nothing_else_lets_in(client: TestClient, clock: TurnableClock) -> None:
    """Headers in clear, the client's own credential, and a gateway's token in another header are nobody."""
    clear = {"X-Limen-Subject": SUB, "X-Limen-Kind": "person", "X-Limen-Roles": "maker"}
    assert client.get("/", headers=clear).status_code == 401
    assert client.get("/", headers={"Authorization": f"Bearer {token(clock)}"}).status_code == 401
    access = access_claims(
        issuer=ISSUER, audience=f"{ISSUER}/forwarded", sub=SUB, sid=SUB, client_id="c", roles=["maker"],
        auth_time=int(clock()), amr=["pwd"], iat=int(clock()), ttl=900,
    )  # fmt: skip
    assert status(client, Signer(KEY, ACCESS_TYP).sign(access)) == 401
    assert client.get("/").status_code == 401
    two = [("X-Limen-Token", token(clock)), ("X-Limen-Token", token(clock))]
    assert client.get("/", headers=two).json()["code"] == "credential_malformed"


def test_wrong_tokens(client: TestClient, clock: TurnableClock) -> None:
    """Another issuer, another key, a changed byte, too long, too old, from the future: 401 each time."""
    good = token(clock)
    claims = forwarded_claims(principal(), issuer=ISSUER, iat=int(clock()) + 60)
    wrong = [
        token(clock, issuer="https://other.example"),
        token(clock, STRANGE),
        Signer(KEY, FORWARDED_TYP).sign(claims),
        good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "x" * 20_000,
        "x",
    ]
    assert [status(client, each) for each in wrong] == [401] * len(wrong)
    assert status(client, good) == 200
    clock.turn(40)
    assert status(client, good) == 401


def test_socket_ends_with_the_credential_behind_the_token(client: TestClient, clock: TurnableClock) -> None:
    """The token lives for seconds; what it opened stays open until the credential ends that the gateway saw."""
    ends = int(clock()) + 300
    claims = forwarded_claims(principal(), issuer=ISSUER, iat=int(clock()), expires_at=ends)
    headers = {"X-Limen-Token": Signer(KEY, FORWARDED_TYP).sign(claims)}
    with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/socket"):
        pass
    with client.websocket_connect("/socket", headers=headers) as opened:
        clock.turn(100)
        opened.send_text("still there")
        assert opened.receive_text() == "still there"
        clock.turn(300)
        assert opened.receive()["type"] == "websocket.close"


def test_roles_of_the_service(jwks: str, clock: TurnableClock) -> None:
    """A service with roles of its own gives what they allow here, and does not know others."""
    gate = Limen.behind_gateway(issuer=ISSUER, jwks_url=jwks, roles={"other": ["report:read"]}, clock=clock)
    app = Starlette(routes=[Route("/", who), Route("/makers", for_makers), Route("/readers", for_readers)])
    gate.protect(app)
    with pytest.raises(Exception, match="maker"), TestClient(app):
        pass
    gate = Limen.behind_gateway(issuer=ISSUER, jwks_url=jwks, roles={"other": ["report:read"]}, clock=clock)
    app = Starlette(routes=[Route("/", who)])
    gate.protect(app)
    with TestClient(app) as client:
        assert client.get("/", headers={"X-Limen-Token": token(clock)}).json()["roles"] == []


@pytest.mark.parametrize("kind", ["anonymous", "", "admin"])
def test_claims_have_their_shape(client: TestClient, clock: TurnableClock, kind: str) -> None:
    """A signed token whose claims are none of limen's is refused all the same."""
    claims = forwarded_claims(principal(), issuer=ISSUER, iat=int(clock()))
    fields = {name: getattr(claims, name) for name in claims.__struct_fields__}
    odd = type(claims)(**{**fields, "kind": kind})
    assert status(client, Signer(KEY, FORWARDED_TYP).sign(odd)) == 401


def test_what_is_remembered_expires(client: TestClient, clock: TurnableClock) -> None:
    """A token that was let in is remembered for as long as it lives, and not a second longer."""
    value = token(clock)
    assert [status(client, value) for _ in range(3)] == [200] * 3
    clock.turn(34)
    assert status(client, value) == 200
    clock.turn(2)
    assert status(client, value) == 401
