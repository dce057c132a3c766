"""The guard on a real server, asked by a client that sends the bytes it is told to."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from limen.fastapi import public, roles
from limen.web.guard import protect, sockets
from tests.web.guard.kit import Counted, SmallGate


class _Served:
    """A server in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="error", proxy_headers=False, **options))
        self.exit: object = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.server.run(sockets=[self.socket])
        except SystemExit as stopped:
            self.exit = stopped.code

    def __enter__(self) -> "_Served":
        self.thread.start()
        deadline = time.monotonic() + 60
        while not self.server.started and self.thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.socket.close()

    def status(self, start: str, *headers: str) -> int:
        """Send a request whose first line is exactly this, and return the status of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            lines = [start, "Host: app.example", "Connection: close", *headers, "", ""]
            connection.sendall("\r\n".join(lines).encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return int(answer.split(b" ", 2)[1])


def _application(counted: Counted, gate: SmallGate) -> FastAPI:
    async def echo(websocket: WebSocket) -> None:
        counted.ran.append("socket")
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    app = FastAPI()
    app.get("/admin")(roles("admin")(counted.handler("admin")))
    app.get("/open")(public(counted.handler("open")))
    app.router.routes.append(Route("/any", roles("admin")(counted.endpoint("any")), methods=["GET", "QUERY"]))
    app.websocket("/socket")(roles("maker")(echo))
    protect(app, gate)
    return app


@pytest.fixture(params=["h11", "httptools"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[_Served, Counted]]:
    """Serve the application by each of uvicorn's HTTP parsers."""
    counted = Counted()
    with _Served(_application(counted, SmallGate()), http=request.param, ws="none") as server:
        yield server, counted


REQUESTS = [
    "GET /admin HTTP/1.1",
    "HEAD /admin HTTP/1.1",
    "GET /admin HTTP/1.0",
    "GET /%61dmin HTTP/1.1",
    "GET /%61%64%6d%69%6e HTTP/1.1",
    "GET //admin HTTP/1.1",
    "GET /./admin HTTP/1.1",
    "GET /open/../admin HTTP/1.1",
    "GET /open%2f..%2fadmin HTTP/1.1",
    "GET /%2e%2e/admin HTTP/1.1",
    "GET /admin/ HTTP/1.1",
    "GET /admin;x=1 HTTP/1.1",
    "GET /ADMIN HTTP/1.1",
    "GET /admin?x=/open HTTP/1.1",
    "GET /admin%3f HTTP/1.1",
    "GET http://app.example/admin HTTP/1.1",
    "GET /any HTTP/1.1",
    "QUERY /any HTTP/1.1",
    "get /any HTTP/1.1",
    "POST /admin HTTP/1.1",
]


def test_no_request_line_reaches_the_handler(served: tuple[_Served, Counted]) -> None:
    """Whatever is written on the first line, neither nobody nor a maker gets to the admin's handlers."""
    server, counted = served
    for start in REQUESTS:
        for headers in ((), ("Authorization: Bearer maker",), ("Authorization: Bearer nonsense",)):
            assert server.status(start, *headers) in {307, 400, 401, 403, 404, 405, 501}, start
    assert counted.ran == []


def test_what_may_pass_passes(served: tuple[_Served, Counted]) -> None:
    """The open route and the admin are served, encoded paths included."""
    server, counted = served
    assert server.status("GET /open HTTP/1.1") == 200
    assert server.status("GET /%61dmin HTTP/1.1", "Authorization: Bearer admin") == 200
    assert server.status("QUERY /any HTTP/1.1", "Authorization: Bearer admin") in {200, 400}
    assert counted.ran[:2] == ["open", "admin"]


def test_a_forged_preflight_reaches_no_handler(served: tuple[_Served, Counted]) -> None:
    """Three headers by hand are answered by limen."""
    server, counted = served
    headers = ("Origin: https://evil.example", "Access-Control-Request-Method: GET")
    assert server.status("OPTIONS /admin HTTP/1.1", *headers) == 204
    assert counted.ran == []


def test_sockets_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with 401 and 403, opened for the right role, and closed with 1008 when the session ends."""
    monkeypatch.setattr(sockets, "POLL_SECONDS", 0.05)
    counted, gate = Counted(), SmallGate()
    with _Served(_application(counted, gate), ws="websockets-sansio") as server:
        address = f"ws://127.0.0.1:{server.port}/socket"
        for headers, status in (({}, 401), ({"Authorization": "Bearer admin"}, 403)):
            with pytest.raises(InvalidStatus) as refused:
                connect(address, additional_headers=headers)
            assert refused.value.response.status_code == status
        foreign = {"Authorization": "Bearer maker", "Origin": "https://evil.example"}
        with pytest.raises(InvalidStatus) as refused:
            connect(address, additional_headers=foreign)
        assert refused.value.response.status_code == 403
        assert counted.ran == []
        with connect(address, additional_headers={"Authorization": "Bearer maker"}) as open_socket:
            open_socket.send("hello")
            assert open_socket.recv(timeout=60) == "hello"
            gate.ended.add("maker")
            with pytest.raises(ConnectionClosed) as closed:
                open_socket.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    assert counted.ran == ["socket"]


def test_an_unsafe_application_is_not_served() -> None:
    """The server stops when the check at the start refuses."""
    app = _application(Counted(), SmallGate())
    app.get("/wrong")(public(roles("maker")(Counted().handler())))
    server = _Served(app)
    with server:
        server.thread.join(10)
        assert not server.server.started
        assert server.exit
        assert not server.thread.is_alive()
