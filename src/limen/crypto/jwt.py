"""The strict envelope around signed tokens: what is not exactly as limen writes it is refused (RFC 8725).

A token is text that a stranger sent. Nothing in it chooses anything: not the algorithm, not where a key comes from, not
how it is parsed. The key is found by its id in the configured set, and it says which algorithm is used.
"""

from typing import Any, Final, Generic, cast

import msgspec

from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError
from limen.crypto.claims import (
    ACCESS_TYP,
    REFRESH_TYP,
    SHAPES,
    AccessClaims,
    C,
    RefreshClaims,
    Shape,
    Wire,
    access_claims,
)
from limen.crypto.encoding import ALPHABET, b64url_decode
from limen.crypto.keys import KeySet, VerificationKey
from limen.crypto.strict_json import JsonError, read_object

__all__ = [
    "ACCESS_TYP",
    "MAX_AHEAD",
    "MAX_LEEWAY",
    "MAX_TOKEN_BYTES",
    "REFRESH_TYP",
    "AccessClaims",
    "RefreshClaims",
    "TokenError",
    "TokenVerifier",
    "access_claims",
]

MAX_TOKEN_BYTES: Final = 16_384
"""A longer text is refused before anything in it is decoded."""

MAX_LEEWAY: Final = 60
"""Seconds that clocks may differ."""

MAX_AHEAD: Final = 600
"""Seconds by which a token may come from the future, where the issuer is this very installation."""

_MAX_HEADER_BYTES: Final = 1_024
_HEADERS_KEPT: Final = 64
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})


