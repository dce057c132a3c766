"""Roles that nobody may hold at once: declared in code, kept by every way in which a role comes to somebody."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from limen import Limen
from limen.authn.strategy import Authenticated, PresentedCredential
from limen.core.errors import ConfigurationError, Conflict
from limen.core.events import EventName, Origin
from limen.features.accounts.existing import ExistingAccount
from limen.features.roles.service import OPERATOR
from tests.features.roles.acting import ORIGIN, ROLES, events, made, principal, roles_of
from tests.support.gates import PASSWORD, settings_for

BOTH = "checker and maker"


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate where nobody makes and checks."""
    declared = Limen(settings_for(tmp_path), roles=ROLES, separation_of_duty=[{"maker", "checker"}])
    async with declared.running() as started:
        yield started


async def test_the_second_is_not_granted(gate: Limen) -> None:
    """By granting, by setting, one after the other or both at once: 409, which names both; the first stays."""
    ann = await made(gate, "ann", "maker")
    for change in (
        gate.roles.grant(OPERATOR, ann.id, ["checker"]),
        gate.roles.set_roles(OPERATOR, ann.id, ["maker", "checker"]),
        gate.roles.grant(principal(gate, await made(gate, "root", "admin")), ann.id, ["checker"]),
        gate.roles.grant(OPERATOR, (await made(gate, "bob")).id, ["maker", "checker"]),
    ):
        with pytest.raises(Conflict, match=BOTH):
            await change
    assert await roles_of(gate, ann) == {"maker"}
    assert await gate.roles.set_roles(OPERATOR, ann.id, ["checker"]) == {"checker"}


async def test_no_account_is_made_with_both(gate: Limen) -> None:
    """By an administrator, the operator, or as a service."""
    root = principal(gate, await made(gate, "root", "admin"))
    for creating in (
        made(gate, "ann", "maker", "checker"),
        gate.administration.create(root, "ann", None, roles=frozenset({"maker", "checker"})),
    ):
        with pytest.raises(Conflict, match=BOTH):
            await creating
    assert gate.api_keys is not None
    with pytest.raises(Conflict, match=BOTH):
        await gate.api_keys.services.create(OPERATOR, "robot", roles=frozenset({"maker", "checker"}))
    assert [account.username for account in (await gate.accounts.page(query="", limit=10)).items] == ["root"]


async def test_no_role_gives_both(gate: Limen) -> None:
    """A role that extends both is not made, nor is one below another changed so that the other does."""
    with pytest.raises(Conflict, match=BOTH):
        await gate.roles.put(OPERATOR, "chief", permissions=[], extends=["maker", "checker"])
    await gate.roles.put(OPERATOR, "below", permissions=[])
    await gate.roles.put(OPERATOR, "above", permissions=[], extends=["below", "maker"])
    with pytest.raises(Conflict, match=r"By the role above .* checker and maker"):
        await gate.roles.put(OPERATOR, "below", permissions=[], extends=["checker"])
    assert (await gate.roles.show("below")).extends == frozenset()


async def test_what_a_role_extends_counts(gate: Limen) -> None:
    """Whoever is senior maker is a maker."""
    await gate.roles.put(OPERATOR, "senior", permissions=[], extends=["maker"])
    ann = await made(gate, "ann", "checker")
    with pytest.raises(Conflict, match=BOTH):
        await gate.roles.grant(OPERATOR, ann.id, ["senior"])
    await made(gate, "bob", "senior", "personnel")


async def test_of_two_administrators_who_grant_one_each_one_wins(gate: Limen) -> None:
    """Whoever comes second judges anew, and is refused: round after round, exactly one is granted."""
    admins = [principal(gate, await made(gate, name, "admin")) for name in ("root", "ruth")]
    for number in range(10):
        account = await made(gate, f"name-{number}")
        answers = await asyncio.gather(
            gate.roles.grant(admins[0], account.id, ["maker"]),
            gate.roles.grant(admins[1], account.id, ["checker"]),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "frozenset"]
        assert len(await roles_of(gate, account)) == 1


async def test_other_processes_keep_it(gate: Limen) -> None:
    """What the code of one declares is in the database: the command line, which declares nothing, refuses as well."""
    async with Limen(gate.settings).running() as other:
        ann = await made(other, "ann", "maker")
        with pytest.raises(Conflict, match=BOTH):
            await other.roles.grant(OPERATOR, ann.id, ["checker"])
        assert (await other.roles.separation(limit=10)) == ([("checker", "maker")], [])


async def test_what_is_not_said_stays_and_nothing_removes_it_but_an_empty_list(gate: Limen) -> None:
    """An older version that starts once more takes nothing away."""
    for declared, expected in ((None, 1), ([], 0)):
        async with Limen(gate.settings, roles=ROLES, separation_of_duty=declared).running() as other:
            assert len((await other.roles.separation(limit=10))[0]) == expected
    assert [record.data for record in await events(gate, EventName.ROLES_SEPARATED)] == [
        {"separated": [["checker", "maker"]]},
        {"separated": []},
    ]


