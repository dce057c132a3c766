"""Tells which files of the application's own are executed, so that they are read while the import goes on."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_LIBRARIES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OURS: Final = str(Path(__file__).parent) + os.sep


def tell_executed(here: Path, tell: Callable[[str], None]) -> Callable[[], None]:
    """Tell each file below a folder when its code is executed, once; return what ends it.

    Python's own event is heard, so nothing about the import is another. What is told is a guess: a file that is no
    module of the application's is told, too, and what came from another folder is not.

    Args:
        here: the folder.
        tell: takes the path of a file.
    """
    below, process = str(here).rstrip(os.sep) + os.sep, os.getpid()
    told: set[str] = set()
    ended = threading.Event()
    telling = threading.Lock()

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event != "exec" or ended.is_set():
            return
        file = getattr(args[0], "co_filename", "")
        if file in told or not file.endswith(".py") or not file.startswith(below) or file.startswith(_OURS):
            return
        # A process that an import forks has the same hook, and the same descriptor.
        if any(each in file for each in _LIBRARIES) or os.getpid() != process:
            return
        with telling:
            if not ended.is_set() and file not in told:
                told.add(file)
                tell(os.path.realpath(file))

    def end() -> None:
        with telling:
            ended.set()

    sys.addaudithook(hear)
    return end
