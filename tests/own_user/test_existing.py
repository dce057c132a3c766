"""People who are in an existing table of users: taken over at their first login, and never by anybody else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from limen import ExistingAccount, Limen
from limen.core.errors import Conflict, InvalidCredentials, LimenError, NotFound, Unavailable, UsernameTaken
from limen.core.events import NOWHERE, Event
from limen.core.ids import is_uuid7
from limen.features.accounts import existing as existing_module
from limen.features.accounts.store import NewAccount
from limen.features.roles.service import OPERATOR
from tests.support.gates import PASSWORD, ROLES, settings_for

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
PROMISED_SECONDS = existing_module.EXISTING_SECONDS
ANN = ExistingAccount("7", "Ann", HASH, "ann@example.com", roles=frozenset({"maker"}))


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of a test may take long, on a machine that does: it hashes passwords while it is asked."""
    monkeypatch.setattr(existing_module, "EXISTING_SECONDS", 60.0)


class Table:
    """An existing table in memory."""

    def __init__(self, *people: ExistingAccount) -> None:
        self.people = {person.username.casefold(): person for person in people}
        self.subs: dict[str, str] = {}
        self.asked: list[str] = []
        self.before_assign: Callable[[], Awaitable[object]] | None = None
        self.assign_fails = False

    async def find(self, username: str) -> ExistingAccount | None:
        self.asked.append(username)
        return self.people.get(username)

    async def assign_sub(self, key: str, sub: str) -> str | None:
        if self.before_assign is not None:
            await self.before_assign()
        if self.assign_fails:
            raise RuntimeError("INSERT … hunter2")
        if not any(person.key == key and person.active for person in self.people.values()):
            return None
        return self.subs.setdefault(key, sub)


@pytest.fixture
def table() -> Table:
    """A table with one person."""
    return Table(ANN)


@pytest.fixture
async def gate(database_url: str, tmp_path: Path, table: Table) -> AsyncIterator[Limen]:
    """A gate over the table."""
    gate = Limen(settings_for(tmp_path, database_url=database_url), roles=ROLES, existing_accounts=table)
    async with gate.running():
        yield gate


async def _login(gate: Limen, username: str = "ann", password: str = PASSWORD) -> str:
    return (await gate.login.login(username, password, origin=NOWHERE)).account_id


async def _accounts(gate: Limen) -> list[str]:
    return [account.username for account in (await gate.accounts.page()).items]


