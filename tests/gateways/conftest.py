"""limen as ``limen serve`` runs it, a service that notes what reaches it, and a gateway between them and the world."""

import asyncio
import http.client
import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from limen import Limen, Settings
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from tests.gateways.proxies import KINDS, Lacking, listens, running
from tests.support.gates import PASSWORD
from tests.support.ports import free_port
from tests.support.processes import uncounted, until

ISSUER = "https://id.example"
ROLES = {"maker": ["order:create", "order:read"], "checker": ["order:read", "order:approve"]}
PEOPLE = {"mia": ["maker"], "carl": ["checker"], "norma": []}


@dataclass
class Seen:
    """What reached the service."""

    method: str
    path: str
    headers: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """Return the values of a header under any spelling that a service could take for it."""
        wanted = name.lower().replace("_", "-")
        return [value for each, value in self.headers if each.lower().replace("_", "-") == wanted]


@dataclass
class Service:
    """A service behind a gateway.

    Attributes:
        port: on 127.0.0.1.
        seen: every request that reached it, in order.
    """

    port: int
    seen: list[Seen] = field(default_factory=list)


@pytest.fixture(scope="package")
def behind() -> Iterator[Service]:
    """A service that answers everything, and notes it."""
    service = Service(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.seen.append(Seen(self.command, self.path, list(self.headers.items())))
            content = b"reached " + body
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815 - the library looks for these

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield service
    server.shutdown()
    server.server_close()


@dataclass
class Installation:
    """A running limen.

    Attributes:
        port: on 127.0.0.1.
        key: an API key of a service that is a maker.
        service_id: the account of that service.
    """

    port: int
    key: str
    service_id: str


@pytest.fixture(scope="package")
def limen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """``limen serve``, with accounts in it, that trusts the gateways of this machine."""
    folder = tmp_path_factory.mktemp("limen")
    told = {
        "database_url": f"sqlite:///{folder / 'limen.db'}",
        "jwt_access_secret": secrets.token_urlsafe(48),
        "jwt_refresh_secret": secrets.token_urlsafe(48),
        "data_secrets": secrets.token_urlsafe(48),
        "bcrypt_cost": "10",
        "issuer": ISSUER,
        "trusted_proxies": "127.0.0.1",
    }
    service_id, key = asyncio.run(_fill(Settings.load(signing_alg="ES256", **told)))
    port = free_port()
    environment = uncounted() | {f"LIMEN_{name.upper()}": value for name, value in told.items()}
    command = [sys.executable, "-m", "limen.cli", "serve", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        assert until(lambda: process.poll() is not None or listens(port), 30), "limen does not start"
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")[-2000:]
        yield Installation(port, key, service_id)
    finally:
        process.terminate()
        process.wait(20)


async def _fill(settings: Settings) -> tuple[str, str]:
    gate = Limen(settings, default_roles=ROLES)
    async with gate.running():
        for name, roles in PEOPLE.items():
            account = await gate.accounts.create(name, PASSWORD)
            if roles:
                await gate.roles.grant(OPERATOR, account.id, roles)
        assert gate.api_keys is not None
        service = await gate.api_keys.services.create(OPERATOR, "billing", roles=frozenset({"maker"}))
        return service.id, (await gate.api_keys.service.create_for(OPERATOR, service.id, Wanted("k"))).key


@dataclass
class Answer:
    """An answer of a gateway."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Gateway:
    """A gateway, limen and a service behind it."""

    kind: str
    port: int
    limen: Installation
    service: Service

    def ask(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        port: int | None = None,
    ) -> Answer:
        """Send exactly these bytes as method, path and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers or []:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            cookies = tuple(each.partition(";")[0] for each in answer.headers.get_all("Set-Cookie", ()))
            return Answer(answer.status, told, answer.read(), cookies)
        finally:
            connection.close()

    def reached(
        self, method: str, path: str, headers: list[tuple[str, str]] | None = None, body: bytes | None = None
    ) -> tuple[Answer, list[Seen]]:
        """Ask, and return the answer with what reached the service meanwhile."""
        before = len(self.service.seen)
        answer = self.ask(method, path, headers, body)
        return answer, self.service.seen[before:]

    def token(self, name: str) -> list[tuple[str, str]]:
        """Log somebody in through the gateway; return the header that carries their access token."""
        body = json.dumps({"username": name, "password": PASSWORD}).encode()
        answer = self.ask("POST", "/auth/login", [("Content-Type", "application/json")], body)
        assert answer.status == 200, answer.body
        return [("Authorization", f"Bearer {answer.json['access_token']}")]


@pytest.fixture(scope="package", params=list(KINDS))
def gateway(request: pytest.FixtureRequest, limen: Installation, behind: Service) -> Iterator[Gateway]:
    """Each gateway, with its configuration from ``deploy``."""
    kind = str(request.param)
    try:
        with running(kind, limen=limen.port, service=behind.port) as port:
            yield Gateway(kind, port, limen, behind)
    except Lacking as error:
        pytest.skip(str(error))
