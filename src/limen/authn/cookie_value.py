"""How a session cookie is spelt and read (RFC 6265): its name on this connection, its one value, and what that says."""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from limen.core.errors import CredentialMalformed
from limen.crypto.encoding import b64url_decode, b64url_encode
from limen.crypto.refresh import secret_hash

HOST_NAME: Final = b"__Host-limen"
"""Browsers take a cookie of this prefix over https only, for ``/``, never from a sub-domain (RFC 6265bis, 4.1.3)."""
LOOPBACK_NAME: Final = b"limen"
"""The name on plain http at a loopback address, where browsers refuse the prefix."""
MAX_HEADER: Final = 16 * 1024
"""Bytes of all Cookie headers that are looked at; more of them are malformed before anything is decoded."""
SECURE_SCHEMES: Final = frozenset({"https", "wss"})
SCHEME_KEY: Final = "limen.scheme"
"""Where a scope holds the scheme that the client used, when a trusted proxy says another one than the socket has."""

_ID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_VALUE_LENGTH: Final = 64
_ALONE: Final = frozenset({b"", b";"})
_TOO_LARGE: Final = "The Cookie header is too large."
NO_VALUE: Final = "The session cookie is not one of ours."
_PORT: Final = re.compile(rb":\d{1,5}\Z")


class PresentedCookie(NamedTuple):
    """What a session cookie says: nothing is known of it yet.

    Attributes:
        sid: the id of the session's row, no secret.
        token_hash: SHA-256 of the secret bits; the bits themselves are not kept.
    """

    sid: str
    token_hash: bytes

    def __repr__(self) -> str:
        return f"PresentedCookie(sid={self.sid!r})"


def cookie_name(scope: Mapping[str, Any], *, https_only: bool = False) -> bytes:
    """Return the one name that the session cookie has on this connection.

    Without TLS a cookie without the prefix counts at a loopback address only. Behind a proxy that ends TLS the host is
    another one, and the name is the one with the prefix, which browsers never send over plain http.
    """
    if https_only or (scope.get(SCHEME_KEY) or scope.get("scheme")) in SECURE_SCHEMES:
        return HOST_NAME
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return LOOPBACK_NAME if len(hosts) == 1 and is_loopback(hosts[0]) else HOST_NAME


@lru_cache(maxsize=256)
def is_loopback(host: bytes) -> bool:
    """Tell whether a Host header names this very machine (RFC 6761, section 6.3; RFC 5735, section 3; RFC 4291)."""
    name = _PORT.sub(b"", host.strip().lower())
    if name == b"localhost" or name.endswith(b".localhost"):
        return True
    try:
        return ip_address(name.decode("ascii").removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def read_cookie(scope: Mapping[str, Any], *, https_only: bool = False) -> PresentedCookie | CredentialMalformed | None:
    """Read the session cookie of a request (RFC 6265, section 4.2): what it says, malformed, or None for none at all.

    Several Cookie headers are one (RFC 9113, section 8.2.3). The name must occur once: which of two counts would depend
    on who reads.
    """
    given = cookie_header(scope)
    if given is None or isinstance(given, CredentialMalformed):
        return given
    value = value_in(given, scope, https_only=https_only)
    if value is None or isinstance(value, CredentialMalformed):
        return value
    found = parse_value(value)
    return CredentialMalformed(NO_VALUE) if found is None else found


def cookie_header(scope: Mapping[str, Any]) -> bytes | CredentialMalformed | None:
    """Return all cookies of a request as one text, malformed where there are too many of them, None for none."""
    given = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            given = value if given is None else given + b";" + value
            if len(given) > MAX_HEADER:
                return CredentialMalformed(_TOO_LARGE)
    return given


def value_in(given: bytes, scope: Mapping[str, Any], *, https_only: bool) -> bytes | CredentialMalformed | None:
    """Return the value of the one session cookie among all cookies; malformed for two, None for none."""
    if len(given) > MAX_HEADER:
        return CredentialMalformed(_TOO_LARGE)
    name = cookie_name(scope, https_only=https_only)
    wanted = b"__Host-limen=" if name is HOST_NAME else name + b"="
    at = given.find(wanted)
    if at < 0:
        return None
    begins = at + len(wanted)
    ends = begins + _VALUE_LENGTH
    if (at == 0 or given[at - 2 : at] == b"; ") and given[ends : ends + 1] in _ALONE and given.find(wanted, begins) < 0:
        # As browsers spell it (RFC 6265, section 4.2.1), and once.
        return given[begins:ends]
    values = values_named(given, name)
    if len(values) != 1:
        return CredentialMalformed("There must be one session cookie.") if values else None
    return values[0]


def values_named(given: bytes, name: bytes) -> list[bytes]:
    """Return the values of every cookie of this name, as they stand there."""
    wanted = name + b"="
    if wanted not in given:
        return []
    return [pair[len(wanted) :] for each in given.split(b";") if (pair := each.strip(b" \t")).startswith(wanted)]


def parse_value(value: bytes) -> PresentedCookie | None:
    """Return what the value of a session cookie says; None for what is not its one canonical spelling."""
    if len(value) != _VALUE_LENGTH:
        return None
    try:
        raw = b64url_decode(value)
    except ValueError:
        return None
    digits = raw[:_ID_BYTES].hex()
    sid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return PresentedCookie(sid, secret_hash(raw[_ID_BYTES:]))


def value_of(sid: str, secret: bytes) -> str:
    """Return the value of the cookie: the row's id and the secret bits, in base64url, 64 characters.

    Raises:
        ValueError: the secret has not 32 bytes.
    """
    if len(secret) != _SECRET_BYTES:
        raise ValueError("the secret of a session has 32 bytes")
    return b64url_encode(bytes.fromhex(sid.replace("-", "")) + secret).decode("ascii")
