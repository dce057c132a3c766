"""An answer in many parts ends with the session it was asked for with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.fastapi import public, roles
from limen.web.guard import GuardState, protect, streams
from limen.web.guard.streams import StreamEndedError
from tests.web.guard.kit import SmallGate, call


class _Gate(SmallGate):
    """A gate that keeps the credential, as the real one does, and counts how often it is asked."""

    asked = 0

    def authenticate(self, scope: Scope, state: GuardState) -> Awaitable[None] | None:
        pending = super().authenticate(scope, state)
        state.credential = state.principal if state.principal.is_authenticated and self.keeps else None
        return pending

    def still_valid(self, state: GuardState) -> bool:
        self.asked += 1
        if self.broken:
            raise RuntimeError("a fault")
        return super().still_valid(state)

    keeps = True
    broken = False


@pytest.fixture(autouse=True)
def _ask_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.0)


def _app(gate: _Gate, after: Any, middleware: list[Middleware] | None = None) -> ASGIApp:
    """Return an application that streams ten parts, and calls something after the third."""

    async def parts() -> AsyncIterator[bytes]:
        for number in range(10):
            if number == 3:
                after()
            yield b"%d " % number
            await asyncio.sleep(0)

    @roles("maker")
    async def leaf(request: Request) -> Response:
        return StreamingResponse(parts(), media_type="text/event-stream")

    @public
    async def opened(request: Request) -> Response:
        return StreamingResponse(parts(), media_type="text/event-stream")

    async def one(request: Request) -> Response:
        return PlainTextResponse("one")

    app = Starlette(routes=[Route("/leaf", leaf), Route("/open", opened), Route("/one", one)], middleware=middleware)
    protect(app, gate)
    return _patient(app)


def _patient(app: ASGIApp) -> ASGIApp:
    """Return the application behind a client that stays until the answer is over."""

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        async def waiting() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                await asyncio.Event().wait()
            return message

        await app(scope, waiting, send)

    return patient


async def _through(request: Request, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("asgi", [{"version": "3.0"}, {"version": "3.0", "spec_version": "2.4"}])
@pytest.mark.parametrize("middleware", [[], [Middleware(BaseHTTPMiddleware, dispatch=_through)]])
async def test_a_stream_is_cut_off_when_its_session_ends(
    asgi: dict[str, str], middleware: list[Middleware], caplog: pytest.LogCaptureFixture
) -> None:
    """What comes after the logout is not sent; nothing but one line is logged, and no exception leaves the guard."""
    gate = _Gate()
    app = _app(gate, lambda: gate.ended.add("maker"), middleware)
    reply = await call(app, "/leaf", "maker", asgi=asgi)
    assert (reply.status, reply.body) == (200, b"0 1 2 ")
    assert [record.levelname for record in caplog.records if record.name == "limen.guard"] in ([], ["INFO"])
    assert "Traceback" not in caplog.text


async def test_a_stream_whose_session_goes_on_is_not_cut_off() -> None:
    """All of it arrives."""
    gate = _Gate()
    assert (await call(_app(gate, lambda: None), "/leaf", "maker")).body == b"0 1 2 3 4 5 6 7 8 9 "
    assert gate.asked == 10


async def test_a_stream_to_nobody_in_particular_is_not_asked_about() -> None:
    """Neither an anonymous one nor one without a credential can end."""
    gate = _Gate()
    app = _app(gate, lambda: gate.ended.add("maker"))
    assert (await call(app, "/open")).body == b"0 1 2 3 4 5 6 7 8 9 "
    gate.ended.clear()
    gate.keeps = False
    assert (await call(app, "/leaf", "maker")).body == b"0 1 2 3 4 5 6 7 8 9 "
    assert gate.asked == 0


async def test_a_stream_of_which_nobody_can_tell_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """An error has the value of a no."""
    gate = _Gate()

    def fail() -> None:
        gate.broken = True

    assert (await call(_app(gate, fail), "/leaf", "maker")).body == b"0 1 2 "
    assert "whether it may go on cannot be told" in caplog.text


async def test_a_stream_is_asked_about_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast one costs no more than a slow one, and an answer in one part nothing."""
    monkeypatch.setattr(streams, "POLL_SECONDS", 60.0)
    gate = _Gate()
    app = _app(gate, lambda: gate.ended.add("maker"))
    assert (await call(app, "/leaf", "maker")).body == b"0 1 2 3 4 5 6 7 8 9 "
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.0)
    assert (await call(app, "/one", "checker")).body == b"one"
    assert gate.asked == 0


async def test_a_handler_that_goes_on_sending_sends_nothing() -> None:
    """Not even the end of the answer, which would make it look complete."""
    gate, refused = _Gate(), []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        gate.ended.add("maker")
        for more in (True, True, False):
            try:
                await send({"type": "http.response.body", "body": b"b", "more_body": more})
            except StreamEndedError:
                refused.append(more)

    app = FastAPI()
    app.mount("/opaque", stubborn)
    protect(app, gate).mount_rule("/opaque", roles("maker"))
    assert (await call(app, "/opaque/x", "maker")).body == b"a"
    assert refused == [True, True, False]
