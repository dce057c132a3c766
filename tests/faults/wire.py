"""HTTP/1.1 as bytes over a socket: says what no client library would, and stops where a test wants it to."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

TIMEOUT = 20.0


class Unanswered(Exception):
    """The connection ended before the whole answer had come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: the status code.
        headers: names in lower case, and values, in the order in which they came.
        body: the content.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        """Return the content as JSON."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for known, value in self.headers if known == name), None)

    @property
    def code(self) -> str:
        """Return the code of a problem; empty where it is none."""
        content = self.json() if self.body else {}
        return str(content.get("code", "")) if isinstance(content, dict) else ""


def request_bytes(
    method: str,
    path: str,
    *,
    json_body: object = None,
    body: bytes | None = None,
    token: str | bytes | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """Return a request as it goes over the wire; whatever is given goes in unchanged."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", b"Connection: close"]
    content = body
    if json_body is not None:
        content = json.dumps(json_body).encode()
        lines.append(b"Content-Type: application/json")
    if token is not None:
        lines.append(b"Authorization: Bearer " + (token.encode() if isinstance(token, str) else token))
    if content is not None:
        lines.append(b"Content-Length: %d" % len(content))
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", content or b""])


def exchange(port: int, text: bytes) -> Answer:
    """Send bytes and return the answer.

    Raises:
        Unanswered: the connection was refused, or ended before the whole answer had come.
    """
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
            with suppress(ConnectionError):  # a server may answer and close before it has read everything
                connection.sendall(text)
            while chunk := connection.recv(65_536):
                received += chunk
                answer = parsed(received, bodiless=text.startswith(b"HEAD "))
                if answer is not None:
                    return answer
    except OSError as error:
        raise Unanswered(str(error)) from error
    raise Unanswered(f"{len(received)} bytes of an answer")


def call(port: int, method: str, path: str, **parts: Any) -> Answer:
    """Send a request made of parts; see `request_bytes` and `exchange`."""
    return exchange(port, request_bytes(method, path, **parts))


def parsed(received: bytes, *, bodiless: bool = False) -> Answer | None:
    """Return the answer if it is whole; an interim one (100 Continue) is passed over."""
    if received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    status = int(status_line.split(" ")[1])
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    if bodiless:
        return Answer(status, headers, b"")
    if len(body) < length:
        return None
    return Answer(status, headers, body[:length])
