"""What a request with a session cookie costs over a bare one, beyond the round trip to the store and with it."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import cycle

from benchmarks import applications as apps
from benchmarks.gates import gate_of, installation
from benchmarks.in_process import Application, Message, http_scope, median_difference, started
from benchmarks.rows import Effort, Row, Target
from limen.authn.cookie import PresentedSession
from limen.core.events import NOWHERE
from tests.support.gates import PASSWORD

AT_ONCE = 32
"""Requests that wait for the store at the same time, where their number in a second is measured."""


def cookies(effort: Effort) -> Sequence[Row]:
    """Measure in process: the loop's processor time, without the read of the store and with it, and a rate."""
    return asyncio.run(_cookies(effort))


class _AnswersAtOnce:
    """A store whose round trip takes no time: it says again what the real one has said, in other objects."""

    def __init__(self, answers: Sequence[PresentedSession]) -> None:
        self._answers = cycle(answers)

    async def present(self, sid: str, token_hash: bytes) -> PresentedSession:
        return next(self._answers)

    async def touch(self, sid: str, token_hash: bytes, *, idle_ms: int, every_ms: int) -> bool:
        return False


async def _cookies(effort: Effort) -> Sequence[Row]:
    rounds, requests = effort.rounds(21), effort.count(500, 10)
    with installation() as environment:
        gate, quick = gate_of(environment), gate_of(environment)
        apps_of = {
            "bare": apps.starlette_bare(),
            "quick": apps.starlette_limen(quick),
            "read": apps.starlette_limen(gate),
        }
        async with started(apps_of):
            await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
            issued = await gate.login.open_cookie_session("ann", PASSWORD, remembered=False, origin=NOWHERE)
            found = await gate.storage.cookies.present(*issued.presented)
            if found is None:
                raise RuntimeError("the session is not there")
            answers = [await gate.storage.cookies.present(*issued.presented) or found for _ in range(64)]
            quick.cookies._store = _AnswersAtOnce(answers)
            figures: dict[str, list[float]] = {name: [] for name in apps_of}
            rates: list[float] = []
            for number in range(rounds + 1):
                for name, app in apps_of.items():
                    spent = await _microseconds(partial(_request, app, issued.value), requests)
                    if number:
                        figures[name].append(spent)
                rate = await _rate(apps_of["read"], issued.value, requests)
                if number:
                    rates.append(rate)
    return [
        _row(
            "Starlette: CPU over bare, session cookie, without the round trip", "quick", figures, Target("at most", 25)
        ),
        _row("Starlette: CPU over bare, session cookie, with the read on SQLite", "read", figures, None),
        Row(
            "cookies",
            "Starlette: requests by a session cookie, each asked of SQLite, in a second of one core",
            "/s",
            statistics.median(rates),
            target=Target("at least", 9_000),
            rounds=len(rates),
            note=f"whole requests, {AT_ONCE} at once: the route is in it, and the threads of the store",
        ),
    ]


def _row(what: str, name: str, figures: dict[str, list[float]], target: Target | None) -> Row:
    cost = median_difference(figures[name], figures["bare"])
    note = f"bare {statistics.median(figures['bare']):.1f}, with the cookie {statistics.median(figures[name]):.1f}"
    return Row("cookies", what, "µs", cost, None, "", None, target, len(figures[name]), note)


async def _request(app: Application, cookie: str) -> None:
    scope = http_scope(apps.PATH, None)
    scope["scheme"] = "https"
    scope["headers"].append((b"cookie", b"__Host-limen=" + cookie.encode("ascii")))
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"expected 200, got {statuses}")


async def _rate(app: Application, cookie: str, requests: int) -> float:
    """Return how many requests a second of the whole process's processor time is enough for."""
    start = time.process_time()
    for _ in range(max(1, requests // AT_ONCE)):
        await asyncio.gather(*(_request(app, cookie) for _ in range(AT_ONCE)))
    return max(1, requests // AT_ONCE) * AT_ONCE / (time.process_time() - start)


async def _microseconds(work: Callable[[], Awaitable[object]], requests: int) -> float:
    start = time.thread_time_ns()
    for _ in range(requests):
        await work()
    return (time.thread_time_ns() - start) / requests / 1000
