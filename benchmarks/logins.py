"""Logins: as many as the cores can hash, other requests meanwhile, and one answer time for every way to fail."""

import asyncio
import math
import statistics
import subprocess
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import islice, repeat

import msgspec

from benchmarks.applications import PATH
from benchmarks.gates import PASSWORD, TokenMaker, gate_of, installation, settings_of
from benchmarks.load import Recite, drive, message
from benchmarks.rows import Effort, Row, Target, median_ratio, percentile
from benchmarks.servers import ROOT, Server, cores, serving

COST = 12
"""The default cost of bcrypt; a quarter of a second each on many machines."""

CONNECTIONS = 16
USERNAME = "bench-maker"


def login_message(username: str = USERNAME, password: str = PASSWORD) -> bytes:
    """Return a login as it goes over the wire."""
    body = msgspec.json.encode({"username": username, "password": password})
    return message("POST", "/auth/login", body=body)


def logins(effort: Effort) -> Sequence[Row]:
    """Measure logins a second over HTTP against the raw rate of hashing, each over the same number of hashes."""
    cost = 10 if effort.quick else COST
    threads = len(cores())
    # Both ways end with a thread or two idle for a part of the last hash: enough of them makes that small.
    total = effort.count(threads * 24, threads * 2)
    ours: list[float] = []
    raw: list[float] = []
    with installation(bcrypt_cost=str(cost)) as environment:
        asyncio.run(_accounts(environment))
        with serving("starlette-limen", environment) as server:
            _logins_a_second(server, threads)
            for _ in range(effort.rounds(5)):
                raw.append(_raw_rate(total, cost, threads))
                ours.append(_logins_a_second(server, total))
    return [
        Row(
            "logins",
            f"Logins against the raw rate of bcrypt (cost {cost}, {threads} cores)",
            "logins/s",
            statistics.median(ours),
            statistics.median(raw),
            "raw hashing",
            median_ratio(ours, raw),
            Target("at least", 0.95, of="ratio"),
            len(ours),
            f"{CONNECTIONS} connections; the raw threads run at nice 19 as well",
        )
    ]


def _raw_rate(total: int, cost: int, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.raw_hashing", str(total), str(cost), str(threads)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, start_new_session=True)
    return float(done.stdout)


def _logins_a_second(server: Server, total: int) -> float:
    series = repeat(login_message(), total)
    return drive(server.port, [Recite(series) for _ in range(min(CONNECTIONS, total))]).expect(200).rate


async def _accounts(environment: dict[str, str], usernames: Sequence[str] = (USERNAME,)) -> None:
    gate = gate_of(environment)
    async with gate.running():
        for username in usernames:
            await gate.accounts.create(username, PASSWORD, roles=frozenset({"maker"}))


def storm(effort: Effort) -> Sequence[Row]:
    """Measure a guarded request at a steady rate, alone and while 16 clients log in as fast as they can."""
    seconds = effort.seconds(10)
    with installation(bcrypt_cost="10" if effort.quick else str(COST)) as environment:
        token = TokenMaker(settings_of(environment)).make()
        asyncio.run(_accounts(environment))
        with serving("fastapi-limen", environment) as server:
            _probe(server, token, effort.seconds(0.5))
            calm: list[float] = []
            stormy: list[float] = []
            for _ in range(effort.rounds(2)):
                calm += _probe(server, token, seconds)
                stormy += _probe_in_storm(server, token, seconds)
    note = f"p50 {percentile(stormy, 0.5):.2f} ms against {percentile(calm, 0.5):.2f}, worst {max(stormy):.1f} ms"
    return [
        Row(
            "storm",
            "p99 of a guarded request during a login storm",
            "ms",
            percentile(stormy, 0.99),
            percentile(calm, 0.99),
            "without storm",
            percentile(stormy, 0.99) / percentile(calm, 0.99),
            Target("at most", 6),
            effort.rounds(2),
            f"{note}; FastAPI on uvicorn, 100 requests/s",
        )
    ]


class _Steady:
    """Asks at a steady rate: the next request leaves when its time has come."""

    def __init__(self, text: bytes, every: float) -> None:
        self._text = text
        self._every = every
        self._next = time.perf_counter()

    def request(self) -> bytes:
        now = time.perf_counter()
        self._next = max(self._next + self._every, now)
        time.sleep(self._next - now)
        return self._text

    def answer(self, status: int, body: bytes) -> None:
        """Nothing is done with it."""


def _probe(server: Server, token: str, seconds: float) -> list[float]:
    load = drive(server.port, [_Steady(message("GET", PATH, token=token), 0.01)], seconds=seconds)
    return [latency * 1000 for latency in load.expect(200).latencies]


def _probe_in_storm(server: Server, token: str, seconds: float) -> list[float]:
    # The storm is a process of its own, so that the prober does not wait for the storm's interpreter.
    command = [sys.executable, "-m", "benchmarks.login_storm", str(server.port), str(seconds + 1.0)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as stormers:
        time.sleep(0.5 if seconds > 1 else 0.1)
        latencies = _probe(server, token, seconds)
        told, _ = stormers.communicate(timeout=60)
    if stormers.returncode or int(told) == 0:
        raise RuntimeError("there was no storm")
    return latencies


def one_answer(effort: Effort) -> Sequence[Row]:
    """Compare the time of the four refusals of a login, interleaved over one connection (R022, ASVS 6.3.8)."""
    usernames = ("bench-maker", "bench-disabled", "bench-blocked")
    with installation(log_level="error") as environment:
        asyncio.run(_accounts(environment, usernames))
        asyncio.run(_close(environment))
        with serving("starlette-limen", environment) as server:
            kinds = {
                "unknown": login_message("bench-nobody"),
                "wrong": login_message(password="not the right password"),
                "disabled": login_message("bench-disabled"),
                "blocked": login_message("bench-blocked"),
            }
            times: dict[str, list[float]] = {kind: [] for kind in kinds}
            for number in range(effort.count(60, 2)):
                names = list(kinds)
                for kind in names[number % 4 :] + names[: number % 4]:
                    load = drive(server.port, [Recite(islice(repeat(kinds[kind]), 1))]).expect(401)
                    times[kind].append(load.latencies[0] * 1000)
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    base = medians["unknown"]
    worst = max((kind for kind in medians if kind != "unknown"), key=lambda kind: abs(medians[kind] - base))
    difference = abs(medians[worst] - base)
    p = rank_test(times["unknown"], times[worst])
    return [
        Row(
            "one-answer",
            "Refused logins: the largest difference of medians to an unknown name",
            "ms",
            difference,
            base,
            "an unknown name",
            difference / base,
            Target("at most", max(1.0, 0.02 * base)),
            len(times["unknown"]),
            f"{worst}; Mann-Whitney p = {p:.2f}; bcrypt at cost 10; "
            + ", ".join(f"{kind} {median:.1f}" for kind, median in medians.items()),
        )
    ]


async def _close(environment: dict[str, str]) -> None:
    gate = gate_of(environment)
    async with gate.running():
        await gate.accounts.disable(await gate.accounts.by_username("bench-disabled"), actor="bench")
        await gate.accounts.block(await gate.accounts.by_username("bench-blocked"), actor="bench")


def rank_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p of the Mann-Whitney test by its normal approximation: low says that the two differ."""
    ordered = sorted([*first, *second])
    n, m = len(first), len(second)
    # Equal samples share the middle of their ranks.
    ranks = sum((bisect_left(ordered, value) + 1 + bisect_right(ordered, value)) / 2 for value in first)
    u = ranks - n * (n + 1) / 2
    deviation = math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(u - n * m / 2) / deviation / math.sqrt(2))
