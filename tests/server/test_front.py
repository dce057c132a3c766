"""What a server refuses before anything is looked at, asked over a socket, byte by byte."""

import socket
from collections.abc import Iterator

import pytest

from tests.server.conftest import Server, launch, limen


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A stand-alone server that answers for two hosts."""
    folder = tmp_path_factory.mktemp("front")
    assert limen("init", folder=folder).returncode == 0
    hosts = "id.example, *.apps.example"
    server = launch(folder, "serve", "--env-file", str(folder / ".env"), LIMEN_ALLOWED_HOSTS=hosts)
    yield server
    server.end()


def told(server: Server, request: bytes) -> bytes:
    """Send these bytes, and return all that comes back until the server has closed the connection."""
    port = int(server.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


def ask(server: Server, *fields: bytes, line: bytes = b"GET /auth/me HTTP/1.1") -> tuple[int, str]:
    """Send a request with these header fields, and return status and code."""
    answer = told(server, b"\r\n".join([line, *fields, b"Connection: close", b"", b""]))
    head, _, body = answer.partition(b"\r\n\r\n")
    code = body.partition(b'"code":"')[2].partition(b'"')[0].decode()
    return int(head.split()[1]), code


LISTED = (401, "credential_missing")
OTHER = (421, "host_not_allowed")
NONE = (400, "invalid_input")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([b"Host: id.example"], LISTED),
        ([b"Host: ID.EXAMPLE.:8443"], LISTED),
        ([b"Host: a.apps.example"], LISTED),
        ([b"Host: apps.example"], OTHER),
        ([b"Host: evil.example"], OTHER),
        ([b"Host: evil.example", b"X-Forwarded-Host: id.example"], OTHER),
        ([b"Host: [::1]"], OTHER),
        ([b"Host: 127.0.0.1"], OTHER),
        ([], NONE),
        ([b"Host:"], NONE),
        ([b"Host: id.example", b"Host: id.example"], NONE),
        ([b"Host: id.example", b"Host: evil.example"], NONE),
        ([b"Host: id.example, evil.example"], NONE),
        ([b"Host: user@id.example"], NONE),
    ],
)
def test_hosts(server: Server, fields: list[bytes], expected: tuple[int, str]) -> None:
    """One listed host is answered; another is 421, none, two and what cannot be read are 400."""
    assert ask(server, *fields) == expected


def test_the_request_line_opens_nothing(server: Server) -> None:
    """A host in the request line is no way around the header, and none to the header of somebody else."""
    line = b"GET http://id.example/auth/me HTTP/1.1"
    assert ask(server, b"Host: evil.example", line=line) == OTHER
    assert ask(server, line=line) == NONE
    assert ask(server, line=b"GET /auth/me HTTP/1.0") == NONE


def test_health_by_address(server: Server) -> None:
    """Probes come by address, and are answered; the launcher waited for one."""
    assert ask(server, b"Host: 127.0.0.1", line=b"GET /healthz HTTP/1.1")[0] == 200
    assert ask(server, b"Host: 10.1.2.3:8000", line=b"GET /readyz HTTP/1.1")[0] == 200


def test_fields_are_counted(server: Server) -> None:
    """Two hundred header fields are read, one more is refused before anything is looked at."""
    # Host, and «Connection: close», are two of them.
    many = [b"X-%d: a" % number for number in range(198)]
    assert ask(server, b"Host: id.example", *many) == LISTED
    assert ask(server, b"Host: id.example", *many, b"X-More: a") == NONE
    assert ask(server, b"Host: id.example", *([b"A:"] * 10_000)) == NONE


@pytest.mark.parametrize("path", [b"/auth/me", b"/healthz", b"/nowhere", b"*"])
def test_trace(server: Server, path: bytes) -> None:
    """Nothing is sent back, whatever is asked."""
    request = b"TRACE " + path + b" HTTP/1.1\r\nHost: id.example\r\nCookie: kanarie=1\r\nConnection: close\r\n\r\n"
    answer = told(server, request)
    assert answer.split()[1] in (b"405", b"400")
    assert b"kanarie" not in answer
