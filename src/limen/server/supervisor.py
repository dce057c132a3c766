"""Starts several workers that accept from one socket, replaces those that die, and ends them together.

The supervisor serves nobody: it has no database, no keys, and nothing that could block it. It tells the worker to end
by a word, and knows that it is gone by the end of the connection between them (`limen.server.worker`).
"""

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from secrets import SystemRandom
from typing import Any

from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.metrics import Family
from limen.server.addresses import bind, url_of
from limen.server.bounds import END_MARGIN, INTERRUPTED, SHUTDOWN_SECONDS, SIGNALS
from limen.server.exposition import MetricsServer, Numbers, bind_metrics
from limen.settings import Settings
from limen.web.logs import configure_logging

END = "end"
FAMILIES = "families"
MOST_LINE_BYTES = 8 * 1024 * 1024

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds before a worker is replaced: the first at the first death, twice as many at each further one in a row."""
STEADY_SECONDS = 5.0
"""A worker that lived this long has not died in a row."""
FAMILIES_SECONDS = 1.0

_log = logging.getLogger(__name__)
_DICE = SystemRandom()


class Worker:
    """One process, and the supervisor's end of the connection to it.

    Args:
        number: its place among the workers, from 0.
        process: the process.
        connection: our end.

    Attributes:
        is_ready: it has said that it answers requests.
        failure: what it said about why it does not, as ``{"kind", "text"}``.
    """

    def __init__(self, number: int, process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
        self.number = number
        self.process = process
        self.is_ready = False
        self.failure: dict[str, str] | None = None
        self.began = time.monotonic()
        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        self._asked: asyncio.Future[list[Family]] | None = None

    async def follow(self, on_ready: Callable[[], None]) -> None:
        """Listen to it until it is gone."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=MOST_LINE_BYTES)
        try:
            while line := await reader.readline():
                self._told(json.loads(line), on_ready)
        except (OSError, ValueError):
            self.kill()
        finally:
            self._writer.close()
        deadline = time.monotonic() + END_MARGIN
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
            await asyncio.sleep(0.01)

    def _told(self, message: dict[str, Any], on_ready: Callable[[], None]) -> None:
        if message.get("ready"):
            self.is_ready = True
            on_ready()
        self.failure = message.get("failed", self.failure)
        if "families" in message and self._asked is not None and not self._asked.done():
            self._asked.set_result([Family(*each) for each in message["families"]])

    def end(self) -> None:
        """Tell it to end; one that does not listen yet gets the signal for that."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(f"{END}\n".encode("ascii"))
        if not self.is_ready:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    async def families(self) -> list[Family] | None:
        """Return its numbers, or None where it does not answer in a second."""
        if not self.is_ready or self._writer is None or self._writer.is_closing():
            return None
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self._writer.write(f"{FAMILIES}\n".encode("ascii"))
        done, _ = await asyncio.wait({self._asked}, timeout=FAMILIES_SECONDS)
        return self._asked.result() if done else None

    @property
    def fate(self) -> str:
        """How the process ended."""
        code = self.process.returncode
        if code is None:
            return "it runs"
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


class Supervisor:
    """See the module.

    Args:
        command: the program of a worker, which gets the numbers of two descriptors as further arguments, then ``more``.
        more: arguments that come after those.
        listener: the bound socket that all workers accept from.
        workers: how many.
        on_ready: called with the address once all of them answer.
        delay: the seconds that a worker goes on serving after it was told to end.
        metrics: the socket on which the numbers of all workers are told, if any.
        tls: whether they speak TLS, for the address.
    """

    def __init__(
        self,
        command: Sequence[str],
        listener: socket.socket,
        *,
        workers: int,
        on_ready: Callable[[str], None],
        more: Sequence[str] = (),
        delay: float = 0,
        metrics: socket.socket | None = None,
        tls: bool = False,
    ) -> None:
        self._tls = tls
        self._command = list(command)
        self._more = list(more)
        self._listener = listener
        self._count = workers
        self._on_ready = on_ready
        self._delay = delay
        self._metrics = metrics
        self._workers: dict[int, Worker] = {}
        self._replaced = 0
        self._serving = False
        self._forced = False
        self._error: Exception | None = None

    async def run(self) -> None:
        """Start the workers, keep them, and end them when SIGTERM or SIGINT comes; a second signal kills them.

        Raises:
            ConfigurationError, LimenError: what kept a worker from starting.
            SystemExit: a second signal ended it (130).
        """
        self._ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._run()
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if self._error is not None:
            raise self._error
        if self._forced:
            raise SystemExit(INTERRUPTED)

    def _signalled(self) -> None:
        if self._ending.is_set():
            self._forced = True
            for worker in self._workers.values():
                worker.kill()
        self._ending.set()

    async def _run(self) -> None:
        kept: list[asyncio.Task[None]] = []
        telling = None
        try:
            # The first one alone: it migrates the database, and what is wrong is said once and not by each.
            for numbers in ([0], range(1, self._count)):
                ready = [self._keep_one(number, kept) for number in numbers]
                await self._unless_ending(self._all(ready))
            if not self._ending.is_set():
                self._serving = True
                self._on_ready(url_of(self._listener, tls=self._tls))
                if self._metrics is not None:
                    telling = asyncio.create_task(MetricsServer(self._metrics, self.numbers).serve())
            await self._ending.wait()
        finally:
            await self._end(kept)
            if telling is not None:
                telling.cancel()

    def _keep_one(self, number: int, kept: list[asyncio.Task[None]]) -> asyncio.Event:
        ready = asyncio.Event()
        if not self._ending.is_set():
            kept.append(asyncio.create_task(self._keep(number, ready)))
        return ready

    @staticmethod
    async def _all(ready: Iterable[asyncio.Event]) -> None:
        for each in ready:
            await each.wait()

    async def _unless_ending(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, or for the end."""
        tasks = {asyncio.create_task(waiting), asyncio.create_task(self._ending.wait())}
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _keep(self, number: int, ready: asyncio.Event) -> None:
        """Have one worker with this number, and another one after it, until the end."""
        in_a_row = 0
        while not self._ending.is_set():
            worker = self._workers[number] = self._started(number)
            await worker.follow(ready.set)
            del self._workers[number]
            if self._ending.is_set():
                self._note_end(worker)
                return
            self._error = self._fatal(worker)
            if self._error is not None:
                self._ending.set()
                return
            in_a_row = 1 if time.monotonic() - worker.began >= STEADY_SECONDS else in_a_row + 1
            pause = min(FIRST_PAUSE * 2 ** (in_a_row - 1), LONGEST_PAUSE)
            # Not exactly so long: workers that died of one cause do not all come back in one moment.
            pause *= _DICE.uniform(0.5, 1)
            self._replaced += 1
            reason = worker.failure["text"] if worker.failure else worker.fate
            _log.warning(
                "a worker ended and is replaced",
                extra={"worker": number, "pid": worker.process.pid, "reason": reason, "pause": round(pause, 2)},
            )
            await self._unless_ending(asyncio.sleep(pause))

    def _started(self, number: int) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = (self._listener.fileno(), theirs.fileno())
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, *map(str, inherited), *self._more], pass_fds=inherited, stdin=subprocess.DEVNULL
            )
        _log.info("a worker starts", extra={"worker": number, "pid": process.pid})
        return Worker(number, process, ours)

    def _fatal(self, worker: Worker) -> Exception | None:
        """Return what ends everything: what no further attempt would mend, and at the start any failure at all."""
        failure = worker.failure
        if failure is None:
            if self._serving or worker.is_ready:
                return None
            return LimenError(f"A worker ended before it was ready ({worker.fate}); the log may say why.")
        if failure["kind"] == "configuration":
            return ConfigurationError(failure["text"])
        if self._serving:
            return None
        if failure["kind"] == "unavailable":
            return Unavailable(failure["text"])
        return LimenError(f"A worker could not start ({failure['text']}); the log says why.")

    def _note_end(self, worker: Worker) -> None:
        if worker.process.returncode and worker.is_ready and not self._forced:
            _log.error("a worker did not end well", extra={"worker": worker.number, "reason": worker.fate})

    async def _end(self, kept: list[asyncio.Task[None]]) -> None:
        # Or the system would go on letting people in whom nobody serves.
        self._listener.close()
        for worker in self._workers.values():
            worker.kill() if self._forced else worker.end()
        if kept:
            _, late = await asyncio.wait(kept, timeout=self._delay + SHUTDOWN_SECONDS + END_MARGIN)
            for worker in self._workers.values():
                _log.error("a worker does not end and is killed", extra={"worker": worker.number})
                worker.kill()
            if late:
                await asyncio.wait(late)

    async def numbers(self) -> Numbers:
        """Return the numbers of the whole, and of each worker that answers."""
        workers = sorted(self._workers.items())
        told = await asyncio.gather(*(worker.families() for _, worker in workers))
        answering = {str(number): families for (number, _), families in zip(workers, told, strict=True) if families}
        running = sum(worker.is_ready for _, worker in workers)
        whole = (
            Family("limen_workers", "gauge", "Workers that answer requests.", (), (), [((), running)]),
            Family(
                "limen_workers_replaced_total", "counter", "Workers that died.", (), (), [((), float(self._replaced))]
            ),
        )
        return whole, answering


