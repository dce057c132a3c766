"""Attempts at what is open to everybody, or cheap to ask and dear to answer."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from limen.core.rates import Rate
from limen.features.throttling.counting import Counted, Limit, Throttle, network_of


class Purpose(StrEnum):
    """What is asked for."""

    REGISTER = "register"
    KEYS = "keys"
    SSO = "sso"
    REFRESH = "refresh"
    RESET = "reset"
    VERIFY = "verify"
    LINK = "link"
    EXCHANGE = "sso-exchange"
    PROVIDER_LOGOUT = "sso-logout"
    EXPORT = "export"
    INVITE = "invite"


_QUARTER: Final = 900
_HOUR: Final = 3_600

BY_NETWORK: Final[Mapping[Purpose, Rate]] = MappingProxyType(
    {
        Purpose.SSO: Rate(600, _QUARTER),
        Purpose.REFRESH: Rate(3_000, _QUARTER),
        Purpose.RESET: Rate(60, _HOUR),
        Purpose.VERIFY: Rate(120, _HOUR),
        Purpose.LINK: Rate(600, _QUARTER),
        Purpose.EXCHANGE: Rate(600, _QUARTER),
        Purpose.PROVIDER_LOGOUT: Rate(600, _QUARTER),
    }
)
"""How often one network may ask."""
BY_KEY: Final[Mapping[Purpose, Rate]] = MappingProxyType(
    {
        Purpose.KEYS: Rate(100, _HOUR),
        Purpose.EXPORT: Rate(10, _HOUR),
        Purpose.RESET: Rate(5, _HOUR),
        Purpose.VERIFY: Rate(20, _HOUR),
    }
)
"""How often it may be asked for one account, or one identifier."""
RECIPIENT: Final = "mail-recipient"
BY_RECIPIENT: Final = Rate(10, _HOUR)
"""Mails with a link that go to one address, whoever has it, and for however many accounts they are asked for."""


class RequestThrottle:
    """Counts requests.

    Args:
        throttle: counts for all processes.
        nearby: counts for this one; for what must cost no question of the store.
        register: how often one network may register.
    """

    def __init__(self, throttle: Throttle, nearby: Throttle, *, register: Rate) -> None:
        self._throttle = throttle
        self._nearby = nearby
        self._by_network = {**BY_NETWORK, Purpose.REGISTER: register}

    async def count(
        self, purpose: Purpose, *, address: str | None = None, key: str | None = None, recipient: str | None = None
    ) -> None:
        """Count a request before it is answered.

        Args:
            purpose: what is asked for.
            address: of the client, which is counted by its network; empty where nobody's is known.
            key: for whom: an account's id, or an identifier as it is compared, whether there is one of it or not.
            recipient: the e-mail address that a link would go to, as it is compared: perhaps a third party's.

        Raises:
            RateLimited: there were too many.
            Unavailable: the store that counts does not answer.
        """
        limits = []
        if address is not None and purpose in self._by_network:
            limits.append(Limit(f"{purpose}-network", network_of(address), self._by_network[purpose]))
        if key is not None and purpose in BY_KEY:
            limits.append(Limit(purpose.value, key, BY_KEY[purpose]))
        if recipient is not None:
            limits.append(Limit(RECIPIENT, recipient, BY_RECIPIENT))
        await self._throttle.count(*limits)

    async def admit(self, purpose: Purpose, address: str) -> Counted:
        """Count in this process what only counts where it is refused: `granted` takes it out again.

        Nobody guesses 256 bits: this keeps what is over from being asked for without end. And one address may be all
        there is: of a provider, or of a server that asks for many people.

        Raises:
            RateLimited: there were too many.
        """
        limit = Limit(f"{purpose}-network", network_of(address), self._by_network[purpose])
        return await self._nearby.count(limit)

    async def granted(self, counted: Counted) -> None:
        """Take out what was granted."""
        await self._nearby.give_back(counted.backs)


def by_administrator(recipient: str | None) -> str | None:
    """Return what mails that administrators have sent to an address are counted by.

    No address has NUL in it: whoever gives the address for an account of their own uses up none of these.
    """
    return None if recipient is None else f"administrator\0{recipient}"
