"""Whatever people and administrators do in whatever order: who gets in with what is what a small model says."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from limen import Limen, Principal
from limen.authn.issuing import Issued
from limen.core.clock import system_clock
from limen.core.errors import (
    AccountNotActive,
    Conflict,
    InvalidCredentials,
    InvalidRefreshToken,
    LimenError,
    LinkInvalid,
    NotFound,
    SessionEnded,
)
from limen.core.events import NOWHERE, Origin
from limen.core.principal import ANONYMOUS
from limen.crypto.passwords import PasswordHasher
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from limen.testing import TurnableClock
from tests.machines.people import ACCESS_SECONDS, LEEWAY, LINK_SECONDS, OLD_SECRET_SECONDS, Key, Link, Person, Session
from tests.recovery.conftest import ROLES, token_of
from tests.support.gates import settings_for
from tests.support.machines import repeatable

SEQUENCES: Final = int(os.environ.get("LIMEN_TEST_MACHINE_SEQUENCES", "12"))
STEPS: Final = 40
PATIENCE: Final = 60.0
PASSWORDS: Final = [f"{word} horse battery staple" for word in ("correct", "another", "third", "fourth")]
NEVER: Final = float("inf")
_names = count(1)
T = TypeVar("T")


class Box:
    """Where mails arrive."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def send(self, message: EmailMessage) -> None:
        """Take a mail."""
        self.mails.append(message)


