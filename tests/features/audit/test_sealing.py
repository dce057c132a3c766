"""The trail of a gate that runs, and of a process that is killed."""

import asyncio
import logging
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from limen.core.errors import LimenError
from limen.core.events import Event, EventName, Origin
from limen.features.audit.checkpoints import checkpoints_in
from limen.features.audit.service import AuditService
from limen.storage import SQLiteStorage
from limen.storage.sql.statement import Row, Statement, Steps, rows, run
from tests.support.gates import PASSWORD, gate_for
from tests.support.waiting import until

SECRET = "a secret of the data of these tests"

ACTS = """
import asyncio, sys
from limen.core.events import Event, EventName, Origin
from limen.core.ids import uuid7
from limen.features.accounts.store import NewAccount
from limen.features.audit.service import AuditService
from limen.storage import SQLiteStorage

async def act(storage):
    while True:
        new = NewAccount(id=uuid7(), username=uuid7(), email=None, password_hash="hash", roles=frozenset())
        await storage.accounts.create(new, Event(EventName.ACCOUNT_CREATED, actor="cli", target=new.id))
        print(new.id, flush=True)

async def seal(storage):
    trail = AuditService(storage.audit, [sys.argv[2]])
    while True:
        await trail.seal()
        await asyncio.sleep(0.002)

async def main():
    storage = SQLiteStorage(sys.argv[1])
    await storage.start()
    await asyncio.gather(*(act(storage) for _ in range(4)), seal(storage))

asyncio.run(main())
"""


def ids() -> Steps[list[Row]]:
    """Read the ids of the accounts."""
    return (yield from rows(Statement("SELECT id FROM limen_accounts")))


def cut() -> Steps[None]:
    """Cut off the end of the chain, and set back where it stands."""
    yield from run(Statement("DELETE FROM limen_events"))
    yield from run(Statement("DELETE FROM limen_trail"))
    yield from run(Statement("UPDATE limen_trail_head SET number = 0, link = NULL, floor = 0"))


async def write(storage: SQLiteStorage, count: int) -> None:
    """Write so many records."""
    for _ in range(count):
        await storage.sessions.record(Event(EventName.REFRESHED))


async def test_a_gate_seals_what_it_does(tmp_path: Path) -> None:
    """Acts are sealed in the background without anybody asking, refused logins too, under names nobody can read."""
    gate = gate_for(tmp_path)
    async with gate.running():
        await gate.accounts.create("ann", PASSWORD)
        with pytest.raises(LimenError):
            await gate.login.login("hunter2-typed-as-a-name", "not the password of anybody", origin=Origin())
        count = len(await gate.storage.events())

        async def all_are_sealed() -> bool:
            return (await gate.audit.checkpoint()).number >= count

        await until(all_are_sealed, "the last seal")
        verdict = await gate.audit.verify()
        found = [each async for each in gate.audit.export()]
    assert (verdict.count, verdict.sealed >= count) == (0, True)
    happened = Counter(each.record.event for each in found if each.record is not None)
    assert (happened["account_created"], happened["login_failed"]) == (1, 1)
    assert not any("hunter2" in str(each) for each in found)


def raise_floor() -> Steps[None]:
    """Make the sealer pass by what comes."""
    yield from run(Statement("UPDATE limen_trail_head SET floor = 1000000"))


async def test_a_place_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    """Who moves the place of the chain by hand is told of beside readiness, and what comes is sealed all the same."""
    gate = gate_for(tmp_path)
    async with gate.running():
        await gate.audit.seal()
        assert isinstance(gate.storage, SQLiteStorage)
        await gate.storage.write(raise_floor)

        async def is_told() -> bool:
            return (await gate.ready()).get("trail") == "broken"

        await until(is_told, "readiness to tell")
        before = (await gate.audit.head()).number
        await gate.accounts.create("ann", PASSWORD)

        async def is_sealed() -> bool:
            return (await gate.audit.head()).number > before

        await until(is_sealed, "the next seal")


