"""The contract of the roles: those that the code declares, and those of the database."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from limen.core.errors import Conflict, LimenError
from limen.core.events import EventName
from limen.features.accounts.store import Account
from limen.features.roles.store import Change, Definition, Holder, RoleSource, Seen
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    rotate,
)

ROLES = {
    "maker": frozenset({"order:create", "order:read"}),
    "checker": frozenset({"order:approve", "order:read"}),
    "guest": frozenset[str](),
}
ADMIN = {"admin": frozenset({"roles:assign"})}


async def sync(storage: Storage, roles: Mapping[str, frozenset[str]]) -> bool:
    """Make the stored roles of code be these."""
    return await storage.roles.sync(roles, event(EventName.ROLES_SYNCED))


async def permissions(storage: Storage) -> dict[str, frozenset[str]]:
    """Return what each stored role gives by itself."""
    snapshot = await storage.roles.read()
    return {name: role.definition.permissions for name, role in snapshot.roles.items()}


async def version(storage: Storage) -> int:
    """Return the catalogue's version."""
    return (await storage.roles.read()).version


async def put(
    storage: Storage,
    name: str,
    *gives: str,
    extends: Iterable[str] = (),
    seen: int | None = None,
    actor: Holder | None = None,
    recorded: Any = None,
) -> Change:
    """Make or replace a role, by what is seen now unless something else is said to have been seen."""
    judged = Seen(await version(storage) if seen is None else seen, actor)
    role = Definition(name, frozenset(gives), frozenset(extends))
    return await storage.roles.put(role, seen=judged, event=recorded or event(EventName.ROLE_CHANGED))


async def delete(storage: Storage, name: str, *, seen: int | None = None, actor: Holder | None = None) -> Change:
    """Delete a role, by what is seen now unless something else is said to have been seen."""
    judged = Seen(await version(storage) if seen is None else seen, actor)
    return await storage.roles.delete(name, seen=judged, event=event(EventName.ROLE_DELETED))


async def holder(storage: Storage, account: Account | Holder) -> Holder:
    """Read an account that must be there, as far as roles are concerned."""
    return (await storage.roles.read([account.id])).holders[account.id]


async def assign(
    storage: Storage,
    target: Account | Holder,
    *,
    grant: Iterable[str] = (),
    revoke: Iterable[str] = (),
    seen: int | None = None,
    actor: Holder | None = None,
    recorded: Any = None,
    until: int | None = None,
) -> Change:
    """Grant and revoke; a `Holder` is handed in as it is, an account is read first."""
    return await storage.roles.assign(
        target if isinstance(target, Holder) else await holder(storage, target),
        grant=frozenset(grant),
        revoke=frozenset(revoke),
        seen=Seen(await version(storage) if seen is None else seen, actor),
        event=recorded or event(EventName.ROLES_ASSIGNED),
        keep_ended_ms=KEEP_ENDED,
        until=until,
    )


async def listed(storage: Storage) -> dict[str, frozenset[str]]:
    """Return the accounts that are listed as changed, with their roles."""
    return {each.account_id: each.roles for each in (await storage.roles.changed_since(0)).accounts}


