"""Bodies of an application's own routes: bounded in bytes and in time, whatever the application makes of it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import Body, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from limen.starlette import public
from limen.web.bounded import BoundedBodies
from tests.support.gates import gate_for

MOST = 65_536
TOO_LARGE = (413, "body_too_large")


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Read everything, and tell how much it was."""
    request = Request(scope, receive)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    await PlainTextResponse(str(size))(scope, receive, send)


async def swallowing(scope: Scope, receive: Receive, send: Send) -> None:
    """Read everything, and answer 200 whatever happens."""
    with contextlib.suppress(Exception):
        await Request(scope, receive).body()
    await PlainTextResponse("fine")(scope, receive, send)


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """Begin to answer before anything was read."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await send({"type": "http.response.body", "body": await Request(scope, receive).body()})


@contextlib.asynccontextmanager
async def served(app: BoundedBodies) -> AsyncIterator[int]:
    """Serve it on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, log_level="critical"))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def exchange(port: int, head: bytes, pieces: Iterable[bytes] = ()) -> bytes:
    """Send a request piece by piece, and return all that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return answer


def chunks(number: int) -> Iterator[bytes]:
    """Yield so many chunks of 4 KiB, and the end."""
    for _ in range(number):
        yield b"1000\r\n" + b"x" * 4096 + b"\r\n"
    yield b"0\r\n\r\n"


async def test_bytes_on_a_real_server() -> None:
    """What is announced as larger is refused unread, what comes in chunks as soon as it is; what fits is served."""
    app = BoundedBodies(reading, MOST, None)
    chunked, close = b"Transfer-Encoding: chunked\r\n", b"Connection: close"
    async with asyncio.timeout(120), served(app) as port:
        fits = await exchange(port, b"Content-Length: 65536\r\n" + close, [b"x" * MOST])
        assert fits.startswith(b"HTTP/1.1 200")
        assert fits.endswith(b"\r\n\r\n65536")
        assert (await exchange(port, chunked + close, chunks(16))).endswith(b"65536")
        for head, pieces in (
            (b"Content-Length: 65537", [b""]),
            (b"Content-Length: 999999999999999999", [b""]),
            (chunked.strip(), chunks(17)),
            (chunked.strip(), chunks(2000)),
        ):
            # Without «Connection: close» in it: the server hangs up by itself, and takes nothing for a second request.
            answer = await exchange(port, head, pieces)
            assert not answer or answer.startswith(b"HTTP/1.1 413"), answer[:80]
            assert answer.count(b"HTTP/1.1") <= 1
        announced = await exchange(port, b"Content-Length: 65537")
        assert announced.startswith(b"HTTP/1.1 413")
        assert b'"code":"body_too_large"' in announced.replace(b'": "', b'":"')
        assert b"\r\nconnection: close\r\n" in announced.lower()


async def test_time_on_a_real_server() -> None:
    """A body that does not come is not waited for; one that has come leaves the answer as long as it likes."""
    released = asyncio.Event()

    async def slow_to_answer(scope: Scope, receive: Receive, send: Send) -> None:
        size = len(await Request(scope, receive).body())
        waiting: asyncio.Task[Message] = asyncio.ensure_future(receive())
        await released.wait()
        assert not waiting.done()
        waiting.cancel()
        await PlainTextResponse(str(size))(scope, receive, send)

    async with asyncio.timeout(120), served(BoundedBodies(slow_to_answer, None, 0.2)) as port:
        late = await exchange(port, b"Content-Length: 10", [b"12345"])
        assert late.startswith(b"HTTP/1.1 400")
        assert b"did not arrive in time" in late
        answering_late = asyncio.create_task(exchange(port, b"Content-Length: 2\r\nConnection: close", [b"12"]))
        await asyncio.sleep(0.5)
        released.set()
        assert (await answering_late).endswith(b"\r\n\r\n2")


async def test_an_application_that_swallows_the_error_is_not_believed() -> None:
    """Whatever it answers, the answer is the refusal."""
    async with asyncio.timeout(60), served(BoundedBodies(swallowing, MOST, None)) as port:
        answer = await exchange(port, b"Transfer-Encoding: chunked", chunks(17))
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"fine" not in answer


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    """It cannot be another one any more, and does not look whole."""
    async with asyncio.timeout(60), served(BoundedBodies(answering, MOST, None)) as port:
        answer = await exchange(port, b"Transfer-Encoding: chunked", chunks(17))
        assert answer.startswith(b"HTTP/1.1 200")
        assert not answer.endswith(b"0\r\n\r\n")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of a FastAPI application with a bound, with a mounted one inside."""
    app = FastAPI()

    @app.post("/json")
    @public
    async def echo(body: object = Body()) -> object:
        return body

    @app.post("/file")
    @public
    async def upload(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.post("/kept")
    async def kept(request: Request) -> int:
        return len(await request.body())

    async def mounted(request: Request) -> Response:
        return JSONResponse(len(await request.body()))

    app.mount("/mounted", Starlette(routes=[Mount("/", routes=[Route("/", public(mounted), methods=["POST"])])]))
    gate = gate_for(tmp_path, max_body=MOST, body_timeout=60, cors_origins=["https://other.example"])
    gate.protect(app)
    with TestClient(app, base_url="https://app.example") as client:
        yield client


def test_in_an_application(client: TestClient) -> None:
    """JSON, uploads and mounts alike, in chunks and announced; a page of a listed origin is told why."""
    at_once, in_chunks = b'"' + b"x" * MOST + b'"', iter([b'"', b"x" * MOST, b'"'])
    origin = {"Origin": "https://other.example", "Content-Type": "application/json"}
    for content in (at_once, in_chunks):
        answer = client.post("/json", content=content, headers=origin)
        assert (answer.status_code, answer.json()["code"]) == TOO_LARGE
        assert answer.headers["access-control-allow-origin"] == "https://other.example"
        assert answer.headers["strict-transport-security"]
    answer = client.post("/file", content=iter([b"x" * MOST, b"x"]))
    assert (answer.status_code, answer.json()["code"]) == TOO_LARGE
    assert client.post("/mounted/", content=iter([b"x" * MOST, b"x"])).status_code == 413
    assert client.post("/kept", content=b"x").status_code == 401
    assert client.post("/json", json="fits").json() == "fits"
    assert client.post("/file", content=b"x" * MOST).json() == MOST


def test_limens_own_routes_keep_their_bound(client: TestClient) -> None:
    """They read 64 KiB, and a larger bound for the application changes nothing there."""
    body = json.dumps({"username": "a", "password": "x" * MOST})
    answer = client.post("/auth/login", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == TOO_LARGE


@pytest.mark.parametrize("depth", [1_000, 30_000])
def test_deep_json_is_a_refusal_and_no_failure(client: TestClient, depth: int) -> None:
    """What is nested deeper than the application's reader goes is a 4xx, and the next request is served."""
    body = b"[" * depth + b"]" * depth
    answer = client.post("/json", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert client.post("/json", json=1).json() == 1


@pytest.mark.parametrize(("parts", "status"), [(16, 200), (17, 413), (1_000, 413)])
async def test_small_parts_add_up(parts: int, status: int) -> None:
    """However small the parts are that a server hands on, they are counted together, and no more are asked for."""
    asked, sent = 0, list[Message]()

    async def receive() -> Message:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 4096, "more_body": asked < parts}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "http_version": "1.1", "headers": []}
    await BoundedBodies(reading, MOST, None)(scope, receive, send)
    assert sent[0]["status"] == status
    assert asked <= 17
