"""Texts that nobody else uses, in every input of every route: in no log, span, metric, mail, error or trail."""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from tests.sso.provider import CLIENT_ID, CLIENT_SECRET, running_provider
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(600)  # a thousand requests to a process that writes down everything
LIMEN: Final = Path(sys.executable).parent / "limen"
PATIENCE: Final = 60.0
ADDRESS: Final = "ada@example.org"
MARK: Final = "canary"


def canary(name: str) -> str:
    """Return a secret that stands nowhere but where it is planted."""
    return f"{MARK}-{name}-{secrets.token_hex(6)}"


SECRET: Final = object()
"""Stands for a canary that is made when it is sent."""

FIELDS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("POST", "/auth/register"): {"username": "eve", "password": SECRET},
    ("POST", "/auth/login"): {"username": "ada", "password": SECRET, "new_password": SECRET},
    ("POST", "/auth/session"): {"username": "ada", "password": SECRET},
    ("POST", "/auth/refresh"): {"refresh_token": SECRET},
    ("POST", "/auth/logout"): {"refresh_token": SECRET},
    ("POST", "/auth/logout-all"): {},
    ("POST", "/auth/password"): {"current_password": SECRET, "new_password": SECRET},
    ("DELETE", "/auth/session"): {},
    ("DELETE", "/auth/me"): {"current_password": SECRET},
    ("POST", "/auth/verify"): {},
    ("PUT", "/auth/verify"): {},
    ("PATCH", "/auth/verify"): {},
    ("DELETE", "/auth/verify"): {},
    ("POST", "/auth/certificate/token"): {},
    ("POST", "/auth/api-keys"): {"name": "a program"},
    ("POST", "/auth/api-keys/{key}/rotate"): {},
    ("POST", "/auth/api-keys/{key}/confirm"): {},
    ("DELETE", "/auth/api-keys/{key}"): {},
    ("DELETE", "/auth/sessions/{id}"): {},
    ("POST", "/auth/sso/exchange"): {"code": SECRET, "code_verifier": SECRET},
    ("POST", "/auth/sso/{provider}/link"): {"current_password": SECRET},
    ("POST", "/auth/sso/{provider}/logout"): {"csrf_token": SECRET},
    ("POST", "/auth/sso/{provider}/backchannel-logout"): {"logout_token": SECRET},
    ("DELETE", "/auth/sso/identities/{id}"): {},
    ("POST", "/auth/password/forgot"): {"email": ADDRESS},
    ("POST", "/auth/password/reset"): {"token": SECRET, "new_password": SECRET},
    ("POST", "/auth/email"): {"email": "other@example.org", "current_password": SECRET},
    ("POST", "/auth/email/verification"): {},
    ("POST", "/auth/email/verify"): {"token": SECRET},
    ("POST", "/approvals/{id}/approve"): {},
    ("POST", "/approvals/{id}/reject"): {"reason": "no"},
    ("POST", "/approvals/{id}/withdraw"): {},
    ("POST", "/admin/api/accounts"): {"username": "carl", "password": SECRET},
    ("PATCH", "/admin/api/accounts/{id}"): {"password": SECRET},
    ("DELETE", "/admin/api/accounts/{id}"): {},
    ("PUT", "/admin/api/roles/{name}"): {"permissions": []},
    ("DELETE", "/admin/api/roles/{name}"): {},
    ("PUT", "/admin/api/accounts/{id}/permissions/{permission}"): {},
    ("DELETE", "/admin/api/accounts/{id}/permissions/{permission}"): {},
    ("PUT", "/admin/api/accounts/{id}/roles/{role}"): {},
    ("DELETE", "/admin/api/accounts/{id}/roles/{role}"): {},
    **{
        ("POST", f"/admin/api/accounts/{{id}}/{act}"): {}
        for act in ("disable", "enable", "block", "unblock", "end-sessions", "start-reset")
    },
    ("POST", "/admin/api/services"): {"name": "robot"},
    ("POST", "/admin/api/services/{id}/certificates"): {"name": "spiffe://example.org/robot"},
    ("DELETE", "/admin/api/services/{id}/certificates/{certificate}"): {},
    ("POST", "/admin/api/services/{id}/disable"): {},
    ("POST", "/admin/api/services/{id}/enable"): {},
    ("POST", "/admin/api/services/{id}/api-keys"): {"name": "a program"},
    ("POST", "/admin/api/services/{id}/api-keys/{key}/rotate"): {},
    ("POST", "/admin/api/services/{id}/api-keys/{key}/confirm"): {},
    ("DELETE", "/admin/api/services/{id}/api-keys/{key}"): {},
}
"""What each route that changes something reads from a body, and which of it is secret."""

