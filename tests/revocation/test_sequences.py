"""Whatever is granted, revoked or ends in whatever order: nobody may more than that allows (R150).

After each step everything that is alive is used in two processes and held against the model. What is read with the
request or the refresh fits at once; what is remembered, as soon as the other process has looked, once a second. The
clock stands still, so no end comes in between.
"""

import os
import random
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limen import Limen, Principal
from limen.authn.issuing import Issued
from limen.authn.strategy import Authenticated, PresentedCredential
from limen.core.errors import Conflict
from limen.core.events import NOWHERE
from limen.core.ids import uuid7
from limen.features.roles.service import OPERATOR
from limen.testing import TurnableClock
from tests.authz.model_of_grants import World, may, may_be_granted
from tests.support.gates import PASSWORD, settings_for

SEQUENCES: Final = int(os.environ.get("LIMEN_TEST_GRANT_SEQUENCES", "4"))
STEPS: Final = 10
ROLES: Final[dict[str, list[str]]] = {
    "maker": ["order:create"],
    "checker": ["order:approve"],
    "reader": ["order:read"],
}
PERMISSIONS: Final = ["order:approve", "order:read", "order:refund"]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["token", "database"])
@settings(
    max_examples=SEQUENCES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**64 - 1))
# A role for good, then the same one for a minute: the token of before stated it for as long as it lived.
@example(seed=30)
async def test_nothing_allows_more_than_is_held(tmp_path: Path, seed: int, where: str) -> None:
    """Refresh, ``@live``, and every token that was ever issued, here and there, after each of ten steps."""
    chance = random.Random(seed)
    folder = tmp_path / uuid7()
    folder.mkdir()
    clock = TurnableClock()
    chosen = settings_for(folder, permissions=where)
    here, there = (Limen(chosen, roles=ROLES, separation_of_duty=[["maker", "checker"]], clock=clock) for _ in range(2))
    async with here.running(), there.running():
        account = await here.accounts.create("ann", PASSWORD, roles=frozenset({"reader"}), actor="cli")
        world = World({name: (set(given), set()) for name, given in ROLES.items()}, [("checker", "maker")])
        world.held["reader"] = None
        issued = await here.login.login("ann", PASSWORD, origin=NOWHERE)
        tokens: list[Issued] = [issued]
        for _ in range(STEPS):
            await _step(chance, here, world, account.id, clock)
            issued = await chance.choice([here, there]).sessions.refresh(issued.refresh_token, origin=NOWHERE)
            tokens.append(issued)
            await there._role_watch.catch_up()
            roles, permissions = may(world, await _now(here))
            for gate in (here, there):
                principal = await _principal(gate, issued)
                assert principal is not None
                live = await gate.live(principal)
                for who in (principal, live):
                    assert (set(who.roles), set(who.permissions)) == (roles, permissions)
                for old in tokens:
                    known = await _principal(gate, old)
                    assert known is None or known.permissions <= permissions


async def _step(chance: random.Random, gate: Limen, world: World, account_id: str, clock: TurnableClock) -> None:
    """Grant, for good or for a time, revoke, or let time go by; in the database and in the model."""
    lifetime = chance.choice([None, 60, 300])
    kind = chance.choice(["role", "permission", "no role", "no permission", "time"])
    if kind == "time":
        clock.turn(chance.choice([30, 61, 301]))
    elif kind == "role":
        role = chance.choice(sorted(ROLES))
        now = await _now(gate)
        if may_be_granted(world, role, now):
            await gate.roles.grant(OPERATOR, account_id, [role], lifetime=lifetime)
            world.held[role] = (await gate.permissions.of_account(account_id)).roles[role]
        else:
            with pytest.raises(Conflict):
                await gate.roles.grant(OPERATOR, account_id, [role], lifetime=lifetime)
    elif kind == "permission":
        name = chance.choice(PERMISSIONS)
        grants = await gate.permissions.grant(OPERATOR, account_id, [name], lifetime=lifetime)
        world.direct[name] = grants.permissions[name]
    elif kind == "no role":
        role = chance.choice(sorted(ROLES))
        await gate.roles.revoke(OPERATOR, account_id, [role])
        world.held.pop(role, None)
    else:
        name = chance.choice(PERMISSIONS)
        await gate.permissions.revoke(OPERATOR, account_id, [name])
        world.direct.pop(name, None)


async def _now(gate: Limen) -> int:
    """Return the database's clock in whole seconds, as ends are."""
    return (await gate.storage.roles.read()).now // 1000


async def _principal(gate: Limen, issued: Issued) -> Principal | None:
    """Return whom a request with this token is attributed to; None where it is refused."""
    outcome = await gate.chain.authenticate(PresentedCredential("bearer", issued.access_token.encode()))
    return outcome.principal if isinstance(outcome, Authenticated) else None
