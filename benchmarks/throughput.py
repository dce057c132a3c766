"""Guarded against bare throughput of real servers: one worker on a core of its own, 16 connections from another."""

import statistics
from collections.abc import Sequence

from benchmarks.applications import PATH
from benchmarks.gates import TokenMaker, installation, settings_of
from benchmarks.load import Repeat, drive, message
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import Server, on_the_other_cores, server_core, serving

CONNECTIONS = 16
TARGETS = {"fastapi": 0.9, "starlette": 0.8}
NAMES = {"fastapi": "FastAPI", "starlette": "Starlette"}


def throughput(effort: Effort) -> Sequence[Row]:
    """Measure both frameworks on both servers; the token was seen before, as in every request of a session but one."""
    rows: list[Row] = []
    with installation() as environment, on_the_other_cores():
        token = TokenMaker(settings_of(environment)).make()
        for kind in ("uvicorn", "granian"):
            for framework in ("fastapi", "starlette"):
                rows += _measure(kind, framework, environment, token, effort)
    return rows


def _measure(kind: str, framework: str, environment: dict[str, str], token: str, effort: Effort) -> list[Row]:
    core = server_core()
    with (
        serving(f"{framework}-bare", environment, kind=kind, core=core) as bare,
        serving(f"{framework}-limen", environment, kind=kind, core=core) as guarded,
        serving(f"{framework}-pyjwt", environment, kind=kind, core=core) as by_hand,
    ):
        servers = {"bare": bare, "limen": guarded, "pyjwt": by_hand}
        rates: dict[str, list[float]] = {name: [] for name in servers}
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for server in servers.values():
            _round(server, token, effort.seconds(0.5))
        for number in range(effort.rounds(15)):
            for name in servers if number % 2 == 0 else reversed(servers):
                rate, cost = _round(servers[name], token, effort.seconds(0.5))
                rates[name].append(rate)
                costs[name].append(cost)
    median_cost = {name: statistics.median(values) for name, values in costs.items()}
    ratio = median_ratio(rates["limen"], rates["bare"])
    return [
        Row(
            "throughput",
            f"{NAMES[framework]} on {kind}: guarded against bare",
            "requests/s",
            statistics.median(rates["limen"]),
            statistics.median(rates["bare"]),
            "bare",
            ratio,
            Target("at least", TARGETS[framework], of="ratio"),
            len(rates["bare"]),
            f"PyJWT by hand {median_ratio(rates['pyjwt'], rates['bare']):.2f}; CPU of the server a request:"
            f" bare {median_cost['bare']:.0f}, limen {median_cost['limen']:.0f}, by hand {median_cost['pyjwt']:.0f} µs",
        )
    ]


def _round(server: Server, token: str, seconds: float) -> tuple[float, float]:
    """Return the requests a second, and the processor time of the server for one, in microseconds."""
    speakers = [Repeat(message("GET", PATH, token=token)) for _ in range(CONNECTIONS)]
    before = server.cpu_seconds()
    load = drive(server.port, speakers, seconds=seconds).expect(200)
    return load.rate, (server.cpu_seconds() - before) / load.count * 1e6
