"""What a service learns of the sessions that ended at its issuer: it asks, again and again, with an overlap."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from limen.authn.ended import EndedSessions
from limen.authn.outbound import Outbound, OutboundError, require_callable_url
from limen.core.clock import Clock
from limen.core.ids import is_uuid7

POLL_SECONDS: Final = 1.0
REFUSED_SECONDS: Final = 10.0
"""How soon it is asked again after the key was refused: nobody's rights change by the second."""
BLIND_SECONDS: Final = 10.0
"""How old the last answer may be before this service says that it does not know what ended."""
MOST_PARTS: Final = 1_000
_MARGIN_MS: Final = 60_000

_log = logging.getLogger(__name__)


class _Unreadable(Exception):
    """The answer is not a part of the list."""


class EndedFollower:
    """Follows the list of ended sessions of an issuer.

    Args:
        url: where the list is: ``/auth/ended`` of the issuer.
        key: an API key whose owner may ``sessions:watch``.
        outbound: makes the calls.
        ended: what is filled.
        clock: the time, in seconds since 1970 UTC.
        monotonic: seconds of a clock that nobody turns.

    Raises:
        ConfigurationError: no address that can be called.
    """

    def __init__(
        self,
        url: str,
        key: str,
        outbound: Outbound,
        ended: EndedSessions,
        *,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        require_callable_url(url, "watch_url")
        self._url = url
        self._headers = {"X-API-Key": key}
        self._outbound = outbound
        self._ended = ended
        self._clock = clock
        self._monotonic = monotonic
        self._place: str | None = None
        self._heard_at: float | None = None
        self._fault = ""

    @property
    def is_blind(self) -> bool:
        """Tell whether sessions may have ended of which this service has not heard."""
        return self._heard_at is None or self._monotonic() - self._heard_at > BLIND_SECONDS

    async def look(self) -> None:
        """Read what ended since the last time.

        Raises:
            OutboundError: the issuer does not answer, or refuses.
        """
        asked_at = self._monotonic()
        for _ in range(MOST_PARTS):
            url = self._url if self._place is None else f"{self._url}?after={quote(self._place)}"
            try:
                part, _ = await self._outbound.get_json(url, headers=self._headers)
            except OutboundError as error:
                if error.code == "status":
                    self._place = None  # perhaps it is the place that is not understood: from the beginning, then
                raise
            try:
                more = self._take(part)
            except (_Unreadable, ValueError) as error:
                raise OutboundError("not_json", "The answer is no list of ended sessions.") from error
            if not more:
                break
        # What ended after it was asked is in the next answer.
        self._heard_at = asked_at

    async def follow(self) -> None:
        """Look again and again, until it is cancelled. Where the issuer does not answer, that is told once."""
        while True:
            fault = ""
            try:
                await self.look()
            except OutboundError as error:
                fault = error.code
            except Exception:
                _log.exception("the list of ended sessions could not be read; it is tried again")
                fault = "failed"
            if fault != self._fault:
                self._tell(fault)
            self._ended.forget_before(int(self._clock() * 1000) - _MARGIN_MS)
            await asyncio.sleep(REFUSED_SECONDS if fault == "status" else POLL_SECONDS)

    def _take(self, part: Mapping[str, Any]) -> bool:
        items, place, more = part.get("items"), part.get("next"), part.get("more")
        if not isinstance(items, list) or not isinstance(place, str) or not place or not isinstance(more, bool):
            raise _Unreadable
        for item in items:
            if not isinstance(item, dict) or not is_uuid7(str(item.get("sid"))):
                raise _Unreadable
            keep_until = datetime.fromisoformat(str(item.get("keep_until")))
            if keep_until.tzinfo is None:
                raise _Unreadable
            self._ended.add(item["sid"], int(keep_until.timestamp() * 1000))
        self._place = place
        return more

    def _tell(self, fault: str) -> None:
        self._fault = fault
        if fault:
            _log.error("what ended at the issuer is not known", extra={"fault": fault, "url": self._url})
        else:
            _log.info("what ended at the issuer is known", extra={"url": self._url})
