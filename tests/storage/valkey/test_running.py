"""Scripts that are run together: each an act by itself, and no failure of one is another's."""

import asyncio

import pytest

from limen.core.errors import Unavailable
from limen.core.ids import uuid7
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.state import REFRESH, ROTATE, State, key_of
from tests.support.valkey import Server, nobody_listens

NOW, TTL = 1_800_000_000_000, 60_000


def fresh() -> State:
    """A session at its first secret."""
    return State(REFRESH, 0, bytes(32), None, None, "kid-1111", NOW, NOW + TTL, NOW + TTL)


async def rotated(valkey: Valkey, sid: str, secret: bytes) -> State | None:
    """Rotate it from its first secret to this one."""
    return await valkey.run(ROTATE, sid, NOW, TTL, 0, bytes(32).hex(), secret.hex(), bytes(16).hex(), "kid-2222")


async def test_many_at_once_are_done_each(valkey: Server) -> None:
    """Two hundred rotations of a hundred sessions in a few round trips: of each session one wins, after a flush too."""
    store = Valkey(valkey.url)
    sids = [uuid7() for _ in range(100)]
    await asyncio.gather(*(store.begin(sid, fresh(), live_ms=TTL) for sid in sids))
    with valkey.client as client:
        client.script_flush()
    secrets = [bytes([number]) * 32 for number in (1, 2)]
    done = await asyncio.gather(*(rotated(store, sid, secret) for sid in sids for secret in secrets))
    for sid, first, second in zip(sids, done[::2], done[1::2], strict=True):
        assert (first is None) != (second is None)
        assert (first or second) == (await store.many([sid]))[sid]
    await store.stop()


async def test_a_fault_of_one_is_not_anothers(valkey: Server) -> None:
    """A key that is no text fails its own script; what went with it is done."""
    store = Valkey(valkey.url)
    good, bad = uuid7(), uuid7()
    await store.begin(good, fresh(), live_ms=TTL)
    with valkey.client as client:
        client.lpush(key_of(bad), "canary")
    done = await asyncio.gather(rotated(store, good, b"1" * 32), rotated(store, bad, b"1" * 32), return_exceptions=True)
    assert isinstance(done[0], State)
    assert isinstance(done[1], Unavailable)
    await store.stop()


async def test_all_who_wait_are_told_of_a_failure() -> None:
    """Nobody waits for ever, and nobody for a second round trip, where there is no server."""
    store = Valkey(nobody_listens())
    done = await asyncio.gather(*(rotated(store, uuid7(), b"1" * 32) for _ in range(200)), return_exceptions=True)
    assert {type(each) for each in done} == {Unavailable}
    await store.stop()


async def test_who_gives_up_gives_up_alone(valkey: Server) -> None:
    """One that is cancelled takes nothing from the others."""
    store = Valkey(valkey.url)
    sids = [uuid7() for _ in range(10)]
    for sid in sids:
        await store.begin(sid, fresh(), live_ms=TTL)
    tasks = [asyncio.ensure_future(rotated(store, sid, b"1" * 32)) for sid in sids]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, State) for each in done) == 9
    with pytest.raises(asyncio.CancelledError):
        await tasks[3]
    await store.stop()
