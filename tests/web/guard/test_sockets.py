"""WebSockets: who may open one, and for how long."""

import time
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from limen.fastapi import public, roles
from limen.web.cors import CorsPolicy
from limen.web.guard import GuardState, protect, sockets
from tests.web.guard.kit import Counted, SmallGate, call

MAKER = {"Authorization": "Bearer maker"}


@pytest.fixture(autouse=True)
def _short_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(sockets, "GRACE_SECONDS", 60.0)


class _Chat:
    """Handlers that note how they ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except WebSocketDisconnect as error:
            self.ended.append(f"echo {error.code}")

    async def tick(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
                await anyio.sleep(0.01)
        except WebSocketDisconnect:
            self.ended.append("tick")

    async def deaf(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            await anyio.sleep(100)
        finally:
            self.ended.append("deaf")


def _app(chat: _Chat, gate: SmallGate) -> Any:
    app = FastAPI()
    for name in ("echo", "tick", "deaf"):
        app.websocket(f"/{name}")(roles("maker")(getattr(chat, name)))
    app.websocket("/open")(public(chat.echo))
    protect(app, gate)
    return app


def _code_of_the_close(socket: Any) -> int:
    while True:
        try:
            socket.receive_text()
        except WebSocketDisconnect as closed:
            return closed.code


@pytest.mark.parametrize("path", ["/echo", "/tick", "/deaf", "/open"])
def test_an_open_socket_is_closed_when_its_session_ends(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the poll it is closed with 1008, whether its handler listens, only sends, or does neither."""
    if path == "/deaf":
        monkeypatch.setattr(sockets, "GRACE_SECONDS", 1.0)
    chat, gate = _Chat(), SmallGate()
    with (
        TestClient(_app(chat, gate)) as client,
        client.websocket_connect(path, headers=MAKER) as socket,
    ):
        if path in {"/echo", "/open"}:
            socket.send_text("a")
            assert socket.receive_text() == "a"
        gate.ended.add("maker")
        began = time.monotonic()
        assert _code_of_the_close(socket) == 1008
        assert time.monotonic() - began < 20  # a poll is a fiftieth of a second here
        # The handler hears of it in its own time, which a busy machine may not have yet.
        while not chat.ended and time.monotonic() - began < 60:
            time.sleep(0.01)
    expected = {"/echo": "echo 1008", "/open": "echo 1008", "/tick": "tick", "/deaf": "deaf"}[path]
    assert chat.ended == [expected]


def test_a_socket_whose_session_goes_on_stays_open() -> None:
    """Many polls later it still echoes, and ends when the client does."""
    chat, gate = _Chat(), SmallGate()
    with TestClient(_app(chat, gate)) as client:
        with client.websocket_connect("/echo", headers=MAKER) as socket:
            time.sleep(0.15)
            socket.send_text("still here")
            assert socket.receive_text() == "still here"
        assert chat.ended == ["echo 1000"]


def test_a_gate_that_cannot_tell_closes_the_socket() -> None:
    """An error is a no."""

    class Broken(SmallGate):
        def still_valid(self, state: GuardState) -> bool:
            raise RuntimeError("no idea")

    chat = _Chat()
    with (
        TestClient(_app(chat, Broken())) as client,
        client.websocket_connect("/echo", headers=MAKER) as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_text()
    assert closed.value.code == 1008


def test_an_error_of_the_handler_comes_out_as_it_is() -> None:
    """Watching the socket wraps no exception."""

    async def fails(websocket: WebSocket) -> None:
        await websocket.accept()
        raise KeyError("mine")

    app = Starlette(routes=[WebSocketRoute("/socket", fails)])
    protect(app, SmallGate())
    with TestClient(app) as client, pytest.raises(KeyError), client.websocket_connect("/socket", headers=MAKER):
        pass


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("http://app.example", 101),
        ("https://listed.example", 101),
        ("https://evil.example", 403),
        ("https://app.example.evil.example", 403),
        ("null", 403),
    ],
)
async def test_a_handshake_from_a_foreign_page_is_refused(origin: str | None, status: int) -> None:
    """Browsers let every page open a socket to everywhere: Origin must be the application's own or listed."""
    counted = Counted()
    app = FastAPI()
    app.websocket("/socket")(counted.socket())
    app.websocket("/public")(public(counted.socket()))
    protect(app, SmallGate(cors=CorsPolicy.of(["https://listed.example"])))
    headers = () if origin is None else (("origin", origin),)
    for path in ("/socket", "/public"):
        assert (await call(app, path, "maker", method="SOCKET", headers=headers)).status == status
    assert len(counted.ran) == (2 if status == 101 else 0)


@pytest.mark.parametrize(("extensions", "status"), [({"websocket.http.response": {}}, 401), ({}, 403), (None, 403)])
async def test_a_refused_handshake_is_an_answer_or_a_close(extensions: Any, status: int) -> None:
    """With the extension the client gets the problem details; without it the server makes a 403 of the close."""
    counted = Counted()
    app = FastAPI()
    app.websocket("/socket")(counted.socket())
    protect(app, SmallGate())
    reply = await call(app, "/socket", method="SOCKET", extensions=extensions)
    assert reply.status == status
    if status == 401:
        assert reply.code == "credential_missing"
        assert reply.headers["www-authenticate"] == 'Bearer realm="limen"'
    assert counted.ran == []


async def test_middleware_inside_the_guard_cannot_open_a_socket() -> None:
    """An accept that nobody decided is not passed on."""

    class Accepting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

    app = Starlette(routes=[WebSocketRoute("/socket", Counted().socket())])
    app.add_middleware(Accepting)
    protect(app, SmallGate())
    for who in (None, "maker"):
        assert (await call(app, "/socket", who, method="SOCKET")).status == 500


async def test_a_socket_that_nobody_serves_is_closed() -> None:
    """The router says that there is none; that needs no decision."""
    app = Starlette(routes=[WebSocketRoute("/socket", Counted().socket())])
    protect(app, SmallGate())
    assert (await call(app, "/nowhere", method="SOCKET")).status == 403
    assert (await call(app, "/nowhere", "maker", method="SOCKET")).status == 403


async def test_the_watch_runs_on_trio_as_well() -> None:
    """Nothing in it is asyncio's own; here it ends a socket whose client says nothing."""
    gate = SmallGate()
    sent: list[Message] = []
    chat = _Chat()
    app = _app(chat, gate)

    async def main() -> None:
        first = [{"type": "websocket.connect"}]

        async def receive() -> Message:
            if first:
                return first.pop()
            gate.ended.add("maker")
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "websocket",
            "path": "/echo",
            "scheme": "ws",
            "headers": [(b"authorization", b"Bearer maker")],
            "query_string": b"",
            "root_path": "",
        }
        await app(scope, receive, send)

    await anyio.to_thread.run_sync(lambda: anyio.run(main, backend="trio"))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert chat.ended == ["echo 1008"]
