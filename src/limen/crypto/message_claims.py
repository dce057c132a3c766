"""What the token of a message says: whom the message stands for, whom it is for, and which body it belongs to.

It is another kind of token than any other: a ``typ`` of its own (RFC 8725, section 3.11). No verifier of access tokens
takes it, and no consumer of messages takes an access token.
"""

import re
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec

from limen.core.ids import is_uuid7, uuid7
from limen.crypto.encoding import b64url_encode

MESSAGE_TYP: Final = "limen-msg+jwt"
"""The ``typ`` of the token of a message."""
MESSAGE_TTL: Final = 300
"""Seconds it lives where nothing else is said."""
MESSAGE_MAX_TTL: Final = 14 * 24 * 60 * 60
"""Seconds it lives at most: as long as a queue of SQS keeps a message."""
MAX_AUDIENCE: Final = 255

_END_OF_TIME: Final = 253_402_300_799
_AUDIENCE: Final = re.compile(rf"[!-~]{{1,{MAX_AUDIENCE}}}\Z")
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=_END_OF_TIME)]
_Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class MessageClaims(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the token of a message says.

    It states no roles: a message may lie for hours, so whoever handles it asks for those of that moment.

    Attributes:
        aud: whom the message is for.
        bh: the SHA-256 of the body in base64url: the token is of this message and of no other.
        ep: the ``session_epoch`` of the service when the token was made; None where it stands for a session.
        exp: the second from which on it is no longer valid, since 1970 UTC.
        iat: the second in which it was made, since 1970 UTC.
        iss: who made it.
        jti: its own id, a UUIDv7: by which a message is told from another with the same body.
        sid: the session of the person that it stands for; None for a service.
        sub: the account.
    """

    aud: str
    bh: str
    ep: int | None
    exp: int
    iat: int
    iss: str
    jti: str
    sid: str | None
    sub: str


class MessageWire(msgspec.Struct, gc=False, kw_only=True):
    """The fields stand in the order in which they are written: a token of our own reads back to its very bytes."""

    aud: str | tuple[str, ...]
    bh: str
    ep: _Epoch | None
    exp: _Seconds
    iat: _Seconds
    iss: str
    jti: str
    sid: str | None
    sub: str
    nbf: _Seconds | msgspec.UnsetType = msgspec.UNSET


def body_hash(body: bytes) -> str:
    """Return what a token says of the body that it belongs to."""
    return b64url_encode(sha256(body).digest()).decode("ascii")


def is_audience(text: str) -> bool:
    """Tell whether messages can be for this: 1 to 255 visible ASCII characters."""
    return _AUDIENCE.match(text) is not None


def message_claims(
    *, issuer: str, audience: str, sub: str, sid: str | None, epoch: int | None, body: bytes, iat: int, ttl: int
) -> MessageClaims:
    """Return the claims of the token of a new message, with a fresh ``jti``.

    Args:
        issuer: the exact ``iss``.
        audience: whom the message is for.
        sub: the account's id, a UUIDv7.
        sid: the session of a person; None for a service.
        epoch: the epoch of a service; None for a session.
        body: the message itself.
        iat: now, in seconds since 1970 UTC.
        ttl: the lifetime in seconds.

    Raises:
        ValueError: a value that no consumer would accept.
    """
    claims = MessageClaims(
        aud=audience,
        bh=body_hash(body),
        ep=epoch,
        exp=iat + ttl,
        iat=iat,
        iss=issuer,
        jti=uuid7(),
        sid=sid,
        sub=sub,
    )
    if not (_fits(claims) and is_audience(audience) and 0 < ttl <= MESSAGE_MAX_TTL and claims.exp <= _END_OF_TIME):
        raise ValueError("no token of a message is made with such claims")
    return claims


def admit_message(wire: Any, issuer: str, audience: str) -> MessageClaims | None:
    """Return what was read from a token whose signature is right; None where a claim does not have its shape."""
    claims = MessageClaims(
        aud=audience,
        bh=wire.bh,
        ep=wire.ep,
        exp=wire.exp,
        iat=wire.iat,
        iss=issuer,
        jti=wire.jti,
        sid=wire.sid,
        sub=wire.sub,
    )
    return claims if _fits(claims) else None


def _fits(claims: MessageClaims) -> bool:
    return (
        is_uuid7(claims.sub)
        and is_uuid7(claims.jti)
        and (claims.sid is None) != (claims.ep is None)
        and (claims.sid is None or is_uuid7(claims.sid))
        and _DIGEST.match(claims.bh) is not None
    )
