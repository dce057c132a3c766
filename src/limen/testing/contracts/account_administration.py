"""The contract of what only an administrator does to an account."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from limen.authz.authority import Authority, AuthorityMoved
from limen.core.errors import Conflict
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, AccountStatus, NewAccount, StatusChange
from limen.features.roles.store import Change, Seen
from limen.features.sessions.store import EndReason
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
ADMINISTRATORS = {"chief": frozenset({"roles:assign"}), "maker": frozenset({"order:create"})}


async def delete(storage: Storage, account: Account) -> bool:
    """Delete the account."""
    return await storage.accounts.delete(account.id, event=event(EventName.ACCOUNT_DELETED), keep_ended_ms=KEEP_ENDED)


async def _disable(storage: Storage, account: Account, authority: Authority) -> None:
    change = await storage.accounts.change_status(
        account.id, of=ACTIVE, to=DISABLED, event=event(), keep_ended_ms=KEEP_ENDED, authority=authority
    )
    assert change.changed


async def _delete(storage: Storage, account: Account, authority: Authority) -> None:
    assert await storage.accounts.delete(account.id, event=event(), keep_ended_ms=KEEP_ENDED, authority=authority)


async def _set_email(storage: Storage, account: Account, authority: Authority) -> None:
    assert await storage.accounts.set_email(account.id, "ada@example.org", event=event(), authority=authority)


async def _end_all(storage: Storage, account: Account, authority: Authority) -> None:
    await storage.sessions.end_all(
        account.id, reason=EndReason.ADMINISTRATION, event=event(), keep_ended_ms=KEEP_ENDED, authority=authority
    )


VERBS: Mapping[str, Callable[[Storage, Account, Authority], Awaitable[None]]] = {
    "disable": _disable,
    "delete": _delete,
    "set_email": _set_email,
    "end_all": _end_all,
}
"""Every verb that acts on an account with an authority."""


async def now(storage: Storage, account: Account) -> Account:
    """Read the account again."""
    found = await storage.accounts.by_id(account.id)
    assert found is not None
    return found


class DeleteContract(Contract):
    """`AccountAdministrationStore.delete`."""

    async def test_a_tombstone_is_left(self, storage: Storage) -> None:
        """Id and time stay; name, address, hash and roles are gone, the epoch is raised, one record is written."""
        await storage.roles.sync({"maker": frozenset()}, event())
        account = await an_account(storage, roles=frozenset({"maker"}), email="ada@example.org")
        assert await delete(storage, account)
        after = await now(storage, account)
        assert after == replace(
            account,
            username=f"deleted {account.id}",
            email=None,
            password_hash=None,
            status=AccountStatus.DELETED,
            roles=frozenset(),
            session_epoch=1,
        )
        assert await storage.accounts.by_username(account.username) is None
        assert len(await all_events(storage, EventName.ACCOUNT_DELETED)) == 1

    async def test_every_session_ends(self, storage: Storage) -> None:
        """The rows are gone, each is listed as ended, and nothing rotates."""
        account, other = await an_account(storage), await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(3)]
        bystander = await a_session(storage, other)
        assert await delete(storage, account)
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid for opened in sessions}
        for opened in sessions:
            assert await storage.sessions.read(opened.sid) is None
            assert await rotate(storage, opened, b"next") is None
        assert await rotate(storage, bystander, b"next") is not None

    async def test_nothing_brings_it_back(self, storage: Storage) -> None:
        """No change of status, password or address touches it; deleting it again changes nothing."""
        account = await an_account(storage)
        assert await delete(storage, account)
        after, events = await now(storage, account), await all_events(storage)
        for of in AccountStatus:
            for to in AccountStatus:
                change = await storage.accounts.change_status(
                    account.id, of=of, to=to, event=event(), keep_ended_ms=KEEP_ENDED
                )
                assert change == StatusChange(changed=False, status=AccountStatus.DELETED)
        assert not await storage.accounts.change_password(
            account.id, seen_hash=OLD_HASH, new_hash=NEW_HASH, event=event(), end_others=True
        )
        assert not await storage.accounts.set_email(account.id, "ada@example.org", event=event())
        assert not await delete(storage, account)
        assert await now(storage, account) == after
        assert await all_events(storage) == events

    async def test_the_name_is_free_again(self, storage: Storage) -> None:
        """Somebody else may take it, and nobody can find the tombstone by name or in a list."""
        account = await an_account(storage)
        assert await delete(storage, account)
        again = NewAccount(id=uuid7(), username=account.username, email=None, password_hash=OLD_HASH)
        assert await storage.accounts.create(again, event(EventName.ACCOUNT_CREATED))
        found = await storage.accounts.by_username(account.username)
        assert found is not None
        assert found.id == again.id
        for query in ("", account.username, account.id, "deleted"):
            listed = await storage.accounts.page(query=query, limit=50, after=None)
            assert account.id not in {each.id for each in listed}

    async def test_no_status_becomes_deleted(self, storage: Storage) -> None:
        """To change the status to deleted deletes nothing: there is a verb for it."""
        account = await an_account(storage)
        change = await storage.accounts.change_status(
            account.id, of=ACTIVE, to=AccountStatus.DELETED, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert change == StatusChange(changed=False, status=ACTIVE)
        assert await now(storage, account) == account

    async def test_whatever_its_state(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """A disabled or blocked account, or one in a state of a later version, can be deleted too."""
        for status in ("disabled", "blocked", "under-review"):
            account = await an_account(storage)
            await set_status(account.id, status)
            assert await delete(storage, account)
            assert (await now(storage, account)).status is AccountStatus.DELETED

    async def test_nobody_is_not_deleted(self, storage: Storage) -> None:
        """Where there is no such account nothing is written."""
        assert not await storage.accounts.delete(NOBODY, event=event(), keep_ended_ms=KEEP_ENDED)
        assert not await all_events(storage)

    async def test_one_of_many_deletes_it(self, storage: Storage, peer: Storage) -> None:
        """Of ten parallel deletions one did it; one record, one epoch."""
        account = await an_account(storage)
        answers = await asyncio.gather(*(delete((storage, peer)[n % 2], account) for n in range(10)))
        assert sum(answers) == 1
        assert (await now(storage, account)).session_epoch == 1
        assert len(await all_events(storage, EventName.ACCOUNT_DELETED)) == 1

    async def test_a_deletion_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the account is as before and its session lives."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        with pytest.raises(Exception, match=r".+"):
            await storage.accounts.delete(account.id, event=BROKEN_EVENT, keep_ended_ms=KEEP_ENDED)
        assert await now(storage, account) == account
        assert await rotate(storage, opened, b"next") is not None


class SetEmailContract(Contract):
    """`AccountAdministrationStore.set_email`."""

    async def test_an_address_is_replaced_and_removed(self, storage: Storage) -> None:
        """Nothing else changes, no session ends, and each is one record."""
        account = await an_account(storage, email="ada@example.org")
        opened = await a_session(storage, account)
        for number, email in enumerate(("ada@example.net", None), 1):
            assert await storage.accounts.set_email(account.id, email, event=event(EventName.EMAIL_CHANGED))
            assert await now(storage, account) == replace(account, email=email)
            assert len(await all_events(storage, EventName.EMAIL_CHANGED)) == number
        assert await rotate(storage, opened, b"next") is not None

    async def test_nobody_has_no_address(self, storage: Storage) -> None:
        """Where there is no such account nothing is written."""
        assert not await storage.accounts.set_email(NOBODY, "ada@example.org", event=event())
        assert not await all_events(storage)

    async def test_an_address_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the address is as before."""
        account = await an_account(storage, email="ada@example.org")
        with pytest.raises(Exception, match=r".+"):
            await storage.accounts.set_email(account.id, None, event=BROKEN_EVENT)
        assert await now(storage, account) == account


