"""The orders example in this process, on databases of its own, with people who really log in."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager

from examples.orders import POLICIES, ROLES, Database, create_app
from limen import Limen, Settings

PASSWORD = "a long enough pass phrase"


class Person(httpx.AsyncClient):
    """A client that sends somebody's access token.

    Attributes:
        sub: the account's id.
    """

    sub: str = ""

    async def order(self, item: str = "an oak threshold", amount: float = 120) -> str:
        """Make an order and return its id."""
        made = await self.post("/orders", json={"item": item, "amount": amount})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


class Shop:
    """The running example."""

    def __init__(self, gate: Limen, transport: httpx.ASGITransport) -> None:
        self.gate = gate
        self.transport = transport

    async def person(self, name: str, *roles: str) -> Person:
        """Make an account with these roles, log in, and return its client."""
        account = await self.gate.accounts.create(name, PASSWORD, roles=frozenset(roles))
        someone = self.stranger()
        answer = await someone.post("/auth/login", json={"username": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        someone.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        someone.sub = account.id
        return someone

    def stranger(self) -> Person:
        """Return a client without a token."""
        return Person(transport=self.transport, base_url="http://shop.example")

    async def assigned(self, maker: Person, checker: str, boss: Person) -> str:
        """Make an order that somebody is to check, and return its id."""
        order = await maker.order()
        answer = await boss.put(f"/orders/{order}/checker", json={"username": checker})
        assert answer.status_code == 200, answer.text
        return order


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """The running example, with empty databases."""
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'limen.db'}",
        jwt_access_secret=secrets.token_urlsafe(48),
        jwt_refresh_secret=secrets.token_urlsafe(48),
        data_secrets=secrets.token_urlsafe(48),
        bcrypt_cost=10,
    )
    gate = Limen(settings, roles=ROLES, policies=POLICIES)
    app = create_app(gate, Database(tmp_path / "orders.db"))
    async with LifespanManager(app) as running:
        yield Shop(gate, httpx.ASGITransport(running.app))
