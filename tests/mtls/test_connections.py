"""Certificates on real TLS connections to a real uvicorn, with both of its HTTP protocols and with WebSockets."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
import websockets.exceptions
from starlette.applications import Starlette

from limen import Limen
from limen.features.accounts.service import AccountView
from tests.gateways.proxies import listens
from tests.mtls.authority import CLIENT, DAY, SERVER, Authority, Made, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.served import application, served
from tests.support.gates import gate_for
from tests.support.ports import free_port
from tests.support.processes import until

PROTOCOLS = {
    "h11": "limen.server.tls:H11ClientCertificateProtocol",
    "httptools": "limen.server.tls:HttpToolsClientCertificateProtocol",
}
SOCKETS = ["auto", "websockets-sansio"]


@pytest.fixture(params=PROTOCOLS)
def http(request: pytest.FixtureRequest) -> str:
    """The import path of one of the two protocols."""
    return PROTOCOLS[request.param]


@pytest.fixture
async def guarded(tmp_path: Path, authorities: Path) -> tuple[Starlette, AccountView]:
    """An application, and a service that it knows."""
    gate: Limen = gate_for(tmp_path, client_ca=authorities)
    async with gate.running():
        account = await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
    return application(gate), account


class Caller:
    """Calls a server by one connection after another."""

    def __init__(self, authority: Authority, folder: Path, port: int) -> None:
        self._authority = authority
        self._folder = folder
        self.port = port

    def context(self, made: Made | None = None, *chain: Made) -> ssl.SSLContext:
        """Return the context of a client that has this certificate."""
        return self._authority.trusting(made, *chain, folder=self._folder)

    def client(self, made: Made | None = None, *chain: Made, **headers: str) -> httpx.Client:
        """Return a client that has this certificate."""
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            verify=self.context(made, *chain),
            headers=headers,
            trust_env=False,
            timeout=20,
        )

    def get(self, path: str, made: Made | None = None, *chain: Made, **headers: str) -> httpx.Response:
        """Ask once."""
        with self.client(made, *chain, **headers) as client:
            return client.get(path)


@pytest.fixture
def caller(guarded: tuple[Starlette, AccountView], authority: Authority, tmp_path: Path, http: str) -> Iterator[Caller]:
    """Somebody who calls the application."""
    with served(guarded[0], authority, tmp_path, http=http) as port:
        yield Caller(authority, tmp_path, port)


def test_who_it_is(caller: Caller, guarded: tuple[Starlette, AccountView], authority: Authority) -> None:
    """The service; without a certificate, and with one of nobody's, 401 with a code."""
    made = authority.client(uri(SPIFFE))
    with caller.client(made) as client:
        for _ in range(3):
            assert client.get("/who").json() == {"sub": guarded[1].id, "amr": ["mtls"]}
    assert caller.get("/who").json()["code"] == "credential_missing"
    assert caller.get("/who", authority.client(dns("nobody.example"))).json()["code"] == "certificate_invalid"


def test_the_extension_is_that_of_the_specification(caller: Caller, authority: Authority) -> None:
    """The ASGI TLS extension 0.2: each member is there, of its type, whether there is a certificate or not."""
    made = authority.client(uri(SPIFFE))
    told = caller.get("/tls", made).json()
    assert told.keys() == {
        "server_cert", "client_cert_chain", "client_cert_name", "client_cert_error", "tls_version", "cipher_suite"
    }  # fmt: skip
    assert told["client_cert_chain"] == [made.pem]
    assert (told["client_cert_name"], told["client_cert_error"]) == ("CN=client", None)
    assert told["tls_version"] in {0x0303, 0x0304}
    assert 0 < told["cipher_suite"] <= 0xFFFF
    without = caller.get("/tls").json()
    assert (without["client_cert_chain"], without["client_cert_name"]) == ([], None)


def test_headers_say_nothing(caller: Caller, authority: Authority) -> None:
    """Whatever a client sends in headers of proxies, no certificate comes of it (R123)."""
    import base64
    from urllib.parse import quote

    made = authority.client(uri(SPIFFE))
    forged: dict[str, Any] = {
        "Client-Cert": f":{base64.b64encode(made.der).decode()}:",
        "X-Client-Cert": quote(made.pem),
        "X-SSL-Client-Cert": quote(made.pem, safe=""),
        "X-SSL-Client-Verify": "SUCCESS",
        "X-Forwarded-Client-Cert": f'Cert="{quote(made.pem, safe="")}"',
    }
    assert caller.get("/who", **forged).json()["code"] == "credential_missing"


def test_extra_certificates_in_the_chain(
    caller: Caller, guarded: tuple[Starlette, AccountView], authority: Authority
) -> None:
    """A client that sends another client's certificate beside its own is itself and nobody else (CVE-2023-2422)."""
    billing = authority.client(uri(SPIFFE))
    thief = authority.client(dns("thief.example"))
    assert caller.get("/who", thief, billing).json()["code"] == "certificate_invalid"
    assert caller.get("/who", billing, thief).json()["sub"] == guarded[1].id
    below = authority.make(thief, "client", [uri(SPIFFE)])
    with pytest.raises(httpx.TransportError):
        caller.get("/who", below, thief)


def test_by_way_of_another_authority(
    caller: Caller, guarded: tuple[Starlette, AccountView], authority: Authority
) -> None:
    """A chain that the client sends whole."""
    between = authority.make(authority.root, "between", ca=True, signs=True, usages=None)
    made = authority.make(between, "client", [uri(SPIFFE)])
    assert caller.get("/who", made, between).json()["sub"] == guarded[1].id
    with pytest.raises(httpx.TransportError):
        caller.get("/who", made)


