"""How often something may be tried: counted before it is, in buckets that tell nobody whose they are.

The name of a bucket is an HMAC of what it is for, whether that exists or not. Nobody is made to wait: who comes too
often is told when to come again, with the right password as with a wrong one.
"""

import hmac
import logging
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, NamedTuple

from limen.core import metrics
from limen.core.errors import LimitHit, RateLimited
from limen.core.rates import Rate
from limen.crypto.encoding import b64url_encode
from limen.crypto.keys import hkdf_sha256
from limen.features.throttling.store import Back, Held, Take, ThrottleStore, Verdict

_KEY_INFO: Final = b"limen/throttle/bucket/1"
_log = logging.getLogger(__name__)


class Limit(NamedTuple):
    """One limit that an attempt is held against.

    Attributes:
        name: what is limited, in the log and in the RateLimit fields: letters, digits and dashes.
        key: whom it counts for.
        rate: how often.
        renewed: each attempt begins the time anew.
    """

    name: str
    key: str
    rate: Rate
    renewed: bool = False


class Counted(NamedTuple):
    """An attempt that was counted.

    Attributes:
        limits: what it was held against.
        held: what is in the bucket of each, in their order.
        backs: takes it out again.
    """

    limits: Sequence[Limit]
    held: Sequence[Held]
    backs: Sequence[Back]

    @property
    def hits(self) -> list[LimitHit]:
        """What is left of each limit."""
        return [
            LimitHit(
                limit.name, limit.rate.most, limit.rate.seconds, limit.rate.most - held.taken, seconds_of(held.ends_in)
            )
            for limit, held in zip(self.limits, self.held, strict=True)
        ]


NOT_COUNTED: Final = Counted((), (), ())


class Throttle:
    """Counts attempts.

    Args:
        store: where it counts; None where throttling is switched off, and everything is admitted.
        secret: keys the HMAC that names the buckets.
    """

    def __init__(self, store: ThrottleStore | None, *, secret: str) -> None:
        self._store = store
        self._key = hkdf_sha256(secret.encode(), _KEY_INFO)

    @property
    def counts(self) -> bool:
        """Whether anything is counted at all."""
        return self._store is not None

    async def count(self, *limits: Limit) -> Counted:
        """Count an attempt against all of these limits, or against none where one of them is reached.

        Raises:
            RateLimited: one of them is reached.
            Unavailable: the store does not answer: what is not counted is not tried.
        """
        if self._store is None or not limits:
            return NOT_COUNTED
        takes = [
            Take(self.bucket(name, key), rate.most, rate.seconds * 1000, renewed) for name, key, rate, renewed in limits
        ]
        verdict = await self._store.take(takes)
        if not verdict.admitted:
            raise _refusal(limits, takes, verdict)
        found = verdict.held
        held = [found[take[0]] for take in takes]
        # A window that each attempt begins anew has another end by the time this one is taken out.
        backs = [Back(take[0], 0 if take[3] else each[1]) for take, each in zip(takes, held, strict=True)]
        return Counted(limits, held, backs)

    async def give_back(self, backs: Sequence[Back]) -> None:
        """Take out what is not to count; where the store does not answer it stays, and the log says so."""
        if self._store is None or not backs:
            return
        try:
            await self._store.give_back(backs)
        except Exception as error:
            # What was done is done: its answer is not lost for this, and a bucket that is too full lets in too few.
            _log.warning("throttle_not_given_back", extra={"failure": type(error).__name__})

    def bucket(self, name: str, key: str) -> str:
        """Return the name of a bucket: an HMAC, from which neither can be read."""
        digest = hmac.digest(self._key, f"{name}\0{key}".encode("utf-8", "replace"), "sha256")
        return b64url_encode(digest[:18]).decode("ascii")


def _refusal(limits: Sequence[Limit], takes: Sequence[Take], verdict: Verdict) -> RateLimited:
    hits = []
    for limit, take in zip(limits, takes, strict=True):
        held = verdict.full.get(take.bucket)
        if held is not None:
            hits.append(LimitHit(limit.name, limit.rate.most, limit.rate.seconds, 0, seconds_of(held.ends_in)))
    names = [hit.name for hit in hits]
    for name in names:
        metrics.THROTTLED.add(name)
    _log.warning("rate_limited", extra={"limits": names})
    return RateLimited(hits=hits, retry_after=max((hit.reset for hit in hits), default=1))


def seconds_of(milliseconds: int) -> int:
    """Return whole seconds, rounded up: whoever comes then is not too early. At least one."""
    return max(1, -(-milliseconds // 1000))


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the network that an address is counted under: /24, or /64 where it is IPv6; all without one are one.

    One customer of a provider has a whole /64, so that each address of it counted by itself would be no limit.
    """
    if not address:
        return "nowhere"
    try:
        return str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))
    except ValueError:
        return "nowhere"
