"""The contract of the roles: who holds which, and that every process hears of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from limen.core.errors import Conflict
from limen.core.events import EventName
from limen.features.roles.store import Change, Holder
from limen.features.sessions.store import ALWAYS_READ_MS
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    rotate,
)
from limen.testing.contracts.roles import ADMIN, ROLES, assign, holder, listed, put, sync, version


class AssignRolesContract(Contract):
    """`RoleStore.assign` and `changed_since`: who holds what, and that everybody hears of it."""

    async def test_roles_are_granted_and_revoked(self, storage: Storage, peer: Storage) -> None:
        """At once, both, with one record; a session's next token has the roles of now."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker", "guest"}))
        opened = await a_session(storage, account)
        assert await assign(storage, account, grant=["checker"], revoke=["maker"]) is Change.DONE
        found = await holder(peer, account)
        assert found == Holder(account.id, "active", frozenset({"checker", "guest"}), 1)
        current = await rotate(storage, opened, b"next")
        assert current is not None
        assert current.roles == {"checker", "guest"}
        assert len(await all_events(storage, EventName.ROLES_ASSIGNED)) == 1

    async def test_a_retired_role_is_revoked(self, storage: Storage) -> None:
        """It is told beside those that count, and once it is revoked it does not come back with the code."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker", "checker", "guest"}))
        await sync(storage, {"guest": ROLES["guest"]})
        found = await holder(storage, account)
        assert found == Holder(account.id, "active", frozenset({"guest"}), 0, frozenset({"maker", "checker"}))
        assert await assign(storage, found, revoke=["maker"]) is Change.DONE
        await sync(storage, ROLES)
        assert await holder(storage, account) == Holder(account.id, "active", frozenset({"checker", "guest"}), 1)

    async def test_every_process_is_told_the_roles_of_now(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """The list has the account once, with what it holds, for as long as an older token may live."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        assert (await peer.roles.changed_since(0)).accounts == []
        await assign(storage, account, grant=["checker"])
        await assign(storage, account, revoke=["maker", "checker"])
        changes = await peer.roles.changed_since(0)
        assert changes.version == await version(storage)
        (entry,) = changes.accounts
        assert (entry.account_id, entry.roles) == (account.id, frozenset())
        # The clock may turn over a millisecond between the two, though one statement writes both.
        assert abs(entry.keep_until - entry.changed_at - KEEP_ENDED) < SECOND
        turn_clock(ALWAYS_READ_MS + SECOND)
        assert (await peer.roles.changed_since(entry.changed_at)).accounts == [entry]
        assert (await peer.roles.changed_since(entry.changed_at + 1)).accounts == []
        turn_clock(KEEP_ENDED)
        assert (await peer.roles.changed_since(0)).accounts == []

    async def test_what_changed_lately_is_always_told(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A clock that was ahead and went back hides nothing that changes afterwards."""
        await sync(storage, ROLES)
        first, second = await an_account(storage), await an_account(storage)
        await assign(storage, first, grant=["maker"])
        (entry,) = (await storage.roles.changed_since(0)).accounts
        turn_clock(-3600 * SECOND)
        await assign(storage, second, grant=["maker"])
        told = (await storage.roles.changed_since(entry.changed_at)).accounts
        assert second.id in {each.account_id for each in told}

    async def test_a_change_is_kept_for_the_longer_time(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A clock that went back between two changes does not make the list forget the account sooner."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker"])
        (before,) = (await storage.roles.changed_since(0)).accounts
        turn_clock(-300 * SECOND)
        await assign(storage, account, revoke=["maker"])
        (after,) = (await storage.roles.changed_since(0)).accounts
        assert after.roles == frozenset()
        assert after.keep_until == before.keep_until
        assert after.changed_at < before.changed_at

    async def test_the_list_is_swept(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """An entry goes when no token with other roles can be alive, and not before."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker"])
        assert await storage.sweep() == 0
        turn_clock(KEEP_ENDED + SECOND)
        assert await storage.sweep() == 1
        assert await storage.sweep() == 0

    async def test_what_was_judged_by_something_else_is_not_written(
        self, storage: Storage, set_status: Callable[..., Any]
    ) -> None:
        """Another catalogue, other roles of the account or of who acts, one of the two gone: nothing is written."""
        await sync(storage, ROLES)
        account, admin = await an_account(storage), await an_account(storage)
        actor, target = await holder(storage, admin), await holder(storage, account)
        seen = await version(storage)
        await put(storage, "other")
        assert await assign(storage, target, grant=["maker"], seen=seen, actor=actor) is Change.MOVED
        await assign(storage, account, grant=["guest"])
        assert await assign(storage, target, grant=["maker"], actor=actor) is Change.MOVED
        target = await holder(storage, account)
        await assign(storage, admin, grant=["guest"])
        assert await assign(storage, target, grant=["maker"], actor=actor) is Change.MOVED
        actor = await holder(storage, admin)
        for status in ("disabled", "blocked", "suspended", "deleted"):
            await set_status(admin.id, status)
            assert await assign(storage, target, grant=["maker"], actor=actor) is Change.MOVED
        await set_status(admin.id, "active")
        await set_status(account.id, "deleted")
        assert await assign(storage, target, grant=["maker"], actor=actor) is Change.MOVED
        await set_status(account.id, "disabled")
        assert await assign(storage, target, grant=["maker"], actor=actor) is Change.DONE
        assert (await holder(storage, account)).roles == {"maker", "guest"}
        assert len(await all_events(storage, EventName.ROLES_ASSIGNED)) == 3

    async def test_nobody_who_does_not_exist_is_granted_anything(self, storage: Storage) -> None:
        """An account that is not there is not among those read, and what is judged by it is not written."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        gone = Holder(account.id[:-4] + "0000", "active", frozenset(), 0)
        assert (await storage.roles.read([gone.id])).holders == {}
        assert await assign(storage, gone, grant=["maker"]) is Change.MOVED
        assert await listed(storage) == {}

    async def test_only_a_role_that_is_there_is_granted(self, storage: Storage) -> None:
        """Another one is a conflict, and what stood beside it is not written either."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"guest"}))
        with pytest.raises(Conflict):
            await assign(storage, account, grant=["maker", "nothing"], revoke=["guest"])
        assert await holder(storage, account) == Holder(account.id, "active", frozenset({"guest"}), 0)
        assert await listed(storage) == {}

    async def test_a_change_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the roles are as before and nothing is listed."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"guest"}))
        with pytest.raises(Exception, match=r".+"):
            await assign(storage, account, grant=["maker"], revoke=["guest"], recorded=BROKEN_EVENT)
        assert await holder(storage, account) == Holder(account.id, "active", frozenset({"guest"}), 0)
        assert await listed(storage) == {}

    async def test_the_last_administrator_keeps_the_role(
        self, storage: Storage, set_status: Callable[..., Any]
    ) -> None:
        """Others who hold it count only while they are active; whoever is none can be revoked it at any time."""
        await sync(storage, {**ROLES, **ADMIN})
        await put(storage, "chief", extends=["admin"])
        last = await an_account(storage, roles=frozenset({"chief"}))
        other = await an_account(storage, roles=frozenset({"admin"}))
        await set_status(other.id, "disabled")
        with pytest.raises(Conflict):
            await assign(storage, last, revoke=["chief"])
        assert (await holder(storage, last)).roles == {"chief"}
        assert await assign(storage, last, grant=["admin"], revoke=["chief"]) is Change.DONE
        assert await assign(storage, other, revoke=["admin"]) is Change.DONE
        with pytest.raises(Conflict):
            await assign(storage, last, revoke=["admin"])

    async def test_two_administrators_revoke_each_other_at_once(self, storage: Storage, peer: Storage) -> None:
        """One of them wins, and the other one is left without; an administrator remains."""
        await sync(storage, ADMIN)
        first, second = [await an_account(storage, roles=frozenset({"admin"})) for _ in range(2)]
        for _ in range(20):
            one, other = await holder(storage, first), await holder(storage, second)
            answers = await asyncio.gather(
                assign(storage, other, revoke=["admin"], actor=one), assign(peer, one, revoke=["admin"], actor=other)
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            one, other = await holder(storage, first), await holder(storage, second)
            assert [one.roles, other.roles].count(frozenset({"admin"})) == 1
            loser = one if not one.roles else other
            await assign(storage, loser, grant=["admin"])

    async def test_the_operator_takes_two_administrators_away_at_once(self, storage: Storage, peer: Storage) -> None:
        """One of the two stays, whoever asks: the second is refused."""
        await sync(storage, ADMIN)
        first, second = [await an_account(storage, roles=frozenset({"admin"})) for _ in range(2)]
        for _ in range(20):
            answers = await asyncio.gather(
                assign(storage, first, revoke=["admin"]),
                assign(peer, second, revoke=["admin"]),
                return_exceptions=True,
            )
            assert answers.count(Change.DONE) == 1
            assert [type(answer) for answer in answers if answer is not Change.DONE] == [Conflict]
            await assign(storage, first if answers[0] is Change.DONE else second, grant=["admin"])

    async def test_who_loses_the_role_at_the_same_time_grants_nothing_after(
        self, storage: Storage, peer: Storage
    ) -> None:
        """Either the grant was first, or it is not made: never a grant by somebody who has lost the right."""
        await sync(storage, {**ROLES, **ADMIN})
        await an_account(storage, roles=frozenset({"admin"}))
        for _ in range(20):
            actor = await holder(storage, await an_account(storage, roles=frozenset({"admin"})))
            target = await holder(storage, await an_account(storage))
            granting = event(EventName.ROLES_ASSIGNED, target=target.id)
            revoking = event(EventName.ROLES_ASSIGNED, target=actor.id)
            granted, revoked = await asyncio.gather(
                assign(storage, target, grant=["maker"], actor=actor, recorded=granting),
                assign(peer, actor, revoke=["admin"], recorded=revoking),
            )
            assert revoked is Change.DONE
            order = [record.target for record in await all_events(storage, EventName.ROLES_ASSIGNED)]
            assert order[-1] == actor.id
            assert (target.id in order) == (granted is Change.DONE)
            assert (await holder(storage, target)).roles == ({"maker"} if granted is Change.DONE else frozenset())

    async def test_of_two_changes_of_one_account_one_is_made(self, storage: Storage, peer: Storage) -> None:
        """Two who read the same roles do not overwrite each other."""
        await sync(storage, ROLES)
        for _ in range(20):
            target = await holder(storage, await an_account(storage, roles=frozenset({"guest"})))
            answers = await asyncio.gather(
                assign(storage, target, grant=["maker"], revoke=["guest"]), assign(peer, target, grant=["checker"])
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            found = await holder(storage, target)
            assert found.roles == ({"maker"} if answers[0] is Change.DONE else {"guest", "checker"})
            assert found.version == 1
