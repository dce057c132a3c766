"""A refresh touches no index: on PostgreSQL each is a heap-only update."""

import asyncio
import os

from limen.storage.sql.postgres import PostgresStorage
from limen.testing.contracts.contract import Opened, a_session, an_account, rotate
from tests.support.postgres import rows

SESSIONS = 60
REFRESHES_EACH = 50
BETWEEN = 20
"""As many as fit on a page: in a table of many sessions, those that refresh in one moment seldom share one."""


async def test_every_refresh_is_a_hot_update(url: str) -> None:
    """Of 3 000 refreshes of 60 sessions, side by side, every one stays on its page and leaves the indexes alone."""
    storage = PostgresStorage(url)
    await storage.start()
    # Statistics that are gathered in between hold a snapshot, and for so long no page is tidied.
    rows(url, "ALTER TABLE limen_sessions SET (autovacuum_enabled = off)")
    try:
        account = await an_account(storage)
        opened = []
        for _ in range(SESSIONS):
            opened.append(await a_session(storage, account))
            await asyncio.gather(*(a_session(storage, account) for _ in range(BETWEEN)))
        await asyncio.gather(*(_refresh(storage, session) for session in opened))
    finally:
        # What a connection has counted is told at the latest when it closes.
        await storage.stop()
    asked = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'limen_sessions'"
    async with asyncio.timeout(60):
        while (told := rows(url, asked)[0])[0] < SESSIONS * REFRESHES_EACH:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.05)
    assert told == (SESSIONS * REFRESHES_EACH, SESSIONS * REFRESHES_EACH)


def test_no_index_is_on_what_a_refresh_changes(url: str) -> None:
    """The columns of the indexes of sessions, and what a refresh sets, have none in common."""
    found = rows(
        url,
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indrelid = 'limen_sessions'::regclass",
    )
    changed = {"generation", "parent_hash", "token_hash", "nonce", "kid", "rotated_at", "idle_until"}
    assert {column for (column,) in found} == {"id", "account_id"}
    assert not changed & {column for (column,) in found}


async def _refresh(storage: PostgresStorage, session: Opened) -> None:
    for _ in range(REFRESHES_EACH):
        secret = os.urandom(32)
        assert await rotate(storage, session, secret) is not None
        session = session.after(secret)