class Machine(RuleBasedStateMachine):
    """Acts on a gate and on the model, and holds the one against the other after each step."""

    gate: ClassVar[Limen]
    runner: ClassVar[asyncio.Runner]
    box: ClassVar[Box]
    clock: ClassVar[TurnableClock | None]
    leeway: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.people: list[Person] = []

    # --- what is there to choose from

    def run(self, work: Awaitable[T]) -> T:
        """Wait for something."""

        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    def now(self) -> float:
        """Return the time by which limen goes."""
        return time.time() if self.clock is None else self.clock()

    def one(self, data: st.DataObject, found: list[T], better: Callable[[T], bool]) -> T:
        """Choose, mostly one with which something can be done."""
        good = [each for each in found if better(each)]
        chosen = found if not good or data.draw(st.integers(0, 9)) == 9 else good
        return chosen[-1 - data.draw(st.integers(0, len(chosen) - 1))]

    @property
    def sessions(self) -> list[Session]:
        """All that were ever opened."""
        return [session for person in self.people for session in person.sessions]

    @property
    def keys(self) -> list[Key]:
        """All that were ever made."""
        return [key for person in self.people for key in person.keys]

    @property
    def links(self) -> list[Link]:
        """All that were ever mailed."""
        return [link for person in self.people for link in person.links]

    def mailed(self, email: str, work: Awaitable[object]) -> str:
        """Do something, wait for the mail with a link that follows it, and return what the link proves."""
        before = len(self.box.mails)
        self.run(work)
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            assert self.gate.mail is not None
            self.run(self.gate.mail.work())
            for mail in self.box.mails[before:]:
                if mail["To"] == email and "#" in mail.as_string():
                    return token_of(mail)
            self.run(asyncio.sleep(0.01))
        raise AssertionError("no mail came")

    # --- what is done

    @precondition(lambda self: sum(person.is_active for person in self.people) < 2)
    @rule(password=st.sampled_from(PASSWORDS))
    def register(self, password: str) -> None:
        """Somebody new, who proves their address and logs in; or somebody with the name of one who was deleted."""
        deleted = [person for person in self.people if person.status == "deleted"]
        taken = {person.username for person in self.people if person.status != "deleted"}
        free = [person.username for person in deleted if person.username not in taken]
        number = next(_names)
        name = free[0] if free else f"person-{number}"
        email = f"person-{number}@example.org"
        made: list[Any] = []

        async def create() -> None:
            made.append(await self.gate.accounts.create(name, password, email=email, roles=frozenset({"maker"})))

        token = self.mailed(email, create())
        assert self.gate.recovery is not None
        self.run(self.gate.recovery.verify_email(token))
        person = Person(made[0].id, name, email, password)
        self.people.append(person)
        self.opened(person)

    @precondition(lambda self: self.people)
    @rule(data=st.data(), password=st.sampled_from([*PASSWORDS, "right", "right", "former"]))
    def log_in(self, data: st.DataObject, password: str) -> None:
        """With the password, one of before, or any other."""
        person = self.one(data, self.people, lambda person: person.is_active)
        if password == "right":
            password = person.password
        elif password == "former":
            password = person.former[-1] if person.former else "never anybody's password"
        # Of a name that was given away, the one who has it now.
        owner = next(
            (each for each in self.people if each.username == person.username and each.status != "deleted"), None
        )
        if owner is not None and owner.is_active and owner.password == password:
            self.opened(owner)
            return
        with pytest.raises(InvalidCredentials):
            self.run(self.gate.login.login(person.username, password, origin=NOWHERE))

    def opened(self, person: Person) -> None:
        """Log in with the password that is right."""
        session = Session(person, [], [], self.now())
        self.took(session, self.run(self.gate.login.login(person.username, person.password, origin=NOWHERE)))
        person.sessions.append(session)

    def took(self, session: Session, issued: Issued) -> None:
        """Note what was issued."""
        if issued.refresh_token not in session.refresh:
            session.refresh.append(issued.refresh_token)
        session.access = [*session.access[-1:], (issued.access_token, self.now() + ACCESS_SECONDS)]

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), back=st.sampled_from([0, 0, 0, 1, 2]))
    def refresh(self, data: st.DataObject, back: int) -> None:
        """With the newest token, its parent, or one of before: what was spent ends its session."""
        session = self.one(data, self.sessions, lambda session: session.is_alive)
        back = min(back, len(session.refresh) - 1)
        attempt = self.gate.sessions.refresh(session.refresh[-1 - back], origin=NOWHERE)
        is_replay = back == 1 and self.now() - session.rotated_at <= self.leeway
        if session.is_alive and (back == 0 or is_replay):
            issued = self.run(attempt)
            if is_replay:
                assert issued.refresh_token == session.refresh[-1]
            else:
                assert issued.refresh_token not in session.refresh
                session.rotated_at = self.now()
            self.took(session, issued)
            return
        with pytest.raises(InvalidRefreshToken):
            self.run(attempt)
        session.is_alive = False

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), which=st.integers(0, 3))
    def log_out(self, data: st.DataObject, which: int) -> None:
        """With any token of a session, also a spent one."""
        session = self.one(data, self.sessions, lambda session: session.is_alive)
        self.run(self.gate.sessions.logout(session.refresh[which % len(session.refresh)], origin=NOWHERE))
        session.is_alive = False

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def log_out_everywhere(self, data: st.DataObject) -> None:
        """Every session of an account ends, and what was on its way by mail; keys stay."""
        person = self.one(data, self.people, lambda person: person.is_active)
        self.run(self.gate.sessions.logout_everywhere(person.id, actor=person.id, origin=NOWHERE))
        person.end_sessions()
        person.end_links()

    @precondition(lambda self: self.people)
    @rule(
        data=st.data(),
        act=st.sampled_from(
            ["disable", "enable", "block", "unblock", "enable", "unblock", "enable", "unblock", "delete"]
        ),
    )
    def administer(self, data: st.DataObject, act: str) -> None:
        """Switch an account off and on, for one reason or the other, or erase it."""
        person = self.one(data, self.people, lambda person: person.is_active)
        attempt = getattr(self.gate.administration, act)(OPERATOR, person.id)
        before = person.status
        if before == "deleted":
            with pytest.raises(NotFound):
                self.run(attempt)
            return
        if act == "delete":
            self.run(attempt)
            person.status = "deleted"
        else:
            source, then = {
                "disable": ("active", "disabled"),
                "enable": ("disabled", "active"),
                "block": ("active", "blocked"),
                "unblock": ("blocked", "active"),
            }[act]
            try:
                self.run(attempt)
            except Conflict:
                assert before not in (source, then)
            person.status = then if before == source else before
        if not person.is_active:
            person.end_sessions()
            person.end_links()

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), new=st.sampled_from(PASSWORDS), is_right=st.booleans())
    def change_password(self, data: st.DataObject, new: str, is_right: bool) -> None:
        """By who is logged in and knows it; the session that asks stays."""
        session = self.one(data, self.sessions, lambda session: session.is_alive)
        person = session.person
        principal = self.principal(session)
        if principal is None:
            return
        current = person.password if is_right else "never anybody's password"
        attempt = self.gate.accounts.change_password(person.id, current, new, sid=principal.sid)
        if not is_right:
            with pytest.raises(InvalidCredentials):
                self.run(attempt)
            return
        self.run(attempt)
        person.take_password(new)
        person.end_sessions(but=session)

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def forget_password(self, data: st.DataObject) -> None:
        """Ask for a link; it comes to who is active, and of two the newer counts."""
        person = self.one(data, self.people, lambda person: person.is_active)
        assert self.gate.recovery is not None
        asking = self.gate.recovery.forgot(person.email)
        if not person.is_active:
            before = len(self.box.mails)
            self.run(asking)
            assert self.gate.mail is not None
            self.run(self.gate.mail.work())
            assert all("#" not in mail.as_string() for mail in self.box.mails[before:])
            return
        token = self.mailed(person.email, asking)
        person.end_links()
        person.links.append(Link(person, token, self.now() + LINK_SECONDS))

    @precondition(lambda self: self.links)
    @rule(data=st.data(), new=st.sampled_from(PASSWORDS))
    def use_link(self, data: st.DataObject, new: str) -> None:
        """Once, in time: everything that the old password could reach ends."""
        link = self.one(data, self.links, lambda link: link.is_good)
        person = link.person
        assert self.gate.recovery is not None
        attempt = self.gate.recovery.reset_password(link.token, new)
        if not (link.is_good and self.now() < link.until and person.is_active):
            with pytest.raises(LinkInvalid):
                self.run(attempt)
            return
        self.run(attempt)
        person.take_password(new)
        person.end_sessions()
        for key in person.keys:
            key.is_alive = False

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def make_key(self, data: st.DataObject) -> None:
        """By who is logged in."""
        session = self.one(data, self.sessions, lambda session: session.is_alive)
        principal = self.principal(session)
        assert self.gate.api_keys is not None
        if principal is not None and len(session.person.keys) < 3:
            made = self.run(self.gate.api_keys.service.create_own(principal, Wanted("a program")))
            session.person.keys.append(Key(session.person, made.id, [(made.key, NEVER)]))

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), act=st.sampled_from(["rotate", "revoke"]))
    def change_key(self, data: st.DataObject, act: str) -> None:
        """Give it a new secret, beside which the one before counts for a day; or none at all."""
        key = self.one(data, self.keys, lambda key: key.is_alive)
        assert self.gate.api_keys is not None
        service = self.gate.api_keys.service
        if not key.is_alive or not key.person.is_active:
            if act == "rotate":
                with pytest.raises((NotFound, Conflict)):
                    self.run(service.rotate_for(OPERATOR, key.person.id, key.id))
            return
        if act == "revoke":
            self.run(service.revoke_for(OPERATOR, key.person.id, key.id))
            key.is_alive = False
            return
        made = self.run(service.rotate_for(OPERATOR, key.person.id, key.id))
        before = [(text, 0.0) for text, _ in key.texts[:-1]]
        last = (key.texts[-1][0], self.now() + OLD_SECRET_SECONDS)
        key.texts = [*before, last, (made.key, NEVER)][-3:]

    @precondition(lambda self: self.clock is not None)
    @rule(seconds=st.sampled_from([7, 61, 907, 1_807, 43_207]))
    def time_passes(self, seconds: int) -> None:
        """Nothing else happens."""
        assert self.clock is not None
        self.clock.turn(seconds)

    # --- who gets in

    async def _admitted(self, header: str, value: str) -> Principal | None:
        """Return whom a request with this credential is let through as, by all that the database has now."""
        assert self.gate.api_keys is not None
        self.gate.api_keys.strategy.forget()
        state = Noted()
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "scheme": "https",
            "path": "/",
            "client": ("192.0.2.1", 1),
            "headers": [(header.encode(), value.encode())],
        }
        waiting = self.gate.authenticate(scope, state)
        if waiting is not None:
            await waiting
        if not state.principal.is_authenticated:
            return None
        try:
            return await self.gate.live(state.principal)
        except (SessionEnded, AccountNotActive):
            return None

    def principal(self, session: Session) -> Principal | None:
        """Return whom the newest access token of a session stands for."""
        return self.run(self._admitted("authorization", f"Bearer {session.access[-1][0]}"))

    @invariant()
    def whoever_gets_in_may(self) -> None:
        """Every token that was kept, and every secret of every key."""
        self.run(self._held())

    async def _held(self) -> None:
        now = self.now()
        for session in self.sessions:
            for token, ends in session.access:
                found = await self._admitted("authorization", f"Bearer {token}")
                assert (found is not None) == (session.is_alive and now < ends), (session, found)
                assert found is None or found.sub == session.person.id
        for key in self.keys:
            for text, ends in key.texts:
                found = await self._admitted("x-api-key", text)
                assert (found is not None) == (key.is_alive and key.person.is_active and now < ends), (key, found)
                assert found is None or found.sub == key.person.id

    def teardown(self) -> None:
        """At the end each session is refreshed: those that are alive still are, and no other is."""
        for session in self.sessions:
            attempt = self.gate.sessions.refresh(session.refresh[-1], origin=NOWHERE)
            if session.is_alive:
                assert self.run(attempt).refresh_token
            else:
                with pytest.raises(InvalidRefreshToken):
                    self.run(attempt)


