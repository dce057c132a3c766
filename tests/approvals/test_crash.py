"""`kill -9` in the middle of approvals: nothing is done twice that is one commit, and nothing approved is forgotten."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from limen import Limen, Principal, PrincipalKind
from limen.core.errors import LimenError
from limen.core.principal import Authentication
from limen.features.approvals.service import ApprovalStatus, Approved, Box
from tests.approvals.conftest import QUEUED, RELEASE, ROLES, Place
from tests.own_user.conftest import application_engine, sqlalchemy_url
from tests.support.gates import settings_for
from tests.support.processes import uncounted

KILLS = int(os.environ.get("LIMEN_APPROVAL_KILLS", "3"))
EACH = 20
"""Requests of each kind."""


async def approvals(url: str, folder: str, checkers: list[list[str]], asked: list[str]) -> None:
    """Approve everything by two people at once, work the outbox off, and tell what was acknowledged, line by line."""
    gate = Limen(settings_for(Path(folder), database_url=url), roles=ROLES)
    engine = application_engine(sqlalchemy_url(url))

    async def write(approved: Approved, connection: Any) -> None:
        values = {"id": approved.id, "action": approved.action}
        await connection.execute(text("INSERT INTO done (request, payload) VALUES (:id, :action)"), values)

    @gate.approvals.action(RELEASE, session=engine.begin)
    async def release(approved: Approved, connection: Any) -> None:
        await write(approved, connection)

    @gate.approvals.action(QUEUED, permission="payout:release:approve", timeout=20, attempts=100)
    async def send(approved: Approved) -> None:
        async with engine.begin() as connection:
            await write(approved, connection)

    await gate.start()
    people = [
        Principal(sub, PrincipalKind.PERSON, sid=sid, authentication=Authentication(("pwd",), 1))
        for sub, sid in checkers
    ]

    async def decide(me: Principal, ids: list[str]) -> None:
        for approval_id in ids:
            try:
                await gate.approvals.approve(me, approval_id)
            except LimenError as error:
                if error.status >= 500:
                    raise
                continue
            # One write of one short line: a pipe takes it whole or not at all.
            os.write(1, f"{approval_id}\n".encode())

    async def work() -> None:
        while True:
            await gate.approvals.work()
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    await asyncio.gather(*(decide(me, ids) for me, ids in zip(people, (asked, asked[::-1]), strict=True)))
    os.write(1, b"end\n")
    await working


CHILD = """
import asyncio, json, sys
from tests.approvals.test_crash import approvals

asyncio.run(approvals(**json.loads(sys.argv[1])))
"""


def killed_after(lines: int, arguments: dict[str, Any]) -> set[str]:
    """Run the child, kill it after it has acknowledged so many approvals, and return all that it has acknowledged."""
    command = [sys.executable, "-c", CHILD, json.dumps(arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=uncounted())
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return {line.decode().strip() for line in told} - {"end"}


@pytest.mark.timeout(300)
async def test_a_process_that_dies_in_between(
    place: Place, maker: Principal, checker: Principal, other: Principal, tmp_path: Path
) -> None:
    """Each is approved once; with the yes it is executed once, from the outbox at least once, and recorded once."""
    dice = random.Random(20)
    asked = [(await place.ask(maker, action)).id for _ in range(EACH) for action in (RELEASE, QUEUED)]
    acknowledged: set[str] = set()
    for _ in range(KILLS):
        left = [each.id for each in (await place.gate.approvals.page(checker, Box.INBOX, limit=200)).items]
        arguments = {
            "url": place.url,
            "folder": str(tmp_path),
            "checkers": [[checker.sub, checker.sid], [other.sub, other.sid]],
            "asked": left,
        }
        acknowledged |= await asyncio.to_thread(killed_after, dice.randint(1, 8), arguments)
    for approval_id in acknowledged:
        assert (await place.gate.approvals.show(maker, approval_id)).status is ApprovalStatus.APPROVED
    assert len(acknowledged) >= KILLS
    before = await place.done()
    for each in (await place.gate.approvals.page(checker, limit=200)).items:
        await place.gate.approvals.approve(checker, each.id)
    # Each kill may have cost an attempt.
    queued = place.gate.approvals._queued
    queued[QUEUED] = replace(queued[QUEUED], attempts=100)
    place.clock.ahead = 3_600  # past every lease
    while await place.gate.approvals.work():
        pass
    executed = Counter([*await place.done(), *(sent.id for sent in place.sent)])
    events = [(each.event, each.target) for each in await place.gate.storage.events(limit=100_000)
              if each.outcome == "success"]  # fmt: skip
    told = Counter(events)
    for approval_id in asked:
        shown = await place.gate.approvals.show(maker, approval_id)
        assert (shown.status, shown.execution, len(shown.approvals)) == (ApprovalStatus.APPROVED, "done", 1)
        assert told["approval_approved", approval_id] == told["approval_executed", approval_id] == 1
        if shown.action == RELEASE:
            assert executed[approval_id] == 1
        else:
            assert executed[approval_id] >= 1
    assert before, "the kills came before anything was done"
