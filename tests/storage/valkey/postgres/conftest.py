"""A storage on a PostgreSQL database of its own, its sessions in Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from limen.storage.valkey.on_postgres import ValkeyPostgresStorage
from tests.storage.conftest import TurnedClock
from tests.storage.postgres.conftest import migrate
from tests.support.postgres import Databases, rows
from tests.support.valkey import Server


@pytest.fixture
def url(postgres: Databases) -> str:
    """An empty database of this version."""
    return postgres.create(template=postgres.template("limen", migrate))


@pytest.fixture
async def storage(
    url: str, clock: TurnedClock, postgres: Databases, valkey: Server
) -> AsyncIterator[ValkeyPostgresStorage]:
    """A started storage, which believes nothing: what is written past all verbs is to be seen at once."""
    storage = ValkeyPostgresStorage(url, valkey.url, clock=clock, believed=0)
    await storage.start()
    yield storage
    await storage.stop()
    await asyncio.to_thread(postgres.drop, url)


@pytest.fixture
async def peer(
    storage: ValkeyPostgresStorage, url: str, clock: TurnedClock, valkey: Server
) -> AsyncIterator[ValkeyPostgresStorage]:
    """A second storage on the same database."""
    peer = ValkeyPostgresStorage(url, valkey.url, clock=clock, believed=0)
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def require_second_factor(storage: ValkeyPostgresStorage, url: str) -> Callable[[str], Awaitable[None]]:
    """Sets the flag by SQL: no verb does so yet."""

    async def require(account_id: str) -> None:
        rows(url, "UPDATE limen_accounts SET second_factor_required = true WHERE id = $1", account_id)

    return require


@pytest.fixture
def set_status(storage: ValkeyPostgresStorage, url: str) -> Callable[[str, str], Awaitable[None]]:
    """Writes the status past all verbs."""

    async def write(account_id: str, status: str) -> None:
        rows(url, "UPDATE limen_accounts SET status = $2 WHERE id = $1", account_id, status)

    return write


@pytest.fixture
def stored_bytes(storage: ValkeyPostgresStorage, url: str, valkey: Server) -> Callable[[], bytes]:
    """Everything that lies in limen's tables, as text and as the bytes of its byte columns, and in Valkey."""

    def read() -> bytes:
        found: list[bytes] = [valkey.contents()]
        for (table,) in rows(url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'limen%'"):
            for row in rows(url, f'SELECT t.* FROM "{table}" t'):
                found += [value if isinstance(value, bytes) else str(value).encode() for value in row]
        return b"\0".join(found)

    return read
