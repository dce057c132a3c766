"""A real SMTP server, and an outbox on a real database."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from limen.core.events import Event, EventName
from limen.core.ids import uuid7
from limen.core.mails import MailKind, MailTransport, NewMail
from limen.features.mail.service import MailService
from limen.features.mail.texts import Templates
from limen.storage import SQLiteStorage

RECIPIENT = "ada@example.org"
LOGIN = LoginPassword(b"limen", b"the password of the mail server")


@dataclass
class Sink:
    """What arrives at the server, and what it answers."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    port: int = 0

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:
        """Take a recipient, unless told otherwise."""
        answer = self.answers.get("RCPT", "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        """Take a mail, unless told otherwise."""
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.envelopes.append(envelope)
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.mails.append(message)
        return answer


@asynccontextmanager
async def serving(
    sink: Sink, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: bool = False
) -> AsyncIterator[Sink]:
    """A server at a port that the system chose; the sink learns which."""

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: object) -> AuthResult:
        return AuthResult(success=data == LOGIN, handled=data == LOGIN)

    connections: list[tuple[asyncio.WriteTransport, Any]] = []

    class Remembering(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.WriteTransport)
            connections.append((transport, transport.get_extra_info("socket")))
            super().connection_made(transport)

    def make() -> SMTP:
        return Remembering(
            sink,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=login,
            authenticator=authenticate,
            auth_require_tls=True,
            enable_SMTPUTF8=True,
        )

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        for transport, _ in connections:
            transport.abort()
        for _, connection in connections:
            for _ in range(3000):
                if connection.fileno() == -1:
                    break
                await asyncio.sleep(0.02)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """A server without TLS, as one on this machine may be."""
    async with serving(Sink()) as sink:
        yield sink


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that this process trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


def context_of(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    """The context of a server whose certificate the authority made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The database's clock, and the one of the mails."""
    return Clock()


@pytest.fixture
async def storage(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteStorage]:
    """A started storage."""
    storage = SQLiteStorage(tmp_path / "limen.db", clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


Making = Callable[..., MailService]


@pytest.fixture
def making(storage: SQLiteStorage, clock: Clock) -> Making:
    """Makes the service for a transport."""

    def make(transport: MailTransport, templates: Templates | None = None) -> MailService:
        words = templates or Templates()
        sender = "App <no-reply@app.example>"
        return MailService(storage.mails, transport, words, sender=sender, service="app.example", clock=clock)

    return make


async def queued(mail: MailService, **changes: Any) -> NewMail:
    """Queue a mail that needs no proof."""
    values = {
        "id": uuid7(),
        "kind": MailKind.PASSWORD_CHANGED.value,
        "recipient": RECIPIENT,
        "account_id": None,
        "lifetime_ms": 3 * 86_400_000,
        "data": {"time": "2027-01-15 08:00 UTC", "address": "192.0.2.7", "user_agent": "<b>browser</b>"},
        **changes,
    }
    new = NewMail(**values)
    await mail.queue(new, Event(EventName.PASSWORD_CHANGED))
    return new
