"""Refreshes that wait at the same time share a statement, and each gets what it would have got alone."""

import asyncio
from dataclasses import replace

import asyncpg

from limen.core.events import EventName, Origin
from limen.features.accounts.store import AccountStatus
from limen.features.sessions.store import EndReason
from limen.storage.sql.postgres import PostgresStorage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    REFRESH_TTL,
    Opened,
    a_session,
    all_events,
    an_account,
    digest,
    event,
    rotate,
    state,
)
from tests.support.one_connection import storage, uses_of
from tests.support.postgres import rows as ask

SESSIONS = 30

SHARED = "unnest.*SKIP[ ]LOCKED"
"""What the statement is known by that several share."""

__all__ = ["storage"]


async def _sessions(storage: PostgresStorage, count: int = SESSIONS) -> list[Opened]:
    account = await an_account(storage, roles=frozenset())
    return [await a_session(storage, account) for _ in range(count)]


async def test_what_waits_shares_a_statement(storage: PostgresStorage) -> None:
    """Of thirty refreshes at once one goes alone and the others together, in two statements."""
    sessions = await _sessions(storage)
    found = await asyncio.gather(*(rotate(storage, session, b"n" * 32) for session in sessions))
    assert [current and (current.sid, current.generation) for current in found] == [
        (session.sid, 1) for session in sessions
    ]
    assert await uses_of(storage, SHARED) == 2


async def test_each_row_is_as_if_it_had_gone_alone(storage: PostgresStorage) -> None:
    """Hashes, nonce, key, times, roles and the record of each refresh are its own."""
    await storage.roles.sync({"maker": frozenset({"order:create"}), "checker": frozenset()}, event())
    sessions, asked = [], []
    for number in range(6):
        roles = frozenset({"maker", "checker"} if number % 2 else {"maker"})
        session = await a_session(storage, await an_account(storage, roles=roles))
        origin = Origin(address=f"192.0.2.{number}", user_agent=f"agent {number}", request_id=f"request-{number}")
        record = event(actor=session.account_id, target=session.sid, origin=origin, data={"generation": number})
        sessions.append((session, roles))
        asked.append((session.rotation(bytes([number]) * 32), record))
    found = await asyncio.gather(*(storage.issuing.rotate(*act) for act in asked))
    assert await uses_of(storage, SHARED) == 1
    records = {record.target: record for record in await all_events(storage, EventName.REFRESHED)}
    for (session, roles), (rotation, record), current in zip(sessions, asked, found, strict=True):
        stored = await state(storage, session.sid)
        assert (stored.generation, stored.token_hash) == (1, rotation.next_hash)
        assert (stored.parent_hash, stored.nonce) == (digest(session.secret), rotation.nonce)
        assert stored.kid == rotation.kid
        assert stored.idle_until == stored.rotated_at + REFRESH_TTL
        assert current is not None
        assert (current.account_id, current.roles) == (session.account_id, roles)
        assert (current.rotated_at, current.idle_until) == (stored.rotated_at, stored.idle_until)
        kept = records[session.sid]
        assert (kept.actor, kept.source, kept.user_agent) == (
            record.actor,
            record.origin.address,
            record.origin.user_agent,
        )
        assert (kept.request_id, kept.data, kept.time) == (record.origin.request_id, record.data, stored.rotated_at)


async def test_what_must_not_rotate_does_not_among_others(storage: PostgresStorage, url: str) -> None:
    """A spent token, an ended session, a disabled account, another's session, an expired one and a cookie: none."""
    sessions = await _sessions(storage, 12)
    spent, ended, expired, over, cookie, *living = sessions
    disabled = await a_session(storage, await an_account(storage))
    raised = await a_session(storage, await an_account(storage))
    stranger = await an_account(storage)
    assert await rotate(storage, spent, b"s" * 32) is not None
    await storage.sessions.end(
        ended.sid,
        account_id=ended.account_id,
        reason=EndReason.LOGOUT,
        event=event(EventName.SESSION_ENDED),
        keep_ended_ms=KEEP_ENDED,
    )
    ask(url, "UPDATE limen_sessions SET idle_until = 1 WHERE id = $1", expired.sid)
    ask(url, "UPDATE limen_sessions SET idle_until = 1, ends_at = 1 WHERE id = $1", over.sid)
    ask(url, "UPDATE limen_sessions SET kind = 'cookie' WHERE id = $1", cookie.sid)
    # Past the verbs, which would also delete the session: the statement itself has to ask.
    ask(url, "UPDATE limen_accounts SET status = 'disabled' WHERE id = $1", disabled.account_id)
    ask(url, "UPDATE limen_accounts SET session_epoch = session_epoch + 1 WHERE id = $1", raised.account_id)
    anothers = replace(living.pop(), account_id=stranger.id)
    unknown = replace(living.pop(), sid="00000000-0000-7000-8000-000000000000")
    wrong = replace(living.pop(), secret=b"guessed")
    dead = [spent, ended, expired, over, cookie, disabled, raised, anothers, unknown, wrong]
    before = len(await all_events(storage, EventName.REFRESHED))
    first, *found = await asyncio.gather(
        rotate(storage, living[0], b"n" * 32),
        *(rotate(storage, session, b"n" * 32) for session in [*dead, *living[1:]]),
    )
    assert await uses_of(storage, SHARED) == 1
    assert first is not None
    assert found[: len(dead)] == [None] * len(dead)
    assert all(found[len(dead) :])
    assert len(await all_events(storage, EventName.REFRESHED)) == before + len(living)


