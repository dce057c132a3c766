"""The contract of deciding on requests, and of executing what was approved."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen.authz.authority import AuthorityMoved
from limen.core.errors import Conflict
from limen.core.events import EventName, Outcome
from limen.core.ids import uuid7
from limen.features.approvals.store import (
    ApprovalStatus,
    ExecutionState,
    Maker,
    StoredApproval,
    Verdict,
)
from limen.features.client_certificates.store import NewRegistration
from limen.features.roles.store import Definition, Holder, Seen
from limen.features.sessions.store import EndReason
from limen.features.sso.store import Identity
from limen.storage import Storage
from limen.testing.contracts.api_keys import a_key, replace_secret
from limen.testing.contracts.approvals import (
    ACTION,
    AT_ONCE,
    LEASE,
    ROUNDS,
    Checker,
    a_checker,
    a_request,
    authority_of,
    inbox,
    new_approval,
    requested,
    stored,
    told_of,
)
from limen.testing.contracts.client_certificates import a_service, bound_session, open_bound, remove
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


class DecidingContract(Contract):
    """`ApprovalStore`: yes and no."""

    @pytest.mark.parametrize("quorum", [1, 2])
    async def test_fifty_yes_of_two_checkers(self, storage: Storage, peer: Storage, quorum: int) -> None:
        """As many count as are asked for, each checker's once, with one transition and one record for each."""
        checkers = [await a_checker(storage) for _ in range(2)]
        for number in range(ROUNDS):
            made = await a_request(storage, quorum=quorum)
            each = [(checkers[n % 2], (storage, peer)[n // 2 % 2]) for n in range(AT_ONCE)]
            answers = await asyncio.gather(*(who.approve(where, made) for who, where in each))
            verdicts = [answer.verdict for answer in answers]
            assert verdicts.count(Verdict.DONE) == quorum, number
            assert set(verdicts) <= {Verdict.DONE, Verdict.DECIDED, Verdict.GIVEN}
            after = await stored(storage, made)
            assert after.status is ApprovalStatus.APPROVED
            assert len(after.approvals) == len({given.approver for given in after.approvals}) == quorum
            records = await told_of(storage, made)
            good = [record for record in records if record.outcome == Outcome.SUCCESS]
            assert sorted(record.data["given"] for record in good) == list(range(1, quorum + 1))
            assert [record.data["status"] for record in good].count("approved") == 1
            assert {record.actor for record in good} == {given.approver for given in after.approvals}
            assert len(records) == AT_ONCE

    async def test_one_checker_is_not_two(self, storage: Storage, peer: Storage) -> None:
        """Fifty times by two sessions of one account is one yes, and never enough for a quorum of two."""
        checker = await a_checker(storage)
        second = replace(checker, sid=(await a_session(storage, checker.account)).sid)
        made = await a_request(storage, quorum=2)
        each = [((checker, second)[n % 2], (storage, peer)[n // 2 % 2]) for n in range(AT_ONCE)]
        answers = await asyncio.gather(*(who.approve(where, made) for who, where in each))
        assert [answer.verdict for answer in answers].count(Verdict.DONE) == 1
        after = await stored(storage, made)
        assert (after.status, len(after.approvals)) == (ApprovalStatus.PENDING, 1)
        assert (await checker.approve(storage, made)).verdict is Verdict.GIVEN

    async def test_yes_no_and_withdrawal_at_once(self, storage: Storage, peer: Storage) -> None:
        """One of them ends it, and whoever was later is told so."""
        maker = await an_account(storage)
        checkers = [await a_checker(storage) for _ in range(2)]
        told = event(EventName.APPROVAL_WITHDRAWN, actor=maker.id)
        for _ in range(ROUNDS):
            made = await a_request(storage, maker)
            answers = await asyncio.gather(
                checkers[0].approve(storage, made),
                checkers[1].reject(peer, made),
                storage.approvals.withdraw(made.id, reader=Maker(maker.id), event=replace(told, target=made.id)),
            )
            assert [answer.verdict for answer in answers].count(Verdict.DONE) == 1
            records = await told_of(storage, made)
            assert [record.outcome for record in records].count(Outcome.SUCCESS) == 1
            assert (await stored(storage, made)).status is not ApprovalStatus.PENDING

    async def test_a_yes_while_the_maker_edits(self, storage: Storage, peer: Storage) -> None:
        """It holds for what was seen, or is refused: never for what came in its place."""
        maker, checker = await an_account(storage), await a_checker(storage)
        for number in range(ROUNDS * 5):
            made = await a_request(storage, maker, resource="payout:1", version=f"{number}")
            edit = new_approval(maker, resource="payout:1", version=f"{number} edited")
            decided, (after, is_new) = await asyncio.gather(checker.approve(storage, made), requested(peer, edit))
            assert is_new
            assert (await stored(storage, after)).approvals == ()
            held = (await stored(storage, made)).status is ApprovalStatus.APPROVED
            assert (decided.verdict is Verdict.DONE) is held
            told = event(EventName.APPROVAL_WITHDRAWN, target=after.id)
            await storage.approvals.withdraw(after.id, reader=Maker(maker.id), event=told)

    async def test_what_was_seen_has_to_be_what_is_asked_for(self, storage: Storage) -> None:
        """Another digest is refused, the right one counts."""
        checker, made = await a_checker(storage), await a_request(storage)
        assert (await checker.approve(storage, made, seen=digest(b"else"))).verdict is Verdict.CHANGED
        assert (await checker.reject(storage, made, seen=digest(b"else"))).verdict is Verdict.CHANGED
        assert (await checker.approve(storage, made, seen=made.digest)).verdict is Verdict.DONE

    @pytest.mark.parametrize(
        "how",
        [
            "account",
            "linked before",
            "linked after",
            "linked and unlinked",
            "unlinked before",
            "key",
            "key rotated",
            "key rotated by another since",
            "certificate",
            "certificate removed",
            "session by certificate",
        ],
    )
    @pytest.mark.parametrize("act", ["approve", "reject"])
    async def test_nobody_decides_their_own(self, storage: Storage, how: str, act: str) -> None:
        """By another session, a linked identity, a key or certificate of theirs; it is recorded, nothing changes."""
        checker = await a_checker(storage)
        service = await a_service(storage)
        new = NewRegistration(uuid7(), service.id, f"dns:{service.id}.example", checker.id)
        identity = Identity("https://op.example", uuid7())
        maker = Maker(checker.id, sid=uuid7())
        if how in {"linked before", "unlinked before"}:
            await self._link(storage, checker, identity)
        if how == "unlinked before":
            await self._unlink(storage, checker)
        if "linked" in how:
            maker = Maker("00000000-0000-8000-8000-000000000001", identity.issuer, identity.subject)
        if how == "key":
            maker = Maker(service.id, sid=await a_key(storage, service, created_by=checker.id))
        if how.startswith("key rotated"):
            maker = Maker(service.id, sid=await a_key(storage, service))
            told = event(EventName.API_KEY_ROTATED, actor=checker.id)
            assert await replace_secret(storage, service, str(maker.sid), recorded=told) is not None
        if "certificate" in how:
            assert await storage.client_certificates.add(new, event(EventName.CLIENT_CERTIFICATE_ADDED)) is not None
            maker = Maker(service.id, sid=new.id)
        if how == "session by certificate":
            opened = bound_session(service)
            assert await open_bound(storage, opened, new.id) is not None
            maker = Maker(service.id, sid=opened.sid)
        made = await a_request(storage, maker)
        if how in {"linked after", "linked and unlinked"}:
            await self._link(storage, checker, identity)
        if how == "linked and unlinked":
            await self._unlink(storage, checker)
        if how == "certificate removed":
            assert await remove(storage, service.id, new.id)
        if how == "key rotated by another since":
            assert await replace_secret(storage, service, str(maker.sid), rotations=1) is not None
        assert made.id not in await inbox(storage, checker)
        decided = await (checker.approve if act == "approve" else checker.reject)(storage, made)
        assert decided.verdict is Verdict.OWN
        assert (await stored(storage, made)).status is ApprovalStatus.PENDING
        (record,) = await told_of(storage, made)
        assert (record.outcome, record.data["reason"]) == (Outcome.FAILURE, "own_request")
        another = await a_checker(storage)
        assert (await another.approve(storage, made)).verdict is Verdict.DONE

    async def test_whoever_rotated_a_key_is_known_as_long_as_it_opens(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Longer than what was asked for waits: the secret may be the same for the whole life of a key."""
        service, checker = await an_account(storage), await a_checker(storage)
        key = await a_key(storage, service, lifetime_ms=300 * DAY)
        told = event(EventName.API_KEY_ROTATED, actor=checker.id)
        assert await replace_secret(storage, service, key, recorded=told) is not None
        turn_clock(200 * DAY)
        await storage.sweep()
        made = await a_request(storage, Maker(service.id, sid=key))
        again = replace(checker, sid=(await a_session(storage, checker.account)).sid)
        assert (await again.approve(storage, made)).verdict is Verdict.OWN

    @staticmethod
    async def _link(storage: Storage, checker: Checker, identity: Identity) -> None:
        told = event(EventName.IDENTITY_LINKED)
        await storage.sso.link(checker.id, 0, identity, sid=checker.sid, provider="corp", event=told)

    @staticmethod
    async def _unlink(storage: Storage, checker: Checker) -> None:
        told = event(EventName.IDENTITY_UNLINKED)
        for linked in await storage.sso.of_account(checker.id):
            assert await storage.sso.unlink(linked.id, account_id=checker.id, event=told)

    @pytest.mark.parametrize("status", ["disabled", "blocked", "deleted", "ACTIVE", ""])
    async def test_a_maker_who_is_gone_gets_nothing(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """What a disabled account has asked for is not done; it may be rejected no more than approved."""
        maker, checker = await an_account(storage), await a_checker(storage)
        made = await a_request(storage, maker)
        await set_status(maker.id, status)
        assert (await checker.approve(storage, made)).verdict is Verdict.MAKER
        assert (await stored(storage, made)).status is ApprovalStatus.PENDING

    @pytest.mark.parametrize("status", ["disabled", "blocked", "deleted", "ACTIVE", ""])
    async def test_a_checker_who_is_gone_decides_nothing(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """What they were judged by holds no longer, and nothing is written."""
        checker, made = await a_checker(storage), await a_request(storage)
        await set_status(checker.id, status)
        with pytest.raises(AuthorityMoved):
            await checker.approve(storage, made)
        assert list(await told_of(storage, made)) == []

    async def test_the_yes_of_who_is_gone_does_not_count(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Of a quorum only those count who are active at the last yes; another one takes their place."""
        first, second, third = [await a_checker(storage) for _ in range(3)]
        made = await a_request(storage, quorum=2)
        await first.approve(storage, made)
        await set_status(first.id, "disabled")
        await second.approve(storage, made)
        assert (await stored(storage, made)).status is ApprovalStatus.PENDING
        await third.approve(storage, made)
        assert (await stored(storage, made)).status is ApprovalStatus.APPROVED

    async def test_a_session_that_ended_decides_nothing(self, storage: Storage) -> None:
        """Ended alone or with all others, of somebody else, or no session at all."""
        checker, other = await a_checker(storage), await a_checker(storage)
        made = await a_request(storage)
        told = event(EventName.SESSION_ENDED)
        for sid in (other.sid, uuid7()):
            assert (await checker.approve(storage, made, sid=sid)).verdict is Verdict.SESSION
        await storage.sessions.end(
            checker.sid, account_id=checker.id, reason=EndReason.LOGOUT, event=told, keep_ended_ms=KEEP_ENDED
        )
        assert (await checker.approve(storage, made)).verdict is Verdict.SESSION
        await storage.sessions.end_all(other.id, reason=EndReason.LOGOUT_ALL, event=told, keep_ended_ms=KEEP_ENDED)
        assert (await other.reject(storage, made)).verdict is Verdict.SESSION
        assert (await stored(storage, made)).approvals == ()

    async def test_an_expired_session_decides_nothing(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """The database's clock says when it is over."""
        checker = await a_checker(storage)
        turn_clock(8 * DAY)
        made = await a_request(storage)
        assert (await checker.approve(storage, made)).verdict is Verdict.SESSION

    async def test_a_role_that_changed_is_judged_anew(self, storage: Storage) -> None:
        """Revoked or redefined between judging and writing: nothing is written by what was true before."""
        checker, made = await a_checker(storage), await a_request(storage)
        snapshot = await storage.roles.read([checker.id])
        seen = Seen(snapshot.version)
        await storage.roles.put(Definition("clerk", frozenset({"x:y"})), seen=seen, event=event())
        with pytest.raises(AuthorityMoved):
            await checker.approve(storage, made)
        judged = replace(checker, authority=await authority_of(storage, checker.id))
        holder = Holder(checker.id, "active", frozenset(), judged.authority.actor_version)
        await storage.roles.assign(
            holder,
            grant=["clerk"],
            revoke=[],
            seen=Seen(judged.authority.catalogue),
            event=event(),
            keep_ended_ms=KEEP_ENDED,
        )
        with pytest.raises(AuthorityMoved):
            await judged.approve(storage, made)
        assert list(await told_of(storage, made)) == []
        anew = replace(checker, authority=await authority_of(storage, checker.id))
        assert (await anew.approve(storage, made)).verdict is Verdict.DONE

    async def test_what_is_not_there_is_not_decided(self, storage: Storage) -> None:
        """Neither an id that names nothing nor a text that is none."""
        checker, made = await a_checker(storage), await a_request(storage)
        for wrong in (uuid7(), "no id", ""):
            decided = await checker.approve(storage, replace(made, id=wrong))
            assert (decided.verdict, decided.approval) == (Verdict.GONE, None)

    async def test_a_no_ends_it(self, storage: Storage) -> None:
        """With its reason, also after a yes, and also by who has said yes before; then nobody approves it."""
        checker, other = await a_checker(storage), await a_checker(storage)
        made = await a_request(storage, quorum=2)
        assert (await checker.approve(storage, made)).verdict is Verdict.DONE
        decided = await checker.reject(storage, made)
        assert decided.verdict is Verdict.DONE
        assert decided.approval is not None
        assert (decided.approval.status, decided.approval.reason) == (ApprovalStatus.REJECTED, "no")
        assert decided.approval.decided_by == checker.id
        assert (await other.approve(storage, made)).verdict is Verdict.DECIDED

    async def test_a_failing_record_takes_the_yes_with_it(self, storage: Storage) -> None:
        """Neither count nor vote is left of an act that cannot be recorded."""
        checker, made = await a_checker(storage), await a_request(storage)
        with pytest.raises(TypeError):
            await storage.approvals.approve(checker.vote(made), BROKEN_EVENT)
        after = await stored(storage, made)
        assert (after.status, after.approvals) == (ApprovalStatus.PENDING, ())
        assert (await checker.approve(storage, made)).verdict is Verdict.DONE


class ExecutionContract(Contract):
    """`ExecutionStore`."""

    async def test_fifty_who_claim_get_one(self, storage: Storage, peer: Storage) -> None:
        """One process has it for the time of its lease, and the queue knows whose actions are whose."""
        made = await self._approved(storage)
        assert await storage.approvals.claim(["payout:cancel"], lease_ms=LEASE) is None
        assert await storage.approvals.claim([], lease_ms=LEASE) is None
        each = (storage, peer) * (AT_ONCE // 2)
        found = await asyncio.gather(*(one.approvals.claim([ACTION], lease_ms=LEASE) for one in each))
        (claimed,) = [one for one in found if one is not None]
        assert (claimed.approval.id, claimed.approval.attempts) == (made.id, 1)
        assert claimed.approval.payload == made.payload

    async def test_each_of_many_is_claimed_once(self, storage: Storage, peer: Storage) -> None:
        """Twenty approved, forty who claim: nobody gets what another one has."""
        made = {(await self._approved(storage)).id for _ in range(20)}
        each = (storage, peer) * 20
        found = await asyncio.gather(*(one.approvals.claim([ACTION], lease_ms=LEASE) for one in each))
        claimed = [one.approval.id for one in found if one is not None]
        while (more := await storage.approvals.claim([ACTION], lease_ms=LEASE)) is not None:
            claimed.append(more.approval.id)
        assert sorted(claimed) == sorted(made)

    async def test_a_lease_passes_on(self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]) -> None:
        """Whoever is gone loses it; if they come back, they end nothing that another one has taken over."""
        made = await self._approved(storage)
        first = await storage.approvals.claim([ACTION], lease_ms=LEASE)
        turn_clock(LEASE + SECOND)
        second = await peer.approvals.claim([ACTION], lease_ms=LEASE)
        assert first is not None
        assert second is not None
        assert (second.approval.id, second.approval.attempts) == (made.id, 2)
        told = event(EventName.APPROVAL_EXECUTED, target=made.id)
        assert not await storage.approvals.finish(first, told)
        assert not await storage.approvals.put_off(first, told, failure="x", again_ms=0)
        assert not await storage.approvals.put_off(first, told, failure="x", again_ms=None)
        assert await peer.approvals.finish(second, told)
        assert not await peer.approvals.finish(second, told)
        after = await stored(storage, made)
        assert (after.execution, after.failure) == (ExecutionState.DONE, None)
        assert len(await all_events(storage, EventName.APPROVAL_EXECUTED)) == 1
        turn_clock(DAY)
        assert await storage.approvals.claim([ACTION], lease_ms=LEASE) is None

    async def test_what_failed_comes_again_later_or_never(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Not before its time; given up it is kept, with the code of what failed."""
        made = await self._approved(storage)
        told = event(EventName.APPROVAL_FAILED, target=made.id)
        claimed = await storage.approvals.claim([ACTION], lease_ms=LEASE)
        assert claimed is not None
        assert await storage.approvals.put_off(claimed, told, failure="unavailable", again_ms=30 * SECOND)
        assert (await stored(storage, made)).failure == "unavailable"
        assert await storage.approvals.claim([ACTION], lease_ms=LEASE) is None
        turn_clock(31 * SECOND)
        claimed = await storage.approvals.claim([ACTION], lease_ms=LEASE)
        assert claimed is not None
        assert await storage.approvals.put_off(claimed, told, failure="conflict", again_ms=None)
        after = await stored(storage, made)
        assert (after.execution, after.failure, after.attempts) == (ExecutionState.FAILED, "conflict", 2)
        turn_clock(DAY)
        assert await storage.approvals.claim([ACTION], lease_ms=LEASE) is None
        assert len(await all_events(storage, EventName.APPROVAL_FAILED)) == 2

    async def test_what_is_pending_or_ended_is_never_claimed(self, storage: Storage) -> None:
        """Only the last yes that was missing puts something into the queue."""
        checker = await a_checker(storage)
        waiting = await a_request(storage, quorum=2)
        await checker.approve(storage, waiting, queue=True)
        await checker.reject(storage, await a_request(storage), queue=True)
        await checker.approve(storage, await a_request(storage))
        assert await storage.approvals.claim([ACTION], lease_ms=LEASE) is None
        assert (await stored(storage, waiting)).execution is None

    async def test_done_in_the_same_transaction_is_noted_once(self, storage: Storage) -> None:
        """A second time it is a conflict, as it is for what is not approved."""
        checker, made = await a_checker(storage), await a_request(storage)
        told = event(EventName.APPROVAL_EXECUTED, target=made.id)
        with pytest.raises(Conflict):
            await storage.approvals.executed(made.id, told)
        await checker.approve(storage, made)
        await storage.approvals.executed(made.id, told)
        with pytest.raises(Conflict):
            await storage.approvals.executed(made.id, told)
        assert (await stored(storage, made)).execution is ExecutionState.DONE

    @staticmethod
    async def _approved(storage: Storage) -> StoredApproval:
        made = await a_request(storage)
        assert (await (await a_checker(storage)).approve(storage, made, queue=True)).verdict is Verdict.DONE
        return made
