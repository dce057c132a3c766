"""A storage on PostgreSQL that has one connection, and what was prepared on it."""

from collections.abc import AsyncIterator

import pytest

from limen.storage.sql.postgres import PostgresStorage
from limen.storage.sql.statement import Statement, Steps, rows


@pytest.fixture
async def storage(url: str) -> AsyncIterator[PostgresStorage]:
    """A storage of one connection: what it has prepared is known, and whoever comes second waits."""
    storage = PostgresStorage(url, pool_size=1)
    await storage.start()
    yield storage
    await storage.stop()


async def uses_of(storage: PostgresStorage, pattern: str) -> int:
    """Return how often statements that match were used; brackets in the pattern keep it from matching itself."""
    asked = Statement(f"SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement ~ '{pattern}'")

    def steps() -> Steps[int]:
        return sum(found[0] for found in (yield from rows(asked)))

    return await storage.read(steps)
