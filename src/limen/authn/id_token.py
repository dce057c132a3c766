"""ID tokens, signed userinfo and logout tokens of OpenID Connect: the rules by which one is believed, and nothing else.

An ID token tells a client who has logged in at an issuer. It is not an access token: it says nothing about what its
bearer may do, and it was made for the client, not for a service that the client calls.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from hmac import compare_digest
from types import MappingProxyType
from typing import Any, Final, Protocol

from limen.core.errors import ConfigurationError
from limen.crypto.encoding import b64url_encode
from limen.crypto.foreign_jwt import SignedText, read_signed, require_algorithms, text_of, texts_of, time_of
from limen.crypto.jwt import MAX_LEEWAY, TokenError
from limen.crypto.keys import VerificationKey

LEEWAY: Final = 30
"""Seconds by which the issuer's clock may differ."""
MOST_AGE: Final = 3_600
"""Seconds since an ID token was made after which it is no answer to a login of now."""
LONGEST_LOGOUT: Final = 600
"""Seconds that a logout token may live: as long its ``jti`` has to be remembered (Back-Channel Logout, 2.4 and 4)."""
TENANT: Final = "{tenantid}"
"""What stands for the tenant in the issuer that Entra names for applications of several tenants."""
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
# OpenID Connect Core, 3.1.3.6: the hash of the signature's algorithm. Ed25519 hashes with SHA-512 (RFC 8032).
_HASHES: Final = {"RS256": sha256, "ES256": sha256, "EdDSA": sha512}
_LOGIN_TYPES: Final = frozenset({None, "jwt"})
# What tells other tokens of the same issuer, for the same client and of the same type, from userinfo: a nonce and
# hashes are an ID token's, which always has the nonce that was sent; events are a logout token's.
_NOT_OF_USERINFO: Final = ("nonce", "at_hash", "c_hash", "s_hash", "events")
_LOGOUT_TYPE: Final = "logout+jwt"


class IssuersKeys(Protocol):
    """Where the keys of one issuer come from: `limen.authn.issuer_keys.IssuerKeys`."""

    async def key(self, kid: str | None, alg: str) -> VerificationKey:
        """Return the key of this id and algorithm; TokenError where there is none."""
        ...

    def stated_issuer(self, kid: str) -> str | None:
        """Return the issuer that a key says it is for, if it says so."""
        ...


