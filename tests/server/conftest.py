"""Real processes on free ports, spoken to over real HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port

LIMEN = Path(sys.executable).parent / "limen"
READY_WITHIN_SECONDS = 60
ENDS_WITHIN_SECONDS = 30


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of limen, with the cheapest hash that is allowed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIMEN_")}
    return {**clean, "LIMEN_BCRYPT_COST": "10", **more}


def limen(*arguments: str, folder: Path, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        [LIMEN, *arguments],
        cwd=folder,
        env=environment(**more),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


@dataclass
class Server:
    """A running server.

    Attributes:
        folder: its working directory.
        address: its URL.
        process: its process.
    """

    folder: Path
    address: str
    process: "subprocess.Popen[str]"

    def client(self, token: str = "") -> httpx.Client:
        """Return a client, with a token where one is given."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)

    @property
    def out(self) -> str:
        """What it printed."""
        return (self.folder / "out.txt").read_text()

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "err.txt").read_text()

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.out + self.log
            try:
                if httpx.get(f"{self.address}/readyz", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready after {READY_WITHIN_SECONDS} s: {self.log}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code of a process that was told to end."""
        return self.process.wait(ENDS_WITHIN_SECONDS)


Start = Callable[..., Server]
PASSWORD = "a pass phrase of my own"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An initialised installation with one account, alice; its settings file."""
    assert limen("init", folder=tmp_path).returncode == 0
    made = limen(
        "accounts", "create", "alice", "--password-stdin", folder=tmp_path, stdin=PASSWORD, LIMEN_ENV_FILE=".env"
    )
    assert made.returncode == 0, made.stderr
    return tmp_path / ".env"


def serve(start: Start, settings: Path, **more: str) -> Server:
    """Start the stand-alone server with a settings file."""
    return start("serve", "--env-file", str(settings), **more)


def serve_workers(start: Start, settings: Path, workers: int = 2, **more: str) -> Server:
    """Start several workers on SQLite, which the command line refuses."""
    program = (sys.executable, Path(__file__).with_name("workers_server.py"))
    arguments = ("--env-file", str(settings), "--workers", str(workers))
    server = start(*arguments, program=program, PYTHONPATH=os.environ.get("PYTHONPATH", ""), **more)
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not server.out:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)
    return server


def free_row(count: int) -> int:
    """Return the first of some ports in a row that are free, and that the system gives to nobody who asks for any.

    Each process of the tests begins at another place, so that two of them do not meet.
    """
    rows = 20_000 // count
    for attempt in range(rows):
        first = 10_000 + (os.getpid() + attempt) % rows * count
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no ports in a row are free")


def launch(folder: Path, *arguments: str, program: Sequence[str | Path] = (LIMEN,), **more: str) -> Server:
    """Start a server of the command line, or of another program, on a free port and wait until it answers."""
    return launch_at(free_port(), folder, *arguments, program=program, **more)


def launch_at(
    port: int, folder: Path, *arguments: str, program: Sequence[str | Path] = (LIMEN,), **more: str
) -> Server:
    """Start a server as `launch` does, on this port."""
    with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
        process = subprocess.Popen(
            [*program, *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
        )
    server = Server(folder, f"http://127.0.0.1:{port}", process)
    try:
        server.wait_until_ready()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers in a folder of the test's own; they end with it."""
    running: list[Server] = []

    def call(*arguments: str, program: Sequence[str | Path] = (LIMEN,), **more: str) -> Server:
        server = launch(tmp_path, *arguments, program=program, **more)
        running.append(server)
        return server

    yield call
    for server in running:
        server.end()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One demo for the tests of a module; each makes what it needs."""
    server = launch(tmp_path_factory.mktemp("demo"), "demo")
    yield server
    server.end()


def demo_accounts(server: Server) -> dict[str, dict[str, str]]:
    """Return the demo's accounts with their passwords."""
    accounts: dict[str, dict[str, str]] = json.loads((server.folder / "var" / "demo-accounts.json").read_text())
    return accounts


def log_in(server: Server, name: str, password: str | None = None) -> dict[str, Any]:
    """Log in, as one of the demo's accounts where no password is given, and return the tokens."""
    body = {"username": name, "password": password or demo_accounts(server)[name]["password"]}
    with server.client() as client:
        answer = client.post("/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens
