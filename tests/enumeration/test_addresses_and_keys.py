"""Nor do forgotten passwords, registrations, changes of address and API keys tell by their time who is there."""

import sqlite3
from pathlib import Path
from statistics import median

import pytest

from limen.core.events import Origin
from limen.core.ids import uuid7
from limen.crypto.api_keys import ApiKey, new_secret, read_key
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from tests.enumeration.conftest import World
from tests.enumeration.measuring import (
    SAMPLES,
    WARM_UP,
    Answer,
    Attempt,
    Times,
    address,
    call,
    taken_in_turns,
    told_apart,
    unlike,
)
from tests.support.gates import PASSWORD

pytestmark = [pytest.mark.serial, pytest.mark.timeout(900)]

EACH = 2
"""Questions about one address, and the control asks twice: fewer than the limit."""
CONTROL = "twice"
NUMBER = (SAMPLES + WARM_UP) // EACH + 1


def doubled(attempt: Attempt) -> Attempt:
    """Return the control: as much again."""

    async def twice(number: int) -> Answer:
        await attempt(number)
        return await attempt(number)

    return twice


async def held(classes: dict[str, Attempt], answer: Answer, *, control: Attempt, but: str = "") -> dict[str, Times]:
    """Hold that the classes, but for one, take as long, that all are answered alike, and that twice the work shows."""
    first = next(iter(classes))
    times, answers = await taken_in_turns({**classes, CONTROL: doubled(control)}, SAMPLES)
    assert {name: answers[name] for name in classes} == {name: {answer} for name in classes}
    assert told_apart({name: times[name].work for name in (first, CONTROL)}), "void: not even twice the work shows"
    assert unlike(times, [name for name in classes if name != but]) == {}
    return times


def verified(folder: Path, like: str) -> None:
    """Take the addresses of these accounts for verified."""
    with sqlite3.connect(folder / "limen.db", timeout=60) as database:
        database.execute(
            "INSERT INTO limen_verified_emails (account_id, email, verified_at)"
            " SELECT id, email, 0 FROM limen_accounts WHERE username LIKE ?",
            (like,),
        )


async def test_a_forgotten_password(world: World, tmp_path: Path) -> None:
    """Known, unverified, disabled, of SSO only, and nobody's address: 202 each, after the same time."""
    for kind in ("known", "unverified", "off"):
        await world.add(kind, NUMBER)
    await world.add("sso", NUMBER, password=None)
    for account in world.people["off"]:
        await world.gate.accounts.disable(account, actor="cli")
    for like in ("known-%", "off-%", "sso-%"):
        verified(tmp_path, like)

    def asking(kind: str) -> Attempt:
        async def ask(number: int) -> Answer:
            body = {"email": f"{kind}-{number // EACH:04}@example.org"}
            return await call(world.app, "POST", "/auth/password/forgot", body)

        return ask

    kinds = ("nobody", "known", "unverified", "off", "sso")
    await held({kind: asking(kind) for kind in kinds}, (202, ""), control=asking("another"))


async def test_an_address_at_registration(world: World, tmp_path: Path) -> None:
    """Whether the address is another account's already, verified or not, makes no difference to who registers."""
    for kind in ("known", "verified"):
        await world.add(kind, NUMBER)
    verified(tmp_path, "verified-%")

    def registering(kind: str) -> Attempt:
        async def register(number: int) -> Answer:
            address = f"{kind}-{number // EACH:04}@example.org"
            body = {"username": f"{kind}.{uuid7()}", "password": PASSWORD, "email": address}
            return await call(world.app, "POST", "/auth/register", body)

        return register

    kinds = ("nobody", "known", "verified")
    await held({kind: registering(kind) for kind in kinds}, (201, ""), control=registering("another"))


async def test_a_change_of_address(world: World, tmp_path: Path) -> None:
    """Whether a new address is another account's already makes no difference to who asks for it."""
    kinds = ("nobody", "known")
    await world.add("known", NUMBER)
    verified(tmp_path, "known-%")
    bearers: dict[str, list[dict[str, str]]] = {}
    for kind in (*kinds, CONTROL):
        await world.add(f"by-{kind}", NUMBER, email=False)
        bearers[kind] = [await bearer_of(world, account.username) for account in world.people[f"by-{kind}"]]

    def changing(kind: str, by: str) -> Attempt:
        async def change(number: int) -> Answer:
            body = {"email": f"{kind}-{number // EACH:04}@example.org", "current_password": PASSWORD}
            return await call(world.app, "POST", "/auth/email", body, bearers[by][number // EACH])

        return change

    control = changing("nobody", CONTROL)
    await held({kind: changing(kind, kind) for kind in kinds}, (202, ""), control=control)


async def bearer_of(world: World, username: str) -> dict[str, str]:
    """Log in, and return the header that carries the token."""
    issued = await world.gate.login.login(username, PASSWORD, origin=Origin(address=address()))
    return {"Authorization": f"Bearer {issued.access_token}"}


async def test_an_api_key(world: World) -> None:
    """Another secret under a known id, a revoked one, one of a disabled account: alike, and like an id of nobody's.

    A row that is found is read, which takes some hundredths of a millisecond more. An id is no secret, and has 74
    random bits, so nobody comes upon one by trying.
    """
    for kind in ("known", "revoked", "off"):
        await world.add(kind, 1, email=False)
    assert world.gate.api_keys is not None
    service = world.gate.api_keys.service
    ids = {"nobody": ""}
    for kind in ("known", "revoked", "off"):
        made = await service.create_for(OPERATOR, world.people[kind][0].id, Wanted("a program"))
        environment = made.key.split("_")[1]
        read = read_key(made.key.encode(), environment)
        assert read is not None
        ids[kind] = read.id
    await service.revoke_for(OPERATOR, world.people["revoked"][0].id, ids["revoked"])
    await world.gate.accounts.disable(world.people["off"][0], actor="cli")

    def presenting(kind: str) -> Attempt:
        async def present(_number: int) -> Answer:
            key = ApiKey(environment, ids[kind] or uuid7(), new_secret()).text()
            return await call(world.app, "GET", "/auth/me", headers={"X-API-Key": key})

        return present

    classes = {kind: presenting(kind) for kind in ids}
    times = await held(classes, (401, "token_invalid"), control=presenting("nobody"), but="nobody")
    unknown, known = (median(times[kind].work) for kind in ("nobody", "known"))
    assert unknown / 1.5 < known < unknown * 1.5
