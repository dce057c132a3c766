"""What a guarded request costs over a bare one: in process, where no server's noise hides it, and under uvicorn."""

import asyncio
import itertools
import statistics
from collections.abc import Iterator, Sequence

from benchmarks import applications as apps
from benchmarks.gates import TokenMaker, gate_of, installation, settings_of
from benchmarks.in_process import Application, alternate, median_difference, started
from benchmarks.load import Recite, drive, message
from benchmarks.rows import Effort, Row, Target
from benchmarks.servers import Server, on_the_other_cores, server_core, serving

FIRST_SEEN_ROUNDS = 9


def in_process(effort: Effort) -> Sequence[Row]:
    """Measure in process: tokens seen before, and tokens never seen."""
    return asyncio.run(_in_process(effort))


async def _in_process(effort: Effort) -> Sequence[Row]:
    with installation() as environment:
        settings = settings_of(environment)
        secret = settings.jwt_access_secret.get_secret_value()
        maker = TokenMaker(settings)
        table: dict[str, dict[str, Application]] = {
            "FastAPI, direct": {
                "bare": apps.fastapi_bare(),
                "limen": apps.fastapi_limen(gate_of(environment)),
                "pyjwt": apps.fastapi_pyjwt(secret),
            },
            "FastAPI, included router": {
                "bare": apps.fastapi_included_bare(),
                "limen": apps.fastapi_included_limen(gate_of(environment)),
            },
            "Starlette": {
                "bare": apps.starlette_bare(),
                "limen": apps.starlette_limen(gate_of(environment)),
                "pyjwt": apps.starlette_pyjwt(secret),
            },
        }
        rows: list[Row] = []
        for name, family in table.items():
            async with started(family):
                rows += await _family(name, family, maker, effort)
        return rows


SEEN_TARGETS = {"FastAPI, direct": 10.0, "FastAPI, included router": 15.0, "Starlette": 6.0}


async def _family(name: str, family: dict[str, Application], maker: TokenMaker, effort: Effort) -> list[Row]:
    rounds, requests = effort.rounds(21), effort.count(1_000, 20)
    seen = itertools.repeat(maker.make())
    await alternate(family, path=apps.PATH, tokens=seen, rounds=1, requests=effort.count(500, 5))
    figures = await alternate(family, path=apps.PATH, tokens=seen, rounds=rounds, requests=requests)
    rows = [
        _row("guarded", f"{name}: CPU over bare, token seen before", figures, Target("at most", SEEN_TARGETS[name]))
    ]
    if name == "FastAPI, included router":
        return rows
    fresh = _fresh(maker)
    rounds, requests = effort.rounds(FIRST_SEEN_ROUNDS), effort.count(500, 20)
    figures = await alternate(family, path=apps.PATH, tokens=fresh, rounds=rounds, requests=requests)
    rows.append(_row("guarded", f"{name}: CPU over bare, new HS256 token", figures, Target("at most", 20)))
    return rows


def _fresh(maker: TokenMaker) -> Iterator[str]:
    while True:
        yield maker.make()


def _row(bench: str, what: str, figures: dict[str, list[float]], target: Target) -> Row:
    bare, ours = figures["bare"], figures["limen"]
    peer = median_difference(figures["pyjwt"], bare) if "pyjwt" in figures else None
    cost = median_difference(ours, bare)
    return Row(
        bench,
        what,
        "µs",
        cost,
        peer,
        "PyJWT by hand" if peer is not None else "",
        cost / peer if peer else None,
        target,
        len(bare),
        f"bare {statistics.median(bare):.1f}, guarded {statistics.median(ours):.1f}",
    )


def under_uvicorn(effort: Effort) -> Sequence[Row]:
    """Measure the processor time of uvicorn for requests that each bring a token never seen before."""
    rounds, requests = effort.rounds(9), effort.count(2_000, 40)
    core = server_core()
    with installation() as environment, on_the_other_cores():
        maker = TokenMaker(settings_of(environment))
        with (
            serving("fastapi-bare", environment, core=core) as bare,
            serving("fastapi-limen", environment, core=core) as guarded,
            serving("fastapi-pyjwt", environment, core=core) as pyjwt,
        ):
            servers = {"bare": bare, "limen": guarded, "pyjwt": pyjwt}
            figures: dict[str, list[float]] = {name: [] for name in servers}
            for server in servers.values():
                _cpu_per_request(server, maker, effort.count(300, 16))
            for number in range(rounds):
                for name in servers if number % 2 == 0 else reversed(servers):
                    figures[name].append(_cpu_per_request(servers[name], maker, requests))
    what = "FastAPI under uvicorn: CPU over bare, new HS256 token"
    return [_row("first-seen", what, figures, Target("at most", 45))]


def _cpu_per_request(server: Server, maker: TokenMaker, requests: int) -> float:
    texts = [message("GET", apps.PATH, token=token) for token in maker.make_many(requests)]
    series = iter(texts)
    before = server.cpu_seconds()
    drive(server.port, [Recite(series) for _ in range(16)]).expect(200)
    return (server.cpu_seconds() - before) / requests * 1e6
