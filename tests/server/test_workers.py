"""Several workers under one supervisor, as real processes: what becomes of them, and of it, when one of them ends."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from limen.server.supervisor import Supervisor, command_of
from tests.server.conftest import ENDS_WITHIN_SECONDS, PASSWORD, Server, Start, limen, log_in, serve_workers
from tests.support.ports import free_port

SOON_SECONDS = 50.0
SCRIPT = Path(__file__).with_name("workers_server.py")


def workers_of(server: Server) -> list[psutil.Process]:
    """Return the processes of the workers."""
    return psutil.Process(server.process.pid).children()


def soon(true: Callable[[], bool]) -> bool:
    """Wait until something is true, for a while."""
    deadline = time.monotonic() + SOON_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def answering(server: Server) -> set[int]:
    """Return the workers that answered one of forty connections; each is told by its own descriptor of it."""
    with contextlib.ExitStack() as held:
        for _ in range(40):
            client = held.enter_context(server.client())
            assert client.get("/healthz").status_code == 200
        here = int(server.address.rpartition(":")[2])
        return {
            each.pid
            for each in workers_of(server)
            if any(one.laddr.port == here and one.status == "ESTABLISHED" for one in each.net_connections("tcp"))
        }


def start_refused(settings: Path) -> "subprocess.CompletedProcess[str]":
    """Start workers that cannot start, and return how that ended."""
    arguments = ["--env-file", str(settings), "--workers", "2", "--host", "127.0.0.1", "--port", str(free_port())]
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=60)


def make_newer(settings: Path) -> None:
    """Let the schema be one of a later version, which this one does not work with."""
    with contextlib.closing(sqlite3.connect(settings.parent / "limen.db")) as connection, connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
        connection.execute("DELETE FROM limen_schema_compatible")


def test_all_workers_answer_on_one_address(start: Start, installed: Path) -> None:
    """The address is printed once, when every worker answers; a session of one is known to the others."""
    server = serve_workers(start, installed, 3)
    assert server.out == f"limen serves {server.address}\n"
    assert len(workers_of(server)) == 3
    assert answering(server) == {each.pid for each in workers_of(server)}
    tokens = log_in(server, "alice", PASSWORD)
    for _ in range(12):
        with server.client(tokens["access_token"]) as client:
            assert client.get("/auth/me").json()["username"] == "alice"


def test_nothing_secret_is_in_the_arguments(start: Start, installed: Path) -> None:
    """The arguments of a worker name two descriptors and the settings file, and no secret of it."""
    server = serve_workers(start, installed)
    secrets = [line.partition("=")[2] for line in installed.read_text().splitlines() if "SECRET=" in line]
    assert len(secrets) == 2
    for each in workers_of(server):
        line = each.cmdline()
        assert line[-1] == str(installed)
        assert line[-3].isdecimal()
        assert not [secret for secret in secrets if secret in " ".join(line)]
        assert "-P" in line


def test_a_killed_worker_is_replaced(start: Start, installed: Path) -> None:
    """A worker that was killed is logged with the reason and replaced, while the other one serves."""
    server = serve_workers(start, installed)
    before = {each.pid for each in workers_of(server)}
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    assert soon(lambda: '"reason": "SIGKILL"' in server.log)
    with server.client() as client:
        assert client.get("/healthz").status_code == 200
    assert soon(lambda: len(answering(server) - before) == 1)
    assert len(workers_of(server)) == 2
    assert server.process.poll() is None
    assert server.end() == 0


def test_no_worker_outlives_its_supervisor(start: Start, installed: Path) -> None:
    """Where the supervisor is killed, the workers end by themselves, and the port is free."""
    server = serve_workers(start, installed)
    workers = workers_of(server)
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(workers, SOON_SECONDS)
    assert alive == []
    assert "the supervisor is gone" in server.log
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/healthz", trust_env=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_together(start: Start, installed: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the workers and then the supervisor, with 0; nothing is logged as a fault."""
    server = serve_workers(start, installed)
    workers = workers_of(server)
    assert server.end(number) == 0
    assert not [each for each in workers if each.is_running()]
    assert '"level": "error"' not in server.log
    assert '"level": "warning"' not in server.log