async def test_one_session_asked_for_twice_rotates_once(storage: PostgresStorage) -> None:
    """Of ten requests with one token, beside twenty of others, one wins."""
    sessions = await _sessions(storage, 21)
    twice = sessions[0]
    found = await asyncio.gather(
        *(rotate(storage, session, b"n" * 32) for session in sessions[1:]),
        *(rotate(storage, twice, bytes([number]) * 32) for number in range(10)),
    )
    assert all(found[:20])
    assert sum(current is not None for current in found[20:]) == 1
    assert (await state(storage, twice.sid)).generation == 1


async def test_a_session_that_is_held_delays_nobody_else(url: str) -> None:
    """While another transaction holds one session the others are answered, and that one after it was let go."""
    storage = PostgresStorage(url)
    await storage.start()
    holder = await asyncpg.connect(url)
    try:
        held, *others = await _sessions(storage)
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("SELECT 1 FROM limen_sessions WHERE id = $1 FOR UPDATE", held.sid)
        first = asyncio.ensure_future(rotate(storage, others[0], b"n" * 32))
        waits = asyncio.ensure_future(rotate(storage, held, b"n" * 32))
        async with asyncio.timeout(40):  # a lock is waited for for longer here
            found = await asyncio.gather(first, *(rotate(storage, other, b"n" * 32) for other in others[1:]))
        assert all(found)
        assert not waits.done()
        await transaction.rollback()
        assert await waits is not None
    finally:
        await holder.close()
        await storage.stop()


async def test_an_act_that_fails_spoils_no_other(storage: PostgresStorage) -> None:
    """A record that cannot be written fails its own refresh alone, whether before the database or in it."""
    broken, refused, *others = await _sessions(storage)
    too_long = event(actor="a" * 65)
    first, *found = await asyncio.gather(
        rotate(storage, others[0], b"n" * 32),
        storage.issuing.rotate(broken.rotation(b"n" * 32), BROKEN_EVENT),
        storage.issuing.rotate(refused.rotation(b"n" * 32), too_long),
        *(rotate(storage, other, b"n" * 32) for other in others[1:]),
        return_exceptions=True,
    )
    assert all(isinstance(each, Exception) for each in found[:2])
    assert not any(isinstance(each, BaseException) or each is None for each in [first, *found[2:]])
    assert [(await state(storage, each.sid)).generation for each in (broken, refused)] == [0, 0]


async def test_refreshes_under_different_keys_keep_them(storage: PostgresStorage) -> None:
    """While a secret is being replaced, each row names the key that its own successor was made with."""
    sessions = await _sessions(storage, 8)
    kids = [f"kid-{number % 2}" for number in range(8)]
    found = await asyncio.gather(
        *(rotate(storage, session, b"n" * 32, kid=kid) for session, kid in zip(sessions, kids, strict=True))
    )
    assert [current and current.kid for current in found] == kids


async def test_an_account_that_is_disabled_meanwhile_gets_nothing(storage: PostgresStorage, url: str) -> None:
    """Disabling against batches of refreshes, many times: no session of the account is alive afterwards."""
    peer = PostgresStorage(url)
    await peer.start()
    try:
        for _ in range(20):
            account = await an_account(storage)
            own = [await a_session(storage, account) for _ in range(8)]
            others = await _sessions(storage, 4)
            await asyncio.gather(
                *(rotate(storage, session, b"n" * 32) for session in [*others, *own]),
                peer.accounts.change_status(
                    account.id,
                    of=AccountStatus.ACTIVE,
                    to=AccountStatus.DISABLED,
                    event=event(EventName.ACCOUNT_DISABLED),
                    keep_ended_ms=KEEP_ENDED,
                ),
            )
            assert [await storage.sessions.read(session.sid) for session in own] == [None] * 8
            assert [(await state(storage, other.sid)).generation for other in others] == [1] * 4
    finally:
        await peer.stop()
