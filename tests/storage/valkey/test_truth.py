"""The database holds the truth: whatever Valkey loses, keeps too long or gets back, nothing that ended is revived."""

import asyncio
import inspect
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as listening
from sqlalchemy.ext.asyncio import create_async_engine

from limen.core.errors import ConfigurationError, InvalidRefreshToken, Unavailable
from limen.core.events import NOWHERE, EventName
from limen.features.accounts.store import AccountStatus
from limen.storage.sql.cookies import SQLCookies
from limen.storage.sql.issuing import SQLIssuing
from limen.storage.sql.sessions import SQLSessions
from limen.storage.sql.sqlite import SQLiteStorage
from limen.storage.valkey.cookies import ValkeyCookies
from limen.storage.valkey.issuing import ValkeyIssuing
from limen.storage.valkey.on_sqlite import ValkeySQLiteStorage
from limen.storage.valkey.sessions import ValkeySessions
from limen.storage.valkey.state import state_of
from limen.testing.contracts.contract import (
    DAY,
    KEEP_ENDED,
    OLD_HASH,
    Opened,
    a_session,
    all_events,
    an_account,
    digest,
    event,
    new_session,
    rotate,
    state,
)
from limen.testing.contracts.cookies import IDLE, MOST, a_cookie, lives, renew, touch
from limen.testing.contracts.sessions import end, end_all
from tests.storage.conftest import TurnedClock
from tests.storage.valkey.conftest import key, put_back, value
from tests.support.gates import PASSWORD, gate_for
from tests.support.valkey import Server, nobody_listens


async def test_flushed_everybody_logs_in_again_and_nothing_else(storage: ValkeySQLiteStorage, valkey: Server) -> None:
    """After FLUSHALL no session opens anything or is shown; accounts, records and a new login are as before."""
    account = await an_account(storage)
    refresh, cookie = await a_session(storage, account), await a_cookie(storage)
    before = await all_events(storage)
    valkey.flush()
    assert await storage.sessions.read(refresh.sid) is None
    assert await rotate(storage, refresh, b"next") is None
    assert not await lives(storage, cookie)
    assert not await touch(storage, cookie)
    assert await renew(storage, cookie, b"next") is None
    assert not await storage.sessions.of_account(account.id, limit=50, after=None)
    assert await all_events(storage) == before
    again = await a_session(storage, account)
    assert await rotate(storage, again, b"next") is not None
    assert [each.sid for each in await storage.sessions.of_account(account.id, limit=50, after=None)] == [again.sid]


async def test_flushed_while_many_refresh(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server
) -> None:
    """FLUSHALL and SCRIPT FLUSH amid rotations: each is done with its record, or not at all, and none fails."""
    account = await an_account(storage)
    sessions = [await a_session(storage, account) for _ in range(60)]
    flushing = asyncio.get_running_loop().run_in_executor(None, valkey.flush)
    done = await asyncio.gather(*(rotate((storage, peer)[n % 2], each, b"next") for n, each in enumerate(sessions)))
    await flushing
    assert len(await all_events(storage, EventName.REFRESHED)) == sum(each is not None for each in done)
    for each in sessions:
        assert await rotate(storage, each, b"other") is None
    assert await rotate(storage, await a_session(storage, account), b"next") is not None


@pytest.mark.parametrize("kind", ["refresh", "cookie"])
async def test_what_ended_is_not_revived_by_an_older_valkey(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server, kind: str
) -> None:
    """A Valkey that has the session again, as it was before its end, opens nothing, in no process."""
    opened = await (a_cookie(storage) if kind == "cookie" else a_session(storage, await an_account(storage)))
    text = value(valkey, opened.sid)
    assert await end(storage, opened)
    assert value(valkey, opened.sid) is None
    put_back(valkey, opened.sid, text)
    for each in (storage, peer):
        assert await each.sessions.read(opened.sid) is None
        assert await rotate(each, opened, b"next") is None
        assert not await lives(each, opened)
        assert await renew(each, opened, b"next") is None
        assert not await each.sessions.of_account(opened.account_id, limit=50, after=None)


