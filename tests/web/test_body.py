"""Bodies: bounded in bytes and in time, JSON and nothing else, and never echoed."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core.errors import BadRequest, BodyTooLarge, InvalidInput, LimenError, UnsupportedMediaType
from limen.web.body import read_body, read_json, read_optional_json
from limen.web.problems import send_problem

CANARY = "canary-hunter2"
JSON = (b"content-type", b"application/json")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str


class Body:
    """Hands out a body in pieces, and counts how often it is asked."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.pieces = list(pieces)
        self.ends = ends
        self.asked = 0

    async def __call__(self) -> Message:
        self.asked += 1
        if not self.pieces:
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self.ends}


def scope(*headers: tuple[bytes, bytes]) -> Scope:
    """Return a request with these headers."""
    return {"type": "http", "method": "POST", "headers": list(headers)}


async def test_pieces_are_joined() -> None:
    """A body that comes in pieces is one body; the limit itself is still allowed."""
    assert await read_body(scope(), Body(b"ab", b"", b"cd"), limit=4) == b"abcd"
    assert await read_body(scope((b"content-length", b"4")), Body(b"abcd"), limit=4) == b"abcd"
    assert await read_body(scope(), Body(b"")) == b""


async def test_announced_length_is_refused_unread() -> None:
    """A Content-Length over the limit is refused before a byte is read, however many digits it has."""
    for length in (b"65537", b"9" * 18, b"9" * 5000):
        body = Body(b"x")
        with pytest.raises(BodyTooLarge):
            await read_body(scope((b"content-length", length)), body)
        assert body.asked == 0


async def test_endless_body_is_refused_at_the_limit() -> None:
    """A body of unknown length is read one piece over the limit, no further; a small length announced is no pass."""
    for headers in ([], [(b"content-length", b"10")]):
        body = Body(*[b"x" * 1000] * 10_000)
        with pytest.raises(BodyTooLarge):
            await read_body(scope(*headers), body)
        assert body.asked == 66


@pytest.mark.parametrize("lengths", [[b"-1"], [b"ten"], [b"1_0"], [b"5", b"6"], [b""], ["٣".encode()]])
async def test_length_that_is_no_number(lengths: list[bytes]) -> None:
    """A Content-Length that is no number, or two of them, are refused."""
    with pytest.raises(BadRequest):
        await read_body(scope(*[(b"content-length", length) for length in lengths]), Body(b"x"))


async def test_client_that_leaves() -> None:
    """A client that goes away in the middle leaves no half body behind."""
    with pytest.raises(BadRequest):
        await read_body(scope(), Body(b"ab", ends=False))


async def test_slow_client() -> None:
    """A body that does not arrive in time is given up, also when a byte comes now and then."""

    async def trickling() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async with asyncio.timeout(60):
        with pytest.raises(BadRequest, match="in time"):
            await read_body(scope(), trickling, seconds=0.1)


async def test_body_that_keeps_one_waiting() -> None:
    """A body that comes in pieces, some at once and some after a while, is read to its end."""
    pieces = Body(b"ab", b"cd", b"ef", b"gh")

    async def receive() -> Message:
        if len(pieces.pieces) in {1, 3}:
            await asyncio.sleep(0.01)
            await asyncio.sleep(0)
        return await pieces()

    assert await read_body(scope(), receive) == b"abcdefgh"


async def test_late_faults_are_told_as_they_are() -> None:
    """After a wait too, the limit holds, and a client that leaves or a server's own time-out is no slow client."""

    def late(answer: Message | Exception) -> Receive:
        async def receive() -> Message:
            await asyncio.sleep(0.01)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return receive

    with pytest.raises(BodyTooLarge):
        await read_body(scope(), late({"type": "http.request", "body": b"12345", "more_body": True}), limit=4)
    with pytest.raises(BadRequest, match="closed"):
        await read_body(scope(), late({"type": "http.disconnect"}))
    with pytest.raises(TimeoutError, match="the server's own"):
        await read_body(scope(), late(TimeoutError("the server's own")))


