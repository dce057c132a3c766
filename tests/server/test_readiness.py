"""``/readyz`` of a real process: the database that hangs, a schema that is behind, and a storm of probes."""

import concurrent.futures
import contextlib
import fcntl
import os
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from limen.core.probe import KEEP_SECONDS, WAIT_SECONDS
from tests.server.conftest import LIMEN, READY_WITHIN_SECONDS, Start, environment, serve
from tests.support.ports import free_port
from tests.support.waiting import in_one_of

_LOCKS_AT = 120
_LOCKS = 8
"""Where SQLite's locks on the write-ahead log's index are: https://sqlite.org/walformat.html, section 2.3.1."""


@contextlib.contextmanager
def hanging(database: Path) -> Iterator[None]:
    """Let a SQLite database hang: whoever wants to read or write waits for its locks."""
    with Path(f"{database}-shm").open("r+b") as index:
        deadline = time.monotonic() + 60
        while True:
            try:
                lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKS_AT, _LOCKS, 0)
                fcntl.fcntl(index, fcntl.F_SETLK, lock)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        yield


@pytest.mark.serial
@in_one_of(3)
def test_a_database_that_hangs_makes_it_false_in_time(start: Start, installed: Path) -> None:
    """While the database does not answer, so does ``/readyz`` within about two seconds: 503 with Retry-After."""
    server = serve(start, installed)
    with server.client() as client:
        with hanging(installed.parent / "limen.db"):
            time.sleep(KEEP_SECONDS)
            began = time.monotonic()
            refused = client.get("/readyz")
            took = time.monotonic() - began
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/healthz").status_code == 200
        assert WAIT_SECONDS - 0.2 <= took < WAIT_SECONDS + 1.5
        deadline = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_schema_that_is_behind_makes_it_false(start: Start, installed: Path) -> None:
    """A database without this version's schema is not ready, within a second; the process is alive all the same."""
    server = serve(start, installed)
    with server.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        with contextlib.closing(sqlite3.connect(installed.parent / "limen.db")) as connection, connection:
            connection.execute("DELETE FROM limen_schema_version")
        time.sleep(KEEP_SECONDS)
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200


@pytest.mark.serial
@in_one_of(3)
def test_a_storm_of_probes_is_no_storm_of_queries(start: Start, installed: Path) -> None:
    """Hundreds of probes from many clients take a database that hangs no longer than one: they share one question."""
    server = serve(start, installed)

    def probe(_: int) -> int:
        with server.client() as client:
            return client.get("/readyz").status_code

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        assert set(threads.map(probe, range(40))) == {200}
        with hanging(installed.parent / "limen.db"):
            time.sleep(KEEP_SECONDS)
            began = time.monotonic()
            assert set(threads.map(probe, range(20))) == {503}
            assert time.monotonic() - began < 2 * WAIT_SECONDS + KEEP_SECONDS


def test_nobody_is_told_ready_before_it_is(tmp_path: Path, installed: Path) -> None:
    """From the start of the process on a probe is refused until the first answer, which is «ready»."""
    port = free_port()
    command = [str(LIMEN), "serve", "--port", str(port), "--env-file", str(installed)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers: list[int] = []
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not answers:
            assert time.monotonic() < deadline
            with contextlib.suppress(httpx.ConnectError):
                answers.append(httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60, trust_env=False).status_code)
        assert answers == [200]
    finally:
        process.terminate()
        process.wait(READY_WITHIN_SECONDS)
