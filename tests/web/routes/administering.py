"""Gates with administrators of several kinds, and clients that act as them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import NOWHERE
from limen.features.accounts.service import AccountView
from tests.support.gates import PASSWORD

ADDRESS = "192.0.2.9"

ROLES: Mapping[str, Iterable[str]] = {
    "chief": [
        "accounts:read",
        "accounts:write",
        "accounts:delete",
        "sessions:end",
        "roles:read",
        "roles:write",
        "roles:assign",
        "events:read",
        "order:create",
    ],
    # Looks after accounts, and holds what a maker holds, but cannot grant.
    "clerk": ["accounts:read", "accounts:write", "accounts:delete", "sessions:end", "order:create"],
    "reader": ["accounts:read"],
    "auditor": ["events:read"],
    "watcher": ["sessions:watch"],
    "maker": ["order:create"],
    "checker": ["order:approve"],
}


@dataclass
class Somebody:
    """An account, and a client that acts as it."""

    account: AccountView
    tokens: dict[str, Any]
    client: TestClient

    @property
    def id(self) -> str:
        """The account's id."""
        return self.account.id

    def send(self, method: str, path: str, **arguments: Any) -> Response:
        """Send a request with the access token."""
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return self.client.request(method, path, headers=headers, **arguments)

    def refresh(self) -> Response:
        """Refresh, and go on with the new tokens where there are any."""
        answer = self.client.post("/auth/refresh", json={"refresh_token": self.tokens["refresh_token"]})
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer


def run(client: TestClient, work: Any, *arguments: Any) -> Any:
    """Run a coroutine function in the loop of the application."""
    assert client.portal is not None
    return client.portal.call(work, *arguments)


def somebody(gate: Limen, client: TestClient, name: str, *roles: str) -> Somebody:
    """Make an account with these roles and log in."""

    async def make() -> AccountView:
        return await gate.accounts.create(name, PASSWORD, email=f"{name}@example.test", roles=frozenset(roles))

    account = run(client, make)
    answer = client.post("/auth/login", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Somebody(account, answer.json(), client)


def records(gate: Limen, client: TestClient, name: str) -> list[Any]:
    """Return the records of one event."""

    async def read() -> list[Any]:
        return [record for record in await gate.storage.events(limit=10_000) if record.event == name]

    found: list[Any] = run(client, read)
    return found


__all__ = ["ADDRESS", "NOWHERE", "PASSWORD", "ROLES", "Somebody", "records", "run", "somebody"]