class TestTheFirstLogin:
    async def test_an_account_is_made_of_the_row(self, gate: Limen, table: Table) -> None:
        """The name normalised, the address, the roles and the very hash, under a new UUIDv7 that the row bears too."""
        account = await gate.accounts.by_id(await _login(gate, "ANN"))
        assert (account.username, account.email, account.roles) == ("ann", "ann@example.com", frozenset({"maker"}))
        assert account.password_hash == HASH
        assert is_uuid7(account.id)
        assert table.subs == {"7": account.id}
        (made,) = [event for event in await gate.storage.events() if event.event == "account_created"]
        assert (made.target, made.data) == (account.id, {"roles": ["maker"], "taken_over": True})

    async def test_the_second_login_asks_nobody(self, gate: Limen, table: Table) -> None:
        """Once there is an account, the table is not read: what it says now does not count."""
        first = await _login(gate)
        table.asked.clear()
        table.people["ann"] = replace(ANN, password_hash="$2b$10$something-else", active=False)
        assert await _login(gate) == first
        assert table.asked == []

    async def test_the_hash_is_made_anew(self, gate: Limen, table: Table) -> None:
        """A hash of another cost than the setting's verifies once, and is replaced."""
        cheap = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        table.people["ann"] = replace(ANN, password_hash=cheap)
        account = await gate.accounts.by_id(await _login(gate))
        assert account.password_hash is not None
        assert account.password_hash.startswith("$2b$10$")
        assert await _login(gate) == account.id

    async def test_many_at_once_are_one(self, gate: Limen, table: Table) -> None:
        """Eight first logins at the same time make one account, and all get in."""
        found = await asyncio.gather(*(_login(gate) for _ in range(8)))
        assert len(set(found)) == 1
        assert await _accounts(gate) == ["ann"]

    async def test_one_that_came_a_moment_later_gets_in(self, gate: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
        """PostgreSQL fails the second insert of one id where both began in the same moment; the account is there."""
        store = gate.storage.accounts
        create = store.create

        async def a_moment_later(account: NewAccount, event: Event, **more: Any) -> bool:
            assert await create(account, event, **more)
            raise Conflict

        monkeypatch.setattr(store, "create", a_moment_later)
        first = await _login(gate)
        assert await _login(gate) == first

    async def test_a_login_that_died_goes_on(self, gate: Limen, table: Table) -> None:
        """Where the process ended after the row had its sub, the next login makes the account of that very sub."""
        table.subs["7"] = "0199e1f0-0000-7000-8000-000000000001"
        assert await _login(gate) == "0199e1f0-0000-7000-8000-000000000001"

    async def test_unknown_roles_and_addresses_are_left_out(self, gate: Limen, table: Table) -> None:
        """A role that limen does not know gives nothing; what is no address is none."""
        table.people["ann"] = replace(ANN, email="ann", roles=frozenset({"maker", "superuser"}))
        account = await gate.accounts.by_id(await _login(gate))
        assert (account.email, account.roles) == (None, frozenset({"maker"}))


class TestWhoDoesNotGetIn:
    @pytest.mark.parametrize(
        "person",
        [
            replace(ANN, active=False),
            replace(ANN, password_hash=None),
            replace(ANN, password_hash="pbkdf2_sha256$600000$salt$hash"),
            replace(ANN, password_hash=PASSWORD),
            replace(ANN, username="eve"),
            replace(ANN, username="a n n"),
        ],
        ids=["inactive", "no password", "foreign hash", "plain text", "another name", "no name"],
    )
    async def test_nothing_is_made(self, gate: Limen, table: Table, person: ExistingAccount) -> None:
        """Right password or not: one answer, no account, no sub."""
        table.people = {"ann": person}
        with pytest.raises(InvalidCredentials):
            await _login(gate)
        assert await _accounts(gate) == []
        assert table.subs == {}

    async def test_a_wrong_password_makes_nothing(self, gate: Limen, table: Table) -> None:
        """Nobody fills limen's table by trying names."""
        for name in ("ann", "nobody"):
            with pytest.raises(InvalidCredentials):
                await _login(gate, name, "not the password")
        assert table.asked == ["ann", "nobody"]
        assert await _accounts(gate) == []
        assert table.subs == {}

    async def test_whoever_was_dismissed_meanwhile(self, gate: Limen, table: Table) -> None:
        """A row that is switched off while the password is hashed does not get in."""

        async def dismiss() -> None:
            table.people["ann"] = replace(ANN, active=False)

        table.before_assign = dismiss
        with pytest.raises(InvalidCredentials):
            await _login(gate)
        assert await _accounts(gate) == []

    async def test_whoever_was_deleted(self, gate: Limen, table: Table) -> None:
        """An account that limen has deleted does not come back by the table, which still has the person."""
        account_id = await _login(gate)
        await gate.administration.delete(OPERATOR, account_id)
        with pytest.raises(InvalidCredentials):
            await _login(gate)
        assert await gate.storage.accounts.by_username("ann") is None

    async def test_a_name_that_was_taken_meanwhile(self, gate: Limen, table: Table) -> None:
        """Somebody else's account of the name is not the row's: its session is not opened."""

        async def squat() -> None:
            table.people, people = {}, table.people
            await gate.accounts.create("ann", "a long phrase of somebody else")
            table.people = people

        table.before_assign = squat
        with pytest.raises(InvalidCredentials):
            await _login(gate)

    async def test_somebody_elses_account_is_not_returned(self, gate: Limen, table: Table) -> None:
        """Nor is it for a script that takes over by name."""

        async def squat() -> None:
            table.people, people = {}, table.people
            await gate.accounts.create("ann", None)
            table.people = people

        table.before_assign = squat
        with pytest.raises(NotFound):
            await gate.accounts.take_over("ann")

    async def test_a_store_that_gives_everybody_a_sub(
        self, gate: Limen, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever was not active when they were found does not get in, whatever the store does then."""

        async def assign_sub(key: str, sub: str) -> str | None:
            return sub

        monkeypatch.setattr(table, "assign_sub", assign_sub)
        table.people["ann"] = replace(ANN, active=False)
        with pytest.raises(InvalidCredentials):
            await _login(gate)
        assert await _accounts(gate) == []

    async def test_a_password_that_was_changed_meanwhile(self, gate: Limen, table: Table) -> None:
        """Of two first logins, the one that comes after a change of the password was proved by the old one: refused."""

        async def first_and_change() -> None:
            table.before_assign = None
            account_id = await _login(gate)
            await gate.accounts.change_password(account_id, PASSWORD, "another long phrase to remember", sid=None)

        table.before_assign = first_and_change
        with pytest.raises(InvalidCredentials):
            await _login(gate)

    async def test_a_name_of_the_table_cannot_be_registered(self, gate: Limen, table: Table) -> None:
        """Nobody takes the name of a person who has only not come yet."""
        for name in ("ann", "ANN"):
            with pytest.raises(UsernameTaken):
                await gate.accounts.create(name, PASSWORD)
        assert await _accounts(gate) == []


class TestTheTableFails:
    async def test_a_failure_is_a_no(self, gate: Limen, table: Table, caplog: pytest.LogCaptureFixture) -> None:
        """Unavailable, the kind of failure in the log and not its message; the next login goes on with the same sub."""
        table.assign_fails = True
        with pytest.raises(Unavailable):
            await _login(gate)
        assert "RuntimeError" in [record.__dict__.get("failure") for record in caplog.records]
        assert "hunter2" not in caplog.text
        assert await _accounts(gate) == []
        table.assign_fails = False
        assert await _login(gate) == table.subs["7"]

    async def test_the_time_is_bounded(self, gate: Limen, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        """A table that hangs makes nobody wait for long, and nobody whom limen knows."""
        await gate.accounts.create("bob", PASSWORD)

        async def hang(username: str) -> ExistingAccount | None:
            await asyncio.sleep(60)
            return None

        monkeypatch.setattr(table, "find", hang)
        assert PROMISED_SECONDS == 3
        monkeypatch.setattr(existing_module, "EXISTING_SECONDS", 0.1)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await _login(gate)
        assert time.monotonic() - began < 30
        assert await _login(gate, "bob")

    async def test_a_sub_that_is_none(self, gate: Limen, table: Table) -> None:
        """Whatever else stands in the column is no id of limen's: nothing is made."""
        table.subs["7"] = "7"
        with pytest.raises(LimenError):
            await _login(gate)
        assert await _accounts(gate) == []


class TestTakingOverByName:
    async def test_before_anybody_logs_in(self, gate: Limen, table: Table) -> None:
        """A script can move everybody; whoever logs in afterwards finds the account."""
        account = await gate.accounts.take_over("ANN")
        assert table.subs == {"7": account.id}
        assert await _login(gate) == account.id

    async def test_what_cannot_be(self, gate: Limen, table: Table) -> None:
        """Nobody of that name, not active, and taken over before."""
        with pytest.raises(NotFound):
            await gate.accounts.take_over("nobody")
        table.people["eve"] = replace(ANN, key="8", username="eve", active=False)
        with pytest.raises(NotFound):
            await gate.accounts.take_over("eve")
        await gate.accounts.take_over("ann")
        with pytest.raises(UsernameTaken):
            await gate.accounts.take_over("ann")

    async def test_without_a_table(self, database_url: str, tmp_path: Path) -> None:
        """There is nobody to take over."""
        gate = Limen(settings_for(tmp_path, database_url=database_url), roles=ROLES)
        async with gate.running():
            with pytest.raises(NotFound):
                await gate.accounts.take_over("ann")
