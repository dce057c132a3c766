"""Hosts that are answered for: read strictly, compared exactly, asked before anything runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from limen.core.errors import ConfigurationError
from limen.starlette import public
from limen.web.hosts import AllowedHosts
from tests.support.gates import gate_for

HOSTS = ("app.example", "*.apps.example", "10.0.0.5", "::1")


def code_of(*hosts: bytes) -> int:
    """Return the status of the refusal, 0 for none."""
    refused = AllowedHosts(HOSTS).refusal([(b"host", host) for host in hosts])
    return 0 if refused is None else refused.status


@pytest.mark.parametrize(
    "host",
    [
        b"app.example",
        b"APP.Example",
        b"app.example.",
        b"app.example:8443",
        b"app.example.:443",
        b"a.apps.example",
        b"a.b.apps.example:80",
        b"10.0.0.5",
        b"10.0.0.5:8000",
        b"[::1]",
        b"[::1]:8000",
        b"[0:0:0:0:0:0:0:1]",
        b"[::ffff:10.0.0.5]",
    ],
)
def test_listed(host: bytes) -> None:
    """Capitals, a port, a dot at the end and another spelling of an address are the same host."""
    assert code_of(host) == 0


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"apps.example",
        b"evilapps.example",
        b"app.example.evil.example",
        b"evil.app.example",
        b"10.0.0.50",
        b"10.0.0.5.evil.example",
        b"012.0.0.5",
        b"167772165",
        b"[::2]",
        b"::1",
        b"localhost",
    ],
)
def test_not_listed(host: bytes) -> None:
    """What only looks like a listed host is 421, or 400 where it is none."""
    assert code_of(host) == (400 if host == b"::1" else 421)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"app.example ",
        b" app.example",
        b"app.example, evil.example",
        b"app.example:",
        b"app.example:80a",
        b"app.example:123456",
        b"user@app.example",
        b"evil.example@app.example",
        b"app.example/evil",
        b"app.example#",
        b"app.example\\evil",
        b"app.example\x00",
        b"app%2eexample",
        "äpp.example".encode(),
        b"[::1",
        b"[::1]evil",
        b"[app.example]",
        b"[::1%eth0]",
        b".app.example",
        b"a" * 300,
    ],
)
def test_unreadable(host: bytes) -> None:
    """What is no host is 400, whatever stands in it."""
    assert code_of(host) == 400


def test_there_is_exactly_one() -> None:
    """None and two are 400, also where both are the same or are listed."""
    assert code_of() == 400
    assert code_of(b"app.example", b"app.example") == 400
    assert code_of(b"app.example", b"evil.example") == 400


class Noting:
    """Middleware of the application, which notes that it ran."""

    def __init__(self, app: ASGIApp, ran: list[str]) -> None:
        self.app = app
        self.ran = ran

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.ran.append(scope["path"])
        await self.app(scope, receive, send)


@pytest.fixture
def ran() -> list[str]:
    """What ran."""
    return []


@pytest.fixture
def client(tmp_path: Path, ran: list[str]) -> Iterator[TestClient]:
    """A client of a protected application that answers for one host and its public address."""

    @public
    async def page(_request: Request) -> Response:
        return PlainTextResponse("page")

    @public
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("mounted")(scope, receive, send)

    app = Starlette(routes=[Route("/page", page), WebSocketRoute("/socket", socket), Mount("/mounted", mounted)])
    app.add_middleware(Noting, ran=ran)
    gate = gate_for(
        tmp_path,
        allowed_hosts=["app.example"],
        public_url="https://public.example:8443/base",
        trusted_proxies=["10.0.0.0/8"],
        cors_origins=["https://other.example"],
    )
    gate.protect(app, health=True)
    gate.public_mount("/mounted")
    with TestClient(app, base_url="https://app.example") as client:
        yield client


@pytest.mark.parametrize("path", ["/page", "/mounted/x", "/nowhere", "/auth/login", "/page/healthz"])
def test_nothing_runs_for_another_host(client: TestClient, ran: list[str], path: str) -> None:
    """Pages, mounts, what is not there and limen's own routes: 421 with a code before anything runs."""
    ran.clear()
    for method in ("GET", "POST", "OPTIONS"):
        headers = {"Host": "evil.example", "Origin": "https://other.example", "Access-Control-Request-Method": "GET"}
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")
        assert "evil" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["strict-transport-security"]
    assert client.get("/page", headers={"Host": "app example"}).status_code == 400
    assert ran == []


