"""Looks at an application in a child process with a time limit, and brings back facts."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any, Final

import msgspec

from limen.checklist.facts import Application, Broken

_SAID: Final = 2000


class _Told(msgspec.Struct):
    files: tuple[str, ...] | None = None
    application: Application | None = None
    broken: Broken | None = None


def look_at(
    target: str, *, timeout: float = 60.0, meanwhile: Callable[[tuple[str, ...]], None] | None = None
) -> Application | Broken:
    """Import an application in a process of its own, and return what is known of it.

    It is imported first as it is, and once more with settings made up where that failed: secrets that are missing in
    CI are no reason not to look.

    Args:
        target: ``MODULE:NAME``; the current folder is on the path.
        timeout: seconds for each of the two.
        meanwhile: called with the application's own files as soon as they are known, while its routes are read.
    """
    found = _look(target, "plain", timeout, meanwhile)
    if isinstance(found, Broken):
        again = _look(target, "fill", timeout, meanwhile)
        # With its settings it came further: then there is no such name in it, or no application.
        if isinstance(again, Application) or _is_imported(again):
            return again
    return found


def _is_imported(broken: Broken) -> bool:
    return broken.reason.startswith("NotFound:") or "not a FastAPI or Starlette application" in broken.reason


def _look(
    target: str, fill: str, timeout: float, meanwhile: Callable[[tuple[str, ...]], None] | None
) -> Application | Broken:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - this Python, this module
                [sys.executable, "-m", "limen.checklist.child", target, str(writing), fill],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        finally:
            os.close(writing)
        found = _told(process, pipe, timeout, meanwhile)
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        return msgspec.structs.replace(found, said=said.read().decode(errors="replace"))


def _told(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    timeout: float,
    meanwhile: Callable[[tuple[str, ...]], None] | None,
) -> Application | Broken:
    """Return what the child wrote; it is killed at the end of its time."""
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    found: Any = None
    try:
        for line in pipe:
            told = msgspec.json.decode(line, type=_Told)
            found = told.application or told.broken
            if told.files is not None and meanwhile is not None:
                meanwhile(told.files)
        process.wait()
    finally:
        in_time = timer.is_alive()
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
    if found is not None:
        return found  # type: ignore[no-any-return]
    if not in_time:
        return Broken(f"the import took longer than {timeout:g} s")
    return Broken(f"the process that imported it ended with {process.returncode}")
