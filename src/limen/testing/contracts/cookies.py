"""The contract of cookie sessions: what a request asks, how the idle end moves, and how an id is replaced."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from limen.authn.records import CurrentSession, Renewal
from limen.core.events import EventName
from limen.features.roles.store import Change
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    SECOND,
    Contract,
    Opened,
    a_session,
    all_events,
    an_account,
    digest,
    event,
    state,
)
from limen.testing.contracts.roles import ROLES, assign, sync

IDLE = 1_800 * SECOND
MOST = 43_200 * SECOND
EVERY = 60 * SECOND
ROUNDS = 5


async def a_cookie(storage: Storage, **changes: object) -> Opened:
    """Open a cookie session of a new account."""
    account = await an_account(storage)
    terms: dict[str, object] = {"kind": "cookie", "refresh_ttl_ms": IDLE, "max_ttl_ms": MOST}
    return await a_session(storage, account, **{**terms, **changes})


async def lives(storage: Storage, cookie: Opened) -> bool:
    """Tell whether a request with this cookie would find its session."""
    return await storage.cookies.present(cookie.sid, digest(cookie.secret)) is not None


async def touch(storage: Storage, cookie: Opened, *, idle_ms: int = IDLE) -> bool:
    """Move the idle end."""
    return await storage.cookies.touch(cookie.sid, digest(cookie.secret), idle_ms=idle_ms, every_ms=EVERY)


async def renew(storage: Storage, cookie: Opened, secret: bytes) -> CurrentSession | None:
    """Replace the secret of the cookie by this one."""
    renewal = Renewal(cookie.sid, cookie.account_id, digest(cookie.secret), digest(secret), IDLE)
    return await storage.issuing.renew(renewal, event(EventName.SESSION_RENEWED))


class CookieContract(Contract):
    """`CookieStore.present` and `CookieStore.touch`."""

    async def test_a_living_session_is_found(self, storage: Storage, peer: Storage) -> None:
        """With its times, its account and the roles of now, in every process."""
        await sync(storage, ROLES)
        account = await an_account(storage, roles=frozenset({"maker"}))
        cookie = await a_session(storage, account, kind="cookie", refresh_ttl_ms=IDLE, max_ttl_ms=MOST)
        found = await peer.cookies.present(cookie.sid, digest(cookie.secret))
        assert found is not None
        assert (found.account_id, found.roles) == (account.id, frozenset({"maker"}))
        assert (found.amr, found.client_id, found.acr) == (("pwd",), "client-1", None)
        assert found.idle_until - found.created_at == IDLE
        assert found.ends_at - found.created_at == MOST
        assert found.auth_time == found.created_at
        assert abs(found.now - found.created_at) < 60 * SECOND

    async def test_what_is_not_this_very_cookie_is_not_found(self, storage: Storage) -> None:
        """Another secret, another id, no id at all, or a session of refresh tokens."""
        cookie = await a_cookie(storage)
        refresh = await a_session(storage, await an_account(storage))
        for sid, secret in (
            (cookie.sid, b"another"),
            (refresh.sid, cookie.secret),
            (refresh.sid, refresh.secret),
            ("00000000-0000-0000-0000-000000000000", cookie.secret),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", cookie.secret),
        ):
            assert await storage.cookies.present(sid, digest(secret)) is None
        assert await lives(storage, cookie)

    async def test_idle_and_absolute_end(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Unused it ends at its idle end; used all the time it ends at its absolute one."""
        unused, used = await a_cookie(storage), await a_cookie(storage)
        step = IDLE - 10 * SECOND
        for passed in range(step, MOST, step):
            turn_clock(step)
            assert await lives(storage, used), passed
            await touch(storage, used)
            assert await lives(storage, unused) == (passed < IDLE)
        turn_clock(MOST % step + SECOND)
        assert not await touch(storage, used)
        assert not await lives(storage, used)

    async def test_unused_a_second_too_long(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A second after its idle end a session is over, a little before it is not."""
        cookie = await a_cookie(storage)
        turn_clock(IDLE - 10 * SECOND)
        assert await lives(storage, cookie)
        turn_clock(11 * SECOND)
        assert not await lives(storage, cookie)

    async def test_the_idle_end_moves_once_in_a_while(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Of thirty requests at once one moves it; a minute later another one does, and the list shows when."""
        cookie = await a_cookie(storage)
        before = await state(storage, cookie.sid)
        assert not await touch(storage, cookie)
        turn_clock(EVERY + SECOND)
        moved = await asyncio.gather(*(touch((storage, peer)[n % 2], cookie) for n in range(30)))
        assert sum(moved) == 1
        after = await state(storage, cookie.sid)
        assert after.idle_until - before.idle_until >= EVERY
        assert after.rotated_at - before.rotated_at >= EVERY
        assert (after.ends_at, after.auth_time, after.token_hash) == (
            before.ends_at,
            before.auth_time,
            before.token_hash,
        )

    async def test_the_idle_end_is_never_beyond_the_absolute_one(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Moved near its end, a session ends when it was to end."""
        cookie = await a_cookie(storage, refresh_ttl_ms=MOST - EVERY * 2)
        turn_clock(MOST - EVERY * 3)
        assert await touch(storage, cookie, idle_ms=DAY)
        found = await state(storage, cookie.sid)
        assert found.idle_until == found.ends_at
        assert not await touch(storage, cookie, idle_ms=DAY)

    async def test_a_dead_session_is_not_touched_alive(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Whoever comes a second after the idle end cannot move it, nor with another secret before."""
        cookie = await a_cookie(storage)
        turn_clock(EVERY * 2)
        assert not await storage.cookies.touch(cookie.sid, digest(b"another"), idle_ms=IDLE, every_ms=EVERY)
        turn_clock(IDLE - EVERY * 2 + SECOND)
        assert not await touch(storage, cookie)
        assert not await lives(storage, cookie)

    @pytest.mark.parametrize("status", ["disabled", "blocked", "pending", "ACTIVE", ""])
    async def test_the_status_is_asked_itself(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Only the word «active» lets a session be found, also where its row is still there."""
        cookie = await a_cookie(storage)
        await set_status(cookie.account_id, status)
        assert not await lives(storage, cookie)
        await set_status(cookie.account_id, "active")
        assert await lives(storage, cookie)

    async def test_what_ended_is_over_at_once(self, storage: Storage, peer: Storage) -> None:
        """The very next read in another process finds nothing, for one session and for all of them."""
        one, all_of_them = await a_cookie(storage), await a_cookie(storage)
        assert await storage.sessions.end(
            one.sid, account_id=one.account_id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert not await lives(peer, one)
        assert (
            await storage.sessions.end_all(
                all_of_them.account_id, reason=EndReason.LOGOUT_ALL, event=event(), keep_ended_ms=KEEP_ENDED
            )
            == 1
        )
        assert not await lives(peer, all_of_them)
        assert {one.sid, all_of_them.sid} <= {entry.sid for entry in await peer.sessions.ended_since(0)}

    async def test_another_role_ends_cookie_sessions(self, storage: Storage, peer: Storage) -> None:
        """Granted or revoked: the account's cookie sessions end, those of refresh tokens and of others do not."""
        await sync(storage, ROLES)
        account, other = await an_account(storage, roles=frozenset({"maker"})), await a_cookie(storage)
        refresh = await a_session(storage, account)
        for grant, revoke in ((["checker"], []), ([], ["maker"])):
            cookie = await a_session(storage, account, kind="cookie", refresh_ttl_ms=IDLE, max_ttl_ms=MOST)
            assert await assign(storage, account, grant=grant, revoke=revoke) is Change.DONE
            assert not await lives(peer, cookie)
            assert cookie.sid in {entry.sid for entry in await peer.sessions.ended_since(0)}
        assert await storage.sessions.read(refresh.sid) is not None
        assert await lives(storage, other)


class RenewContract(Contract):
    """`IssuingStore.renew`: a conditional UPDATE that also asks the account."""

    async def test_renew_replaces_the_secret(
        self, storage: Storage, peer: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """The id before is dead with the statement; the login's time is now, the absolute end stays."""
        cookie = await a_cookie(storage)
        before = await state(storage, cookie.sid)
        turn_clock(EVERY * 5)
        current = await renew(storage, cookie, b"next")
        after = await state(peer, cookie.sid)
        assert current is not None
        assert not await lives(peer, cookie)
        assert await peer.cookies.present(cookie.sid, digest(b"next")) is not None
        assert (after.generation, after.parent_hash, after.ends_at) == (0, None, before.ends_at)
        assert after.auth_time - before.auth_time >= EVERY * 5
        # The clock may turn over a millisecond between the two, though one statement writes both.
        assert abs(after.idle_until - after.rotated_at - IDLE) < SECOND
        assert (current.ends_at, current.rotated_at) == (after.ends_at, after.rotated_at)
        assert len(await all_events(storage, EventName.SESSION_RENEWED)) == 1

    async def test_renew_refuses_what_is_not_current(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """A spent id, a session of refresh tokens, of another account or of one that is not active stays as it is."""
        cookie = await a_cookie(storage)
        refresh = await a_session(storage, await an_account(storage))
        assert await renew(storage, cookie, b"1") is not None
        assert await renew(storage, cookie, b"2") is None
        assert await renew(storage, refresh, b"2") is None
        current = Opened(cookie.sid, cookie.account_id, b"1")
        assert await renew(storage, Opened(cookie.sid, refresh.account_id, b"1"), b"2") is None
        await set_status(cookie.account_id, "disabled")
        assert await renew(storage, current, b"2") is None
        assert (await state(storage, cookie.sid)).token_hash == digest(b"1")
        assert len(await all_events(storage, EventName.SESSION_RENEWED)) == 1

    async def test_renew_refuses_what_is_over(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A second after the idle end there is nothing to be renewed."""
        cookie = await a_cookie(storage)
        turn_clock(IDLE + SECOND)
        assert await renew(storage, cookie, b"next") is None

    async def test_renew_and_its_record_are_one(self, storage: Storage) -> None:
        """Where the record cannot be written, the id is the one before."""
        cookie = await a_cookie(storage)
        renewal = Renewal(cookie.sid, cookie.account_id, digest(cookie.secret), digest(b"next"), IDLE)
        with pytest.raises(Exception, match=r".+"):
            await storage.issuing.renew(renewal, BROKEN_EVENT)
        assert await lives(storage, cookie)

    async def test_twenty_at_once_have_one_winner(self, storage: Storage, peer: Storage) -> None:
        """Of parallel renewals of one id, one wins, and its secret is the one that is stored."""
        for _ in range(ROUNDS):
            cookie = await a_cookie(storage)
            secrets = [os.urandom(32) for _ in range(20)]
            answers = await asyncio.gather(
                *(renew((storage, peer)[n % 2], cookie, secret) for n, secret in enumerate(secrets))
            )
            (winner,) = [secret for secret, answer in zip(secrets, answers, strict=True) if answer is not None]
            assert (await state(peer, cookie.sid)).token_hash == digest(winner)

    async def test_nothing_lives_after_an_acknowledged_end(self, storage: Storage, peer: Storage) -> None:
        """A logout among renewals and touches wins in the end, whatever the order."""
        for _ in range(ROUNDS):
            cookie = await a_cookie(storage)
            secrets = [os.urandom(32) for _ in range(4)]
            ending = peer.sessions.end(
                cookie.sid,
                account_id=cookie.account_id,
                reason=EndReason.LOGOUT,
                event=event(EventName.SESSION_ENDED),
                keep_ended_ms=KEEP_ENDED,
            )
            renewals = (renew((storage, peer)[n % 2], cookie, secret) for n, secret in enumerate(secrets))
            *_, ended = await asyncio.gather(*renewals, touch(storage, cookie, idle_ms=IDLE * 2), ending)
            assert ended is True
            assert await storage.sessions.read(cookie.sid) is None

    async def test_nothing_is_stored_but_hashes(self, storage: Storage, stored_bytes: Callable[[], bytes]) -> None:
        """Neither the secret of a login nor that of a renewal is anywhere in the database."""
        cookie = await a_cookie(storage)
        successor = os.urandom(32)
        assert await renew(storage, cookie, successor) is not None
        content = stored_bytes()
        assert digest(successor) in content or digest(successor).hex().encode() in content
        for secret in (cookie.secret, successor):
            assert secret not in content
            assert secret.hex().encode() not in content
