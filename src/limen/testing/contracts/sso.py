"""The contract of single sign-on: what is under way, identities, and the sessions that a provider vouched for."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen.authn.records import Vouched
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, AccountStatus
from limen.features.sessions.store import EndReason
from limen.features.sso.store import Created, Identity, Linked, NewCode, NewFlow, NewPerson
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    digest,
    event,
    new_session,
    state,
)

ISSUER = "https://op.example"
MINUTE = 60 * SECOND


def a_flow(**changes: object) -> NewFlow:
    """Return a login that begins."""
    flow = NewFlow(os.urandom(32), digest(b"browser"), "corp", ISSUER, "/next", None, None, None, None, 10 * MINUTE)
    return replace(flow, **changes)  # type: ignore[arg-type]


def somebody(subject: str = "") -> Identity:
    """Return an identity; one that nobody has, where no subject is given."""
    return Identity(ISSUER, subject or uuid7())


def a_code(account: Account, **changes: object) -> NewCode:
    """Return a one-time code for the account."""
    code = NewCode(os.urandom(32), somebody(), account.id, account.session_epoch, "c" * 43, "{}", b"hint", MINUTE)
    return replace(code, **changes)  # type: ignore[arg-type]


async def linked(storage: Storage, account: Account, identity: Identity, **changes: object) -> Linked:
    """Link an identity to an account as it was read, in a session of its own where none is given."""
    epoch = changes.get("epoch", account.session_epoch)
    assert isinstance(epoch, int)
    sid = changes["sid"] if "sid" in changes else (await a_session(storage, account)).sid
    assert sid is None or isinstance(sid, str)
    told = event(EventName.IDENTITY_LINKED, target=account.id)
    return await storage.sso.link(account.id, epoch, identity, sid=sid, provider="corp", event=told)


async def vouched_session(storage: Storage, account: Account, identity: Identity, provider_sid: str | None) -> str:
    """Open a session that a provider vouched for, and return its id."""
    vouched = Vouched("corp", identity.issuer, identity.subject, provider_sid, b"hint")
    session = new_session(account, os.urandom(32), vouched=vouched)
    assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is not None
    return session.sid


async def ended_by_provider(storage: Storage, **changes: object) -> int | None:
    """End what a logout token names."""
    named: dict[str, object] = {"subject": None, "provider_sid": None, "token_id": os.urandom(32), **changes}
    return await storage.sso.end_of(
        ISSUER,
        keep_token_ms=MINUTE,
        event=event(EventName.SESSIONS_ENDED),
        keep_ended_ms=KEEP_ENDED,
        **named,  # type: ignore[arg-type]
    )


class SsoFlowsContract(Contract):
    """`FlowStore`."""

    async def test_a_login_is_taken_once(self, storage: Storage) -> None:
        """Everything comes back as it was given, and then there is nothing any more."""
        account = await an_account(storage)
        sid = uuid7()
        flow = a_flow(challenge="c" * 43, account_id=account.id, account_epoch=3, session_id=sid)
        await storage.sso.begin(flow)
        found = await storage.sso.take(flow.state_hash, flow.browser_hash, "corp")
        assert found is not None
        assert (found.provider, found.issuer, found.next) == ("corp", ISSUER, "/next")
        assert (found.challenge, found.account_id, found.account_epoch) == ("c" * 43, account.id, 3)
        assert found.session_id == sid
        assert await storage.sso.take(flow.state_hash, flow.browser_hash, "corp") is None

    @pytest.mark.parametrize("other", ["state", "browser", "provider"])
    async def test_a_login_of_another_is_left_alone(self, storage: Storage, other: str) -> None:
        """Another state, browser or provider takes nothing, and spends nothing."""
        flow = a_flow()
        await storage.sso.begin(flow)
        asked = {
            "state": flow.state_hash,
            "browser": flow.browser_hash,
            "provider": "corp",
            other: "other" if other == "provider" else os.urandom(32),
        }
        assert await storage.sso.take(asked["state"], asked["browser"], asked["provider"]) is None  # type: ignore[arg-type]
        assert await storage.sso.take(flow.state_hash, flow.browser_hash, "corp") is not None

    async def test_fifty_take_one_login_once(self, storage: Storage, peer: Storage) -> None:
        """Of fifty who bring the same state to two processes, one gets it."""
        flow = a_flow()
        await storage.sso.begin(flow)
        each = (storage, peer) * 25
        found = await asyncio.gather(*(one.sso.take(flow.state_hash, flow.browser_hash, "corp") for one in each))
        assert len([one for one in found if one is not None]) == 1

    async def test_a_login_takes_ten_minutes_at_most(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A millisecond of its time left is enough, none is not; what is over is swept."""
        early, late = a_flow(), a_flow()
        for flow in (early, late):
            await storage.sso.begin(flow)
        turn_clock(10 * MINUTE - 5 * SECOND)
        assert await storage.sso.take(early.state_hash, early.browser_hash, "corp") is not None
        turn_clock(6 * SECOND)
        assert await storage.sso.take(late.state_hash, late.browser_hash, "corp") is None
        assert await storage.sweep() == 1

    async def test_a_code_is_taken_once(self, storage: Storage, peer: Storage) -> None:
        """Of fifty who bring the same code, one gets what it stands for."""
        account = await an_account(storage)
        code = a_code(account, content='{"amr":["sso"]}')
        await storage.sso.keep_code(code)
        each = (storage, peer) * 25
        found = await asyncio.gather(*(one.sso.take_code(code.code_hash) for one in each))
        (taken,) = [one for one in found if one is not None]
        assert (taken.identity, taken.account_id, taken.account_epoch) == (code.identity, account.id, 0)
        assert (taken.challenge, taken.content, taken.hint) == ("c" * 43, '{"amr":["sso"]}', b"hint")

    async def test_a_code_holds_a_minute(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """After that there is none, and it is swept."""
        account = await an_account(storage)
        code = a_code(account)
        await storage.sso.keep_code(code)
        turn_clock(MINUTE + SECOND)
        assert await storage.sso.take_code(code.code_hash) is None
        assert await storage.sweep() == 1


class SsoIdentitiesContract(Contract):
    """`IdentityStore`."""

    async def test_an_identity_finds_its_account(self, storage: Storage) -> None:
        """Issuer and subject are compared byte by byte: case counts, and so does a slash."""
        account = await an_account(storage)
        identity = somebody(f"Ann-{account.id}")
        assert await storage.sso.find(identity) is None
        assert await linked(storage, account, identity) is Linked.DONE
        found = await storage.sso.find(identity)
        assert found is not None
        assert (found.id, found.status, found.is_active, found.session_epoch) == (account.id, "active", True, 0)
        for other in (
            Identity(ISSUER, identity.subject.lower()),
            Identity(ISSUER, identity.subject + " "),
            Identity(ISSUER + "/", identity.subject),
            Identity(ISSUER.upper(), identity.subject),
        ):
            assert await storage.sso.find(other) is None

    async def test_an_identity_has_one_account(self, storage: Storage) -> None:
        """Linked again to the same it is done, and recorded once; to another account it is refused."""
        ann, bob = await an_account(storage), await an_account(storage)
        identity = somebody()
        assert await linked(storage, ann, identity) is Linked.DONE
        assert await linked(storage, ann, identity) is Linked.DONE
        assert await linked(storage, bob, identity) is Linked.ANOTHERS
        found = await storage.sso.find(identity)
        assert found is not None
        assert found.id == ann.id
        records = [each for each in await all_events(storage, EventName.IDENTITY_LINKED) if each.target == ann.id]
        assert len(records) == 1

    @pytest.mark.parametrize("status", ["disabled", "blocked", "deleted", "ACTIVE", ""])
    async def test_only_an_active_account_is_linked(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Nothing is linked to an account that must not be used."""
        account = await an_account(storage)
        sid = (await a_session(storage, account)).sid
        await set_status(account.id, status)
        assert await linked(storage, account, somebody(), sid=sid) is Linked.ENDED

    async def test_a_link_is_of_the_epoch_it_was_begun_in(self, storage: Storage) -> None:
        """Whoever had all sessions ended since has also ended the linking."""
        account = await an_account(storage)
        await storage.sessions.end_all(account.id, reason=EndReason.LOGOUT_ALL, event=event(), keep_ended_ms=KEEP_ENDED)
        now = await storage.accounts.by_id(account.id)
        assert now is not None
        sid = (await a_session(storage, now)).sid
        assert await linked(storage, account, somebody(), sid=sid) is Linked.ENDED

    async def test_a_link_takes_the_session_it_was_begun_in(self, storage: Storage) -> None:
        """While another session of the account goes on, one that has ended, another's, or none at all links nothing."""
        account, identity = await an_account(storage), somebody()
        mine, other = await a_session(storage, account), await a_session(storage, await an_account(storage))
        await a_session(storage, account)
        before = len(await all_events(storage, EventName.IDENTITY_LINKED))
        for sid in (None, uuid7(), other.sid):
            assert await linked(storage, account, identity, sid=sid) is Linked.ENDED
        await storage.sessions.end(
            mine.sid, account_id=account.id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert await linked(storage, account, identity, sid=mine.sid) is Linked.ENDED
        assert await storage.sso.find(identity) is None
        assert len(await all_events(storage, EventName.IDENTITY_LINKED)) == before

    async def test_a_session_that_is_over_links_nothing(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Its row stays until it is swept, and counts for nothing from the moment in which it is over."""
        account = await an_account(storage)
        sid = (await a_session(storage, account, refresh_ttl_ms=MINUTE)).sid
        turn_clock(MINUTE - 10 * SECOND)
        assert await linked(storage, account, somebody(), sid=sid) is Linked.DONE
        turn_clock(11 * SECOND)
        assert await linked(storage, account, somebody(), sid=sid) is Linked.ENDED

    async def test_fifty_first_logins_make_one_account(self, storage: Storage, peer: Storage) -> None:
        """Of fifty who make an account for one identity, one is done; the other accounts are taken back."""
        identity = somebody()
        people = [NewPerson(uuid7(), f"sso-{uuid7()}", None) for _ in range(50)]

        async def make(number: int, person: NewPerson) -> Created:
            store = (storage, peer)[number % 2].sso
            return await store.create(person, identity, provider="corp", event=event(EventName.ACCOUNT_CREATED))

        outcomes = await asyncio.gather(*(make(number, person) for number, person in enumerate(people)))
        assert outcomes.count(Created.DONE) == 1
        assert outcomes.count(Created.IDENTITY_TAKEN) == 49
        found = await storage.sso.find(identity)
        made = [person.id for person in people if await storage.accounts.by_id(person.id) is not None]
        assert found is not None
        assert made == [found.id]
        assert people[outcomes.index(Created.DONE)].id == found.id

    async def test_a_name_that_is_taken_makes_nothing(self, storage: Storage) -> None:
        """Neither account nor link nor record is written."""
        account = await an_account(storage)
        identity = somebody()
        before = len(await all_events(storage))
        person = NewPerson(uuid7(), account.username, None)
        assert await storage.sso.create(person, identity, provider="corp", event=event()) is Created.NAME_TAKEN
        assert await storage.sso.find(identity) is None
        assert len(await all_events(storage)) == before

    async def test_without_its_record_nothing_is_made(self, storage: Storage) -> None:
        """An account whose record cannot be written is taken back with its link."""
        identity, person = somebody(), NewPerson(uuid7(), f"sso-{uuid7()}", None)
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the engine's driver raises
            await storage.sso.create(person, identity, provider="corp", event=BROKEN_EVENT)
        assert await storage.sso.find(identity) is None
        assert await storage.accounts.by_id(person.id) is None

    async def test_an_address_is_known_while_its_account_is(self, storage: Storage) -> None:
        """A deleted account has none any more."""
        account = await an_account(storage, email=f"{uuid7()}@example.com")
        assert account.email is not None
        assert await storage.sso.is_known_email(account.email)
        assert not await storage.sso.is_known_email("nobody@example.com")
        await storage.accounts.delete(account.id, event=event(), keep_ended_ms=KEEP_ENDED)
        assert not await storage.sso.is_known_email(account.email)

    async def test_a_deleted_account_has_no_identities(self, storage: Storage) -> None:
        """They are personal, so they go with it; the identity is free again."""
        account, identity = await an_account(storage), somebody()
        await linked(storage, account, identity)
        await storage.accounts.delete(account.id, event=event(), keep_ended_ms=KEEP_ENDED)
        assert await storage.sso.find(identity) is None
        assert await storage.sso.of_account(account.id) == []

    async def test_identities_are_listed_and_unlinked(self, storage: Storage) -> None:
        """By the id that the list names, by the account that has them; an unknown one is none."""
        account, other, identity = await an_account(storage), await an_account(storage), somebody()
        await linked(storage, account, identity)
        (listed,) = await storage.sso.of_account(account.id)
        assert (listed.provider, listed.issuer) == ("corp", ISSUER)
        told = event(EventName.IDENTITY_UNLINKED)
        assert await storage.sso.unlink(listed.id, account_id=other.id, event=told) is None
        assert await storage.sso.unlink(uuid7(), account_id=account.id, event=told) is None
        assert await storage.sso.unlink(listed.id, account_id=account.id, event=told) is True
        assert await storage.sso.find(identity) is None

    async def test_the_last_way_in_stays(self, storage: Storage, peer: Storage) -> None:
        """Of the last two identities of an account without a password, one goes, also where both are asked at once."""
        identity = somebody()
        person = NewPerson(uuid7(), f"sso-{uuid7()}", None)
        await storage.sso.create(person, identity, provider="corp", event=event())
        account = await storage.accounts.by_id(person.id)
        assert account is not None
        await linked(storage, account, somebody())
        one, two = await storage.sso.of_account(account.id)
        outcomes = await asyncio.gather(
            storage.sso.unlink(one.id, account_id=account.id, event=event()),
            peer.sso.unlink(two.id, account_id=account.id, event=event()),
        )
        assert sorted(outcomes, key=str) == [False, True]
        assert len(await storage.sso.of_account(account.id)) == 1


class SsoSessionsContract(Contract):
    """`ProviderSessionStore`, and sessions that a provider vouched for."""

    async def test_a_session_knows_its_login(self, storage: Storage) -> None:
        """It goes with the session; one that came about otherwise has none."""
        account, identity = await an_account(storage), somebody()
        sid = await vouched_session(storage, account, identity, "op-1")
        found = await storage.sso.login_of(sid)
        assert found is not None
        assert (found.provider, found.identity, found.hint) == ("corp", identity, b"hint")
        assert await storage.sso.login_of((await a_session(storage, account)).sid) is None
        await storage.sessions.end(
            sid, account_id=account.id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert await storage.sso.login_of(sid) is None

    async def test_a_login_elsewhere_was_when_it_was(self, storage: Storage) -> None:
        """Its time is kept, never one that is yet to come."""
        account = await an_account(storage)
        opened = [await a_session(storage, account, auth_time=moment) for moment in (1_000, 2**50)]
        past, future = [await state(storage, each.sid) for each in opened]
        assert past.auth_time == 1_000
        assert future.auth_time <= future.now

    async def test_only_the_named_sessions_end(self, storage: Storage) -> None:
        """By the provider's session, or by the subject; those of others and of passwords go on."""
        ann, bob = await an_account(storage), await an_account(storage)
        of_ann, of_bob = somebody(), somebody()
        first = await vouched_session(storage, ann, of_ann, f"1-{ann.id}")
        second = await vouched_session(storage, ann, of_ann, f"2-{ann.id}")
        bobs = await vouched_session(storage, bob, of_bob, f"1-{bob.id}")
        by_password = (await a_session(storage, ann)).sid
        assert await ended_by_provider(storage, subject=of_bob.subject, provider_sid=f"1-{ann.id}") == 0
        assert await ended_by_provider(storage, provider_sid=f"1-{ann.id}") == 1
        assert await storage.sessions.read(first) is None
        assert first in {each.sid for each in await storage.sessions.ended_since(0)}
        assert await ended_by_provider(storage, subject=of_ann.subject) == 1
        assert await storage.sessions.read(second) is None
        assert await storage.sessions.read(bobs) is not None
        assert await storage.sessions.read(by_password) is not None

    async def test_a_logout_token_counts_once(self, storage: Storage, peer: Storage) -> None:
        """Of fifty who bring the same one, one is heard."""
        account, identity = await an_account(storage), somebody()
        await vouched_session(storage, account, identity, None)
        token_id = os.urandom(32)
        each = (storage, peer) * 25
        outcomes = await asyncio.gather(
            *(ended_by_provider(one, subject=identity.subject, token_id=token_id) for one in each)
        )
        assert sorted(outcomes, key=str) == [1, *[None] * 49]

    async def test_a_logout_takes_the_codes_along(self, storage: Storage) -> None:
        """A one-time code of that subject opens nothing afterwards; another's does."""
        account = await an_account(storage)
        mine, others = a_code(account), a_code(account)
        for code in (mine, others):
            await storage.sso.keep_code(code)
        assert await ended_by_provider(storage, subject=mine.identity.subject) == 0
        assert await storage.sso.take_code(mine.code_hash) is None
        assert await storage.sso.take_code(others.code_hash) is not None

    async def test_a_logout_of_one_session_takes_its_codes_along(self, storage: Storage) -> None:
        """Where a token names the provider's session and no subject, codes of that session alone open nothing."""
        account = await an_account(storage)
        mine, others = (
            a_code(account, content=json.dumps(["corp", [], None, None, sid, 1])) for sid in ("op-'1", "op-'2")
        )
        for code in (mine, others):
            await storage.sso.keep_code(code)
        assert await ended_by_provider(storage, provider_sid="op-'1") == 0
        assert await storage.sso.take_code(mine.code_hash) is None
        assert await storage.sso.take_code(others.code_hash) is not None

    async def test_an_identity_that_is_unlinked_takes_its_codes_along(self, storage: Storage) -> None:
        """Who is not let in any more has no minute left; a code of the account's other identity holds."""
        account, gone, stays = await an_account(storage), somebody(), somebody()
        for identity in (gone, stays):
            await linked(storage, account, identity)
        mine, others = a_code(account, identity=gone), a_code(account, identity=stays)
        for code in (mine, others):
            await storage.sso.keep_code(code)
        listed, _ = await storage.sso.of_account(account.id)
        assert await storage.sso.unlink(listed.id, account_id=account.id, event=event()) is True
        assert await storage.sso.take_code(mine.code_hash) is None
        assert await storage.sso.take_code(others.code_hash) is not None

    async def test_a_disabled_account_opens_no_vouched_session(self, storage: Storage) -> None:
        """The door's condition holds for it too, and no trace of the login is left."""
        account, identity = await an_account(storage), somebody()
        await storage.accounts.change_status(
            account.id, of=AccountStatus.ACTIVE, to=AccountStatus.DISABLED, event=event(), keep_ended_ms=KEEP_ENDED
        )
        vouched = Vouched("corp", identity.issuer, identity.subject, None, None)
        session = new_session(account, b"s", vouched=vouched)
        assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is None
        assert await storage.sso.login_of(session.sid) is None
