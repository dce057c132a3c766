"""What limen's own tokens say: closed lists of claims, each with its shape.

An access token carries these claims and no other (RFC 9068, sections 2.2 and 6): a name or an address cannot be put
into one, since there is no field for it.
"""

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

import msgspec

from limen.core.ids import UUID7, is_uuid7, uuid7
from limen.crypto.forwarded_claims import FORWARDED_TYP, ForwardedClaims, ForwardedWire, admit_forwarded
from limen.crypto.message_claims import MESSAGE_TYP, MessageClaims, MessageWire, admit_message

ACCESS_TYP: Final = "at+jwt"
"""The ``typ`` of an access token (RFC 9068, section 2.1)."""

REFRESH_TYP: Final = "rt+jwt"
"""The ``typ`` of a refresh token; limen's own, so that no other token is one (RFC 8725, section 3.11)."""

MAX_ROLES: Final = 256
MAX_METHODS: Final = 16
MAX_PERMISSIONS: Final = 2048
"""Bytes that the permissions in a token take at most: every request carries them."""

_END_OF_TIME: Final = 253_402_300_799  # 9999-12-31T23:59:59Z: what a database and a datetime still hold
_MAX_GENERATION: Final = 2**63 - 1
_INTERNED_AT_MOST: Final = 4096

_SECRET_PART: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")
# The three ids of an access token, with what none of them can hold between them: one search instead of three.
_IDS_OF_ACCESS: Final = re.compile(rf"{UUID7} {UUID7} [A-Za-z0-9_-]{{1,64}}\Z")
_VISIBLE: Final = re.compile(r"[!-~]{1,255}\Z")

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=_END_OF_TIME)]