@pytest.mark.parametrize("verb", ["end_all", "disable", "password", "temporary", "delete", "restored"])
async def test_what_ended_with_its_account_is_not_revived(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server, verb: str
) -> None:
    """The same for every verb that ends all sessions; each process also takes from Valkey what it hears has ended."""
    account = await an_account(storage)
    opened = [await a_session(storage, account), await a_session(storage, account, kind="cookie")]
    texts = [value(valkey, each.sid) for each in opened]
    keep: dict[str, Any] = {"event": event(), "keep_ended_ms": KEEP_ENDED}
    if verb == "end_all":
        assert await end_all(storage, account.id) == 2
    elif verb == "disable":
        active, disabled = AccountStatus.ACTIVE, AccountStatus.DISABLED
        await storage.accounts.change_status(account.id, of=active, to=disabled, **keep)
        await storage.accounts.change_status(account.id, of=disabled, to=active, **keep)
    elif verb == "password":
        assert await storage.accounts.change_password(
            account.id, seen_hash=OLD_HASH, new_hash="new", end_others=True, **keep
        )
    elif verb == "temporary":
        assert await storage.accounts.set_temporary_password(account.id, new_hash="new", lifetime_ms=1000, **keep)
    elif verb == "delete":
        assert await storage.accounts.delete(account.id, **keep)
    else:
        await storage.maintenance.end_every_session(after=None, limit=10, **keep)
    assert {entry.sid for entry in await peer.sessions.ended_since(0)} == {each.sid for each in opened}
    assert [value(valkey, each.sid) for each in opened] == [None, None]
    for each, text in zip(opened, texts, strict=True):
        put_back(valkey, each.sid, text)
        assert await peer.sessions.read(each.sid) is None
        assert await rotate(peer, each, b"next") is None
        assert not await lives(peer, each)


async def test_the_session_that_changed_the_password_goes_on(storage: ValkeySQLiteStorage) -> None:
    """The one session that is kept is moved to the new epoch, in the database, and rotates."""
    account = await an_account(storage)
    kept, other = await a_session(storage, account), await a_session(storage, account)
    assert await storage.accounts.change_password(
        account.id, seen_hash=OLD_HASH, new_hash="new", event=event(), end_others=True, keep_sid=kept.sid,
        keep_ended_ms=KEEP_ENDED,
    )  # fmt: skip
    assert await rotate(storage, kept, b"next") is not None
    assert await rotate(storage, other, b"next") is None


async def test_a_spent_secret_is_not_revived(storage: ValkeySQLiteStorage, valkey: Server) -> None:
    """Valkey goes back to before a rotation: neither secret is the current one, and no reader sees a good session."""
    opened = await a_session(storage, await an_account(storage))
    text = value(valkey, opened.sid)
    assert await rotate(storage, opened, b"next") is not None
    put_back(valkey, opened.sid, text)
    assert await rotate(storage, opened, b"thief") is None
    assert await rotate(storage, opened.after(b"next"), b"honest") is None
    found = await state(storage, opened.sid)
    assert (found.generation, found.parent_hash) == (1, None)
    assert found.token_hash not in {digest(opened.secret), digest(b"next"), digest(b"thief")}


async def test_a_renewed_id_is_not_revived(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage, valkey: Server
) -> None:
    """The id from before a change of password is dead, also where Valkey has it again and a process believed it."""
    cookie = await a_cookie(storage)
    assert await lives(peer, cookie)
    text = value(valkey, cookie.sid)
    assert await renew(storage, cookie, b"next") is not None
    renewed = Opened(cookie.sid, cookie.account_id, b"next")
    assert await lives(peer, renewed)
    put_back(valkey, cookie.sid, text)
    assert not await lives(storage, cookie)
    assert not await lives(peer, cookie)
    assert not await lives(storage, renewed)
    assert await renew(storage, cookie, b"thief") is None
    assert await storage.sessions.read(cookie.sid) is None


