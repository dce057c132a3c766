"""What the token says that a gateway hands on to the service behind it: who was let in.

It is for services that limen's gateway asks for, so it is another kind of token than any other: its own ``typ`` and its
own ``aud`` (RFC 8725, sections 3.9, 3.11 and 3.12). No verifier of access tokens takes it.
"""

import re
from collections.abc import Collection
from typing import Annotated, Any, Final

import msgspec

from limen.core.ids import is_uuid7, uuid7
from limen.core.principal import Principal, PrincipalKind

FORWARDED_TYP: Final = "limen-fwd+jwt"
"""The ``typ`` of a token that a gateway hands on."""
FORWARDED_TTL: Final = 30
"""Seconds it lives: as long as a request may take from the gateway to the service behind it."""
LONGEST_OPEN: Final = 900
"""Seconds for which what it opened may stay open: as long as an access token lives at most."""

MAX_NAMES: Final = 1024
"""Roles, and permissions, that a token may state."""

_END_OF_TIME: Final = 253_402_300_799
_TEXT: Final = re.compile(r"[!-~]{1,255}\Z")
_KINDS: Final = {kind.value: kind for kind in (PrincipalKind.PERSON, PrincipalKind.SERVICE)}
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=_END_OF_TIME)]


def forwarded_audience(issuer: str) -> str:
    """Return the ``aud`` of the tokens that gateways of an issuer hand on: ``https://id.example/forwarded``."""
    return f"{issuer.rstrip('/')}/forwarded"


class ForwardedClaims(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a token from the gateway says.

    Attributes:
        amr: how the caller proved who they are (RFC 8176); ``api_key`` for a key.
        aud: the services behind the gateways of this issuer.
        auth_time: when they proved it, in seconds since 1970 UTC.
        exp: the second from which on it is no longer valid, since 1970 UTC.
        iat: the second in which it was made, since 1970 UTC.
        iss: who made it.
        jti: its own id.
        kind: ``person`` or ``service``.
        permissions: what the caller may do, as ``resource:action``.
        roles: the roles held.
        sid: the session or API key that they came with; None for neither.
        sub: the account.
        until: the second at which what it opened, a socket or a stream, has to be closed, since 1970 UTC.
    """

    amr: tuple[str, ...]
    aud: str
    auth_time: int
    exp: int
    iat: int
    iss: str
    jti: str
    kind: str
    permissions: frozenset[str]
    roles: frozenset[str]
    sid: str | None
    sub: str
    until: int


class ForwardedWire(msgspec.Struct, gc=False, kw_only=True):
    """The fields stand in the order in which they are written: a token of our own reads back to its very bytes."""

    amr: tuple[str, ...]
    aud: str | tuple[str, ...]
    auth_time: _Seconds
    exp: _Seconds
    iat: _Seconds
    iss: str
    jti: str
    kind: str
    permissions: tuple[str, ...]
    roles: tuple[str, ...]
    sid: str | None
    sub: str
    until: _Seconds
    nbf: _Seconds | msgspec.UnsetType = msgspec.UNSET


def forwarded_claims(principal: Principal, *, issuer: str, iat: int, expires_at: int | None = None) -> ForwardedClaims:
    """Return the claims for whoever was let in, with a fresh ``jti``.

    Args:
        principal: who was let in.
        issuer: the exact ``iss``.
        iat: now, in seconds since 1970 UTC.
        expires_at: when the credential ends that they came with, in seconds since 1970 UTC: the token ends no later.

    Raises:
        ValueError: it is nobody, or a value that no verifier would accept.
    """
    ends = _END_OF_TIME if expires_at is None else max(iat + 1, expires_at)
    authentication = principal.authentication
    claims = ForwardedClaims(
        amr=authentication.methods if authentication is not None else (),
        aud=forwarded_audience(issuer),
        auth_time=authentication.time if authentication is not None else 0,
        exp=min(iat + FORWARDED_TTL, ends),
        iat=iat,
        iss=issuer,
        jti=uuid7(),
        kind=principal.kind.value,
        permissions=principal.permissions,
        roles=principal.roles,
        sid=principal.sid,
        sub=principal.sub,
        until=min(iat + LONGEST_OPEN, ends),
    )
    if not _fits(claims):
        raise ValueError("no token for the services behind a gateway is made for such a principal")
    return claims


def admit_forwarded(wire: Any, issuer: str, audience: str) -> ForwardedClaims | None:
    """Return what was read from a token whose signature is right; None where a claim does not have its shape."""
    claims = ForwardedClaims(
        amr=wire.amr,
        aud=audience,
        auth_time=wire.auth_time,
        exp=wire.exp,
        iat=wire.iat,
        iss=issuer,
        jti=wire.jti,
        kind=wire.kind,
        permissions=frozenset(wire.permissions),
        roles=frozenset(wire.roles),
        sid=wire.sid,
        sub=wire.sub,
        until=wire.until,
    )
    return claims if _fits(claims) else None


def kind_of(claims: ForwardedClaims) -> PrincipalKind:
    """Return the kind of principal that a token states."""
    return _KINDS[claims.kind]


def _fits(claims: ForwardedClaims) -> bool:
    return (
        claims.kind in _KINDS
        and _TEXT.match(claims.sub) is not None
        and (claims.sid is None or _TEXT.match(claims.sid) is not None)
        and is_uuid7(claims.jti)
        and claims.exp <= claims.until
        and _are_names(claims.roles)
        and _are_names(claims.permissions)
        and len(claims.amr) <= 16
        and all(len(name) <= 64 and _TEXT.match(name) for name in claims.amr)
    )


def _are_names(names: Collection[str]) -> bool:
    return len(names) <= MAX_NAMES and all(0 < len(name) <= 255 and name.isprintable() for name in names)
