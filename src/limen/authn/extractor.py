"""Finds the credential in a request: one, none, or something malformed, and these three are never confused."""

import re
from collections.abc import Iterable

from limen.authn.strategy import PresentedCredential
from limen.core.errors import CredentialMalformed

# RFC 9110, section 11.2: token68, after the scheme and at least one space.
_CREDENTIAL = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) +([A-Za-z0-9\-._~+/]+=*)\Z")
MAX_HEADER = 16 * 1024
"""Bytes of an Authorization header that are looked at; a longer one is malformed before anything is decoded."""


def extract(headers: Iterable[tuple[bytes, bytes]]) -> PresentedCredential | CredentialMalformed | None:
    """Find the credential in the ``Authorization`` header of an ASGI scope's headers."""
    found = authorization_of(headers)
    return read_authorization(found) if isinstance(found, bytes) else found


def authorization_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes | CredentialMalformed | None:
    """Return the value of the one ``Authorization`` header; None where there is none.

    Two headers are malformed: which of them counts would depend on who reads (request smuggling past a proxy).
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                return CredentialMalformed("There must be one Authorization header.")
            found = value
    return found


def read_authorization(found: bytes) -> PresentedCredential | CredentialMalformed:
    """Read the value of an ``Authorization`` header (RFC 9110, section 11.4)."""
    if found[:7] == b"Bearer " and 7 < len(found) <= MAX_HEADER and found[7] != 0x20:
        # The common spelling; whether the rest is a token is the strategy's to say, byte by byte.
        return PresentedCredential("bearer", found[7:])
    if len(found) > MAX_HEADER:
        return CredentialMalformed("The Authorization header is too large.")
    match = _CREDENTIAL.match(found)
    if match is None:
        return CredentialMalformed("The Authorization header is not of the form Bearer <token>.")
    return PresentedCredential(match[1].decode("ascii").lower(), match[2])
