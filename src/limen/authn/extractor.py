"""Reads what an ``Authorization`` header presents: a credential, or something malformed, which is never «none»."""

import re

from limen.authn.strategy import PresentedCredential
from limen.core.errors import CredentialMalformed

# RFC 9110, section 11.2: token68, after the scheme and at least one space.
_CREDENTIAL = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) +([A-Za-z0-9\-._~+/]+=*)\Z")
MAX_HEADER = 16 * 1024
"""Bytes of an Authorization header that are looked at; a longer one is malformed before anything is decoded."""


def read_authorization(found: bytes, certificate: str | None = None) -> PresentedCredential | CredentialMalformed:
    """Read the value of an ``Authorization`` header (RFC 9110, section 11.4).

    Args:
        found: the value.
        certificate: the thumbprint of the client certificate of the connection.
    """
    if found[:7] == b"Bearer " and 7 < len(found) <= MAX_HEADER and found[7] != 0x20:
        # The common spelling; whether the rest is a token is the strategy's to say, byte by byte.
        return PresentedCredential("bearer", found[7:], certificate)
    if len(found) > MAX_HEADER:
        return CredentialMalformed("The Authorization header is too large.")
    match = _CREDENTIAL.match(found)
    if match is None:
        return CredentialMalformed("The Authorization header is not of the form Bearer <token>.")
    return PresentedCredential(match[1].decode("ascii").lower(), match[2], certificate)
