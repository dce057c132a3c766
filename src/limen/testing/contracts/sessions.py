"""The contract of the sessions."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from limen.core.events import Event, EventName, Origin, Outcome
from limen.features.sessions.store import ALWAYS_READ_MS, EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    REFRESH_TTL,
    SECOND,
    Contract,
    Opened,
    a_session,
    all_events,
    an_account,
    event,
    rotate,
)

NOBODY = "00000000-0000-7000-8000-000000000000"


async def end(storage: Storage, opened: Opened, **changes: object) -> bool:
    """End a session for the reason of a logout."""
    arguments: dict[str, object] = {
        "account_id": opened.account_id,
        "reason": EndReason.LOGOUT,
        "event": event(EventName.SESSION_ENDED),
        "keep_ended_ms": KEEP_ENDED,
        **changes,
    }
    return await storage.sessions.end(opened.sid, **arguments)  # type: ignore[arg-type]


async def end_all(storage: Storage, account_id: str) -> int:
    """End all sessions of an account."""
    return await storage.sessions.end_all(
        account_id, reason=EndReason.LOGOUT_ALL, event=event(EventName.SESSIONS_ENDED), keep_ended_ms=KEEP_ENDED
    )


class SessionsContract(Contract):
    """`SessionStore`."""

    async def test_read_of_no_session(self, storage: Storage) -> None:
        """What is not there is None."""
        assert await storage.sessions.read(NOBODY) is None
        assert await storage.sessions.read("' OR '1'='1") is None

    async def test_read_sees_what_was_acknowledged(self, storage: Storage, peer: Storage) -> None:
        """Once a rotation is answered, every process reads it."""
        opened = await a_session(storage, await an_account(storage))
        for generation in range(1, 11):
            secret = bytes([generation])
            assert await rotate(storage, opened, secret) is not None
            opened = opened.after(secret)
            for reader in (storage, peer):
                found = await reader.sessions.read(opened.sid)
                assert found is not None
                assert found.generation == generation

    async def test_the_row_is_never_younger_than_now(self, storage: Storage) -> None:
        """A read during rotations never sees a negative age, which would make an honest retry a theft."""
        opened = await a_session(storage, await an_account(storage))

        async def turn(opened: Opened) -> None:
            for generation in range(40):
                secret = bytes([generation])
                assert await rotate(storage, opened, secret) is not None
                opened = opened.after(secret)

        async def look() -> int:
            youngest = 0
            for _ in range(60):
                found = await storage.sessions.read(opened.sid)
                assert found is not None
                youngest = min(youngest, found.now - found.rotated_at)
            return youngest

        _, youngest = await asyncio.gather(turn(opened), look())
        assert youngest >= 0

    async def test_the_living_ones_are_listed(self, storage: Storage) -> None:
        """Those of the account, the newest first, with where they came from; what ended is not among them."""
        account, other = await an_account(storage), await an_account(storage)
        opened = [await a_session(storage, account) for _ in range(3)]
        await a_session(storage, other)
        await end(storage, opened[0])
        assert await rotate(storage, opened[1], b"next") is not None
        listed = await storage.sessions.of_account(account.id, limit=50, after=None)
        assert [each.sid for each in listed] == sorted((each.sid for each in opened[1:]), reverse=True)
        by_sid = {each.sid: each for each in listed}
        used, unused = by_sid[opened[1].sid], by_sid[opened[2].sid]
        assert (used.kind, used.user_agent, used.address) == ("refresh", "browser/1", "192.0.2.8")
        assert used.created_at <= unused.created_at == unused.last_used_at <= used.last_used_at
        assert not await storage.sessions.of_account(NOBODY, limit=50, after=None)

    async def test_the_list_comes_in_pages(self, storage: Storage) -> None:
        """Following ``after`` meets every session once."""
        account = await an_account(storage)
        opened = [await a_session(storage, account) for _ in range(7)]
        met: list[str] = []
        after: str | None = None
        while page := await storage.sessions.of_account(account.id, limit=3, after=after):
            assert len(page) <= 3
            met += [session.sid for session in page]
            after = met[-1]
        assert met == sorted((each.sid for each in opened), reverse=True)

    async def test_what_cannot_be_used_is_not_listed(
        self,
        storage: Storage,
        turn_clock: Callable[[int], None],
        set_status: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """A session whose account is not active, or whose time is over, is not shown, although its row is there."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        await set_status(account.id, "under-review")
        assert not await storage.sessions.of_account(account.id, limit=50, after=None)
        await set_status(account.id, "active")
        assert len(await storage.sessions.of_account(account.id, limit=50, after=None)) == 1
        turn_clock(REFRESH_TTL + SECOND)
        assert not await storage.sessions.of_account(account.id, limit=50, after=None)
        assert await storage.sessions.read(opened.sid) is not None

    async def test_end_deletes_and_lists(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """An ended session is gone, stands on the list for the time it was given, and then no more."""
        opened = await a_session(storage, await an_account(storage))
        assert await end(storage, opened)
        assert await storage.sessions.read(opened.sid) is None
        (entry,) = await storage.sessions.ended_since(0)
        assert entry.sid == opened.sid
        # The clock may turn over a millisecond between the two, though one statement writes both.
        assert 0 <= entry.keep_until - entry.ended_at - KEEP_ENDED < SECOND
        assert [kept.sid for kept in await storage.sessions.ended_since(entry.ended_at)] == [opened.sid]
        # Lately is always told, whatever is asked for: a clock that was ahead hides no ending.
        assert [kept.sid for kept in await storage.sessions.ended_since(entry.ended_at + 3_600_000)] == [opened.sid]
        turn_clock(ALWAYS_READ_MS + 1)
        assert not await storage.sessions.ended_since(entry.ended_at + 1)
        assert [kept.sid for kept in await storage.sessions.ended_since(entry.ended_at)] == [opened.sid]
        turn_clock(KEEP_ENDED + SECOND)
        assert not await storage.sessions.ended_since(0)

    async def test_only_its_account_ends_a_session(self, storage: Storage) -> None:
        """The id of a session is no secret: with another account it ends nothing."""
        opened = await a_session(storage, await an_account(storage))
        other = await an_account(storage)
        assert not await end(storage, opened, account_id=other.id)
        assert await storage.sessions.read(opened.sid) is not None
        assert not await storage.sessions.ended_since(0)
        assert not await all_events(storage, EventName.SESSION_ENDED)

    async def test_one_of_many_ends_it(self, storage: Storage, peer: Storage) -> None:
        """Of twenty parallel endings one is told that it did it, and one record is written."""
        opened = await a_session(storage, await an_account(storage))
        answers = await asyncio.gather(*(end((storage, peer)[n % 2], opened) for n in range(20)))
        assert sorted(answers) == [False] * 19 + [True]
        assert len(await all_events(storage, EventName.SESSION_ENDED)) == 1
        assert len(await storage.sessions.ended_since(0)) == 1

    async def test_end_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the session lives and is not listed."""
        opened = await a_session(storage, await an_account(storage))
        with pytest.raises(Exception, match=r".+"):
            await end(storage, opened, event=BROKEN_EVENT)
        assert await storage.sessions.read(opened.sid) is not None
        assert not await storage.sessions.ended_since(0)

    async def test_end_all(self, storage: Storage) -> None:
        """All sessions of the account go and are listed, the epoch is raised, another account's stay: one record."""
        account, other = await an_account(storage), await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(5)]
        bystander = await a_session(storage, other)
        assert await end_all(storage, account.id) == 5
        assert {entry.sid for entry in await storage.sessions.ended_since(0)} == {opened.sid for opened in sessions}
        assert await storage.sessions.read(bystander.sid) is not None
        after = await storage.accounts.by_id(account.id)
        assert after is not None
        assert after.session_epoch == account.session_epoch + 1
        assert len(await all_events(storage, EventName.SESSIONS_ENDED)) == 1

    async def test_end_all_without_sessions_raises_the_epoch(self, storage: Storage) -> None:
        """Also where there is no session yet: a login that is under way must not open one."""
        account = await an_account(storage)
        assert await end_all(storage, account.id) == 0
        after = await storage.accounts.by_id(account.id)
        assert after is not None
        assert after.session_epoch == 1

    async def test_end_all_of_nobody(self, storage: Storage) -> None:
        """An unknown account has no sessions, and nothing is recorded."""
        assert await end_all(storage, NOBODY) == 0
        assert not await all_events(storage, EventName.SESSIONS_ENDED)

    async def test_no_epoch_is_lost(self, storage: Storage, peer: Storage) -> None:
        """Parallel endings each raise the epoch by one."""
        account = await an_account(storage)
        await asyncio.gather(*(end_all((storage, peer)[n % 2], account.id) for n in range(10)))
        after = await storage.accounts.by_id(account.id)
        assert after is not None
        assert after.session_epoch == 10

    async def test_record_keeps_every_field(self, storage: Storage) -> None:
        """A record reads as it was written, with a number that grows and the database's time."""
        written = Event(
            name=EventName.REFRESH_REUSED,
            outcome=Outcome.FAILURE,
            actor="actor",
            target="target",
            origin=Origin(request_id="r-1", address="2001:db8::1", user_agent="naïve/1 'quoted' \"agent\""),
            data={"gap": 2, "age": -5, "deep": {"list": [1, None, True, "ü"]}},
        )
        await storage.sessions.record(written)
        await storage.sessions.record(event())
        first, second = await storage.events()
        assert (first.event, first.outcome) == ("refresh_reused", "failure")
        assert (first.actor, first.target) == ("actor", "target")
        assert (first.request_id, first.source) == ("r-1", "2001:db8::1")
        assert first.user_agent == written.origin.user_agent
        assert first.data == written.data
        assert first.seq < second.seq
        assert 0 < first.time <= second.time
