"""Signed tokens that others have made: the strict envelope, for claims that are not ours to choose.

What limen writes itself is read by `limen.crypto.jwt`, which takes nothing but limen's own shape. A foreign token may
have more in its header and any claims. The rest holds here as well: nothing in it chooses the algorithm or the key, one
strict reader reads it, and nothing it says is looked at before its signature was checked (RFC 8725).
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from limen.core.errors import ConfigurationError
from limen.crypto.encoding import b64url_decode
from limen.crypto.jwt import MAX_TOKEN_BYTES, TokenError
from limen.crypto.keys import VerificationKey
from limen.crypto.strict_json import JsonError, read_object

ASYMMETRIC: Final = ("RS256", "ES256", "EdDSA")
"""What tokens of others may be signed with. A secret that is shared with the issuer would sign as well as the issuer's:
none of the symmetric algorithms is here, and ``none`` is nowhere."""

MAX_TEXT: Final = 255
"""Characters of an identifier (OpenID Connect Core, section 2, for ``sub``)."""

_MAX_HEADER_BYTES: Final = 8_192  # some issuers send a chain of certificates, which is not looked at
_END_OF_TIME: Final = 253_402_300_799
# What would change how the rest is to be read: a token that needs it is refused (RFC 7515, section 4.1.11; RFC 7797).
_REFUSED_MEMBERS: Final = frozenset({"crit", "b64", "zip", "cty", "enc"})


@dataclass(frozen=True, slots=True, repr=False)
class SignedText:
    """A token that was cut into its parts; its signature was not checked yet, so nothing of it may be believed.

    Attributes:
        kid: the id of the key that it names, or None.
        alg: the algorithm that it names, one of those that the caller allows.
        typ: the ``typ`` in lower case, without ``application/``; None where there is none.
    """

    kid: str | None
    alg: str
    typ: str | None
    _signed: bytes
    _signature: bytes
    _claims: Mapping[str, Any]

    def verified_by(self, key: VerificationKey) -> Mapping[str, Any]:
        """Return the claims, which the owner of this key has signed.

        Raises:
            TokenError: ``alg``: the key is one for another algorithm; ``signature``: somebody else has.
        """
        if key.alg != self.alg:
            raise TokenError("alg")
        if not key.verifies(self._signed, self._signature):
            raise TokenError("signature")
        return self._claims


def read_signed(token: str | bytes, *, algorithms: Collection[str]) -> SignedText:
    """Cut a token in compact form (RFC 7515, section 7.1) into its parts.

    Args:
        token: as it came.
        algorithms: those that its issuer is known to use, of `ASYMMETRIC`.

    Raises:
        TokenError: ``malformed``, ``too_large``, ``header``, ``alg``, ``kid`` or ``payload``.
    """
    if isinstance(token, str):
        try:
            token = token.encode("ascii")
        except UnicodeEncodeError:
            raise TokenError("malformed") from None
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError("too_large")
    parts = token.split(b".")
    if len(parts) != 3 or not all(parts):
        raise TokenError("malformed")
    header = _object(parts[0], _MAX_HEADER_BYTES, "header")
    if _REFUSED_MEMBERS & header.keys():
        raise TokenError("header")
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(alg, str) or alg not in algorithms or alg not in ASYMMETRIC:
        raise TokenError("alg")
    if not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= MAX_TEXT)):
        raise TokenError("kid")
    if not (typ is None or isinstance(typ, str)):
        raise TokenError("typ")
    claims = _object(parts[1], MAX_TOKEN_BYTES, "payload")
    return SignedText(
        kid,
        alg,
        # RFC 7515, section 4.1.9: the prefix may be left out, and media types have no case.
        None if typ is None else typ.lower().removeprefix("application/"),
        token[: len(parts[0]) + 1 + len(parts[1])],
        parts[2],
        MappingProxyType(claims),
    )


def require_algorithms(algorithms: Collection[str]) -> tuple[str, ...]:
    """Return the algorithms of an issuer as they were given.

    Raises:
        ConfigurationError: none, or one that is not in `ASYMMETRIC`; a text instead of a list of them.
    """
    if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= set(ASYMMETRIC):
        raise ConfigurationError(f"The algorithms of an issuer are some of {', '.join(ASYMMETRIC)}.")
    return tuple(algorithms)


def text_of(claims: Mapping[str, Any], name: str, *, limit: int = MAX_TEXT) -> str | None:
    """Return a claim that is a text of 1 to 255 printable ASCII characters; None where there is none.

    Raises:
        TokenError: it is there and is something else.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= limit or not (value.isascii() and value.isprintable()):
        raise TokenError(name)
    return value


def texts_of(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """Return a claim that is a text or a list of texts, as a list (RFC 7519, section 4.1.3); None where there is none.

    Raises:
        TokenError: it is there and is something else.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) and len(each) > 0 for each in listed):
        raise TokenError(name)
    return tuple(listed)


def time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a time in seconds since 1970 UTC (NumericDate, RFC 7519, section 2), or None.

    Raises:
        TokenError: it is there and is something else.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(name)
    if not (math.isfinite(value) and 0 <= value <= _END_OF_TIME):
        raise TokenError(name)
    return value


def _object(part: bytes, limit: int, reason: str) -> dict[str, object]:
    try:
        return read_object(b64url_decode(part), limit=limit)
    except (JsonError, ValueError, RecursionError):
        raise TokenError(reason) from None
