"""What is done with what was approved: one commit with the yes, or an outbox that executes at least once."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from limen import Limen, Principal
from limen.core.errors import ConfigurationError, Conflict, LimenError, Unavailable
from limen.features.approvals.service import ApprovalStatus, Approved, ExecutionState
from limen.testing.contracts.contract import an_account
from tests.approvals.conftest import QUEUED, RELEASE, Broken, Place
from tests.support.gates import settings_for

FAILED = ("approval_failed", "failure")
EXECUTED = ("approval_executed", "success")
APPROVED = ("approval_approved", "success")


class Base(DeclarativeBase):
    """What the application maps."""


class Done(Base):
    """The table of the fixture."""

    __tablename__ = "done"
    id: Mapped[int] = mapped_column(primary_key=True)
    request: Mapped[str]
    payload: Mapped[str]


def raising(error: Exception) -> Any:
    """Return what an executor is to fail with."""

    def fail() -> None:
        raise error

    return fail


class TestOneCommit:
    @pytest.mark.parametrize("error", [Broken("the account is closed"), Conflict("the account is closed")])
    async def test_what_fails_leaves_nothing(
        self, place: Place, maker: Principal, checker: Principal, error: Exception
    ) -> None:
        """Neither the yes nor what the executor wrote; a record says that it failed, and it can be approved again."""
        asked = await place.ask(maker)
        place.fails = raising(error)
        with pytest.raises(type(error)):
            await place.gate.approvals.approve(checker, asked.id)
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.status, shown.approvals, shown.execution) == (ApprovalStatus.PENDING, (), None)
        assert await place.done() == []
        assert (await place.events(asked))[1:] == [FAILED]
        place.fails = lambda: None
        await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == [asked.id]
        assert (await place.events(asked))[2:] == [APPROVED, EXECUTED]

    async def test_what_takes_too_long_leaves_nothing(self, place: Place, maker: Principal, checker: Principal) -> None:
        """It is stopped and rolled back, and whoever approved is told to try again."""

        @place.gate.approvals.action(
            "payout:slow", session=place.sessions.begin, timeout=0.05, permission="payout:release:approve"
        )
        async def slow(approved: Approved, session: Any) -> None:
            await session.execute(text("INSERT INTO done (request, payload) VALUES ('slow', '')"))
            await asyncio.sleep(60)

        asked = await place.ask(maker, "payout:slow")
        with pytest.raises(Unavailable):
            await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == []
        assert (await place.events(asked))[1:] == [FAILED]

    @pytest.mark.parametrize("how", ["sessionmaker", "its begin", "engine's begin", "engine's connect"])
    async def test_what_a_session_may_be(self, place: Place, maker: Principal, checker: Principal, how: str) -> None:
        """Sessions and connections, whether whoever opens them begins the transaction or not."""
        opened = {
            "sessionmaker": place.sessions,
            "its begin": place.sessions.begin,
            "engine's begin": place.engine.begin,
            "engine's connect": place.engine.connect,
        }[how]

        @place.gate.approvals.action("loan:grant", session=opened, permission="payout:release:approve")
        async def grant(approved: Approved, session: Any) -> None:
            statement = "INSERT INTO done (request, payload) VALUES (:id, '')"
            await session.execute(text(statement), {"id": approved.id})

        asked = await place.ask(maker, "loan:grant")
        await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == [asked.id]
        assert (await place.events(asked))[1:] == [APPROVED, EXECUTED]

    async def test_limens_verbs_in_an_executor_are_part_of_it(
        self, place: Place, maker: Principal, checker: Principal
    ) -> None:
        """An account that an executor makes is there with the yes, and gone with a rollback."""

        @place.gate.approvals.action("account:open", session=place.sessions, permission="payout:release:approve")
        async def open_account(approved: Approved, session: Any) -> None:
            await place.gate.accounts.create(approved.payload["name"], None)
            place.fails()

        asked = await place.ask(maker, "account:open", payload={"name": "carl"})
        place.fails = raising(Broken())
        with pytest.raises(Broken):
            await place.gate.approvals.approve(checker, asked.id)
        assert await place.rows("SELECT id FROM limen_accounts WHERE username = 'carl'") == []
        place.fails = lambda: None
        await place.gate.approvals.approve(checker, asked.id)
        assert len(await place.rows("SELECT id FROM limen_accounts WHERE username = 'carl'")) == 1

    async def test_in_a_transaction_of_the_callers(self, place: Place, maker: Principal, checker: Principal) -> None:
        """In a block of `gate.using` it is that transaction: the executor gets it, and only the caller commits."""
        asked = await place.ask(maker)
        before = await place.events(asked)
        with suppress(Broken):
            async with place.sessions.begin() as session, place.gate.using(session):
                done = await place.gate.approvals.approve(checker, asked.id)
                assert done.status is ApprovalStatus.APPROVED
                assert await place.done() == []
                raise Broken
        assert await place.done() == []
        assert await place.events(asked) == before
        async with place.sessions.begin() as session, place.gate.using(session):
            await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == [asked.id]
        assert await place.events(asked) == [*before, APPROVED, EXECUTED]

    @pytest.mark.parametrize("how", ["session", "connection"])
    @pytest.mark.parametrize("failing", ["raises", "SQL", "too slow"])
    async def test_a_caller_who_goes_on_after_a_failure_commits_none_of_it(
        self, place: Place, maker: Principal, checker: Principal, how: str, failing: str
    ) -> None:
        """The block's transaction has what the caller wrote, and the record of the failure; the request is pending."""
        own = text("INSERT INTO done (request, payload) VALUES (:id, 'own')")

        seconds = 2 if failing == "too slow" else 60

        @place.gate.approvals.action(
            "loan:grant", session=place.sessions, timeout=seconds, permission="payout:release:approve"
        )
        async def grant(approved: Approved, session: Any) -> None:
            await session.execute(own, {"id": approved.id})
            if failing == "SQL":
                await session.execute(text("INSERT INTO done (request) VALUES (NULL)"))
            if failing == "too slow":
                await asyncio.sleep(60)
            raise Broken

        asked = await place.ask(maker, "loan:grant")
        opened = place.sessions.begin if how == "session" else place.engine.begin
        async with opened() as connection, place.gate.using(connection):
            await connection.execute(own, {"id": "before"})
            with pytest.raises((Broken, DBAPIError, Unavailable)) as refused:
                await place.gate.approvals.approve(checker, asked.id)
            assert isinstance(refused.value, {"raises": Broken, "SQL": DBAPIError, "too slow": Unavailable}[failing])
            await connection.execute(own, {"id": "after"})
        assert await place.done() == ["before", "after"]
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.status, shown.approvals, shown.execution) == (ApprovalStatus.PENDING, (), None)
        assert (await place.events(asked))[1:] == [FAILED]

    @pytest.mark.parametrize("how", ["in a block", "by itself"])
    async def test_what_a_session_has_put_off_is_part_of_it(
        self, place: Place, maker: Principal, checker: Principal, how: str
    ) -> None:
        """An object that the database refuses, and that would be written at the commit, is a failure as any other."""
        await self.write_first(place)

        @place.gate.approvals.action("loan:grant", session=place.sessions, permission="payout:release:approve")
        async def grant(approved: Approved, session: Any) -> None:
            session.add_all([Done(id=5, request=approved.id, payload=""), Done(id=1, request="again", payload="")])

        asked = await place.ask(maker, "loan:grant")
        with suppress(IntegrityError):
            if how == "by itself":
                await place.gate.approvals.approve(checker, asked.id)
            else:
                async with place.sessions.begin() as session, place.gate.using(session):
                    with suppress(IntegrityError):
                        await place.gate.approvals.approve(checker, asked.id)
        assert await place.done() == ["first"]
        assert (await place.gate.approvals.show(maker, asked.id)).status is ApprovalStatus.PENDING
        assert (await place.events(asked))[1:] == [FAILED]

    async def write_first(self, place: Place) -> None:
        """Write a row with the number 1."""
        async with place.engine.begin() as connection:
            await connection.execute(text("INSERT INTO done (request, payload) VALUES ('first', '')"))

    async def test_what_lies_in_the_database_is_held_against_its_hash(
        self, place: Place, maker: Principal, checker: Principal
    ) -> None:
        """Whoever changes a payload by hand gets nothing done."""
        for action in (RELEASE, QUEUED):
            asked = await place.ask(maker, action)
            async with place.engine.begin() as connection:
                statement = "UPDATE limen_approvals SET payload = :text WHERE id = :id"
                await connection.execute(text(statement), {"text": '{"amount":11}', "id": asked.id})
            if action == RELEASE:
                with pytest.raises(LimenError):
                    await place.gate.approvals.approve(checker, asked.id)
            else:
                await place.gate.approvals.approve(checker, asked.id)
                await place.gate.approvals.work()
                shown = await place.gate.approvals.show(maker, asked.id)
                assert (shown.execution, shown.failure) == (ExecutionState.FAILED, "payload_changed")
        assert await place.done() == []
        assert place.sent == []


