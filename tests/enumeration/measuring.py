"""Times of requests of several classes, taken in turns, and what may be said about them."""

import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from typing import Any, Final

from starlette.types import ASGIApp

from tests.enumeration.ranks import Compared, holm, mann_whitney

SAMPLES: Final = int(os.environ.get("LIMEN_TEST_ENUMERATION_SAMPLES", "100"))
"""Of each class."""
WARM_UP: Final = 10
ALPHA: Final = 1e-4
TOLERATED: Final = 0.06
"""How far from one half the effect may be, however sure it is. A class that does one statement more is far outside."""
_networks = count(1)

Answer = tuple[int, str]
Attempt = Callable[[int], Awaitable[Answer]]


@dataclass(frozen=True)
class Times:
    """What was measured of one class, in ns: the processor's time of the whole process, and the clock's on the wall.

    Other programs of a busy machine are not in the first. Either is fair: in each round the classes come in a random
    order, so whatever disturbs the machine disturbs all of them alike.
    """

    work: list[int]
    wall: list[int]


async def taken_in_turns(
    classes: Mapping[str, Attempt], samples: int
) -> tuple[dict[str, Times], dict[str, set[Answer]]]:
    """Make attempts, each round one of each class in a random order.

    Returns:
        by class the times, and the status and code of its answers.
    """
    chance = random.Random(20261123)
    times = {name: Times([], []) for name in classes}
    answers: dict[str, set[Answer]] = {name: set() for name in classes}
    names = list(classes)
    for number in range(samples + WARM_UP):
        chance.shuffle(names)
        for name in names:
            wall, work = time.perf_counter_ns(), time.process_time_ns()
            answer = await classes[name](number)
            worked, waited = time.process_time_ns() - work, time.perf_counter_ns() - wall
            answers[name].add(answer)
            if number >= WARM_UP:
                times[name].work.append(worked)
                times[name].wall.append(waited)
    return times, answers


def compared(times: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], Compared]:
    """Compare every two classes."""
    return {(one, other): mann_whitney(times[one], times[other]) for one, other in combinations(times, 2)}


def told_apart(times: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], str]:
    """Return the pairs that differ: surely, after correction for all of them, and by more than is tolerated."""
    found = compared(times)
    sure = holm(found)
    return {
        pair: f"A={each.effect:.3f} p={each.p:.2g}"
        for pair, each in found.items()
        if sure[pair] < ALPHA and abs(each.effect - 0.5) > TOLERATED
    }


def unlike(times: Mapping[str, Times], classes: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Return the pairs of these classes that differ by the processor's time, or by the time on the wall."""
    chosen = list(classes)
    found: dict[tuple[str, ...], str] = {}
    for kind in ("work", "wall"):
        differing = told_apart({name: getattr(times[name], kind) for name in chosen})
        found.update({(kind, *pair): text for pair, text in differing.items()})
    return found


def address() -> str:
    """Return an address in a network of its own."""
    number = next(_networks)
    return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"


async def call(
    app: ASGIApp, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request to an application in this process; return the status, and the code of a refusal."""
    content = b"" if body is None else json.dumps(body).encode()
    given = {"host": "app.example", "content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()]
        + [(b"content-length", str(len(content)).encode())],
        "client": (address(), 40_000),
        "server": ("app.example", 443),
    }
    status, received = 0, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, received
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            received += message.get("body", b"")

    await app(scope, receive, send)
    found = json.loads(received) if received else {}
    return status, str(found.get("code", ""))
