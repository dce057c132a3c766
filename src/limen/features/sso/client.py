"""Speaks to one provider: where the browser goes, and who the provider then says it is (OpenID Connect Core, 3.1)."""

import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from limen.authn.id_token import (
    IdTokenClaims,
    LogoutTokenClaims,
    verify_id_token,
    verify_logout_token,
    verify_userinfo,
)
from limen.authn.issuer_keys import IssuerKeys
from limen.authn.outbound import Outbound, OutboundError, json_object
from limen.core.clock import Clock
from limen.core.errors import SsoFailed
from limen.crypto.jwt import TokenError
from limen.features.sso.discovery import Discovery, Metadata, unavailable
from limen.features.sso.proofs import challenge_of
from limen.features.sso.providers import SSOProvider
from limen.features.sso.store import Identity

MAX_SUBJECT: Final = 255
"""Characters of a subject (OpenID Connect Core, section 2)."""
METHODS: Final = frozenset(
    {"face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc", "sms"}
    | {"swk", "tel", "user", "vbm", "wia"}
)
"""The methods of RFC 8176 that are passed on; whatever else a provider calls its own stays there."""

MOST_METHODS: Final = 6
_SIGNED: Final = "application/jwt"
_USERINFO: Final = f"application/json, {_SIGNED}"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a provider said, and was believed.

    Attributes:
        identity: who it is there.
        claims: what else was said; nothing of it identifies anybody.
        email: the address; with ``email_verified`` from the same source.
        email_verified: the provider says so: the JSON value true, and nothing like it.
        amr: how the person proved who they are, as far as RFC 8176 has words for it.
        acr: the authentication context class.
        auth_time: when, in seconds since 1970 UTC, where the provider says so.
        sid: the provider's own session.
        id_token: as it came, for the logout there.
    """

    identity: Identity
    claims: Mapping[str, Any] = field(repr=False)
    email: str | None = field(repr=False)
    email_verified: bool
    amr: tuple[str, ...]
    acr: str | None
    auth_time: int | None
    sid: str | None
    id_token: str | None = field(repr=False)


class ProviderClient:
    """Speaks to one provider, at the addresses that its description gives, and nowhere else.

    Args:
        provider: which one.
        outbound: makes the calls.
        clock: the time in seconds since 1970 UTC.
    """

    def __init__(self, provider: SSOProvider, outbound: Outbound, *, clock: Clock) -> None:
        self.provider = provider
        self._outbound = outbound
        self._clock = clock
        self._discovery = Discovery(provider, outbound)
        self._keys = IssuerKeys(self._jwks, outbound)

    async def metadata(self) -> Metadata:
        """Return what the provider says of itself.

        Raises:
            Unavailable: it does not answer, or is not to be believed.
        """
        return await self._discovery.metadata()

    async def authorization_url(self, *, state: str, nonce: str, verifier: str, redirect_uri: str) -> str:
        """Return where the browser is to go (OpenID Connect Core, section 3.1.2.1; PKCE: RFC 7636, section 4.3)."""
        provider = self.provider
        parameters = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        if provider.endpoints is None:
            parameters["nonce"] = nonce
        if provider.max_age is not None:
            parameters["max_age"] = str(provider.max_age)
        address = (await self.metadata()).authorization
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"

    async def redeem(self, code: str, *, nonce: str, verifier: str, redirect_uri: str) -> Assertion:
        """Exchange the code, and return who the provider says it is, once all of it was checked.

        Raises:
            SsoFailed: what it said is not believed.
            Unavailable: it does not answer.
        """
        metadata = await self.metadata()
        answer = await self._tokens(metadata, code, verifier, redirect_uri)
        access_token = answer.get("access_token")
        if not isinstance(access_token, str) or not _is_token(access_token):
            raise refused(self.provider, "access_token")
        if str(answer.get("token_type", "")).lower() != "bearer":
            raise refused(self.provider, "token_type")
        if self.provider.endpoints is not None:
            return self._by_userinfo(await self._userinfo(metadata, access_token, None))
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise refused(self.provider, "id_token")
        claims = await self._verified(id_token, nonce, access_token)
        told: Mapping[str, Any] = {}
        if self.provider.userinfo and metadata.userinfo is not None:
            told = await self._userinfo(metadata, access_token, claims.subject)
            if told.get("sub") != claims.subject:
                # Core, 5.3.2: an access token that was slipped in tells of somebody else.
                raise refused(self.provider, "userinfo_sub")
        return _assertion(claims, told, id_token)

    async def logout_token(self, token: str) -> LogoutTokenClaims:
        """Return what a logout token says (OpenID Connect Back-Channel Logout, section 2.6).

        Raises:
            SsoFailed: it is not believed.
            Unavailable: the provider's keys cannot be had.
        """
        provider = self.provider
        if provider.endpoints is not None:
            raise refused(provider, "no_openid")
        try:
            return await verify_logout_token(
                token,
                issuer=provider.issuer,
                client_id=provider.client_id,
                keys=self._keys,
                algorithms=(provider.signing_alg,),
                now=self._clock(),
                untyped=provider.untyped_logout,
            )
        except TokenError as error:
            raise refused(provider, f"logout_token_{error.reason}") from None

    async def _jwks(self) -> str:
        return (await self.metadata()).jwks or ""

    async def _verified(self, id_token: str, nonce: str, access_token: str) -> IdTokenClaims:
        provider = self.provider
        try:
            claims = await verify_id_token(
                id_token,
                issuer=provider.issuer,
                client_id=provider.client_id,
                nonce=nonce,
                keys=self._keys,
                algorithms=(provider.signing_alg,),
                access_token=access_token,
                max_age=provider.max_age,
                now=self._clock(),
            )
        except TokenError as error:
            raise refused(provider, f"id_token_{error.reason}") from None
        if not _is_subject(claims.subject):
            raise refused(provider, "id_token_sub")
        return claims

    async def _tokens(self, metadata: Metadata, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        provider, secret = self.provider, self.provider.secret
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if secret and metadata.takes_basic:
            # RFC 6749, section 2.3.1: both are form-encoded first, so that a colon in them separates nothing.
            pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"
        else:
            fields["client_id"] = provider.client_id
            if secret:
                fields["client_secret"] = secret
        try:
            status, answer = await self._outbound.post_form(metadata.token, fields, headers=headers)
        except OutboundError as error:
            raise self._silent("token", error) from None
        if status >= 500 or status == 429:
            raise self._silent("token", OutboundError("status", f"The answer is {status}."))
        if status != 200 or "error" in answer:
            fault = answer.get("error")
            raise refused(provider, f"token_{fault}" if str(fault) in _TOKEN_FAULTS else "token_refused")
        return answer

    async def _userinfo(self, metadata: Metadata, access_token: str, subject: str | None) -> Mapping[str, Any]:
        """Ask the userinfo endpoint, which answers JSON, or a JWT where the client is registered so (Core, 5.3.2)."""
        headers = {"authorization": f"Bearer {access_token}"}
        try:
            answer, told = await self._outbound.get(metadata.userinfo or "", headers=headers, accept=_USERINFO)
            if told.get("content-type", "").partition(";")[0].strip().lower() != _SIGNED:
                return json_object(answer)
        except OutboundError as error:
            raise self._silent("userinfo", error) from None
        return await self._signed_userinfo(answer, subject)

    async def _signed_userinfo(self, answer: bytes, subject: str | None) -> Mapping[str, Any]:
        provider = self.provider
        if subject is None:
            # Without OpenID Connect the provider has no keys to hold it against.
            raise refused(provider, "userinfo_signed")
        try:
            return await verify_userinfo(
                answer.strip(),
                issuer=provider.issuer,
                client_id=provider.client_id,
                subject=subject,
                keys=self._keys,
                algorithms=(provider.signing_alg,),
                now=self._clock(),
            )
        except TokenError as error:
            raise refused(provider, f"userinfo_{error.reason}") from None

    def _by_userinfo(self, told: Mapping[str, Any]) -> Assertion:
        """Say who it is where only the userinfo tells; no address of it is verified by anybody."""
        endpoints = self.provider.endpoints
        stated = told.get(endpoints.subject_claim) if endpoints is not None else None
        subject = str(stated) if isinstance(stated, int | str) and not isinstance(stated, bool) else ""
        if not _is_subject(subject):
            raise refused(self.provider, "userinfo_subject")
        identity = Identity(self.provider.issuer, subject)
        return Assertion(identity, dict(told), None, False, (), None, None, None, None)

    def _silent(self, endpoint: str, error: OutboundError) -> Exception:
        extra = {"provider": self.provider.name, "endpoint": endpoint, "fault": error.code}
        _log.warning("a provider does not answer", extra=extra)
        return unavailable(self.provider)


_TOKEN_FAULTS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
"""What a token endpoint may call its refusal (RFC 6749, section 5.2); other words do not reach the log."""


def refused(provider: SSOProvider, reason: str) -> SsoFailed:
    """Write to the log why a provider's answer is not accepted, and return what the browser is told: not why."""
    _log.warning("sso_refused", extra={"provider": provider.name, "reason": reason})
    return SsoFailed()


def _assertion(claims: IdTokenClaims, told: Mapping[str, Any], id_token: str) -> Assertion:
    # What is signed stands before what is not. An address and whether it is verified come from one source.
    source = claims.claims if "email" in claims.claims else told
    email = source.get("email")
    return Assertion(
        identity=Identity(claims.issuer, claims.subject),
        claims={**told, **claims.claims},
        email=email if isinstance(email, str) else None,
        email_verified=source.get("email_verified") is True,
        amr=tuple(sorted(METHODS.intersection(claims.amr))[:MOST_METHODS]),
        acr=claims.acr if claims.acr is not None and _is_short(claims.acr) else None,
        auth_time=claims.auth_time,
        sid=claims.sid if claims.sid is not None and len(claims.sid) <= MAX_SUBJECT else None,
        id_token=id_token,
    )


def _is_subject(text: str) -> bool:
    return 0 < len(text) <= MAX_SUBJECT and text.isprintable()


def _is_short(text: str) -> bool:
    return 0 < len(text) <= 128 and text.isascii() and text.isprintable()


def _is_token(text: str) -> bool:
    return 0 < len(text) <= 16_384 and text.isascii() and text.isprintable() and " " not in text
