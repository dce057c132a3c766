"""limen beside fastapi-users and NestJS: the same route on one core each, in turn, from the same load generator."""

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.applications import PATH
from benchmarks.gates import PASSWORD, TokenMaker, installation, settings_of
from benchmarks.in_process import median_difference
from benchmarks.load import Recite, Repeat, drive, message
from benchmarks.peers import installing
from benchmarks.peers.installing import NotThereError
from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.servers import Server, free_port, on_the_other_cores, running, server_core, serving
from limen import Settings

CONNECTIONS = 16
WARM_REQUESTS, WARM_SECONDS = 20_000, 15.0
EMAIL = "bench@example.com"
STARLETTE, FASTAPI = "Starlette on granian", "FastAPI on uvicorn"
FASTIFY, EXPRESS, FASTAPI_USERS = "NestJS-Fastify", "NestJS-Express", "fastapi-users on uvicorn"


@dataclass(slots=True)
class _Runner:
    """One server, and what its rounds brought: requests a second, µs of processor time a request, share of its core."""

    server: Server
    request: bytes
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def round(self, seconds: float) -> None:
        before = self.server.cpu_seconds()
        load = drive(self.server.port, [Repeat(self.request) for _ in range(CONNECTIONS)], seconds=seconds).expect(200)
        spent = self.server.cpu_seconds() - before
        self.rates.append(load.rate)
        self.costs.append(spent / load.count * 1e6)
        self.shares.append(spent / load.seconds)

    def warm_up(self, requests: int) -> None:
        series = repeat(self.request, requests)
        drive(self.server.port, [Recite(series) for _ in range(CONNECTIONS)], seconds=WARM_SECONDS).expect(200)


_Field = dict[tuple[str, str], _Runner]
"""Who runs, by name and guard: ``bare``, ``guarded`` (a NestJS with a KeyObject), ``documented`` (with a string)."""


def peers(effort: Effort) -> Sequence[Row]:
    """Measure all that are here; a peer that is not is told in its row, and nothing is held against it."""
    with installation() as environment, on_the_other_cores(), ExitStack() as stack:
        settings = settings_of(environment)
        request = message("GET", PATH, token=TokenMaker(settings).make())
        runners: _Field = {}
        for name, framework, kind in ((STARLETTE, "starlette", "granian"), (FASTAPI, "fastapi", "uvicorn")):
            for guard, application in (("bare", f"{framework}-bare"), ("guarded", f"{framework}-limen")):
                server = stack.enter_context(serving(application, environment, kind=kind, core=server_core()))
                runners[name, guard] = _Runner(server, request)
        lacking = _start_nestjs(runners, stack, settings, request, effort)
        lacking |= _start_fastapi_users(runners, stack, settings, effort)
        _race(runners, effort)
    return [
        _row(runners, STARLETTE, FASTIFY, lacking, Target("at least", 2.0, of="ratio")),
        _row(runners, STARLETTE, EXPRESS, lacking),
        _row(runners, FASTAPI, FASTAPI_USERS, lacking),
    ]


def _race(runners: _Field, effort: Effort) -> None:
    # V8 compiles what has run some ten thousand times: cold, a guarded NestJS takes several times as long.
    for runner in runners.values():
        runner.warm_up(effort.count(WARM_REQUESTS, CONNECTIONS))
    for number in range(effort.rounds(15)):
        for runner in runners.values() if number % 2 == 0 else reversed(runners.values()):
            runner.round(effort.seconds(0.4))


def _start_nestjs(
    runners: _Field, stack: ExitStack, settings: Settings, request: bytes, effort: Effort
) -> dict[str, str]:
    try:
        node, folder = installing.nestjs(installs=effort.installs)
    except NotThereError as error:
        return dict.fromkeys((FASTIFY, EXPRESS), str(error))
    environment = {
        "NODE_ENV": "production",
        "BENCH_SECRET": settings.jwt_access_secret.get_secret_value(),
        "BENCH_ISSUER": settings.issuer,
        "BENCH_AUDIENCE": settings.audience,
    }
    guards = {"bare": "bare", "guarded": "tuned", "documented": "documented"}
    for name, platform in ((FASTIFY, "fastify"), (EXPRESS, "express")):
        for guard, told in guards.items():
            port = free_port()
            chosen = {"BENCH_PLATFORM": platform, "BENCH_GUARD": told, "BENCH_PORT": str(port)}
            program = running(
                [node, "main.js"], {**environment, **chosen}, port=port, core=server_core(), folder=folder
            )
            runners[name, guard] = _Runner(stack.enter_context(program), request)
    return {}


