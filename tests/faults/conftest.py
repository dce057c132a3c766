"""Servers for the tests of faults."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.servers import Nursery, Server, running


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where servers come from."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def server(nursery: Nursery, tmp_path: Path) -> Iterator[Server]:
    """A running server with a database of its own."""
    with running(nursery, tmp_path) as started:
        yield started
