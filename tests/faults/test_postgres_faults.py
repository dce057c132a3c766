"""The database fails under load: who needs it is told to come back, nothing acknowledged is lost, the rest goes on.

The servers are an application with a route that asks no database, so that verification can be watched by itself.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.application import ADMINISTRATOR
from tests.faults.checker import Checker
from tests.faults.clients import Crowd, crowd_of
from tests.faults.fleet import Fleet, running_fleet
from tests.faults.history import History, read
from tests.faults.servers import Nursery, Server
from tests.faults.wire import Answer
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.postgres import Cluster, Lacking, own

LEEWAY = 60
CLIENTS = 6
ROLES = ["maker", "checker"]
RECOVERY_SECONDS = 20.0
MOST_SECONDS = 20.0
"""Beyond what a request may wait: 3 s for a connection, 3 s to open it, 5 s for a statement; machines are slow."""
VERIFIED_SECONDS = 2.0
SLOW_ONES = 3
"""So many may take longer where the machine stands still for a moment; what waits for the database all does."""
HANG_SECONDS = 30.0
ROTATES = "UPDATE limen_sessions"


@dataclass
class Bed:
    """A database with careless defaults, a proxy before it, and two nodes behind that proxy."""

    cluster: Cluster
    proxy: FaultProxy
    fleet: Fleet

    @property
    def node(self) -> Server:
        """Return one of the nodes."""
        return self.fleet.nodes[0]


@contextmanager
def running_bed(nursery: Nursery, folder: Path, **settings: str) -> Iterator[Bed]:
    """Run it all."""
    with ExitStack() as stack:
        try:
            # Nobody but limen itself cares that a commit is on the disk: what is not, a kill of the server loses.
            cluster = stack.enter_context(own(synchronous_commit="off", wal_writer_delay="10s"))
        except Lacking as error:
            pytest.skip(str(error))
        url = cluster.create()
        proxy = stack.enter_context(fault_proxy(url))
        settings = {"log_level": "error", "refresh_leeway": str(LEEWAY), **settings}
        fleet = running_fleet([nursery], folder, proxy.url(url), 2, application="faults", **settings)
        yield Bed(cluster, proxy, stack.enter_context(fleet))


@pytest.fixture
def bed(nursery: Nursery, tmp_path: Path) -> Iterator[Bed]:
    """A database, a proxy and two nodes."""
    with running_bed(nursery, tmp_path) as made:
        yield made


class Verifier:
    """Shows an access token again and again to a route that asks no database."""

    def __init__(self, nodes: list[Server], token: str) -> None:
        self._nodes = nodes
        self._token = token
        self.statuses: list[int] = []
        self.seconds: list[float] = []

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Do it for as long as the context lasts."""
        stop = threading.Event()

        def act() -> None:
            while not stop.wait(0.02):
                for node in self._nodes:
                    began = time.monotonic()
                    self.statuses.append(node.get("/guarded", token=self._token).status)
                    self.seconds.append(time.monotonic() - began)

        with ThreadPoolExecutor(1) as pool:
            acting = pool.submit(act)
            try:
                yield
            finally:
                stop.set()
            acting.result(60)

    def check(self) -> None:
        """Check that every token was taken, and as fast as without a fault."""
        assert set(self.statuses) == {200}
        assert sum(each > VERIFIED_SECONDS for each in self.seconds) <= SLOW_ONES, sorted(self.seconds)[-10:]


def restart(bed: Bed) -> None:
    """Stop the server as an operator does, and start it again."""
    bed.cluster.restart()


def kill(bed: Bed) -> None:
    """End all processes of the server at once, twice, and let it recover."""
    for pause in (1.0, 0.0):
        bed.cluster.kill()
        time.sleep(0.5)
        bed.cluster.start()
        time.sleep(pause)


def reset(bed: Bed) -> None:
    """Break all connections off, wherever they are in what they do, again and again."""
    for _ in range(20):
        bed.proxy.reset()
        time.sleep(0.02)
        bed.proxy.ok()
        time.sleep(0.15)


def hang(bed: Bed) -> None:
    """Let nothing through, and close nothing."""
    bed.proxy.hang()
    time.sleep(HANG_SECONDS)
    bed.proxy.ok()


