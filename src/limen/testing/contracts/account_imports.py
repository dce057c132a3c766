"""The contract of accounts that are brought in from elsewhere."""

import asyncio
from dataclasses import replace

import pytest

from limen.core.errors import Conflict
from limen.core.events import Event, EventName
from limen.core.ids import uuid7
from limen.features.accounts.importing import ImportedAccount
from limen.features.accounts.store import AccountStatus
from limen.storage import Storage
from limen.testing.contracts.contract import KEEP_ENDED, OLD_HASH, Contract, all_events, an_account, event


def imported(username: str, **changes: object) -> ImportedAccount:
    """Return an account to be brought in."""
    made = ImportedAccount(uuid7(), username, None, False, OLD_HASH, "active", frozenset(), None)
    return replace(made, **changes)  # type: ignore[arg-type]


def events_of(*accounts: ImportedAccount) -> dict[str, Event]:
    """Return the event of each."""
    return {
        each.id: Event(EventName.ACCOUNT_CREATED, actor="cli", target=each.id, data={"é": [each.username]})
        for each in accounts
    }


async def insert(storage: Storage, *accounts: ImportedAccount, all_or_none: bool = False) -> frozenset[str]:
    """Bring them in."""
    return await storage.imports.insert(accounts, events_of(*accounts), all_or_none=all_or_none)


async def is_verified(storage: Storage, account_id: str) -> bool:
    """Tell whether the account's address counts as proved."""
    return await storage.recovery.verified_email(account_id) is not None


class ImportContract(Contract):
    """`ImportStore`."""

    async def test_accounts_read_as_they_were_brought(self, storage: Storage) -> None:
        """Name, address, hash, state, roles and time are those that were given; without a time it is now."""
        await storage.roles.sync({"maker": frozenset(), "checker": frozenset()}, event())
        ann = imported(
            "änn", email="ann@example.org", roles=frozenset({"maker", "checker"}), created_at=1_600_000_000_123
        )
        bob = imported("bob", status="disabled", password_hash=None)
        assert await insert(storage, ann, bob) == {ann.id, bob.id}
        assert await storage.imports.named(["änn", "bob", "cid", 'o"\\']) == {"änn": ann.id, "bob": bob.id}
        found = await storage.accounts.by_username("änn")
        assert found is not None
        assert (found.id, found.email, found.password_hash) == (ann.id, "ann@example.org", OLD_HASH)
        assert (found.roles, found.created_at, found.session_epoch) == (ann.roles, 1_600_000_000_123, 0)
        other = await storage.accounts.by_id(bob.id)
        assert other is not None
        assert (other.status, other.password_hash, other.kind) == (AccountStatus.DISABLED, None, "person")
        assert other.created_at > 1_600_000_000_123

    async def test_each_account_has_its_record(self, storage: Storage) -> None:
        """The events are in the same transaction, one for each account that was inserted, with their data."""
        there = await an_account(storage, username="bob")
        ann, bob = imported("ann"), imported("bob")
        assert await insert(storage, ann, bob) == {ann.id}
        made = [each for each in await all_events(storage, EventName.ACCOUNT_CREATED) if each.actor == "cli"]
        assert [(each.target, each.data) for each in made] == [(ann.id, {"é": ["ann"]})]
        kept = await storage.accounts.by_username("bob")
        assert kept is not None
        assert kept.id == there.id

    async def test_a_deleted_account_does_not_come_back_under_its_id(self, storage: Storage) -> None:
        """An id that is a tombstone's is taken."""
        gone = await an_account(storage, username="ann")
        await storage.accounts.delete(gone.id, event=event(EventName.ACCOUNT_DELETED), keep_ended_ms=KEEP_ENDED)
        assert await insert(storage, imported("ann", id=gone.id)) == frozenset()
        assert await storage.imports.named(["ann"]) == {}

    async def test_all_or_none_leaves_nothing(self, storage: Storage) -> None:
        """Where one name is taken and all were wanted, none is inserted, and no event is written."""
        await an_account(storage, username="bob")
        before = len(await all_events(storage, EventName.ACCOUNT_CREATED))
        with pytest.raises(Conflict):
            await insert(storage, imported("ann"), imported("bob"), imported("cid"), all_or_none=True)
        assert set(await storage.imports.named(["ann", "bob", "cid"])) == {"bob"}
        assert len(await all_events(storage, EventName.ACCOUNT_CREATED)) == before

    async def test_a_role_that_is_not_there_leaves_nothing(self, storage: Storage) -> None:
        """A role that went meanwhile fails the batch as a whole."""
        with pytest.raises(Conflict):
            await insert(storage, imported("ann"), imported("bob", roles=frozenset({"ghost"})))
        assert await storage.imports.named(["ann", "bob"]) == {}

    async def test_separated_roles_leave_nothing(self, storage: Storage) -> None:
        """Two roles that were separated meanwhile fail the batch as a whole."""
        await storage.roles.sync({"maker": frozenset(), "checker": frozenset()}, event())
        await storage.roles.separate(frozenset({("checker", "maker")}), event())
        with pytest.raises(Conflict):
            await insert(storage, imported("ann"), imported("bob", roles=frozenset({"maker", "checker"})))
        assert await storage.imports.named(["ann", "bob"]) == {}
        assert len(await insert(storage, imported("ann", roles=frozenset({"maker"})))) == 1

    async def test_an_address_is_proved_only_where_that_is_asked_for(self, storage: Storage) -> None:
        """Of two accounts with one address, the first that is called verified has it; the others are as given."""
        ann = imported("ann", email="one@example.org", email_verified=True)
        bob = imported("bob", email="two@example.org")
        assert len(await insert(storage, ann, bob)) == 2
        cid = imported("cid", email="one@example.org", email_verified=True)
        assert len(await insert(storage, cid)) == 1
        told = [await is_verified(storage, each.id) for each in (ann, bob, cid)]
        assert told == [True, False, False]

    async def test_of_two_imports_at_once_each_name_is_made_once(self, storage: Storage, peer: Storage) -> None:
        """Two imports of the same names, in opposite orders, both end, and there is one account of each name."""
        names = [f"name{number:03}" for number in range(200)]
        one = [imported(name) for name in names]
        two = [imported(name) for name in reversed(names)]
        made = await asyncio.gather(insert(storage, *one), insert(peer, *two))
        assert len(made[0]) + len(made[1]) == len(names)
        there = await storage.imports.named(names)
        assert set(there.values()) == made[0] | made[1]
