"""What tests that start processes have in common."""

import os
import time
from collections.abc import Callable


def uncounted() -> dict[str, str]:
    """Return this process's environment without coverage: a process that is killed, or only serves, is not counted."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait that long at most for a condition; return whether it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