QUERIES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            "/auth/sessions",
            "/auth/me/export",
            "/auth/me", "/auth/session", "/auth/ended", "/auth/verify", "/.well-known/jwks.json",
            "/auth/api-keys", "/auth/sso/identities", "/auth/password/reset", "/auth/email/verify", "/healthz",
            "/readyz",
            "/approvals", "/approvals/{id}", "/auth/sso/{provider}/logout",
            "/admin/api/roles", "/admin/api/permissions", "/admin/api/accounts", "/admin/api/events",
            "/admin/api/policies/differences", "/admin/api/services", "/admin/api/roles/{name}",
            "/admin/api/accounts/{id}",
            "/admin/api/accounts/{id}/sessions", "/admin/api/services/{id}", "/admin/api/services/{id}/certificates",
            "/admin/api/services/{id}/api-keys",
        ),
        ("access_token", "token", "password"),
    ),
    "/admin/api/explain": ("account", "permission", "access_token"),
    "/auth/sso/{provider}/login": ("next", "code_challenge"),
    "/auth/sso/{provider}/callback": ("code", "state", "error_description", "iss"),
}  # fmt: skip
"""What each route that only answers reads from its query, or might."""

LAST: Final = ("/auth/session", "/auth/password", "/auth/logout", "/auth/logout-all")
"""What ends credentials."""

HEADERS: Final = (
    "Cookie", "Referer", "X-Api-Key", "Proxy-Authorization", "X-CSRF-Token", "If-Match", "Accept", "Accept-Language",
    "Forwarded", "X-Original-URI", "Client-Cert", "X-Forwarded-Client-Cert", "Sec-Fetch-Site", "Origin", "User-Agent",
    "baggage", "tracestate", "X-Anything",
)  # fmt: skip


class Mailbox:
    """A mail server that asks for a password; what arrives, as it came."""

    def __init__(self, password: str) -> None:
        self.raw: list[bytes] = []
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            auth_require_tls=False,
            authenticator=lambda *given: AuthResult(success=given[-1] == LoginPassword(b"limen", password.encode())),
        )
        self.port = self._controller.port
        self._controller.start()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        return "250 OK"

    def tokens(self) -> list[str]:
        """Return what the links of the mails prove, in the order in which they came."""
        return [
            found[1] for text in self.texts() if (found := re.search(r"https://app\.example/\S+#([\w-]{40,})", text))
        ]

    def texts(self) -> list[str]:
        """Return what the mails say, decoded, with their headers."""
        said = []
        for raw in list(self.raw):
            message = message_from_bytes(raw, policy=default)
            parts = [part.get_content() for part in message.walk() if part.get_content_maintype() == "text"]
            said.append("\n".join([*(f"{name}: {value}" for name, value in message.items()), *map(str, parts)]))
        return said

    def stop(self) -> None:
        """End it."""
        self._controller.stop()


