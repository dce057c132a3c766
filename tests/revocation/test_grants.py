"""The table of revocation, for what is granted to single accounts, and for what ends by itself.

What is removed is acknowledged when the transaction has committed: from then on no refresh, no live check and no
request by a cookie has it, in any process. An access token and an API key that state it are refused, or lack it, within
two seconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential
from limen.core.errors import TokenExpired, TokenStale
from limen.core.events import NOWHERE
from limen.features.roles.service import OPERATOR
from limen.testing import TurnableClock
from tests.revocation.conftest import Two
from tests.revocation.engines import ENGINES, empty_database
from tests.revocation.presenting import WAYS, application
from tests.revocation.test_table import PATIENCE, dies, log_in, make, principal_of, refused_with
from tests.support.gates import ROLES, settings_for

APPROVE = "order:refund"
"""A permission that no role gives."""
LIFETIME = 400
MARGIN = 60
"""Seconds: the clock of PostgreSQL goes on while a statement waits."""

Grant = Callable[[Limen, str, int | None], Awaitable[object]]

GRANTS: dict[str, Grant] = {
    "permission": lambda gate, sub, life: gate.permissions.grant(OPERATOR, sub, [APPROVE], lifetime=life),
    "role": lambda gate, sub, life: gate.roles.grant(OPERATOR, sub, ["refunder"], lifetime=life),
}
REVOKING: dict[str, Callable[[Limen, str], Awaitable[object]]] = {
    "permission": lambda gate, sub: gate.permissions.revoke(OPERATOR, sub, [APPROVE]),
    "role": lambda gate, sub: gate.roles.revoke(OPERATOR, sub, ["refunder"]),
}


@pytest.fixture
def clock() -> TurnableClock:
    """The clock of both processes and of their database."""
    return TurnableClock()


@pytest.fixture(params=[*ENGINES, "sqlite, asked"])
async def two(request: pytest.FixtureRequest, tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Two]:
    """Two processes, on each engine, with a role that gives the permission too; and where requests ask the database."""
    request.param, _, asked = request.param.partition(", ")
    with empty_database(request, tmp_path) as stores:
        settings = settings_for(tmp_path, permissions="database" if asked else "token", **stores)
        roles = {**ROLES, "refunder": [APPROVE]}
        here, there = (Limen(settings, roles=roles, clock=clock) for _ in range(2))
        async with here.running(), there.running():
            yield Two(here, there)


@pytest.mark.parametrize("what", GRANTS)
async def test_what_was_removed_is_allowed_nowhere(two: Two, what: str) -> None:
    """No refresh and no ``@live`` has it once the removal was acknowledged; the token that states it is refused."""
    ann = await make(two.here)
    await GRANTS[what](two.here, ann.id, None)
    issued = await log_in(two.there)
    principal = await _now(two.there, issued.access_token)
    assert APPROVE in principal
    await REVOKING[what](two.here, ann.id)
    current = await two.there.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    assert APPROVE not in await _now(two.there, current.access_token)
    assert APPROVE not in (await two.there.live(await principal_of(two.here, current))).permissions
    end = time.monotonic() + PATIENCE
    while APPROVE in await _now(two.there, issued.access_token):
        assert time.monotonic() < end, "the grant lives on"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("what", GRANTS)
async def test_what_ended_is_allowed_nowhere(two: Two, what: str, clock: TurnableClock) -> None:
    """The token that states it ends with it; the next one, and ``@live``, do without, and are taken everywhere."""
    ann = await make(two.here)
    await GRANTS[what](two.here, ann.id, LIFETIME)
    issued = await log_in(two.there)
    assert APPROVE in await _now(two.there, issued.access_token)
    assert abs(issued.expires_in - LIFETIME) < MARGIN
    clock.turn(LIFETIME + MARGIN)
    assert isinstance(await refused_with(two.there, issued), TokenExpired)
    for gate in (two.here, two.there):
        current = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
        for verifying in (two.here, two.there):
            assert APPROVE not in await _now(verifying, current.access_token)
        principal = await principal_of(gate, current)
        assert principal.roles == {"maker", "checker"}
        assert APPROVE not in (await gate.live(principal)).permissions
        issued = current


async def test_what_was_granted_is_felt_everywhere(two: Two) -> None:
    """A token of before is refused, and a refresh has what is held now."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    await two.here.permissions.grant(OPERATOR, ann.id, [APPROVE])
    assert isinstance(await refused_with(two.here, issued), TokenStale)
    await dies(two.there, issued, TokenStale)
    current = await two.there.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    for gate in (two.here, two.there):
        assert APPROVE in await _now(gate, current.access_token)


@pytest.mark.parametrize("way", ["cookie session", "API key"])
async def test_other_ways_have_what_is_held_now(two: Two, way: str, clock: TurnableClock) -> None:
    """A cookie at once, a key within the second for which it is believed; neither past the grant's end."""
    ann = await make(two.here)
    await two.here.permissions.grant(OPERATOR, ann.id, [APPROVE], lifetime=LIFETIME)
    async with LifespanManager(application(two.there)) as running:
        headers = await WAYS[way].open(two.there, running.app, ann)
        assert APPROVE in await _permissions(way, running.app, headers)
        clock.turn(LIFETIME + MARGIN)
        end = time.monotonic() + PATIENCE
        while APPROVE in await _permissions(way, running.app, headers):
            assert way == "API key", "a cookie has it no more at once"
            assert time.monotonic() < end, "the grant lives on"
            await asyncio.sleep(0.05)


async def _permissions(way: str, app: ASGIApp, headers: dict[str, str]) -> list[str]:
    answer = await WAYS[way].ask(app, headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["permissions"])


async def _now(gate: Limen, token: str) -> frozenset[str]:
    """Return what a request with this token may in a process, which is nothing where it is refused."""
    outcome = await gate.chain.authenticate(PresentedCredential("bearer", token.encode()))
    return outcome.principal.permissions if isinstance(outcome, Authenticated) else frozenset()
