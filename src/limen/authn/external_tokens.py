"""The Bearer strategy for access tokens of issuers that are not limen."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import msgspec

from limen.authn.external import ExternalIssuer, read_external
from limen.authn.extractor import MAX_HEADER
from limen.authn.id_token import TENANT
from limen.authn.issuer_keys import IssuerKeys
from limen.authn.outbound import Outbound
from limen.authn.strategy import (
    NOT_MINE,
    Attribute,
    Attribution,
    Authenticated,
    Outcome,
    PresentedCredential,
    Rejected,
)
from limen.core.clock import Clock
from limen.core.errors import (
    AccountNotActive,
    ConfigurationError,
    LimenError,
    PolicyDenied,
    TokenExpired,
    TokenRejected,
    Unauthenticated,
    Unavailable,
)
from limen.core.principal import Principal
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.encoding import b64url_decode
from limen.crypto.foreign_jwt import read_signed
from limen.crypto.jwt import TokenError
from limen.crypto.keys import VerificationKey

ASK_SECONDS: Final = 5.0
"""How long the application may take to say whether a principal may still come in."""
_SPELLING: Final = b"Bearer "
_BOUND: Final = "The token is bound to a client certificate that was not presented."

_log = logging.getLogger(__name__)


class ExternalCredential(Authenticated, frozen=True, kw_only=True):
    """An access token of an external issuer that was verified.

    Attributes:
        number: which of the issuers made it.
    """

    number: int


class _Peek(msgspec.Struct):
    """The two claims by which one of the configured issuers is chosen; nothing else is done by what is not verified."""

    iss: str
    tid: str | msgspec.UnsetType = msgspec.UNSET


_peek: Final = msgspec.json.Decoder(_Peek).decode


class ExternalTokens:
    """Verifies access tokens of external issuers, and remembers what it has seen of them.

    What a token says of its issuer only chooses among those that are configured: everything that it is then checked
    against is the configuration's.

    Args:
        issuers: whose tokens count.
        outbound: fetches their keys.
        own_issuer: this limen's, which none of them may be.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are. A role that is not among them is not given to the principal.
        clock: the time, in seconds since 1970 UTC.
        thumbprint_of: tells the client certificate of a connection; without it, bound tokens are refused.

    Raises:
        ConfigurationError: an issuer twice, or this limen among them.
    """

    challenge = "Bearer"

    def __init__(
        self,
        issuers: Sequence[ExternalIssuer],
        outbound: Outbound,
        *,
        own_issuer: str,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        thumbprint_of: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> None:
        names = [each.issuer for each in issuers]
        if len(set(names)) != len(names) or own_issuer in names:
            raise ConfigurationError("Each external issuer is named once, and this limen is none of them.")
        self._issuers = tuple(issuers)
        self._keys = tuple(IssuerKeys(each.jwks_uri or _found_by(each, outbound), outbound) for each in issuers)
        self._by_name = {each.issuer: number for number, each in enumerate(issuers) if TENANT not in each.issuer}
        self._templates = [(each.issuer, number) for number, each in enumerate(issuers) if TENANT in each.issuer]
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._thumbprint_of = thumbprint_of
        self._seen: ClaimsCache[ExternalCredential] = ClaimsCache()
        self._following: tuple[asyncio.Task[None], ...] = ()

    def forget(self) -> None:
        """Read every token again: what a role gives has changed."""
        self._seen.clear()

    def is_foreign(self, token: bytes) -> bool:
        """Tell whether a text looks like a token of one of the issuers; whether it is one is found out later."""
        return self._number_of(token) is not None

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way that knows tokens seen before, and leaves all else to ``otherwise``."""
        lookup = self._seen.get_by_digest

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            found = None
            for name, value in scope["headers"]:
                if name == b"authorization":
                    found = value if found is None else b""  # two are no token: the chain refuses them
                elif name in {b"cookie", b"x-api-key"}:
                    return otherwise(scope, state)  # it may be another credential
            if not found:
                return otherwise(scope, state)
            entry = lookup(sha256(found).digest())
            if entry is None:
                return otherwise(scope, state)
            known = entry[0]
            fault = self.fault_of(known) or self._unbound(known, scope)
            if fault is not None:
                state.rejection = fault
                return None
            state.principal = known.principal
            state.credential = known
            return None

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory or verify at once; None where the key has to be fetched."""
        if credential.scheme != "bearer":
            return NOT_MINE
        number = self._number_of(credential.value)
        if number is None:
            return NOT_MINE
        digest = sha256(_SPELLING + credential.value).digest()
        seen = self._seen.get_by_digest(digest)
        known = seen[0] if seen is not None else self._admit(number, credential.value, digest, None)
        return known if known is None or isinstance(known, Rejected) else self._usable(known, credential)

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """The same answer as `recall`, after fetching the key where it was not known."""
        outcome = self.recall(credential)
        number = self._number_of(credential.value)
        if outcome is not None or number is None:
            return outcome or NOT_MINE
        try:
            signed = read_signed(credential.value, algorithms=self._issuers[number].algorithms)
            key = await self._keys[number].key(signed.kid, signed.alg)
        except TokenError as error:
            return self._refused(number, error)
        except Unavailable as error:
            return Rejected(error)
        digest = sha256(_SPELLING + credential.value).digest()
        known = self._admit(number, credential.value, digest, key)
        if known is None or isinstance(known, Rejected):
            return known or Rejected(TokenRejected())
        return self._usable(known, credential)

    def fault_of(self, known: ExternalCredential) -> Unauthenticated | None:
        """Return why a credential that was verified may not be used any more; None where it may."""
        if self._clock() >= known.expires_at:
            return TokenExpired()
        if known.kid not in self._keys[known.number].keys:
            return TokenRejected()
        return None

    async def live(self, principal: Principal) -> Principal:
        """Ask the application whether a principal may still come in, where it said how to find out.

        Raises:
            PolicyDenied: nobody said how: what the account is now, only its issuer knows.
            AccountNotActive: it may not.
            Unavailable: the application could not find out, which is a no.
        """
        number = self._number_named(principal.issuer or "", None)
        ask = None if number is None else self._issuers[number].still_active
        if ask is None:
            raise PolicyDenied("Whether this account is still active is not known here.")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                is_active = await ask(principal)
        except LimenError:
            raise
        except Exception:
            _log.exception("whether an external account is still active could not be found out")
            raise Unavailable() from None
        if is_active is not True:
            raise AccountNotActive()
        return principal

    def start(self) -> None:
        """Follow the keys of the issuers; what they do not give now is fetched when a token needs it."""
        if not self._following:
            self._following = tuple(
                asyncio.create_task(keys.follow(), name="limen: keys of an external issuer") for keys in self._keys
            )

    async def stop(self) -> None:
        """End what `start` began."""
        following, self._following = self._following, ()
        for task in following:
            task.cancel()
            with suppress(asyncio.CancelledError, RuntimeError):
                await task

    # --- the single steps

    def _number_of(self, token: bytes) -> int | None:
        if not 0 < len(token) <= MAX_HEADER or token.count(b".") != 2:
            return None
        try:
            peeked = _peek(b64url_decode(token.split(b".")[1]))
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return None
        return self._number_named(peeked.iss, peeked.tid or None)

    def _number_named(self, issuer: str, tenant: str | None) -> int | None:
        number = self._by_name.get(issuer)
        if number is None:
            for template, candidate in self._templates:
                before, _, after = template.partition(TENANT)
                is_like = issuer.startswith(before) and issuer.endswith(after)
                if is_like if tenant is None else template.replace(TENANT, tenant) == issuer:
                    return candidate
        return number

    def _admit(
        self, number: int, token: bytes, digest: bytes, key: VerificationKey | None
    ) -> ExternalCredential | Rejected | None:
        """Verify a token that was not seen before, and remember what it says; None where its key is not known."""
        trusted, keys = self._issuers[number], self._keys[number]
        try:
            signed = read_signed(token, algorithms=trusted.algorithms)
            key = key or keys.known(signed.kid, signed.alg)
            if key is None:
                return None
            believed = read_external(
                signed.verified_by(key), trusted, typ=signed.typ, of_key=keys.stated_issuer(key.kid), now=self._clock()
            )
        except TokenError as error:
            return self._refused(number, error)
        principal, names = believed.principal, self._known_roles()
        roles = principal.roles & names if names else principal.roles
        known = ExternalCredential(
            replace(principal, roles=roles, permissions=principal.permissions | self._permissions_of(roles)),
            believed.expires_at,
            None,
            key.kid,
            believed.bound_to,
            number=number,
        )
        self._seen.put_by_digest(digest, known, key.kid)
        return known

    def _refused(self, number: int, error: TokenError) -> Rejected:
        _log.info(
            "external token refused", extra={"reason": error.reason, "external_issuer": self._issuers[number].issuer}
        )
        return Rejected(TokenExpired() if error.expired else TokenRejected())

    def _usable(self, known: ExternalCredential, credential: PresentedCredential) -> Outcome:
        fault = self.fault_of(known)
        if fault is None and known.bound_to is not None and credential.certificate != known.bound_to:
            fault = TokenRejected(_BOUND)
        return known if fault is None else Rejected(fault)

    def _unbound(self, known: ExternalCredential, scope: Mapping[str, Any]) -> Unauthenticated | None:
        bound_to = known.bound_to
        if bound_to is not None and (self._thumbprint_of is None or self._thumbprint_of(scope) != bound_to):
            return TokenRejected(_BOUND)
        return None


def _found_by(issuer: ExternalIssuer, outbound: Outbound) -> Callable[[], Awaitable[str]]:
    """Return what finds out where the keys of an issuer are (OpenID Connect Discovery, section 4; RFC 8414)."""
    url = issuer.metadata_url or f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"

    async def found() -> str:
        metadata, _ = await outbound.get_json(url)
        # Whoever answers under another name could vouch for everybody (Discovery, section 4.3; RFC 8414, section 3.3).
        if metadata.get("issuer") != issuer.issuer:
            raise ConfigurationError("The metadata are those of another issuer.")
        jwks_uri = metadata.get("jwks_uri")
        if not isinstance(jwks_uri, str):
            raise ConfigurationError("The metadata name no keys.")
        return jwks_uri

    return found
