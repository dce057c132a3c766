"""What a request costs with many accounts, against what it costs with a thousand, on PostgreSQL.

The cost is processor time, of the server and of the database's own processes for it: what grows with the tables (depth
of indexes, plans, rows read) shows there, and what else the machine does does not. Of a login only the database's part
is counted: the hash is a thousand times as much and the same with any number of accounts.
"""

import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.gates import gate_of, installation
from benchmarks.load import Load, Speaker, drive, message
from benchmarks.logins import login_message
from benchmarks.postgres import Backends, durable_server, where
from benchmarks.refreshes import Rotating
from benchmarks.rows import Effort, Row, Target, median_ratio, percentile
from benchmarks.servers import ROOT, Server, on_the_other_cores, server_core, serving
from limen.authn.issuing import Grant, Issued, Proof
from limen.core.events import Origin
from limen.storage.sql.seeding import Pattern, seeding
from tests.support.postgres import Cluster, rows

SIZES = (1_000, 100_000, 1_000_000)
SESSIONS_EACH = 2
SESSIONS = 400
"""How many of them are used: real ones, opened by the door, on accounts all over the table."""
NEIGHBOURS = 15
"""How many sessions lie between two of those: in a large table, those that refresh at once seldom share a page."""
CONNECTIONS = 20
ALLOWED = 1.2


@dataclass(slots=True)
class Sized:
    """An installation with so many accounts, and its server.

    Attributes:
        accounts: how many.
        seconds: how long it took to make them, and their sessions.
        speakers: for each kind of request, what its connections say.
        costs: for each kind, the microseconds that one request took, of each round.
        latencies: for each kind, the seconds from request to answer.
    """

    accounts: int
    seconds: float
    url: str
    server: Server
    backends: Backends
    speakers: dict[str, list[Speaker]]
    costs: dict[str, list[float]] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, kind: str, seconds: float) -> None:
        """Let the connections of one kind speak for a while, and note what it cost."""
        database, served = self.backends.cpu_seconds(), self.server.cpu_seconds()
        load: Load = drive(self.server.port, self.speakers[kind], seconds=seconds).expect(200)
        spent = self.backends.cpu_seconds() - database
        if kind != "login":
            spent += self.server.cpu_seconds() - served
        self.costs.setdefault(kind, []).append(spent / load.count * 1e6)
        self.latencies.setdefault(kind, []).extend(load.latencies)


class InTurn:
    """Says what several others say, one after the other."""

    def __init__(self, others: Sequence[Speaker]) -> None:
        self._others = itertools.cycle(others)
        self._now: Speaker | None = None

    def request(self) -> bytes | None:
        """Return what the next one says."""
        self._now = next(self._others)
        return self._now.request()

    def answer(self, status: int, body: bytes) -> None:
        """Hand it to the one who asked."""
        if self._now is not None:
            self._now.answer(status, body)


class Endless:
    """Says what it is given, again and again; another one begins elsewhere in it."""

    def __init__(self, texts: Sequence[bytes], begin: int) -> None:
        self._texts = itertools.cycle([*texts[begin:], *texts[:begin]])

    def request(self) -> bytes:
        """Return the next."""
        return next(self._texts)

    def answer(self, status: int, body: bytes) -> None:
        """Nothing is done with it."""


KINDS = {
    "login": "A login, the database's part",
    "refresh": "A refresh",
    "me": "GET /auth/me",
    "live": "A @live route",
}


def scale(effort: Effort) -> Sequence[Row]:
    """Seed databases of each size, serve each, and alternate between them, kind by kind."""
    sizes = (30, 60) if effort.quick else SIZES
    core = server_core()
    with on_the_other_cores(), durable_server() as cluster:
        told = where(cluster)
        with ExitStack() as stack:
            sized = [stack.enter_context(_sized(cluster, size, core, effort)) for size in sizes]
            for kind in KINDS:
                _alternate(kind, sized, effort)
        # The servers have ended: what their connections counted is told by now.
        hot = [_hot_row(each) for each in sized[1:]]
    base, *larger = sized
    found = [_cost_row(kind, each, base) for each in larger for kind in KINDS]
    return [*(_seeding_row(each, told) for each in larger), *found, *hot]


def _alternate(kind: str, sized: Sequence[Sized], effort: Effort) -> None:
    for each in sized:
        # The first round opens connections, prepares statements, and reads pages that nobody has read.
        each.measure(kind, effort.seconds(1))
        each.costs[kind].clear()
        each.latencies[kind].clear()
    for _ in range(effort.rounds(5)):
        for each in sized:
            each.measure(kind, effort.seconds(2.5 if kind == "login" else 1.2))


