"""A started gate on a database of its own, with a clock that can be turned."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen
from tests.support.gates import gate_for


class Turned:
    """The time, as far as it was turned."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Answer the time in seconds since 1970 UTC."""
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Turned:
    """A clock to turn."""
    return Turned()


@pytest.fixture
async def gate(tmp_path: Path, clock: Turned) -> AsyncIterator[Limen]:
    """A started gate that goes by the clock."""
    async with gate_for(tmp_path, clock=clock).running() as started:
        yield started
