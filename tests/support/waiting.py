"""Waiting for what nobody tells a test of, on a machine that stands still now and then."""

import asyncio
import inspect
import sys
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec

import pytest

P = ParamSpec("P")

PATIENCE: Final = 60.0
"""How long to wait for what comes at some time, in seconds: a machine that is ten times slower must get there, too."""
STEP_SECONDS: Final = 0.02
MOST_SECONDS: Final = 3 * STEP_SECONDS
"""As how long a step counts at the most."""


def in_one_of(attempts: int) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let a test that measures time on a whole machine begin anew, with servers of its own, where an attempt failed.

    A machine that stood still in one attempt does not in the next; what is wrong fails in all of them.
    """

    def repeating(test: Callable[P, None]) -> Callable[P, None]:
        @wraps(test)
        def repeated(*args: P.args, **kwargs: P.kwargs) -> None:
            for _ in range(attempts - 1):
                try:
                    return test(*args, **kwargs)
                except (Exception, pytest.fail.Exception) as error:
                    sys.stdout.write(f"another attempt, after {type(error).__name__}: {error}\n")
            return test(*args, **kwargs)

        return repeated

    return repeating


class Awake:
    """How long this process was awake, in seconds.

    While a machine stands still, what a test waits for stands still as well; when it goes on, the clock says that the
    time is over before anything else had its turn. A step that took long counts as one that did not.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._last = time.monotonic()

    def step(self) -> float:
        """Count the time since the last step, and return the sum."""
        now = time.monotonic()
        self.seconds += min(now - self._last, MOST_SECONDS)
        self._last = now
        return self.seconds


async def felt(holds: Callable[[], bool | Awaitable[bool]], *, within: float, what: str = "it") -> None:
    """Wait until it holds; fail where it does not within so many seconds in which this process was awake.

    Raises:
        AssertionError: it was not felt in time.
    """
    awake = Awake()
    while True:
        late = awake.step() > within
        answer = holds()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        assert not late, f"{what} was not felt within {within:g} seconds"
        await asyncio.sleep(STEP_SECONDS)


def felt_here(holds: Callable[[], bool], *, within: float, what: str = "it") -> None:
    """Wait like `felt`, in a thread beside the loop that does the work.

    Raises:
        AssertionError: it was not felt in time.
    """
    awake = Awake()
    while True:
        late = awake.step() > within
        if holds():
            return
        assert not late, f"{what} was not felt within {within:g} seconds"
        time.sleep(STEP_SECONDS)


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str = "it") -> None:
    """Wait for what comes at some time, and fail only where a slow machine would have got there, too.

    Raises:
        AssertionError: it did not come.
    """
    await felt(holds, within=PATIENCE, what=what)
