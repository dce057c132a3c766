"""What proves that a provider's answer belongs to this browser: state, nonce, and PKCE's verifier.

The browser's cookie holds 256 random bits, and the database their hash. Nonce and verifier are derived from the bits
and the state when they are needed, so neither lies anywhere; a copy of the database ends nobody's login, and neither
does a code that was put into another browser (RFC 9700, sections 4.5 and 4.7).
"""

import os
import re
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Final

from limen.crypto.encoding import b64url_encode

_BITS: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")


def new_secret() -> str:
    """Return 256 random bits in base64url: 43 characters."""
    return b64url_encode(os.urandom(32)).decode("ascii")


def is_secret(text: str) -> bool:
    """Tell whether a text is of the form of `new_secret`."""
    return _BITS.match(text) is not None


def hash_of(text: str) -> bytes:
    """Return the SHA-256 of what is not kept itself."""
    return sha256(text.encode("utf-8")).digest()


def nonce_of(browser: str, state: str) -> str:
    """Return the nonce of a login: 43 characters."""
    return _derived(browser, b"limen/sso/nonce/1\0", state)


def verifier_of(browser: str, state: str) -> str:
    """Return PKCE's verifier of a login: 43 characters (RFC 7636, section 4.1)."""
    return _derived(browser, b"limen/sso/verifier/1\0", state)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, section 4.2)."""
    return b64url_encode(sha256(verifier.encode("ascii")).digest()).decode("ascii")


def is_challenge(text: str) -> bool:
    """Tell whether a text can be an S256 challenge: 43 characters of base64url."""
    return is_secret(text)


def fits(verifier: str, challenge: str) -> bool:
    """Tell whether a verifier is the one of a challenge (RFC 7636, section 4.6)."""
    if not _VERIFIER.match(verifier):
        return False
    return compare_digest(challenge_of(verifier), challenge)


def _derived(browser: str, label: bytes, state: str) -> str:
    return b64url_encode(digest(browser.encode("ascii"), label + state.encode("ascii"), "sha256")).decode("ascii")
