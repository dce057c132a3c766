"""Keys rotate under load on two processes and PostgreSQL: nobody is refused, nor by a service elsewhere."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import jwt as pyjwt
import pytest

from limen.core.events import Event, EventName
from limen.features.signing_keys.vault import Vault
from limen.settings import ServerSettings
from limen.storage.sql.postgres import PostgresStorage
from tests.server.conftest import PASSWORD, Server, Start, launch, limen, log_in
from tests.support.processes import until

ROTATIONS = int(os.environ.get("LIMEN_TEST_ROTATIONS", "4"))
"""Twelve are a minute, and more."""
LEAD_SECONDS = 4.0
"""In place of six minutes: longer than every process takes to look, and than a service elsewhere waits between two
fetches. With the time it takes to switch, a key signs for five seconds."""
SESSIONS = 4
ISSUER = "https://auth.example"


@dataclass
class Load:
    """Clients that refresh and ask who they are, until they are told to end.

    Attributes:
        accepted: requests that were let in.
        elsewhere: requests that a service elsewhere let in, by the public keys alone.
        refused: what was answered otherwise.
        kids: the keys that tokens were signed with.
        verified: tokens that PyJWT verified with the public keys.
    """

    server: Server
    other: Server
    accepted: int = 0
    elsewhere: int = 0
    verified: int = 0
    refused: list[str] = field(default_factory=list)
    kids: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, tokens: dict[str, str]) -> None:
        """Be one client."""
        older: list[str] = []
        while not self.ended.is_set():
            # A connection of its own each time: either process may get it.
            with self.server.client() as client:
                answer = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
                if answer.status_code != 200:
                    self.refused.append(answer.text)
                    return
                tokens = answer.json()
            older = [*older[-5:], tokens["access_token"]]
            for token in older:
                with self.server.client(token) as client:
                    self._note(client.get("/auth/me"))
                with self.other.client(token) as client:
                    self.elsewhere += self._note(client.get("/orders"))
            self._verify(tokens["access_token"])

    def _note(self, answer: httpx.Response) -> bool:
        if answer.status_code == 200:
            self.accepted += 1
            return True
        kid = pyjwt.get_unverified_header(answer.request.headers["Authorization"].split()[1])["kid"]
        self.refused.append(f"{time.monotonic():.1f} {answer.request.url} {kid}: {answer.text}")
        return False

    def _verify(self, token: str) -> None:
        with self.server.client() as client:
            keys = pyjwt.PyJWKSet.from_dict(client.get("/.well-known/jwks.json").json())
        kid = pyjwt.get_unverified_header(token)["kid"]
        pyjwt.decode(token, keys[kid], algorithms=["ES256"], audience=ISSUER, issuer=ISSUER)
        self.kids.add(kid)
        self.verified += 1


@pytest.fixture
def server(start: Start, installed: Path, postgres_url: str) -> Server:
    """Two workers on PostgreSQL, with an account, bob."""
    url = {"LIMEN_DATABASE_URL": postgres_url}
    made = limen(
        *("accounts", "create", "bob", "--role", "admin", "--password-stdin", "--env-file", str(installed)),
        folder=installed.parent,
        stdin=PASSWORD,
        **url,
    )
    assert made.returncode == 0, made.stderr
    names = {"LIMEN_ISSUER": ISSUER, "LIMEN_AUDIENCE": ISSUER}
    return start("serve", "--env-file", str(installed), "--workers", "2", **url, **names)


@pytest.fixture
def other(server: Server, tmp_path: Path) -> Iterator[Server]:
    """A service elsewhere, which has the public keys and nothing else."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    program = (sys.executable, Path(__file__).with_name("orders_elsewhere.py"))
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    running = launch(folder, program=program, ORDERS_ISSUER=ISSUER, ORDERS_AUTH=server.address, PYTHONPATH=path)
    yield running
    running.end()


async def rotate(url: str, settings: Path) -> list[str]:
    """Rotate so many times, each as soon as the one before is done; return the ids of the keys in their order."""
    secrets = [secret.get_secret_value() for secret in ServerSettings.load(env_file=settings).data_secrets]
    storage = PostgresStorage(url)
    await storage.start()
    made: list[str] = []
    try:
        for _ in range(ROTATIONS):
            key = Vault(secrets).new("ES256")
            event = Event(EventName.SIGNING_KEY_PUBLISHED, target=key.kid)
            assert await storage.signing_keys.publish(key, event)
            await storage.signing_keys.schedule("ES256", lead_ms=int(LEAD_SECONDS * 1000), event=event)
            made.append(key.kid)
            async with asyncio.timeout(20):
                while (await signs(storage)) != [key.kid]:  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(0.1)
    finally:
        await storage.stop()
    return made


async def signs(storage: PostgresStorage) -> list[str]:
    """Return the keys that sign: there is never more than one, and never none."""
    return [key.kid for key in (await storage.signing_keys.live()).keys if key.state == "signing"]


@pytest.mark.serial
@pytest.mark.timeout(240)
def test_nobody_is_refused_while_keys_rotate(server: Server, other: Server, installed: Path, postgres_url: str) -> None:
    """Every five seconds, while four clients refresh all the time: each key signs, each token is taken everywhere."""
    load = Load(server, other)
    clients = [
        threading.Thread(target=load.run, args=(log_in(server, "bob", PASSWORD),), daemon=True) for _ in range(SESSIONS)
    ]
    for client in clients:
        client.start()
    try:
        made = asyncio.run(rotate(postgres_url, installed))
        assert until(lambda: made[-1] in load.kids, 30)
    finally:
        load.ended.set()
        for client in clients:
            client.join(30)
    assert load.refused == []
    assert load.kids >= set(made)
    assert load.accepted > 100
    assert load.verified > 20
    assert load.elsewhere > 50