async def test_without_a_secret_nothing_is_sealed(tmp_path: Path) -> None:
    """A gate that was given no data secret works as before, and begins no chain that nobody could verify."""
    gate = gate_for(tmp_path, data_secrets="", signing_alg="HS256")
    async with gate.running():
        await gate.accounts.create("ann", PASSWORD)
        assert not gate.audit.seals
        assert not [task for task in gate._background if "trail" in task.get_name()]
        assert (await gate.audit.head()).number == 0


async def test_retention_is_kept(tmp_path: Path) -> None:
    """With LIMEN_AUDIT_RETENTION a gate removes what is older by itself; without it nothing ever goes."""
    now = [1_700_000_000.0]
    gate = gate_for(tmp_path, clock=lambda: now[0], audit_retention=30)
    async with gate.running():
        assert [task for task in gate._background if "retention" in task.get_name()]
        await gate.accounts.create("ann", PASSWORD)
        await gate.audit.seal()
        last = (await gate.audit.head()).number
        now[0] += 29 * 86_400
        await gate.accounts.create("eve", PASSWORD)
        await gate.audit.seal()
        assert await gate.audit.retain(30) == 0
        now[0] += 2 * 86_400
        assert await gate.audit.retain(30) == last
        await gate.audit.seal()
        verdict = await gate.audit.verify()
        removed = [record for record in await gate.storage.events() if record.event == "trail_pruned"]
    assert (verdict.removed, verdict.count) == (last, 0)
    assert [record.actor for record in removed] == ["system"]
    (tmp_path / "other").mkdir()
    async with gate_for(tmp_path / "other").running() as other:
        assert not [task for task in other._background if "retention" in task.get_name()]


async def test_a_checkpoint_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the chain stands goes to the log, signed: logs are kept elsewhere, and verify by the same command."""
    storage = SQLiteStorage(tmp_path / "limen.db")
    await storage.start()
    try:
        await write(storage, 3)
        trail = AuditService(storage.audit, [SECRET])
        with caplog.at_level(logging.INFO, logger="limen"):
            await trail.seal()
        (line,) = [record.checkpoint for record in caplog.records if hasattr(record, "checkpoint")]
        verdict = await trail.verify(checkpoints_in([line]))
    finally:
        await storage.stop()
    assert (verdict.checkpoints, verdict.count) == (1, 0)


async def test_a_chain_that_went_back_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that has seen a longer chain than there is says so loudly, whoever set it back."""
    storage = SQLiteStorage(tmp_path / "limen.db")
    await storage.start()
    try:
        trail = AuditService(storage.audit, [SECRET])
        await write(storage, 3)
        await trail.seal()
        await storage.write(cut)
        await write(storage, 1)
        with caplog.at_level(logging.ERROR, logger="limen"):
            await trail.seal()
    finally:
        await storage.stop()
    assert [record.getMessage() for record in caplog.records] == ["the sealed trail is shorter than it was"]


def test_killed_between_act_and_seal(tmp_path: Path) -> None:
    """After kill -9 each act is there with its record or not at all; what was not sealed is sealed later, once."""
    path = tmp_path / "limen.db"
    command = [sys.executable, "-c", ACTS, str(path), SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line for line in process.stdout.read().splitlines() if len(line) == 36]
    accounts, records, number, found = asyncio.run(afterwards(path))
    assert sorted(accounts) == sorted(records)
    assert set(acknowledged) <= set(accounts)
    assert number == len(records)
    assert found == 0


async def afterwards(path: Path) -> tuple[list[str], list[str], int, int]:
    """Return the accounts, those that records tell of, how many are sealed in the end, and what does not fit."""
    storage = SQLiteStorage(path)
    await storage.start()
    try:
        trail = AuditService(storage.audit, [SECRET])
        before = await trail.verify()
        while await trail.seal():
            pass
        verdict = await trail.verify()
        accounts = [str(found[0]) for found in await storage.read(ids)]
        records = [record.target for record in await storage.events(limit=100_000)]
        return accounts, records, verdict.sealed, before.count + verdict.count
    finally:
        await storage.stop()