def refuse(bed: Bed) -> None:
    """Be gone for some seconds."""
    bed.proxy.refuse()
    time.sleep(3)
    bed.proxy.ok()


def is_turned_away(answer: Answer) -> bool:
    """Say whether an answer tells to come back, and when."""
    return answer.status == 503 and int(answer.header("retry-after") or 0) >= 1


def recovered_after(fleet: Fleet, token: str) -> float:
    """Refresh on each node until it works; return the seconds until the last of them did."""
    began = time.monotonic()
    for node in fleet.nodes:
        while (answer := node.refresh(token)).status != 200:
            assert is_turned_away(answer), answer
            assert time.monotonic() - began < 3 * RECOVERY_SECONDS, "it does not recover"
            time.sleep(0.05)
        token = answer.json()["refresh_token"]
    return time.monotonic() - began


def check_answers(crowd: Crowd) -> tuple[int, float]:
    """Check what the clients were told; return how many were turned away, and the longest that one waited."""
    answers = [each for witness in crowd.witnesses for each in witness.answers]
    assert sum(witness.unanswered for witness in crowd.witnesses) == 0, "connections were dropped"
    unforeseen = [answer for answer, _ in answers if answer.status >= 500 and not is_turned_away(answer)]
    assert unforeseen == []
    assert {answer.status for answer, _ in answers} <= {200, 204, 401, 409, 503}
    away = [answer for answer, _ in answers if answer.status == 503]
    return len(away), max(seconds for _, seconds in answers)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [restart, kill, reset, hang, refuse], ids=lambda fault: fault.__name__)
def test_under_load(bed: Bed, fault: Callable[[Bed], None], history: History, tell: Callable[[str], None]) -> None:
    """503 with Retry-After or an answer that holds, access tokens are taken all the while, and it recovers by itself.

    No restart of a node, no 500, no connection dropped; what was acknowledged is there at the end, on both nodes.
    """
    seed = random.randrange(2**32)
    crowd = crowd_of(
        bed.fleet, history, random.Random(seed), size=CLIENTS, roles=ROLES, administrator_role=ADMINISTRATOR
    )
    bed.node.register("watch")
    watch = bed.node.log_in("watch")
    verifier = Verifier(bed.fleet.nodes, watch["access_token"])
    pids = [node.pid for node in bed.fleet.nodes]
    with crowd.busy(), verifier.busy():
        time.sleep(1)
        fault(bed)
        recovery = recovered_after(bed.fleet, watch["refresh_token"])
        time.sleep(1)
    away, longest = check_answers(crowd)
    verdict = Checker(history, bed.fleet.nodes, leeway=LEEWAY, seed=seed).check()
    tell(
        f"{fault.__name__}: {len(read(history.path))} acts, {away} answered 503, the longest after {longest:.1f} s;"
        f" recovered after {recovery:.2f} s; {len(verifier.statuses)} access tokens verified,"
        f" the slowest in {max(verifier.seconds):.2f} s"
    )
    assert verdict.violations == [], f"seed {seed}"
    assert away > 0, "the fault hit nobody"
    assert longest < MOST_SECONDS
    assert recovery < RECOVERY_SECONDS
    verifier.check()
    assert [node.pid for node in bed.fleet.nodes] == pids
    assert min(verdict.living, verdict.ended, verdict.spent) > 0


# --- one statement, and the answer to it


def generation(bed: Bed, token: str) -> int:
    """Return how often the only session was moved on."""
    ((found,),) = bed.node.rows("SELECT generation FROM limen_sessions")
    return int(found)


def test_a_refresh_whose_answer_is_lost_is_restated(bed: Bed) -> None:
    """It was done and nobody knows: 503; the retry with the same token gets the successor, which is one and works."""
    bed.node.register("ann")
    token = bed.node.log_in("ann")["refresh_token"]
    bed.proxy.lose_answer(ROTATES)
    assert is_turned_away(bed.node.refresh(token))
    assert bed.proxy.counts()["answers_lost"] == 1
    assert generation(bed, token) == 1
    retried = [node.refresh(token) for node in bed.fleet.nodes]
    assert [answer.status for answer in retried] == [200, 200]
    assert len({answer.json()["refresh_token"] for answer in retried}) == 1
    assert generation(bed, token) == 1
    assert bed.node.refresh(retried[0].json()["refresh_token"]).status == 200


