"""`kill -9` in the middle of approvals: nothing is done twice that is one commit, and nothing approved is forgotten."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from limen import Limen, Principal, PrincipalKind
from limen.core.errors import AlreadyDecided, LimenError
from limen.core.principal import Authentication
from limen.features.approvals.service import ApprovalStatus, Approved
from tests.approvals.conftest import QUEUED, RELEASE, ROLES, Place
from tests.own_user.conftest import application_engine, sqlalchemy_url
from tests.support.gates import settings_for
from tests.support.processes import uncounted

KILLS = int(os.environ.get("LIMEN_APPROVAL_KILLS", "3"))
"""Rounds, each of which ends by a `kill -9`; dozens of them in the pipeline's long stage."""
AT_ONCE = int(os.environ.get("LIMEN_APPROVAL_AT_ONCE", "10"))
"""Attempts of the two checkers at one request, at the same time."""
EACH = [(action, quorum) for action in (RELEASE, QUEUED) for quorum in (1, 2)]
"""The requests of a round."""


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

    async def decide(me: Principal, approval_id: str) -> None:
        with suppress(LimenError):  # decided, given, or too busy: the next round asks again
            await gate.approvals.approve(me, approval_id)
            # One write of one short line: a pipe takes it whole or not at all.
            os.write(1, f"{approval_id} {me.sub}\n".encode())

    async def work() -> None:
        while True:
            await gate.approvals.work()
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    for approval_id in asked:
        await asyncio.gather(*(decide(people[number % 2], approval_id) for number in range(AT_ONCE)))
    os.write(1, b"end\n")
    await working


CHILD = """
import asyncio, json, sys
from tests.approvals.test_crash import approvals

asyncio.run(approvals(**json.loads(sys.argv[1])))
"""


def killed_after(lines: int, arguments: dict[str, Any]) -> set[tuple[str, str]]:
    """Run the child, kill it after it has acknowledged so many yes or has no more, and return all of those."""
    command = [sys.executable, "-c", CHILD, json.dumps(arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=uncounted())
    assert process.stdout is not None
    told: list[bytes] = []
    while len(told) < lines and told[-1:] != [b"end\n"] and (line := process.stdout.readline()):
        told.append(line)
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    each = (line.decode().split() for line in told if line != b"end\n")
    return {(approval_id, sub) for approval_id, sub in each}


@pytest.mark.timeout(1200)
async def test_a_process_that_dies_in_between(
    place: Place, maker: Principal, checker: Principal, other: Principal, tmp_path: Path
) -> None:
    """Rounds of parallel yes by two, each ended by a kill: one transition, the quorum, and one record for each."""
    dice = random.Random(20)
    asked: dict[str, tuple[str, int]] = {}
    acknowledged: set[tuple[str, str]] = set()
    for _ in range(KILLS):
        for action, quorum in EACH:
            asked[(await place.ask(maker, action, quorum=quorum)).id] = (action, quorum)
        arguments = {
            "url": place.url,
            "folder": str(tmp_path),
            "checkers": [[checker.sub, checker.sid], [other.sub, other.sid]],
            "asked": dice.sample(left := await pending(place), len(left)),
        }
        acknowledged |= await asyncio.to_thread(killed_after, dice.randint(1, 6), arguments)
    before = await place.done()
    await finish(place, checker, other)
    executed = Counter([*await place.done(), *(sent.id for sent in place.sent)])
    records = [each for each in await place.gate.storage.events(limit=1_000_000) if each.outcome == "success"]
    for approval_id, (action, quorum) in asked.items():
        shown = await place.gate.approvals.show(maker, approval_id)
        approvers = {given.approver for given in shown.approvals}
        assert (shown.status, shown.execution) == (ApprovalStatus.APPROVED, "done")
        assert len(shown.approvals) == len(approvers) == quorum
        assert {sub for request, sub in acknowledged if request == approval_id} <= approvers
        told = [each for each in records if each.target == approval_id]
        assert Counter(each.event for each in told) == {
            "approval_requested": 1, "approval_approved": quorum, "approval_executed": 1,
        }  # fmt: skip
        given = [(each.data["given"], each.data["status"]) for each in told if each.event == "approval_approved"]
        assert given == [(number, "approved" if number == quorum else "pending") for number in range(1, quorum + 1)]
        assert executed[approval_id] == 1 if action == RELEASE else executed[approval_id] >= 1
    assert before, "the kills came before anything was done"
    assert len(acknowledged) >= KILLS


async def pending(place: Place) -> list[str]:
    """Return the requests that are not decided yet."""
    return sorted(
        str(found) for (found,) in await place.rows("SELECT id FROM limen_approvals WHERE status = 'pending'")
    )


async def finish(place: Place, checker: Principal, other: Principal) -> None:
    """Approve here what the kills have left, and work off the outbox."""
    for approval_id in await pending(place):
        for me in (checker, other):
            with suppress(AlreadyDecided):
                await place.gate.approvals.approve(me, approval_id)
    # Each kill may have cost an attempt.
    queued = place.gate.approvals._queued
    queued[QUEUED] = replace(queued[QUEUED], attempts=100)
    place.clock.ahead = 3_600  # past every lease
    while await place.gate.approvals.work():
        pass
