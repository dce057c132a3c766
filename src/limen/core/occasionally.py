"""Work that strangers can ask for: done once for all who ask at the same time, and not again for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from limen.core.errors import LimenError

_NEVER: Final = float("-inf")


class Occasionally:
    """Does something when it is asked to, unless it was done a moment ago.

    Args:
        work: what to do.
        seconds: how long nothing is done after it has been begun.
        monotonic: the clock that says when it is time again, in seconds.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[object]],
        seconds: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._monotonic = monotonic
        self._begun = _NEVER
        self._failure: LimenError | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def ask(self) -> None:
        """Do it, or wait for it where it is under way, or return at once where it was done a moment ago.

        Whoever stops waiting does not stop it: others may wait for it, too.

        Raises:
            LimenError: it failed; whoever asks in the time after that is told the same.
        """
        task = self._under_way
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            if self._monotonic() - self._begun < self._seconds:
                if self._failure is not None:
                    raise self._failure
                return
            self._begun = self._monotonic()
            task = self._under_way = asyncio.create_task(self._do())
        await asyncio.shield(task)
        if self._failure is not None:
            raise self._failure

    async def _do(self) -> None:
        try:
            await self._work()
            self._failure = None
        except LimenError as error:
            self._failure = error
