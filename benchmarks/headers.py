"""What the security headers of an answer cost: whole, as middleware of their own, and in a guarded request."""

import asyncio
import itertools
import statistics
from collections.abc import Sequence

from benchmarks import applications as apps
from benchmarks.gates import TokenMaker, gate_of, installation, settings_of
from benchmarks.in_process import Application, alternate, median_difference, started
from benchmarks.rows import Effort, Row, Target
from limen.web.front import Front
from limen.web.headers import AnswerHeaders, SecurityHeaders

MOST_MICROSECONDS = 5.0


class _NoHeaders(AnswerHeaders):
    """The floor of the guarded request: the same steps, and nothing to add."""

    def __init__(self) -> None:
        super().__init__()
        self.sets = ((), ()), ((), ())


def headers(effort: Effort) -> Sequence[Row]:
    """Measure in process: Starlette, one small JSON."""
    return asyncio.run(_headers(effort))


async def _headers(effort: Effort) -> list[Row]:
    with installation() as environment:
        settings = settings_of(environment)
        without = gate_of(environment)
        vars(without)["front"] = Front(headers=_NoHeaders())
        bare = apps.starlette_bare()
        table: dict[str, Application] = {
            "bare": bare,
            "middleware": SecurityHeaders(bare),
            "guarded, without": apps.starlette_limen(without),
            "guarded": apps.starlette_limen(gate_of(environment)),
        }
        tokens = itertools.repeat(TokenMaker(settings).make())
        lifespans = {name: app for name, app in table.items() if name != "middleware"}
        async with started(lifespans):
            await alternate(table, path=apps.PATH, tokens=tokens, rounds=1, requests=effort.count(500, 5))
            figures = await alternate(
                table, path=apps.PATH, tokens=tokens, rounds=effort.rounds(31), requests=effort.count(1_000, 20)
            )
        return [
            _row("an answer, middleware and all: CPU over bare", figures["middleware"], figures["bare"]),
            _row(
                "a guarded answer: CPU over the same without headers", figures["guarded"], figures["guarded, without"]
            ),
        ]


def _row(what: str, ours: list[float], floor: list[float]) -> Row:
    return Row(
        "headers",
        what,
        "µs",
        median_difference(ours, floor),
        target=Target("at most", MOST_MICROSECONDS),
        rounds=len(ours),
        note=f"without {statistics.median(floor):.1f}, with {statistics.median(ours):.1f}",
    )