async def test_a_set_separates_each_two(tmp_path: Path) -> None:
    """Of three roles nobody holds any two."""
    declared = [["maker", "checker", "admin"], {"personnel", "maker"}]
    async with Limen(settings_for(tmp_path), roles=ROLES, separation_of_duty=declared).running() as gate:
        pairs, _ = await gate.roles.separation(limit=1)
        assert pairs == [("admin", "checker"), ("admin", "maker"), ("checker", "maker"), ("maker", "personnel")]


@pytest.mark.parametrize("declared", [["maker"], [["maker"]], [["maker", "maker"]], [["maker", "a b"]], [[]]])
def test_what_separates_nothing(tmp_path: Path, declared: Iterable[Iterable[str]]) -> None:
    """A text, one role, or what is no name of a role is refused when the gate is made."""
    with pytest.raises(ConfigurationError):
        Limen(settings_for(tmp_path), roles=ROLES, separation_of_duty=declared)


async def test_roles_are_not_separated_under_the_only_administrator(tmp_path: Path) -> None:
    """Such an application does not start, and nothing has changed; with one of the two revoked it does."""
    settings = settings_for(tmp_path)
    async with Limen(settings, roles=ROLES).running() as before:
        ann = await before.accounts.create("ann", PASSWORD, roles=frozenset({"admin", "checker"}), actor="cli")
    apart = Limen(settings, roles=ROLES, separation_of_duty=[["admin", "checker"]])
    with pytest.raises(Conflict, match="administrator"):
        async with apart.running():
            pytest.fail("it has started")
    async with Limen(settings).running() as operator:
        assert await operator.roles.separation(limit=1) == ([], [])
        await operator.roles.revoke(OPERATOR, ann.id, ["checker"])
    async with apart.running() as gate:
        assert await gate.roles.separation(limit=1) == ([("admin", "checker")], [])


async def test_a_name_that_no_role_has_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is kept, since a role of the database may get the name; a slip would separate nothing, so the log says it."""
    with caplog.at_level(logging.WARNING, logger="limen"):
        declared = Limen(settings_for(tmp_path), roles=ROLES, separation_of_duty=[["maker", "cheker"]])
        async with declared.running() as gate:
            assert (await gate.roles.separation(limit=1))[0] == [("cheker", "maker")]
    assert [record.roles for record in caplog.records if hasattr(record, "roles")] == [["cheker"]]


async def test_for_who_holds_both_already_neither_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The start says how many there are; token, cookie, key and live check give them neither, and all else."""
    settings = settings_for(tmp_path)
    roles = {**ROLES, "reader": ["order:read"]}
    async with Limen(settings, roles=roles).running() as before:
        await before.accounts.create("ann", PASSWORD, roles=frozenset({"maker", "checker", "reader"}), actor="cli")
    with caplog.at_level(logging.WARNING, logger="limen"):
        async with Limen(settings, roles=roles, separation_of_duty=[["maker", "checker"]]).running() as gate:
            assert [record.accounts for record in caplog.records if hasattr(record, "accounts")] == [1]
            issued = await gate.login.login("ann", PASSWORD, origin=ORIGIN)
            known = await gate.chain.authenticate(PresentedCredential("bearer", issued.access_token.encode()))
            assert isinstance(known, Authenticated)
            live = await gate.live(known.principal)
            for who in (known.principal, live):
                assert who.roles == {"reader"}
                assert who.permissions == {"order:read"}
            ann = await gate.accounts.by_username("ann")
            assert (await gate.roles.separation(limit=10))[1] == [("ann", "checker", "maker")]
            assert await gate.roles.revoke(OPERATOR, ann.id, ["maker"]) == {"checker", "reader"}
            assert (await gate.live(known.principal)).permissions == {"order:approve", "order:read"}


class Table:
    """An existing table of users with one row, whose roles exclude each other."""

    async def find(self, name: str) -> ExistingAccount | None:
        """Find the row."""
        return ExistingAccount("1", "old", PASSWORD_HASH, roles=frozenset({"maker", "checker", "personnel"}))

    async def assign_sub(self, key: str, sub: str) -> str | None:
        """Write the id of the account to be."""
        return sub


PASSWORD_HASH = "$2b$10$abcdefghijklmnopqrstuuJgyOVg4N6FPoEFFXbEzXGZrwbGJVfsS"


async def test_who_is_taken_over_gets_neither(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What another table says of somebody is no decision of limen's: the two are left out, and the log says so."""
    gate = Limen(
        settings_for(tmp_path),
        roles=ROLES,
        separation_of_duty=[["maker", "checker"]],
        existing_accounts=Table(),
    )
    with caplog.at_level(logging.WARNING, logger="limen"):
        async with gate.running():
            account = await gate.accounts.take_over("old", origin=Origin())
            assert account.roles == {"personnel"}
    assert "existing_account_roles_separated" in {record.message for record in caplog.records}
