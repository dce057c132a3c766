"""Two processes of one installation, each with the secrets of the moment."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from limen.authn.issuing import Issued
from limen.authn.strategy import Authenticated
from limen.core.events import NOWHERE
from tests.support.gates import PASSWORD, gate_for

OLD, NEXT = "old", "next"


@dataclass
class Fleet:
    """Makes processes on one database and one clock.

    Attributes:
        kind: which secret is being replaced: ``access`` or ``refresh``.
        ahead: how far the clock of all was turned, in seconds.
    """

    folder: Path
    kind: str
    stack: AsyncExitStack
    ahead: float = 0.0
    secrets: dict[str, str] = field(default_factory=lambda: {name: secrets.token_urlsafe(48) for name in (OLD, NEXT)})
    other: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def clock(self) -> float:
        """Answer the time in seconds since 1970 UTC."""
        return time.time() + self.ahead

    async def start(self, current: str, *accepted: str) -> Limen:
        """Start a process that signs with one secret and accepts others; an earlier one goes on beside it."""
        untouched = "refresh" if self.kind == "access" else "access"
        told: dict[str, Any] = {
            f"jwt_{self.kind}_secret": self.secrets[current],
            f"jwt_{self.kind}_secrets_accepted": ",".join(self.secrets[name] for name in accepted),
            f"jwt_{untouched}_secret": self.other,
        }
        gate = gate_for(self.folder, clock=self.clock, **told)
        return await self.stack.enter_async_context(gate.running())


@pytest.fixture(params=["access", "refresh"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which secret is being replaced."""
    return str(request.param)


@pytest.fixture
async def fleet(tmp_path: Path, kind: str) -> AsyncIterator[Fleet]:
    """The processes of an installation."""
    async with AsyncExitStack() as stack:
        yield Fleet(tmp_path, kind, stack)


async def log_in(gate: Limen, name: str = "ann") -> Issued:
    """Open a session."""
    return await gate.login.login(name, PASSWORD, origin=NOWHERE)


async def refresh(gate: Limen, issued: Issued) -> Issued:
    """Exchange the refresh token."""
    return await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)


def lets_in(gate: Limen, issued: Issued) -> bool:
    """Say whether an access token is accepted."""
    return isinstance(gate.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())]), Authenticated)
