"""Where a request came from, for the audit trail and the log. Nothing here is to be believed, nor reaches a log raw."""

import re
from functools import lru_cache
from typing import Final

from starlette.types import Scope

from limen.core.events import Origin
from limen.core.ids import random_id_bytes
from limen.web.peers import NO_PROXIES, TrustedProxies

MAX_USER_AGENT: Final = 256

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")
# More than can be left over after control characters are removed is not even looked at.
_MOST_BYTES_READ: Final = 4 * MAX_USER_AGENT


def origin_of(scope: Scope, proxies: TrustedProxies = NO_PROXIES) -> Origin:
    """Return where an HTTP request or a WebSocket handshake came from.

    - ``request_id``: the one X-Request-ID, if it is 8 to 64 letters, digits, dots, underscores and dashes; else a new
      one: 32 hexadecimal digits, random. What a client chose can be chosen again: it names a request, no more.
    - ``address``: the socket's peer, or the client that a trusted proxy names, in its shortest form, IPv4 inside IPv6
      as IPv4 (`TrustedProxies.client_address`); empty for a Unix socket and for whatever is no address.
    - ``user_agent``: at most 256 characters, without control characters.
    """
    request_ids, user_agent = [], b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_ids.append(value)
        elif name == b"user-agent":
            user_agent = value
    return Origin(
        _request_id(request_ids),
        proxies.client_address(scope) or "",
        _printable(user_agent[:_MOST_BYTES_READ]) if user_agent else "",
    )


def new_request_id() -> str:
    """Return 32 random hexadecimal digits."""
    return random_id_bytes().hex()


def _request_id(given: list[bytes]) -> str:
    if len(given) == 1 and _REQUEST_ID.match(given[0]):
        return given[0].decode("ascii")
    return new_request_id()


@lru_cache(maxsize=1024)
def _printable(value: bytes) -> str:
    text = value.decode("latin-1")
    if not text.isprintable():
        text = "".join(character for character in text if character.isprintable())
    return text[:MAX_USER_AGENT]
