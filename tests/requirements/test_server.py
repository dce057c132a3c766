"""Requirements of the running server: what it logs at its most talkative, and what hostile clients cost it."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.ports import free_port

LIMEN = Path(sys.executable).parent / "limen"
READY_WITHIN_SECONDS = 60
MEBIBYTE = 1024 * 1024


@dataclass
class Server:
    """A running `limen serve`."""

    address: str
    port: int
    process: "subprocess.Popen[bytes]"
    output: Path


@contextlib.contextmanager
def serving(folder: Path, **more: str) -> Iterator[Server]:
    """Run `limen serve` on a free port until the block ends."""
    port = free_port()
    output = folder / "output.txt"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMEN_")}
    told = {
        "LIMEN_DATABASE_URL": f"sqlite:///{folder / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_DATA_SECRETS": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
        "LIMEN_REGISTRATION": "open",
        **more,
    }
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [LIMEN, "serve", "--port", str(port)], cwd=folder, env={**clean, **told}, stdout=stream, stderr=stream
        )
    server = Server(f"http://127.0.0.1:{port}", port, process, output)
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.address}/readyz", timeout=60):
                break
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_canary_is_logged(tmp_path: Path, log_format: str) -> None:
    """At level debug, whatever is sent as a secret, in whatever place, is in no line; nor is what the server issued."""
    canaries = [f"canary-{secrets.token_hex(12)}" for _ in range(9)]
    password, wrong, refresh, access, query, cookie, key, unknown, current = canaries
    access_secret, refresh_secret = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
    settings = {"LIMEN_JWT_ACCESS_SECRET": access_secret, "LIMEN_JWT_REFRESH_SECRET": refresh_secret}
    with (
        serving(tmp_path, LIMEN_LOG_LEVEL="debug", LIMEN_LOG_FORMAT=log_format, **settings) as server,
        httpx.Client(base_url=server.address, timeout=30, trust_env=False) as client,
    ):
        answers = [client.post("/auth/register", json={"username": "ann", "password": password})]
        login = client.post("/auth/login", json={"username": "ann", "password": password})
        issued = login.json()
        bearer = {"Authorization": f"Bearer {issued['access_token']}"}
        answers += [
            login,
            client.post("/auth/login", json={"username": "ann", "password": wrong}),
            client.post("/auth/login", json={"username": wrong, "password": wrong}),
            client.post("/auth/refresh", json={"refresh_token": refresh}),
            client.post("/auth/refresh", json={"refresh_token": issued["refresh_token"]}),
            client.post("/auth/logout", json={"refresh_token": refresh}),
            client.get("/auth/me", headers={"Authorization": f"Bearer {access}"}),
            client.get("/auth/me", headers={"Authorization": f"Basic {access}"}),
            client.get(f"/auth/me?access_token={query}&password={query}"),
            client.get("/auth/me", headers={"Cookie": f"session={cookie}", "X-API-Key": key, **bearer}),
            client.post("/auth/login", json={"username": "ann", "password": {"value": unknown}, unknown: unknown}),
            client.post(
                "/auth/login",
                content=f'{{"password": "{unknown}'.encode(),
                headers={"Content-Type": "application/json"},
            ),
            client.post("/auth/password", json={"current_password": current, "new_password": current}, headers=bearer),
            client.post("/auth/logout-all", headers=bearer),
        ]
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    assert login.status_code == 200
    told = server.output.read_text(encoding="utf-8")
    assert "started" in told
    never = [*canaries, access_secret, refresh_secret, issued["access_token"], issued["refresh_token"]]
    never += [token.rpartition(".")[2] for token in (issued["access_token"], issued["refresh_token"])]
    assert not [secret for secret in never if secret in told]
    for answer in answers[2:]:
        assert not [secret for secret in canaries if secret in answer.text]


def _sent(port: int, data: bytes, *, times: int = 1) -> bytes:
    """Send bytes to the server, and return the beginning of what it answers, empty where it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):
            for _ in range(times):
                connection.sendall(data)
        with contextlib.suppress(OSError):
            return connection.recv(4096)
    return b""