@pytest.mark.parametrize("what", ["another authority's", "its own", "over", "not yet", "for servers"])
def test_handshakes_that_fail(caller: Caller, authority: Authority, stranger: Authority, what: str) -> None:
    """OpenSSL ends them: no request is ever read of a connection whose certificate is wrong."""
    made = {
        "another authority's": lambda: stranger.client(uri(SPIFFE)),
        "its own": lambda: authority.make(None, "client", [uri(SPIFFE)]),
        "over": lambda: authority.client(uri(SPIFFE), begins=-2 * DAY, ends=-DAY),
        "not yet": lambda: authority.client(uri(SPIFFE), begins=DAY, ends=2 * DAY),
        "for servers": lambda: authority.client(uri(SPIFFE), usages=(SERVER,)),
    }[what]()
    with pytest.raises(httpx.TransportError):
        caller.get("/who", made)
    with pytest.raises(httpx.TransportError):
        caller.get("/tls", made)


@pytest.mark.parametrize("what", ["without usage", "an authority"])
def test_handshakes_that_openssl_lets_through(caller: Caller, authority: Authority, what: str) -> None:
    """Where OpenSSL is content, limen is not: without clientAuth, or an authority's own, it is nobody's."""
    made = {
        "without usage": lambda: authority.client(uri(SPIFFE), usages=None),
        "an authority": lambda: authority.client(uri(SPIFFE), ca=True, usages=(CLIENT,)),
    }[what]()
    assert caller.get("/who", made).json()["code"] == "certificate_invalid"


def test_a_bound_token_and_this_very_connection(
    caller: Caller, guarded: tuple[Starlette, AccountView], authority: Authority
) -> None:
    """Right on a connection with its certificate, also a new one; on any other token_invalid (RFC 8705, section 3)."""
    made, other = authority.client(uri(SPIFFE)), authority.client(uri(SPIFFE))
    with caller.client(made) as client:
        answer = client.post("/auth/certificate/token")
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["token_type"] == "Bearer"
        assert "refresh_token" not in answer.json()
        token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert client.get("/who", headers=token).json()["sub"] == guarded[1].id
        again = client.post("/auth/certificate/token", headers=token)
        assert (again.status_code, again.json()["code"]) == (401, "certificate_required")
    for _ in range(2):
        assert caller.get("/who", made, **token).json()["sub"] == guarded[1].id
        for wrong in (None, other):
            refused = caller.get("/who", wrong, **token)
            assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    with caller.client() as nobody:
        assert nobody.post("/auth/certificate/token").json()["code"] == "credential_missing"


@pytest.mark.parametrize("ws", SOCKETS)
def test_websockets(
    guarded: tuple[Starlette, AccountView], authority: Authority, tmp_path: Path, http: str, ws: str
) -> None:
    """The handshake of a socket is attributed as a request is, and nobody else gets one."""
    made = authority.client(uri(SPIFFE))
    with served(guarded[0], authority, tmp_path, http=http, ws=ws) as port:
        caller = Caller(authority, tmp_path, port)

        async def first_words(context: ssl.SSLContext) -> Any:
            address = f"wss://127.0.0.1:{port}/socket"
            async with websockets.connect(address, ssl=context, proxy=None) as socket:
                return json.loads(await socket.recv())

        assert asyncio.run(first_words(caller.context(made))) == {"sub": guarded[1].id}
        for wrong in (None, authority.client(dns("nobody.example"))):
            with pytest.raises(websockets.exceptions.InvalidStatus, match="401"):
                asyncio.run(first_words(caller.context(wrong)))


def test_a_required_certificate(
    guarded: tuple[Starlette, AccountView], authority: Authority, tmp_path: Path, http: str
) -> None:
    """Where the handshake requires one, nobody without one is ever read."""
    with served(guarded[0], authority, tmp_path, http=http, ssl_cert_reqs=ssl.CERT_REQUIRED) as port:
        caller = Caller(authority, tmp_path, port)
        assert caller.get("/who", authority.client(uri(SPIFFE))).json()["sub"] == guarded[1].id
        with pytest.raises(httpx.TransportError):
            caller.get("/tls")


def test_uvicorns_own_protocol_tells_nothing(
    guarded: tuple[Starlette, AccountView], authority: Authority, tmp_path: Path
) -> None:
    """What it is for: with uvicorn's own the certificate is verified and forgotten, and nobody gets in."""
    with served(guarded[0], authority, tmp_path, http="h11") as port:
        caller = Caller(authority, tmp_path, port)
        assert caller.get("/who", authority.client(uri(SPIFFE))).json()["code"] == "credential_missing"


SHOP = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(scope["extensions"]["tls"]).encode()})
"""


def test_by_uvicorns_command_line(authority: Authority, tmp_path: Path) -> None:
    """The line of the guide: uvicorn takes the protocol by its name."""
    (tmp_path / "shop.py").write_text(SHOP)
    certificate, key = authority.server().files(tmp_path, "server")
    clients = tmp_path / "authorities.pem"
    clients.write_text(authority.root.pem)
    port, made = free_port(), authority.client(uri(SPIFFE))
    line = (
        f"shop:app --port {port} --http limen.server.tls:ClientCertificateProtocol --ssl-certfile {certificate}"
        f" --ssl-keyfile {key} --ssl-ca-certs {clients} --ssl-cert-reqs 1"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *line.split()], cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        assert until(lambda: listens(port), 30), (tmp_path / "log").read_text()
        caller = Caller(authority, tmp_path, port)
        assert caller.get("/", made).json()["client_cert_chain"] == [made.pem]
        assert caller.get("/").json()["client_cert_chain"] == []
    finally:
        process.terminate()
        process.wait(30)
