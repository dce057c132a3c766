"""A storage on a SQLite file of its own, its sessions in Valkey."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from limen.storage.valkey.on_sqlite import ValkeySQLiteStorage
from tests.storage.conftest import TurnedClock
from tests.support.valkey import Server


@pytest.fixture
async def storage(prepared: Path, clock: TurnedClock, valkey: Server) -> AsyncIterator[ValkeySQLiteStorage]:
    """A started storage, which believes nothing: what is written past all verbs is to be seen at once."""
    storage = ValkeySQLiteStorage(prepared, valkey.url, clock=clock, believed=0)
    await storage.start()
    yield storage
    await storage.stop()


@pytest.fixture
async def peer(storage: ValkeySQLiteStorage, clock: TurnedClock, valkey: Server) -> AsyncIterator[ValkeySQLiteStorage]:
    """A second storage on the same file."""
    peer = ValkeySQLiteStorage(storage.path, valkey.url, clock=clock, believed=0)
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def stored_bytes(storage: ValkeySQLiteStorage, valkey: Server) -> Callable[[], bytes]:
    """Everything that lies on the disk and in Valkey."""

    def read() -> bytes:
        return b"".join(file.read_bytes() for file in sorted(storage.path.parent.iterdir())) + valkey.contents()

    return read