async def test_cancelled_while_the_body_is_awaited() -> None:
    """A cancellation from outside reaches the place that waits, and stays a cancellation."""
    reached: list[str] = []

    async def receive() -> Message:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            reached.append("cancelled")
            raise
        raise AssertionError("nobody cancelled it")

    task = asyncio.ensure_future(read_body(scope(), receive))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert reached == ["cancelled"]


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8" ',
        b" application/json",
    ],
)
async def test_media_type_of_json(value: bytes) -> None:
    """JSON is said to be JSON, in UTF-8 if anything is said about it."""
    body = Body(b'{"username": "a", "password": "b"}')
    assert await read_json(scope((b"content-type", value)), body, Login) == Login("a", "b")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"application/json; charset=utf-16")],
        [(b"content-type", b"application/json; charset=utf-8; x=y")],
        [(b"content-type", b"application/jsonp")],
        [(b"content-type", b"text/plain; application/json")],
        [JSON, JSON],
        [JSON, (b"content-encoding", b"gzip")],
        [JSON, (b"content-encoding", b"identity"), (b"content-encoding", b"br")],
    ],
)
async def test_other_media_type(headers: list[tuple[bytes, bytes]]) -> None:
    """What another site's page can send without a preflight, or what would have to be unpacked, is refused unread."""
    body = Body(b"{}")
    with pytest.raises(UnsupportedMediaType):
        await read_json(scope(*headers), body, Login)
    assert body.asked == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"username": "a", "username": "b", "password": "c"}',
        b'{"username": NaN, "password": "c"}',
        '{"username": "a", "password": "b"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"username": "a", "password": "b"}',
        b'{"username": "\\ud800", "password": "b"}',
        b'{"username": "\\u0000", "password": "b"}',
        b'{"username": "a\x00", "password": "b"}',
        b'{"username": ' + b"[" * 60_000,
        b'{"username": "a", "password": "b"} x',
    ],
)
async def test_body_that_is_not_one_json_object(content: bytes) -> None:
    """Whatever is not exactly one well-formed object is 400 invalid_input."""
    with pytest.raises(BadRequest) as caught:
        await read_json(scope(JSON), Body(content), Login)
    assert (caught.value.status, caught.value.code) == (400, "invalid_input")
    assert caught.value.detail


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({"username": CANARY}, {(("body", "password"), "missing")}),
        (
            {"username": [CANARY], "password": None},
            {(("body", "username"), "wrong_type"), (("body", "password"), "wrong_type")},
        ),
        ({"username": "a", "password": {"a": CANARY}}, {(("body", "password"), "wrong_type")}),
        ({"username": "a", "password": "b", CANARY: CANARY}, {(("body",), "unknown_field")}),
    ],
)
async def test_wrong_fields(value: dict[str, Any], faults: set[tuple[tuple[str, ...], str]]) -> None:
    """Missing, unknown and wrongly typed fields are 422 with the fault of each, and nothing of what was sent."""
    with pytest.raises(InvalidInput) as caught:
        await read_json(scope(JSON), Body(json.dumps(value).encode()), Login)
    error = caught.value
    assert (error.status, error.code) == (422, "invalid_input")
    assert {(fault.loc, fault.code) for fault in error.errors} == faults
    assert CANARY not in repr((error.args, error.detail, error.errors))
    assert error.__context__ is None


async def test_optional_body() -> None:
    """A route that needs no body takes an empty one of any type, and still reads one strictly."""
    assert await read_optional_json(scope(), Body(b""), Login) is None
    assert await read_optional_json(scope(JSON), Body(b'{"username":"a","password":"b"}'), Login) == Login("a", "b")
    with pytest.raises(UnsupportedMediaType):
        await read_optional_json(scope(), Body(b"{}"), Login)
    with pytest.raises(BadRequest):
        await read_optional_json(scope(JSON), Body(b"{"), Login)


@contextlib.asynccontextmanager
async def served(application: ASGIApp) -> AsyncIterator[int]:
    """Serve an application on a free port of this machine, and stop it."""
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a login as limen's routes do, with little patience for who tells of a hundred bytes."""
    seconds = 0.5 if (b"content-length", b"100") in scope["headers"] else 60.0
    try:
        await read_json(scope, receive, Login, seconds=seconds)
    except LimenError as error:
        await send_problem(scope, send, error, "trace-01")
    else:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


async def status_of(port: int, head: bytes, pieces: Iterable[bytes]) -> bytes:
    """Send a request piece by piece, and return the status line that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + head + b"\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    line = await reader.readline()
    writer.close()
    return line.split()[1]


async def test_on_a_real_server() -> None:
    """On uvicorn: a good body passes, a slow one is 400, a large and an endless one are 413."""
    good = b'{"username": "a", "password": "b"}'
    endless = (b"10000\r\n" + b"x" * 65_536 + b"\r\n" for _ in range(1000))
    async with asyncio.timeout(90), served(reading) as port:
        assert await status_of(port, b"Content-Length: %d" % len(good), [good]) == b"204"
        assert await status_of(port, b"Content-Length: 100", [b"{"]) == b"400"
        assert await status_of(port, b"Content-Length: 10000000000", [b"{"]) == b"413"
        assert await status_of(port, b"Transfer-Encoding: chunked", endless) == b"413"
