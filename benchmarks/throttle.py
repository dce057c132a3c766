"""What counting costs: an attempt to log in, from memory and in Valkey, and a request to a route that has a limit."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks import applications as apps
from benchmarks.gates import TokenMaker, gate_of, installation, settings_of
from benchmarks.in_process import alternate, median_difference, started
from benchmarks.rows import Effort, Row, Target, median_ratio
from limen.core.clock import system_clock
from limen.core.rates import Rate
from limen.features.throttling.counting import Throttle
from limen.features.throttling.devices import KnownDevices
from limen.features.throttling.memory import MemoryThrottles
from limen.features.throttling.service import LoginLimits, LoginThrottle
from limen.features.throttling.store import ThrottleStore
from limen.starlette import rate_limit, roles
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.throttles import ValkeyThrottles
from tests.support.valkey import serving

SECRET = "the-secret-of-a-benchmark-0123456789"
FROM_MEMORY = 20
NAMES, NETWORKS = 1_000, 200


def throttle(effort: Effort) -> Sequence[Row]:
    """Measure in this process; Valkey is a server of its own on this machine."""
    rows = [asyncio.run(_from_memory(effort)), asyncio.run(_routes(effort))]
    with serving() as server:
        return [*rows, *asyncio.run(_in_valkey(server.url, server.port, effort))]


@roles("maker")
async def _read(request: Request) -> Response:
    return JSONResponse(apps.ORDER)


@rate_limit("9000000/minute")
@roles("maker")
async def _read_at_most_so_often(request: Request) -> Response:
    return JSONResponse(apps.ORDER)


def _logins(store: ThrottleStore) -> LoginThrottle:
    # Limits that nobody reaches: a refusal is cheaper than what is admitted.
    most = Rate(9_000_000, 900)
    throttle = Throttle(store, secret=SECRET)
    return LoginThrottle(throttle, KnownDevices([SECRET], clock=system_clock), LoginLimits(most, most))


def _attempts(logins: LoginThrottle) -> Callable[[int], Awaitable[object]]:
    # Sixty in a row are a limit of their own: no name comes so often within a round.
    def attempt(number: int) -> Awaitable[object]:
        return logins.admit(f"name-{number % NAMES}", address=f"198.51.{number % NETWORKS}.7")

    return attempt


async def _from_memory(effort: Effort) -> Row:
    count, figures = effort.count(20_000, 50), []
    for _ in range(effort.rounds(15)):
        attempt = _attempts(_logins(MemoryThrottles()))
        for number in range(min(count, NAMES)):
            await attempt(number)
        start = time.thread_time_ns()
        for number in range(count):
            await attempt(number)
        figures.append((time.thread_time_ns() - start) / count / 1000)
    return Row(
        "throttle",
        "An attempt to log in, counted in memory: CPU",
        "µs",
        statistics.median(figures),
        target=Target("at most", FROM_MEMORY),
        rounds=len(figures),
        note=f"three buckets, each an HMAC; {min(figures):.1f} to {max(figures):.1f}",
    )


async def _routes(effort: Effort) -> Row:
    with installation(throttle="memory") as environment:
        token = itertools.repeat(TokenMaker(settings_of(environment)).make())
        made = {}
        for name, endpoint in (("bare", _read), ("limen", _read_at_most_so_often)):
            made[name] = Starlette(routes=[Route("/orders/{order_id:int}", endpoint)])
            gate_of(environment).protect(made[name])
        async with started(made):
            rounds, requests = effort.rounds(21), effort.count(1_000, 20)
            await alternate(made, path=apps.PATH, tokens=token, rounds=1, requests=effort.count(500, 5))
            figures = await alternate(made, path=apps.PATH, tokens=token, rounds=rounds, requests=requests)
    return Row(
        "throttle",
        "@rate_limit on a guarded route, counted in memory: CPU over the same without it",
        "µs",
        median_difference(figures["limen"], figures["bare"]),
        rounds=rounds,
        note=f"guarded {statistics.median(figures['bare']):.1f}, limited {statistics.median(figures['limen']):.1f}",
    )


async def _in_valkey(url: str, port: int, effort: Effort) -> Sequence[Row]:
    valkey, count = Valkey(url), effort.count(1_000, 20)
    await valkey.start()
    try:
        attempt = _attempts(_logins(ValkeyThrottles(valkey)))
        ours, theirs = [], []
        async with Redis(host="127.0.0.1", port=port) as stock:
            await attempt(0)
            before = await _reads(stock)
            for number in range(count):
                await attempt(number)
            # One of them is the question itself.
            trips = (await _reads(stock) - before - 1) / count
            for _ in range(effort.rounds(9)):
                ours.append(await _microseconds(attempt, count))
                theirs.append(await _microseconds(lambda _: stock.ping(), count))
    finally:
        await valkey.stop()
    return [
        Row(
            "throttle",
            "An attempt to log in, counted in Valkey: round trips",
            "",
            trips,
            target=Target("at most", 1.01),
            note="what the server has read from its connections",
        ),
        Row(
            "throttle",
            "The same: time",
            "µs",
            statistics.median(ours),
            statistics.median(theirs),
            "redis-py, PING",
            median_ratio(ours, theirs),
            rounds=len(ours),
            note="one after the other, Valkey on the same machine",
        ),
    ]


async def _reads(stock: "Redis") -> int:
    found = await stock.info("stats")
    return int(found["total_reads_processed"])


async def _microseconds(ask: Callable[[int], Awaitable[object]], count: int) -> float:
    start = time.perf_counter_ns()
    for number in range(count):
        await ask(number)
    return (time.perf_counter_ns() - start) / count / 1000
