"""A server that is killed in the middle of refreshes loses nobody's session, and revives nobody's spent token."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.servers import Nursery, Server, running
from tests.faults.wire import Unanswered

KILLS = 100
CLIENTS = 4
NAMES = [f"client-{number}" for number in range(CLIENTS)]


class Client:
    """Refreshes again and again, and remembers what was acknowledged."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.history: list[str] = []
        self.unforeseen: list[str] = []
        self.unanswered = 0
        self.answered = 0
        self.log_in()

    def log_in(self) -> None:
        """Begin a new session."""
        self.history = [self.server.log_in(self.name)["refresh_token"]]

    @property
    def current(self) -> str:
        """The newest token that the server has acknowledged."""
        return self.history[-1]

    def refresh_until(self, stop: threading.Event) -> None:
        """Refresh until the server is gone."""
        while not stop.is_set():
            try:
                answer = self.server.refresh(self.current)
            except Unanswered:
                self.unanswered += 1
                return
            if answer.status != 200:
                self.unforeseen.append(f"{answer.status} {answer.code}")
                return
            self.answered += 1
            self.history.append(answer.json()["refresh_token"])

    def try_again(self) -> str:
        """Send the newest token again after the restart; return what came of it."""
        answer = self.server.refresh(self.current)
        if answer.status != 200:
            return f"{self.name}: {answer.status} {answer.code} after {len(self.history)} refreshes"
        self.history.append(answer.json()["refresh_token"])
        return ""


def _kill_in_the_middle(server: Server, clients: list[Client], pool: ThreadPoolExecutor, after: float) -> None:
    stop = threading.Event()
    running_clients = [pool.submit(client.refresh_until, stop) for client in clients]
    time.sleep(after)
    server.kill()
    stop.set()
    for each in running_clients:
        each.result(30)


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_a_hundred_kills_in_the_middle_of_refreshes_log_nobody_out(nursery: Nursery, tmp_path: Path) -> None:
    """After each kill -9 the newest acknowledged token works, answered or not; a spent one is refused and ends it."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    logged_out: list[str] = []
    revived: list[str] = []
    with running(nursery, tmp_path, log_level="error") as server, ThreadPoolExecutor(CLIENTS) as pool:
        for name in NAMES:
            server.register(name)
        clients = [Client(server, name) for name in NAMES]
        for kill in range(KILLS):
            _kill_in_the_middle(server, clients, pool, dice.uniform(0.01, 0.09))
            server.start()
            logged_out += [trouble for trouble in pool.map(Client.try_again, clients) if trouble]
            thief = clients[kill % CLIENTS]
            if len(thief.history) > 3:
                revived += _present_a_spent_token(thief, dice)
                thief.log_in()
        integrity = server.rows("PRAGMA integrity_check")
    unforeseen = [trouble for client in clients for trouble in client.unforeseen]
    assert (logged_out, revived, unforeseen) == ([], [], []), f"seed {seed}"
    assert integrity == [("ok",)]
    assert sum(client.unanswered for client in clients) >= KILLS, "the kills hit nobody in the middle"
    assert sum(client.answered for client in clients) >= KILLS


def _present_a_spent_token(client: Client, dice: random.Random) -> list[str]:
    """Present a token older than the newest one's parent: it must be refused, and the session must be over."""
    # The last three may be the newest, its parent, and that one's successor as the server already knows it.
    spent = dice.choice(client.history[:-3])
    found = []
    if client.server.refresh(spent).status != 401:
        found.append(f"{client.name}: a spent token worked")
    if client.server.refresh(client.current).status != 401:
        found.append(f"{client.name}: the session went on after a spent token")
    return found


def test_the_parent_is_refused_after_the_leeway_also_by_a_restarted_server(nursery: Nursery, tmp_path: Path) -> None:
    """The window of a retry is measured by the row, not by the process: a restart does not open it again."""
    with running(nursery, tmp_path, refresh_leeway="1") as server:
        server.register("client")
        parent = server.log_in("client")["refresh_token"]
        successor = server.refresh(parent).json()["refresh_token"]
        server.kill()
        time.sleep(1.2)
        server.start()
        assert server.refresh(parent).status == 401
        assert server.refresh(successor).status == 401


def test_a_logout_that_was_acknowledged_outlives_a_kill(server: Server) -> None:
    """What ended stays ended: neither the refresh token nor the access token comes back with the process."""
    server.register("client")
    tokens = server.log_in("client")
    assert server.get("/guarded", token=tokens["access_token"]).status == 200
    assert server.post("/auth/logout", {"refresh_token": tokens["refresh_token"]}).status == 204
    server.kill()
    server.start()
    assert server.refresh(tokens["refresh_token"]).status == 401
    refused = server.get("/guarded", token=tokens["access_token"])
    assert (refused.status, refused.code) == (401, "session_ended")
