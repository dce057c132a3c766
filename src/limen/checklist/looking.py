"""Looks at an application in a child process with a time limit, and brings back facts."""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from limen.checklist.child import CLOSED, WHERE, Order
from limen.checklist.facts import Application, Broken
from limen.checklist.importing import innermost_of_dump
from limen.checklist.made_up import guess, guessed
from limen.checklist.redacting import file_of_settings, without_secrets

_SAID: Final = 8_000
_DUMPED_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.5
_MOST_GUESSES: Final = 24
_DUMP: Final = b"(most recent call first):"

Meanwhile = Callable[[str], None]


class _Told(msgspec.Struct):
    file: str | None = None
    files: tuple[str, ...] | None = None
    application: Application | None = None
    broken: Broken | None = None


_begun: list[tuple["subprocess.Popen[bytes]", int]] = []


def begin() -> None:
    """Start the process that will look, before it is known at what: it gets ready meanwhile.

    It sees the environment and the folder of now, and ends by itself where nobody orders anything.
    """
    _begun.append(_start({}))


def _start(made_up: Mapping[str, str]) -> tuple["subprocess.Popen[bytes]", int]:
    """Start a process that waits for an order; return it, and the file that it writes facts to."""
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - this Python, this module
            [sys.executable, "-P", "-m", "limen.checklist.child", str(writing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
            env={**os.environ, **made_up, "PYTHONDONTWRITEBYTECODE": "1"},
            # A group of its own, so that what the import leaves behind ends with it; and without a terminal.
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


def _give(process: "subprocess.Popen[bytes]", order: Order) -> None:
    pipe: Any = process.stdin
    # One that is gone already is found to have ended without a word.
    with suppress(BrokenPipeError), pipe:
        pipe.write(msgspec.json.encode(order))


def look_at(target: str, *, timeout: float = 60.0, meanwhile: Meanwhile | None = None) -> Application | Broken:
    """Import an application in a process of its own, and return what is known of it.

    It is imported first as it is. Where that failed, settings that are missing are made up: secrets that are missing in
    CI are no reason not to look.

    Args:
        target: ``MODULE:NAME``; the current folder is on the path.
        timeout: seconds for the import as it is, and seconds for all attempts with settings made up.
        meanwhile: called with files of the application's own while it is imported and its routes are read, with some
            more than once; and with some that turn out to be none of its own.
    """
    attempt = _Attempt(target, meanwhile)
    first = attempt.look("plain", {}, timeout)
    if isinstance(first, Application) or attempt.was_late():
        return first
    deadline = time.monotonic() + timeout
    tried: dict[str, int] = {}
    for _ in range(_MOST_GUESSES):
        found = attempt.look("fill", guessed(tried), max(1.0, deadline - time.monotonic()))
        if isinstance(found, Application):
            return msgspec.structs.replace(found, faked=(*tried, *found.faked))
        if attempt.was_late() or not guess(found.reason, tried, os.environ):
            return _both(first, found)
    return first


def _both(first: Broken, found: Broken) -> Broken:
    """Return why it failed as it is, and what came next where its settings were made up."""
    if found.reason == first.reason:
        return first
    return msgspec.structs.replace(first, reason=f"{first.reason}; and with settings made up: {found.reason}")


class _Attempt:
    """Attempts to look at one application."""

    def __init__(self, target: str, meanwhile: Meanwhile | None) -> None:
        self._is_late = False
        self._target = target
        self._meanwhile = meanwhile

    def was_late(self) -> bool:
        """Tell whether the last one took longer than it may."""
        return self._is_late

    def look(self, fill: str, made_up: Mapping[str, str], timeout: float) -> Application | Broken:
        """Import it once; end whatever that has started."""
        self._is_late = False
        process, reading = _begun.pop() if _begun and fill == "plain" else _start(made_up)
        with os.fdopen(reading, "rb"):
            _give(process, Order(self._target, fill == "fill", timeout))
            said = _Said(process.stdout)
            timer = threading.Timer(timeout, self._end_late, (process, said))
            timer.daemon = True
            timer.start()
            try:
                found = self._read(reading, process)
                if found is None:  # it ends without a word: how, it says itself
                    process.wait()
            finally:
                timer.cancel()
                # Where it is late already, whoever ends it asks where it stands first.
                if self._is_late:
                    timer.join()
                _end(process)
        return self._judged(found, process, said, timeout)

    def _end_late(self, process: "subprocess.Popen[bytes]", said: "_Said") -> None:
        self._is_late = True
        with suppress(ProcessLookupError):
            process.send_signal(WHERE)
            said.wait_for(_DUMP, _DUMPED_SECONDS)
        _end(process)

    def _read(self, pipe: int, process: "subprocess.Popen[bytes]") -> Application | Broken | None:
        """Return what the child tells; not to the end of the pipe, which what it has started may hold open.

        Files are read one by one whenever nothing is told, so the child never waits for longer than one file takes.
        """
        lines = _Lines(pipe, lambda: process.poll() is not None)
        waiting: deque[str] = deque()
        found: Application | Broken | None = None
        while found is None:
            line = lines.next(wait=not waiting)
            if line is None:
                self._work(waiting)
                continue
            if not line:
                return None
            try:
                told = msgspec.json.decode(line, type=_Told)
            except msgspec.MsgspecError:
                return Broken("what the process that imported it wrote cannot be read")
            waiting.extend(told.files or ([told.file] if told.file is not None else []))
            found = told.application or told.broken
        while waiting and isinstance(found, Application):
            self._work(waiting)
        return found

    def _work(self, waiting: "deque[str]") -> None:
        file = waiting.popleft()
        if self._meanwhile is not None:
            self._meanwhile(file)

    def _judged(
        self, found: Application | Broken | None, process: "subprocess.Popen[bytes]", said: "_Said", timeout: float
    ) -> Application | Broken:
        text = said.text()
        place = innermost_of_dump(text)
        if found is None and self._is_late:
            found = Broken(f"the import took longer than {timeout:g} s", place)
        elif found is None:
            found = Broken(f"the process that imported it {_ended(process.returncode)}", place)
        environment = {**file_of_settings(Path.cwd()), **os.environ}
        if isinstance(found, Broken):
            found = msgspec.structs.replace(found, reason=without_secrets(found.reason, environment))
        return msgspec.structs.replace(found, said=without_secrets(text, environment))


def _ended(code: int) -> str:
    if code == CLOSED:
        return "had its files closed by it"
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and its group: what it has started, and did not give a session of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Lines:
    """The lines of a pipe, with and without waiting for them."""

    def __init__(self, pipe: int, is_over: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._is_over = is_over
        self._rest = bytearray()
        self._ready = selectors.DefaultSelector()
        self._ready.register(pipe, selectors.EVENT_READ)

    def next(self, *, wait: bool) -> bytes | None:
        """Return a line; None where there is none yet; nothing at the end."""
        end = self._rest.find(b"\n")
        while end < 0:
            # Whoever wrote may be gone while the pipe is held open by what it has started.
            is_over = wait and self._is_over()
            if not self._ready.select(_PAUSE_SECONDS if wait and not is_over else 0):
                if wait and not is_over:
                    continue
                return b"" if is_over else None
            piece = os.read(self._pipe, 65_536)
            if not piece:
                rest, self._rest = bytes(self._rest), bytearray()
                return rest
            before = len(self._rest)
            self._rest += piece
            end = self._rest.find(b"\n", before)
        line = bytes(self._rest[: end + 1])
        del self._rest[: end + 1]
        return line


class _Said:
    """What a process prints, of which only the end is kept: it may be more than there is room for."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._end = b""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        with self._stream, suppress(OSError, ValueError):
            while piece := self._stream.read1(65_536):
                with self._changed:
                    self._end = (self._end + piece)[-_SAID:]
                    self._changed.notify_all()

    def wait_for(self, words: bytes, seconds: float) -> None:
        """Wait until something was said, and then until there is no more of it for a moment."""
        with self._changed:
            if self._changed.wait_for(lambda: words in self._end, seconds):
                while self._changed.wait(_PAUSE_SECONDS):
                    continue

    def text(self) -> str:
        """Return the end of what was said, when nobody says any more."""
        self._thread.join(_DUMPED_SECONDS)
        with self._changed:
            return self._end.decode(errors="replace")
