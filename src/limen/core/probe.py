"""Asks whether something answers, at most once a second, however many want to know."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from limen.core.errors import LimenError, Unavailable

WAIT_SECONDS = 2.0
KEEP_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Probe:
    """One answer for all who ask within a second: a storm of probes is no storm of queries.

    Args:
        check: returns where all is well, and raises where it is not.
        wait: how long it may take, in seconds; what takes longer does not answer.
        keep: how long its answer counts, in seconds.
        monotonic: the clock that says when an answer is too old, in seconds.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        *,
        wait: float = WAIT_SECONDS,
        keep: float = KEEP_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._wait = wait
        self._keep = keep
        self._monotonic = monotonic
        self._asking: asyncio.Task[LimenError | None] | None = None
        self._good_until = 0.0

    async def ask(self) -> None:
        """Return where all is well, or was within the last second.

        Raises:
            LimenError: what the check raised; `Unavailable` where it took too long or failed otherwise.
        """
        asking = self._asking
        if (
            asking is None
            or (asking.done() and self._monotonic() >= self._good_until)
            or asking.get_loop() is not asyncio.get_running_loop()
        ):
            asking = self._asking = asyncio.create_task(self._outcome(), name="limen: probe")
        # Not awaited itself: whoever gives up waiting must not cancel it for the others.
        await asyncio.wait({asking})
        error = None if asking.cancelled() else asking.result()
        if asking.cancelled():
            raise Unavailable()
        if error is not None:
            raise error.with_traceback(None)

    async def _outcome(self) -> LimenError | None:
        try:
            async with asyncio.timeout(self._wait):
                await self._check()
        except TimeoutError:
            _log.warning("no answer in time", extra={"seconds": self._wait})
            return Unavailable("The database does not answer.")
        except LimenError as error:
            return error
        except Exception:
            _log.exception("a check failed")
            return Unavailable()
        finally:
            self._good_until = self._monotonic() + self._keep
        return None
