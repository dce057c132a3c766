"""An application with accounts of every kind, whose passwords cost so little that all else shows."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from limen import Limen
from limen.crypto.passwords import PasswordHasher
from limen.features.accounts.service import AccountView
from tests.support.gates import PASSWORD, ROLES, settings_for

CHEAP = PasswordHasher(bcrypt_cost=4)


class NoDummy(PasswordHasher):
    """What a hasher would be that does nothing for a name that nobody has."""

    def _spend(self, password: bytes) -> None:
        """Do nothing."""


class Box:
    """Takes mails and forgets them."""

    async def send(self, message: Any) -> None:
        """Take one."""


@dataclass
class World:
    """The application, and who is there."""

    gate: Limen
    app: Starlette
    people: dict[str, list[AccountView]] = field(default_factory=dict)

    async def add(self, kind: str, number: int, *, password: str | None = PASSWORD, email: bool = True) -> None:
        """Make so many accounts of a kind; of those with an address it is unverified."""
        self.people[kind] = [
            await self.gate.accounts.create(
                f"{kind}-{each:04}", password, email=f"{kind}-{each:04}@example.org" if email else None
            )
            for each in range(number)
        ]

    def hash_with(self, hasher: PasswordHasher) -> None:
        """Hash by another hasher from now on: no setting goes below a cost that takes its time."""
        self.gate.accounts._hasher = hasher


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All of it, on SQLite."""
    settings = settings_for(
        tmp_path,
        public_url="https://app.example",
        mail_from="App <no-reply@app.example>",
        login_limit="50/10 days",
        register_limit="1000000/day",
    )
    gate = Limen(settings, roles=ROLES, mail=Box())
    app = Starlette()
    gate.protect(app)
    async with gate.running():
        made = World(gate, app)
        made.hash_with(CHEAP)
        yield made
