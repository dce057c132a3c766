"""Reads many routes in two processes at once.

The application is imported already, so the second process is a copy of the first. It reads about half of the routes,
those whose code lies together, so that neither reads what the other has read. Its answer counts only where it is
whole: otherwise the first process reads that half, too, as it would have without the second. So there is never a route
less, and what goes wrong is told as ever.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from limen.checklist.facts import Cookie, Route

FEWEST: Final = 200
"""Of fewer routes a second process is not worth its start."""
_MOST: Final = 0.6
"""The larger half has at most so many of the routes, or they are parted in another way."""


class Some(msgspec.Struct, frozen=True):
    """What was read of some routes, in their order: facts of each, and the cookies that were first come upon there."""

    routes: tuple[Route, ...]
    cookies: tuple[tuple[Cookie, ...], ...]


Read = Callable[[Sequence[Any]], Some]


def read_all(seen: Sequence[Any], read: Read, file_of: Callable[[Any], str]) -> Some:
    """Return what is read of some routes.

    Args:
        seen: the routes.
        read: reads some; what it remembers of others changes nothing of what it returns.
        file_of: tells in which file the code of a route stands, or nothing.
    """
    if len(seen) < FEWEST or not _is_alone() or not _has_room():
        return read(seen)
    is_mine = _halved([file_of(each) for each in seen])
    mine, others = [
        [each for each, is_so in zip(seen, is_mine, strict=True) if is_so is half] for half in (True, False)
    ]
    reading, writing = os.pipe()
    remaining, _ = signal.getitimer(signal.ITIMER_REAL)
    try:
        process = os.fork()
    except OSError:  # there may be no more processes
        os.close(reading)
        os.close(writing)
        return read(seen)
    if process == 0:
        _answer(writing, others, read, remaining)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        try:
            first = read(mine)
            second = _whole(pipe.read(), len(others))
        finally:
            _end(process)
    if second is None:
        second = read(others)
    return _together(first, second, is_mine)


def _halved(files: list[str]) -> list[bool]:
    """Return which routes are in the first half: those of a folder together, or else of a file, or else as they stand.

    A folder is often a part of the application, with its services beside its routes.
    """
    for parts in ([str(Path(each).parent) for each in files], files):
        numbers, first, count = Counter(parts), set[str](), 0
        for part, number in numbers.items():
            if count + number <= len(parts) * _MOST:
                first.add(part)
                count += number
            if count >= len(parts) / 2:
                break
        if count >= len(parts) * (1 - _MOST):
            return [each in first for each in parts]
    return [number < len(files) // 2 for number in range(len(files))]


def _together(first: Some, second: Some, is_mine: list[bool]) -> Some:
    """Return what both have read, in the order of the routes."""
    mine, others = (zip(each.routes, each.cookies, strict=True) for each in (first, second))
    routes, cookies = zip(*(next(mine if is_so else others) for is_so in is_mine), strict=True)
    return Some(routes, cookies)


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
    return found if len(found.routes) == len(found.cookies) == number else None


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
