"""Refreshes a second over HTTP, each durable before it is answered; the server has one core for all of it."""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from benchmarks.gates import PASSWORD, gate_of, installation
from benchmarks.load import Repeat, drive, message
from benchmarks.postgres import Backends, durable_server, where
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import on_the_other_cores, server_core, serving
from limen.authn.issuing import Issued
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


@dataclass(slots=True)
class Rounds:
    """What came of rounds of refreshes that alternate with the floor.

    Attributes:
        rates: refreshes a second.
        costs: the server's processor time for one, in microseconds.
        database: the database's, where it is a process of its own.
        floor: answers of the bare endpoint a second.
    """

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def on_sqlite(effort: Effort) -> Sequence[Row]:
    """Measure on SQLite, whose writer is a thread of the server."""
    core = server_core()
    with installation() as environment, on_the_other_cores():
        rounds = alternate(environment, core, effort)
    return _rows("refreshes", "SQLite", rounds, 4_000, "the server's CPU for one is in the next row", "")


def on_postgres(effort: Effort) -> Sequence[Row]:
    """Measure on PostgreSQL, which shares the other cores with the load."""
    core = server_core()
    with on_the_other_cores(), durable_server() as cluster:
        url = cluster.create()
        with installation(database_url=url) as environment:
            rounds = alternate(environment, core, effort, Backends(cluster, url))
        note = f"{where(cluster)}; it shares the other core with the load"
    spent = f"the database spends {statistics.median(rounds.database):.0f} µs on it, on the other core"
    return _rows("postgres", "PostgreSQL", rounds, 2_500, note, spent)


def alternate(environment: dict[str, str], core: int, effort: Effort, backends: Backends | None = None) -> Rounds:
    """Alternate refreshes with a bare Starlette endpoint that reads and answers JSON of that size."""
    rounds = Rounds()
    issued = asyncio.run(log_in(environment, effort.count(SESSIONS, 4)))
    sessions = [Rotating(each.refresh_token) for each in issued]
    echoes = [Repeat(message("POST", "/echo", body=b'{"text":"%s"}' % (b"x" * 900)))] * len(sessions)
    with (
        serving("starlette-limen", environment, core=core) as server,
        serving("starlette-bare", environment, core=core) as bare,
    ):
        drive(server.port, sessions, seconds=effort.seconds(1)).expect(200)
        for _ in range(effort.rounds(7)):
            rounds.floor.append(drive(bare.port, echoes, seconds=effort.seconds(1)).expect(200).rate)
            before = server.cpu_seconds()
            database_before = backends.cpu_seconds() if backends else 0.0
            load = drive(server.port, sessions, seconds=effort.seconds(2)).expect(200)
            rounds.rates.append(load.rate)
            rounds.costs.append((server.cpu_seconds() - before) / load.count * 1e6)
            if backends:
                rounds.database.append((backends.cpu_seconds() - database_before) / load.count * 1e6)
    return rounds


def _rows(bench: str, engine: str, rounds: Rounds, target: int, note: str, spent: str) -> Sequence[Row]:
    return [
        Row(
            bench,
            f"Refreshes on {engine}, durable, one core for the server",
            "refreshes/s",
            statistics.median(rounds.rates),
            statistics.median(rounds.floor),
            "bare JSON endpoint",
            median_ratio(rounds.rates, rounds.floor),
            Target("at least", target),
            len(rounds.rates),
            f"uvicorn, {SESSIONS} sessions; {note}",
        ),
        Row(
            bench,
            f"CPU of the server for one refresh on {engine}, all its threads",
            "µs",
            statistics.median(rounds.costs),
            target=Target("at most", 250),
            rounds=len(rounds.costs),
            note=spent,
        ),
    ]


async def log_in(environment: dict[str, str], count: int) -> list[Issued]:
    """Make an account and log it in so often."""
    gate = gate_of(environment)
    origin = Origin(address="127.0.0.1", user_agent="limen-bench", request_id="")
    async with gate.running():
        await gate.accounts.create("bench-maker", PASSWORD, roles=frozenset({"maker"}))
        # One after the other: at once they would be more than may wait to be hashed.
        return [await gate.login.login("bench-maker", PASSWORD, origin=origin) for _ in range(count)]
