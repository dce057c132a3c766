"""Nodes that share a PostgreSQL are killed in the middle of everything: what was acknowledged holds on all of them."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.checker import Checker
from tests.faults.fleet import Fleet, Session, Witness, running_fleet
from tests.faults.history import History, read
from tests.faults.servers import Nursery
from tests.support.clock_shift import LACKING, ShiftedClock, library

KILLS = 20
CLIENTS = 4
SESSIONS = 8
LOGOUTS = 0.01
LEEWAY = 60


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """An empty history."""
    made = History(tmp_path / "history.jsonl")
    yield made
    made.close()


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


@dataclass
class Client:
    """One account with several sessions, of which it refreshes one, or ends one, again and again."""

    witness: Witness
    account: str
    dice: random.Random
    sessions: list[Session]

    def act_until(self, stop: threading.Event) -> None:
        """Do what clients do until told to stop; whose answer was lost is asked again."""
        while not stop.is_set():
            session = self.dice.choice(self.sessions) if self.sessions else self.witness.log_in(self.account)
            if session is None:
                continue
            if session not in self.sessions:
                self.sessions.append(session)
            leaves = self.dice.random() < LOGOUTS
            outcome = self.witness.log_out(session) if leaves else self.witness.refresh(session)
            if outcome is False or (leaves and outcome):
                self.sessions.remove(session)
            # Leaves the processors some time to start nodes in.
            time.sleep(self.dice.uniform(0, 0.01))


def clients_of(fleet: Fleet, history: History, dice: random.Random) -> list[Client]:
    """Make the clients, with their sessions."""
    made = []
    for number in range(CLIENTS):
        account = f"client-{number}"
        fleet.nodes[0].register(account)
        history.created(account)
        witness = Witness(history, fleet.nodes, seed=dice.randrange(2**32))
        opened = [witness.log_in(account) for _ in range(SESSIONS)]
        sessions = [session for session in opened if session is not None]
        made.append(Client(witness, account, random.Random(dice.randrange(2**32)), sessions))
    return made


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_what_was_acknowledged_survives_the_kills_of_nodes(fleet: Fleet, history: History) -> None:
    """Random nodes are killed and come back: no acknowledged logout or refresh is lost, no spent token works."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    clients = clients_of(fleet, history, dice)
    stop = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        acting = [pool.submit(client.act_until, stop) for client in clients]
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.02, 0.2))
            node = dice.choice(fleet.nodes)
            node.kill()
            node.start()
        stop.set()
        for each in acting:
            each.result(30)
    verdict = Checker(history, fleet.nodes, leeway=LEEWAY, seed=seed).check()
    assert verdict.violations == [], f"seed {seed}"
    acts = read(history.path)
    assert sum(act.outcome == "unknown" for act in acts) >= KILLS / 2, "the kills hit nobody in the middle"
    assert sum(act.outcome == "done" for act in acts) >= KILLS
    assert min(verdict.living, verdict.ended, verdict.spent) > 0


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
