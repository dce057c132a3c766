"""A PostgreSQL storage on a database of its own, and its clock to turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from limen.storage.sql import gathering, postgres_pool
from limen.storage.sql.postgres import PostgresStorage
from tests.storage.conftest import TurnedClock
from tests.support.postgres import Databases, rows


def migrate(url: str) -> None:
    """Bring a database to this version's schema, by starting on it."""

    async def start() -> None:
        storage = PostgresStorage(url)
        await storage.start()
        await storage.stop()

    from tests.support.postgres import run_apart

    run_apart(start)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send nobody away because this machine is slow: what a slow database does to those who wait is another test."""
    monkeypatch.setattr(gathering, "PATIENCE_SECONDS", 60.0)
    waits = {"lock_timeout": "50s", "statement_timeout": "55s", "idle_in_transaction_session_timeout": "60s"}
    monkeypatch.setattr(postgres_pool, "_SETTINGS", {**postgres_pool._SETTINGS, **waits})
    for name in ("CONNECT_SECONDS", "STATEMENT_SECONDS", "WAIT_SECONDS"):
        monkeypatch.setattr(postgres_pool, name, 60.0)


@pytest.fixture
def url(postgres: Databases) -> str:
    """An empty database of this version."""
    return postgres.create(template=postgres.template("limen", migrate))


@pytest.fixture
async def storage(url: str, clock: TurnedClock, postgres: Databases) -> AsyncIterator[PostgresStorage]:
    """A started storage."""
    storage = PostgresStorage(url, clock=clock)
    await storage.start()
    yield storage
    await storage.stop()
    await asyncio.to_thread(postgres.drop, url)


@pytest.fixture
async def peer(storage: PostgresStorage, url: str, clock: TurnedClock) -> AsyncIterator[PostgresStorage]:
    """A second storage on the same database."""
    peer = PostgresStorage(url, clock=clock)
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def require_second_factor(storage: PostgresStorage, url: str) -> Callable[[str], Awaitable[None]]:
    """Sets the flag by SQL: no verb does so yet."""

    async def require(account_id: str) -> None:
        rows(url, "UPDATE limen_accounts SET second_factor_required = true WHERE id = $1", account_id)

    return require


@pytest.fixture
def by_hand(storage: PostgresStorage, url: str) -> Callable[[str], None]:
    """Runs a statement past all verbs."""

    def run(statement: str) -> None:
        rows(url, statement)

    return run


@pytest.fixture
def set_status(storage: PostgresStorage, url: str) -> Callable[[str, str], Awaitable[None]]:
    """Writes the status past all verbs."""

    async def write(account_id: str, status: str) -> None:
        rows(url, "UPDATE limen_accounts SET status = $2 WHERE id = $1", account_id, status)

    return write


@pytest.fixture
def stored_bytes(storage: PostgresStorage, url: str) -> Callable[[], bytes]:
    """Everything that lies in limen's tables, as text and as the bytes of its byte columns."""

    def read() -> bytes:
        found: list[bytes] = []
        tables = rows(url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'limen%'")
        for (table,) in tables:
            for row in rows(url, f'SELECT t.* FROM "{table}" t'):
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
        return b"\0".join(found)

    return read
