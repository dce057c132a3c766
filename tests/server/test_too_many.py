from typing import Any

from limen.server import process
from limen.server.bounds import MOST_CONNECTIONS


async def test_one_connection_too_many_is_told_when_to_come_back() -> None:
    """A request on a connection beyond the bound is 503 `busy` with Retry-After, and its connection is closed."""
    served: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])

    async def receive() -> Any:
        raise AssertionError("nothing is read of a request that is refused")

    async def send(message: Any) -> None:
        sent.append(message)

    front = process._Front(app)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    front.connections = set(range(MOST_CONNECTIONS))
    await front(scope, receive, send)
    assert served == ["/"]
    front.connections.add("one more")
    await front(scope, receive, send)
    assert served == ["/"]
    start, body = sent
    headers = dict(start["headers"])
    assert (start["status"], headers[b"connection"]) == (503, b"close")
    assert int(headers[b"retry-after"]) > 0
    assert b'"code":"busy"' in body["body"]
