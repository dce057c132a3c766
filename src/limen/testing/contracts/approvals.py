"""The contract of approvals: one transition however many decide at once, nobody's own, nothing by who is gone."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from limen.authz.authority import Authority
from limen.core.errors import Conflict
from limen.core.events import EventName, Outcome
from limen.core.ids import uuid7
from limen.features.accounts.store import Account
from limen.features.approvals.store import (
    ApprovalStatus,
    Box,
    Decided,
    ExecutionState,
    Maker,
    NewApproval,
    StoredApproval,
    Verdict,
    Vote,
)
from limen.features.roles.store import Change, Seen
from limen.storage import Storage, StoredEvent
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    digest,
    event,
)

ROUNDS = int(os.environ.get("LIMEN_APPROVAL_ROUNDS", "3"))
"""How often fifty decide at once."""
AT_ONCE = 50
MOST = 5
LEASE = 60 * SECOND
ACTION = "payout:release"


@dataclass(frozen=True, slots=True)
class Checker:
    """Somebody with a session, and what they were judged by."""

    account: Account
    sid: str
    authority: Authority

    @property
    def id(self) -> str:
        """Their account."""
        return self.account.id

    def vote(self, approval: StoredApproval, **changes: object) -> Vote:
        """Return their decision on a request, with changes for what is to be refused."""
        vote = Vote(approval.id, self.id, self.sid, approval.maker_account, self.authority)
        return replace(vote, **changes)  # type: ignore[arg-type]

    async def approve(self, storage: Storage, approval: StoredApproval, **changes: object) -> Decided:
        """Say yes."""
        told = event(EventName.APPROVAL_APPROVED, actor=self.id, target=approval.id)
        return await storage.approvals.approve(self.vote(approval, **changes), told)

    async def reject(self, storage: Storage, approval: StoredApproval, **changes: object) -> Decided:
        """Say no."""
        told = event(EventName.APPROVAL_REJECTED, actor=self.id, target=approval.id)
        return await storage.approvals.reject(self.vote(approval, reason="no", **changes), told)


async def authority_of(storage: Storage, account_id: str) -> Authority:
    """Return what somebody is judged by now."""
    snapshot = await storage.roles.read([account_id])
    return Authority(snapshot.version, account_id, snapshot.holders[account_id].version)


async def a_checker(storage: Storage) -> Checker:
    """Make somebody who has logged in."""
    account = await an_account(storage)
    session = await a_session(storage, account)
    return Checker(account, session.sid, await authority_of(storage, account.id))


def new_approval(maker: Account | Maker, **changes: object) -> NewApproval:
    """Return a request to be inserted, of a resource that no other is of."""
    approval_id = uuid7()
    new = NewApproval(
        id=approval_id,
        action=ACTION,
        resource=f"payout:{approval_id}",
        payload='{"amount":10}',
        digest=digest(b'{"amount":10}'),
        version=None,
        quorum=1,
        lifetime_ms=DAY,
        maker=Maker(maker.id) if isinstance(maker, Account) else maker,
    )
    return replace(new, **changes)  # type: ignore[arg-type]


async def requested(storage: Storage, new: NewApproval) -> tuple[StoredApproval, bool]:
    """Insert a request."""
    told = event(EventName.APPROVAL_REQUESTED, actor=new.maker.sub, target=new.id)
    return await storage.approvals.request(new, told, most=MOST)


async def a_request(storage: Storage, maker: Account | Maker | None = None, **changes: object) -> StoredApproval:
    """Insert a request, of somebody new where no maker is given, and return it."""
    by = await an_account(storage) if maker is None else maker
    approval, is_new = await requested(storage, new_approval(by, **changes))
    assert is_new
    return approval


async def stored(storage: Storage, approval: StoredApproval) -> StoredApproval:
    """Read a request that must be there."""
    found = await storage.approvals.read(approval.id, reader=Maker(""))
    assert found is not None
    return found


async def told_of(storage: Storage, approval: StoredApproval) -> Sequence[StoredEvent]:
    """Return the records of a request, but that of its making."""
    records = [each for each in await all_events(storage) if each.target == approval.id]
    return [each for each in records if each.event != EventName.APPROVAL_REQUESTED]


async def inbox(storage: Storage, checker: Checker, **changes: object) -> Sequence[str]:
    """Return the ids of what somebody may decide on."""
    arguments: dict[str, object] = {"actions": [ACTION], "limit": 100, "after": None, **changes}
    found = await storage.approvals.page(Box.INBOX, reader=Maker(checker.id), **arguments)  # type: ignore[arg-type]
    return [each.id for each in found]


class RequestsContract(Contract):
    """`ApprovalStore`: asking, listing, and what comes to its end by itself."""

    async def test_a_request_is_read_as_it_was_made(self, storage: Storage, peer: Storage) -> None:
        """Everything comes back; to its maker it is theirs, to another it is not, and nobody has said yes."""
        maker, other = await an_account(storage), await an_account(storage)
        new = new_approval(maker, version="7", quorum=3)
        made, is_new = await requested(storage, new)
        assert is_new
        assert (made.id, made.action, made.resource, made.version) == (new.id, ACTION, new.resource, "7")
        assert (made.payload, made.digest, made.quorum) == (new.payload, new.digest, 3)
        assert (made.status, made.maker, made.maker_account) == (ApprovalStatus.PENDING, maker.id, maker.id)
        assert abs(made.expires_at - made.created_at - DAY) < 60_000
        assert (made.approvals, made.decided_at, made.decided_by, made.reason) == ((), None, None, None)
        assert (made.execution, made.attempts, made.failure) == (None, 0, None)
        assert (made.is_mine, made.is_own, made.is_given) == (True, True, False)
        seen = await peer.approvals.read(new.id, reader=Maker(other.id))
        assert seen == replace(made, is_mine=False, is_own=False)
        assert await peer.approvals.read(uuid7(), reader=Maker(other.id)) is None
        assert await peer.approvals.read("no id", reader=Maker(other.id)) is None

    async def test_the_same_again_is_the_same_request(self, storage: Storage) -> None:
        """Whoever repeats a request gets the one that is pending, and it is recorded once."""
        maker = await an_account(storage)
        made = await a_request(storage, maker, resource="payout:1")
        again, is_new = await requested(storage, new_approval(maker, resource="payout:1"))
        assert (again.id, is_new) == (made.id, False)
        records = await all_events(storage, EventName.APPROVAL_REQUESTED)
        assert [each.target for each in records] == [made.id]

    @pytest.mark.parametrize("change", ["payload", "version", "quorum"])
    async def test_to_ask_for_something_else_is_another_request(self, storage: Storage, change: str) -> None:
        """The one before is withdrawn in the same transaction, so a yes to its id is a yes to nothing."""
        maker, checker = await an_account(storage), await a_checker(storage)
        before = await a_request(storage, maker, resource="payout:1")
        changed: dict[str, dict[str, object]] = {
            "payload": {"payload": '{"amount":11}', "digest": digest(b'{"amount":11}')},
            "version": {"version": "8"},
            "quorum": {"quorum": 2},
        }
        after = await a_request(storage, maker, resource="payout:1", **changed[change])
        assert after.id != before.id
        assert (await stored(storage, before)).status is ApprovalStatus.WITHDRAWN
        (record,) = await told_of(storage, before)
        assert (record.event, record.data["reason"]) == (EventName.APPROVAL_WITHDRAWN, "superseded")
        assert (await checker.approve(storage, before)).verdict is Verdict.DECIDED
        assert (await stored(storage, after)).approvals == ()

    async def test_nobody_takes_the_place_of_somebody_elses(self, storage: Storage) -> None:
        """Another maker's pending request for the same thing is a conflict; for another action it is not."""
        made = await a_request(storage, resource="payout:1")
        other = await an_account(storage)
        with pytest.raises(Conflict):
            await requested(storage, new_approval(other, resource="payout:1"))
        assert (await stored(storage, made)).status is ApprovalStatus.PENDING
        assert (await a_request(storage, other, resource="payout:1", action="payout:cancel")).id != made.id

    async def test_what_has_no_resource_is_never_the_same(self, storage: Storage) -> None:
        """Two that make something new stand beside each other, also where they look alike."""
        maker = await an_account(storage)
        first = await a_request(storage, maker, resource=None)
        second = await a_request(storage, maker, resource=None)
        assert first.id != second.id

    async def test_fifty_who_ask_at_once_make_one(self, storage: Storage, peer: Storage) -> None:
        """However often a client sends it, and to whichever process, one request is pending."""
        maker = await an_account(storage)
        each = (storage, peer) * (AT_ONCE // 2)
        made = await asyncio.gather(*(requested(one, new_approval(maker, resource="payout:1")) for one in each))
        assert [is_new for _, is_new in made].count(True) == 1
        assert len({approval.id for approval, _ in made}) == 1

    async def test_two_makers_who_ask_at_once(self, storage: Storage, peer: Storage) -> None:
        """One of them is told that somebody else's is pending."""
        makers = await an_account(storage), await an_account(storage)
        each = zip((storage, peer), makers, strict=True)
        made = await asyncio.gather(
            *(requested(one, new_approval(maker, resource="payout:1")) for one, maker in each), return_exceptions=True
        )
        assert [isinstance(one, Conflict) for one in made].count(True) == 1

    async def test_a_maker_has_only_so_many(self, storage: Storage) -> None:
        """Beyond that they withdraw one first; another maker is not held up."""
        maker = await an_account(storage)
        made = [await a_request(storage, maker, resource=None) for _ in range(MOST)]
        with pytest.raises(Conflict):
            await requested(storage, new_approval(maker))
        await a_request(storage)
        told = event(EventName.APPROVAL_WITHDRAWN, target=made[0].id)
        assert (
            await storage.approvals.withdraw(made[0].id, reader=Maker(maker.id), event=told)
        ).verdict is Verdict.DONE
        await a_request(storage, maker)

    async def test_a_failing_record_takes_the_request_with_it(self, storage: Storage) -> None:
        """What cannot be recorded is not done."""
        new = new_approval(await an_account(storage))
        with pytest.raises(TypeError):
            await storage.approvals.request(new, BROKEN_EVENT, most=MOST)
        assert await storage.approvals.read(new.id, reader=Maker("")) is None

    async def test_only_its_maker_withdraws(self, storage: Storage) -> None:
        """To anybody else it is not there; a second time it is decided; each act has its record."""
        maker, other = await an_account(storage), await an_account(storage)
        made = await a_request(storage, maker)
        told = event(EventName.APPROVAL_WITHDRAWN, actor=maker.id, target=made.id)
        for reader, verdict in (
            (Maker(other.id), Verdict.GONE),
            (Maker(maker.id), Verdict.DONE),
            (Maker(maker.id), Verdict.DECIDED),
        ):
            assert (await storage.approvals.withdraw(made.id, reader=reader, event=told)).verdict is verdict
        assert (await storage.approvals.withdraw("no id", reader=Maker(maker.id), event=told)).verdict is Verdict.GONE
        after = await stored(storage, made)
        assert (after.status, after.decided_by) == (ApprovalStatus.WITHDRAWN, maker.id)
        records = await told_of(storage, made)
        assert [each.outcome for each in records] == [Outcome.SUCCESS, Outcome.FAILURE]

    async def test_the_lists(self, storage: Storage) -> None:
        """Mine are mine, the inbox has what others made and I have not said yes to, and pages meet each once."""
        maker, checker = await an_account(storage), await a_checker(storage)
        # Of two that are made in one millisecond either may be the newer.
        made = sorted([await a_request(storage, maker, quorum=2) for _ in range(MOST)], key=lambda one: one.id)
        own = await a_request(storage, checker.account)
        await a_request(storage, action="payout:cancel")
        newest_first = [each.id for each in reversed(made)]
        assert await inbox(storage, checker) == newest_first
        assert await inbox(storage, checker, limit=2, after=newest_first[1]) == newest_first[2:4]
        assert await inbox(storage, checker, actions=[]) == []
        assert (await checker.approve(storage, made[0])).verdict is Verdict.DONE
        assert await inbox(storage, checker) == newest_first[:-1]
        mine = await storage.approvals.page(Box.MINE, reader=Maker(checker.id), actions=[], limit=9, after=None)
        assert [each.id for each in mine] == [own.id]
        every = await storage.approvals.page(Box.ALL, reader=Maker(checker.id), actions=[], limit=99, after=None)
        assert len(every) == MOST + 2
        assert {each.id for each in every if each.is_given} == {made[0].id}

    async def test_its_time_is_over(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """It is expired from that moment on, whoever reads it; the sweep turns it and says so, once."""
        maker, checker = await an_account(storage), await a_checker(storage)
        made = await a_request(storage, maker, resource="payout:1")
        turn_clock(DAY - 60 * SECOND)
        assert await storage.sweep() == 0
        assert await inbox(storage, checker) == [made.id]
        turn_clock(60 * SECOND + SECOND)
        assert await inbox(storage, checker) == []
        assert (await stored(storage, made)).status is ApprovalStatus.EXPIRED
        assert await storage.sweep() == 1
        assert await storage.sweep() == 0
        (record,) = await told_of(storage, made)
        assert (record.event, record.actor, record.data["maker"]) == (
            EventName.APPROVAL_EXPIRED,
            "system",
            maker.id,
        )

    async def test_what_is_over_is_in_nobodys_way(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Before the sweep has come another maker can ask for the same; nobody decides the one that is over."""
        checker = await a_checker(storage)
        made, other = [await a_request(storage, resource=f"payout:{number}") for number in (1, 2)]
        turn_clock(DAY + SECOND)
        assert (await checker.approve(storage, other)).verdict is Verdict.EXPIRED
        assert (await stored(storage, other)).status is ApprovalStatus.EXPIRED
        await a_request(storage, resource="payout:1")
        for each in (made, other):
            names = [record.event for record in await told_of(storage, each)]
            assert names.count(EventName.APPROVAL_EXPIRED) == 1
        assert await storage.sweep() == 0

    async def test_who_could_approve_is_counted(
        self,
        storage: Storage,
        turn_clock: Callable[[int], None],
        set_status: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Active persons with one of the roles or the permission itself, each once, while what they hold lasts."""
        await storage.roles.sync({"checker": frozenset({"x:y"}), "chief": frozenset({"x:y"})}, event())
        await an_account(storage, roles=frozenset({"checker", "chief"}))
        own, gone = await an_account(storage), await an_account(storage, roles=frozenset({"chief"}))
        await set_status(gone.id, "disabled")
        snapshot = await storage.roles.read([own.id])
        change = await storage.roles.assign(
            snapshot.holders[own.id],
            grant=["+x:y"],
            revoke=[],
            seen=Seen(snapshot.version),
            event=event(),
            keep_ended_ms=KEEP_ENDED,
            until=snapshot.now + DAY,
        )
        assert change is Change.DONE
        roles = ["checker", "chief"]
        assert await storage.approvals.count_holders(roles, "x:y") == 2
        assert await storage.approvals.count_holders([], "x:y") == 1
        assert await storage.approvals.count_holders(["checker"], "other:permission") == 1
        assert await storage.approvals.count_holders([], "other:permission") == 0
        turn_clock(DAY + SECOND)
        assert await storage.approvals.count_holders(roles, "x:y") == 1

    async def test_what_was_decided_goes_after_three_months(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """With its votes, unless it still waits to be executed."""
        checker = await a_checker(storage)
        done, waiting = await a_request(storage), await a_request(storage)
        await checker.approve(storage, done)
        await checker.approve(storage, waiting, queue=True)
        turn_clock(DAY * 90 - 60 * SECOND)
        await storage.sweep()
        assert (await stored(storage, done)).status is ApprovalStatus.APPROVED
        turn_clock(120 * SECOND)
        await storage.sweep()
        assert await storage.approvals.read(done.id, reader=Maker("")) is None
        assert (await stored(storage, waiting)).execution is ExecutionState.QUEUED

    async def test_all_that_are_pending_are_cancelled(self, storage: Storage) -> None:
        """In batches, each with its record; what was decided stays as it is."""
        checker = await a_checker(storage)
        pending = [await a_request(storage) for _ in range(3)]
        approved = await a_request(storage)
        await checker.approve(storage, approved)
        told = event(EventName.APPROVAL_WITHDRAWN, actor="cli", data={"reason": "restored"})
        counts = [await storage.approvals.cancel(limit=2, event=told) for _ in range(3)]
        assert counts == [2, 1, 0]
        assert {(await stored(storage, each)).status for each in pending} == {ApprovalStatus.WITHDRAWN}
        assert (await stored(storage, approved)).status is ApprovalStatus.APPROVED
        assert len(await all_events(storage, EventName.APPROVAL_WITHDRAWN)) == 3