@pytest.mark.parametrize("kind", ["refresh", "cookie"])
async def test_who_writes_into_valkey_opens_nothing(storage: ValkeySQLiteStorage, valkey: Server, kind: str) -> None:
    """A hash of one's own in the place of the right one, and an end in a hundred years: neither is believed."""
    account = await an_account(storage)
    opened = await a_session(storage, account, kind=kind, refresh_ttl_ms=IDLE, max_ttl_ms=MOST)
    if kind == "refresh":
        assert await rotate(storage, opened, b"next") is not None
        opened = opened.after(b"next")
    before = await state(storage, opened.sid)
    found = state_of(value(valkey, opened.sid))
    assert found is not None
    far = before.now + 100 * 365 * DAY
    put_back(valkey, opened.sid, found._replace(token_hash=digest(b"mine")).text().encode())
    mine = replace(opened, secret=b"mine")
    assert not await lives(storage, mine)
    assert await renew(storage, mine, b"other") is None
    assert await rotate(storage, mine, b"other") is None
    read = await storage.sessions.read(opened.sid)
    assert read is None or read.token_hash != digest(b"mine")
    put_back(valkey, opened.sid, found._replace(idle_until=far, ends_at=far).text().encode())
    assert (await state(storage, opened.sid)).ends_at == before.ends_at
    assert (await state(storage, opened.sid)).idle_until == before.ends_at


async def test_one_without_the_other_opens_nothing(storage: ValkeySQLiteStorage, valkey: Server) -> None:
    """A process that died between database and Valkey leaves a key without a row, or a row without a key: nothing."""
    without_row, without_key = await a_cookie(storage), await a_cookie(storage)
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM limen_sessions WHERE id = ?", (without_row.sid,))
    with valkey.client as client:
        client.delete(key(without_key.sid))
    for cookie in (without_row, without_key):
        assert await storage.sessions.read(cookie.sid) is None
        assert not await lives(storage, cookie)
        assert await renew(storage, cookie, b"next") is None


async def test_a_login_without_valkey_writes_nothing(prepared: Path) -> None:
    """Neither a row nor a record: people who try again and again leave no trail of logins that never were."""
    storage = ValkeySQLiteStorage(prepared, nobody_listens())
    await storage.start()
    account = await an_account(storage)
    before = await all_events(storage)
    with pytest.raises(Unavailable):
        await storage.issuing.open(new_session(account, b"s"), event(EventName.LOGIN_SUCCEEDED))
    assert await all_events(storage) == before
    with closing(sqlite3.connect(prepared)) as connection:
        assert connection.execute("SELECT count(*) FROM limen_sessions").fetchone() == (0,)
    await storage.stop()


async def test_a_row_of_one_store_opens_nothing_in_the_other(
    storage: ValkeySQLiteStorage, prepared: Path, clock: TurnedClock
) -> None:
    """Whoever changes LIMEN_SESSION_STORE logs everybody out, in both directions."""
    plain = SQLiteStorage(prepared, clock=clock)
    await plain.start()
    ours, theirs = await a_cookie(storage), await a_cookie(plain)
    assert not await lives(plain, ours)
    assert not await lives(storage, theirs)
    account = await an_account(storage)
    mine, other = await a_session(storage, account), await a_session(plain, account)
    assert await rotate(plain, mine, b"next") is None
    assert await rotate(storage, other, b"next") is None
    await plain.stop()


async def test_what_another_version_wrote_is_no_session(storage: ValkeySQLiteStorage, valkey: Server) -> None:
    """A text of another form, or no text of limen's at all, is nobody's session, and no error."""
    cookie = await a_cookie(storage)
    text = value(valkey, cookie.sid) or b""
    for broken in (
        b"",
        b"\xff\xfe",
        b"c2" + text[2:],
        b"r1" + text[2:],
        text + b" 1",
        text.replace(b" ", b"\n"),
        b"c1",
    ):
        put_back(valkey, cookie.sid, broken)
        assert not await lives(storage, cookie)
        assert await renew(storage, cookie, b"next") is None
        assert await storage.sessions.read(cookie.sid) is None
    put_back(valkey, cookie.sid, text)
    assert await lives(storage, cookie)


