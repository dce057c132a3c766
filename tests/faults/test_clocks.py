"""A clock steps while everything runs: nothing spent comes back, nobody is logged out, and what ends is felt.

On SQLite the clock that counts is the server's, on PostgreSQL the database's; each is stepped in turn.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.faults.application import ADMINISTRATOR
from tests.faults.fleet import Fleet, running_fleet
from tests.faults.servers import Nursery
from tests.support.clock_shift import LACKING, ShiftedClock, library
from tests.support.postgres import Cluster, rows
from tests.support.processes import until

LEEWAY: Final = 1
SETTINGS: Final = {"log_level": "error", "refresh_leeway": str(LEEWAY)}
FELT_SECONDS: Final = 8.0
STEPS: Final = (-300, -60, 60, 300)


@dataclass
class Timed:
    """Nodes, and the clock that is stepped."""

    fleet: Fleet
    clock: ShiftedClock


def on_sqlite(stack: ExitStack, nursery: Nursery, folder: Path) -> Timed:
    """One node on SQLite, whose own clock steps."""
    clock = ShiftedClock(folder / "shift")
    shifted = Nursery(clock.environment())
    stack.callback(shifted.close)
    url = f"sqlite:///{folder / 'limen.db'}"
    return Timed(stack.enter_context(running_fleet([shifted], folder, url, 1, application="faults", **SETTINGS)), clock)


def of_a_node(stack: ExitStack, nursery: Nursery, folder: Path, url: str) -> Timed:
    """Two nodes on PostgreSQL; the clock of the second one steps."""
    clock = ShiftedClock(folder / "shift")
    shifted = Nursery(clock.environment())
    stack.callback(shifted.close)
    fleet = running_fleet([nursery, shifted], folder, url, 2, application="faults", **SETTINGS)
    return Timed(stack.enter_context(fleet), clock)


def of_the_database(
    stack: ExitStack, nursery: Nursery, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> Timed:
    """Two nodes on PostgreSQL, whose own clock steps."""
    # Where the account that the server runs as may read it.
    clock = ShiftedClock(cluster.folder / "shift")
    cluster.stop()
    with monkeypatch.context() as patch:
        for name, value in clock.environment().items():
            patch.setenv(name, value)
        cluster.start()
    fleet = running_fleet([nursery], folder, cluster.create(), 2, application="faults", **SETTINGS)
    return Timed(stack.enter_context(fleet), clock)


@pytest.fixture(params=["sqlite", "a node", "the database"])
def timed(
    request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Timed]:
    """Nodes with a clock that can be stepped."""
    if library() is None:
        pytest.skip(LACKING)
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield on_sqlite(stack, nursery, tmp_path)
        elif request.param == "a node":
            yield of_a_node(stack, nursery, tmp_path, request.getfixturevalue("postgres_url"))
        else:
            cluster: Cluster = request.getfixturevalue("own_postgres")
            yield of_the_database(stack, nursery, tmp_path, cluster, monkeypatch)


def test_after_steps_of_the_clock_nothing_spent_works_and_what_lives_goes_on(timed: Timed) -> None:
    """Forth or back: a spent parent stays spent, what had ended stays ended, and nobody is logged out."""
    timed.fleet.nodes[0].register("ann")
    for seconds in STEPS:
        timed.clock.step_to(0)
        check_step(timed, seconds)


def check_step(timed: Timed, seconds: int) -> None:
    """Open sessions, end one, let a token be spent, step the clock, and look at all of them on each node."""
    first, last = timed.fleet.nodes[0], timed.fleet.nodes[-1]
    living, ended, reused = (first.log_in("ann") for _ in range(3))
    assert first.post("/auth/logout", {"refresh_token": ended["refresh_token"]}).status == 204
    successor = last.refresh(reused["refresh_token"]).json()
    assert until(lambda: last.get("/guarded", token=ended["access_token"]).status == 401, FELT_SECONDS)
    time.sleep(LEEWAY + 0.2)
    timed.clock.step_to(seconds)
    assert last.refresh(reused["refresh_token"]).status == 401
    assert first.refresh(successor["refresh_token"]).status == 401
    for node in timed.fleet.nodes:
        assert node.get("/guarded", token=ended["access_token"]).status == 401
        assert node.refresh(ended["refresh_token"]).status == 401
        assert node.get("/guarded", token=living["access_token"]).status == 200
        assert node.get("/live", token=living["access_token"]).status == 200
        answer = node.refresh(living["refresh_token"])
        assert answer.status == 200
        living = answer.json()
        assert {each.get("/guarded", token=living["access_token"]).status for each in timed.fleet.nodes} == {200}
        assert {each.get("/live", token=living["access_token"]).status for each in timed.fleet.nodes} == {200}


def test_what_ends_after_a_step_is_felt(timed: Timed) -> None:
    """A logout and a lost role after a step are felt on every node within two seconds, as before it."""
    first, last = timed.fleet.nodes[0], timed.fleet.nodes[-1]
    account_id = first.register("ann")
    timed.fleet.make_administrator("root", role=ADMINISTRATOR)
    by = first.log_in("root")["access_token"]
    path = f"/admin/api/accounts/{account_id}"
    for shift in (0, -300, 300, 0):
        timed.clock.step_to(shift)
        assert first.change(path, {"roles": ["maker"]}, token=by).status == 200
        leaves, loses = first.log_in("ann"), first.log_in("ann")
        for each in (leaves, loses):
            assert until(lambda: last.get("/guarded", token=each["access_token"]).status == 200, FELT_SECONDS)  # noqa: B023
        assert first.post("/auth/logout", {"refresh_token": leaves["refresh_token"]}).status == 204
        assert until(lambda: last.get("/guarded", token=leaves["access_token"]).status == 401, FELT_SECONDS)  # noqa: B023
        assert first.change(path, {"roles": []}, token=by).status == 200
        assert until(lambda: last.get("/guarded", token=loses["access_token"]).status == 401, FELT_SECONDS)  # noqa: B023


def test_the_clock_of_a_database_can_be_stepped(
    own_postgres: Cluster, nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above rely on: the server's own processes tell the shifted time, at once."""
    if library() is None:
        pytest.skip(LACKING)
    with ExitStack() as stack:
        timed = of_the_database(stack, nursery, tmp_path, own_postgres, monkeypatch)
        for seconds in (0, -300, 300):
            timed.clock.step_to(seconds)
            ((told,),) = rows(own_postgres.admin_url, "SELECT extract(epoch FROM clock_timestamp())::float8")
            assert abs(told - time.time() - seconds) < FELT_SECONDS
