"""The contract of the accounts."""

import asyncio
from dataclasses import replace

import pytest

from limen.core.errors import LimenError
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, AccountStatus, NewAccount, StatusChange
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    NEW_HASH,
    OLD_HASH,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    rotate,
)

NOBODY = "00000000-0000-7000-8000-000000000000"
ACTIVE, DISABLED, BLOCKED = AccountStatus.ACTIVE, AccountStatus.DISABLED, AccountStatus.BLOCKED


def new_account(username: str, **changes: object) -> NewAccount:
    """Return an account to be created."""
    account = NewAccount(id=uuid7(), username=username, email=None, password_hash=OLD_HASH)
    return replace(account, **changes)  # type: ignore[arg-type]


async def create(storage: Storage, account: NewAccount) -> bool:
    """Create an account."""
    return await storage.accounts.create(account, event(EventName.ACCOUNT_CREATED))


async def now(storage: Storage, account: Account) -> Account:
    """Read the account again."""
    found = await storage.accounts.by_id(account.id)
    assert found is not None
    return found


class CreateContract(Contract):
    """`AccountStore.create` and the ways to find an account."""

    async def test_an_account_reads_as_it_was_made(self, storage: Storage) -> None:
        """By name and by id, with its roles; active, at epoch 0, without a second factor."""
        await storage.roles.sync({"maker": frozenset(), "checker": frozenset()}, event())
        made = new_account("ada", email="ada@example.org", roles=frozenset({"maker", "checker"}))
        assert await create(storage, made)
        found = await storage.accounts.by_username("ada")
        assert found is not None
        assert found == await storage.accounts.by_id(made.id)
        assert (found.id, found.username, found.email) == (made.id, "ada", "ada@example.org")
        assert (found.password_hash, found.roles) == (OLD_HASH, made.roles)
        assert (found.status, found.session_epoch, found.second_factor_required) == (ACTIVE, 0, False)
        assert found.created_at > 0
        assert len(await all_events(storage, EventName.ACCOUNT_CREATED)) == 1

    async def test_nobody_is_none(self, storage: Storage) -> None:
        """Unknown names and ids are None, also those that look like SQL or like a pattern."""
        await create(storage, new_account("ada"))
        for text in ("", "eve", "%", "_da", "' OR 1=1 --", NOBODY):
            assert await storage.accounts.by_username(text) is None
        assert await storage.accounts.by_id(NOBODY) is None

    @pytest.mark.parametrize("name", ["o'hara", 'a"b', "a;drop table limen_accounts", "100%", "ümläut", "日本語"])
    async def test_names_are_text_and_nothing_else(self, storage: Storage, name: str) -> None:
        """Whatever the name holds, it is stored and found as it is."""
        assert await create(storage, new_account(name))
        found = await storage.accounts.by_username(name)
        assert found is not None
        assert found.username == name

    async def test_a_taken_name_changes_nothing(self, storage: Storage) -> None:
        """The second account of a name is refused, without a record, and the first stays as it was."""
        await create(storage, new_account("ada", password_hash=OLD_HASH))
        before, events = await storage.accounts.by_username("ada"), await all_events(storage)
        assert not await create(storage, new_account("ada", password_hash=NEW_HASH))
        assert await storage.accounts.by_username("ada") == before
        assert await all_events(storage) == events

    async def test_an_id_is_never_used_twice(self, storage: Storage) -> None:
        """An id that is taken is an error, and the account behind it stays."""
        first = new_account("ada")
        await create(storage, first)
        with pytest.raises(LimenError):
            await create(storage, new_account("eve", id=first.id))
        found = await storage.accounts.by_id(first.id)
        assert found is not None
        assert found.username == "ada"

    async def test_one_of_many_gets_the_name(self, storage: Storage, peer: Storage) -> None:
        """Of twenty parallel registrations of one name one succeeds, and its id is the one that is found."""
        accounts = [new_account("ada") for _ in range(20)]
        made = await asyncio.gather(*(create((storage, peer)[n % 2], account) for n, account in enumerate(accounts)))
        found = await storage.accounts.by_username("ada")
        assert sum(made) == 1
        assert found is not None
        assert found.id == accounts[made.index(True)].id
        assert len(await all_events(storage, EventName.ACCOUNT_CREATED)) == 1

    async def test_an_unknown_role_makes_no_account(self, storage: Storage) -> None:
        """A role that does not exist is an error; no account, no record, and the name stays free."""
        with pytest.raises(LimenError):
            await create(storage, new_account("ada", roles=frozenset({"no-such-role"})))
        assert await storage.accounts.by_username("ada") is None
        assert not await all_events(storage)
        assert await create(storage, new_account("ada"))

    async def test_create_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, there is no account."""
        with pytest.raises(Exception, match=r".+"):
            await storage.accounts.create(new_account("ada"), BROKEN_EVENT)
        assert await storage.accounts.by_username("ada") is None


class PageContract(Contract):
    """`AccountStore.page`."""

    async def test_pages_in_order(self, storage: Storage) -> None:
        """Following ``after`` from page to page meets every account once, in the order of the names."""
        names = [f"user-{n:02}" for n in range(7)]
        for name in reversed(names):
            await create(storage, new_account(name))
        met: list[str] = []
        after: str | None = None
        while page := await storage.accounts.page(query="", limit=3, after=after):
            assert len(page) <= 3
            met += [account.username for account in page]
            after = met[-1]
        assert met == names

    async def test_the_query_is_in_the_name_or_the_address(self, storage: Storage) -> None:
        """Part of a username or of an e-mail finds the account, whatever the case of the query."""
        await create(storage, new_account("ada", email="lovelace@example.org"))
        await create(storage, new_account("grace", email="hopper@example.net"))
        await create(storage, new_account("alan"))
        assert await self._names(storage, "LOVE") == ["ada"]
        assert await self._names(storage, "example") == ["ada", "grace"]
        assert await self._names(storage, "a") == ["ada", "alan", "grace"]
        assert await self._names(storage, "nobody") == []

    async def test_the_query_is_no_pattern(self, storage: Storage) -> None:
        """Percent signs, underscores and backslashes stand for themselves."""
        for name in ("a_c", "abc", "100%", "1000", "back\\slash"):
            await create(storage, new_account(name))
        assert await self._names(storage, "a_c") == ["a_c"]
        assert await self._names(storage, "100%") == ["100%"]
        assert await self._names(storage, "%") == ["100%"]
        assert await self._names(storage, "\\") == ["back\\slash"]
        assert await self._names(storage, "' OR '1'='1") == []

    @staticmethod
    async def _names(storage: Storage, query: str) -> list[str]:
        return [account.username for account in await storage.accounts.page(query=query, limit=50, after=None)]


class ChangeStatusContract(Contract):
    """`AccountStore.change_status`."""

    @pytest.mark.parametrize("to", [DISABLED, BLOCKED])
    async def test_leaving_active_ends_every_session(self, storage: Storage, to: AccountStatus) -> None:
        """The epoch is raised, the sessions are gone and listed, and one record is written."""
        account = await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(3)]
        assert await self._change(storage, account, ACTIVE, to) == StatusChange(changed=True, status=to)
        after = await now(storage, account)
        assert (after.status, after.session_epoch) == (to, 1)
        for opened in sessions:
            assert await storage.sessions.read(opened.sid) is None
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid for opened in sessions}
        assert len(await all_events(storage, EventName.ACCOUNT_DISABLED)) == 1

    async def test_coming_back_revives_nothing(self, storage: Storage) -> None:
        """An account that is active again has the epoch it was left with, and no session."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        await self._change(storage, account, ACTIVE, DISABLED)
        assert (await self._change(storage, account, DISABLED, ACTIVE)).changed
        after = await now(storage, account)
        assert (after.status, after.session_epoch) == (ACTIVE, 1)
        assert await rotate(storage, opened, b"next") is None

    async def test_a_change_from_another_state_is_none(self, storage: Storage) -> None:
        """What is not in the state it is to leave stays as it is: the answer tells its state, nothing is recorded."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        events = await all_events(storage)
        assert await self._change(storage, account, BLOCKED, DISABLED) == StatusChange(changed=False, status=ACTIVE)
        assert await self._change(storage, account, ACTIVE, ACTIVE) == StatusChange(changed=False, status=ACTIVE)
        assert await self._change(storage, replace(account, id=NOBODY), ACTIVE, DISABLED) == StatusChange(
            changed=False, status=None
        )
        assert await now(storage, account) == account
        assert await storage.sessions.read(opened.sid) is not None
        assert await all_events(storage) == events

    async def test_one_of_many_changes_it(self, storage: Storage, peer: Storage) -> None:
        """Of ten parallel disablings one changed it; all are told the state."""
        account = await an_account(storage)
        changes = await asyncio.gather(
            *(self._change((storage, peer)[n % 2], account, ACTIVE, DISABLED) for n in range(10))
        )
        assert sum(change.changed for change in changes) == 1
        assert {change.status for change in changes} == {DISABLED}
        assert (await now(storage, account)).session_epoch == 1

    async def test_a_change_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the account is active and its session lives."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        with pytest.raises(Exception, match=r".+"):
            await storage.accounts.change_status(
                account.id, of=ACTIVE, to=BLOCKED, event=BROKEN_EVENT, keep_ended_ms=KEEP_ENDED
            )
        assert await now(storage, account) == account
        assert await storage.sessions.read(opened.sid) is not None

    @staticmethod
    async def _change(storage: Storage, account: Account, of: AccountStatus, to: AccountStatus) -> StatusChange:
        return await storage.accounts.change_status(
            account.id, of=of, to=to, event=event(EventName.ACCOUNT_DISABLED), keep_ended_ms=KEEP_ENDED
        )


class ChangePasswordContract(Contract):
    """`AccountStore.change_password`."""

    async def test_a_rehash_touches_no_session(self, storage: Storage) -> None:
        """The same password under a new hash ends nothing and leaves the epoch."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        assert await self._change(storage, account, end_others=False)
        assert await now(storage, account) == replace(account, password_hash=NEW_HASH)
        assert await rotate(storage, opened, b"next") is not None
        assert len(await all_events(storage, EventName.PASSWORD_CHANGED)) == 1

    async def test_the_session_that_is_kept_lives_on(self, storage: Storage) -> None:
        """All others end and are listed; the one that is kept belongs to the new epoch and rotates."""
        account = await an_account(storage)
        kept, *others = [await a_session(storage, account) for _ in range(4)]
        assert await self._change(storage, account, keep_sid=kept.sid)
        assert (await now(storage, account)).session_epoch == 1
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid for opened in others}
        for opened in others:
            assert await storage.sessions.read(opened.sid) is None
            assert await rotate(storage, opened, b"next") is None
        assert await rotate(storage, kept, b"next") is not None
        found = await storage.sessions.read(kept.sid)
        assert found is not None
        assert found.account_holds

    async def test_without_one_to_keep_all_end(self, storage: Storage) -> None:
        """A reset keeps nothing."""
        account = await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(2)]
        assert await self._change(storage, account)
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid for opened in sessions}

    async def test_another_accounts_session_is_not_moved(self, storage: Storage) -> None:
        """To name somebody else's session as the one to keep neither keeps nor changes it."""
        account, other = await an_account(storage), await an_account(storage)
        own, foreign = await a_session(storage, account), await a_session(storage, other)
        assert await self._change(storage, account, keep_sid=foreign.sid)
        assert await storage.sessions.read(own.sid) is None
        assert await rotate(storage, foreign, b"next") is not None

    async def test_another_hash_is_refused(self, storage: Storage) -> None:
        """A hash that is not the stored one (the password was changed meanwhile) changes nothing."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        events = await all_events(storage)
        assert not await self._change(storage, account, seen_hash=NEW_HASH)
        assert await now(storage, account) == account
        assert await storage.sessions.read(opened.sid) is not None
        assert await all_events(storage) == events

    @pytest.mark.parametrize("status", [DISABLED, BLOCKED])
    async def test_only_an_active_account_changes_it(self, storage: Storage, status: AccountStatus) -> None:
        """The password of an account that may not be used stays as it is."""
        account = await an_account(storage)
        await storage.accounts.change_status(account.id, of=ACTIVE, to=status, event=event(), keep_ended_ms=KEEP_ENDED)
        assert not await self._change(storage, account)
        assert (await now(storage, account)).password_hash == OLD_HASH

    async def test_one_of_many_changes_it(self, storage: Storage, peer: Storage) -> None:
        """Of ten parallel changes that all saw the same hash one wins, and its hash is stored."""
        account = await an_account(storage)
        hashes = [f"$hash$new{n}" for n in range(10)]
        changed = await asyncio.gather(
            *(self._change((storage, peer)[n % 2], account, new_hash=new) for n, new in enumerate(hashes))
        )
        after = await now(storage, account)
        assert sum(changed) == 1
        assert after.password_hash == hashes[changed.index(True)]
        assert after.session_epoch == 1

    async def test_a_change_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the old hash, the epoch and the sessions stay."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        with pytest.raises(Exception, match=r".+"):
            await self._change(storage, account, event=BROKEN_EVENT)
        assert await now(storage, account) == account
        assert await rotate(storage, opened, b"next") is not None

    @staticmethod
    async def _change(storage: Storage, account: Account, **changes: object) -> bool:
        arguments: dict[str, object] = {
            "seen_hash": OLD_HASH,
            "new_hash": NEW_HASH,
            "event": event(EventName.PASSWORD_CHANGED),
            "end_others": True,
            "keep_ended_ms": KEEP_ENDED,
            **changes,
        }
        return await storage.accounts.change_password(account.id, **arguments)  # type: ignore[arg-type]
