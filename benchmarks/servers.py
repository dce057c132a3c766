"""Real servers as processes of their own, on a core of their own where there are several."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def server_core() -> int:
    """Return the core that a pinned server gets: the last one."""
    return cores()[-1]


@contextmanager
def on_the_other_cores() -> Iterator[None]:
    """Keep the load, which is this process, off the core of the pinned servers, where there is another."""
    if len(cores()) < 2 or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = cores()
    os.sched_setaffinity(0, before[:-1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers.

    Attributes:
        port: where, on 127.0.0.1.
        process: the one that was started; its children belong to it.
    """

    port: int
    process: psutil.Process

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far, in seconds."""
        return sum(processor_seconds(process) for process in self._family())

    def resident_mib(self) -> float:
        """Return the resident memory of its largest process, in MiB."""
        return max(process.memory_info().rss for process in self._family()) / 2**20


def processor_seconds(process: psutil.Process) -> float:
    """Return the processor time that one process has used so far, in seconds."""
    tasks = Path(f"/proc/{process.pid}/task")
    # Nanoseconds, where Linux tells them: the usual figure counts ticks of ten milliseconds.
    with suppress(OSError):
        told = [(task / "schedstat").read_text(encoding="ascii") for task in tasks.iterdir()]
        return sum(int(line.split()[0]) for line in told) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(kind: str, port: int, workers: int = 1) -> list[str]:
    factory = "benchmarks.applications:from_environment"
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "uvicorn":
        # As `limen serve` runs it: nothing is logged for each request, nobody's forwarding headers are believed.
        quiet = ["--log-level", "warning", "--no-access-log", "--no-proxy-headers"]
        many = ["--workers", str(workers)] if workers > 1 else []
        return [sys.executable, "-m", "uvicorn", factory, "--factory", *where, *quiet, *many]
    quiet = ["--no-log"]
    one = ["--workers", "1", "--runtime-threads", "1", "--loop", "uvloop"]
    return [sys.executable, "-m", "granian", factory, "--factory", "--interface", "asgi", *where, *one, *quiet]


@contextmanager
def serving(
    application: str,
    environment: dict[str, str],
    *,
    kind: str = "uvicorn",
    core: int | None = None,
    workers: int = 1,
) -> Iterator[Server]:
    """Serve an application for as long as the context lasts.

    Args:
        application: its name in `APPLICATIONS`.
        environment: the settings of its gate.
        kind: ``uvicorn`` or ``granian``.
        core: the one core it may use; None for all.
        workers: processes that serve; more than one under uvicorn only.

    Raises:
        RuntimeError: it did not answer in time; what it printed is in the message.
    """
    port = free_port()
    command = _command(kind, port, workers)
    with running(command, {**environment, "BENCH_APPLICATION": application}, port=port, core=core) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], *, port: int, core: int | None = None, folder: Path = ROOT
) -> Iterator[Server]:
    """Run a program that serves for as long as the context lasts.

    Args:
        command: the program and its arguments.
        environment: what it reads beside the environment of this process.
        port: where it listens, on 127.0.0.1.
        core: the one core it may use; None for all.
        folder: the folder that it works in.

    Raises:
        RuntimeError: it did not answer in time; what it printed is in the message.
    """
    allowed = cores()
    with TemporaryFile() as output:
        if core is not None and hasattr(os, "sched_setaffinity"):
            # A child inherits the cores of the moment it was started: nothing runs between fork and exec.
            os.sched_setaffinity(0, {core})
        try:
            started = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                # As a service has it: nice is nice to its own threads, not to everything on the machine.
                start_new_session=True,
            )
        finally:
            if core is not None and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, allowed)
        try:
            try:
                _wait(port, started)
            except RuntimeError as error:
                output.seek(0)
                raise RuntimeError(f"{error}\n{output.read().decode(errors='replace')[-4000:]}") from None
            yield Server(port, psutil.Process(started.pid))
        finally:
            _stop(started)


def _wait(port: int, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if started.poll() is not None:
            raise RuntimeError(f"the server ended with {started.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not listen in time")


def _stop(started: subprocess.Popen[bytes]) -> None:
    started.terminate()
    try:
        started.wait(10)
    except subprocess.TimeoutExpired:
        for process in psutil.Process(started.pid).children(recursive=True):
            process.kill()
        started.kill()
        started.wait()
