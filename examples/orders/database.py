"""The application's own database: one SQLite file, spoken to asynchronously."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, inspect, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from .models import Base, Order  # noqa: TID252 - works under any name

BUSY_SECONDS = 5


class Database:
    """Opens sessions with the file, whose table it makes at the first one.

    Not at start-up: a test client that runs no lifespan works all the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}
        )
        event.listen(self._engine.sync_engine, "connect", _prepare)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._ready = False
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what was not committed at its end is undone."""
        async with self._making:
            if not self._ready:
                await self._make()
                self._ready = True
        async with self._sessions() as session:
            yield session

    async def order(self, order_id: str) -> Order | None:
        """Find an order, whosever it is: for policies that are to say why, see ``policy_resources=``."""
        async with self.session() as session:
            return await session.get(Order, order_id)

    async def close(self) -> None:
        """Close every connection; the next session opens new ones."""
        await self._engine.dispose()

    async def _make(self) -> None:
        # Only its owner may read it: SQLite itself would go by the umask.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        async with self._engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(_add_what_is_new)


def _add_what_is_new(connection: Connection) -> None:
    """Give a table of before the columns that it lacks."""
    there = {column["name"] for column in inspect(connection).get_columns("orders")}
    for name in ("approval_id", "changed_by_id"):
        if name not in there:
            connection.execute(text(f"ALTER TABLE orders ADD COLUMN {name} VARCHAR(36)"))


def _prepare(connection: Any, _record: object) -> None:
    """Let readers go on while one writes."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