def run(
    settings: Settings,
    *,
    host: str,
    port: int,
    workers: int,
    on_ready: Callable[[str], None],
    env_file: Path | None = None,
) -> None:
    """Serve on an address with several workers until the process is told to end; this process only looks after them.

    Args:
        settings: what limen was told; workers read it anew, from the same places.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        workers: how many.
        on_ready: called with the URL once all workers answer requests.
        env_file: the settings file that was named.

    Raises:
        ConfigurationError, LimenError: what kept a worker from starting.
        SystemExit: a second signal cut off what was under way (130).
    """
    more = [] if env_file is None else [str(env_file)]
    supervise(command_of("limen.server.worker"), settings, bind(host, port), on_ready, workers=workers, more=more)


def supervise(
    command: Sequence[str],
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[str], None],
    *,
    workers: int,
    more: Sequence[str] = (),
) -> None:
    """Look after workers of any program; see `Supervisor`."""
    metrics = None
    restore = configure_logging(settings.log_level, settings.log_format, others=True)
    try:
        metrics = bind_metrics(settings)
        delay = settings.shutdown_delay
        supervisor = Supervisor(
            command,
            listener,
            workers=workers,
            on_ready=on_ready,
            more=more,
            delay=delay,
            metrics=metrics,
            tls=settings.tls_cert is not None,
        )
        asyncio.run(supervisor.run())
    finally:
        restore()
        listener.close()
        if metrics is not None:
            metrics.close()


def command_of(module: str) -> list[str]:
    """Return the command that runs a module with the interpreter of this process, and as isolated as it.

    The working directory is not on its path: a folder of somebody else's would choose the code.
    """
    flags = sys.flags
    isolated = {"-I": flags.isolated, "-E": flags.ignore_environment, "-s": flags.no_user_site, "-P": True}
    return [sys.executable, *(flag for flag, wanted in isolated.items() if wanted), "-m", module]
