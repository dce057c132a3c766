"""Counting in the memory of one process."""

import logging
from collections.abc import Sequence
from threading import Lock
from typing import Final

from limen.core.clock import Clock, system_clock
from limen.features.throttling.store import NOTHING, Back, Held, Take, Verdict

MOST_BUCKETS: Final = 200_000
"""Buckets at most, of some 200 bytes each; beyond, the oldest ones are forgotten, which is logged."""

_log = logging.getLogger(__name__)


class MemoryThrottles:
    """Implements `limen.features.throttling.store.ThrottleStore` for one process: each other one counts for itself.

    Args:
        clock: the time now.
        most_buckets: how many are remembered.
    """

    def __init__(self, clock: Clock = system_clock, *, most_buckets: int = MOST_BUCKETS) -> None:
        self._clock = clock
        self._most = most_buckets
        self._lock = Lock()
        # In the order in which their windows began.
        self._held: dict[str, tuple[int, int]] = {}

    async def take(self, takes: Sequence[Take]) -> Verdict:
        """Count one in each, or none in any."""
        return self.take_now(takes)

    async def give_back(self, backs: Sequence[Back]) -> None:
        """Take out what is not to count."""
        with self._lock:
            for bucket, ends_at, emptied in backs:
                found = self._held.get(bucket)
                if found is not None and emptied:
                    del self._held[bucket]
                elif found is not None and ends_at in (0, found[1]):
                    self._held[bucket] = (max(0, found[0] - 1), found[1])

    def take_now(self, takes: Sequence[Take]) -> Verdict:
        """Count one in each, or none in any; nothing is waited for."""
        now = round(self._clock() * 1000)
        with self._lock:
            full, present, living = {}, self._held, []
            for bucket, most, window, _ in takes:
                found = present.get(bucket)
                # An end that far away was written while the clock was wrong.
                if found is None or not now < found[1] <= now + 2 * window:
                    living.append(0)
                    continue
                taken, ends_at = found
                living.append(taken)
                if taken >= most:
                    full[bucket] = Held(taken, ends_at, ends_at - now)
            if full:
                return Verdict(False, NOTHING, full)
            return Verdict(True, {take[0]: self._count(take, n, now) for take, n in zip(takes, living, strict=True)})

    def _count(self, take: Take, taken: int, now: int) -> Held:
        bucket, _, window, renewed = take
        # It may have been forgotten a moment ago, to make room for another one of the same attempt.
        found = self._held.get(bucket) if taken and not renewed else None
        if found is None:
            ends_at = now + window
            self._held.pop(bucket, None)
            if len(self._held) >= self._most:
                self._make_room(now)
        else:
            ends_at = found[1]
        self._held[bucket] = (taken + 1, ends_at)
        return Held(taken + 1, ends_at, ends_at - now)

    def _make_room(self, now: int) -> None:
        self._held = {bucket: held for bucket, held in self._held.items() if held[1] > now}
        # A tenth at once: one who has many buckets made must not cost a walk through all of them each time.
        too_many = len(self._held) - self._most * 9 // 10
        if too_many > 0:
            _log.warning("throttle_buckets_forgotten", extra={"buckets": too_many})
            for bucket in list(self._held)[:too_many]:
                del self._held[bucket]
