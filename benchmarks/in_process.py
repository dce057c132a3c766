"""Drives an ASGI application without a server, so that nothing but the application is measured."""

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from asgi_lifespan import LifespanManager

Application = Callable[[Any, Any, Any], Awaitable[None]]
Message = dict[str, Any]


def http_scope(path: str, token: str | None) -> Message:
    """Return the scope of a GET as uvicorn makes it."""
    headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"limen-bench"), (b"accept", b"*/*")]
    if token is not None:
        headers.append((b"authorization", b"Bearer " + token.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "state": {},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class _Sink:
    """Takes the answers, and sees to it that they are what is to be measured."""

    def __init__(self) -> None:
        self.statuses: set[int] = set()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.statuses.add(message["status"])


async def cpu_microseconds(app: Application, path: str, tokens: Sequence[str]) -> float:
    """Return the processor time of one request, in microseconds, over requests that each bring one of the tokens.

    As in a server, a scope is made just before its request and gone after it: thousands that were made before would be
    cold in the processor's caches, and each would be looked at by every garbage collection.

    Raises:
        RuntimeError: an answer was not 200.
    """
    sink = _Sink()
    send = sink.send
    start = time.thread_time_ns()
    for token in tokens:
        await app(http_scope(path, token), _receive, send)
    spent = time.thread_time_ns() - start
    if sink.statuses != {200}:
        raise RuntimeError(f"expected only 200, got {sink.statuses}")
    return spent / len(tokens) / 1000


@asynccontextmanager
async def started(applications: Mapping[str, Application]) -> Any:
    """Run the lifespans of applications."""
    managers = [LifespanManager(app, startup_timeout=30, shutdown_timeout=30) for app in applications.values()]
    for manager in managers:
        await manager.__aenter__()
    try:
        yield
    finally:
        for manager in reversed(managers):
            await manager.__aexit__()


async def alternate(
    applications: Mapping[str, Application],
    *,
    path: str,
    tokens: Iterator[str],
    rounds: int,
    requests: int,
) -> dict[str, list[float]]:
    """Return the microseconds of a request of each application, round by round.

    Every round asks each of them, in turn forwards and backwards, so that a slow moment of the machine hits all. Each
    request takes its token from the iterator.
    """
    figures: dict[str, list[float]] = {name: [] for name in applications}
    names = list(applications)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            presented = list(islice(tokens, requests))
            figures[name].append(await cpu_microseconds(applications[name], path, presented))
    return figures


def median_difference(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of what we cost more in rounds that ran next to each other."""
    return statistics.median(mine - other for mine, other in zip(ours, others, strict=True))