def _start_fastapi_users(runners: _Field, stack: ExitStack, settings: Settings, effort: Effort) -> dict[str, str]:
    try:
        python = installing.fastapi_users(installs=effort.installs)
    except NotThereError as error:
        return {FASTAPI_USERS: str(error)}
    folder = Path(settings.database_url.removeprefix("sqlite:///")).parent
    environment = {
        "BENCH_SECRET": settings.jwt_access_secret.get_secret_value(),
        "BENCH_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'fastapi-users.db'}",
    }
    bare = stack.enter_context(_fastapi_users(python, {**environment, "BENCH_GUARD": "bare"}))
    guarded = stack.enter_context(_fastapi_users(python, {**environment, "BENCH_GUARD": "guarded"}))
    request = message("GET", PATH, token=_log_in(guarded.port))
    runners[FASTAPI_USERS, "bare"] = _Runner(bare, request)
    runners[FASTAPI_USERS, "guarded"] = _Runner(guarded, request)
    return {}


@contextmanager
def _fastapi_users(python: Path, environment: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    where = ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--log-level", "warning", "--no-access-log", "--no-proxy-headers"]
    application = ["benchmarks.peers.fastapi_users:from_environment", "--factory"]
    command = [str(python), "-m", "uvicorn", *application, *where, *quiet]
    with running(command, environment, port=port, core=server_core()) as server:
        yield server


def _log_in(port: int) -> str:
    """Register with fastapi-users and log in, as its documentation says; returns the access token."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    account = json.dumps({"email": EMAIL, "password": PASSWORD})
    connection.request("POST", "/auth/register", account, {"Content-Type": "application/json"})
    connection.getresponse().read()
    form = urlencode({"username": EMAIL, "password": PASSWORD})
    connection.request("POST", "/auth/jwt/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
    token: str = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return token


def _row(runners: _Field, ours: str, peer: str, lacking: dict[str, str], target: Target | None = None) -> Row:
    mine = runners[ours, "guarded"]
    what = f"{ours}, guarded, against {peer}"
    rate = statistics.median(mine.rates)
    told = [_told("limen", runners, ours, "guarded")]
    if peer in lacking:
        note = f"{peer} not measured: {lacking[peer]}; {told[0]}"
        return Row("peers", what, "requests/s", rate, rounds=len(mine.rates), note=note)
    theirs = runners[peer, "guarded"]
    tuned = (peer, "documented") in runners
    told.append(_told(f"{peer}, tuned" if tuned else peer, runners, peer, "guarded"))
    if tuned:
        told.append(_told("with a string for a secret", runners, peer, "documented"))
    return Row(
        "peers",
        what,
        "requests/s",
        rate,
        statistics.median(theirs.rates),
        f"{peer}, tuned" if tuned else peer,
        median_ratio(mine.rates, theirs.rates),
        target,
        len(mine.rates),
        "\n".join(told),
    )


def _told(label: str, runners: _Field, name: str, guard: str) -> str:
    bare, guarded = runners[name, "bare"], runners[name, guard]
    return (
        f"{label}: guarded/bare {median_ratio(guarded.rates, bare.rates):.2f}"
        f" ({statistics.median(guarded.rates):.0f} of {statistics.median(bare.rates):.0f} a second),"
        f" CPU over bare {median_difference(guarded.costs, bare.costs):.0f} µs"
        f" ({statistics.median(guarded.costs):.0f} against {statistics.median(bare.costs):.0f}),"
        f" {statistics.median(guarded.shares):.0%} of the core busy"
    )