class SetTemporaryPasswordContract(Contract):
    """`AccountAdministrationStore.set_temporary_password`."""

    async def test_it_is_set_until_its_time(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """The hash is another one, the epoch is raised, every session ends; after its time it reads as expired."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        assert await self._set(storage, account)
        after = await now(storage, account)
        assert after.password_temporary
        assert not after.password_expired
        assert (after.password_hash, after.session_epoch) == (NEW_HASH, 1)
        assert await rotate(storage, opened, b"next") is None
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid}
        assert len(await all_events(storage, EventName.PASSWORD_SET)) == 1
        turn_clock(60_001)
        by_name = await storage.accounts.by_username(account.username)
        assert by_name is not None
        assert by_name.password_expired

    async def test_another_password_takes_its_place(self, storage: Storage) -> None:
        """A rehash leaves it temporary, a change makes it the account's own; both only with the hash that was seen."""
        account = await an_account(storage)
        assert await self._set(storage, account)
        for end_others, seen, new in ((False, NEW_HASH, OLD_HASH), (True, OLD_HASH, NEW_HASH)):
            assert await storage.accounts.change_password(
                account.id, seen_hash=seen, new_hash=new, event=event(), end_others=end_others
            )
            assert (await now(storage, account)).password_temporary is not end_others

    async def test_it_is_refused(self, storage: Storage) -> None:
        """For nobody, and for a deleted account, nothing is written."""
        account = await an_account(storage)
        assert await delete(storage, account)
        before, events = await now(storage, account), await all_events(storage)
        assert not await self._set(storage, account)
        assert not await self._set(storage, replace(account, id=NOBODY))
        assert await now(storage, account) == before
        assert await all_events(storage) == events

    @staticmethod
    async def _set(storage: Storage, account: Account) -> bool:
        return await storage.accounts.set_temporary_password(
            account.id,
            new_hash=NEW_HASH,
            lifetime_ms=60_000,
            event=event(EventName.PASSWORD_SET),
            keep_ended_ms=KEEP_ENDED,
        )


class LastAdministratorContract(Contract):
    """No verb on accounts takes away the last active account with a role that gives ``roles:assign``."""

    @pytest.mark.parametrize("verb", ["disable", "block", "delete"])
    async def test_the_last_one_stays(self, storage: Storage, verb: str) -> None:
        """It is refused, and nothing is changed or recorded; with a second one it is done."""
        await storage.roles.sync(ADMINISTRATORS, event())
        chief = await an_account(storage, roles=frozenset({"chief", "maker"}))
        await an_account(storage, roles=frozenset({"maker"}))
        opened, events = await a_session(storage, chief), await all_events(storage)
        with pytest.raises(Conflict):
            await self._take_away(storage, chief, verb)
        assert await now(storage, chief) == chief
        assert await storage.sessions.read(opened.sid) is not None
        assert len(await all_events(storage)) == len(events)
        await an_account(storage, roles=frozenset({"chief"}))
        await self._take_away(storage, chief, verb)
        assert (await now(storage, chief)).status is not ACTIVE

    async def test_one_who_is_disabled_does_not_count(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """An administrator who cannot log in is none."""
        await storage.roles.sync(ADMINISTRATORS, event())
        chief, other = [await an_account(storage, roles=frozenset({"chief"})) for _ in range(2)]
        await set_status(other.id, "disabled")
        with pytest.raises(Conflict):
            await self._take_away(storage, chief, "delete")
        await self._take_away(storage, other, "delete")

    async def test_of_several_at_once_one_remains(self, storage: Storage, peer: Storage) -> None:
        """Five administrators, each taken away by another process at the same moment: one of them is still there."""
        await storage.roles.sync(ADMINISTRATORS, event())
        chiefs = [await an_account(storage, roles=frozenset({"chief"})) for _ in range(5)]
        verbs = ["disable", "delete", "block", "delete", "disable"]
        answers = await asyncio.gather(
            *(self._take_away((storage, peer)[n % 2], chief, verbs[n]) for n, chief in enumerate(chiefs)),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Conflict) for answer in answers) == 1, answers
        assert [(await now(storage, chief)).status for chief in chiefs].count(ACTIVE) == 1

    @staticmethod
    async def _take_away(storage: Storage, account: Account, verb: str) -> None:
        if verb == "delete":
            assert await delete(storage, account)
            return
        to = DISABLED if verb == "disable" else BLOCKED
        change = await storage.accounts.change_status(
            account.id, of=ACTIVE, to=to, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert change.changed


class AuthorityContract(Contract):
    """Every verb that is given an authority asks in its own transaction whether that still holds."""

    @pytest.mark.parametrize("verb", VERBS)
    async def test_what_still_holds_is_done(self, storage: Storage, verb: str) -> None:
        """An authority that was read just before lets every verb through."""
        actor, target = await self._two(storage)
        await VERBS[verb](storage, target, await self._authority(storage, actor, target))

    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize("moved", ["target", "actor", "actor off", "actor gone", "catalogue"])
    async def test_what_has_moved_is_not_done(self, storage: Storage, verb: str, moved: str) -> None:
        """A role granted to the account, taken from who acts, or redefined: nothing is changed or written."""
        actor, target = await self._two(storage)
        opened = await a_session(storage, target)
        authority = await self._authority(storage, actor, target)
        if moved == "catalogue":
            await storage.roles.sync({**ADMINISTRATORS, "other": frozenset({"order:read"})}, event())
        elif moved == "actor off":
            await storage.accounts.change_status(
                actor.id, of=ACTIVE, to=DISABLED, event=event(), keep_ended_ms=KEEP_ENDED
            )
        elif moved == "actor gone":
            assert await delete(storage, actor)
        else:
            await self._grant(storage, actor if moved == "actor" else target)
        before, events = await now(storage, target), await all_events(storage)
        with pytest.raises(AuthorityMoved):
            await VERBS[verb](storage, target, authority)
        assert await now(storage, target) == before
        assert await all_events(storage) == events
        assert await storage.sessions.read(opened.sid) is not None

    @pytest.mark.parametrize("moved", ["actor", "catalogue"])
    async def test_no_account_is_made_by_what_has_moved(self, storage: Storage, moved: str) -> None:
        """The same for an account that is not there yet; with what still holds it is made."""
        actor, target = await self._two(storage)
        authority = replace(await self._authority(storage, actor, target), target_version=None)
        new = NewAccount(id=uuid7(), username="ada", email=None, password_hash=None, roles=frozenset({"maker"}))
        if moved == "actor":
            await self._grant(storage, actor)
        else:
            await storage.roles.sync({**ADMINISTRATORS, "other": frozenset()}, event())
        with pytest.raises(AuthorityMoved):
            await storage.accounts.create(new, event(), authority=authority)
        assert await storage.accounts.by_username("ada") is None
        authority = replace(await self._authority(storage, actor, target), target_version=None)
        assert await storage.accounts.create(new, event(), authority=authority)

    async def test_two_who_act_on_each_other(self, storage: Storage, peer: Storage) -> None:
        """Neither waits for the other for ever: each act is done or finds that who acts is gone."""
        one, other = await self._two(storage)
        await an_account(storage, roles=frozenset({"chief"}))
        pairs = [(one, other), (other, one)]
        authorities = [await self._authority(storage, *pair) for pair in pairs]
        answers = await asyncio.gather(
            *(VERBS["delete"]((storage, peer)[n], pairs[n][1], authorities[n]) for n in range(2)),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["AuthorityMoved", "NoneType"]

    @staticmethod
    async def _two(storage: Storage) -> tuple[Account, Account]:
        await storage.roles.sync(ADMINISTRATORS, event())
        await an_account(storage, roles=frozenset({"chief"}))
        return await an_account(storage, roles=frozenset({"chief"})), await an_account(storage)

    @staticmethod
    async def _authority(storage: Storage, actor: Account, target: Account) -> Authority:
        read = await storage.roles.read([actor.id, target.id])
        return Authority(read.version, actor.id, read.holders[actor.id].version, read.holders[target.id].version)

    @staticmethod
    async def _grant(storage: Storage, account: Account) -> None:
        read = await storage.roles.read([account.id])
        done = await storage.roles.assign(
            read.holders[account.id],
            grant=["maker"],
            revoke=[],
            seen=Seen(read.version),
            event=event(),
            keep_ended_ms=KEEP_ENDED,
        )
        assert done is Change.DONE
