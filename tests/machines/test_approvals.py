"""Whatever is asked for, decided, withdrawn or forgotten in whatever order: what is done is what a small model says."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, Final, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from limen import Principal
from limen.core.errors import LimenError
from limen.features.approvals.service import ApprovalStatus, ApprovalView
from limen.features.roles.service import OPERATOR
from tests.approvals.conftest import Place
from tests.support.machines import repeatable

SEQUENCES: Final = int(os.environ.get("LIMEN_TEST_MACHINE_SEQUENCES", "12"))
STEPS: Final = 25
A_DAY: Final = 86_400
_numbers = count()
T = TypeVar("T")


@dataclass(eq=False)
class Person:
    """Somebody who may ask, and may decide while they hold the role."""

    me: Principal
    may_decide: bool = True


@dataclass(eq=False)
class Asked:
    """A request, as it should be."""

    id: str
    maker: Person
    quorum: int
    until: float
    status: str = "pending"
    said_yes: set[str] = field(default_factory=set)


class Machine(RuleBasedStateMachine):
    """Acts on a gate and on the model, and holds the one against the other after each step."""

    place: ClassVar[Place]
    loop: ClassVar[asyncio.AbstractEventLoop]

    def __init__(self) -> None:
        super().__init__()
        self.people: list[Person] = []
        self.asked: list[Asked] = []
        self.days = 0
        for _ in range(3):
            self.people.append(Person(self.run(self.place.somebody("checker"))))

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something in the loop of the gate, which is another thread's."""

        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(120)

    def one(self, data: st.DataObject, found: list[T], better: Callable[[T], bool] = bool) -> T:
        """Choose, mostly one with which something can be done."""
        good = [each for each in found if better(each)]
        chosen = found if not good or data.draw(st.integers(0, 4)) == 4 else good
        return chosen[-1 - data.draw(st.integers(0, len(chosen) - 1))]

    def case(self, data: st.DataObject, *, once: bool = True) -> tuple[Asked, Person, bool]:
        """Choose a request, and who decides on it; tell whether they may, and a second time, too, unless `once`."""
        asked = self.one(data, self.asked, lambda each: self.status(each) == "pending")

        def may(person: Person) -> bool:
            is_another = person is not asked.maker and not (once and person.me.sub in asked.said_yes)
            return self.status(asked) == "pending" and person.may_decide and is_another

        person = self.one(data, self.people, may)
        return asked, person, may(person)

    def status(self, asked: Asked) -> str:
        """Return what a request is by now."""
        return "expired" if asked.status == "pending" and self.place.clock() >= asked.until else asked.status

    def held(self, work: Awaitable[ApprovalView], *, succeeds: bool) -> None:
        """Do it, where the model lets it be done; else see it refused."""
        if succeeds:
            self.run(work)
            return
        with pytest.raises(LimenError):
            self.run(work)

    @precondition(lambda self: len(self.asked) < 6)
    @rule(data=st.data(), quorum=st.sampled_from([1, 1, 2]))
    def ask(self, data: st.DataObject, quorum: int) -> None:
        """Ask for something."""
        person = self.one(data, self.people)
        made = self.run(self.place.ask(person.me, quorum=quorum, payload={"number": next(_numbers)}))
        self.asked.append(Asked(made.id, person, quorum, self.place.clock() + A_DAY))

    @precondition(lambda self: self.days < 3)
    @rule()
    def a_day_passes(self) -> None:
        """What is pending is forgotten."""
        self.days += 1
        self.place.clock.ahead += A_DAY + 60

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        """Say yes: once each, to what is pending, to no request of one's own, with the role."""
        asked, person, may = self.case(data)
        self.held(self.place.gate.approvals.approve(person.me, asked.id), succeeds=may)
        if may:
            asked.said_yes.add(person.me.sub)
            asked.status = "approved" if len(asked.said_yes) >= asked.quorum else "pending"

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        """Say no: who has said yes may still change their mind."""
        asked, person, may = self.case(data, once=False)
        self.held(self.place.gate.approvals.reject(person.me, asked.id, "no"), succeeds=may)
        if may:
            asked.status = "rejected"

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Take it back: one's own, while it is pending."""
        asked = self.one(data, self.asked, lambda each: self.status(each) == "pending")
        person = self.one(data, self.people, lambda each: each is asked.maker)
        may = self.status(asked) == "pending" and person is asked.maker
        self.held(self.place.gate.approvals.withdraw(person.me, asked.id), succeeds=may)
        if may:
            asked.status = "withdrawn"

    @rule(data=st.data())
    def lose_or_regain_the_role(self, data: st.DataObject) -> None:
        """Somebody may decide no more, or again."""
        person = self.one(data, self.people)
        roles = self.place.gate.roles
        self.run((roles.revoke if person.may_decide else roles.grant)(OPERATOR, person.me.sub, ["checker"]))
        person.may_decide = not person.may_decide

    @invariant()
    def what_is_done_is_what_was_approved(self) -> None:
        """Each approved request was executed once, no other at all, and each is shown as what it is."""
        done = self.run(self.place.done())
        for asked in self.asked:
            assert done.count(asked.id) == (1 if asked.status == "approved" else 0), asked
        for asked in self.asked:
            shown = self.run(self.place.gate.approvals.show(asked.maker.me, asked.id))
            assert shown.status is ApprovalStatus(self.status(asked)), asked


@pytest.mark.timeout(1800)
async def test_what_is_done_is_what_the_model_says(place: Place) -> None:
    """Asked, approved by one or two, refused, withdrawn, expired, by people who lose their role and get it back."""
    kind: Any = type("MachineOfOnePlace", (Machine,), {"place": place, "loop": asyncio.get_running_loop()})
    chosen = repeatable(sequences=SEQUENCES, steps=STEPS)
    await asyncio.to_thread(run_state_machine_as_test, kind, settings=chosen)
