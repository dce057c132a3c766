"""What a gateway is told of whoever it may let through: five headers for the service behind it.

A gateway asks for every request, so what was said of somebody a moment ago is said again for a few seconds: the same
text, and the same token. It is asked under all that it says, so no change of roles, and no other session, finds it.
"""

from typing import Final
from urllib.parse import quote

from limen.authn.issuing import Door
from limen.core.clock import Clock
from limen.core.errors import PolicyDenied
from limen.core.principal import Principal
from limen.crypto.forwarded_claims import FORWARDED_TTL

SAID_AGAIN_SECONDS: Final = 5
"""For so long a token is handed out again; what is left of its life is enough for the way to the service."""
MOST_BYTES: Final = 16_384
"""Of all five headers together. A proxy takes no more for the head of an answer, with buffers as in ``deploy``."""
MOST_REMEMBERED: Final = 4096

Told = tuple[tuple[bytes, bytes], ...]
"""Header fields: names in lower case, and values of printable ASCII without a comma inside a name."""


class ForwardingService:
    """Tells gateways whom they let through.

    Args:
        door: signs.
        clock: the time in seconds since 1970 UTC.
    """

    def __init__(self, door: Door, *, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._said: dict[tuple[Principal, int | None, str | None], tuple[int, Told]] = {}

    def told_of(self, principal: Principal, *, expires_at: int | None) -> Told:
        """Return the header fields for whom a request is attributed to, by the grant ``forwarded``.

        Args:
            principal: whom the guard has let in with this very request.
            expires_at: when the credential ends, in seconds since 1970 UTC: the token ends no later.

        Raises:
            PolicyDenied: nobody is let in, or what there is to say of them fits into no head of an answer.
            Unavailable: there is no key to sign with.
        """
        now = int(self._clock())
        key = (principal, expires_at, self._door.signing_kid)
        known = self._said.get(key)
        if known is not None and 0 <= now - known[0] < SAID_AGAIN_SECONDS:
            return known[1]
        told = self._fields(principal, now, expires_at)
        if len(self._said) >= MOST_REMEMBERED:
            self._said.clear()
        # Near the end of the credential each token is a new one: what is left of it may be less than the way takes.
        if expires_at is None or expires_at >= now + FORWARDED_TTL:
            self._said[key] = (now, told)
        return told

    def _fields(self, principal: Principal, now: int, expires_at: int | None) -> Told:
        try:
            token = self._door.forward(principal, now=now, expires_at=expires_at)
        except ValueError:
            raise PolicyDenied("Such a principal cannot be named to a service behind a gateway.") from None
        told = (
            (b"x-limen-subject", principal.sub.encode("ascii")),
            (b"x-limen-kind", principal.kind.value.encode("ascii")),
            (b"x-limen-roles", _listed(principal.roles)),
            (b"x-limen-permissions", _listed(principal.permissions)),
            (b"x-limen-token", token.encode("ascii")),
        )
        if sum(len(name) + len(value) + 4 for name, value in told) > MOST_BYTES:
            raise PolicyDenied("There are more roles and permissions than fit into the headers of a request.")
        return told


def _listed(names: frozenset[str]) -> bytes:
    """Return names separated by commas, sorted. What no name may hold is percent-encoded (RFC 3986, section 2.1)."""
    return ",".join(quote(name, safe=":") for name in sorted(names)).encode("ascii")
