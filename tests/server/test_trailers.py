"""Trailers of a body in chunks (RFC 9110, section 6.5), at real servers with either HTTP protocol."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from limen.server.addresses import bind
from limen.server.bounded_head import fast_protocol
from limen.server.head_deadline import HeadLimits
from limen.server.tls import H11ClientCertificateProtocol, HttpToolsClientCertificateProtocol
from tests.server.test_heads import PROTOCOLS, connected, running
from tests.support.gates import PASSWORD

CHUNKED = "Host: limen\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module", params=PROTOCOLS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running server."""
    folder: Path = tmp_path_factory.mktemp("trailers")
    with running(folder, request.param, HeadLimits()) as number:
        yield number


def _answer(connection: socket.socket) -> bytes:
    answer = b""
    while more := connection.recv(4096):
        answer += more
    return answer


def _registered(port: int, fields: str, trailers: str, name: str) -> bytes:
    """Register by a body in chunks, with everything in one piece; return the whole answer."""
    body = f'{{"username": "{name}", "password": "{PASSWORD}"}}'
    sent = f"POST /auth/register HTTP/1.1\r\n{CHUNKED}{fields}\r\n{len(body):x}\r\n{body}\r\n0\r\n{trailers}\r\n"
    with connected(port) as connection:
        connection.sendall(sent.encode() + b"GET /healthz HTTP/1.1\r\nHost: limen\r\nConnection: close\r\n\r\n")
        return _answer(connection)


@pytest.mark.parametrize("field", ["Content-Type: text/plain\r\n", "Content-Encoding: gzip\r\n"])
def test_trailers_are_no_header_fields(port: int, field: str) -> None:
    """What refuses a request as a field of its head does nothing as a trailer, and the next request is answered."""
    name = f"visitor-{len(field)}"
    assert b"201 Created" not in _registered(port, field, "", name)
    answer = _registered(port, "", field, name)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 200 OK" in answer


@pytest.mark.parametrize("trailer", [b"X-Long: " + b"x" * 70_000, b"X-Many: x\r\n" * 7_000])
def test_trailers_without_end_are_not_collected(port: int, trailer: bytes) -> None:
    """Trailers of more than the head may have are not waited for, whether in one field or in many."""
    with connected(port) as connection:
        connection.sendall(f"POST /auth/register HTTP/1.1\r\n{CHUNKED}\r\n1\r\n{{\r\n0\r\n".encode())
        try:
            for part in [trailer, *[trailer.replace(b"X-Long: ", b"")] * 40]:
                connection.sendall(part)
            answer = _answer(connection)
        except ConnectionError:
            answer = b""
        assert not answer.startswith(b"HTTP/1.1 2")
        assert b"in time" not in answer


@pytest.mark.parametrize(
    "protocol", [HttpToolsClientCertificateProtocol, H11ClientCertificateProtocol, fast_protocol(HeadLimits())]
)
async def test_an_application_is_told_of_no_trailer(protocol: type[asyncio.Protocol]) -> None:
    """Neither before nor after the body is read: also under the protocols that applications name for uvicorn."""
    seen: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])
        while (await receive()).get("more_body"):
            pass
        seen.extend(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = bind("127.0.0.1", 0)
    config = uvicorn.Config(application, http=protocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110 # uvicorn has no event for it
            await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(f"POST / HTTP/1.1\r\n{CHUNKED}\r\n1\r\nx\r\n0\r\nX-SSL-Client-Cert: x\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 204 ")
        writer.close()
        server.should_exit = True
        await serving
    assert seen == [b"host", b"content-type", b"transfer-encoding"] * 2
