"""A started gate with a clock to turn, and a count of what reaches the hasher."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen
from limen.crypto.passwords import PasswordHasher, Verification
from limen.testing.clock import TurnableClock
from tests.support.gates import gate_for


@pytest.fixture
def clock() -> TurnableClock:
    """A clock to turn."""
    return TurnableClock()


@pytest.fixture
async def gate(tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Limen]:
    """A started gate that goes by the clock."""
    async with gate_for(tmp_path, clock=clock).running() as started:
        yield started


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that reached the hasher; those that begin with «wrong» cost nothing here."""
    seen: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, password: str, stored: str | None) -> object:
        seen.append(password)
        return (
            Verification(matches=False, outdated=False) if password[:5] == "wrong" else verify(self, password, stored)
        )

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return seen
