"""For how long a process believes the database, when a key goes by itself, and what is over at once all the same."""

import asyncio
import sqlite3
from contextlib import closing

from limen.features.roles.store import Change
from limen.features.sessions.store import EndReason
from limen.storage.valkey.on_sqlite import ValkeySQLiteStorage
from limen.testing.contracts.contract import (
    KEEP_ENDED,
    Opened,
    a_session,
    an_account,
    event,
    rotate,
)
from limen.testing.contracts.cookies import EVERY, IDLE, MOST, a_cookie, lives, touch
from limen.testing.contracts.roles import ROLES, assign, sync
from limen.testing.contracts.sessions import end
from tests.storage.conftest import TurnedClock
from tests.storage.valkey.conftest import key, put_back, value
from tests.support.valkey import Server


async def test_what_the_database_says_is_believed_for_a_second(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server, clock: TurnedClock
) -> None:
    """What ended by a verb is over at the next request everywhere; what somebody wrote by hand, a second later."""
    cookie, ended = await a_cookie(storage), await a_cookie(storage)
    assert await lives(peer, cookie)
    assert await lives(peer, ended)
    text = value(valkey, ended.sid)
    assert await end(storage, ended)
    assert not await lives(peer, ended)
    # Valkey was not reached, or went back: the peer still believes, and no longer than that second.
    put_back(valkey, ended.sid, text)
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as connection:
        connection.execute("UPDATE limen_accounts SET status = 'disabled' WHERE id = ?", (cookie.account_id,))
    clock.turn(1_000)
    assert not await lives(peer, ended)
    assert not await lives(peer, cookie)


async def test_within_a_second_the_database_is_asked_once(storage: ValkeySQLiteStorage, clock: TurnedClock) -> None:
    """A hundred look-ups of a session ask Valkey, and the database once a second."""
    cookie = await a_cookie(storage)
    assert await lives(storage, cookie)
    before = storage.calls
    for _ in range(100):
        assert await lives(storage, cookie)
    assert storage.calls == before
    clock.turn(1_000)
    assert await lives(storage, cookie)
    assert storage.calls == before + 1


async def test_a_believed_session_ends_in_time(storage: ValkeySQLiteStorage, clock: TurnedClock) -> None:
    """The idle end is held against the time of now, not against that of the last look at the database."""
    cookie = await a_cookie(storage)
    clock.turn(IDLE - 400)
    assert await lives(storage, cookie)
    clock.turn(500)
    assert not await lives(storage, cookie)


async def test_used_it_lives_on(storage: ValkeySQLiteStorage, clock: TurnedClock) -> None:
    """The idle end moves in Valkey alone; the row in the database is there, and not swept, until the absolute end."""
    cookie = await a_cookie(storage)
    for _ in range(0, MOST - 2 * IDLE, IDLE - EVERY):
        clock.turn(IDLE - EVERY)
        assert await touch(storage, cookie)
        await storage.sweep()
        assert await lives(storage, cookie)


async def test_each_key_goes_by_itself(storage: ValkeySQLiteStorage, valkey: Server, clock: TurnedClock) -> None:
    """Every key expires an hour after its session would end unused, counted anew at each use; no other key is there."""
    refresh, cookie = await a_session(storage, await an_account(storage)), await a_cookie(storage)
    hour = 3_600_000

    def left(opened: Opened) -> int:
        with valkey.client as client:
            milliseconds = client.pttl(key(opened.sid))
            assert sorted(client.keys()) == sorted(key(each.sid).encode() for each in (refresh, cookie))
        assert isinstance(milliseconds, int)
        return milliseconds

    week = 7 * 24 * hour
    assert 0 <= IDLE + hour - left(cookie) < 5_000
    assert 0 <= week + hour - left(refresh) < 5_000
    with valkey.client as client:
        client.pexpire(key(refresh.sid), 60_000)
        client.pexpire(key(cookie.sid), 60_000)
    clock.turn(EVERY + 1_000)
    assert await rotate(storage, refresh, b"next") is not None
    assert await touch(storage, cookie)
    assert 0 <= week + hour - left(refresh) < 5_000
    assert 0 <= IDLE + hour - left(cookie) < 5_000


async def test_two_who_take_away_and_use(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server
) -> None:
    """An ending against look-ups that fill what a process believes: after its answer nobody is let in."""
    for _ in range(20):
        cookie = await a_cookie(storage)
        looking = [asyncio.ensure_future(lives(peer, cookie)) for _ in range(5)]
        assert await storage.sessions.end(
            cookie.sid, account_id=cookie.account_id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert not await lives(peer, cookie)
        assert not await lives(storage, cookie)
        await asyncio.gather(*looking)


async def test_another_role_ends_cookie_sessions_at_once(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server
) -> None:
    """They have left Valkey when the change is answered, so a process that still believes the row asks in vain."""
    await sync(storage, ROLES)
    account = await an_account(storage, roles=frozenset({"maker"}))
    cookie = await a_session(storage, account, kind="cookie", refresh_ttl_ms=IDLE, max_ttl_ms=MOST)
    assert await lives(peer, cookie)
    assert await assign(storage, account, grant=["checker"]) is Change.DONE
    assert value(valkey, cookie.sid) is None
    assert not await lives(peer, cookie)
