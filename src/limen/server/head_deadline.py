"""How long a connection may stay without a whole request head, and how many such connections one peer may hold.

uvicorn bounds neither: whoever connects and says nothing, or half a head, keeps a place until they go, and everybody
else is answered 503 once the places are taken.
"""

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import Any

from limen.core.networks import canonical_address


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Limits for connections on which a request head is awaited.

    The many connections that a proxy or a busy client opens at one moment are not refused: each has its head ready.

    Attributes:
        seconds: from the connection, or from the first byte after an answer, to the end of the head.
        patient: how many of one peer have that long; those beyond have ``hurried_seconds``.
        hurried_seconds: see ``patient``.
        most: how many one peer may have at all; a quarter of the places, so that nobody takes them all.
    """

    seconds: float = 10.0
    patient: int = 128
    hurried_seconds: float = 1.0
    most: int = 1024


class Heads:
    """Counts, for one server, the connections on which a head is awaited, by peer."""

    def __init__(self, limits: HeadLimits) -> None:
        self.limits = limits
        self._awaited: dict[str, int] = {}

    def add(self, peer: str) -> int:
        """Count one more of the peer; return how many there are."""
        count = self._awaited.get(peer, 0) + 1
        self._awaited[peer] = count
        return count

    def remove(self, peer: str) -> None:
        """Count one less."""
        count = self._awaited.get(peer, 0) - 1
        if count > 0:
            self._awaited[peer] = count
        else:
            self._awaited.pop(peer, None)


class HeadDeadline:
    """The deadline of one connection, which is closed when it passes."""

    __slots__ = ("_heads", "_peer", "_timer", "_transport")

    def __init__(self, heads: Heads, transport: asyncio.Transport, client: tuple[str, int] | None) -> None:
        self._heads = heads
        self._transport = transport
        self._peer = peer_of(client[0]) if client else ""
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, loop: asyncio.AbstractEventLoop, cycle: Any) -> None:
        """Begin where a head is awaited, unless it was already, and end where it no longer is; never put it off.

        Args:
            loop: the loop of the connection.
            cycle: uvicorn's newest request of the connection, or None: a head is awaited until one is under way.
        """
        if cycle is not None and not cycle.response_complete:
            self.end()
        elif self._timer is None:
            limits = self._heads.limits
            count = self._heads.add(self._peer)
            # A Unix socket has no address, and behind it is a proxy of the same machine.
            many = count > limits.patient and bool(self._peer)
            self._timer = loop.call_later(limits.hurried_seconds if many else limits.seconds, self._transport.close)
            if count > limits.most and self._peer:
                self._transport.abort()

    def end(self) -> None:
        """Await no head any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._heads.remove(self._peer)


def peer_of(address: str) -> str:
    """Return whom an address belongs to: itself, or for IPv6 its /64, of which one customer has every address."""
    if ":" not in address:
        return address
    shortest = canonical_address(address)
    if ":" not in shortest:
        return shortest
    return str(ipaddress.IPv6Network((shortest, 64), strict=False))
