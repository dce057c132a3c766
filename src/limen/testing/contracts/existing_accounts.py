"""The contract of an existing table of users (`limen.features.accounts.existing.ExistingAccounts`)."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from limen.core.ids import uuid7
from limen.features.accounts.existing import ExistingAccounts

OF_ANN = "$2b$10$of-ann"
OF_ANOTHER = "$2b$10$of-another"


class AddRow(Protocol):
    """Writes a row into the table, past the store, and returns its key as the store tells it."""

    def __call__(self, username: str, *, password_hash: str, active: bool = True) -> Awaitable[str]:
        """Write the row."""
        ...


class RowVerb(Protocol):
    """Does something to the row with this key, past the store."""

    def __call__(self, key: str, /) -> Awaitable[None]:
        """Do it."""
        ...


class ExistingAccountsContract:
    """A suite for a store of your own; give the fixtures in the derived class, its module or a ``conftest.py``.

    Fixtures:
        existing: the store, on an empty table.
        peer: a second one on the same table, as another process would have it.
        add_row: an `AddRow`.
        deactivate: a `RowVerb`: the row is there, and may not be used any more.
        remove: a `RowVerb`: deletes the row.
    """

    async def test_nobody_is_none(self, existing: ExistingAccounts) -> None:
        """A name that no row has is no error."""
        assert await existing.find("nobody") is None

    async def test_a_row_is_found_as_it_is(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """Key, name and hash come as they were written, and the key is text."""
        key = await add_row("ann", password_hash=OF_ANN)
        await add_row("bob", password_hash=OF_ANOTHER)
        found = await existing.find("ann")
        assert found is not None
        assert (found.key, found.username, found.password_hash) == (key, "ann", OF_ANN)
        assert isinstance(found.key, str)
        assert found.active

    async def test_case_does_not_matter(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """Limen asks with the folded name; whoever is written in capitals is found by it, as it is written."""
        key = await add_row("Ann", password_hash=OF_ANN)
        found = await existing.find("ann")
        assert found is not None
        assert (found.key, found.username) == (key, "Ann")

    async def test_one_name_of_two_is_nobodys(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """Where two rows differ by case only, neither is found: one must not get in as the other."""
        await add_row("ann", password_hash=OF_ANN)
        await add_row("ANN", password_hash=OF_ANOTHER)
        assert await existing.find("ann") is None

    async def test_patterns_are_names(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """No character of a name means something to the search."""
        await add_row("ann", password_hash=OF_ANN)
        for name in ("%", "a%", "an_", "ann'", "ann' or '1'='1", "", "ann\\", "*"):
            assert await existing.find(name) is None, name

    async def test_whoever_is_not_active_is_told_so(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """The row is found, so that its hash is verified in the same time, and is not active."""
        await add_row("ann", password_hash=OF_ANN, active=False)
        found = await existing.find("ann")
        assert found is not None
        assert not found.active

    async def test_a_sub_is_given_once(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """The first one stays: whoever comes later is told that one."""
        key = await add_row("ann", password_hash=OF_ANN)
        first = uuid7()
        assert await existing.assign_sub(key, first) == first
        assert await existing.assign_sub(key, uuid7()) == first
        assert await existing.assign_sub(key, first) == first

    async def test_of_many_at_once_one_wins(
        self, existing: ExistingAccounts, peer: ExistingAccounts, add_row: AddRow
    ) -> None:
        """All who come at the same time, in two processes, are told the same."""
        for round_ in range(10):
            key = await add_row(f"name-{round_}", password_hash=OF_ANN)
            proposed = [uuid7() for _ in range(8)]
            stores = [existing, peer] * 4
            told = await asyncio.gather(
                *(store.assign_sub(key, sub) for store, sub in zip(stores, proposed, strict=True))
            )
            assert len(set(told)) == 1
            assert told[0] in proposed

    async def test_two_rows_have_two(self, existing: ExistingAccounts, add_row: AddRow) -> None:
        """A sub belongs to one row."""
        ann = await add_row("ann", password_hash=OF_ANN)
        bob = await add_row("bob", password_hash=OF_ANOTHER)
        of_ann, of_bob = uuid7(), uuid7()
        assert await existing.assign_sub(ann, of_ann) == of_ann
        assert await existing.assign_sub(bob, of_bob) == of_bob

    async def test_whoever_was_switched_off_meanwhile_gets_none(
        self, existing: ExistingAccounts, add_row: AddRow, deactivate: RowVerb
    ) -> None:
        """Between `find` and this a password is hashed, which takes long enough to be dismissed."""
        key = await add_row("ann", password_hash=OF_ANN)
        assert await existing.find("ann") is not None
        await deactivate(key)
        assert await existing.assign_sub(key, uuid7()) is None

    async def test_whoever_is_gone_gets_none(
        self, existing: ExistingAccounts, add_row: AddRow, remove: RowVerb
    ) -> None:
        """A row that was deleted is given nothing, and is not found."""
        key = await add_row("ann", password_hash=OF_ANN)
        await remove(key)
        assert await existing.assign_sub(key, uuid7()) is None
        assert await existing.find("ann") is None
