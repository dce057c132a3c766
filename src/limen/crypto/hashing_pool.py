"""A pool of threads of its own for what computes long: as many threads as cores, at the lowest priority, bounded.

More threads than cores hash no faster and take the cores from everybody else; the default executor of asyncio has more.
At nice 19 a storm of logins leaves the event loop its milliseconds. Bounded, because a queue that only grows answers
nobody (ASVS 5.0, 11.2.4).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

from limen.core import metrics
from limen.core.errors import Busy, ConfigurationError, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

QUEUE_PER_THREAD: Final = 32
"""Jobs that may wait for each thread: at 4 hashes a second (bcrypt, cost 12) the last one waits about 8 seconds."""

_NICENESS: Final = 19
_FIRST_GUESS: Final = 0.25  # seconds a job takes, until one has been seen
_LONGEST_RETRY: Final = 60  # seconds
_WEIGHT: Final = 0.1  # of the newest job in the mean


def usable_cores() -> int:
    """Return how many cores this process may use: those of its affinity mask where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class HashingPool:
    """Runs functions in threads of its own, for callers on any number of event loops.

    The threads start with the first job and end with `close`; a job after that starts new ones, so an application whose
    lifespan runs twice goes on working. A pool that nobody holds any more ends its threads too, and so does the
    interpreter, which waits for the jobs in hand only. After a fork the child starts threads of its own.

    Args:
        threads: how many; by default `usable_cores`. Set it where a container may use less than the cores that it sees.
        queue: how many jobs may wait beside those that run; by default `QUEUE_PER_THREAD` for each thread.

    Raises:
        ConfigurationError: a number is below 1, or below 0 for the queue.
    """

    def __init__(self, threads: int | None = None, *, queue: int | None = None) -> None:
        self._threads = usable_cores() if threads is None else threads
        if self._threads < 1:
            raise ConfigurationError("A hashing pool needs at least one thread.")
        self._queue = QUEUE_PER_THREAD * self._threads if queue is None else queue
        if self._queue < 0:
            raise ConfigurationError("The queue of a hashing pool cannot be shorter than none.")
        self._starting = threading.Lock()
        self._crew: _Crew | None = None

    @property
    def threads(self) -> int:
        """How many jobs run at a time."""
        return self._threads

    @property
    def queue(self) -> int:
        """How many jobs may wait."""
        return self._queue

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function in one of the threads, in the context of the caller, and return what it returns.

        A caller that is cancelled gives up its place in the queue; a job that has begun is finished, unheard.

        Raises:
            Busy: as many jobs wait as may; with the whole seconds after which the queue should be empty.
            Unavailable: the pool was closed while the job was waiting.
            BaseException: whatever the function raises.
        """
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        job = _Job(partial(context.run, function, *args, **kwargs), loop)
        crew = self._working_crew()
        crew.add(job)
        try:
            result: T = await job.future
        finally:
            crew.withdraw(job)
            # An error refers to this frame, and the job to the error: without that circle both end with their last use.
            del job
        return result

    def close(self) -> None:
        """End the threads, each after the job in its hand, and refuse the jobs that wait; returns at once."""
        with self._starting:
            crew, self._crew = self._crew, None
        if crew is not None:
            crew.stop()

    def _working_crew(self) -> _Crew:
        crew = self._crew
        if crew is not None and crew.pid == os.getpid():
            return crew
        with self._starting:
            if self._crew is None or self._crew.pid != os.getpid():
                self._crew = _Crew(self._threads, self._queue)
                # Not for the exit of the interpreter, which has to wait for the jobs in hand: see _stop_all.
                weakref.finalize(self, self._crew.stop).atexit = False
            return self._crew


class _Job:
    """One call, and the future of the one who waits for it."""

    __slots__ = ("call", "future", "loop")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.call: Callable[[], Any] | None = call
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def deliver(self, result: Any, error: BaseException | None) -> None:
        """Hand the outcome to the loop of the one who waits, from any thread."""
        with contextlib.suppress(RuntimeError):  # that loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():  # cancelled
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _Crew:
    """The threads of a pool from their start to their end.

    No lock is shared with the threads: one at nice 19 that held it while the cores are taken would hold up the event
    loop. `_waiting` is the truth about who waits, since taking out of a set is atomic: whoever gets the job out may run
    it, or drop it. What is in the queue without being in that set is passed over. `_places` holds the jobs that wait or
    run.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self.pid = os.getpid()
        self._capacity = threads + queue
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting: set[_Job] = set()
        self._places: set[_Job] = set()
        self._mean = _FIRST_GUESS  # seconds a job took of late
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"limen-hashing-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        _crews.add(self)

    def add(self, job: _Job) -> None:
        if len(self._places) >= self._capacity:
            raise Busy(retry_after=self._drain_time())
        self._places.add(job)
        self._waiting.add(job)
        self._queue.put(job)
        if self._stopped:  # while this went on, perhaps behind the last word in the queue
            self._refuse(job)

    def withdraw(self, job: _Job) -> None:
        """Give up the place of a job that has not begun; its arguments are let go of at once."""
        if self._claim(job):
            self._places.discard(job)
            job.call = None

    def stop(self) -> None:
        """Refuse the jobs that wait and end the threads, each after the job in its hand."""
        self._stopped = True
        for job in self._waiting.copy():
            self._refuse(job)
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> None:
        """Wait for the jobs in hand."""
        for thread in self._threads:
            thread.join()

    def _claim(self, job: _Job) -> bool:
        try:
            self._waiting.remove(job)
        except KeyError:
            return False
        return True

    def _refuse(self, job: _Job) -> None:
        if self._claim(job):
            self._places.discard(job)
            job.call = None
            job.deliver(None, Unavailable())

    def _drain_time(self) -> int:
        """Estimate the whole seconds until those who wait now have been served."""
        seconds = math.ceil(len(self._places) * self._mean / len(self._threads))
        return min(max(seconds, 1), _LONGEST_RETRY)

    def _work(self) -> None:
        _lower_priority()
        while (job := self._queue.get()) is not None:
            if self._claim(job):
                self._perform(job)
            # Or this thread would keep a password in memory until the next one comes.
            del job

    def _perform(self, job: _Job) -> None:
        result: Any = None
        error: BaseException | None = None
        call, job.call = job.call, None
        began = time.perf_counter()
        try:
            if call is not None:
                result = call()
        except BaseException as raised:  # whatever it is, it is the caller's; this thread has to go on
            error = raised
        seconds = time.perf_counter() - began
        metrics.HASH_SECONDS.observe(seconds)
        self._mean += _WEIGHT * (seconds - self._mean)
        self._places.discard(job)
        job.deliver(result, error)
        # The same circle as in `run`.
        del call, error, job


_crews: weakref.WeakSet[_Crew] = weakref.WeakSet()
metrics.HASH_QUEUE.read_by(lambda: sum(len(crew._waiting) for crew in _crews.copy()))


def _lower_priority() -> None:
    """Put the calling thread, and none other, at the lowest priority, where the system can do that."""
    if sys.platform == "linux":  # elsewhere a thread's id is no process's, and may be the id of a stranger
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


@atexit.register
def _stop_all() -> None:
    """End all threads before the interpreter goes: a C extension that comes back to none may crash."""
    crews = [crew for crew in _crews if crew.pid == os.getpid()]
    for crew in crews:
        crew.stop()
    for crew in crews:
        crew.join()
