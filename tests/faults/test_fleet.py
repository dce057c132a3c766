"""Nodes that share a PostgreSQL are killed in the middle of everything: what was acknowledged holds on all of them."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.checker import Checker
from tests.faults.clients import Crowd, crowd_of
from tests.faults.fleet import Fleet, running_fleet
from tests.faults.history import History, read
from tests.faults.servers import Nursery, Server
from tests.faults.wire import request_bytes
from tests.support.clock_shift import LACKING, ShiftedClock, library

KILLS = int(os.environ.get("LIMEN_TEST_KILLS", "30"))
NODES = 8
KILLERS = 4
CLIENTS = 6
ENOUGH_FOR_ALL = 200
"""So many kills hit acts of every kind in the middle."""
ROLES = {"reader": "accounts:read", "auditor": "events:read"}
LEEWAY = 60
SECONDS_PER_KILL = 2


@pytest.fixture
def fleet(nursery: Nursery, tmp_path: Path, postgres_url: str) -> Iterator[Fleet]:
    """Three nodes of `limen serve` on one PostgreSQL, which start at the same moment on an empty database."""
    with running_fleet([nursery], tmp_path, postgres_url, 3, log_level="error", refresh_leeway=str(LEEWAY)) as started:
        yield started


def test_nodes_that_start_at_once_share_sessions(fleet: Fleet) -> None:
    """What one node opened, the second refreshes and the third ends; then all refuse it."""
    first, second, third = fleet.nodes
    first.register("ann")
    tokens = first.log_in("ann")
    refreshed = second.refresh(tokens["refresh_token"])
    assert refreshed.status == 200
    assert third.post("/auth/logout", {"refresh_token": refreshed.json()["refresh_token"]}).status == 204
    assert {node.refresh(refreshed.json()["refresh_token"]).status for node in fleet.nodes} == {401}
    assert fleet.nodes[0].rows("SELECT count(*) FROM limen_accounts WHERE username = ?", "ann") == [(1,)]


class Numbers:
    """So many numbers, for any number of threads; each is drawn once."""

    def __init__(self, most: int) -> None:
        self._left = iter(range(most))
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._left)


def crowd_with_roles(fleet: Fleet, history: History, dice: random.Random) -> Crowd:
    """Make clients, an administrator, and the roles that it gives and takes."""
    crowd = crowd_of(fleet, history, dice, size=CLIENTS, roles=list(ROLES))
    assert crowd.administrator is not None
    by = crowd.administrator.own.access_token
    for role, permission in ROLES.items():
        body = {"permissions": [permission], "extends": []}
        answer = fleet.nodes[0].send(
            request_bytes("PUT", f"/admin/api/roles/{role}", json_body=body, token=by),
        )
        assert answer.status in (200, 201, 204), answer
    return crowd


def kill_in_turn(nodes: Sequence[Server], numbers: Iterator[int], dice: random.Random) -> None:
    """Kill one of these nodes at a time and start it again, as long as there are numbers to be drawn."""
    for _ in numbers:
        time.sleep(dice.uniform(0.02, 0.2))
        node = dice.choice(nodes)
        node.kill()
        node.start()


@pytest.mark.serial
@pytest.mark.timeout(300 + SECONDS_PER_KILL * KILLS)
def test_what_was_acknowledged_survives_the_kills_of_nodes(
    nursery: Nursery, tmp_path: Path, postgres_url: str, history: History, tell: Callable[[str], None]
) -> None:
    """Random nodes are killed and come back: nothing acknowledged is lost, and nothing spent works.

    What is acknowledged meanwhile are refreshes, logouts, roles given and taken, and accounts switched off.
    """
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    settings = {"log_level": "error", "refresh_leeway": str(LEEWAY)}
    with running_fleet([nursery], tmp_path, postgres_url, NODES, **settings) as fleet:
        crowd = crowd_with_roles(fleet, history, dice)
        began = time.monotonic()
        numbers = Numbers(KILLS)
        with crowd.busy(), ThreadPoolExecutor(KILLERS) as pool:
            # Each has nodes of its own, so some are always up.
            killing = [
                pool.submit(kill_in_turn, fleet.nodes[first::KILLERS], numbers, random.Random(dice.randrange(2**32)))
                for first in range(KILLERS)
            ]
            for each in killing:
                each.result()
        killed = time.monotonic()
        verdict = Checker(history, fleet.nodes, leeway=LEEWAY, seed=seed).check()
        checked = time.monotonic()
    acts = read(history.path)
    told = f"{KILLS} kills in {killed - began:.0f} s, checked in {checked - killed:.0f} s, {len(acts)} acts, {verdict}"
    tell(told)
    assert verdict.violations == [], f"seed {seed}"
    for kind in ("refresh", "roles"):
        assert any(act.outcome == "unknown" for act in acts if act.kind == kind) or KILLS < ENOUGH_FOR_ALL, kind
    assert sum(act.outcome == "unknown" for act in acts) >= KILLS / 4, "the kills hit nobody in the middle"
    for kind in ("refresh", "roles", "logout"):
        assert any(act.outcome == "done" for act in acts if act.kind == kind), kind
    assert min(verdict.living, verdict.ended, verdict.spent, verdict.stale, verdict.roles) > 0


@pytest.mark.parametrize("seconds", [-300, -60, 60, 300])
def test_nodes_with_clocks_apart_agree(nursery: Nursery, tmp_path: Path, postgres_url: str, seconds: int) -> None:
    """A session goes from a node to one whose clock is minutes off and back; a retry there is restated.

    The access tokens of each are taken by the other: the database's clock stamps them, not the node's.
    """
    if library() is None:
        pytest.skip(LACKING)
    shifted = Nursery(ShiftedClock(tmp_path / "shift", seconds).environment())
    try:
        with running_fleet([nursery, shifted], tmp_path, postgres_url, 2, log_level="error") as fleet:
            here, there = fleet.nodes
            here.register("ann")
            token = here.log_in("ann")["refresh_token"]
            for node, rival in ((here, there), (there, here)):
                answers = [node.refresh(token), rival.refresh(token)]
                assert [answer.status for answer in answers] == [200, 200]
                successors = {answer.json()["refresh_token"] for answer in answers}
                assert len(successors) == 1
                (token,) = successors
                for answer in answers:
                    access = answer.json()["access_token"]
                    assert [each.get("/auth/me", token=access).status for each in fleet.nodes] == [200, 200]
    finally:
        shifted.close()
