"""The Bearer strategy for access tokens of issuers that are not limen."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec

from limen.authn.external import ExternalIssuer, read_external
from limen.authn.extractor import MAX_HEADER
from limen.authn.id_token import TENANT
from limen.authn.issuer_keys import IssuerKeys
from limen.authn.outbound import Outbound
from limen.authn.strategy import (
    NOT_MINE,
    Attribute,
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
from limen.core.held import counting
from limen.core.principal import Principal
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.encoding import b64url_decode
from limen.crypto.foreign_jwt import read_signed
from limen.crypto.jwt import TokenError
from limen.crypto.keys import KeySet, VerificationKey

ASK_SECONDS: Final = 5.0
"""How long the application may take to say whether a principal may still come in."""
_SPELLING: Final = b"Bearer "
_BOUND: Final = "The token is bound to a client certificate that was not presented."

_log = logging.getLogger(__name__)


class ExternalCredential(Authenticated, frozen=True, kw_only=True):
    """An access token of an external issuer that was verified. Its ``kid`` is none of limen's own.

    Attributes:
        number: which of the issuers made it.
        signed_with: the id of its key.
    """

    number: int
    signed_with: str


class _Peek(msgspec.Struct):
    """The two claims by which one of the configured issuers is chosen; nothing else is done by what is not verified."""

    iss: str
    tid: str | msgspec.UnsetType = msgspec.UNSET


_peek: Final = msgspec.json.Decoder(_Peek).decode


class ExternalTokens:
    """Verifies access tokens of external issuers, and remembers what it has seen of them.

    What a token says of its issuer only chooses among those that are configured: everything that it is then checked
    against is the configuration's.

    Its memory is that of limen's own tokens, which asks the clock and the connection at each use. Where a key of an
    issuer goes, it is emptied.

    Args:
        issuers: whose tokens count.
        cache: of the claims of tokens seen before.
        outbound: fetches their keys.
        own_issuer: this limen's, which none of them may be.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are. A role that is not among them is not given to the principal.
        clock: the time, in seconds since 1970 UTC.

    Raises:
        ConfigurationError: an issuer twice, or this limen among them.
    """

    challenge = "Bearer"

    def __init__(
        self,
        issuers: Sequence[ExternalIssuer],
        outbound: Outbound,
        cache: ClaimsCache[Authenticated],
        *,
        own_issuer: str,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
    ) -> None:
        names = [each.issuer for each in issuers]
        if len(set(names)) != len(names) or own_issuer in names:
            raise ConfigurationError("Each external issuer is named once, and this limen is none of them.")
        self._issuers = tuple(issuers)
        self._used = [KeySet.empty() for _ in issuers]
        self._keys = tuple(
            IssuerKeys(each.jwks_uri or _found_by(each, outbound), outbound, use=partial(self._use, number))
            for number, each in enumerate(issuers)
        )
        self._by_name = {each.issuer: number for number, each in enumerate(issuers) if TENANT not in each.issuer}
        self._templates = [(each.issuer, number) for number, each in enumerate(issuers) if TENANT in each.issuer]
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._seen = cache
        self._following: tuple[asyncio.Task[None], ...] = ()

    def _use(self, number: int, keys: KeySet) -> None:
        is_more = keys.has_all_of(self._used[number])
        self._used[number] = keys
        if not is_more:
            self._seen.clear()

    def is_foreign(self, token: bytes) -> bool:
        """Tell whether a text looks like a token of one of the issuers; whether it is one is found out later."""
        return self._number_of(token) is not None

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return no way of its own: that of limen's own tokens knows these too, once they were seen."""
        return otherwise

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory or verify at once; None where the key has to be fetched."""
        if credential.scheme != "bearer":
            return NOT_MINE
        number = self._number_of(credential.value)
        if number is None:
            return NOT_MINE
        digest = sha256(_SPELLING + credential.value).digest()
        seen = self._seen.get_by_digest(digest)
        if seen is not None and isinstance(seen[0], ExternalCredential):
            return self._usable(seen[0], credential)
        known = self._admit(number, credential.value, digest, None)
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
        if known.signed_with not in self._keys[known.number].keys:
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
        trusted, keys, used = self._issuers[number], self._keys[number], self._used[number]
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
        principal = believed.principal
        roles = counting(principal.roles, self._known_roles())
        known = ExternalCredential(
            replace(principal, roles=roles, permissions=principal.permissions | self._permissions_of(roles)),
            believed.expires_at,
            None,
            None,
            believed.bound_to,
            number=number,
            signed_with=key.kid,
        )
        self._seen.put_by_digest(digest, known, key.kid)
        if self._used[number] is not used and key.kid not in self._used[number]:
            # Another thread has changed the keys meanwhile, and may have emptied the memory before this was in it.
            self._seen.clear()
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
