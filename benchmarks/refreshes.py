"""Refreshes a second over HTTP on SQLite, each durable before it is answered; the server has one core for all of it."""

import asyncio
import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.gates import PASSWORD, gate_of, installation
from benchmarks.load import Repeat, drive, message
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import Server, on_the_other_cores, server_core, serving
from limen.core.events import Origin

SESSIONS = 40


class Rotating:
    """One session: refreshes with the token that the last refresh brought."""

    def __init__(self, token: str) -> None:
        self._token = token

    def request(self) -> bytes:
        """Return the next refresh."""
        return message("POST", "/auth/refresh", body=b'{"refresh_token":"%s"}' % self._token.encode())

    def answer(self, status: int, body: bytes) -> None:
        """Take the successor."""
        if status == 200:
            self._token = msgspec.json.decode(body)["refresh_token"]


def refreshes(effort: Effort) -> Sequence[Row]:
    """Alternate refreshes with a bare Starlette endpoint that reads and answers JSON of that size."""
    core = server_core()
    rates: list[float] = []
    costs: list[float] = []
    floor: list[float] = []
    with installation() as environment, on_the_other_cores():
        sessions = [Rotating(token) for token in asyncio.run(_log_in(environment, effort.count(SESSIONS, 4)))]
        echoes = [Repeat(message("POST", "/echo", body=b'{"text":"%s"}' % (b"x" * 900)))] * len(sessions)
        with (
            serving("starlette-limen", environment, core=core) as server,
            serving("starlette-bare", environment, core=core) as bare,
        ):
            drive(server.port, sessions, seconds=effort.seconds(1)).expect(200)
            for _ in range(effort.rounds(7)):
                floor.append(drive(bare.port, echoes, seconds=effort.seconds(1)).expect(200).rate)
                rate, cost = _round(server, sessions, effort.seconds(2))
                rates.append(rate)
                costs.append(cost)
    return [
        Row(
            "refreshes",
            f"Refreshes on SQLite, durable, {len(sessions)} sessions, one core",
            "refreshes/s",
            statistics.median(rates),
            statistics.median(floor),
            "bare JSON endpoint",
            median_ratio(rates, floor),
            Target("at least", 4_000),
            len(rates),
            "uvicorn; the server's CPU for one is in the next row",
        ),
        Row(
            "refreshes",
            "CPU of the server for one refresh, writer thread included",
            "µs",
            statistics.median(costs),
            target=Target("at most", 250),
            rounds=len(costs),
        ),
    ]


def _round(server: Server, sessions: list[Rotating], seconds: float) -> tuple[float, float]:
    before = server.cpu_seconds()
    load = drive(server.port, sessions, seconds=seconds).expect(200)
    return load.rate, (server.cpu_seconds() - before) / load.count * 1e6


async def _log_in(environment: dict[str, str], count: int) -> list[str]:
    gate = gate_of(environment)
    origin = Origin(address="127.0.0.1", user_agent="limen-bench", request_id="")
    async with gate.running():
        await gate.accounts.create("bench-maker", PASSWORD, roles=frozenset({"maker"}))
        # One after the other: at once they would be more than may wait to be hashed.
        return [(await gate.login.login("bench-maker", PASSWORD, origin=origin)).refresh_token for _ in range(count)]
