"""limen against a model of 50 lines: hierarchy, separation of duty, permissions of accounts, and ends (R153)."""

import asyncio
import os
import random
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limen import Limen
from limen.authz.roles import Role, RoleCatalogue
from limen.core.errors import Conflict
from limen.core.held import given as granted
from limen.core.held import held_at, lasting, read
from limen.core.ids import uuid7
from limen.features.roles.service import OPERATOR
from tests.authz.model_of_grants import World, above, may, may_be_granted, violated
from tests.support.gates import settings_for

CASES: Final = int(os.environ.get("LIMEN_TEST_GRANT_CASES", "2000"))
"""How many worlds; 100 000 in the pipeline's long stage."""
NAMES: Final = [f"role-{number}" for number in range(6)]
PERMISSIONS: Final = [f"order:do-{number}" for number in range(5)]
NOW: Final = 50_000
ENDS: Final = (None, 1_000, NOW - 1_000, NOW, NOW + 1_000, NOW + 2_000)


def world_of(seed: int) -> World:
    """Make roles, each of which extends some that come before it, pairs, and what an account holds."""
    chance = random.Random(seed)
    roles: dict[str, tuple[set[str], set[str]]] = {}
    for name in NAMES[: chance.randint(1, len(NAMES))]:
        extends = set(chance.sample(sorted(roles), chance.randint(0, min(2, len(roles)))))
        roles[name] = (set(chance.sample(PERMISSIONS, chance.randint(0, 2))), extends)
    apart = {(one, other) for one, other in (sorted(chance.sample(NAMES, 2)) for _ in range(chance.randint(0, 3)))}
    held = {name: chance.choice(ENDS) for name in chance.sample(NAMES, chance.randint(0, 4))}
    direct = {name: chance.choice(ENDS) for name in chance.sample(PERMISSIONS, chance.randint(0, 2))}
    return World(roles, sorted(apart), held, direct)


SEEDS = st.integers(0, 2**64 - 1)
"""Hypothesis draws the seeds of the worlds: to draw the worlds themselves takes it fifty times as long."""


def catalogue_of(world: World) -> RoleCatalogue:
    """Return limen's own of the same roles and pairs."""
    return RoleCatalogue([Role(name, *what) for name, what in world.roles.items()], world.apart)


def texts_of(world: World) -> list[str]:
    """Return what a store reads of the account."""
    ends = {**world.held, **{f"+{name}": end for name, end in world.direct.items()}}
    return [name if end is None else f"{name}@{end}" for name, end in ends.items()]


@pytest.mark.timeout(1800)
@settings(max_examples=CASES, deadline=None, derandomize=True, database=None)
@given(SEEDS)
def test_limen_agrees_with_the_model(seed: int) -> None:
    """Which roles count, what they give, what they extend, which pairs they have, and what is held at each moment."""
    world = world_of(seed)
    catalogue = catalogue_of(world)
    for moment in (0, NOW, NOW + 1_500):
        for held in (read(texts_of(world), moment), held_at(read(texts_of(world)), moment)):
            roles, permissions = granted(held, catalogue.names, catalogue.permissions_of)
            assert (set(roles), set(permissions)) == may(world, moment)
    for name in world.roles:
        assert {other for other in world.roles if catalogue.extends(name, other)} == above(world, name)
        beside = {each for each, end in world.held.items() if end is None or end > NOW}
        assert (not catalogue.violated_by(beside | {name})) == may_be_granted(world, name, NOW)
        assert set(catalogue.violated_by({name})) == violated(world, {name})
    kept = {name for name, end in world.held.items() if end is None or end >= NOW}
    assert {name for name in lasting(read(texts_of(world)), NOW) if name in NAMES} == kept


@pytest.mark.timeout(1800)
@settings(
    max_examples=max(15, CASES // 1_000),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(SEEDS)
def test_a_database_agrees_with_the_model(tmp_path: Path, seed: int) -> None:
    """Grant after grant on a real one: what the model allows is granted, and nothing else is."""
    folder = tmp_path / uuid7()
    folder.mkdir()
    wanted = random.Random(seed).choices(NAMES, k=6)
    asyncio.run(_granted_one_by_one(folder, world_of(seed), wanted))


async def _granted_one_by_one(folder: Path, world: World, wanted: list[str]) -> None:
    held = World(world.roles, world.apart)
    async with Limen(settings_for(folder), separation_of_duty=[]).running() as gate:
        for name, (gives, extends) in world.roles.items():
            await gate.roles.put(OPERATOR, name, permissions=sorted(gives), extends=sorted(extends))
    async with Limen(settings_for(folder), separation_of_duty=world.apart).running() as gate:
        account = await gate.accounts.create("ann", None, actor="cli")
        for name in (name for name in wanted if name in world.roles):
            if may_be_granted(held, name, NOW):
                await gate.roles.grant(OPERATOR, account.id, [name])
                held.held[name] = None
            else:
                with pytest.raises(Conflict):
                    await gate.roles.grant(OPERATOR, account.id, [name])
        assert (await gate.accounts.by_id(account.id)).roles == set(held.held)