def test_oversized_requests_cost_little(tmp_path: Path) -> None:
    """Endless bodies, a hundred thousand fields, ten thousand cookies, deep JSON: refused, and memory stays bounded."""
    head = b"POST /auth/login HTTP/1.1\r\nHost: limen\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    fields = b"{" + b",".join(b'"f%d": 1' % number for number in range(100_000)) + b"}"
    with serving(tmp_path) as server:
        process = psutil.Process(server.process.pid)
        with urllib.request.urlopen(f"{server.address}/healthz", timeout=60):
            before = process.memory_info().rss
        for answer in (
            _sent(server.port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2, times=1),
            _sent(server.port, head + b"Content-Length: 10000000000\r\n\r\n" + b" " * MEBIBYTE, times=64),
            _sent(server.port, head + b"Content-Length: %d\r\n\r\n" % len(fields) + fields),
            _sent(server.port, head + b"Cookie: " + b"; ".join(b"c%d=v" % n for n in range(10_000)) + b"\r\n\r\n"),
            _sent(server.port, head + b"X-Long: " + b"a" * MEBIBYTE + b"\r\n\r\n"),
            _sent(server.port, head + b"Content-Length: 40000\r\n\r\n" + b"[" * 40_000),
        ):
            assert not answer or answer.split()[1] in {b"400", b"413", b"415", b"431"}, answer[:80]
        with urllib.request.urlopen(f"{server.address}/healthz", timeout=60) as alive:
            assert alive.status == 200
        assert process.memory_info().rss - before < 64 * MEBIBYTE


@pytest.mark.serial
def test_slow_clients_hold_up_nobody(tmp_path: Path) -> None:
    """Two hundred clients that stop in the middle of a head or a body: everybody else is answered at once."""
    head = b"POST /auth/login HTTP/1.1\r\nHost: limen\r\nContent-Type: application/json\r\n"
    with serving(tmp_path) as server, contextlib.ExitStack() as held:
        for number in range(200):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            connection.sendall(head if number % 2 else head + b'Content-Length: 50\r\n\r\n{"user')
        took = []
        for _ in range(100):
            began = time.monotonic()
            with urllib.request.urlopen(f"{server.address}/healthz", timeout=60):
                took.append(time.monotonic() - began)
    assert sorted(took)[89] < 0.5  # the others are for a machine that stands still for a moment


def test_other_methods_do_nothing(tmp_path: Path) -> None:
    """TRACE and methods that nobody documented are refused, and no request is echoed."""
    with serving(tmp_path) as server:
        for method in ("TRACE", "CONNECT", "TRACK", "PROPFIND", "get", "POST"):
            request = f"{method} /auth/me HTTP/1.1\r\nHost: limen\r\nX-Canary: kanarie\r\n\r\n"
            answer = _sent(server.port, request.encode())
            assert not answer or 400 <= int(answer.split()[1]) < 500, method
            assert b"kanarie" not in answer


def test_a_sample_secret_does_not_start(tmp_path: Path) -> None:
    """With a sample, short or missing secret the server ends with 3, names the setting, and does not show the value."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMEN_")}
    database = {"LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}"}
    good = {"LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48)}
    for secret in ("changeme" * 5, "kr7-too-short", ""):
        told = {**database, **good, **({"LIMEN_JWT_ACCESS_SECRET": secret} if secret else {})}
        command = [str(LIMEN), "serve", "--port", "0"]
        done = subprocess.run(command, cwd=tmp_path, env={**clean, **told}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3
        assert "LIMEN_JWT_ACCESS_SECRET" in done.stderr
        assert not secret or secret not in done.stderr + done.stdout
    assert not (tmp_path / "limen.db").exists()


def test_the_server_does_not_name_itself(tmp_path: Path) -> None:
    """What the server itself refuses names neither it nor its version."""
    with serving(tmp_path) as server:
        broken = _sent(server.port, b"not http at all\r\n\r\n")
        missing = _sent(server.port, b"GET /nothing HTTP/1.1\r\nHost: limen\r\n\r\n")
    assert missing.startswith(b"HTTP/1.1 404")
    for answer in (broken, missing):
        assert b"uvicorn" not in answer.lower()
        assert b"\nserver:" not in answer.lower()