@dataclass
class Noted:
    """Where the outcome of a request is noted."""

    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: object = None
    safe_only: bool = False
    origin: Origin = NOWHERE


@contextmanager
def machine(folder: Path, clock: TurnableClock | None, **stores: Any) -> Iterator[type[Machine]]:
    """Make the machine's kind for one gate, which all of its runs share: each has people of its own."""
    leeway = 0 if clock is None else LEEWAY
    chosen = settings_for(
        folder,
        public_url="https://app.example",
        mail_from="App <no-reply@app.example>",
        throttle="off",
        refresh_leeway=leeway,
        **stores,
    )
    box = Box()
    gate = Limen(chosen, roles=ROLES, mail=box, clock=clock or system_clock)
    gate.accounts._hasher = PasswordHasher(bcrypt_cost=4)
    with asyncio.Runner() as runner:
        running = gate.running()
        runner.run(running.__aenter__())
        try:
            members = {"gate": gate, "runner": runner, "box": box, "clock": clock, "leeway": leeway}
            yield type("MachineOfOneGate", (Machine,), members)
        finally:
            runner.run(running.__aexit__(None, None, None))


def tried(kind: type[Machine], examples: int) -> None:
    """Run it, the same way each time."""
    run_state_machine_as_test(kind, settings=repeatable(sequences=examples, steps=STEPS))


@pytest.mark.timeout(1800)
def test_who_gets_in_is_what_the_model_says(tmp_path: Path) -> None:
    """Registered, logged in and out, switched off and on, erased, passwords, links and keys changed, time gone by."""
    with machine(tmp_path, TurnableClock()) as kind:
        tried(kind, SEQUENCES)


@pytest.mark.timeout(1800)
def test_who_gets_in_is_what_the_model_says_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """The same on PostgreSQL, whose clock nobody turns."""
    with machine(tmp_path, None, database_url=postgres_url) as kind:
        tried(kind, max(2, SEQUENCES // 4))
