"""Runs together what waits together, where a round trip and a commit cost more than the act itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Final, Generic, TypeAlias, TypeVar

from limen.core.errors import Busy, LimenError, Unavailable
from limen.storage.sql.postgres_faults import is_lost

Act = TypeVar("Act")
Found = TypeVar("Found")

MOST_TOGETHER: Final = 16
"""Acts in one statement at most: more save little, and leave too little room on a page for all the rows of it."""
STUCK_SECONDS: Final = 0.25
"""Nobody waits for a statement that has been under way for longer: the server hangs, or the network."""
PATIENCE_SECONDS: Final = 1.0
"""Who has waited for longer, in vain, is sent away: alone it would take as long again."""


class Alone:
    """The answer to an act that did not get through with the others: it is to be tried by itself."""


ALONE: Final = Alone()

_Waiter: TypeAlias = "asyncio.Future[Found | Alone]"


class Gathering(Generic[Act, Found]):
    """The acts of one event loop.

    What comes while nothing is under way goes alone, at once. What comes meanwhile waits for that to end, and then goes
    together. This only saves work: an act that is answered `ALONE` is done as it would have been without.

    Args:
        together: does several acts, all of them or none, and answers each in its place.
        alone: does one.
        most: how many acts go together at most.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Act]], Awaitable[Sequence[Found | Alone]]],
        alone: Callable[[Act], Awaitable[Found]],
        *,
        most: int = MOST_TOGETHER,
    ) -> None:
        self._most = most
        self._together = together
        self._alone = alone
        self._waiting: dict[Hashable, tuple[Act, _Waiter[Found]]] = {}
        self._busy = False
        self._since = 0.0
        # The loop itself keeps no task alive.
        self._task: asyncio.Task[None] | None = None

    async def run(self, key: Hashable, act: Act) -> Found:
        """Do the act.

        Args:
            key: what it is done to. Two acts on one thing never go together: a statement would do one of them.
            act: what is to be done.

        Raises:
            Busy: it was not done, and there is no time left to try it alone.
            Unavailable: the database failed, or was lost meanwhile; then it is not known whether the act was done.
        """
        if not self._busy:
            return await self._first(act)
        if key in self._waiting or time.monotonic() - self._since > STUCK_SECONDS:
            return await self._alone(act)
        waiter: _Waiter[Found] = asyncio.get_running_loop().create_future()
        self._waiting[key] = act, waiter
        began = time.monotonic()
        found = await waiter
        if not isinstance(found, Alone):
            return found
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise Busy()
        return await self._alone(act)

    async def _first(self, act: Act) -> Found:
        self._busy, self._since = True, time.monotonic()
        try:
            return await self._alone(act)
        finally:
            self._go_on()

    def _go_on(self) -> None:
        """Begin with those that wait."""
        self._busy = bool(self._waiting)
        if self._busy:
            keys = list(islice(self._waiting, self._most))
            batch = [self._waiting.pop(key) for key in keys]
            self._since = time.monotonic()
            self._task = asyncio.ensure_future(self._run(batch))

    async def _run(self, batch: "Sequence[tuple[Act, _Waiter[Found]]]") -> None:
        try:
            answers = await self._together([act for act, _ in batch])
            for (_, waiter), answer in zip(batch, answers, strict=True):
                if not waiter.done():
                    waiter.set_result(answer)
        except Exception as error:
            _fail(batch, error)
            if time.monotonic() - self._since > STUCK_SECONDS:
                # They have waited long enough: behind the next statement they would wait as long again.
                stuck, self._waiting = list(self._waiting.values()), {}
                _fail(stuck, error)
        finally:
            _fail(batch, Unavailable())
            self._go_on()


def _fail(batch: "Sequence[tuple[Act, _Waiter[Found]]]", error: Exception) -> None:
    """Answer whoever is not answered yet after a failure.

    They go on alone where the database refused the statement, so that one act cannot spoil it for the others.
    """
    cause = error.__cause__ if isinstance(error, LimenError) else error
    for _, waiter in batch:
        if waiter.done():
            continue
        if isinstance(cause, Exception) and not is_lost(cause):
            waiter.set_result(ALONE)
        else:
            failure = Unavailable()
            failure.__cause__ = error
            waiter.set_exception(failure)
