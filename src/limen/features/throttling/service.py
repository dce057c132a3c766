"""Attempts to log in with a password: counted before the hash.

Whoever is not known on their device is held against three limits: of the account in a while, of the account in a row,
and of the network. A device on which the account was used before is held against a limit of its own, so that neither a
stranger who guesses nor a colleague behind the same address keeps the owner out. In a row there are fewer than a
hundred, wherever they come from (NIST SP 800-63B-4, section 3.2.2).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from limen.core.errors import Busy, InvalidInput, RateLimited
from limen.core.rates import Rate
from limen.features.throttling.counting import Counted, Limit, Throttle, network_of
from limen.features.throttling.devices import KnownDevices
from limen.features.throttling.store import Back

FORGOTTEN_SECONDS: Final = 30 * 86_400
"""Attempts in a row are forgotten when none was counted for so long (seconds)."""
STRANGERS_IN_A_ROW: Final = 60
"""Attempts at an account, from devices on which it was not used before, since its last success."""
DEVICES_IN_A_ROW: Final = 25
"""The same from those on which it was."""
CHANGES_IN_A_ROW: Final = 10
"""Guesses at the present password by who has a session, where it or the address is changed. The three together: 95."""

_STRANGERS: Final = Rate(STRANGERS_IN_A_ROW, FORGOTTEN_SECONDS)
_DEVICES: Final = Rate(DEVICES_IN_A_ROW, FORGOTTEN_SECONDS)

ACCOUNT: Final = "login-account"
ACCOUNT_ROW: Final = "login-account-row"
NETWORK: Final = "login-network"
DEVICE: Final = "login-device"
DEVICE_ROW: Final = "login-device-row"
CHANGE: Final = "password-change"


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How often a login may be tried.

    Attributes:
        account: for one account, by all strangers together; and once more on each device that is known.
        network: from one network, for all accounts together.
    """

    account: Rate
    network: Rate


class Attempt(NamedTuple):
    """An attempt that was counted; `LoginThrottle.succeeded` or `LoginThrottle.withdrawn` may follow.

    Attributes:
        identifier: the name as it is compared.
        counted: what was counted.
        device: the known device that it came from; None for a stranger's.
    """

    identifier: str
    counted: Counted
    device: str | None = None


class LoginThrottle:
    """Counts attempts to log in.

    Args:
        throttle: counts.
        devices: knows devices.
        limits: how often.
    """

    def __init__(self, throttle: Throttle, devices: KnownDevices, limits: LoginLimits) -> None:
        self._throttle = throttle
        self._limits = limits
        self.devices = devices

    @property
    def counts(self) -> bool:
        """Whether anything is counted at all."""
        return self._throttle.counts

    async def admit(self, identifier: str, *, address: str, device: str | None = None) -> Attempt:
        """Count an attempt, before anything is hashed, and before anything is looked up for a stranger.

        Args:
            identifier: as it is compared; whether there is an account of it makes no difference.
            address: of the client; empty where nobody's is known.
            device: the device that it comes from, where the account was used on it before: `KnownDevices.confirmed`.

        Raises:
            RateLimited: there were too many. So the right password is answered too.
            Unavailable: the store that counts does not answer.
        """
        if not self.counts:
            return Attempt(identifier, await self._throttle.count(), device)
        if device is not None:
            try:
                return Attempt(identifier, await self._throttle.count(*self._on(device, identifier)), device)
            except RateLimited as error:
                # Where the account's known devices were all used up, by a stolen cookie perhaps, a stranger's chance
                # is left to its owner; a device that has used up its own limit waits.
                if any(hit.name == DEVICE for hit in error.hits):
                    raise
        return Attempt(identifier, await self._throttle.count(*self._of_strangers(identifier, address)), device)

    @staticmethod
    def failures_before(attempt: Attempt) -> int:
        """Return how many attempts in a row came before this one, from where it was tried: strangers, or devices."""
        counted = zip(attempt.counted.limits, attempt.counted.held, strict=True)
        return max((held.taken - 1 for limit, held in counted if limit.name in (ACCOUNT_ROW, DEVICE_ROW)), default=0)

    async def succeeded(self, attempt: Attempt, *, account_id: str) -> None:
        """Begin the account's counts anew. Of the network's, no more than this one attempt is taken out.

        So whoever logs in to an account of their own between guesses at others' does not get more of them.
        """
        row = [(name, attempt.identifier) for name in (ACCOUNT, ACCOUNT_ROW, DEVICE_ROW)]
        emptied = [*row, (CHANGE, account_id)]
        # Those that are emptied once, whatever else they would be given back.
        backs = {back.bucket: back for back in attempt.counted.backs}
        for name, key in emptied:
            bucket = self._throttle.bucket(name, key)
            backs[bucket] = Back(bucket, 0, emptied=True)
        await self._throttle.give_back([*backs.values()])

    async def withdrawn(self, attempt: Attempt) -> None:
        """Take the attempt out again: no password was checked."""
        await self._throttle.give_back(attempt.counted.backs)

    async def forget(self, identifier: str, *, account_id: str) -> None:
        """Begin the account's counts anew after its password was set by another way than a login."""
        await self.succeeded(Attempt(identifier, Counted((), (), ())), account_id=account_id)

    @asynccontextmanager
    async def guess(self, account_id: str) -> AsyncIterator[None]:
        """Count a guess at the present password of an account by who has a session of it, around what checks it.

        A right one begins the count anew. Whoever hangs up before the answer has guessed.

        Raises:
            RateLimited: there were too many.
            Unavailable: the store that counts does not answer.
        """
        rate = Rate(CHANGES_IN_A_ROW, FORGOTTEN_SECONDS)
        counted = await self._throttle.count(Limit(CHANGE, account_id, rate, renewed=True))
        try:
            yield
        except (Busy, InvalidInput):
            # Nothing was told of the present password, or it was right.
            await self._throttle.give_back(counted.backs)
            raise
        await self._throttle.give_back([Back(self._throttle.bucket(CHANGE, account_id), 0, emptied=True)])

    def _on(self, device: str, identifier: str) -> list[Limit]:
        return [
            Limit(DEVICE, f"{device}\0{identifier}", self._limits.account),
            Limit(DEVICE_ROW, identifier, _DEVICES, True),
        ]

    def _of_strangers(self, identifier: str, address: str) -> list[Limit]:
        return [
            Limit(ACCOUNT, identifier, self._limits.account),
            Limit(ACCOUNT_ROW, identifier, _STRANGERS, True),
            Limit(NETWORK, network_of(address), self._limits.network),
        ]
