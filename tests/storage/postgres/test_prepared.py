"""Statements are parsed and planned once for each connection, and anew when a migration changed what they are about."""

import asyncio

from limen.storage.sql.postgres import PostgresStorage
from limen.storage.sql.statement import Statement, Steps, rows
from limen.testing.contracts.contract import a_session, an_account, rotate
from tests.support.postgres import rows as ask

_PREPARED = Statement("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements")


def _prepared() -> Steps[dict[str, int]]:
    found = yield from rows(_PREPARED)
    return dict(found)


async def test_a_statement_is_prepared_once(url: str) -> None:
    """Ten refreshes are ten uses of one prepared statement: without a name each would be parsed and planned again."""
    storage = PostgresStorage(url, pool_size=1)
    await storage.start()
    try:
        session = await a_session(storage, await an_account(storage))
        for number in range(10):
            assert await rotate(storage, session, bytes([number]) * 32) is not None
            session = session.after(bytes([number]) * 32)
        prepared = await storage.read(_prepared)
    finally:
        await storage.stop()
    assert [uses for text, uses in prepared.items() if "UPDATE limen_sessions" in text] == [10]


async def test_a_type_that_a_migration_changes_fails_nobody(url: str) -> None:
    """What a connection has prepared no longer fits a column of another type: others are opened, nobody is told."""
    storage = PostgresStorage(url, pool_size=8)
    await storage.start()
    try:
        session = await a_session(storage, await an_account(storage))
        await asyncio.gather(*(storage.sessions.read(session.sid) for _ in range(40)))
        ask(url, "ALTER TABLE limen_sessions ALTER COLUMN client_id TYPE text")
        assert await rotate(storage, session, b"s" * 32) is not None
        found = await asyncio.gather(*(storage.sessions.read(session.sid) for _ in range(40)))
    finally:
        await storage.stop()
    assert [state.generation for state in found if state is not None] == [1] * 40
