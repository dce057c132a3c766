"""Sockets that were opened with a credential of which only the store knows whether it still counts.

Nothing waits for the store: it is asked beside, at most once a second for each credential, however many sockets it has
opened.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from limen.core.errors import LimenError
from limen.core.principal import Principal

FRESH_SECONDS: Final = 1.0
"""How long what the store said of a credential is believed; the promise is two seconds."""
OPEN_SECONDS: Final = 10.0
"""How long an open socket outlives the last answer of the store about its credential."""
MOST_OPEN: Final = 10_000
"""Credentials of open sockets that are remembered."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """The last answer, and whether another one is on its way; None is a no."""

    principal: Principal | None
    asked_at: float
    is_asking: bool = False


class OpenSockets:
    """What the store last said of the credentials of open sockets.

    Args:
        live: asks the store, and raises for a credential that counts no more.
        monotonic: seconds of a clock that nobody turns.
    """

    def __init__(self, live: Callable[[Principal], Awaitable[Principal]], monotonic: Callable[[], float]) -> None:
        self._live = live
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def may_stay(self, principal: Principal, asked_at: float) -> bool:
        """Tell whether the principal is still who it was when the socket was opened.

        The answer is at most a second old, and a bit. Where the store has not answered for ten seconds, it is no; and
        so it is where roles or permissions are others by now.

        Args:
            principal: as it was then.
            asked_at: when the store was asked then.
        """
        sid, now = principal.sid or "", self._monotonic()
        known = self._known.get(sid)
        if known is None or known.asked_at < asked_at:
            while len(self._known) >= MOST_OPEN:
                del self._known[next(iter(self._known))]
            known = self._known[sid] = _Known(principal, asked_at)
        if now - known.asked_at >= FRESH_SECONDS and not known.is_asking:
            known.is_asking = True
            task = asyncio.get_running_loop().create_task(self._ask_again(principal, known))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if known.principal is None or now - known.asked_at > OPEN_SECONDS:
            return False
        is_same = known.principal.permissions == principal.permissions
        return is_same and known.principal.roles == principal.roles

    async def _ask_again(self, principal: Principal, known: _Known) -> None:
        asked_at = self._monotonic()
        try:
            known.principal = await self._live(principal)
        except LimenError as error:
            if error.status >= 500:
                _log.warning("the credential of an open socket could not be asked about", extra={"code": error.code})
                return
            known.principal = None
        finally:
            known.is_asking = False
        known.asked_at = asked_at
