"""A protected application with limen's own routes, and a client for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from tests.support.gates import gate_for


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate that is started with the client."""
    return gate_for(tmp_path)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application that has nothing but limen's own routes."""
    app = Starlette()
    gate.protect(app, health=True)
    with TestClient(app) as client:
        yield client