@contextmanager
def _sized(cluster: Cluster, accounts: int, core: int, effort: Effort) -> Iterator[Sized]:
    url = cluster.create()
    with installation(database_url=url) as environment:
        seeded = _seed(environment, accounts)
        names = _names(seeded, accounts, 2_000)
        issued = asyncio.run(_open_sessions(environment, names[: effort.count(SESSIONS, 4)]))
        with serving("starlette-routes", environment, core=core) as server:
            yield Sized(
                accounts,
                float(str(seeded["seconds"])),
                url,
                server,
                Backends(cluster, url),
                _speakers(issued, names, seeded),
            )


def _seed(environment: dict[str, str], accounts: int) -> dict[str, object]:
    async def declare_roles() -> None:
        async with gate_of(environment).running():
            pass

    asyncio.run(declare_roles())
    command = [sys.executable, "-m", "limen.cli", "db", "seed", "--role", "maker", "--yes", "--json"]
    command += ["--accounts", str(accounts), "--sessions", str(SESSIONS_EACH * accounts)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told: dict[str, object] = json.loads(done.stdout)
    return told


def _names(seeded: dict[str, object], accounts: int, count: int) -> list[str]:
    """Return names all over the table, each account equally likely."""
    prefix, _, last = str(seeded["last"]).rpartition("-")
    chosen = random.Random(accounts).choices(range(accounts), k=count)
    return [f"{prefix}-{number:0{len(last)}}" for number in chosen]


async def _open_sessions(environment: dict[str, str], names: Sequence[str]) -> list[Issued]:
    """Open a session for each name by the door, and lay others between them."""
    gate = gate_of(environment)
    origin = Origin(address="127.0.0.1", user_agent="limen-bench", request_id="")
    filling = Pattern("none", (), gate.settings.audience, 86_400_000, 86_400_000)
    found = []
    async with gate.running(), seeding(gate.settings.database_url) as rest:
        for number, name in enumerate(names):
            account = await gate.accounts.by_username(name)
            proof = Proof(Grant.PASSWORD, account.id, account.session_epoch, ("pwd",), gate.settings.audience, origin)
            issued = await gate.door.open_session(proof)
            if issued is None:
                raise RuntimeError("no session was opened")
            found.append(issued)
            await rest.add([f"between-{number}"], NEIGHBOURS, filling)
        await rest.finish()
    return found


def _speakers(issued: Sequence[Issued], names: Sequence[str], seeded: dict[str, object]) -> dict[str, list[Speaker]]:
    connections = min(CONNECTIONS, len(issued))
    rotating: list[Speaker] = [Rotating(each.refresh_token) for each in issued]
    logins = [login_message(name, str(seeded["password"])) for name in names]

    def endless(texts: Sequence[bytes], count: int = connections) -> list[Speaker]:
        return [Endless(texts, len(texts) * number // count) for number in range(count)]

    return {
        "login": endless(logins, 4),
        "refresh": [InTurn(rotating[number::connections]) for number in range(connections)],
        "me": endless([message("GET", "/auth/me", token=each.access_token) for each in issued]),
        "live": endless([message("GET", "/live", token=each.access_token) for each in issued]),
    }


def _seeding_row(each: Sized, told: str) -> Row:
    rate = each.accounts / max(each.seconds, 0.001)
    return Row(
        "scale",
        f"limen db seed: {_counted(each.accounts)} accounts with {_counted(SESSIONS_EACH * each.accounts)} sessions",
        "s",
        each.seconds,
        target=Target("at most", 300),
        note=f"{_counted(round(rate))} accounts a second; {told}",
    )


def _cost_row(kind: str, each: Sized, base: Sized) -> Row:
    p50 = [percentile(size.latencies[kind], 0.5) * 1000 for size in (each, base)]
    return Row(
        "scale",
        f"{KINDS[kind]} with {_counted(each.accounts)} accounts",
        "µs CPU",
        statistics.median(each.costs[kind]),
        statistics.median(base.costs[kind]),
        f"{_counted(base.accounts)} accounts",
        median_ratio(each.costs[kind], base.costs[kind]),
        Target("at most", ALLOWED, of="ratio"),
        len(each.costs[kind]),
        f"p50 with {len(each.speakers[kind])} at once: {p50[0]:.1f} ms against {p50[1]:.1f}",
    )


def _hot_row(each: Sized) -> Row:
    asked = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'limen_sessions'"
    updates, hot = rows(each.url, asked)[0]
    return Row(
        "scale",
        f"Refreshes that touched no index (HOT), of all, with {_counted(each.accounts)} accounts",
        "%",
        100 * hot / max(1, updates),
        target=Target("at least", 99),
        note=f"{hot} of {updates}; who is held up in a statement keeps old versions alive, and a page may fill",
    )


def _counted(number: int) -> str:
    return f"{number:,}".replace(",", " ")
