"""Forged requests: what a request with a session cookie has to show, on every guarded leaf of an application."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from limen import Limen
from limen.authn.cookie import PresentedCookie
from limen.guard.requirements import Requirement
from limen.web.csrf import CsrfTokens
from limen.web.starlette import public
from tests.support.gates import PASSWORD, gate_for

HOST = "https://app.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
LISTED = "https://pages.example"


class Ran:
    """What the application's handlers were called for."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def __call__(self, request: Request) -> Response:
        self.methods.append(request.method)
        await request.body()
        return JSONResponse({"sub": request.user.sub})

    async def socket(self, websocket: WebSocket) -> None:
        self.methods.append("socket")
        await websocket.accept()
        await websocket.close()


class OverridesMethod:
    """A middleware of an application that believes X-HTTP-Method-Override."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-http-method-override":
                scope["method"] = value.decode().upper()
        await self.app(scope, receive, send)


ALL = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY"]


@pytest.fixture
def ran() -> Ran:
    """What ran."""
    return Ran()


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate that lists one origin."""
    return gate_for(tmp_path, cors_origins=[LISTED])


@pytest.fixture
def client(gate: Limen, ran: Ran) -> Iterator[TestClient]:
    """A client of an application with leaves of several kinds, over https."""

    async def endpoint(request: Request) -> Response:
        return await ran(request)

    async def socket(websocket: WebSocket) -> None:
        await ran.socket(websocket)

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(await _note(scope))(scope, receive, send)

    async def _note(scope: Scope) -> dict[str, str]:
        ran.methods.append(scope["method"])
        return {}

    @public
    async def anybody(request: Request) -> Response:
        return await ran(request)

    app = Starlette(
        routes=[
            Route("/leaf", endpoint, methods=ALL),
            Route("/anybody", anybody, methods=ALL),
            Mount("/router", routes=[Route("/leaf", endpoint, methods=ALL)]),
            Mount("/foreign", app=mounted),
            WebSocketRoute("/socket", socket),
        ]
    )
    app.add_middleware(OverridesMethod)
    gate.protect(app)
    gate.mount_rule("/foreign", Requirement())
    with TestClient(app, base_url=HOST) as client:
        client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
        yield client


def opened(client: TestClient, headers: dict[str, str] = OWN) -> str:
    """Open a session and return its anti-forgery token."""
    answer = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["csrf_token"]
    return token


LEAVES = ["/leaf", "/router/leaf", "/foreign/x"]

FORGED: dict[str, dict[str, str]] = {
    "nothing at all": {},
    "a page of another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "a sub-domain": {"Sec-Fetch-Site": "same-site", "Origin": "https://sub.app.example"},
    "the address bar": {"Sec-Fetch-Site": "none"},
    "says same-origin twice": {"Sec-Fetch-Site": "same-origin, same-origin", "Origin": HOST},
    "in capitals": {"Sec-Fetch-Site": "Same-Origin", "Origin": HOST},
    "an older browser, another site": {"Origin": "https://evil.example"},
    "an older browser, a sub-domain": {"Origin": "https://sub.app.example"},
    "an older browser, another port": {"Origin": "https://app.example:8443"},
    "an older browser, without TLS": {"Origin": "http://app.example"},
    "a sandboxed page": {"Origin": "null"},
    "a beginning that is listed": {"Origin": LISTED + ".evil.example"},
    "metadata says cross-site, origin says own": {"Sec-Fetch-Site": "cross-site", "Origin": HOST},
}