class TestOutbox:
    async def test_it_is_executed_after_the_yes(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Queued with the yes in one commit, executed by whichever process comes by, and noted."""
        asked = await place.ask(maker, QUEUED, resource="mail:1", version=3)
        assert await place.gate.approvals.work() == 0
        done = await place.gate.approvals.approve(checker, asked.id)
        assert (done.status, done.execution) == (ApprovalStatus.APPROVED, ExecutionState.QUEUED)
        assert await place.gate.approvals.work() == 1
        assert await place.gate.approvals.work() == 0
        (sent,) = place.sent
        assert sent == Approved(asked.id, QUEUED, "mail:1", {"amount": 10}, "3", maker.sub, (checker.sub,), 1)
        assert (await place.gate.approvals.show(maker, asked.id)).execution is ExecutionState.DONE
        assert (await place.events(asked))[1:] == [APPROVED, EXECUTED]

    async def test_it_is_tried_again_later(self, place: Place, maker: Principal, checker: Principal) -> None:
        """With pauses that double; the code of what failed is kept, and each attempt is on record."""
        asked = await place.ask(maker, QUEUED)
        await place.gate.approvals.approve(checker, asked.id)
        place.fails = raising(Unavailable())
        assert await place.gate.approvals.work() == 1
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.execution, shown.failure) == (ExecutionState.QUEUED, "unavailable")
        assert await place.gate.approvals.work() == 0
        place.clock.ahead = 6
        place.fails = lambda: None
        assert await place.gate.approvals.work() == 1
        assert [sent.attempt for sent in place.sent] == [1, 2]
        assert {sent.id for sent in place.sent} == {asked.id}
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.execution, shown.failure) == (ExecutionState.DONE, None)
        assert (await place.events(asked))[1:] == [APPROVED, FAILED, EXECUTED]

    async def test_it_is_given_up(self, place: Place, maker: Principal, checker: Principal) -> None:
        """After as many attempts as are declared, with a record that says so; then it is never tried again."""
        asked = await place.ask(maker, QUEUED)
        await place.gate.approvals.approve(checker, asked.id)
        place.fails = raising(Broken("the payload is {amount: 10}"))
        for _ in range(5):
            await place.gate.approvals.work()
            place.clock.ahead += 3_600
        assert [sent.attempt for sent in place.sent] == [1, 2, 3]
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.execution, shown.failure) == (ExecutionState.FAILED, "Broken")
        records = [each for each in await place.gate.storage.events(limit=999) if each.event == "approval_failed"]
        assert [each.data["again"] for each in records] == [True, True, False]
        assert "amount" not in str([dict(each.data) for each in records])

    async def test_what_kills_its_process_each_time_is_given_up(
        self, place: Place, maker: Principal, checker: Principal
    ) -> None:
        """A lease that nobody ended counts as an attempt, so that nothing is tried for ever."""
        asked = await place.ask(maker, QUEUED)
        await place.gate.approvals.approve(checker, asked.id)
        for _ in range(3):
            assert await place.gate.storage.approvals.claim([QUEUED], lease_ms=1_000) is not None
            place.clock.ahead += 2
        assert await place.gate.approvals.work() == 1
        assert place.sent == []
        shown = await place.gate.approvals.show(maker, asked.id)
        assert (shown.execution, shown.failure) == (ExecutionState.FAILED, "lease_lost")

    async def test_what_takes_too_long_fails(self, place: Place, maker: Principal, checker: Principal) -> None:
        """It is stopped, and tried again later."""

        @place.gate.approvals.action("mail:slow", permission="payout:release:approve", timeout=0.05)
        async def slow(approved: Approved) -> None:
            await asyncio.sleep(60)

        asked = await place.ask(maker, "mail:slow")
        await place.gate.approvals.approve(checker, asked.id)
        assert await place.gate.approvals.work() == 1
        assert (await place.gate.approvals.show(maker, asked.id)).failure == "timeout"

    async def test_the_gate_works_it_off(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Once started, a gate does it by itself, a second later or so."""
        asked = await place.ask(maker, QUEUED)
        await place.gate.approvals.approve(checker, asked.id)
        done = asyncio.Event()
        place.fails = done.set
        await place.gate.stop()
        await place.gate.start()
        async with asyncio.timeout(60):
            await done.wait()
        assert [sent.id for sent in place.sent] == [asked.id]

    async def test_in_a_transaction_of_the_callers(self, place: Place, maker: Principal, checker: Principal) -> None:
        """Queued when that is committed, and not at all when it is rolled back."""
        asked = await place.ask(maker, QUEUED)
        with suppress(Broken):
            async with place.sessions.begin() as session, place.gate.using(session):
                await place.gate.approvals.approve(checker, asked.id)
                raise Broken
        assert await place.gate.approvals.work() == 0
        async with place.sessions.begin() as session, place.gate.using(session):
            await place.gate.approvals.approve(checker, asked.id)
        assert await place.gate.approvals.work() == 1


class TestDeclaring:
    @pytest.fixture
    def gate(self, tmp_path: Any) -> Limen:
        """A gate that is not started."""
        return Limen(settings_for(tmp_path), roles={"checker": ["payout:release:approve"]})

    @pytest.mark.parametrize(
        "declared",
        [
            {"name": "release"},
            {"name": "a:b:c:d"},
            {"name": "payout:release\n"},
            {"permission": "approve"},
            {"quorum": 0},
            {"quorum": 21},
            {"quorum": True},
            {"expires_in": 0},
            {"expires_in": 30 * 86_400 + 1},
            {"attempts": 0},
            {"timeout": 0},
            {"timeout": 601},
            {"may_approve": object()},
            {"session": lambda: None},
        ],
        ids=[
            "one part",
            "four parts",
            "a line",
            "permission",
            "no quorum",
            "large quorum",
            "quorum True",
            "no time",
            "long time",
            "no attempts",
            "no timeout",
            "long timeout",
            "no judge",
            "session without parameter",
        ],
    )
    def test_what_cannot_be_declared(self, gate: Limen, declared: dict[str, Any]) -> None:
        """A mistake in a declaration is told where it is made."""
        arguments = {"name": RELEASE, **declared}

        async def release(approved: Approved) -> None: ...

        with pytest.raises(ConfigurationError):
            gate.approvals.action(**arguments)(release)

    def test_twice_and_not_asynchronous(self, gate: Limen) -> None:
        """One action has one executor, and it is awaited."""

        async def release(approved: Approved) -> None: ...

        def at_once(approved: Approved) -> None: ...

        assert gate.approvals.action(RELEASE)(release) is release
        with pytest.raises(ConfigurationError, match="twice"):
            gate.approvals.action(RELEASE)(release)
        with pytest.raises(ConfigurationError, match="async"):
            gate.approvals.action("payout:cancel")(at_once)  # type: ignore[type-var]
        assert gate.approvals.actions == (RELEASE,)

    async def test_asking_for_what_is_not_declared(self, place: Place, maker: Principal) -> None:
        """That is a mistake in the program, and nothing is written."""
        with pytest.raises(ConfigurationError, match="is not declared"):
            await place.ask(maker, "payout:unknown")
        with pytest.raises(ConfigurationError, match="quorum"):
            await place.ask(maker, quorum=21)

    async def test_a_start_warns_of_actions_that_nobody_can_approve(
        self, gate: Limen, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fewer active accounts than two, or than the quorum; a service and a disabled account are none."""

        async def release(approved: Approved) -> None: ...

        gate.approvals.action(RELEASE, quorum=3)(release)
        told: list[int | None] = []
        for _ in range(4):
            caplog.clear()
            with caplog.at_level(logging.WARNING, logger="limen"):
                await gate.start()
                await gate.approvals.check()
            warned = [each for each in caplog.records if each.getMessage() == "approvals_too_few_approvers"]
            told.append(warned[0].__dict__["accounts"] if warned else None)
            await an_account(gate.storage, roles=frozenset({"checker"}))
        await gate.stop()
        assert told == [0, 1, 2, None]