class RolesContract(Contract):
    """`RoleStore.sync` and `read`: what the code declares."""

    async def test_what_is_synced_is_stored(self, storage: Storage, peer: Storage) -> None:
        """Every role and permission can be read by another process, a role without permissions too."""
        assert await permissions(storage) == {}
        assert await sync(storage, ROLES)
        assert await permissions(peer) == ROLES
        snapshot = await peer.roles.read()
        assert {role.source for role in snapshot.roles.values()} == {RoleSource.CODE}

    async def test_the_same_again_is_no_change(self, storage: Storage) -> None:
        """The second start finds nothing to do, records nothing, and leaves the version as it is."""
        assert await sync(storage, ROLES)
        before = await version(storage)
        assert not await sync(storage, ROLES)
        assert len(await all_events(storage, EventName.ROLES_SYNCED)) == 1
        assert await version(storage) == before

    async def test_permissions_follow_the_code(self, storage: Storage) -> None:
        """What the code adds is added, what it takes away is taken away, and the version is raised."""
        await sync(storage, ROLES)
        before = await version(storage)
        changed = {**ROLES, "maker": frozenset({"order:read", "order:withdraw"}), "auditor": frozenset({"event:read"})}
        del changed["guest"]
        assert await sync(storage, changed)
        assert await permissions(storage) == changed
        assert len(await all_events(storage, EventName.ROLES_SYNCED)) == 2
        assert await version(storage) == before + 1

    async def test_a_role_that_is_no_longer_declared_gives_nothing(self, storage: Storage) -> None:
        """It is nobody's any more, in accounts and in tokens, and cannot be given."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker", "checker"}))
        opened = await a_session(storage, account)
        assert await sync(storage, {"checker": ROLES["checker"]})
        assert await permissions(storage) == {"checker": ROLES["checker"]}
        found = await storage.accounts.by_id(account.id)
        assert found is not None
        assert found.roles == {"checker"}
        assert (await holder(storage, account)).roles == {"checker"}
        current = await rotate(storage, opened, b"next")
        assert current is not None
        assert current.roles == {"checker"}
        with pytest.raises(LimenError):
            await an_account(storage, roles=frozenset({"maker"}))
        with pytest.raises(Conflict):
            await assign(storage, account, grant=["maker"])

    async def test_assignments_are_not_touched(self, storage: Storage) -> None:
        """Declared again (an older version started once more), the role is theirs who held it."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        await sync(storage, {})
        assert not await sync(storage, {})
        assert await sync(storage, ROLES)
        found = await storage.accounts.by_id(account.id)
        assert found is not None
        assert found.roles == {"maker"}
        assert await permissions(storage) == ROLES

    async def test_what_is_listed_of_an_account_follows_the_code(self, storage: Storage) -> None:
        """While a role is retired it is not in the list either, else no new token could ever be the right one."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        await assign(storage, account, grant=["checker"])
        assert await listed(storage) == {account.id: {"maker", "checker"}}
        await sync(storage, {"checker": ROLES["checker"]})
        assert await listed(storage) == {account.id: {"checker"}}
        await sync(storage, ROLES)
        assert await listed(storage) == {account.id: {"maker", "checker"}}

    async def test_two_processes_start_at_once(self, storage: Storage, peer: Storage) -> None:
        """Of parallel syncs of the same roles one changed something; the roles are whole."""
        answers = await asyncio.gather(*(sync((storage, peer)[n % 2], ROLES) for n in range(8)))
        assert sum(answers) == 1
        assert await permissions(storage) == ROLES

    async def test_a_sync_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the roles and the version are as before."""
        await sync(storage, ROLES)
        before = await version(storage)
        with pytest.raises(Exception, match=r".+"):
            await storage.roles.sync({}, BROKEN_EVENT)
        assert await permissions(storage) == ROLES
        assert await version(storage) == before

    async def test_roles_of_the_database_are_left_alone(self, storage: Storage) -> None:
        """What was made there survives every start of the application."""
        await put(storage, "auditor", "event:read")
        await sync(storage, ROLES)
        await sync(storage, {})
        snapshot = await storage.roles.read()
        assert snapshot.roles["auditor"].source is RoleSource.DATABASE
        assert snapshot.roles["auditor"].definition.permissions == {"event:read"}

    async def test_the_code_wins_where_both_have_the_name(self, storage: Storage) -> None:
        """The role is the code's from then on, with what the code says alone; the event tells it."""
        await put(storage, "base", "order:read")
        await put(storage, "auditor", "event:read", extends=["base"])
        account = await an_account(storage, roles=frozenset({"auditor"}))
        assert await sync(storage, {"auditor": frozenset({"event:list"})})
        role = (await storage.roles.read()).roles["auditor"]
        assert (role.source, role.definition) == (
            RoleSource.CODE,
            Definition("auditor", frozenset({"event:list"})),
        )
        assert (await holder(storage, account)).roles == {"auditor"}
        (record,) = await all_events(storage, EventName.ROLES_SYNCED)
        assert record.data["taken_over"] == ["auditor"]

    async def test_a_role_that_others_extend_is_retired(self, storage: Storage) -> None:
        """No longer declared, it gives nothing to those that extend it, which stay; declared again, it gives again."""
        await sync(storage, ROLES)
        await put(storage, "lead", "order:assign", extends=["maker"])
        await sync(storage, {})
        assert (await storage.roles.read()).roles["lead"].definition.extends == frozenset()
        with pytest.raises(Conflict):
            await put(storage, "maker", "order:pay")
        await sync(storage, ROLES)
        assert (await storage.roles.read()).roles["lead"].definition.extends == {"maker"}

    async def test_the_application_may_take_the_last_administrator(self, storage: Storage) -> None:
        """An application that starts with other roles starts; its operator can grant again."""
        await sync(storage, ADMIN)
        await an_account(storage, roles=frozenset({"admin"}))
        assert await sync(storage, {"admin": frozenset({"roles:read"})})
        assert await permissions(storage) == {"admin": {"roles:read"}}


