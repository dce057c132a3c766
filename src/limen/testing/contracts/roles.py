"""The contract of the roles."""

import asyncio
from collections.abc import Mapping

import pytest

from limen.core.errors import LimenError
from limen.core.events import EventName
from limen.storage import Storage
from limen.testing.contracts.contract import BROKEN_EVENT, Contract, a_session, all_events, an_account, event, rotate

ROLES = {
    "maker": frozenset({"order:create", "order:read"}),
    "checker": frozenset({"order:approve", "order:read"}),
    "guest": frozenset[str](),
}


async def sync(storage: Storage, roles: Mapping[str, frozenset[str]]) -> bool:
    """Make the stored roles of code be these."""
    return await storage.roles.sync(roles, event(EventName.ROLES_SYNCED))


class RolesContract(Contract):
    """`RoleStore`."""

    async def test_what_is_synced_is_stored(self, storage: Storage, peer: Storage) -> None:
        """Every role and permission can be read by another process, a role without permissions too."""
        assert await storage.roles.all() == {}
        assert await sync(storage, ROLES)
        assert await peer.roles.all() == ROLES

    async def test_the_same_again_is_no_change(self, storage: Storage) -> None:
        """The second start finds nothing to do and records nothing."""
        assert await sync(storage, ROLES)
        assert not await sync(storage, ROLES)
        assert len(await all_events(storage, EventName.ROLES_SYNCED)) == 1

    async def test_permissions_follow_the_code(self, storage: Storage) -> None:
        """What the code adds is added, what it takes away is taken away."""
        await sync(storage, ROLES)
        changed = {**ROLES, "maker": frozenset({"order:read", "order:withdraw"}), "auditor": frozenset({"event:read"})}
        del changed["guest"]
        assert await sync(storage, changed)
        assert await storage.roles.all() == changed
        assert len(await all_events(storage, EventName.ROLES_SYNCED)) == 2

    async def test_a_role_that_is_no_longer_declared_gives_nothing(self, storage: Storage) -> None:
        """It is nobody's any more, in accounts and in tokens, and cannot be given."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker", "checker"}))
        opened = await a_session(storage, account)
        assert await sync(storage, {"checker": ROLES["checker"]})
        assert await storage.roles.all() == {"checker": ROLES["checker"]}
        found = await storage.accounts.by_id(account.id)
        assert found is not None
        assert found.roles == {"checker"}
        current = await rotate(storage, opened, b"next")
        assert current is not None
        assert current.roles == {"checker"}
        with pytest.raises(LimenError):
            await an_account(storage, roles=frozenset({"maker"}))

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
        assert await storage.roles.all() == ROLES

    async def test_two_processes_start_at_once(self, storage: Storage, peer: Storage) -> None:
        """Of parallel syncs of the same roles one changed something; the roles are whole."""
        answers = await asyncio.gather(*(sync((storage, peer)[n % 2], ROLES) for n in range(8)))
        assert sum(answers) == 1
        assert await storage.roles.all() == ROLES

    async def test_a_sync_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the roles are as before."""
        await sync(storage, ROLES)
        with pytest.raises(Exception, match=r".+"):
            await storage.roles.sync({}, BROKEN_EVENT)
        assert await storage.roles.all() == ROLES