async def test_the_time_between_two_reads_is_no_rollback(
    storage: ValkeySQLiteStorage, peer: ValkeySQLiteStorage
) -> None:
    """A reader among rotations never sees a Valkey that is behind its row, which would end an honest session."""
    opened = await a_session(storage, await an_account(storage))

    async def turn(opened: Opened) -> None:
        for generation in range(60):
            secret = bytes([generation])
            assert await rotate(storage, opened, secret) is not None
            opened = opened.after(secret)

    turning = asyncio.ensure_future(turn(opened))
    seen = set()
    while not turning.done():
        found = await state(peer, opened.sid)
        assert found.generation == 0 or found.parent_hash is not None
        seen.add(found.generation)
    await turning
    assert len(seen) > 1


async def test_what_is_rolled_back_has_not_left_valkey(storage: ValkeySQLiteStorage, prepared: Path) -> None:
    """A logout in the application's transaction ends the session when it commits; tokens are not issued there."""
    account = await an_account(storage)
    opened = await a_session(storage, account)
    engine = create_async_engine(f"sqlite+aiosqlite:///{prepared}")

    @listening.listens_for(engine.sync_engine, "connect")
    def _durable(raw: Any, record: Any) -> None:
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA synchronous=FULL")

    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with storage.using(connection):
            assert await end(storage, opened)
            assert await storage.sessions.read(opened.sid) is None
            with pytest.raises(ConfigurationError):
                await rotate(storage, opened, b"next")
            with pytest.raises(ConfigurationError):
                await a_session(storage, account)
        await transaction.rollback()
    assert await rotate(storage, opened, b"next") is not None
    async with engine.begin() as connection, storage.using(connection):
        assert await end(storage, opened)
    assert await storage.sessions.read(opened.sid) is None
    await engine.dispose()


@pytest.mark.parametrize("first", ["thief", "honest"])
async def test_a_valkey_that_went_back_is_told_and_ends_the_session(tmp_path: Path, valkey: Server, first: str) -> None:
    """Whoever comes first, with the spent token or the current one, gets nothing; the trail says what happened."""
    gate = gate_for(tmp_path, session_store="valkey", valkey_url=valkey.url)
    async with gate.running():
        await gate.accounts.create("ann", PASSWORD)
        spent = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        text = value(valkey, spent.sid)
        current = await gate.sessions.refresh(spent.refresh_token, origin=NOWHERE)
        put_back(valkey, spent.sid, text)
        tokens = {"thief": spent.refresh_token, "honest": current.refresh_token}
        for who in (first, *tokens):
            with pytest.raises(InvalidRefreshToken):
                await gate.sessions.refresh(tokens[who], origin=NOWHERE)
        told = {"thief": EventName.REFRESH_REUSED, "honest": EventName.STORE_ROLLED_BACK}
        assert len(await all_events(gate.storage, told[first])) == 1
        assert spent.sid in gate.ended
        assert value(valkey, spent.sid) is None


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(ValkeyIssuing, SQLIssuing), (ValkeyCookies, SQLCookies), (ValkeySessions, SQLSessions)],
    ids=["issuing", "cookies", "sessions"],
)
def test_no_verb_is_left_to_the_database_by_accident(ours: type, theirs: type) -> None:
    """Each verb about single sessions is Valkey's own; a new one cannot be forgotten."""
    verbs = {name for name, _ in inspect.getmembers(theirs, inspect.iscoroutinefunction) if not name.startswith("_")}
    assert verbs - vars(ours).keys() <= {"end_all", "record"}
    assert verbs
