"""A load generator for HTTP/1.1 over keep-alive connections that costs less than any server it is held against."""

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

TIMEOUT = 30.0


class Speaker(Protocol):
    """What one connection says."""

    def request(self) -> bytes | None:
        """Return the next request as bytes on the wire; None where nothing is left to say."""
        ...

    def answer(self, status: int, body: bytes) -> None:
        """Take the answer to it."""
        ...


@dataclass(slots=True)
class Load:
    """What came of it.

    Attributes:
        statuses: how often each status was answered.
        seconds: from the first request to the last answer.
        latencies: seconds from each request to its answer, in the order of the answers.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Return how many answers there were."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Return the answers a second."""
        return self.count / self.seconds

    def expect(self, status: int) -> "Load":
        """Return it where every answer had this status.

        Raises:
            RuntimeError: another status was answered, so that the figures would tell of something else.
        """
        if set(self.statuses) != {status}:
            raise RuntimeError(f"expected only {status}, got {self.statuses}")
        return self


def message(method: str, path: str, *, token: str = "", body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: limen-bench", "Accept: */*"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Repeat:
    """Says the same again and again."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def request(self) -> bytes:
        """Return it."""
        return self._text

    def answer(self, status: int, body: bytes) -> None:
        """Nothing is done with it."""


class Recite:
    """Says each of a series once; several connections may recite one series together."""

    def __init__(self, series: Iterator[bytes]) -> None:
        self._series = series

    def request(self) -> bytes | None:
        """Return the next of them."""
        return next(self._series, None)

    def answer(self, status: int, body: bytes) -> None:
        """Nothing is done with it."""


class _Connection:
    def __init__(self, port: int, speaker: Speaker) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.speaker = speaker
        self.received = b""
        self.sent_at = 0.0

    def send(self) -> bool:
        text = self.speaker.request()
        if text is None:
            return False
        self.sent_at = time.perf_counter()
        self.socket.sendall(text)
        return True

    def receive(self) -> tuple[int, bytes] | None:
        """Return status and body once the answer is whole."""
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise RuntimeError("the server closed a connection")
        received = self.received = self.received + chunk
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        length = _content_length(received[:head_end])
        if len(received) < head_end + 4 + length:
            return None
        self.received = b""
        return int(received[9:12]), received[head_end + 4 :]


def _content_length(head: bytes) -> int:
    start = head.lower().find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    return int(head[start + 17 :].split(b"\r\n", 1)[0])


def drive(port: int, speakers: Sequence[Speaker], *, seconds: float = float("inf"), pause: float = 0.0) -> Load:
    """Let every speaker speak over a connection of its own until the time is over or nothing is left to say.

    What is under way when the time is over is waited for. With a pause (seconds) between one connection and the next,
    several workers share them: of many that come at once, one worker accepts all.

    Raises:
        RuntimeError: a connection was closed, or nothing was answered for half a minute.
    """
    load = Load()
    selector = selectors.DefaultSelector()
    connections = []
    for speaker in speakers:
        connections.append(_Connection(port, speaker))
        time.sleep(pause)
    start = time.perf_counter()
    deadline = start + seconds
    open_connections = 0
    for connection in connections:
        if connection.send():
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            open_connections += 1
    try:
        while open_connections:
            ready = selector.select(TIMEOUT)
            if not ready:
                raise RuntimeError("no answer came")
            for key, _ in ready:
                connection = key.data
                answer = connection.receive()
                if answer is None:
                    continue
                status, body = answer
                now = time.perf_counter()
                load.latencies.append(now - connection.sent_at)
                load.statuses[status] = load.statuses.get(status, 0) + 1
                connection.speaker.answer(status, body)
                if now >= deadline or not connection.send():
                    selector.unregister(connection.socket)
                    open_connections -= 1
        load.seconds = time.perf_counter() - start
    finally:
        selector.close()
        for connection in connections:
            connection.socket.close()
    return load
