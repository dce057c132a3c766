"""Many guesses: of one password at thousands of names, and at one name by way of two processes."""

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.starlette import public, rate_limit
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for, settings_for
from tests.throttling.test_logins import WRONG, outcome


async def test_one_password_at_five_thousand_names(tmp_path: Path, clock: TurnableClock, hashed: list[str]) -> None:
    """From all addresses of one /64: three hundred reach the hasher, and a neighbour is not kept out."""
    async with gate_for(tmp_path, clock=clock, throttle="memory").running() as gate:
        await gate.accounts.create("ann", PASSWORD)
        answers = [await outcome(gate, f"name-{at}", WRONG, f"2001:db8:1:2::{at:x}") for at in range(5_000)]
        assert len(hashed) == answers.count("invalid_credentials") == 300
        assert answers.count("rate_limited") == 4_700
        assert await outcome(gate, "ann", PASSWORD, "2001:db8:1:3::1") == "in"


async def test_guesses_by_way_of_two_processes_are_one_count(tmp_path: Path, hashed: list[str]) -> None:
    """Two hundred at once, half by each: ten reach a hasher."""
    settings = settings_for(tmp_path)
    async with Limen(settings).running() as one, Limen(settings).running() as other:
        await one.accounts.create("ann", PASSWORD)
        gates: list[Limen] = [one, other]
        answers = await asyncio.gather(*(outcome(gates[at % 2], "ann", WRONG, f"198.51.{at}.1") for at in range(200)))
    assert len(hashed) == answers.count("invalid_credentials") == 10
    assert answers.count("rate_limited") == 190


@pytest.mark.parametrize(("where", "codes"), [("shared", [200, 200, 200, 429]), ("memory", [200, 200, 200, 200])])
def test_routes_of_two_processes_count_together_where_counts_are_shared(
    tmp_path: Path, where: str, codes: list[int]
) -> None:
    """In the memory of each there are as many times the limit as there are processes."""

    @public
    @rate_limit("3/minute")
    async def handler(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    apps = [Starlette(routes=[Route("/", handler)]) for _ in range(2)]
    settings = settings_for(tmp_path, throttle=where)
    for app in apps:
        Limen(settings).protect(app)
    with TestClient(apps[0]) as one, TestClient(apps[1]) as other:
        assert [each.get("/").status_code for each in (one, other, one, other)] == codes
