"""How long a refused login takes tells nobody whether there is an account, or what is the matter with it."""

import sqlite3
from pathlib import Path

import bcrypt
import pytest

from limen.crypto.foreign_hashes import MARK
from tests.enumeration.conftest import CHEAP, NoDummy, World
from tests.enumeration.measuring import SAMPLES, WARM_UP, Answer, Attempt, call, taken_in_turns, told_apart, unlike
from tests.support.gates import PASSWORD

pytestmark = [pytest.mark.serial, pytest.mark.timeout(900)]

WRONG = "not the right password"
EACH = 40
"""Attempts at one account: fewer than the limit, and those in a row."""
NUMBER = (SAMPLES + WARM_UP) // EACH + 1
CONTROL = "unknown, without the dummy hash"


def attempts(world: World, kind: str, password: str = WRONG) -> Attempt:
    """Return what tries to log in to the accounts of a kind, each in its turn."""

    async def attempt(number: int) -> Answer:
        name = f"{kind}-{number // EACH:04}"
        return await call(world.app, "POST", "/auth/login", {"username": name, "password": password})

    return attempt


def without_dummy(world: World) -> Attempt:
    """Return the control: what an unknown name would take if nothing were hashed for it."""
    known = attempts(world, "nobody-else")

    async def attempt(number: int) -> Answer:
        world.hash_with(NoDummy(bcrypt_cost=4))
        answer = await known(number)
        world.hash_with(CHEAP)
        return answer

    return attempt


async def populate(world: World, folder: Path) -> None:
    """Make accounts of each kind."""
    for kind in ("wrong", "disabled", "blocked", "imported"):
        await world.add(kind, NUMBER, email=False)
    await world.add("unverified", NUMBER)
    await world.add("sso", NUMBER, password=None)
    for account in world.people["disabled"]:
        await world.gate.accounts.disable(account, actor="cli")
    for account in world.people["blocked"]:
        await world.gate.accounts.block(account, actor="cli")
    stored = MARK + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    with sqlite3.connect(folder / "limen.db", timeout=60) as database:
        database.execute(
            "UPDATE limen_accounts SET password_hash = ? WHERE username LIKE 'imported-%'",
            (stored,),
        )


async def test_a_refused_login_takes_as_long_whatever_the_account(world: World, tmp_path: Path) -> None:
    """Unknown, wrong, disabled, blocked, unverified, SSO-only, imported: alike; without the dummy hash they are not."""
    await populate(world, tmp_path)
    kinds = ("nobody", "wrong", "disabled", "blocked", "unverified", "sso", "imported")
    classes = {kind: attempts(world, kind) for kind in kinds} | {CONTROL: without_dummy(world)}
    times, answers = await taken_in_turns(classes, SAMPLES)
    assert answers == {kind: {(401, "invalid_credentials")} for kind in classes}
    control = told_apart({kind: times[kind].work for kind in ("wrong", CONTROL)})
    assert control, "void: this machine does not even show the missing hash"
    assert unlike(times, kinds) == {}


async def test_a_throttled_login_takes_as_long_whatever_the_account(world: World) -> None:
    """Too many attempts: the right password, a wrong one, and a name that nobody has are refused alike, unhashed."""
    await world.add("right", 1, email=False)
    await world.add("wrong", 1, email=False)
    await world.add("off", 1, email=False)
    await world.gate.accounts.disable(world.people["off"][0], actor="cli")
    for kind in ("right", "wrong", "off", "nobody"):
        for _ in range(51):
            await attempts(world, kind)(0)

    def first(kind: str, password: str = WRONG) -> Attempt:
        known = attempts(world, kind, password)

        async def attempt(_number: int) -> Answer:
            return await known(0)

        return attempt

    kinds = {"right": first("right", PASSWORD), "wrong": first("wrong"), "off": first("off"), "nobody": first("nobody")}
    control = "not throttled"
    classes = kinds | {control: attempts(world, "nobody-else")}
    times, answers = await taken_in_turns(classes, SAMPLES)
    assert answers == {kind: {(429, "rate_limited")} for kind in kinds} | {control: {(401, "invalid_credentials")}}
    assert told_apart({kind: times[kind].work for kind in ("nobody", control)}), "void: not even a hash shows"
    assert unlike(times, kinds) == {}