class Confirmation(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What the presenter of a token has to prove (RFC 7800, section 3.1): the certificate of the connection.

    A way of proof that is not known here is one that nobody asks for, so such a token is refused.

    Attributes:
        certificate: the SHA-256 of the certificate in base64url (RFC 8705, section 3.1).
    """

    certificate: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}\Z")] = msgspec.field(name="x5t#S256")


class AccessClaims(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an access token says (RFC 9068, section 2.2).

    Attributes:
        amr: authentication method references, such as ``("pwd",)`` (RFC 8176).
        aud: the service that the token is for.
        auth_time: when the person proved who they are, in seconds since 1970 UTC.
        client_id: the client that acts for the person.
        cnf: the client certificate that the token is bound to; most are bound to none.
        exp: the second from which on the token is no longer valid, since 1970 UTC.
        iat: the second in which it was made, since 1970 UTC.
        iss: who made it.
        jti: its own id.
        permissions: what was granted to the account beside its roles; not there where nothing was, and empty where the
            token does not say what, and the issuer's database has to be asked.
        roles: the roles held when it was made.
        sid: the session it belongs to, a UUIDv7.
        sub: the account, a UUIDv7.
    """

    amr: tuple[str, ...]
    aud: str
    auth_time: int
    client_id: str
    cnf: Confirmation | msgspec.UnsetType = msgspec.UNSET
    exp: int
    iat: int
    iss: str
    jti: str
    permissions: frozenset[str] | msgspec.UnsetType = msgspec.UNSET
    roles: frozenset[str]
    sid: str
    sub: str


class RefreshClaims(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a refresh token says. It is opaque to clients by contract.

    Attributes:
        aud: the issuer itself: nobody else takes refresh tokens.
        exp: the second from which on the token is no longer valid, since 1970 UTC.
        gen: the generation, 0 at login.
        iat: the second in which the session was last rotated, since 1970 UTC.
        iss: who made it.
        jti: the secret part: base64url of 32 bytes, 43 characters. Never log it.
        sid: the session, a UUIDv7.
        sub: the account, a UUIDv7.
    """

    aud: str
    exp: int
    gen: int
    iat: int
    iss: str
    jti: str
    sid: str
    sub: str

    def __repr__(self) -> str:
        return f"RefreshClaims(sid={self.sid!r}, gen={self.gen!r})"


def access_claims(
    *,
    issuer: str,
    audience: str,
    sub: str,
    sid: str,
    client_id: str,
    roles: Collection[str],
    auth_time: int,
    amr: Collection[str],
    iat: int,
    ttl: int,
    certificate: str | None = None,
    permissions: Collection[str] | None = None,
) -> AccessClaims:
    """Return the claims of a new access token, with a fresh ``jti``.

    Args:
        issuer: the exact ``iss``.
        audience: the exact ``aud``.
        sub: the account's id, a UUIDv7: an e-mail address or a name is refused.
        sid: the session's id, a UUIDv7.
        client_id: 1 to 255 visible ASCII characters.
        roles: the roles held now.
        auth_time: when the person proved who they are, in seconds since 1970 UTC.
        amr: how they did (RFC 8176).
        iat: now, in seconds since 1970 UTC.
        ttl: the lifetime in seconds.
        certificate: the thumbprint of the client certificate that the token is bound to, if it is bound.
        permissions: what was granted to the account beside its roles, `MAX_PERMISSIONS` bytes at most; empty where the
            database is to be asked, None where nothing was.

    Raises:
        ValueError: a value that no verifier would accept; the message names the claim, never the value.
    """
    claims = AccessClaims(
        amr=tuple(amr),
        aud=audience,
        auth_time=auth_time,
        client_id=client_id,
        cnf=msgspec.UNSET if certificate is None else Confirmation(certificate),
        exp=iat + ttl,
        iat=iat,
        iss=issuer,
        jti=uuid7(),
        permissions=msgspec.UNSET if permissions is None else frozenset(permissions),
        roles=frozenset(roles),
        sid=sid,
        sub=sub,
    )
    fits = (
        _methods(claims.amr) is not None,
        bool(audience),
        0 <= auth_time <= _END_OF_TIME,
        _client(client_id) is not None,
        0 <= iat < claims.exp <= _END_OF_TIME,
        bool(issuer),
        not permissions or _well_formed_permissions(permissions),
        claims.roles in _written_sets or _may_be_written(claims.roles),
        is_uuid7(sid),
        is_uuid7(sub),
    )
    if not all(fits):
        wrong = [name for name, fine in zip(_JUDGED, fits, strict=True) if not fine]
        raise ValueError(f"no access token is made with such claims: {', '.join(wrong)}")
    return claims


_JUDGED: Final = ("amr", "aud", "auth_time", "client_id", "exp", "iss", "permissions", "roles", "sid", "sub")
_written_sets: set[frozenset[str]] = set()


def _may_be_written(roles: frozenset[str]) -> bool:
    """Tell whether every role has its shape, and remember the set if so: few sets are held by all accounts."""
    if not _well_formed_roles(roles):
        return False
    if len(_written_sets) >= _INTERNED_AT_MOST:
        _written_sets.clear()
    _written_sets.add(roles)
    return True


# --- the way in: what is read from a token whose signature is right, before it is believed


class _AccessWire(msgspec.Struct, gc=False, kw_only=True):
    """The fields stand in the order in which `Signer` writes them: a token of our own reads back to its very bytes."""

    amr: tuple[str, ...]
    aud: str | tuple[str, ...]
    auth_time: _Seconds
    client_id: str
    cnf: Confirmation | msgspec.UnsetType = msgspec.UNSET
    exp: _Seconds
    iat: _Seconds
    iss: str
    jti: str
    permissions: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    roles: tuple[str, ...]
    sid: str
    sub: str
    nbf: _Seconds | msgspec.UnsetType = msgspec.UNSET


class _RefreshWire(msgspec.Struct, gc=False, kw_only=True):
    """As `_AccessWire`."""

    aud: str | tuple[str, ...]
    exp: _Seconds
    gen: Annotated[int, msgspec.Meta(ge=0, le=_MAX_GENERATION)]
    iat: _Seconds
    iss: str
    jti: str
    sid: str
    sub: str
    nbf: _Seconds | msgspec.UnsetType = msgspec.UNSET


class Wire(Protocol):
    """The registered claims as they may stand in a payload (RFC 7519, section 4.1)."""

    aud: str | tuple[str, ...]
    exp: int
    iat: int
    iss: str
    nbf: int | msgspec.UnsetType


C = TypeVar("C", bound=AccessClaims | RefreshClaims | ForwardedClaims | MessageClaims)


@dataclass(frozen=True, slots=True)
class Shape(Generic[C]):
    """How one kind of claims is read.

    Attributes:
        typ: the ``typ`` of the tokens that carry them, and of no others.
        wire: the struct that the payload is decoded into.
        admit: makes claims of it. It is given the issuer and the audience of the verifier, which were found equal
            already, so that thousands of claims share one string. None where a claim does not have its shape.
    """

    typ: str
    wire: type[Wire]
    admit: Callable[[Any, str, str], C | None]


_interned_strings: dict[str, str] = {}
_interned_tuples: dict[tuple[str, ...], tuple[str, ...]] = {}
_interned_sets: dict[tuple[str, ...], frozenset[str]] = {}


def _well_formed_roles(roles: Collection[str]) -> bool:
    return len(roles) <= MAX_ROLES and all(0 < len(role) <= 128 and role.isprintable() for role in roles)


def _well_formed_methods(methods: Collection[str]) -> bool:
    return len(methods) <= MAX_METHODS and all(len(name) <= 64 and _VISIBLE.match(name) for name in methods)


def _role_set(roles: tuple[str, ...]) -> frozenset[str] | None:
    """Return the one set of these roles: a hundred thousand tokens with the same roles do not hold as many sets."""
    known = _interned_sets.get(roles)
    if known is None:
        if not _well_formed_roles(roles):
            return None
        if len(_interned_sets) >= _INTERNED_AT_MOST:
            _interned_sets.clear()
        known = _interned_sets[roles] = frozenset(map(sys.intern, roles))
    return known


def size_of_permissions(permissions: Collection[str]) -> int:
    """Return how many bytes the claim of these permissions takes."""
    return len(msgspec.json.encode(tuple(permissions)))


def _well_formed_permissions(permissions: Collection[str]) -> bool:
    return size_of_permissions(permissions) <= MAX_PERMISSIONS and all(_VISIBLE.match(name) for name in permissions)


def _permission_set(permissions: tuple[str, ...]) -> frozenset[str] | None:
    return frozenset(permissions) if _well_formed_permissions(permissions) else None


def _methods(methods: tuple[str, ...]) -> tuple[str, ...] | None:
    known = _interned_tuples.get(methods)
    if known is None:
        if not _well_formed_methods(methods):
            return None
        if len(_interned_tuples) >= _INTERNED_AT_MOST:
            _interned_tuples.clear()
        known = _interned_tuples[methods] = methods
    return known


def _client(name: str) -> str | None:
    known = _interned_strings.get(name)
    if known is None:
        if not _VISIBLE.match(name):
            return None
        if len(_interned_strings) >= _INTERNED_AT_MOST:
            _interned_strings.clear()
        known = _interned_strings[name] = name
    return known


def _admit_access(wire: _AccessWire, issuer: str, audience: str) -> AccessClaims | None:
    sub, sid, jti = wire.sub, wire.sid, wire.jti
    if _IDS_OF_ACCESS.match(f"{sub} {sid} {jti}") is None:
        return None
    amr = _interned_tuples.get(wire.amr) or _methods(wire.amr)
    client_id = _interned_strings.get(wire.client_id) or _client(wire.client_id)
    roles = _interned_sets.get(wire.roles) or _role_set(wire.roles)
    permissions = wire.permissions if wire.permissions is msgspec.UNSET else _permission_set(wire.permissions)
    if amr is None or client_id is None or roles is None or permissions is None:
        return None
    return AccessClaims(
        amr=amr,
        aud=audience,
        auth_time=wire.auth_time,
        client_id=client_id,
        cnf=wire.cnf,
        exp=wire.exp,
        iat=wire.iat,
        iss=issuer,
        jti=jti,
        permissions=permissions,
        roles=roles,
        sid=sid,
        sub=sub,
    )


def _admit_refresh(wire: _RefreshWire, issuer: str, audience: str) -> RefreshClaims | None:
    if not (is_uuid7(wire.sub) and is_uuid7(wire.sid) and _SECRET_PART.match(wire.jti)):
        return None
    return RefreshClaims(
        aud=audience,
        exp=wire.exp,
        gen=wire.gen,
        iat=wire.iat,
        iss=issuer,
        jti=wire.jti,
        sid=wire.sid,
        sub=wire.sub,
    )


ACCESS_SHAPE: Final[Shape[AccessClaims]] = Shape(ACCESS_TYP, _AccessWire, _admit_access)
REFRESH_SHAPE: Final[Shape[RefreshClaims]] = Shape(REFRESH_TYP, _RefreshWire, _admit_refresh)
FORWARDED_SHAPE: Final[Shape[ForwardedClaims]] = Shape(FORWARDED_TYP, ForwardedWire, admit_forwarded)
MESSAGE_SHAPE: Final[Shape[MessageClaims]] = Shape(MESSAGE_TYP, MessageWire, admit_message)
SHAPES: Final[dict[type, Shape[Any]]] = {
    AccessClaims: ACCESS_SHAPE,
    RefreshClaims: REFRESH_SHAPE,
    ForwardedClaims: FORWARDED_SHAPE,
    MessageClaims: MESSAGE_SHAPE,
}