@dataclass(frozen=True, slots=True)
class IdTokenClaims:
    """What an ID token that is believed says (OpenID Connect Core, section 2).

    Attributes:
        issuer: who made it; with ``subject``, the identity. Never an e-mail address or a name (Core, 5.7).
        subject: the person, as the issuer calls them; case matters.
        audience: whom it is for.
        expires_at: seconds since 1970 UTC.
        issued_at: seconds since 1970 UTC.
        auth_time: when the person proved who they are, in seconds since 1970 UTC, where the issuer says so.
        acr: the authentication context class reference, if there is one.
        amr: the authentication methods (RFC 8176).
        sid: the session at the issuer, which a logout token may name.
        tenant: ``tid`` of Entra, where the issuer is a template.
        claims: all of it, read-only.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires_at: int
    issued_at: int
    auth_time: int | None
    acr: str | None
    amr: tuple[str, ...]
    sid: str | None
    tenant: str | None
    claims: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogoutTokenClaims:
    """What a logout token that is believed says (OpenID Connect Back-Channel Logout 1.0, section 2.4).

    Attributes:
        issuer: who made it.
        subject: the person whose sessions end; None where ``sid`` says which one.
        sid: the session at the issuer that ends; None for all of the subject's.
        jti: its id. Whoever acts on it remembers it until ``expires_at``, or it could be played again.
        issued_at: seconds since 1970 UTC.
        expires_at: seconds since 1970 UTC, at most ten minutes after it was made.
    """

    issuer: str
    subject: str | None
    sid: str | None
    jti: str
    issued_at: int
    expires_at: int


async def verify_id_token(
    token: str | bytes,
    *,
    issuer: str,
    client_id: str,
    nonce: str | None,
    keys: IssuersKeys,
    algorithms: Collection[str] = ("RS256",),
    access_token: str | None = None,
    code: str | None = None,
    max_age: int | None = None,
    now: float,
    leeway: int = LEEWAY,
    trusted_audiences: Collection[str] = (),
    auth_time_required: bool = False,
    by_front_channel: bool = False,
) -> IdTokenClaims:
    """Return what an ID token says, if it is one of this issuer, for this client and this login.

    Args:
        token: as it came.
        issuer: from the configuration, never from the token; exact. With `TENANT` in it (Entra, several tenants): the
            token's ``tid`` is put there, a GUID and nothing else, and the result must be its ``iss``, to the letter.
        client_id: this client's.
        nonce: what was sent with the authentication request. None stands for none: then there must be none.
        keys: the issuer's.
        algorithms: what the client is registered for at the issuer (Core, 3.1.3.7, rule 7).
        access_token: what came with it: its ``at_hash`` is checked where there is one.
        code: the same, for ``c_hash``.
        max_age: seconds, where the request asked for it: ``auth_time`` must then be there, and not longer ago.
        now: seconds since 1970 UTC.
        leeway: seconds by which the issuer's clock may differ, at most 60.
        trusted_audiences: others that it may be for as well.
        auth_time_required: the client is registered to be told ``auth_time``.
        by_front_channel: it came through the browser: then ``at_hash`` and ``c_hash`` must be there (Core, 3.3.2.11).

    Raises:
        TokenError: it is not believed; ``reason`` is a word for the log: those of reading (`read_signed`), ``kid``,
            ``alg``, ``signature``, ``typ``, ``iss``, ``tid``, ``sub``, ``aud``, ``azp``, ``exp``, ``iat``, ``nbf``,
            ``expired``, ``not_yet_valid``, ``too_old``, ``nonce``, ``auth_time``, ``at_hash``, ``c_hash``, or the name
            of another claim that is not of its type.
        Unavailable: the keys cannot be had, so nobody can tell.
        ConfigurationError: what it is checked against cannot be right.
    """
    _require_leeway(leeway)
    signed, claims, of_key = await _verified(token, keys, algorithms)
    if signed.typ not in _LOGIN_TYPES:
        # A logout token, an access token, a token of events: each says what it is (RFC 8725, section 3.11).
        raise TokenError("typ")
    tenant = require_issuer(claims, issuer, of_key)
    audience = _require_audience(claims, client_id, trusted_audiences)
    subject = text_of(claims, "sub")
    if subject is None:
        raise TokenError("sub")
    issued_at, expires_at = _require_time(claims, now, leeway)
    if issued_at + MOST_AGE + leeway < now:
        raise TokenError("too_old")
    _require_nonce(claims, nonce)
    auth_time = _require_auth_time(claims, max_age, auth_time_required, now, leeway)
    _require_hash(claims, "at_hash", access_token, signed.alg, required=by_front_channel)
    _require_hash(claims, "c_hash", code, signed.alg, required=by_front_channel)
    return IdTokenClaims(
        issuer=str(claims["iss"]),
        subject=subject,
        audience=audience,
        expires_at=expires_at,
        issued_at=issued_at,
        auth_time=auth_time,
        acr=text_of(claims, "acr"),
        amr=texts_of(claims, "amr") or (),
        sid=text_of(claims, "sid"),
        tenant=tenant,
        claims=MappingProxyType(dict(claims)),
    )


async def verify_logout_token(
    token: str | bytes,
    *,
    issuer: str,
    client_id: str,
    keys: IssuersKeys,
    algorithms: Collection[str] = ("RS256",),
    now: float,
    leeway: int = LEEWAY,
    untyped: bool = False,
) -> LogoutTokenClaims:
    """Return what a logout token says, if it is one (OpenID Connect Back-Channel Logout 1.0, section 2.6).

    That its ``jti`` was not seen before is the caller's to see to, by one atomic verb.

    Args:
        token: as it came.
        issuer: as for `verify_id_token`.
        client_id: this client's.
        keys: the issuer's.
        algorithms: what the client is registered for at the issuer.
        now: seconds since 1970 UTC.
        leeway: seconds by which the issuer's clock may differ, at most 60.
        untyped: the issuer is an old one and does not say ``logout+jwt``; the ``events`` member then tells it from an
            ID token, and that there is no nonce.

    Raises:
        TokenError: it is not believed; also ``events``, ``jti``, and ``sub`` where it names neither a person nor a
            session.
        Unavailable: the keys cannot be had.
        ConfigurationError: what it is checked against cannot be right.
    """
    _require_leeway(leeway)
    signed, claims, of_key = await _verified(token, keys, algorithms)
    if signed.typ != _LOGOUT_TYPE and not (untyped and signed.typ in _LOGIN_TYPES):
        raise TokenError("typ")
    require_issuer(claims, issuer, of_key)
    _require_audience(claims, client_id, ())
    issued_at, expires_at = _require_time(claims, now, leeway)
    if expires_at - issued_at > LONGEST_LOGOUT:
        raise TokenError("exp")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise TokenError("events")
    if "nonce" in claims:
        # The one thing that no logout token has: so an ID token cannot pass for one (section 2.4).
        raise TokenError("nonce")
    subject, sid, jti = text_of(claims, "sub"), text_of(claims, "sid"), text_of(claims, "jti")
    if subject is None and sid is None:
        raise TokenError("sub")
    if jti is None:
        raise TokenError("jti")
    return LogoutTokenClaims(str(claims["iss"]), subject, sid, jti, issued_at, expires_at)


async def verify_userinfo(
    token: str | bytes,
    *,
    issuer: str,
    client_id: str,
    subject: str,
    keys: IssuersKeys,
    algorithms: Collection[str] = ("RS256",),
    now: float,
    leeway: int = LEEWAY,
) -> Mapping[str, Any]:
    """Return what signed userinfo says, if it is the issuer's, of this person (OpenID Connect Core, section 5.3.2).

    It should name its issuer and its audience; where it does they are held against the client's. It needs no time,
    since it answers this very request, but is refused outside of one that it states.

    Args:
        token: as it came.
        issuer: as for `verify_id_token`.
        client_id: this client's.
        subject: of the ID token that the same code brought.
        keys: the issuer's.
        algorithms: what the client is registered for at the issuer; none of them is symmetric.
        now: seconds since 1970 UTC.
        leeway: seconds by which the issuer's clock may differ, at most 60.

    Raises:
        TokenError: it is not believed: as for `verify_id_token`; ``nonce``, ``at_hash``, ``c_hash``, ``s_hash`` or
            ``events`` where it is another token than userinfo.
        Unavailable: the keys cannot be had.
        ConfigurationError: what it is checked against cannot be right.
    """
    _require_leeway(leeway)
    signed, claims, of_key = await _verified(token, keys, algorithms)
    if signed.typ not in _LOGIN_TYPES:
        raise TokenError("typ")
    for name in _NOT_OF_USERINFO:
        if name in claims:
            raise TokenError(name)
    require_issuer({"iss": issuer, **claims}, issuer, of_key)
    audience = texts_of(claims, "aud")
    if audience is not None and client_id not in audience:
        raise TokenError("aud")
    if text_of(claims, "sub") != subject:
        raise TokenError("sub")
    not_after, *not_before = (time_of(claims, name) for name in ("exp", "nbf", "iat"))
    if not_after is not None and now >= not_after + leeway:
        raise TokenError("expired")
    if any(each is not None and each > now + leeway for each in not_before):
        raise TokenError("not_yet_valid")
    return claims


# --- the single rules


async def _verified(
    token: str | bytes, keys: IssuersKeys, algorithms: Collection[str]
) -> tuple[SignedText, Mapping[str, Any], str | None]:
    signed = read_signed(token, algorithms=require_algorithms(algorithms))
    key = await keys.key(signed.kid, signed.alg)
    return signed, signed.verified_by(key), keys.stated_issuer(key.kid)


def require_issuer(claims: Mapping[str, Any], issuer: str, of_key: str | None) -> str | None:
    """Hold ``iss`` against the configuration, and return the tenant where that is a template.

    A template is no pattern: one GUID is put in one place, and the texts are equal or not. What a key says it is for
    must be the same: in a set for all tenants are keys that only one may use.
    """
    stated, tenant = claims.get("iss"), None
    expected = issuer
    if TENANT in issuer:
        tenant = text_of(claims, "tid")
        if tenant is None or not _GUID.match(tenant):
            raise TokenError("tid")
        expected = issuer.replace(TENANT, tenant)
    if not issuer or not isinstance(stated, str) or stated != expected:
        raise TokenError("iss")
    if of_key is not None and of_key not in {issuer, expected}:
        raise TokenError("iss")
    return tenant


def _require_audience(claims: Mapping[str, Any], client_id: str, trusted: Collection[str]) -> tuple[str, ...]:
    """Core, 3.1.3.7, rules 3 to 5: for this client, for nobody who is not trusted, and given to this client."""
    audience = texts_of(claims, "aud")
    if not client_id or not audience or client_id not in audience:
        raise TokenError("aud")
    if not set(audience) <= {client_id, *trusted}:
        raise TokenError("aud")
    party = text_of(claims, "azp")
    if (party is None and len(audience) > 1) or (party is not None and party != client_id):
        raise TokenError("azp")
    return audience


def _require_time(claims: Mapping[str, Any], now: float, leeway: int) -> tuple[int, int]:
    issued_at, expires_at, not_before = time_of(claims, "iat"), time_of(claims, "exp"), time_of(claims, "nbf")
    if issued_at is None:
        raise TokenError("iat")
    if expires_at is None or expires_at <= issued_at:
        raise TokenError("exp")
    if issued_at > now + leeway or (not_before is not None and not_before > now + leeway):
        raise TokenError("not_yet_valid")
    if now >= expires_at + leeway:
        raise TokenError("expired")
    return int(issued_at), int(expires_at)


def _require_nonce(claims: Mapping[str, Any], nonce: str | None) -> None:
    stated = text_of(claims, "nonce")
    if nonce is None and stated is None:
        return
    # An empty nonce was never sent: it is a fault of the caller, and must not match a token that has none.
    if not nonce or stated is None or not compare_digest(stated.encode(), nonce.encode()):
        raise TokenError("nonce")


def _require_auth_time(
    claims: Mapping[str, Any], max_age: int | None, required: bool, now: float, leeway: int
) -> int | None:
    stated = time_of(claims, "auth_time")
    if stated is None:
        if max_age is not None or required:
            raise TokenError("auth_time")
        return None
    if stated > now + leeway or (max_age is not None and now - stated > max_age + leeway):
        raise TokenError("auth_time")
    return int(stated)


def _require_hash(claims: Mapping[str, Any], name: str, hashed: str | None, alg: str, *, required: bool) -> None:
    """Core, 3.1.3.6 and 3.3.2.11: the left half of the hash. Without a hash for the algorithm it fails, and not passes.

    A verifier that skipped what it could not compute let any access token be put beside any ID token (CVE-2026-28498).
    """
    if hashed is None:
        return
    stated = text_of(claims, name)
    if stated is None:
        if required:
            raise TokenError(name)
        return
    digest = _HASHES.get(alg)
    if digest is None or not hashed.isascii():
        raise TokenError(name)
    whole = digest(hashed.encode("ascii")).digest()
    if not compare_digest(b64url_encode(whole[: len(whole) // 2]), stated.encode("ascii")):
        raise TokenError(name)


def _require_leeway(leeway: int) -> None:
    if not 0 <= leeway <= MAX_LEEWAY:
        raise ConfigurationError(f"The leeway for tokens is 0 to {MAX_LEEWAY} seconds.")