OWN_PAGES: dict[str, dict[str, str]] = {
    "a browser": OWN,
    "metadata alone": {"Sec-Fetch-Site": "same-origin"},
    "an older browser": {"Origin": HOST},
    "a listed origin": {"Sec-Fetch-Site": "cross-site", "Origin": LISTED},
    "a listed origin in an older browser": {"Origin": LISTED},
}


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_forged_request_changes_nothing(client: TestClient, ran: Ran, leaf: str) -> None:
    """Whatever leaf it is meant for, and even with the right token: 403, and no handler ran."""
    token = opened(client)
    for how, forged in FORGED.items():
        for headers in (forged, {**forged, "X-CSRF-Token": token}):
            answer = client.post(leaf, json={}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed"), how
    assert ran.methods == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_pages_of_this_origin_may_change_something(client: TestClient, ran: Ran, leaf: str) -> None:
    """With the session's token, and not without it."""
    token = opened(client)
    for how, own in OWN_PAGES.items():
        assert client.post(leaf, headers=own).status_code == 403, how
        assert client.post(leaf, headers={**own, "X-CSRF-Token": token}).status_code == 200, how
    assert ran.methods == ["POST"] * len(OWN_PAGES)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=b"),
        ("text/plain", b'{"a": "b"}'),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/json", b"{"),
        ("", b""),
    ],
)
def test_what_a_foreign_form_can_send(client: TestClient, ran: Ran, content_type: str, body: bytes) -> None:
    """Forms and simple requests need no preflight: they are refused before anything is read of them."""
    opened(client)
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", "Content-Type": content_type}
    for path in ("/leaf", "/auth/password", "/auth/logout-all", "/auth/session"):
        answer = client.post(path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed"), path
    assert ran.methods == []
    assert client.get("/auth/me").status_code == 200


def test_every_other_method_is_asked(client: TestClient, ran: Ran) -> None:
    """What is not exactly GET, HEAD or OPTIONS may change something."""
    opened(client)
    for method in ("POST", "PUT", "PATCH", "DELETE", "QUERY"):
        assert client.request(method, "/leaf").json()["code"] == "csrf_failed", method
    assert ran.methods == []


def test_what_changes_nothing_is_not_asked(client: TestClient, ran: Ran) -> None:
    """A link from another site leads to the page of whoever is logged in."""
    opened(client)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.request(method, "/leaf", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert ran.methods == ["GET", "HEAD", "OPTIONS"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_method_that_is_overridden_changes_nothing(client: TestClient, ran: Ran, method: str) -> None:
    """A middleware of the application that turns GET into another method does not get around the question."""
    token = opened(client)
    headers = {"X-HTTP-Method-Override": method, "Sec-Fetch-Site": "cross-site"}
    answer = client.get("/leaf", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    assert client.get("/auth/session", headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 403
    assert ran.methods == []
    proved = {**OWN, "X-CSRF-Token": token, "X-HTTP-Method-Override": method}
    assert client.post("/leaf", headers=proved).status_code == 200


def test_a_token_is_one_sessions(client: TestClient, ran: Ran) -> None:
    """That of another session, of the same account too, one that is cut, doubled, empty or of another case."""
    other = opened(client)
    client.cookies.clear()
    token = opened(client)
    assert other != token
    for given in (other, token[:-1], token + "=", "", token.swapcase(), f"{token}, {token}"):
        assert client.post("/leaf", headers={**OWN, "X-CSRF-Token": given}).status_code == 403
    twice = [*OWN.items(), ("X-CSRF-Token", token), ("X-CSRF-Token", token)]
    assert client.post("/leaf", headers=twice).status_code == 403
    assert ran.methods == []
    assert client.post("/leaf", headers={**OWN, "X-CSRF-Token": token}).status_code == 200


def test_a_pair_from_a_sub_domain_is_of_no_use(client: TestClient, ran: Ran) -> None:
    """An attacker's own token, planted as a cookie and sent as a header, is not this session's."""
    attackers = opened(client)
    client.cookies.clear()
    opened(client)
    headers = {**OWN, "X-CSRF-Token": attackers}
    client.cookies.set("csrf", attackers)
    client.cookies.set("limen", "planted")
    assert client.post("/leaf", headers=headers).status_code == 403
    assert ran.methods == []


def test_bearer_requests_are_never_asked(client: TestClient, ran: Ran) -> None:
    """No page makes a browser send an Authorization header: foreign metadata does not matter, nor a cookie beside."""
    tokens = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()
    foreign = {"Authorization": f"Bearer {tokens['access_token']}", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/leaf", headers=foreign).status_code == 200
    opened(client)
    assert client.post("/leaf", headers=foreign).status_code == 200
    assert ran.methods == ["POST", "POST"]


def test_without_proof_the_request_is_nobodys(client: TestClient, ran: Ran) -> None:
    """What is public is served all the same, as anonymous."""
    opened(client)
    answer = client.post("/anybody", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()) == (200, {"sub": ""})


def test_a_foreign_page_logs_nobody_in(client: TestClient) -> None:
    """Login needs the same proof without a session: no cookie is set for what a foreign page sends."""
    for how, forged in FORGED.items():
        answer = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=forged)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed"), how
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_is_not_told_the_token(client: TestClient, site: str) -> None:
    """It could not read the answer; it does not even get it. A page of this origin does, and the address bar."""
    token = opened(client)
    assert client.get("/auth/session", headers={"Sec-Fetch-Site": site}).status_code == 403
    for headers in ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin"}):
        answer = client.get("/auth/session", headers=headers)
        assert (answer.status_code, answer.json()["csrf_token"]) == (200, token)
        assert answer.headers["cache-control"] == "no-store"


def test_a_socket_is_asked_for_its_origin(client: TestClient, ran: Ran) -> None:
    """Pages of this origin and of listed ones open it; a foreign one, or no origin at all, does not."""
    opened(client)
    for origin in (HOST, LISTED):
        with client.websocket_connect("wss://app.example/socket", headers={"Origin": origin}):
            pass
    assert ran.methods == ["socket"] * 2
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "https://sub.app.example"}, {"Origin": "null"}):
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("wss://app.example/socket", headers=headers),
        ):
            pass
        assert refused.value.status_code == 403
    assert ran.methods == ["socket"] * 2


def test_a_token_is_made_under_a_key_of_its_own() -> None:
    """Another secret makes another token; one that is still accepted checks it; its length tells nothing."""
    cookie = PresentedCookie("0190b0a0-0000-7000-8000-000000000000", b"h" * 32)
    old, new = CsrfTokens(["old secret"]), CsrfTokens(["new secret", "old secret"])
    token = old.token_of(cookie).encode()
    assert len(token) == 43
    assert new.fits(token, cookie)
    assert not CsrfTokens(["new secret"]).fits(token, cookie)
    assert not old.fits(token, cookie._replace(token_hash=b"g" * 32))
    assert not old.fits(token, cookie._replace(sid="0190b0a0-0000-7000-8000-000000000001"))
    assert not old.fits("é".encode(), cookie)
