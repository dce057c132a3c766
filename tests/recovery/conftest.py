"""A protected application that sends mails, a client of it, and the box that they arrive in."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from tests.support.gates import PASSWORD, settings_for

PUBLIC_URL = "https://app.example/base"
ADDRESS = "ada@example.org"
NEW_PASSWORD = "another battery, another horse"
ROLES = {
    "chief": [*ADMINISTRATION],
    "clerk": ["accounts:read", "accounts:write"],
    "maker": ["order:create", "api-keys:own"],
}
PATIENCE = 60.0


class Box:
    """Where mails arrive; `failing` is raised in their place. Notices of new devices lie apart."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.devices: list[EmailMessage] = []
        self.failing: Exception | None = None
        self._lock = threading.Lock()

    async def send(self, message: EmailMessage) -> None:
        """Take a mail."""
        if self.failing is not None:
            raise self.failing
        with self._lock:
            is_of_device = str(message["Subject"]).startswith("A login on a new device")
            (self.devices if is_of_device else self.mails).append(message)


@dataclass
class World:
    """The application, and what happens around it."""

    gate: Limen
    client: TestClient
    box: Box
    met: int = field(default=0)

    def call(self, work: Any, *arguments: Any) -> Any:
        """Run a coroutine function in the application's loop."""
        assert self.client.portal is not None
        return self.client.portal.call(work, *arguments)

    def mails(self, count: int = 1) -> list[EmailMessage]:
        """Wait for so many further mails, and return them; what is queued is sent by then."""
        assert self.gate.mail is not None
        limit = time.monotonic() + PATIENCE
        while True:
            self.call(self.gate.mail.work)
            if len(self.box.mails) >= self.met + count or time.monotonic() > limit:
                break
            time.sleep(0.02)
        fresh = self.box.mails[self.met :]
        assert len(fresh) == count, [mail["Subject"] for mail in fresh]
        self.met += count
        return fresh

    def token(self) -> str:
        """Wait for a mail, and return what its link proves."""
        [mail] = self.mails()
        return token_of(mail)

    def register(self, username: str = "ada", email: str | None = ADDRESS, *, verify: bool = True) -> None:
        """Make an account, and verify its address."""
        body = {"username": username, "password": PASSWORD, **({} if email is None else {"email": email})}
        assert self.client.post("/auth/register", json=body).status_code == 201
        if email is not None:
            token = self.token()
            if verify:
                assert self.client.post("/auth/email/verify", json={"token": token}).status_code == 204

    def login(self, username: str = "ada", password: str = PASSWORD) -> Response:
        """Log in."""
        return self.client.post("/auth/login", json={"username": username, "password": password})

    def bearer(self, username: str = "ada", password: str = PASSWORD) -> dict[str, str]:
        """Log in, and return the header that carries the token."""
        return {"Authorization": f"Bearer {self.login(username, password).json()['access_token']}"}

    def forgot(self, email: str = ADDRESS, **more: Any) -> Response:
        """Say that the password is forgotten."""
        return self.client.post("/auth/password/forgot", json={"email": email}, **more)

    def reset(self, token: str, password: str = NEW_PASSWORD) -> Response:
        """Choose another one."""
        return self.client.post("/auth/password/reset", json={"token": token, "new_password": password})

    def events(self) -> list[str]:
        """Return the names of all records."""
        return [each.event for each in self.call(self.gate.storage.events)]


def link_in(mail: EmailMessage) -> str:
    """Return the link in a mail: the same in text and HTML."""
    found = []
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None
        found += re.findall(r"https?://[^\s\"<]+", body.get_content())
    assert len(set(found)) == 1
    return str(found[0])


def token_of(mail: EmailMessage) -> str:
    """Return what the link of a mail proves."""
    return link_in(mail).partition("#")[2]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """All of it."""
    box = Box()
    settings = settings_for(tmp_path, public_url=PUBLIC_URL, mail_from="App <no-reply@app.example>")
    gate = Limen(settings, roles=ROLES, mail=box)
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app, base_url="https://app.example") as client:
        yield World(gate, client, box)
