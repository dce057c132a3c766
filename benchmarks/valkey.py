"""Sessions in Valkey: look-ups of cookie sessions a second in one process, and refreshes over HTTP."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis

from benchmarks.gates import PASSWORD, gate_of, installation
from benchmarks.postgres import Backends, durable_server, where
from benchmarks.refreshes import alternate
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import on_the_other_cores, server_core
from limen import Limen
from limen.authn.cookie import PresentedCookie
from limen.authn.issuing import Grant, Proof
from limen.core.events import NOWHERE
from tests.support.valkey import serving

SESSIONS = 1_000
AT_ONCE = 64
DURABLE = {"appendonly": "yes", "appendfsync": "everysec"}

Look = Callable[[int], Awaitable[object]]


def look_ups(effort: Effort) -> Sequence[Row]:
    """Measure what every request with a session cookie asks, beside a bare GET of the stock client."""
    with durable_server() as cluster, serving(**DURABLE) as server:
        stores = {"session_store": "valkey", "valkey_url": server.url}
        with (
            installation(database_url=cluster.create()) as plain,
            installation(database_url=cluster.create(), **stores) as valkey,
        ):
            return asyncio.run(_look_ups(gate_of(valkey), gate_of(plain), server.port, effort))


async def _look_ups(valkey: Limen, plain: Limen, port: int, effort: Effort) -> Sequence[Row]:
    seconds, rates = effort.seconds(2), {"valkey": [0.0], "plain": [0.0], "stock": [0.0]}
    async with valkey.running(), plain.running(), Redis(host="127.0.0.1", port=port) as stock:
        looks = {
            "stock": _get(stock, [key async for key in stock.scan_iter()] or ["nothing"]),
            "valkey": _session(valkey, await _opened(valkey, effort.count(SESSIONS, 20))),
            "plain": _session(plain, await _opened(plain, effort.count(SESSIONS, 20))),
        }
        for name, look in looks.items():
            await _rate(look, seconds / 4)
            rates[name].clear()
        for _ in range(effort.rounds(7)):
            for name, look in looks.items():
                rates[name].append(await _rate(look, seconds))
    note = f"{SESSIONS} sessions, {AT_ONCE} at once, one process; the database is asked once a second and session"
    return [
        Row(
            "valkey",
            "Look-ups of cookie sessions in Valkey",
            "look-ups/s",
            statistics.median(rates["valkey"]),
            statistics.median(rates["stock"]),
            "redis-py, one GET each",
            median_ratio(rates["valkey"], rates["stock"]),
            Target("at least", 9_000),
            len(rates["valkey"]),
            note,
        ),
        Row(
            "valkey",
            "The same where sessions are in PostgreSQL",
            "look-ups/s",
            statistics.median(rates["plain"]),
            rounds=len(rates["plain"]),
            note="each asks the database",
        ),
    ]


async def _opened(gate: Limen, count: int) -> list[PresentedCookie]:
    account = await gate.accounts.create("bench-maker", PASSWORD, roles=frozenset({"maker"}))
    proof = Proof(Grant.SESSION, account.id, 0, ("pwd",), "bench", NOWHERE)
    issued = [await gate.door.open_cookie_session(proof, remembered=False) for _ in range(count)]
    return [each.presented for each in issued if each is not None]


def _session(gate: Limen, presented: Sequence[PresentedCookie]) -> Look:
    async def look(number: int) -> None:
        if await gate.cookies.session_of(presented[number % len(presented)]) is None:
            raise RuntimeError("the session is not there")

    return look


def _get(client: Redis, keys: Sequence[str]) -> Look:
    async def look(number: int) -> None:
        await client.get(keys[number % len(keys)])

    return look


async def _rate(look: Look, seconds: float) -> float:
    """Return how often a second this is done, so many at once."""
    numbers, begun = itertools.count(), time.perf_counter()

    async def one() -> int:
        done = 0
        while time.perf_counter() - begun < seconds:
            await look(next(numbers))
            done += 1
        return done

    return sum(await asyncio.gather(*(one() for _ in range(AT_ONCE)))) / (time.perf_counter() - begun)


def refreshed(effort: Effort) -> Sequence[Row]:
    """Measure refreshes where sessions are in Valkey, and accounts and records in PostgreSQL."""
    core = server_core()
    with on_the_other_cores(), durable_server() as cluster, serving(**DURABLE) as server:
        url = cluster.create()
        with installation(database_url=url, session_store="valkey", valkey_url=server.url) as environment:
            rounds = alternate(environment, core, effort, Backends(cluster, url))
        note = f"uvicorn; {where(cluster)}, and Valkey, share the other core with the load"
    return [
        Row(
            "valkey-refreshes",
            "Refreshes on Valkey and PostgreSQL, durable, one core for the server",
            "refreshes/s",
            statistics.median(rounds.rates),
            statistics.median(rounds.floor),
            "bare JSON endpoint",
            median_ratio(rounds.rates, rounds.floor),
            rounds=len(rounds.rates),
            note=note,
        ),
        Row(
            "valkey-refreshes",
            "CPU of the server for one refresh on Valkey, all its threads",
            "µs",
            statistics.median(rounds.costs),
            rounds=len(rounds.costs),
            note=f"the database spends {statistics.median(rounds.database):.0f} µs on it, on the other core",
        ),
    ]