class TokenError(Exception):
    """The token is not accepted. It is the only exception that verifying raises, whatever was sent.

    Attributes:
        reason: a short stable word for the log: ``malformed``, ``too_large``, ``header``, ``alg``, ``typ``, ``kid``,
            ``signature``, ``payload``, ``iss``, ``aud``, ``claims``, ``lifetime``, ``not_yet_valid``, ``expired``.
        expired: the token was valid once, and its time is all that is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def expired(self) -> bool:
        """Tell whether the token was valid once."""
        return self.reason == "expired"


class TokenVerifier(Generic[C]):
    """Verifies one kind of token of one issuer for one audience. Safe to share between threads.

    Args:
        keys: the issuer's keys.
        issuer: the exact ``iss``.
        audience: what ``aud`` must be, or contain.
        typ: the exact ``typ`` in the header, here in its short form. The long one (``application/at+jwt``) is taken
            too, since RFC 9068, section 4, says so; other spellings are not, since limen writes none.
        claims: what the payload is read into; it belongs to one ``typ``.
        max_lifetime: the most seconds from ``iat`` to ``exp``.
        leeway: seconds that the issuer's clock may differ, 0 to 60.
        ahead: seconds by which ``iat`` may lie in the future, at least the leeway, at most 600. What one installation
            signed with its own keys is no danger for having been made by a clock that runs ahead: refusing it would
            only send its bearer round in circles.
        clock: answers the time now.

    Attributes:
        ring: the keys, and the headers that named one of them in a token that was right; another object after each
            `use`, so whoever verified with the one before can tell.

    Raises:
        ConfigurationError: an empty issuer or audience, a leeway or lifetime out of range, claims of another kind.
    """

    __slots__ = (
        "_ahead", "_audience", "_clock", "_decode", "_encode", "_issuer", "_leeway", "_max_lifetime", "_shape", "_typs",
        "ring",
    )  # fmt: skip

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        audience: str,
        typ: str,
        claims: type[C],
        max_lifetime: int,
        leeway: int = 0,
        ahead: int = 0,
        clock: Clock = system_clock,
    ) -> None:
        if not issuer or not audience:
            raise ConfigurationError("A token verifier needs an issuer and an audience.")
        if not 0 <= leeway <= MAX_LEEWAY:
            raise ConfigurationError(f"The leeway for tokens is 0 to {MAX_LEEWAY} seconds.")
        if not 0 <= ahead <= MAX_AHEAD:
            raise ConfigurationError(f"A token may come from at most {MAX_AHEAD} seconds ahead.")
        if max_lifetime <= 0:
            raise ConfigurationError("The longest lifetime of a token is a number of seconds above zero.")
        shape = SHAPES.get(claims)
        if shape is None or shape.typ != typ:
            raise ConfigurationError(f"Tokens of the typ {typ!r} do not carry {claims.__name__}.")
        self.use(keys)
        self._issuer = issuer
        self._audience = audience
        self._typs = (typ, f"application/{typ}")
        self._shape: Shape[C] = shape
        self._decode = msgspec.json.Decoder(shape.wire).decode
        self._encode = msgspec.json.Encoder().encode
        self._max_lifetime = max_lifetime
        self._leeway = leeway
        self._ahead = max(ahead, leeway)
        self._clock = clock

    @property
    def keys(self) -> KeySet:
        """The keys that tokens are verified with."""
        return self.ring[0]

    def use(self, keys: KeySet) -> None:
        """Verify with other keys from now on: all of them at once, and with nothing that was known by those before."""
        self.ring: tuple[KeySet, dict[bytes, VerificationKey]] = (keys, {})

    def verify(self, token: str | bytes) -> C:
        """Return what a valid token says.

        Raises:
            TokenError: it is not valid, now.
        """
        return self.verify_with_kid(token)[0]

    def verify_with_kid(self, token: str | bytes) -> tuple[C, str]:
        """Do what `verify` does, and also tell the id of the key: what a cache of claims has to keep.

        Raises:
            TokenError: it is not valid, now.
        """
        claims, kid = self._verify_but_for_expiry(token)
        if not self._clock() < claims.exp + self._leeway:
            raise TokenError("expired")
        return claims, kid

    def verify_even_if_expired(self, token: str | bytes) -> C:
        """Do what `verify` does, but accept a token whose time is over: logging out must work with an old one.

        Everything else is asked as always. Never grant anything on this answer.

        Raises:
            TokenError: it was never valid, or is not yet.
        """
        return self._verify_but_for_expiry(token)[0]

    def _verify_but_for_expiry(self, token: str | bytes) -> tuple[C, str]:
        if not isinstance(token, str | bytes):
            raise TokenError("malformed")
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenError("too_large")
        if isinstance(token, str):
            try:
                token = token.encode("ascii")
            except UnicodeEncodeError:
                raise TokenError("malformed") from None
        signed, _, signature = token.rpartition(b".")
        header, dot, payload = signed.partition(b".")
        if not (dot and header and payload and signature):
            raise TokenError("malformed")
        text: bytes | None = None
        try:
            text = b64url_decode(payload)
        except ValueError:
            # A second dot in the payload is outside the alphabet: three segments, no more (RFC 7515, section 7.1).
            if payload.translate(None, ALPHABET):
                raise TokenError("malformed") from None
        keys, headers = self.ring
        known = headers.get(header)
        key = known or self._key_of(header, keys)
        if not key.verifies(signed, signature):
            raise TokenError("signature")
        if known is None:
            _remember(headers, header, key)
        if text is None:
            raise TokenError("payload")
        return self._read(text), key.kid

    def _key_of(self, header: bytes, keys: KeySet) -> VerificationKey:
        """Return the one key that a header may mean."""
        try:
            members = read_object(b64url_decode(header), limit=_MAX_HEADER_BYTES)
        except (JsonError, ValueError):
            raise TokenError("header") from None
        # A closed list: crit, b64, jwk, jku, x5c, x5u, zip, cty and whatever is invented next have no say here, and a
        # token that thinks they have is not one of ours (RFC 7515, section 4.1; RFC 8725, section 3.10).
        if members.keys() != _HEADER_MEMBERS:
            raise TokenError("header")
        if members["typ"] not in self._typs:
            raise TokenError("typ")
        kid = members["kid"]
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise TokenError("kid")
        if members["alg"] != key.alg:
            raise TokenError("alg")
        return key

    def _read(self, text: bytes) -> C:
        try:
            wire: Wire = self._decode(text)
            # What a token of ours says reads back to its very bytes: no name twice, no foreign spelling. For any other
            # text, the strict reader looks at every byte.
            if self._encode(wire) != text:
                read_object(text, limit=MAX_TOKEN_BYTES)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            raise TokenError("payload") from None
        if wire.iss != self._issuer:
            raise TokenError("iss")
        if wire.aud != self._audience and (isinstance(wire.aud, str) or self._audience not in wire.aud):
            raise TokenError("aud")
        if not 0 < wire.exp - wire.iat <= self._max_lifetime:
            raise TokenError("lifetime")
        latest = self._clock() + self._ahead
        if not wire.iat <= latest or (wire.nbf is not msgspec.UNSET and not wire.nbf <= latest):
            raise TokenError("not_yet_valid")
        claims = self._shape.admit(cast(Any, wire), self._issuer, self._audience)
        if claims is None:
            raise TokenError("claims")
        return claims


def _remember(headers: dict[bytes, VerificationKey], header: bytes, key: VerificationKey) -> None:
    """Keep the key of a header that a right signature was made over: strangers cannot fill this."""
    if len(headers) >= _HEADERS_KEPT:
        headers.clear()
    headers[header] = key
