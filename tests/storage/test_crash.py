"""`kill -9` in the middle of rotations: what was acknowledged is there, what is there is whole."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limen.authn.records import Rotation
from limen.core.events import EventName
from limen.features.accounts.store import Account
from limen.storage import SQLiteStorage
from limen.testing.contracts.contract import (
    REFRESH_TTL,
    all_events,
    an_account,
    digest,
    event,
    new_session,
    state,
)
from tests.storage.conftest import looking_into

KILLS = 24
SESSIONS = 12


def secret_of(sid: str, generation: int) -> bytes:
    """The secret part of a generation, so that parent and child process know the same."""
    return hashlib.sha256(f"{sid}/{generation}".encode()).digest()


async def rotations(path: str, account_id: str, sessions: dict[str, int]) -> None:
    """Rotate every session again and again; tell each rotation on the standard output once it is acknowledged."""
    import asyncio

    storage = SQLiteStorage(path)
    await storage.start()

    async def turn(sid: str, generation: int) -> None:
        while True:
            rotation = Rotation(
                sid=sid,
                account_id=account_id,
                generation=generation,
                presented_hash=digest(secret_of(sid, generation)),
                next_hash=digest(secret_of(sid, generation + 1)),
                nonce=os.urandom(16),
                kid="kid-1111",
                refresh_ttl_ms=REFRESH_TTL,
            )
            current = await storage.issuing.rotate(rotation, event())
            assert current is not None
            generation = current.generation
            # One write of one short line: a pipe takes it whole or not at all.
            os.write(1, f"{sid} {generation}\n".encode())

    await asyncio.gather(*(turn(sid, generation) for sid, generation in sessions.items()))


CHILD = """
import asyncio, sys
from tests.storage.test_crash import rotations

path, account_id, *sessions = sys.argv[1:]
pairs = (session.split("=") for session in sessions)
asyncio.run(rotations(path, account_id, {sid: int(generation) for sid, generation in pairs}))
"""


def killed_after(seconds: float, path: Path, account: Account, sessions: dict[str, int]) -> dict[str, int]:
    """Run the child, kill it so long after its first acknowledgement, and return what it had acknowledged."""
    arguments = [f"{sid}={generation}" for sid, generation in sessions.items()]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), account.id, *arguments], stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    first = process.stdout.read(1)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    told = (first + process.stdout.read()).decode()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    acknowledged = dict(sessions)
    for line in told.splitlines():
        sid, generation = line.split()
        acknowledged[sid] = max(acknowledged[sid], int(generation))
    return acknowledged


@pytest.mark.timeout(300)
async def test_what_was_acknowledged_outlives_kill_9(prepared: Path) -> None:
    """Again and again: no acknowledged rotation is lost, no row is torn, and each rotation has its one record."""
    random.seed(20)
    storage = SQLiteStorage(prepared)
    await storage.start()
    account = await an_account(storage)
    sessions: dict[str, int] = {}
    for _ in range(SESSIONS):
        session = new_session(account, b"")
        session = new_session(account, secret_of(session.sid, 0), sid=session.sid)
        assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is not None
        sessions[session.sid] = 0
    await storage.stop()

    for _ in range(KILLS):
        acknowledged = killed_after(random.uniform(0, 0.05), prepared, account, sessions)
        with looking_into(prepared) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        await storage.start()
        for sid, generation in acknowledged.items():
            stored = await state(storage, sid)
            # One more may have been committed and not yet told.
            assert generation <= stored.generation <= generation + 1
            assert stored.token_hash == digest(secret_of(sid, stored.generation))
            if stored.generation:
                assert stored.parent_hash == digest(secret_of(sid, stored.generation - 1))
            sessions[sid] = stored.generation
        assert len(await all_events(storage, EventName.REFRESHED)) == sum(sessions.values())
        await storage.stop()
    assert sum(sessions.values()) > KILLS
