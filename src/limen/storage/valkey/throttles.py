"""Counting in Valkey: one text under one key for each bucket, and two scripts.

The time is Valkey's own: the clocks of many processes differ, and what one of them takes for over another one does not.
"""

import time
from collections.abc import Sequence
from hashlib import sha1
from typing import Final

from limen.core.clock import Clock, system_clock
from limen.core.errors import Unavailable
from limen.features.throttling.store import Back, Held, Take, Verdict
from limen.storage.valkey.client import Valkey

MARGIN_MS: Final = 3_600_000
"""A key outlives its window by an hour (milliseconds), as those of the sessions do."""

# Arguments: by how many milliseconds the clock is turned, then for each key what the bucket holds, its window and
# whether it is renewed. Answers whether all were counted, the time, and for each key what is in it and when it ends.
_TAKE: Final = f"""
local function number(x) return string.format('%.0f', x) end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000) + tonumber(ARGV[1])
local taken, ends, all = {{}}, {{}}, true
for i, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local count, over = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  taken[i], ends[i] = tonumber(count or 0), tonumber(over or 0)
  if ends[i] <= now or ends[i] - now > 2 * window then taken[i], ends[i] = 0, now + window end
  if taken[i] >= most then all = false end
end
local answer = {{all and '1' or '0', number(now)}}
for i, key in ipairs(KEYS) do
  if all then
    taken[i] = taken[i] + 1
    if ARGV[3 * i + 1] == '1' then ends[i] = now + tonumber(ARGV[3 * i]) end
    redis.call('SET', key, number(taken[i]) .. ' ' .. number(ends[i]), 'PX', number(ends[i] - now + {MARGIN_MS}))
  end
  answer[#answer + 1] = number(taken[i])
  answer[#answer + 1] = number(ends[i])
end
return table.concat(answer, ' ')
"""

# Arguments: for each key the end of the window that it is taken from, and whether all is taken out.
_GIVE_BACK: Final = """
for i, key in ipairs(KEYS) do
  local count, over = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  if count and ARGV[2 * i] == '1' then
    redis.call('DEL', key)
  elseif count and tonumber(count) > 0 and (ARGV[2 * i - 1] == '0' or ARGV[2 * i - 1] == over) then
    redis.call('SET', key, string.format('%.0f', tonumber(count) - 1) .. ' ' .. over, 'KEEPTTL')
  end
end
return '1'
"""
_SHA_TAKE: Final = sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()
_SHA_GIVE_BACK: Final = sha1(_GIVE_BACK.encode(), usedforsecurity=False).hexdigest()


class ValkeyThrottles:
    """Implements `limen.features.throttling.store.ThrottleStore`.

    Args:
        valkey: where it is done.
        clock: the system's, or one that tests turn: Valkey is told how far.
    """

    def __init__(self, valkey: Valkey, clock: Clock = system_clock) -> None:
        self._valkey = valkey
        self._clock = clock

    async def take(self, takes: Sequence[Take]) -> Verdict:
        """Count by one script, in one round trip."""
        arguments: list[str | int] = [self._shift()]
        for _, most, window, renewed in takes:
            arguments += (most, window, int(renewed))
        keys = [_key_of(take.bucket) for take in takes]
        admitted, now, *numbers = _numbers(await self._valkey.evaluate(_TAKE, _SHA_TAKE, keys, arguments))
        found = {
            take.bucket: Held(taken, ends_at, ends_at - now)
            for take, taken, ends_at in zip(takes, numbers[::2], numbers[1::2], strict=True)
        }
        if admitted:
            return Verdict(True, held=found)
        full = {take.bucket: found[take.bucket] for take in takes if found[take.bucket].taken >= take.most}
        return Verdict(False, full=full)

    async def give_back(self, backs: Sequence[Back]) -> None:
        """Take out by one script, in one round trip."""
        arguments: list[str | int] = []
        for _, ends_at, emptied in backs:
            arguments += (ends_at, int(emptied))
        keys = [_key_of(back.bucket) for back in backs]
        await self._valkey.evaluate(_GIVE_BACK, _SHA_GIVE_BACK, keys, arguments)

    def _shift(self) -> int:
        return 0 if self._clock is system_clock else round((self._clock() - time.time()) * 1000)


def _key_of(bucket: str) -> str:
    # What is in braces keeps the buckets of one question in one place of a cluster.
    return f"limen:{{throttle}}:{bucket}"


def _numbers(answer: bytes | None) -> list[int]:
    if answer is None:
        raise Unavailable("The store of the sessions does not answer.")
    return [int(number) for number in answer.split()]
