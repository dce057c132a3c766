"""A protected application with limen's own routes, a clock to turn, and a client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.testing import TurnableClock
from tests.support.gates import gate_for


@pytest.fixture
def clock() -> TurnableClock:
    """A clock to turn."""
    return TurnableClock()


@pytest.fixture
def gate(tmp_path: Path, clock: TurnableClock) -> Limen:
    """A gate that is started with the client."""
    return gate_for(tmp_path, clock=clock)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application that has nothing but limen's own routes."""
    app = Starlette()
    gate.protect(app, health=True)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
