"""Servers for the tests of faults."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.history import History
from tests.faults.servers import Nursery, Server, running


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where servers come from."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a measured figure, also where the test passes."""

    def write(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}\n")

    return write


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """An empty history."""
    made = History(tmp_path / "history.jsonl")
    yield made
    made.close()


@pytest.fixture
def server(nursery: Nursery, tmp_path: Path) -> Iterator[Server]:
    """A running server with a database of its own."""
    with running(nursery, tmp_path) as started:
        yield started