class RoleDefinitionsContract(Contract):
    """`RoleStore.put` and `delete`: roles of the database."""

    async def test_a_role_is_made_and_replaced(self, storage: Storage, peer: Storage) -> None:
        """Permissions and extensions are exactly those of the last time; each raises the version and is recorded."""
        await put(storage, "reader", "order:read")
        await put(storage, "writer", "order:create", "order:update", extends=["reader"])
        before = await version(storage)
        assert await put(storage, "writer", "order:update", "order:delete") is Change.DONE
        snapshot = await peer.roles.read()
        assert snapshot.roles["writer"].definition == Definition("writer", frozenset({"order:update", "order:delete"}))
        assert snapshot.roles["writer"].source is RoleSource.DATABASE
        assert snapshot.version == before + 1
        assert len(await all_events(storage, EventName.ROLE_CHANGED)) == 3

    async def test_what_was_judged_by_another_version_is_not_written(self, storage: Storage) -> None:
        """Neither making, changing nor deleting: the answer says so, and nothing is recorded."""
        await put(storage, "reader", "order:read")
        stale = await version(storage) - 1
        assert await put(storage, "reader", "order:delete", seen=stale) is Change.MOVED
        assert await put(storage, "writer", "order:delete", seen=stale) is Change.MOVED
        assert await delete(storage, "reader", seen=stale) is Change.MOVED
        assert await permissions(storage) == {"reader": {"order:read"}}
        assert len(await all_events(storage)) == 1
        assert await version(storage) == stale + 1

    async def test_who_acts_must_be_as_they_were(self, storage: Storage, set_status: Callable[..., Any]) -> None:
        """Roles changed meanwhile, or no longer active: nothing is written."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        actor = await holder(storage, account)
        assert await put(storage, "reader", "order:read", actor=actor) is Change.DONE
        await assign(storage, account, grant=["checker"])
        assert await put(storage, "writer", "order:read", actor=actor) is Change.MOVED
        assert await delete(storage, "reader", actor=actor) is Change.MOVED
        actor = await holder(storage, account)
        await set_status(account.id, "disabled")
        assert await put(storage, "writer", "order:read", actor=actor) is Change.MOVED
        assert await delete(storage, "reader", actor=actor) is Change.MOVED
        assert set(await permissions(storage)) == {*ROLES, "reader"}

    async def test_a_role_of_the_code_is_read_only(self, storage: Storage) -> None:
        """It can be neither replaced nor deleted."""
        await sync(storage, ROLES)
        before = await storage.roles.read()
        with pytest.raises(Conflict):
            await put(storage, "maker", "order:delete")
        with pytest.raises(Conflict):
            await delete(storage, "maker")
        assert await storage.roles.read() == before

    async def test_what_is_extended_must_be_there(self, storage: Storage) -> None:
        """A role that extends an unknown one is not made, not even in part."""
        with pytest.raises(Conflict):
            await put(storage, "writer", "order:create", extends=["reader"])
        assert await permissions(storage) == {}
        assert await version(storage) == 0

    async def test_no_role_extends_itself(self, storage: Storage) -> None:
        """Neither directly nor through others."""
        for name, extends in (("first", []), ("second", ["first"]), ("third", ["second"])):
            await put(storage, name, "order:read", extends=extends)
        before = await storage.roles.read()
        with pytest.raises(Conflict):
            await put(storage, "first", extends=["third"])
        with pytest.raises(Conflict):
            await put(storage, "first", extends=["first"])
        assert await storage.roles.read() == before

    async def test_a_role_is_deleted(self, storage: Storage) -> None:
        """With what it gives and extends; the version is raised, and the name is free again."""
        await put(storage, "reader", "order:read")
        await put(storage, "writer", "order:create", extends=["reader"])
        before = await version(storage)
        assert await delete(storage, "writer") is Change.DONE
        assert await permissions(storage) == {"reader": {"order:read"}}
        assert await version(storage) == before + 1
        await put(storage, "writer")
        snapshot = await storage.roles.read()
        assert snapshot.roles["writer"].definition == Definition("writer")
        assert len(await all_events(storage, EventName.ROLE_DELETED)) == 1

    async def test_a_role_in_use_is_not_deleted(self, storage: Storage) -> None:
        """Not while an account holds it, not while another role extends it, and not where there is none."""
        await put(storage, "reader", "order:read")
        await put(storage, "writer", extends=["reader"])
        account = await an_account(storage, roles=frozenset({"writer"}))
        before = await storage.roles.read()
        for name in ("reader", "writer", "nothing"):
            with pytest.raises(Conflict):
                await delete(storage, name)
        assert await storage.roles.read() == before
        await assign(storage, account, revoke=["writer"])
        assert await delete(storage, "writer") is Change.DONE
        assert await delete(storage, "reader") is Change.DONE

    async def test_a_change_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, role and version are as before."""
        await put(storage, "reader", "order:read")
        before = await storage.roles.read()
        with pytest.raises(Exception, match=r".+"):
            await put(storage, "reader", "order:delete", recorded=BROKEN_EVENT)
        with pytest.raises(Exception, match=r".+"):
            await put(storage, "writer", "order:delete", recorded=BROKEN_EVENT)
        assert await storage.roles.read() == before

    async def test_the_last_administrator_is_not_defined_away(self, storage: Storage) -> None:
        """The permission stays in the role, or in the one it extends, while nobody else has it."""
        await put(storage, "base", "roles:assign")
        await put(storage, "admin", "roles:read", extends=["base"])
        account = await an_account(storage, roles=frozenset({"admin"}))
        before = await storage.roles.read([account.id])
        with pytest.raises(Conflict):
            await put(storage, "admin", "roles:read")
        with pytest.raises(Conflict):
            await put(storage, "base")
        assert await storage.roles.read([account.id]) == before
        assert await put(storage, "admin", "roles:read", "roles:assign") is Change.DONE
        assert await put(storage, "base") is Change.DONE

    async def test_of_two_changes_of_the_same_version_one_is_made(self, storage: Storage, peer: Storage) -> None:
        """The other one is told that it judged by what is no longer so."""
        for n in range(20):
            seen = await version(storage)
            answers = await asyncio.gather(
                put(storage, "one", f"order:a{n}", seen=seen), put(peer, "two", f"order:b{n}", seen=seen)
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            assert await version(storage) == seen + 1

    async def test_two_roles_that_come_to_extend_each_other(self, storage: Storage, peer: Storage) -> None:
        """Whoever is second is refused, whether it looked before or after: there is never a circle."""
        for _ in range(20):
            await put(storage, "one")
            await put(storage, "two")
            seen = await version(storage)
            answers = await asyncio.gather(
                put(storage, "one", extends=["two"], seen=seen),
                put(peer, "two", extends=["one"], seen=seen),
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            loser, other = ("one", "two") if answers[0] is Change.MOVED else ("two", "one")
            with pytest.raises(Conflict):
                await put(storage, loser, extends=[other])
            await put(storage, other)

    async def test_deleted_while_it_is_given(self, storage: Storage, peer: Storage) -> None:
        """A role that is granted, or that a new account begins with, is never gone in the end."""
        await sync(storage, ROLES)
        for n in range(20):
            await put(storage, "passing", "order:read")
            account = await an_account(storage)
            giving = assign(storage, account, grant=["passing"]) if n % 2 else self._created(storage)
            answers = await asyncio.gather(giving, delete(peer, "passing"), return_exceptions=True)
            given, deleted = (answer in {Change.DONE, True} for answer in answers)
            assert given != deleted, answers
            if given:
                for found in await storage.accounts.page(query="", limit=200, after=None):
                    if "passing" in found.roles:
                        await assign(storage, found, revoke=["passing"])
                await delete(storage, "passing")

    @staticmethod
    async def _created(storage: Storage) -> bool:
        account = await an_account(storage, roles=frozenset({"passing"}))
        return account.roles == {"passing"}
