"""A disk that is full: 503, nothing torn, and on again without a restart."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

from limen.authn.records import CurrentSession
from limen.core.errors import Unavailable
from limen.storage import SQLiteStorage
from limen.storage.sql.statement import Statement, rows
from limen.testing.contracts.contract import Opened, a_session, all_events, an_account, event, rotate, state
from tests.storage.conftest import looking_into

PADDING = event(data={"padding": "x" * 2_000})


async def until_full(storage: SQLiteStorage) -> None:
    """Write records until there is no room for one, not even for a small one."""
    for each in (PADDING, event()):
        for _ in range(5_000):
            try:
                await storage.sessions.record(each)
            except Unavailable:
                break
        else:
            raise AssertionError("the disk never was full")


async def turned(storage: SQLiteStorage, sessions: list[Opened], secret: bytes) -> list[bool]:
    """Rotate all at once; tell which were acknowledged. Whoever was not must have been answered Unavailable."""
    answers = await asyncio.gather(*(rotate(storage, opened, secret) for opened in sessions), return_exceptions=True)
    assert all(isinstance(answer, (CurrentSession, Unavailable)) for answer in answers), answers
    return [isinstance(answer, CurrentSession) for answer in answers]


async def fills_up(path: str, room: int) -> dict[str, object]:
    """In a process whose files may not grow beyond a size: fill the disk, fail, make room, go on."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    storage = SQLiteStorage(path)
    await storage.start()
    account = await an_account(storage)
    sessions = [await a_session(storage, account) for _ in range(10)]
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    await until_full(storage)
    acknowledged = await turned(storage, sessions, b"full")
    generations = [(await state(storage, opened.sid)).generation for opened in sessions]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    again = [opened.after(b"full") if done else opened for opened, done in zip(sessions, acknowledged, strict=True)]
    with_room = await turned(storage, again, b"room")
    after = [(await state(storage, opened.sid)).generation for opened in sessions]
    await storage.stop()
    return {"acknowledged": acknowledged, "generations": generations, "with_room": with_room, "after": after}


CHILD = """
import asyncio, json, logging, sys
from tests.storage.test_disk_full import fills_up

logging.disable()
print(json.dumps(asyncio.run(fills_up(sys.argv[1], int(sys.argv[2])))))
"""


def test_files_that_may_not_grow(prepared: Path) -> None:
    """With a real limit on the size of files: only what is acknowledged is stored; with room it goes on."""
    # Little more than there is: what a checkpoint has to move into the file finds no room there either.
    room = prepared.stat().st_size + 64 * 1024
    command = [sys.executable, "-c", CHILD, str(prepared), str(room)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert not all(told["acknowledged"])
    assert told["generations"] == [int(done) for done in told["acknowledged"]]
    assert told["with_room"] == [True] * 10
    assert told["after"] == [1 + int(done) for done in told["acknowledged"]]
    with looking_into(prepared) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


START = """
import asyncio, logging, resource, signal, sys
from limen.core.errors import Unavailable
from limen.storage import SQLiteStorage
from limen.storage.sql.statement import Statement, rows

logging.disable()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
storage = SQLiteStorage(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for size in (0, 8 * 1024, 64 * 1024, 96 * 1024):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        asyncio.run(storage.start())
    except Unavailable:
        print("unavailable")
    else:
        print("started")
        asyncio.run(storage.stop())
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
asyncio.run(storage.start())
asyncio.run(storage.ping())
asyncio.run(storage.stop())
"""


def test_no_room_to_begin_with(path: Path) -> None:
    """A start without room for the schema is refused as unavailable, and leaves nothing that hinders the next one."""
    answer = subprocess.run([sys.executable, "-c", START, str(path)], capture_output=True, text=True, timeout=100)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[:2] == ["unavailable"] * 2
    with looking_into(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_database_that_may_not_grow(storage: SQLiteStorage) -> None:
    """SQLITE_FULL in the midst of a shared transaction: nobody in it is acknowledged, nothing of it is stored."""
    account = await an_account(storage)
    sessions = [await a_session(storage, account) for _ in range(10)]
    with looking_into(storage.path) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    await storage.write(lambda: rows(Statement(f"PRAGMA max_page_count = {pages + 20}")))
    await until_full(storage)
    before = len(await all_events(storage))
    padded, *answers = await asyncio.gather(
        storage.sessions.record(PADDING),
        *(rotate(storage, opened, b"full") for opened in sessions),
        return_exceptions=True,
    )
    assert isinstance(padded, Unavailable)
    acknowledged = [isinstance(answer, CurrentSession) for answer in answers]
    generations = [(await state(storage, opened.sid)).generation for opened in sessions]
    assert generations == [int(done) for done in acknowledged]
    assert len(await all_events(storage)) == before + sum(acknowledged)
    await storage.write(lambda: rows(Statement("PRAGMA max_page_count = 1000000")))
    again = [opened.after(b"full") if done else opened for opened, done in zip(sessions, acknowledged, strict=True)]
    assert await turned(storage, again, b"room") == [True] * 10
    with looking_into(storage.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
