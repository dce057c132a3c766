"""Two processes' worth of limen on one database, and a way to hold one of them in the middle of an act."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from limen import Limen
from tests.revocation.engines import ENGINES, empty_database
from tests.support.gates import ROLES, settings_for


@dataclass(frozen=True)
class Two:
    """Two gates with the same secrets on the same database.

    Attributes:
        here: where the act is done.
        there: another process, as far as it can tell: it knows only what it reads from the database.
    """

    here: Limen
    there: Limen


@pytest.fixture(params=ENGINES)
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    """The two, started, on each engine."""
    with empty_database(request, tmp_path) as stores:
        settings = settings_for(tmp_path, **stores)
        here, there = Limen(settings, roles=ROLES), Limen(settings, roles=ROLES)
        async with here.running(), there.running():
            yield Two(here, there)


class Held:
    """Stands before a store, lets one of its verbs through when it is told to, and passes on everything else.

    Args:
        store: the real one, which does the work.
        verb: which of its verbs is held.
        after: hold what it answered; otherwise hold it before it is asked.
    """

    def __init__(self, store: Any, verb: str, *, after: bool) -> None:
        self._store = store
        self._verb = verb
        self._after = after
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name != self._verb:
            return real

        async def held(*arguments: Any, **named: Any) -> Any:
            answer = await real(*arguments, **named) if self._after else None
            self.arrived.set()
            await self.go_on.wait()
            return answer if self._after else await real(*arguments, **named)

        return held
