"""The clock steps between two requests: what was used stays used, and a limit that was reached stays reached.

Sessions are in `tests/faults/test_clocks.py`, where real processes and a real PostgreSQL have their clocks stepped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.testing.clock import TurnableClock
from tests.recovery.conftest import NEW_PASSWORD, Box, World
from tests.support.gates import settings_for

STEPS = [-3600, 300]
"""Seconds."""
LINK_SECONDS = 30 * 60
LIMIT, WINDOW_SECONDS = 3, 900


@dataclass
class Timed:
    """An application that sends mails, and its clock, which is the database's as well."""

    world: World
    clock: TurnableClock


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[Timed]:
    """All of it; an account may be tried three times in a quarter of an hour."""
    clock, box = TurnableClock(), Box()
    settings = settings_for(
        tmp_path,
        public_url="https://app.example",
        mail_from="App <no-reply@app.example>",
        login_limit=f"{LIMIT}/{WINDOW_SECONDS} seconds",
    )
    gate = Limen(settings, mail=box, clock=clock)
    app = Starlette()
    gate.protect(app)
    with TestClient(app, base_url="https://app.example") as client:
        yield Timed(World(gate, client, box), clock)


@pytest.mark.parametrize("seconds", STEPS)
def test_a_link_that_was_used_stays_used(timed: Timed, seconds: int) -> None:
    """A mailed link works once, and one that a newer one replaced never does, whatever the clock says then."""
    timed.world.register()
    timed.world.forgot()
    replaced = timed.world.token()
    timed.world.forgot()
    used = timed.world.token()
    assert timed.world.reset(used).status_code == 204
    timed.clock.turn(seconds)
    for token in (used, replaced):
        assert timed.world.reset(token, "yet another battery, yet another").status_code == 400
    timed.clock.turn(-seconds)
    assert timed.world.reset(used, "yet another battery, yet another").status_code == 400
    timed.world.client.cookies.clear()
    assert timed.world.login(password=NEW_PASSWORD).status_code == 200


def test_a_link_is_over_at_the_end_of_its_time(timed: Timed) -> None:
    """A step forth ends it; after the step back it has the time that it was given, and not a second more."""
    timed.world.register()
    timed.world.forgot()
    token = timed.world.token()
    timed.clock.turn(LINK_SECONDS + 1)
    assert timed.world.reset(token).status_code == 400
    timed.clock.turn(-300)
    timed.clock.turn(301)
    assert timed.world.reset(token).status_code == 400
    assert timed.world.login().status_code == 200


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_limit_that_is_reached_stays_reached(timed: Timed, seconds: int) -> None:
    """No step back, and none forth shorter than the window, lets another guess in, nor locks out for long."""
    timed.world.register()
    for _ in range(LIMIT):
        assert timed.world.login(password="not the right one").status_code == 401
    timed.clock.turn(seconds)
    answer = timed.world.login()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 2 * WINDOW_SECONDS
    timed.clock.turn(int(answer.headers["retry-after"]) + 1)
    assert timed.world.login().status_code == 200