def test_a_signal_to_the_whole_group_is_one_signal(start: Start, installed: Path) -> None:
    """SIGTERM to every process at once, as service managers send it, is no second signal: it ends well, with 0."""
    server = serve_workers(start, installed)
    for number in [*(each.pid for each in workers_of(server)), server.process.pid]:
        os.kill(number, signal.SIGTERM)
    assert server.ended() == 0


def test_a_configuration_that_cannot_be_used_ends_the_whole(installed: Path) -> None:
    """A worker that refuses the database's schema ends everything with 3 and one message, not one a worker."""
    make_newer(installed)
    done = start_refused(installed)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("newer limen") == 1
    assert "Traceback" not in done.stderr


def test_a_database_that_is_down_ends_the_start(installed: Path) -> None:
    """A database that cannot be opened ends the start with 4 and one message."""
    for file in installed.parent.glob("limen.db*"):
        file.unlink()
    (installed.parent / "limen.db").write_bytes(b"certainly not a database file " * 100)
    done = start_refused(installed)
    assert done.returncode == 4
    assert done.stderr.count("limen: ") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.serial
def test_a_worker_that_cannot_be_replaced_is_tried_again(start: Start, installed: Path) -> None:
    """While the database is down a replacement is tried again and again, and nobody else ends for it."""
    server = serve_workers(start, installed)
    keeper, victim = (each.pid for each in workers_of(server))
    aside = installed.parent / "aside.db"
    (installed.parent / "limen.db").rename(aside)
    (installed.parent / "limen.db").write_bytes(b"certainly not a database file " * 100)
    os.kill(victim, signal.SIGKILL)
    assert soon(lambda: server.log.count("a worker ended and is replaced") >= 2)
    assert server.process.poll() is None
    with server.client() as client:
        assert client.get("/healthz").status_code == 200
    assert keeper in answering(server)
    aside.rename(installed.parent / "limen.db")
    assert soon(lambda: len(answering(server)) == 2)
    assert server.end() == 0


def test_a_replacement_that_refuses_its_configuration_ends_the_whole(start: Start, installed: Path) -> None:
    """Where no replacement could ever start, the others end as well, with 3: half a service is found too late."""
    server = serve_workers(start, installed)
    make_newer(installed)
    os.kill(workers_of(server)[0].pid, signal.SIGKILL)
    assert server.ended() == 3
    assert "newer" in server.log


async def test_a_worker_that_dies_before_it_is_ready_ends_the_start() -> None:
    """A program that ends without a word is not started for ever; the message says how it ended."""
    from limen.core.errors import LimenError
    from limen.server.addresses import bind

    program = [sys.executable, "-c", "import sys; sys.exit(7)"]
    supervisor = Supervisor(program, bind("127.0.0.1", 0), workers=2, on_ready=lambda _: None)
    with pytest.raises(LimenError, match="exit code 7"):
        await supervisor.run()


def test_the_command_serves_postgresql_with_workers(start: Start, installed: Path, postgres_url: str) -> None:
    """``limen serve --workers 2`` serves on PostgreSQL; a session of one worker ends in the other one, too."""
    url = {"LIMEN_DATABASE_URL": postgres_url}
    made = limen(
        *("accounts", "create", "bob", "--password-stdin", "--env-file", str(installed)),
        folder=installed.parent,
        stdin=PASSWORD,
        **url,
    )
    assert made.returncode == 0, made.stderr
    server = start("serve", "--env-file", str(installed), "--workers", "2", **url)
    assert soon(lambda: server.out == f"limen serves {server.address}\n")
    assert len(answering(server)) == 2
    tokens = log_in(server, "bob", PASSWORD)
    with server.client(tokens["access_token"]) as client:
        assert client.post("/auth/logout").status_code == 204
    time.sleep(2)
    for _ in range(12):
        with server.client(tokens["access_token"]) as client:
            assert client.get("/auth/me").json()["code"] == "session_ended"
    assert server.end() == 0


def test_the_working_directory_chooses_no_code(tmp_path: Path) -> None:
    """A module of limen's name in the working directory is not what a worker runs."""
    (tmp_path / "limen").mkdir()
    (tmp_path / "limen" / "__init__.py").write_text("raise SystemExit(9)\n")
    done = subprocess.run(
        [*command_of("limen.core.ids")], cwd=tmp_path, capture_output=True, timeout=ENDS_WITHIN_SECONDS
    )
    assert done.returncode == 0
