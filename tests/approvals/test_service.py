"""Who decides, what is done then, and what is left of a refusal: on SQLite and on PostgreSQL."""

import asyncio
import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from limen import Decision, PolicySet, Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.administration import Administration
from limen.core.errors import (
    AccountNotActive,
    AlreadyDecided,
    Conflict,
    CredentialMissing,
    InvalidInput,
    NotFound,
    OwnRequest,
    PermissionRequired,
    PolicyDenied,
    SessionEnded,
    StepUpRequired,
)
from limen.core.events import NOWHERE, EventName
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS, Authentication
from limen.features.approvals.service import ApprovalStatus, ApprovalView, Box, ByPolicy
from limen.features.roles.service import OPERATOR
from limen.features.sso.store import Identity
from limen.testing.contracts.contract import event
from tests.approvals.conftest import RELEASE, Place

APPROVED = ("approval_approved", "success")
EXECUTED = ("approval_executed", "success")
REFUSED = ("approval_approved", "failure")
REQUESTED = ("approval_requested", "success")


class TestFourEyes:
    async def test_a_yes_and_it_is_done(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Asked for, approved, executed: each with its record, in this order, and the payload is in none of them."""
        asked = await place.ask(
            maker, payload={"amount": 10, "to": "carl-the-creditor"}, resource="payout:1", version=7
        )
        assert (asked.status, asked.quorum, asked.maker) == (ApprovalStatus.PENDING, 1, maker.sub)
        done = await place.gate.approvals.approve(checker, asked.id)
        assert (done.status, done.decided_by) == (ApprovalStatus.APPROVED, checker.sub)
        assert [given.approver for given in done.approvals] == [checker.sub]
        assert await place.done() == [asked.id]
        assert await place.events(asked) == [REQUESTED, APPROVED, EXECUTED]
        records = [each for each in await place.gate.storage.events(limit=1000) if each.target == asked.id]
        assert [each.actor for each in records] == [maker.sub, checker.sub, checker.sub]
        assert "carl-the-creditor" not in json.dumps([dict(each.data) for each in records])
        shown = await place.gate.approvals.show(maker, asked.id)
        assert shown.execution == "done"

    async def test_a_quorum_of_two(self, place: Place, maker: Principal, checker: Principal, other: Principal) -> None:
        """Nothing is done before the second yes; the second of one person is none."""
        asked = await place.ask(maker, quorum=2)
        assert (await place.gate.approvals.approve(checker, asked.id)).status is ApprovalStatus.PENDING
        with pytest.raises(AlreadyDecided):
            await place.gate.approvals.approve(await place.at_home(checker.sub, "checker"), asked.id)
        assert await place.done() == []
        assert (await place.gate.approvals.approve(other, asked.id)).status is ApprovalStatus.APPROVED
        assert await place.done() == [asked.id]

    async def test_fifty_at_once_do_it_once(
        self, place: Place, maker: Principal, checker: Principal, other: Principal
    ) -> None:
        """Of all that approve at the same moment one gets it done; the others are told that it was decided."""
        asked = await place.ask(maker)
        answers = await asyncio.gather(
            *(place.gate.approvals.approve((checker, other)[n % 2], asked.id) for n in range(50)),
            return_exceptions=True,
        )
        assert [isinstance(each, ApprovalView) for each in answers].count(True) == 1
        assert {type(each) for each in answers} <= {ApprovalView, AlreadyDecided}
        assert await place.done() == [asked.id]
        assert (await place.events(asked)).count(EXECUTED) == 1

    async def test_a_no(self, place: Place, maker: Principal, checker: Principal, other: Principal) -> None:
        """It ends the request, with the reason, and nothing is done."""
        asked = await place.ask(maker)
        no = await place.gate.approvals.reject(checker, asked.id, "the account is closed")
        assert (no.status, no.reason, no.decided_by) == (
            ApprovalStatus.REJECTED,
            "the account is closed",
            checker.sub,
        )
        with pytest.raises(AlreadyDecided):
            await place.gate.approvals.approve(other, asked.id)
        assert await place.done() == []

    async def test_what_was_seen(self, place: Place, maker: Principal, checker: Principal) -> None:
        """The digest is that of the canonical JSON; with another one nothing is decided."""
        asked = await place.ask(maker, payload={"b": [1, True, None], "a": "ä"})
        text = '{"a":"ä","b":[1,true,null]}'
        assert asked.digest == sha256(text.encode()).hexdigest()
        with pytest.raises(Conflict):
            await place.gate.approvals.approve(checker, asked.id, seen="0" * 64)
        for wrong in ("", "0" * 63, "x" * 64, "0 " * 32):
            with pytest.raises(InvalidInput):
                await place.gate.approvals.approve(checker, asked.id, seen=wrong)
        await place.gate.approvals.approve(checker, asked.id, seen=asked.digest)

    async def test_the_maker_edits(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Another payload is another request; the yes to the one before is refused, and nothing of it is done."""
        before = await place.ask(maker, resource="payout:1")
        after = await place.ask(maker, resource="payout:1", payload={"amount": 1_000_000})
        with pytest.raises(AlreadyDecided):
            await place.gate.approvals.approve(checker, before.id)
        assert await place.done() == []
        assert (await place.gate.approvals.show(maker, after.id)).approvals == ()

    async def test_its_time_is_over(self, place: Place, maker: Principal, checker: Principal) -> None:
        """The database's clock decides, also before anybody has noted it."""
        asked = await place.ask(maker)
        place.clock.ahead = 86_401
        with pytest.raises(AlreadyDecided):
            await place.gate.approvals.approve(checker, asked.id)
        assert (await place.gate.approvals.show(maker, asked.id)).status is ApprovalStatus.EXPIRED
        assert ("approval_expired", "success") in await place.events(asked)


def by(me: Principal, *methods: str, **changes: Any) -> Principal:
    """Return the same account by another way of proving."""
    return replace(me, authentication=Authentication(methods, 1), **changes)


class TestWhoDecides:
    @pytest.mark.parametrize("how", ["key", "certificate", "message", "service", "forwarded", "external", "no session"])
    async def test_a_person_who_has_logged_in(
        self, place: Place, maker: Principal, checker: Principal, how: str
    ) -> None:
        """Neither a program nor what was passed on decides; the attempt is on record."""
        asked = await place.ask(maker)
        me = {
            "key": by(checker, "key"),
            "certificate": by(checker, "mtls"),
            "message": by(checker, "message"),
            "service": replace(checker, kind=PrincipalKind.SERVICE),
            "forwarded": replace(checker, authentication=None),
            "external": replace(checker, issuer="https://op.example", subject="s"),
            "no session": replace(checker, sid=None),
        }[how]
        for act in (place.gate.approvals.approve(me, asked.id), place.gate.approvals.reject(me, asked.id, "no")):
            with pytest.raises(StepUpRequired):
                await act
        assert await place.events(asked) == [REQUESTED, REFUSED, ("approval_rejected", "failure")]
        assert (await place.gate.approvals.page(me)).items == []
        assert await place.done() == []

    async def test_nobody(self, place: Place, maker: Principal) -> None:
        """Who is not there neither asks nor looks nor decides."""
        asked = await place.ask(maker)
        approvals = place.gate.approvals
        for act in (
            approvals.request(ANONYMOUS, RELEASE, payload={}),
            approvals.show(ANONYMOUS, asked.id),
            approvals.page(ANONYMOUS),
            approvals.approve(ANONYMOUS, asked.id),
            approvals.reject(ANONYMOUS, asked.id, "no"),
            approvals.withdraw(ANONYMOUS, asked.id),
        ):
            with pytest.raises(CredentialMissing):
                await act
        assert await place.events(asked) == [REQUESTED]

    @pytest.mark.parametrize("how", ["itself", "second session", "role switch", "key", "message", "linked", "made key"])
    async def test_nobody_decides_their_own(self, place: Place, checker: Principal, how: str) -> None:
        """Whatever it was asked for by, and whatever it is decided by, the person is the same."""
        asked_by, me = checker, checker
        if how == "second session":
            me = await place.at_home(checker.sub, "checker")
        if how == "role switch":
            asked_by = replace(checker, roles=frozenset({"clerk"}), permissions=frozenset({"payout:create"}))
        if how == "key":
            asked_by = by(checker, "key", sid=uuid7())
        if how == "message":
            asked_by = by(checker, "message")
        if how == "linked":
            identity = Identity("https://op.example", "somebody")
            await place.gate.storage.sso.link(
                checker.sub, 0, identity, sid=checker.sid, provider="corp", event=event(EventName.IDENTITY_LINKED)
            )
            sub = "00000000-0000-8000-8000-000000000001"
            asked_by = replace(checker, sub=sub, issuer=identity.issuer, subject=identity.subject, sid=None)
        if how == "made key":
            asked_by = await self._service_by_key_of(place, checker)
        asked = await place.ask(asked_by)
        for act in (place.gate.approvals.approve(me, asked.id), place.gate.approvals.reject(me, asked.id, "no")):
            with pytest.raises(OwnRequest):
                await act
        assert await place.events(asked) == [REQUESTED, REFUSED, ("approval_rejected", "failure")]
        assert asked.id not in [each.id for each in (await place.gate.approvals.page(me)).items]
        assert await place.done() == []

    @staticmethod
    async def _service_by_key_of(place: Place, person: Principal) -> Principal:
        from limen.testing.contracts.api_keys import a_key
        from limen.testing.contracts.messages import a_service

        service = await place.gate.storage.accounts.by_id(await a_service(place.gate.storage))
        assert service is not None
        key = await a_key(place.gate.storage, service, created_by=person.sub)
        return Principal(service.id, PrincipalKind.SERVICE, sid=key, authentication=Authentication(("key",), 1))

    async def test_a_role_that_was_lost(self, place: Place, maker: Principal, checker: Principal) -> None:
        """What a token still says does not count: the database is asked, and then it is not theirs to see."""
        asked = await place.ask(maker)
        await place.gate.roles.revoke(OPERATOR, checker.sub, ["checker"])
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(checker, asked.id)
        assert (await place.events(asked))[-1] == REFUSED
        assert await place.done() == []

    async def test_a_permission_of_their_own(self, place: Place, maker: Principal) -> None:
        """One that was granted to the account itself counts, as it is now, until it ends."""
        asked, clerk = [await place.ask(maker) for _ in range(2)], await place.somebody("clerk")
        assert (await place.gate.approvals.page(clerk)).items == []
        await place.gate.permissions.grant(OPERATOR, clerk.sub, ["payout:release:approve"], lifetime=3_600)
        assert len((await place.gate.approvals.page(clerk)).items) == 2
        assert (await place.gate.approvals.approve(clerk, asked[0].id)).status is ApprovalStatus.APPROVED
        place.clock.ahead = 3_601
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(clerk, asked[1].id)
        assert (await place.gate.approvals.page(clerk)).items == []

    async def test_a_session_that_ended(self, place: Place, maker: Principal, checker: Principal) -> None:
        """A token whose session is over decides nothing, however fresh it is."""
        asked = await place.ask(maker)
        await place.gate.sessions.end_all(checker.sub, actor="cli", origin=NOWHERE, authority=None)
        with pytest.raises(SessionEnded):
            await place.gate.approvals.approve(checker, asked.id)
        assert (await place.events(asked))[-1] == REFUSED

    async def test_a_checker_who_was_disabled(self, place: Place, maker: Principal, checker: Principal) -> None:
        """They decide nothing from that moment on."""
        asked = await place.ask(maker)
        account = await place.gate.accounts.by_id(checker.sub)
        await place.gate.accounts.disable(account, actor="cli")
        with pytest.raises((AccountNotActive, SessionEnded)):
            await place.gate.approvals.approve(checker, asked.id)

    async def test_a_maker_who_was_disabled(self, place: Place, maker: Principal, checker: Principal) -> None:
        """What they asked for is not done."""
        asked = await place.ask(maker)
        await place.gate.accounts.disable(await place.gate.accounts.by_id(maker.sub), actor="cli")
        with pytest.raises(Conflict):
            await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == []

    async def test_who_may_not_see_it_is_told_nothing(self, place: Place, maker: Principal) -> None:
        """Somebody without the permission gets the same answer as for an id that names nothing."""
        asked, stranger = await place.ask(maker), await place.somebody("clerk")
        for approval_id in (asked.id, uuid7(), "no id", ""):
            told = set()
            for act in (
                place.gate.approvals.show(stranger, approval_id),
                place.gate.approvals.approve(stranger, approval_id),
                place.gate.approvals.reject(stranger, approval_id, "no"),
                place.gate.approvals.withdraw(stranger, approval_id),
            ):
                with pytest.raises(NotFound) as caught:
                    await act
                told.add(str(caught.value))
            assert told == {"There is no such request."}

    async def test_who_may_see_and_not_decide(self, place: Place, maker: Principal, checker: Principal) -> None:
        """With `approvals:read` it is a plain no; a checker does not withdraw what is another's."""
        asked, admin = await place.ask(maker), await place.somebody("admin")
        assert (await place.gate.approvals.show(admin, asked.id)).id == asked.id
        with pytest.raises(PolicyDenied):
            await place.gate.approvals.approve(admin, asked.id)
        with pytest.raises(PolicyDenied):
            await place.gate.approvals.withdraw(checker, asked.id)
        assert (await place.gate.approvals.show(maker, asked.id)).status is ApprovalStatus.PENDING


class Says:
    """A judge that says what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[ApprovalView] = []

    def decide(self, principal: Principal, action: str, request: ApprovalView) -> Decision:
        """Say it."""
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(request) if callable(self.answer) else self.answer  # type: ignore[no-any-return]


class TestJudges:
    @pytest.mark.parametrize(
        ("answer", "may"),
        [
            (Decision.allow(), True),
            (Decision.deny("not you"), False),
            (True, False),
            (None, False),
            ("yes", False),
            (RuntimeError("the judge is ill"), False),
        ],
        ids=["yes", "no", "True", "None", "text", "raises"],
    )
    async def test_only_a_clear_yes(
        self, place: Place, maker: Principal, checker: Principal, answer: Any, may: bool
    ) -> None:
        """Whatever is no yes is a no, and what it is asked about is the request as it is."""
        judge = Says(answer)
        place.gate.approvals.action("loan:grant", may_approve=judge)(_nothing)
        asked = await place.ask(maker, "loan:grant", payload={"amount": 3})
        if may:
            assert (await place.gate.approvals.approve(checker, asked.id)).status is ApprovalStatus.APPROVED
        else:
            with pytest.raises(NotFound):
                await place.gate.approvals.approve(checker, asked.id)
        assert judge.asked[0].payload == {"amount": 3}

    async def test_limits_by_amount(self, place: Place, maker: Principal, checker: Principal) -> None:
        """A judge sees the payload; the inbox has what it says yes to, beside the permission."""
        judge = Says(lambda request: Decision(request.payload["amount"] <= 100))
        place.gate.approvals.action("loan:grant", permission="payout:release:approve", may_approve=judge)(_nothing)
        small = await place.ask(maker, "loan:grant", payload={"amount": 100})
        large = await place.ask(maker, "loan:grant", payload={"amount": 101})
        assert [each.id for each in (await place.gate.approvals.page(checker)).items] == [small.id]
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(checker, large.id)
        without = await place.somebody("clerk")
        assert (await place.gate.approvals.page(without)).items == []
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(without, small.id)

    async def test_the_policies_are_asked_as_well(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Where policies are plugged in, nobody decides to whom they do not say yes."""
        asked = await place.ask(maker)
        questions: list[tuple[str, str]] = []

        def can(principal: Principal, action: str, request: ApprovalView) -> bool:
            questions.append((principal.sub, action))
            return bool(request.payload["amount"] < 10)

        place.gate.approvals.use_policy(ByPolicy(can))
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(checker, asked.id)
        assert set(questions) == {(checker.sub, "payout:release:approve")}
        assert (await place.gate.approvals.page(checker)).items == []
        small = await place.ask(maker, payload={"amount": 9})
        assert (await place.gate.approvals.approve(checker, small.id)).status is ApprovalStatus.APPROVED

    async def test_the_rules_of_the_gate_have_a_say(self, place: Place, maker: Principal, checker: Principal) -> None:
        """A rule about the request restricts who may approve it, from the moment it is loaded; the permission stays."""
        U, A = subject(), resource(ApprovalView)  # noqa: N806 - as in the documentation
        asked = await place.ask(maker)
        place.gate.load_policies([allow("payout:release:approve", A.maker == U.id, id="only-ones-own")])
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(checker, asked.id)
        place.gate.load_policies([allow("payout:release:approve", A.maker != U.id, id="four-eyes")])
        without = await place.somebody("clerk")
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(without, asked.id)
        assert (await place.gate.approvals.approve(checker, asked.id)).status is ApprovalStatus.APPROVED

    async def test_a_denied_permission_does_not_count(self, place: Place, maker: Principal, checker: Principal) -> None:
        """A deny of the permission by which they approve, whatever the action is called, and one by a wildcard."""
        place.gate.approvals.action("loan:grant", permission="payout:release:approve")(_nothing)
        loan = await place.ask(maker, "loan:grant")
        for denied in ("payout:release:approve", "loan:grant:*"):
            place.gate.load_policies(
                PolicySet([deny(denied, subject().has_role("checker"), id="leave")], actions=["loan:grant:approve"])
            )
            with pytest.raises(NotFound):
                await place.gate.approvals.approve(checker, loan.id)
            assert (await place.gate.approvals.page(checker)).items == []
        place.gate.load_policies([allow("report:read", id="reports")])
        assert (await place.gate.approvals.approve(checker, loan.id)).status is ApprovalStatus.APPROVED

    async def test_rules_about_other_things_have_none(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Policies that name no approval leave it to the permission."""
        asked = await place.ask(maker)
        place.gate.load_policies([allow("report:read", id="reports")])
        assert (await place.gate.approvals.approve(checker, asked.id)).status is ApprovalStatus.APPROVED

    async def test_an_action_that_is_not_declared_here(
        self, place: Place, maker: Principal, checker: Principal
    ) -> None:
        """Nobody decides on it, since nobody says who may; its maker sees it and can take it back."""
        asked = await place.ask(maker)
        del place.gate.approvals._actions[RELEASE]
        with pytest.raises(NotFound):
            await place.gate.approvals.approve(checker, asked.id)
        assert (await place.gate.approvals.withdraw(maker, asked.id)).status is ApprovalStatus.WITHDRAWN


async def _nothing(approved: object) -> None:
    """Do nothing."""


class TestLists:
    async def test_inbox_and_mine(self, place: Place, maker: Principal, checker: Principal, other: Principal) -> None:
        """The inbox has what I may decide on now: not my own, and not what I have said yes to."""
        approvals = place.gate.approvals
        own = await place.ask(checker)
        # Of two that are made in one millisecond either may be the newer.
        newest_first = sorted([(await place.ask(maker, quorum=2)).id for _ in range(5)], reverse=True)
        await approvals.approve(checker, newest_first[-1])
        met: list[str] = []
        after = None
        while True:
            page = await approvals.page(checker, limit=2, after=after)
            met += [each.id for each in page.items]
            after = page.next
            if after is None:
                break
        assert met == newest_first[:-1]
        mine = await approvals.page(checker, Box.MINE, limit=1)
        assert ([each.id for each in mine.items], mine.next) == ([own.id], None)
        assert (await approvals.page(other, Box.MINE)).items == []
        assert [each.id for each in (await approvals.page(other)).items] == sorted(
            [own.id, *newest_first], reverse=True
        )

    async def test_all_takes_the_permission(self, place: Place, maker: Principal, checker: Principal) -> None:
        """`approvals:read` lists everybody's; nobody else gets a list of them."""
        asked, admin = await place.ask(maker), await place.somebody("admin")
        assert Administration.APPROVALS_READ in admin.permissions
        assert [each.id for each in (await place.gate.approvals.page(admin, Box.ALL)).items] == [asked.id]
        with pytest.raises(PermissionRequired):
            await place.gate.approvals.page(checker, Box.ALL)
        for wrong in ({"limit": 0}, {"limit": 201}, {"after": "x"}):
            with pytest.raises(InvalidInput):
                await place.gate.approvals.page(checker, **wrong)


class TestWithdrawing:
    async def test_by_whichever_credential_of_the_maker(self, place: Place, maker: Principal) -> None:
        """Also by a key: it takes a right away and gives none."""
        for me in (maker, by(maker, "key"), await place.at_home(maker.sub)):
            asked = await place.ask(maker)
            assert (await place.gate.approvals.withdraw(me, asked.id)).status is ApprovalStatus.WITHDRAWN
            with pytest.raises(AlreadyDecided):
                await place.gate.approvals.withdraw(me, asked.id)
            assert await place.events(asked) == [
                REQUESTED,
                ("approval_withdrawn", "success"),
                ("approval_withdrawn", "failure"),
            ]

    async def test_by_a_maker_of_another_issuer(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Who has no account here takes back their own, and nobody else's."""
        sub = "00000000-0000-8000-8000-000000000002"
        foreign = Principal(sub, PrincipalKind.PERSON, issuer="https://op.example", subject="s")
        asked, anothers = await place.ask(foreign), await place.ask(maker)
        assert [each.id for each in (await place.gate.approvals.page(foreign, Box.MINE)).items] == [asked.id]
        with pytest.raises(NotFound):
            await place.gate.approvals.withdraw(foreign, anothers.id)
        assert (await place.gate.approvals.withdraw(foreign, asked.id)).status is ApprovalStatus.WITHDRAWN

    async def test_after_a_restore(self, place: Place, maker: Principal, checker: Principal) -> None:
        """What was rejected since the backup is pending in it: so nothing that is pending stays so."""
        asked = [await place.ask(maker) for _ in range(3)]
        await place.gate.approvals.approve(checker, asked[0].id)
        done = await place.gate.maintenance.restored(actor="cli")
        assert done.requests == 2
        found = [(await place.gate.approvals.show(maker, each.id)).status for each in asked]
        assert found == [ApprovalStatus.APPROVED, ApprovalStatus.WITHDRAWN, ApprovalStatus.WITHDRAWN]
        assert (await place.events(asked[1]))[-1] == ("approval_withdrawn", "success")