def test_listed_hosts_are_served(client: TestClient) -> None:
    """The listed one, and that of the public address without being listed."""
    for host in ("app.example", "APP.EXAMPLE:8000", "public.example", "public.example:8443"):
        assert client.get("/page", headers={"Host": host}).text == "page"


def test_what_a_proxy_says_of_the_host_is_not_read(client: TestClient) -> None:
    """X-Forwarded-Host and Forwarded open nothing and close nothing, whoever sends them: most proxies pass them on."""
    for peer in ("10.0.0.1", "192.0.2.1"):
        client._transport.client = (peer, 50000)  # type: ignore[attr-defined]
        for said in ({"X-Forwarded-Host": "app.example"}, {"Forwarded": "for=192.0.2.7;host=app.example"}):
            assert client.get("/page", headers={"Host": "evil.example", **said}).status_code == 421
        for said in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "for=192.0.2.7;host=evil.example"}):
            assert client.get("/page", headers={"Host": "app.example", **said}).status_code == 200


def test_health_is_told_by_any_address(client: TestClient, ran: list[str]) -> None:
    """Who watches over a process asks by its address; limen's own two routes answer, and no other does."""
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/auth/me", headers={"Host": "10.1.2.3:8000"}).status_code == 421


def test_handshakes_are_asked(client: TestClient, ran: list[str]) -> None:
    """A WebSocket of a page whose name leads here, and which is therefore of the same origin, is not opened."""
    ran.clear()
    rebound = {"Host": "evil.example", "Origin": "https://evil.example"}
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("wss://app.example/socket", headers=rebound),
    ):
        pass
    assert refused.value.status_code == 421
    assert ran == []
    with client.websocket_connect("wss://app.example/socket"):
        assert ran == ["/socket"]


def test_an_applications_own_health_is_asked(tmp_path: Path) -> None:
    """Where limen's routes of health are not added, a path of that name is the application's, and no way around."""

    @public
    async def page(_request: Request) -> Response:
        return PlainTextResponse("page")

    app = Starlette(routes=[Route("/healthz", page)])
    gate_for(tmp_path, allowed_hosts=["app.example"]).protect(app)
    with TestClient(app, base_url="https://10.0.0.1") as client:
        assert client.get("/healthz").status_code == 421


def test_any_host_without_a_list(tmp_path: Path) -> None:
    """Nothing is asked where no host is listed, whatever the public address is: probes and neighbours keep coming."""

    @public
    async def page(_request: Request) -> Response:
        return PlainTextResponse("page")

    app = Starlette(routes=[Route("/page", page)])
    gate_for(tmp_path, public_url="https://public.example").protect(app)
    with TestClient(app, base_url="https://orders.svc") as client:
        assert client.get("/page").text == "page"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("App.Example", "app.example"),
        ("app.example.", "app.example"),
        ("*.App.Example", "*.app.example"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("10.0.0.5", "10.0.0.5"),
        ("orders_service", "orders_service"),
    ],
)
def test_settings_write_hosts_in_one_way(tmp_path: Path, text: str, host: str) -> None:
    """Each is kept as it is compared."""
    assert gate_for(tmp_path, allowed_hosts=[text, text]).settings.hosts == (host,)


@pytest.mark.parametrize(
    "text",
    ["*", "app.example:80", "https://app.example", "a*.example", "*.*.example", "[app]", "app example", "*."],
)
def test_settings_refuse_what_is_no_host(tmp_path: Path, text: str) -> None:
    """A wildcard for everything, a port, a scheme and a wildcard inside are told at the start."""
    with pytest.raises(ConfigurationError, match="LIMEN_ALLOWED_HOSTS"):
        gate_for(tmp_path, allowed_hosts=text)
