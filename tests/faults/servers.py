"""A server that can be killed and started again on the same database, within a fraction of a second."""

import json
import os
import secrets
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.wire import Answer, Unanswered, call, exchange, request_bytes
from tests.support import postgres
from tests.support.gates import PASSWORD
from tests.support.ports import free_port
from tests.support.processes import uncounted

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30.0
END = b"\0the end\0"


class Nursery:
    """The one process that all servers of a test run are forked from; any thread may tell it something.

    Args:
        environment: of the process, and so of all its servers; a clock of their own is in it. None for this one's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            # Counting lines would slow down what is to be killed, and the count would die with it.
            env=uncounted() if environment is None else dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # The threads that hash are nice; in a session of their own, only to their own server (autogroups of Linux).
            start_new_session=True,
        )

    def tell(self, command: str) -> str:
        """Give a command and return the answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            stdin.write(command + "\n")
            stdin.flush()
            assert select.select([stdout], [], [], START_SECONDS)[0], f"no answer to {command.split(maxsplit=1)[0]}"
            return stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(20)


class Server:
    """One application, one database, one port; a process at a time.

    Args:
        nursery: where processes come from.
        folder: of the database.
        one_core: let the processes use a single core.
        application: ``faults``, the one beside this module, ``demo`` or ``serve``, those of limen's commands.
        settings: of limen, by their lower-case names; ``database_url`` for another database than an SQLite file.
    """

    def __init__(
        self,
        nursery: Nursery,
        folder: Path,
        *,
        one_core: bool = False,
        application: str = "faults",
        **settings: str,
    ) -> None:
        self.folder = folder
        self.database = folder / "limen.db"
        self.port = free_port()
        self.environment = {
            "LIMEN_DATABASE_URL": f"sqlite:///{self.database}",
            "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
            "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
            "LIMEN_BCRYPT_COST": "10",
            "LIMEN_REGISTRATION": "open",
            # One machine has all the clients, and what becomes of an attempt is often that nobody is told.
            "LIMEN_LOGIN_LIMIT": "100000/minute",
            "LIMEN_LOGIN_NETWORK_LIMIT": "100000/minute",
            "ORDERS_DATABASE": str(folder / "orders.db"),
            **{f"LIMEN_{name.upper()}": value for name, value in settings.items()},
        }
        self.pid = 0
        self._nursery = nursery
        self._one_core = one_core
        self._application = application
        # A pipe, and no file: a test takes the right to write files away from the server.
        self._pipe = folder / "output"
        os.mkfifo(self._pipe)
        self._log = self._pipe
        self._output = os.open(self._pipe, os.O_RDWR)
        self._written: list[bytes] = []
        self._reading = threading.Thread(target=self._read_output, daemon=True)
        self._reading.start()

    def _read_output(self) -> None:
        while (chunk := os.read(self._output, 65_536)) != END:
            self._written.append(chunk)

    def start(self) -> None:
        """Start a process and wait until it answers."""
        told = {
            "port": self.port,
            "environment": self.environment,
            "output": str(self._log),
            "one_core": self._one_core,
            "application": self._application,
        }
        self.pid = int(self._nursery.tell("start " + json.dumps(told)))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.get("/").status < 500:
                    return
            except Unanswered:
                time.sleep(0.01)
        raise AssertionError(f"the server does not answer: {self.output()}")

    def kill(self) -> None:
        """End the process as a loss of power would, for it: nothing is finished, nothing is said (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process as an operator does (SIGTERM): what is under way is finished."""
        self._end(signal.SIGTERM)

    def write_to(self, log: Path) -> None:
        """Let the next process write its log somewhere else, where this does not read it."""
        self._log = log

    def move_to(self, nursery: Nursery) -> None:
        """Let the next process come from another nursery, which has another clock or another version of the code."""
        assert not self.pid
        self._nursery = nursery

    def _end(self, how: int) -> None:
        os.kill(self.pid, how)
        self._nursery.tell(f"gone {self.pid}")
        self.pid = 0

    def close(self) -> None:
        """End everything that was started."""
        try:
            if self.pid:
                self._end(signal.SIGTERM)
        finally:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)
            os.write(self._output, END)
            self._reading.join(20)
            os.close(self._output)

    def output(self) -> str:
        """Return everything that the processes wrote."""
        return b"".join(self._written).decode(errors="backslashreplace")

    def wait_for_output(self, text: str, seconds: float = 5.0) -> bool:
        """Tell whether the text is written within that time: a server may answer first and log then."""
        deadline = time.monotonic() + seconds
        while text not in self.output() and time.monotonic() < deadline:
            time.sleep(0.02)
        return text in self.output()

    def get(self, path: str, **parts: Any) -> Answer:
        """Send a GET."""
        return call(self.port, "GET", path, **parts)

    def post(self, path: str, json_body: object = None, **parts: Any) -> Answer:
        """Send a POST."""
        return call(self.port, "POST", path, json_body=json_body, **parts)

    def change(self, path: str, json_body: object, **parts: Any) -> Answer:
        """Send a PATCH."""
        return call(self.port, "PATCH", path, json_body=json_body, **parts)

    def send(self, text: bytes) -> Answer:
        """Send bytes."""
        return exchange(self.port, text)

    def register(self, username: str, password: str = PASSWORD) -> str:
        """Make an account; return its id."""
        answer = self.post("/auth/register", {"username": username, "password": password})
        assert answer.status == 201, answer
        return str(answer.json()["id"])

    def log_in(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        """Open a session; return the tokens."""
        answer = self.post("/auth/login", {"username": username, "password": password})
        assert answer.status == 200, answer
        tokens: dict[str, Any] = answer.json()
        return tokens

    def refresh(self, token: str) -> Answer:
        """Refresh."""
        return self.post("/auth/refresh", {"refresh_token": token})

    def refresh_bytes(self, token: str) -> bytes:
        """Return a refresh as it goes over the wire."""
        return request_bytes("POST", "/auth/refresh", json_body={"refresh_token": token})

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Read from the database, past the server."""
        url = self.environment["LIMEN_DATABASE_URL"]
        if url.startswith("postgresql:"):
            return postgres.rows(url, _numbered(statement), *values)
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(statement, values).fetchall()

    def set_status(self, username: str, status: str) -> None:
        """Write an account's status into the database, past the server."""
        statement = "UPDATE limen_accounts SET status = ? WHERE username = ? RETURNING id"
        url = self.environment["LIMEN_DATABASE_URL"]
        if url.startswith("postgresql:"):
            done = postgres.rows(url, _numbered(statement), status, username)
        else:
            with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
                done = connection.execute(statement, (status, username)).fetchall()
        assert len(done) == 1


def _numbered(statement: str) -> str:
    """Write a statement's placeholders as PostgreSQL has them."""
    first, *others = statement.split("?")
    return first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))


@contextmanager
def running(
    nursery: Nursery, folder: Path, *, one_core: bool = False, application: str = "faults", **settings: str
) -> Iterator[Server]:
    """Run a server for as long as the context lasts."""
    server = Server(nursery, folder, one_core=one_core, application=application, **settings)
    try:
        server.start()
        yield server
    finally:
        server.close()
