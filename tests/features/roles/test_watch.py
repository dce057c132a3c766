"""How a process hears of what others change in the roles."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.authz.administration import ADMINISTRATION, DEFAULT_ROLES
from limen.core.errors import Unavailable
from limen.core.events import NOWHERE
from limen.features.roles.service import OPERATOR
from limen.settings import Settings
from tests.support.gates import PASSWORD, settings_for
from tests.support.waiting import felt

ROLES = {"maker": ["order:create"], "admin": [*ADMINISTRATION]}
BOUND = 2.0
"""Seconds within which every process goes by what was changed: the promise."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of one installation."""
    return settings_for(tmp_path)


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Limen]:
    """One process of it."""
    async with Limen(settings, roles=ROLES).running() as started:
        yield started


@pytest.fixture
async def other(settings: Settings, gate: Limen) -> AsyncIterator[Limen]:
    """Another one, without roles in its code."""
    async with Limen(settings).running() as started:
        yield started


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds; fail after the bound."""
    await felt(holds, within=BOUND)


async def is_not_ready(gate: Limen) -> bool:
    """Say whether a process asks to be left alone."""
    try:
        await gate.ready()
    except Unavailable:
        return True
    return False


def by_hand(gate: Limen, statement: str, *parameters: Any) -> None:
    """Change the database beside limen."""
    path = gate.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, parameters)


async def test_a_changed_definition_reaches_every_process(gate: Limen, other: Limen) -> None:
    """Made, replaced and deleted: the other process goes by it within two seconds, also for tokens it has seen."""
    assert other.catalogue.names == {"maker", "admin"}
    await gate.roles.put(OPERATOR, "reader", permissions=["order:read"])
    await until(lambda: other.catalogue.permissions_of(frozenset({"reader"})) == {"order:read"})
    await gate.accounts.create("ann", PASSWORD, roles=frozenset({"reader"}))
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    credential = PresentedCredential("bearer", issued.access_token.encode())

    def permissions(process: Limen) -> frozenset[str]:
        outcome = process.bearer.recall(credential)
        assert isinstance(outcome, Authenticated)
        return outcome.principal.permissions

    assert permissions(other) == {"order:read"}
    await gate.roles.put(OPERATOR, "reader", permissions=["order:list"])
    assert permissions(gate) == {"order:list"}
    await until(lambda: permissions(other) == {"order:list"})


async def test_changed_roles_of_an_account_reach_every_process(gate: Limen, other: Limen) -> None:
    """A token with the roles of before is refused there within two seconds, and one of now is good at once."""
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    credential = PresentedCredential("bearer", issued.access_token.encode())
    assert isinstance(other.bearer.recall(credential), Authenticated)
    await gate.roles.set_roles(OPERATOR, account.id, [])
    await until(lambda: isinstance(other.bearer.recall(credential), Rejected))
    refused = other.bearer.recall(credential)
    assert isinstance(refused, Rejected)
    assert refused.error.code == "token_stale"
    again = await other.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    renewed = PresentedCredential("bearer", again.access_token.encode())
    for process in (gate, other):
        outcome = process.bearer.recall(renewed)
        assert isinstance(outcome, Authenticated)
        assert outcome.principal.roles == frozenset()
    await other.roles.grant(OPERATOR, account.id, ["maker"])
    # Back to what the first token says: it is as good as a new one.
    assert isinstance(other.bearer.recall(credential), Authenticated)
    assert isinstance(other.bearer.recall(renewed), Rejected)


async def test_a_process_takes_the_token_that_it_has_just_issued(gate: Limen, other: Limen) -> None:
    """Roles that change twice within a second: who refreshes elsewhere gets a token that is good there at once."""
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.roles.set_roles(OPERATOR, account.id, [])
    await until(lambda: other.changed.get(account.id) == frozenset())
    await gate.roles.set_roles(OPERATOR, account.id, ["maker"])
    again = await other.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    outcome = other.bearer.recall(PresentedCredential("bearer", again.access_token.encode()))
    assert isinstance(outcome, Authenticated)
    assert outcome.principal.roles == {"maker"}


async def test_a_process_begins_with_what_was_changed_before(gate: Limen, settings: Settings) -> None:
    """A token that became stale before a process started is stale there from its first request on."""
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.roles.revoke(OPERATOR, account.id, ["maker"])
    async with Limen(settings).running() as late:
        assert isinstance(late.bearer.recall(PresentedCredential("bearer", issued.access_token.encode())), Rejected)


async def test_an_application_that_changed_its_roles_tells_the_others(gate: Limen, settings: Settings) -> None:
    """The newest start says what the roles of the code are, in every process, so that all judge alike."""
    async with Limen(settings, roles={"maker": ["order:create", "order:pay"]}).running():
        await until(lambda: gate.catalogue.permissions_of(frozenset({"maker"})) == {"order:create", "order:pay"})
        assert "admin" not in gate.catalogue


async def test_what_cannot_be_used_is_told_and_not_used(
    gate: Limen, other: Limen, caplog: pytest.LogCaptureFixture
) -> None:
    """A name by hand that is none: the roles of before stay, the process is not ready, and an error is logged once."""
    await gate.roles.put(OPERATOR, "reader", permissions=["order:read"])
    await until(lambda: "reader" in other.catalogue)
    by_hand(gate, "UPDATE limen_role_permissions SET permission = 'everything' WHERE role = 'reader'")
    with caplog.at_level(logging.ERROR, logger="limen"):
        by_hand(gate, "UPDATE limen_catalogue SET version = version + 1")
        for process in (gate, other):
            await until(partial(is_not_ready, process))
        with pytest.raises(Unavailable, match="roles in the database"):
            await other.ready()
        await asyncio.sleep(1.2)
    assert other.catalogue.permissions_of(frozenset({"reader"})) == {"order:read"}
    told = [record for record in caplog.records if "cannot be used" in record.getMessage()]
    assert len(told) == 2, "one for each process"
    with pytest.raises(Unavailable):
        await gate.roles.put(OPERATOR, "writer", permissions=["order:create"])
    by_hand(gate, "UPDATE limen_role_permissions SET permission = 'order:list' WHERE role = 'reader'")
    await until(lambda: other.catalogue.permissions_of(frozenset({"reader"})) == {"order:list"})
    await other.ready()


async def test_what_is_listed_is_forgotten(gate: Limen) -> None:
    """When no token with other roles can be alive, the account costs no memory any more."""
    account = await gate.accounts.create("ann", None)
    await gate.roles.grant(OPERATOR, account.id, ["maker"])
    assert dict(gate.changed) == {account.id: {"maker"}}
    until_ms = (await gate.storage.roles.changed_since(0)).accounts[0].keep_until
    gate.changed.forget_before(until_ms - 1)
    assert dict(gate.changed) == {account.id: {"maker"}}
    gate.changed.forget_before(until_ms)
    assert dict(gate.changed) == {}


# --- the roles that a database begins with


async def names(settings: Settings, **arguments: Any) -> frozenset[str]:
    """Start a process and return the roles that it goes by."""
    async with Limen(settings, **arguments).running() as gate:
        return gate.catalogue.names


async def test_default_roles_are_for_a_database_that_never_had_any(settings: Settings) -> None:
    """Written once; two that start at once do not disturb each other, and what somebody deleted stays deleted."""
    together = await asyncio.gather(*(names(settings, default_roles=DEFAULT_ROLES) for _ in range(3)))
    assert together == [{"admin"}] * 3
    async with Limen(settings, default_roles=DEFAULT_ROLES).running() as gate:
        await gate.roles.delete(OPERATOR, "admin")
    assert await names(settings, default_roles=DEFAULT_ROLES) == frozenset()


async def test_default_roles_leave_an_application_alone(settings: Settings) -> None:
    """Where the code declares roles nothing is added; where it declares the same name, that is the code's."""
    assert await names(settings, roles={"maker": ["order:create"]}) == {"maker"}
    assert await names(settings, default_roles=DEFAULT_ROLES) == {"maker"}


async def test_an_application_takes_the_default_role_over(settings: Settings) -> None:
    """A command line that was used before the application's first start does no harm."""
    assert await names(settings, default_roles=DEFAULT_ROLES) == {"admin"}
    async with Limen(settings, roles={"admin": ["order:read"]}).running() as gate:
        role = await gate.roles.show("admin")
        assert (str(role.source), role.gives) == ("code", frozenset({"order:read"}))