def test_a_refresh_that_is_lost_on_the_way_was_not_done(bed: Bed) -> None:
    """503, the row is as it was, and the retry rotates."""
    bed.node.register("ann")
    token = bed.node.log_in("ann")["refresh_token"]
    bed.proxy.lose_statement(ROTATES)
    assert is_turned_away(bed.node.refresh(token))
    assert generation(bed, token) == 0
    assert bed.node.refresh(token).status == 200
    assert generation(bed, token) == 1


@pytest.mark.parametrize("done", [True, False], ids=["the answer to COMMIT", "COMMIT"])
def test_a_logout_that_loses(bed: Bed, done: bool) -> None:
    """503 either way, never 204; done where only the answer was lost, not done where COMMIT was; a retry ends it."""
    bed.node.register("ann")
    token = bed.node.log_in("ann")["refresh_token"]
    (bed.proxy.lose_answer if done else bed.proxy.lose_statement)("COMMIT")
    assert is_turned_away(bed.node.post("/auth/logout", {"refresh_token": token}))
    assert bed.node.rows("SELECT count(*) FROM limen_sessions") == [(0 if done else 1,)]
    for node in bed.fleet.nodes:
        assert node.post("/auth/logout", {"refresh_token": token}).status == 204
        assert node.refresh(token).status == 401


@pytest.mark.parametrize("done", [True, False], ids=["the answer to COMMIT", "COMMIT"])
def test_a_role_change_that_loses(bed: Bed, done: bool) -> None:
    """503 either way; with the answer lost the role is there, with COMMIT lost it is not; a retry settles it."""
    account_id = bed.node.register("ann")
    bed.fleet.make_administrator("root", role=ADMINISTRATOR)
    by = bed.node.log_in("root")["access_token"]
    path, body = f"/admin/api/accounts/{account_id}", {"roles": ["maker"]}
    (bed.proxy.lose_answer if done else bed.proxy.lose_statement)("COMMIT")
    assert is_turned_away(bed.node.change(path, body, token=by))
    expected = [("maker",)] if done else []
    assert bed.node.rows("SELECT role FROM limen_account_roles WHERE account_id = ?", account_id) == expected
    answer = bed.node.change(path, body, token=by)
    assert (answer.status, answer.json()["roles"]) == (200, ["maker"])


# --- more clients than the database can serve

MANY = 200
POOL = 5
ROUND_TRIP_SECONDS = 2.0


@pytest.mark.serial
def test_a_slow_database_and_more_clients_than_connections(
    nursery: Nursery, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """5 connections, 200 clients, 2 s more for each answer: few are served, the others are told to come back at once.

    Nobody waits for longer than it takes to be sent away, access tokens are verified meanwhile, and afterwards
    everybody's token works: those who were served have the next one, the others retry.
    """
    with running_bed(nursery, tmp_path, database_pool=str(POOL)) as bed:
        node = bed.node
        node.register("ann")
        first = node.log_in("ann")
        with ThreadPoolExecutor(MANY) as pool:
            # Open and prepared before it is slow: what is measured is the queue.
            opened = [each["refresh_token"] for each in pool.map(lambda _: node.log_in("ann"), range(20))]
            tokens = [each.json()["refresh_token"] for each in pool.map(node.refresh, opened)]
            verifier = Verifier([node], first["access_token"])
            bed.proxy.latency(ROUND_TRIP_SECONDS / 2)

            def refresh(token: str) -> tuple[Answer, float]:
                began = time.monotonic()
                return node.refresh(token), time.monotonic() - began

            with verifier.busy():
                answers = list(pool.map(refresh, tokens * (MANY // len(tokens))))
        bed.proxy.ok()
        served = sum(answer.status == 200 for answer, _ in answers)
        longest = max(seconds for _, seconds in answers)
        tell(f"{MANY} clients, {POOL} connections, +2 s: {served} served, the longest wait {longest:.1f} s")
        assert all(answer.status == 200 or is_turned_away(answer) for answer, _ in answers)
        assert 0 < served < MANY
        assert longest < MOST_SECONDS
        verifier.check()
        assert {node.refresh(token).status for token in tokens} == {200}
