"""Processes whose clock is wrong, or steps while they run: Debian's package ``faketime`` (libfaketime).

What a program reads as the time of day is shifted; what it measures durations by (the monotonic clock) is left alone,
as on a machine whose clock is set. It has to be there when a process is started: forks of it share its clock.
"""

import os
import shutil
from pathlib import Path

from tests.support.processes import uncounted

LACKING = "libfaketime, for clocks that are wrong: Debian's package faketime"
# The one for programs with threads.
PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
SHARED_MEMORY = Path("/dev/shm")


def library() -> Path | None:
    """Return the library that is loaded before all others, None where it is not installed."""
    found = [path for pattern in PLACES for path in sorted(Path("/").glob(pattern[1:]))]
    if found:
        return found[0]
    program = shutil.which("faketime")
    beside = Path(program).resolve().parent.parent / "lib" / "faketime" / "libfaketimeMT.so.1" if program else None
    return beside if beside and beside.exists() else None


class ShiftedClock:
    """The clock of some processes.

    Args:
        file: where the shift is kept; the processes read it again each time they ask for the time.
        seconds: by which it is ahead of the system's clock; behind it where negative.

    Raises:
        LookupError: libfaketime is not installed.
    """

    def __init__(self, file: Path, seconds: float = 0.0) -> None:
        found = library()
        if found is None:
            raise LookupError(LACKING)
        self._library = found
        self._file = file
        self.step_to(seconds)

    def step_to(self, seconds: float) -> None:
        """Set the clock, at once and for all its processes, to so many seconds ahead of the system's."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.3f}s\n", encoding="ascii")
        fresh.replace(self._file)

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that is to have this clock."""
        before = os.environ.get("LD_PRELOAD")
        return {
            **uncounted(),
            "LD_PRELOAD": f"{self._library}:{before}" if before else str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Times of files would be shifted, too: SQLite's and the interpreter's caches are not what is tested.
            "NO_FAKE_STAT": "1",
        }


def forget(pid: int) -> None:
    """Remove what the library keeps for a process, which a killed one leaves behind."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (SHARED_MEMORY / name).unlink(missing_ok=True)
