"""Reads many routes in two processes at once.

The application is imported already, so the second process is a copy of the first. It reads the second half of the
routes, and its answer counts only where it is whole: otherwise the first process reads that half, too, as it would
have without the second. So there is never a route less, and what goes wrong is told as ever.
"""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from limen.checklist.facts import Cookie, Route

FEWEST: Final = 200
"""Of fewer routes a second process is not worth its start."""


class Some(msgspec.Struct, frozen=True):
    """What was read of some routes: facts of each in their order, and the cookies that were come upon."""

    routes: tuple[Route, ...]
    cookies: tuple[Cookie, ...] = ()


Read = Callable[[Sequence[Any]], Some]


def read_all(seen: Sequence[Any], read: Read) -> Some:
    """Return what is read of some routes.

    Args:
        seen: the routes.
        read: reads some; what it remembers of others changes nothing of what it returns.
    """
    if len(seen) < FEWEST or not _is_alone() or not _has_room():
        return read(seen)
    middle = len(seen) // 2
    reading, writing = os.pipe()
    remaining, _ = signal.getitimer(signal.ITIMER_REAL)
    try:
        process = os.fork()
    except OSError:  # there may be no more processes
        os.close(reading)
        os.close(writing)
        return read(seen)
    if process == 0:
        _answer(writing, seen[middle:], read, remaining)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        try:
            first = read(seen[:middle])
            second = _whole(pipe.read(), len(seen) - middle)
        finally:
            _end(process)
    if second is None:
        second = read(seen[middle:])
    return Some((*first.routes, *second.routes), (*first.cookies, *second.cookies))


def _answer(writing: int, seen: Sequence[Any], read: Read, seconds: float) -> None:
    """Read some routes, write them, and end: nothing of the application that waits for an end is to run here."""
    try:
        # It ends by itself like the one that it is a copy of.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(msgspec.json.encode(read(seen)))
    finally:
        os._exit(0)


def _whole(written: bytes, number: int) -> Some | None:
    try:
        found = msgspec.json.decode(written, type=Some)
    except msgspec.MsgspecError:
        return None
    return found if len(found.routes) == number else None


def _end(process: int) -> None:
    # An application that ignores the ends of its processes has nothing that could be waited for.
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _is_alone() -> bool:
    """Tell whether this process has one thread: a copy has no others, and may wait for them for ever."""
    try:
        return len([*Path("/proc/self/task").iterdir()]) == 1
    except OSError:
        return False


def _has_room() -> bool:
    """Tell whether a second processor has nothing to do: two processes together take longer than one would."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cores > 1 and os.getloadavg()[0] < cores
