"""The contract of grants: permissions of single accounts, what ends by itself, and roles that exclude each other."""

import asyncio
from collections.abc import Callable, Collection

import pytest

from limen.core.errors import Conflict
from limen.core.events import EventName
from limen.core.held import ends_of
from limen.features.accounts.store import AccountStatus
from limen.features.roles.store import Change, Holder
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    rotate,
)
from limen.testing.contracts.roles import ADMIN, ROLES, assign, delete, holder, listed, put, sync, version

APPROVE = "+order:approve"
PAIR = ("checker", "maker")


async def soon(storage: Storage, seconds: int = 3_600) -> int:
    """Return a time to come, in milliseconds, by the database's clock, on a whole second."""
    return (await storage.roles.read()).now // SECOND * SECOND + seconds * SECOND


async def separate(storage: Storage, *pairs: tuple[str, str]) -> int:
    """Separate roles, and return who holds two of them all the same."""
    return await storage.roles.separate(pairs, event(EventName.ROLES_SEPARATED))


class GrantsContract(Contract):
    """`RoleStore.assign`: permissions of single accounts, and what ends by itself."""

    async def test_a_permission_is_granted_and_revoked(self, storage: Storage, peer: Storage) -> None:
        """It is held beside the roles, by every process, and in the next token; a revoked one is not."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        opened = await a_session(storage, account)
        assert await assign(storage, account, grant=[APPROVE]) is Change.DONE
        found = await holder(peer, account)
        assert found == Holder(account.id, "active", frozenset({"maker"}), 1, permissions=frozenset({"order:approve"}))
        assert (await listed(peer))[account.id] == {"maker", APPROVE}
        current = await rotate(storage, opened, b"next")
        assert current is not None
        assert current.roles == {"maker", APPROVE}
        known = await peer.accounts.by_id(account.id)
        assert known is not None
        assert known.roles == {"maker"}
        assert known.permissions == {"order:approve"}
        assert await assign(storage, account, revoke=[APPROVE]) is Change.DONE
        assert await holder(peer, account) == Holder(account.id, "active", frozenset({"maker"}), 2)
        assert (await listed(peer))[account.id] == {"maker"}
        assert len(await all_events(storage, EventName.ROLES_ASSIGNED)) == 2

    async def test_what_ends_is_not_held_afterwards(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A role and a permission alike, by the database's clock; until then everybody is told when that is."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"guest"}))
        opened = await a_session(storage, account)
        end = await soon(storage)
        assert await assign(storage, account, grant=["maker", APPROVE], until=end) is Change.DONE
        assert (await holder(peer, account)).until == {"maker": end, APPROVE: end}
        current = await rotate(storage, opened, b"next")
        assert current is not None
        assert current.roles == {"guest", "maker", APPROVE}
        assert ends_of(current.roles) == {"maker": end, APPROVE: end}
        (entry,) = (await peer.roles.changed_since(0)).accounts
        assert ends_of(entry.roles) == {"maker": end, APPROVE: end}
        turn_clock(3_600 * SECOND)
        assert await holder(peer, account) == Holder(account.id, "active", frozenset({"guest"}), 1)
        current = await rotate(storage, opened.after(b"next"), b"third")
        assert current is not None
        assert current.roles == {"guest"}
        known = await peer.accounts.by_id(account.id)
        assert known is not None
        assert known.roles == {"guest"}
        assert known.permissions == frozenset()

    async def test_a_grant_again_says_anew_when_it_ends(self, storage: Storage) -> None:
        """Sooner, later or not at all; what stands beside it keeps its end."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        end = await soon(storage)
        for until in (end, end + DAY, end, None):
            await assign(storage, account, grant=["maker", APPROVE], until=until)
            await assign(storage, account, grant=["guest"])
            expected = {} if until is None else {"maker": until, APPROVE: until}
            assert (await holder(storage, account)).until == expected

    async def test_a_grant_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, nothing is granted, revoked or listed."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        with pytest.raises(Exception, match=r".+"):
            await assign(storage, account, grant=[APPROVE, "maker"], recorded=BROKEN_EVENT)
        assert await holder(storage, account) == Holder(account.id, "active", frozenset(), 0)
        assert await listed(storage) == {}

    async def test_what_has_ended_keeps_no_role(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A role that was granted for a time can be deleted when that is over, and not before."""
        await put(storage, "helper", "order:read")
        account = await an_account(storage)
        await assign(storage, account, grant=["helper"], until=await soon(storage))
        with pytest.raises(Conflict):
            await delete(storage, "helper")
        turn_clock(3_600 * SECOND)
        assert await delete(storage, "helper") is Change.DONE

    async def test_a_role_of_the_code_that_nobody_holds_any_more_is_forgotten(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """What has ended keeps it no more than what was revoked: it is not retired, and its name is free."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker"], until=await soon(storage))
        turn_clock(3_600 * SECOND)
        await sync(storage, {"guest": ROLES["guest"]})
        assert await put(storage, "maker", "order:read") is Change.DONE
        assert await holder(storage, account) == Holder(account.id, "active", frozenset(), 1)

    async def test_an_administrator_for_a_time_is_not_the_last_one(self, storage: Storage) -> None:
        """Nobody would be left when it ends: the last one that stays is neither revoked nor made to end."""
        await sync(storage, {**ROLES, **ADMIN})
        last, other = await an_account(storage, roles=frozenset({"admin"})), await an_account(storage)
        end = await soon(storage)
        await assign(storage, other, grant=["admin"], until=end)
        with pytest.raises(Conflict):
            await assign(storage, last, revoke=["admin"])
        with pytest.raises(Conflict):
            await assign(storage, last, grant=["admin"], until=end)
        assert (await holder(storage, last)).until == {}
        await assign(storage, other, grant=["admin"])
        assert await assign(storage, last, grant=["admin"], until=end) is Change.DONE

    async def test_what_has_ended_is_swept_a_day_later(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """And not before: a clock that was wrong for a while must not take anything away."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker", APPROVE], until=await soon(storage))
        await assign(storage, account, grant=["guest", "+order:read"])
        turn_clock(3_600 * SECOND + KEEP_ENDED)
        assert await storage.sweep() == 1
        turn_clock(DAY)
        assert await storage.sweep() == 2
        assert await holder(storage, account) == Holder(
            account.id, "active", frozenset({"guest"}), 2, permissions=frozenset({"order:read"})
        )

    async def test_a_deleted_account_has_no_permissions(self, storage: Storage) -> None:
        """They go with its roles."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=[APPROVE])
        deleted = event(EventName.ACCOUNT_DELETED)
        assert await storage.accounts.delete(account.id, event=deleted, keep_ended_ms=KEEP_ENDED)
        assert (await holder(storage, account)).permissions == frozenset()
        assert (await listed(storage))[account.id] == frozenset()

    async def test_of_two_changes_of_one_account_one_is_made(self, storage: Storage, peer: Storage) -> None:
        """Two who read the same do not overwrite each other: one is told to judge anew."""
        await sync(storage, ROLES)
        for _ in range(10):
            target = await holder(storage, await an_account(storage))
            answers = await asyncio.gather(
                assign(storage, target, grant=[APPROVE]), assign(peer, target, grant=["+order:read"])
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            assert len((await holder(storage, target)).permissions) == 1


class SeparationContract(Contract):
    """`RoleStore.separate`, and that nobody comes to hold two roles that exclude each other."""

    async def test_pairs_are_kept(self, storage: Storage, peer: Storage) -> None:
        """Every process reads them; the same again is no change; an empty list removes them."""
        before = await version(storage)
        assert await separate(storage, PAIR, ("guest", "maker")) == 0
        assert (await peer.roles.read()).separated == {PAIR, ("guest", "maker")}
        assert await version(peer) == before + 1
        assert await separate(peer, ("guest", "maker"), PAIR) == 0
        assert await version(peer) == before + 1
        await separate(storage)
        assert (await peer.roles.read()).separated == frozenset()
        assert len(await all_events(storage, EventName.ROLES_SEPARATED)) == 2

    async def test_the_second_is_not_granted(self, storage: Storage) -> None:
        """The refusal names both, and nothing of the grant is written; with the revocation of the first it is."""
        await sync(storage, ROLES)
        await separate(storage, PAIR)
        account = await an_account(storage, roles=frozenset({"maker"}))
        with pytest.raises(Conflict, match=r"checker and maker"):
            await assign(storage, account, grant=["guest", "checker"])
        with pytest.raises(Conflict, match=r"checker and maker"):
            await assign(storage, await an_account(storage), grant=["maker", "checker"])
        assert await holder(storage, account) == Holder(account.id, "active", frozenset({"maker"}), 0)
        assert await assign(storage, account, grant=["checker"], revoke=["maker"]) is Change.DONE

    @pytest.mark.parametrize("extends", [["maker", "checker"], ["above"]], ids=["directly", "in the end"])
    async def test_nor_by_what_a_role_extends(self, storage: Storage, extends: Collection[str]) -> None:
        """Whoever holds a role has what it extends, also where several stand in between."""
        await sync(storage, ROLES)
        await put(storage, "below", extends=["maker"])
        await put(storage, "above", extends=["below", "checker"])
        await put(storage, "chief", extends=extends)
        await put(storage, "senior", extends=["below"])
        await separate(storage, PAIR)
        for roles in (["chief"], ["above", "guest"], ["senior", "checker"]):
            account = await an_account(storage)
            with pytest.raises(Conflict, match=r"checker and maker"):
                await assign(storage, account, grant=roles)
            assert (await holder(storage, account)).roles == frozenset()

    async def test_no_account_is_made_with_both(self, storage: Storage) -> None:
        """Nothing of it is there afterwards."""
        await sync(storage, ROLES)
        await separate(storage, PAIR)
        with pytest.raises(Conflict, match=r"checker and maker"):
            await an_account(storage, roles=frozenset({"maker", "checker"}), username="both")
        assert await storage.accounts.by_username("both") is None

    async def test_a_role_is_not_changed_so_that_somebody_holds_both(self, storage: Storage) -> None:
        """Its holders are asked, and those of what extends it; what concerns nobody is done."""
        await sync(storage, ROLES)
        await put(storage, "junior")
        await put(storage, "senior", extends=["junior"])
        await separate(storage, PAIR)
        await an_account(storage, roles=frozenset({"maker", "senior"}))
        with pytest.raises(Conflict):
            await put(storage, "junior", extends=["checker"])
        assert (await storage.roles.read()).roles["junior"].definition.extends == frozenset()
        assert await put(storage, "junior", extends=["guest"]) is Change.DONE

    async def test_of_two_who_grant_one_each_one_wins(self, storage: Storage, peer: Storage) -> None:
        """The other has to judge anew, and is refused then."""
        await sync(storage, ROLES)
        await separate(storage, PAIR)
        for _ in range(20):
            account = await an_account(storage)
            target = await holder(storage, account)
            answers = await asyncio.gather(
                assign(storage, target, grant=["maker"]), assign(peer, target, grant=["checker"])
            )
            assert sorted(answers) == [Change.DONE, Change.MOVED]
            with pytest.raises(Conflict, match=r"checker and maker"):
                await assign(storage, account, grant=["maker", "checker"])
            assert len((await holder(storage, account)).roles) == 1

    async def test_what_has_ended_excludes_nothing(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Until its end it does."""
        await sync(storage, ROLES)
        await separate(storage, PAIR)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker"], until=await soon(storage))
        with pytest.raises(Conflict):
            await assign(storage, account, grant=["checker"])
        turn_clock(3_600 * SECOND)
        assert await assign(storage, account, grant=["checker"]) is Change.DONE
        assert await separate(storage, PAIR) == 0

    async def test_who_holds_both_already_is_told(self, storage: Storage, peer: Storage) -> None:
        """Nobody loses anything by it; they are counted and listed, until one is revoked; nothing more is granted."""
        await sync(storage, ROLES)
        both = await an_account(storage, roles=frozenset({"maker", "checker"}), username="both")
        await an_account(storage, roles=frozenset({"maker", "guest"}))
        assert await separate(storage, PAIR) == 1
        assert await peer.roles.violations(10) == [("both", "checker", "maker")]
        assert (await holder(peer, both)).roles == {"maker", "checker"}
        with pytest.raises(Conflict):
            await assign(storage, both, grant=["guest"])
        assert await assign(storage, both, revoke=["maker"]) is Change.DONE
        assert await peer.roles.violations(10) == []
        assert await separate(storage, PAIR) == 0

    async def test_of_two_separated_roles_neither_makes_an_administrator(self, storage: Storage) -> None:
        """Whoever holds both does not count: the last one that counts loses neither the role nor the account."""
        await sync(storage, {**ROLES, **ADMIN})
        await put(storage, "chief", extends=["admin"])
        last = await an_account(storage, roles=frozenset({"admin"}))
        torn = await an_account(storage, roles=frozenset({"chief", "checker"}))
        assert await separate(storage, ("admin", "checker")) == 1
        with pytest.raises(Conflict):
            await assign(storage, last, revoke=["admin"])
        with pytest.raises(Conflict):
            await assign(storage, last, grant=["admin"], until=await soon(storage))
        with pytest.raises(Conflict):
            await storage.accounts.change_status(
                last.id,
                of=AccountStatus.ACTIVE,
                to=AccountStatus.DISABLED,
                event=event(EventName.ACCOUNT_DISABLED),
                keep_ended_ms=KEEP_ENDED,
            )
        with pytest.raises(Conflict):
            await storage.accounts.delete(last.id, event=event(EventName.ACCOUNT_DELETED), keep_ended_ms=KEEP_ENDED)
        assert await assign(storage, torn, revoke=["checker"]) is Change.DONE
        assert await assign(storage, last, revoke=["admin"]) is Change.DONE
        with pytest.raises(Conflict):
            await assign(storage, torn, revoke=["chief"])

    async def test_a_second_role_that_ends_takes_the_first_until_then(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Of two that were held when they were separated neither counts, and the one that stays does afterwards."""
        await sync(storage, {**ROLES, **ADMIN})
        last = await an_account(storage, roles=frozenset({"admin"}))
        torn = await an_account(storage, roles=frozenset({"admin"}))
        await assign(storage, torn, grant=["checker"], until=await soon(storage))
        assert await separate(storage, ("admin", "checker")) == 1
        with pytest.raises(Conflict):
            await assign(storage, last, revoke=["admin"])
        turn_clock(3_600 * SECOND)
        assert await assign(storage, last, revoke=["admin"]) is Change.DONE

    async def test_roles_are_not_separated_so_that_no_administrator_is_left(
        self, storage: Storage, peer: Storage
    ) -> None:
        """Where the only one holds both: nothing is separated nor recorded; with another one it is done."""
        await sync(storage, {**ROLES, **ADMIN})
        await put(storage, "chief", extends=["admin"])
        last = await an_account(storage, roles=frozenset({"chief", "checker"}))
        await separate(storage, PAIR)
        before = await version(storage)
        for pair in (("admin", "checker"), ("checker", "chief")):
            with pytest.raises(Conflict, match=r"administrator"):
                await separate(storage, pair)
        assert (await peer.roles.read()).separated == {PAIR}
        assert await version(peer) == before
        assert len(await all_events(storage, EventName.ROLES_SEPARATED)) == 1
        other = await an_account(storage, roles=frozenset({"admin"}))
        assert await separate(storage, ("admin", "checker")) == 1
        with pytest.raises(Conflict):
            await assign(storage, other, revoke=["admin"])
        assert await assign(storage, last, revoke=["checker"]) is Change.DONE
        assert await assign(storage, other, revoke=["admin"]) is Change.DONE

    async def test_a_role_is_not_changed_so_that_no_administrator_counts(self, storage: Storage) -> None:
        """Where an account holds two that are separated already, a third by the administrator's role is no smaller."""
        await sync(storage, ROLES)
        await put(storage, "chief", "roles:assign")
        await an_account(storage, roles=frozenset({"chief", "maker", "checker"}))
        assert await separate(storage, PAIR) == 1
        with pytest.raises(Conflict):
            await put(storage, "chief", "roles:assign", extends=["maker"])

    async def test_separating_and_revoking_at_once_leaves_an_administrator(
        self, storage: Storage, peer: Storage
    ) -> None:
        """Of two administrators one would stop to count and the other be revoked: one of the two is refused."""
        await sync(storage, {**ROLES, **ADMIN})
        plain = await an_account(storage, roles=frozenset({"admin"}))
        torn = await an_account(storage, roles=frozenset({"admin", "checker"}))
        for _ in range(10):
            parted, revoked = await asyncio.gather(
                separate(storage, ("admin", "checker")),
                assign(peer, await holder(peer, plain), revoke=["admin"]),
                return_exceptions=True,
            )
            roles = (await holder(storage, plain)).roles
            separated = (await storage.roles.read()).separated
            assert roles or not separated, (parted, revoked)
            assert (parted == 1) is bool(separated)
            await separate(storage)
            if not roles:
                await assign(storage, plain, grant=["admin"])
        assert (await holder(storage, torn)).roles == {"admin", "checker"}