@dataclass
class World:
    """The server, and everything that must be nowhere.

    Attributes:
        never: secrets by what they are.
        answers: every answer so far.
    """

    folder: Path
    metrics: int
    process: "subprocess.Popen[bytes]"
    box: Mailbox
    environment: dict[str, str]
    client: httpx.Client
    never: dict[str, str] = field(default_factory=dict)
    answers: list[httpx.Response] = field(default_factory=list)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Return method and path of each route of limen's that this server has."""
        return [(method, path) for method, path in json.loads((self.folder / "routes.json").read_text())]

    def planted(self, name: str) -> str:
        """Return a new canary, and remember it."""
        made = canary(re.sub(r"[^a-z]", "", name.lower()) or "x")
        self.never[f"{name} {len(self.never)}"] = made
        return made

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send one request; no cookie is kept for the next one."""
        answer = self.client.request(method, path, **more)
        self.client.cookies.clear()
        self.answers.append(answer)
        return answer

    def mailed(self, count: int) -> str:
        """Wait for so many links in mails, and return the token of the last."""
        limit = time.monotonic() + PATIENCE
        while len(self.box.tokens()) < count:
            assert time.monotonic() < limit, (self.box.texts(), self.log[-3000:])
            time.sleep(0.05)
        return self.box.tokens()[count - 1]

    @property
    def log(self) -> str:
        """What the process wrote."""
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def command(self, *arguments: str, **more: str) -> str:
        """Run a command of limen's with the server's settings; return all that it said."""
        done = subprocess.run(
            [LIMEN, *arguments],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a provider and a mail server, and a person with every credential, used."""
    folder = tmp_path_factory.mktemp("canaries")
    with ExitStack() as stack:
        trustme.CA().cert_pem.write_to_path(folder / "ca.pem")
        provider = stack.enter_context(running_provider())
        smtp_password = canary("smtp")
        box = Mailbox(smtp_password)
        stack.callback(box.stop)
        port, metrics = free_port(), free_port()
        own = {
            "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
            "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
            "LIMEN_DATA_SECRETS": secrets.token_urlsafe(48),
            "LIMEN_SSO_CORP_CLIENT_SECRET": CLIENT_SECRET,
        }
        told = {
            **own,
            "LIMEN_DATABASE_URL": f"sqlite:///{folder / 'limen.db'}",
            "LIMEN_BCRYPT_COST": "10",
            "LIMEN_REGISTRATION": "open",
            "LIMEN_PUBLIC_URL": "https://app.example",
            "LIMEN_MAIL_FROM": "limen@app.example",
            "LIMEN_SMTP_URL": f"smtp://limen:{smtp_password}@127.0.0.1:{box.port}",
            "LIMEN_SSO_CORP_ISSUER": provider.issuer,
            "LIMEN_SSO_CORP_CLIENT_ID": CLIENT_ID,
            "LIMEN_SSO_CORP_CREATE": "on",
            "LIMEN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "LIMEN_TRUSTED_PROXIES": "127.0.0.1",
            "LIMEN_CLIENT_CA": str(folder / "ca.pem"),
            "LIMEN_CLIENT_CERT_HEADER": "client-cert",
            "LIMEN_LOGIN_LIMIT": "100000/minute",
            "LIMEN_LOGIN_NETWORK_LIMIT": "100000/minute",
            "LIMEN_METRICS_PORT": str(metrics),
            "LIMEN_LOG_LEVEL": "debug",
            "LIMEN_TRACES": "on",
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMEN_")}
        environment = {**clean, **told, "PYTHONASYNCIODEBUG": "1"}
        output = stack.enter_context((folder / "output.txt").open("wb"))
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("talkative.py")), str(port), str(folder)],
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False)
        )
        made = World(folder, metrics, process, box, environment, client)
        made.never.update({**own, "the password of the mail server": smtp_password})
        limit = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, made.log
            assert time.monotonic() < limit, made.log
            try:
                if made.ask("GET", "/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield made


def tokens_of(world: World, answer: httpx.Response, name: str) -> dict[str, str]:
    """Return what was issued, and remember the secret parts of it."""
    issued = {
        key: value for key, value in answer.json().items() if key in {"access_token", "refresh_token", "csrf_token"}
    }
    for key, value in issued.items():
        world.never[f"{key} of {name}"] = value.rpartition(".")[2]
    for line in answer.headers.get_list("set-cookie"):
        value = line.partition("=")[2].partition(";")[0].strip('"')
        if len(value) > 15:
            world.never[f"a cookie of {name}: {line.partition('=')[0]}"] = value
    return issued


def live_a_life(world: World) -> list[dict[str, str]]:
    """Do what persons do, with every kind of credential; return the headers of each that still lives."""
    first, second, third = (world.planted("password") for _ in range(3))
    assert world.ask("POST", "/auth/register", json={"username": "ada", "password": first}).status_code == 201
    made = world.command("roles", "grant", "ada", "chief")
    issued = tokens_of(world, world.ask("POST", "/auth/login", json={"username": "ada", "password": first}), "a login")
    assert issued, made
    bearer = {"Authorization": f"Bearer {issued['access_token']}"}
    renewed = world.ask("POST", "/auth/refresh", json={"refresh_token": issued["refresh_token"]})
    tokens_of(world, renewed, "a refresh")
    assert renewed.status_code == 200
    changed = world.ask("POST", "/auth/email", json={"email": ADDRESS, "current_password": first}, headers=bearer)
    assert changed.status_code < 300, changed.text
    verified = world.ask("POST", "/auth/email/verify", json={"token": world.mailed(1)})
    assert verified.status_code < 300, verified.text
    assert world.ask("POST", "/auth/password/forgot", json={"email": ADDRESS}).status_code < 300
    reset = world.ask("POST", "/auth/password/reset", json={"token": world.mailed(2), "new_password": second})
    assert reset.status_code < 300, reset.text
    world.never.update({f"a mailed token {number}": token for number, token in enumerate(world.box.tokens())})
    again = tokens_of(world, world.ask("POST", "/auth/login", json={"username": "ada", "password": second}), "another")
    bearer = {"Authorization": f"Bearer {again['access_token']}"}
    body = {"current_password": second, "new_password": third}
    assert world.ask("POST", "/auth/password", json=body, headers=bearer).status_code < 300
    login = world.ask("POST", "/auth/login", json={"username": "ada", "password": third})
    bearer = {"Authorization": f"Bearer {tokens_of(world, login, 'a third')['access_token']}"}
    key = world.ask("POST", "/auth/api-keys", json={"name": "a program"}, headers=bearer)
    assert key.status_code == 201, key.text
    world.never["an API key"] = key.json()["key"].rpartition("_")[2]
    same = {"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    session = world.ask("POST", "/auth/session", json={"username": "ada", "password": third}, headers=same)
    csrf = tokens_of(world, session, "a browser")["csrf_token"]
    cookie = session.headers["set-cookie"].partition(";")[0]
    return [
        {},
        bearer,
        {"X-API-Key": key.json()["key"]},
        {**same, "Cookie": cookie, "X-CSRF-Token": csrf},
        {"Authorization": f"Basic {base64.b64encode(('client:' + world.planted('basic')).encode()).decode()}"},
        {"Authorization": f"Bearer {world.planted('bearer')}"},
        {"Authorization": f"{world.planted('scheme')} {world.planted('credential')}"},
    ]


def come_from_a_provider(world: World) -> None:
    """Log in at the provider, whose code, state and tokens are secrets too."""
    same = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    going = world.ask("GET", "/auth/sso/corp/login", headers=same)
    assert going.status_code == 302, going.text
    asked = dict(parse_qsl(urlsplit(going.headers["location"]).query))
    for name in ("state", "nonce", "code_challenge"):
        world.never[f"{name} of a login at a provider"] = asked[name]
    tokens_of(world, httpx.Response(200, json={}, headers=going.headers), "single sign-on")
    back = world.ask(
        "GET",
        f"/auth/sso/corp/callback?{urlencode({'state': asked['state'], 'code': world.planted('code')})}",
        headers={**same, "Cookie": going.headers["set-cookie"].partition(";")[0]},
    )
    assert back.status_code in {302, 400, 401, 502}, back.text


def plant_everywhere(world: World, credentials: list[dict[str, str]]) -> None:
    """Send canaries to each route: in the path, the query, each header, the body, and in what is no body."""
    for method, path in sorted(world.routes, key=lambda route: route[1] in LAST):
        # What stands in a path is no secret: the name of a role is kept, and told. It is in no number and no span.
        url = re.sub(r"\{[^}]*\}", lambda found: "corp" if "provider" in found[0] else canary("path"), path)
        names = QUERIES.get(path, ()) if method == "GET" else ("access_token", "password")
        query = urlencode({name: world.planted(name) for name in names})
        headers = {name: world.planted(name) for name in HEADERS}
        whoever = credentials[zlib.crc32(f"{method} {path}".encode()) % len(credentials)]
        world.ask(method, f"{url}?{query}", headers=headers)
        world.ask(method, f"{url}?{query}", headers={**whoever, "X-Anything": world.planted("header")})
        if method == "GET":
            continue
        fields = {
            name: world.planted(name) if value is SECRET else value for name, value in FIELDS[method, path].items()
        }
        bodies: list[Any] = [
            fields,
            {**fields, world.planted("unknown"): world.planted("value")},
            {name: [{"value": world.planted(name)}] for name in fields} or [world.planted("list")],
        ]
        for body in bodies:
            world.ask(method, url, json=body, headers=whoever)
        broken = ('{"password": "' + world.planted("broken")).encode()
        world.ask(method, url, content=broken, headers={**whoever, "Content-Type": "application/json"})
        form = urlencode({name: world.planted(name) for name in ("password", "token", *fields)})
        world.ask(method, url, content=form, headers={**whoever, "Content-Type": "application/x-www-form-urlencoded"})
    for text in (world.planted("method").upper(), "TRACE"):
        world.ask(text, "/auth/me", headers={"X-Forwarded-For": world.planted("forwarded")})
    world.ask("GET", f"/{quote(world.planted('nowhere'))}")


@pytest.fixture(scope="module")
def lived(world: World) -> World:
    """The server after everything was sent to it."""
    credentials = live_a_life(world)
    come_from_a_provider(world)
    plant_everywhere(world, credentials)
    return world


def found_in(text: str, world: World) -> list[str]:
    """Return which secrets are in a text, as they are, in lower case, encoded for an address, or as octets."""
    lower = text.lower()
    return [
        name
        for name, secret in world.never.items()
        if secret.lower() in lower or quote(secret, safe="").lower() in lower or secret.encode().hex() in lower
    ]


def test_each_route_has_its_canary(world: World) -> None:
    """Each route is in one of the tables: a new one fails here until it is planted."""
    changing = {(method, path) for method, path in world.routes if method != "GET"}
    answering = {path for method, path in world.routes if method == "GET"}
    assert changing - set(FIELDS) == set()
    assert answering - set(QUERIES) == set()
    assert len(changing) > 50


def test_no_log_and_no_span(lived: World) -> None:
    """With every logger at debug, no canary and no secret is in a line of the log or in a span."""
    spans = (lived.folder / "spans.jsonl").read_text(encoding="utf-8")
    loggers = {json.loads(line)["logger"] for line in lived.log.splitlines() if line.startswith("{")}
    assert len(loggers) > 8
    assert any(not name.startswith("limen") for name in loggers)
    assert "POST /auth/login" in spans
    assert "limen.hash" in spans
    assert found_in(lived.log, lived) == []
    assert found_in(spans, lived) == []
    assert MARK not in spans.lower()
    # Each line that is JSON is one record: nobody has forged one.
    assert not [line for line in lived.log.splitlines() if not line.startswith("{")]


def test_no_metric(lived: World) -> None:
    """None is in the numbers, which are there."""
    text = httpx.get(f"http://127.0.0.1:{lived.metrics}/metrics", trust_env=False).text
    assert 'limen_mails_total{outcome="sent"' in text
    assert found_in(text, lived) == []
    assert MARK not in text.lower()


def test_no_error(lived: World) -> None:
    """No refusal says what was sent, neither in its body nor in a header, and none is an error of the server's."""
    refusals = [answer for answer in lived.answers if answer.status_code >= 400]
    assert len(refusals) > 200
    assert [answer.request.url.path for answer in refusals if answer.status_code == 500] == []
    told = "\n".join(f"{answer.text} {answer.headers.multi_items()}" for answer in refusals)
    assert found_in(told, lived) == []


def test_no_mail_but_its_own(lived: World) -> None:
    """A mail has the token of its own link and no other secret: no password, no other's token."""
    own = {f"a mailed token {number}": token for number, token in enumerate(lived.box.tokens())}
    assert len(own) >= 2
    for text in lived.box.texts():
        mine = {name for name, token in own.items() if token in text}
        assert len(mine) <= 1
        assert set(found_in(text, lived)) <= mine


def test_no_trail(lived: World) -> None:
    """The trail, exported by the command line, tells of what happened and of no secret."""
    exported = lived.command("audit", "export")
    assert '"login_failed"' in exported
    assert '"password_reset"' in exported
    assert found_in(exported, lived) == []


def test_no_command_and_no_list_of_processes(lived: World) -> None:
    """What the command line says of this installation, and of others with passwords in their addresses, tells none."""
    arguments = Path(f"/proc/{lived.process.pid}/cmdline").read_bytes().decode()
    elsewhere = {"LIMEN_DATABASE_URL": f"postgresql://limen:{lived.planted('dsn')}@127.0.0.1:1/limen"}
    valkey = {"LIMEN_SESSION_STORE": "valkey", "LIMEN_VALKEY_URL": f"redis://:{lived.planted('valkey')}@127.0.0.1:1/0"}
    said = [
        lived.command("doctor"),
        lived.command("doctor", "--json"),
        lived.command("doctor", **elsewhere),
        lived.command("doctor", **valkey),
        lived.command("accounts", "list"),
        lived.command("--debug", "accounts", "list", **elsewhere),
    ]
    assert all(said)
    for text in (arguments, *said):
        assert found_in(text, lived) == []
