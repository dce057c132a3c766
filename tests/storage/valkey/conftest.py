"""A storage as processes have it, which believes the database for a second, and what an operator sees of Valkey."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen.storage.valkey.on_sqlite import ValkeySQLiteStorage
from tests.storage.conftest import TurnedClock
from tests.support.valkey import Server


def key(sid: str) -> str:
    """The key of a session, as an operator sees it."""
    return f"limen:session:{{{sid}}}"


def value(valkey: Server, sid: str) -> bytes | None:
    """What Valkey has of a session."""
    with valkey.client as client:
        found = client.get(key(sid))
    assert found is None or isinstance(found, bytes)
    return found


def put_back(valkey: Server, sid: str, text: bytes | None) -> None:
    """Give Valkey what it had before: a restart from an old file, or a replica that took over."""
    assert text is not None
    with valkey.client as client:
        client.set(key(sid), text)


@pytest.fixture
async def storage(prepared: Path, clock: TurnedClock, valkey: Server) -> AsyncIterator[ValkeySQLiteStorage]:
    """A storage as processes have it."""
    storage = ValkeySQLiteStorage(prepared, valkey.url, clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


@pytest.fixture
async def peer(prepared: Path, clock: TurnedClock, valkey: Server) -> AsyncIterator[ValkeySQLiteStorage]:
    """A second process's."""
    peer = ValkeySQLiteStorage(prepared, valkey.url, clock=clock)
    await peer.start()
    yield peer
    await peer.stop()
