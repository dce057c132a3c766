"""``limen db restored`` as a process of its own, on an installation that is large enough to be interrupted."""

import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run

ACCOUNTS = 100_000
FILL = f"""
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ACCOUNTS})
INSERT INTO limen_accounts (id, username, status, created_at)
SELECT printf('00000000-0000-7000-8000-%012x', n), 'account' || n, 'active', 0 FROM numbers
"""

# Tests that run in the background of a shell were told to ignore Ctrl-C, and hand that on to what they start.
PROGRAM = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("limen.cli", run_name="__main__", alter_sys=True)
"""

INTERRUPTED = "limen: interrupted: some accounts are done and some are not; run it again\n"


@pytest.fixture
def large(run: Run, installation: Path) -> Path:
    """An installation with many accounts; its folder."""
    assert run("db", "upgrade").code == 0
    with closing(sqlite3.connect(installation / "limen.db")) as connection, connection:
        connection.execute(FILL)
    return installation


def epochs(folder: Path) -> dict[int, int]:
    """Return how many accounts are at which epoch."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection:
        found = connection.execute("SELECT session_epoch, count(*) FROM limen_accounts GROUP BY 1").fetchall()
    return dict(found)


def done_events(folder: Path) -> int:
    """Return how often it was said that the work is done."""
    with closing(sqlite3.connect(folder / "limen.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM limen_events WHERE event = 'store_restored'").fetchone()
    assert isinstance(count, int)
    return count


def start(folder: Path, error: int) -> subprocess.Popen[bytes]:
    """Start the command; its standard error is a file or a terminal."""
    command = [sys.executable, "-c", PROGRAM, "db", "restored", "--yes"]
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=error)


def read_all(terminal: int) -> str:
    """Read what came to a terminal until its last user is gone."""
    told = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            return told.decode()
        if not part:
            return told.decode()
        told += part


def test_a_bar_shows_how_far_it_is(large: Path) -> None:
    """Where somebody looks there is a bar with the number of accounts; the result is on standard output as ever."""
    mine, theirs = pty.openpty()
    process = start(large, theirs)
    os.close(theirs)
    told = read_all(mine)
    os.close(mine)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.decode() == f"0 sessions of {ACCOUNTS} accounts were ended.\n"
    assert "ending sessions" in told
    assert f"/{ACCOUNTS}" in told


def test_interrupted_and_run_again(large: Path) -> None:
    """Ctrl-C ends it between two batches with 130 and one line; run again it goes through all, and says it is done."""
    process = start(large, subprocess.PIPE)
    deadline = time.monotonic() + 30
    while epochs(large).get(1, 0) < 1000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.decode()) == (130, INTERRUPTED)
    before = epochs(large)
    assert before[1] % 500 == 0
    assert 0 < before[1] < ACCOUNTS
    assert done_events(large) == 0
    again = start(large, subprocess.PIPE)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert epochs(large) == {1: before[0], 2: before[1]}
    assert done_events(large) == 1
