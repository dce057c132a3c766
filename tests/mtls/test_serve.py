"""``limen serve`` speaking TLS itself: what it asks of its files, of clients, and of handshakes that lead nowhere."""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from limen.core.errors import ConfigurationError
from limen.server.head_deadline import HeadLimits, Heads
from limen.server.tls_context import Handshakes, server_context
from limen.settings import Settings
from tests.mtls.authority import Authority, uri
from tests.mtls.conftest import SPIFFE
from tests.server.conftest import ENDS_WITHIN_SECONDS, LIMEN, READY_WITHIN_SECONDS, environment, limen
from tests.support.gates import settings_for
from tests.support.postgres import Databases
from tests.support.waiting import PATIENCE, until


@contextlib.contextmanager
def serving(folder: Path, *options: str, database: str | None = None, **more: str) -> Iterator[str]:
    """Run ``limen serve`` with a service «billing»; yield its address."""
    told = {
        "LIMEN_DATABASE_URL": database or f"sqlite:///{folder / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_DATA_SECRETS": secrets.token_urlsafe(48),
        **more,
    }
    for command in (("services", "create", "billing"), ("certificates", "add", "billing", "--uri", SPIFFE)):
        done = limen(*command, folder=folder, **told)
        assert done.returncode == 0, done.stderr
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        process = subprocess.Popen(
            [LIMEN, "serve", "--port", "0", "--json", *options],
            cwd=folder,
            env=environment(**told),
            stdout=out,
            stderr=err,
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not (folder / "out.txt").read_text().endswith("}\n"):
            assert process.poll() is None, (folder / "err.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield str(json.loads((folder / "out.txt").read_text())["address"])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN_SECONDS) == 0, (folder / "err.txt").read_text()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> tuple[str, ...]:
    """The options that name the server's certificate and key, and the authority of clients."""
    certificate, key = authority.server().files(tmp_path, "server")
    clients = tmp_path / "authorities.pem"
    clients.write_text(authority.root.pem)
    return "--tls-cert", str(certificate), "--tls-key", str(key), "--client-ca", str(clients)


def client(address: str, context: ssl.SSLContext) -> httpx.Client:
    """Return a client with this context."""
    return httpx.Client(base_url=address, verify=context, trust_env=False, timeout=20)


def test_it_serves(files: tuple[str, ...], authority: Authority, tmp_path: Path) -> None:
    """HTTPS by its address; a service gets in and gets a token; people log in without a certificate; it ends well."""
    made = authority.client(uri(SPIFFE))
    with serving(tmp_path, *files) as address:
        assert address.startswith("https://")
        with client(address, authority.trusting(made, folder=tmp_path)) as service:
            me = service.get("/auth/me").json()
            assert (me["username"], me["kind"], me["amr"]) == ("billing", "service", ["mtls"])
            token = service.post("/auth/certificate/token").json()["access_token"]
            assert service.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).json()["sub"] == me["sub"]
        with client(address, authority.trusting(folder=tmp_path)) as anybody:
            assert anybody.get("/readyz").json() == {"status": "ready"}
            refused = anybody.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
            assert refused.json()["code"] == "token_invalid"
        with pytest.raises(httpx.TransportError), httpx.Client(trust_env=False) as plain:
            plain.get(address.replace("https:", "http:") + "/healthz")


def test_a_required_certificate(files: tuple[str, ...], authority: Authority, tmp_path: Path) -> None:
    """Without one there is no request at all, not even for health."""
    with serving(tmp_path, *files, "--client-cert-mode", "required") as address:
        with client(address, authority.trusting(authority.client(uri(SPIFFE)), folder=tmp_path)) as service:
            assert service.get("/auth/me").json()["username"] == "billing"
        with pytest.raises(httpx.TransportError), client(address, authority.trusting(folder=tmp_path)) as anybody:
            anybody.get("/healthz")


def test_workers(files: tuple[str, ...], authority: Authority, tmp_path: Path, postgres: Databases) -> None:
    """Each of several processes speaks TLS; a token of one is believed by the other, on connections of its client."""
    made = authority.client(uri(SPIFFE))
    with serving(tmp_path, *files, "--workers", "2", database=postgres.create()) as address:
        assert address.startswith("https://")
        context, other = authority.trusting(made, folder=tmp_path), authority.trusting(folder=tmp_path)
        with client(address, context) as first:
            token = {"Authorization": f"Bearer {first.post('/auth/certificate/token').json()['access_token']}"}
        codes = set()
        for _ in range(12):
            with client(address, context) as each, client(address, other) as stranger:
                assert each.get("/auth/me", headers=token).json()["username"] == "billing"
                codes.add(stranger.get("/auth/me", headers=token).json()["code"])
        assert codes == {"token_invalid"}


def settings_with(folder: Path, authority: Authority, **changes: object) -> Settings:
    """Make the settings of a server with right files, but for the changes."""
    certificate, key = authority.server().files(folder, "server")
    clients = folder / "authorities.pem"
    clients.write_text(authority.root.pem)
    return settings_for(folder, **{"tls_cert": certificate, "tls_key": key, "client_ca": clients, **changes})


def test_the_context(authority: Authority, tmp_path: Path) -> None:
    """TLS 1.2 or newer, no renegotiation, no compression; certificates of clients as the mode says."""
    context = server_context(settings_with(tmp_path, authority))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.verify_mode is ssl.CERT_OPTIONAL
    required = server_context(settings_with(tmp_path, authority, client_cert_mode="required"))
    assert required is not None
    assert required.verify_mode is ssl.CERT_REQUIRED
    without = server_context(settings_with(tmp_path, authority, client_ca=None))
    assert without is not None
    assert without.verify_mode is ssl.CERT_NONE
    assert server_context(settings_for(tmp_path)) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read(authority: Authority, tmp_path: Path, mode: int) -> None:
    """It is refused before it is used: whoever read it can be this server."""
    settings = settings_with(tmp_path, authority)
    assert settings.tls_key is not None
    settings.tls_key.chmod(mode)
    with pytest.raises(ConfigurationError, match="others can read"):
        server_context(settings)


def test_files_that_cannot_be_used(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    """Missing, a folder, another key, encrypted, no certificate: a sentence that names the setting, and no start."""
    other = tmp_path / "other"
    other.mkdir()
    _, foreign = stranger.server().files(other, "server")
    made = stranger.server()
    encrypted = other / "encrypted.key"
    encrypted.touch(0o600)
    encrypted.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    nothing = other / "nothing.pem"
    nothing.touch(0o600)
    for changes, sentence in (
        ({"tls_key": other / "missing.key"}, "LIMEN_TLS_KEY cannot be read"),
        ({"tls_key": other}, "LIMEN_TLS_KEY names no plain file"),
        ({"tls_key": foreign}, "LIMEN_TLS_CERT and LIMEN_TLS_KEY cannot be used"),
        ({"tls_key": encrypted}, "the key is encrypted"),
        ({"tls_cert": nothing}, "LIMEN_TLS_CERT and LIMEN_TLS_KEY cannot be used"),
        ({"tls_cert": other / "missing.pem"}, "LIMEN_TLS_CERT and LIMEN_TLS_KEY cannot be used"),
        ({"client_ca": nothing}, "LIMEN_CLIENT_CA cannot be used"),
        ({"client_ca": other / "missing.pem"}, "LIMEN_CLIENT_CA cannot be used"),
        ({"tls_cert": None, "tls_key": None}, "LIMEN_CLIENT_CA asks for client certificates, which only TLS has"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            server_context(settings_with(tmp_path, authority, **changes))


def test_half_of_a_pair(authority: Authority, tmp_path: Path) -> None:
    """A certificate without its key, or the other way round, is refused as a setting."""
    for missing in ("tls_cert", "tls_key"):
        with pytest.raises(ConfigurationError, match="LIMEN_TLS_KEY and LIMEN_TLS_CERT go together"):
            settings_with(tmp_path, authority, **{missing: None})


def test_the_log_tells_no_path(authority: Authority, tmp_path: Path) -> None:
    """What is told at the start says that there is TLS, and not where its key lies."""
    told = settings_with(tmp_path, authority).describe()
    assert (told["tls"], told["client_certificates"]) == (True, True)
    assert str(tmp_path) not in repr(told)


def test_the_command_says_what_is_wrong(tmp_path: Path, files: tuple[str, ...]) -> None:
    """A key that others can read: exit code 3, and nobody is served."""
    Path(files[3]).chmod(0o644)
    told = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_DATA_SECRETS": secrets.token_urlsafe(48),
    }
    done = limen("serve", "--port", "0", *files, folder=tmp_path, **told)
    assert done.returncode == 3
    assert "chmod 600" in done.stderr


async def test_handshakes_that_nobody_ends(authority: Authority, tmp_path: Path) -> None:
    """One peer begins only so many; those beyond are closed at once, and others get in."""
    context = server_context(settings_with(tmp_path, authority))
    assert context is not None
    handshakes = Handshakes(context, Heads(HeadLimits(most=3)))
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        listener.setblocking(False)
        idle, tasks = [], []
        for _ in range(5):
            ours = socket.create_connection(listener.getsockname())
            accepted, _ = await loop.sock_accept(listener)
            accepted.setblocking(False)
            idle.append(ours)
            tasks.append(asyncio.create_task(handshakes.serve(asyncio.Protocol, accepted)))
            await asyncio.sleep(0)
        await until(lambda: tasks[3].done() and tasks[4].done())
        assert [task.done() for task in tasks] == [False, False, False, True, True]
        for ours in idle:
            ours.close()
        await asyncio.wait(tasks, timeout=PATIENCE)
        assert all(task.done() for task in tasks)
        client = asyncio.create_task(
            asyncio.open_connection(*listener.getsockname(), ssl=authority.trusting(folder=tmp_path))
        )
        accepted, _ = await loop.sock_accept(listener)
        accepted.setblocking(False)
        assert await handshakes.serve(asyncio.Protocol, accepted) is not None
        _, writer = await client
        writer.transport.abort()
