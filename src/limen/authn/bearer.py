"""The Bearer strategy: limen's own access tokens (RFC 6750, RFC 9068)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from msgspec import UNSET

from limen.authn.ended import EndedSessions
from limen.authn.extractor import MAX_HEADER
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
    LimenError,
    SessionEnded,
    TokenExpired,
    TokenRejected,
    TokenStale,
    Unauthenticated,
    Unavailable,
)
from limen.core.held import ends_of, given, held_at, joined
from limen.core.principal import BY_CERTIFICATE, Authentication, Principal, PrincipalKind
from limen.crypto.claims import AccessClaims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenError, TokenVerifier
from limen.crypto.keys import KeySet

_LOOKED_AT: Final = frozenset({b"authorization", b"cookie", b"x-api-key"})
_PERSON: Final = PrincipalKind.PERSON
_BOUND: Final = "The access token is bound to a client certificate that this connection does not have."
KEY: Final = b"lim_"
"""What an API key begins with, and no access token does: its first part would have to be JSON."""
_SPELLING: Final = b"Bearer "
"""How the scheme is spelt nearly always. A token is remembered under the SHA-256 of the header's whole value in this
spelling: nothing has to be cut off before it is hashed."""

_log = logging.getLogger(__name__)

PermissionsOf = Callable[[frozenset[str]], frozenset[str]]
"""Answers the permissions that a set of roles gives."""

Learn = Callable[[], Awaitable[None]]
"""Looks for keys that are not known yet."""

HeldNow = Callable[[Principal], Awaitable[frozenset[str]]]
"""Asks the store what an account holds at this moment."""

KnownRoles = Callable[[], frozenset[str]]
"""Answers the names of the roles there are; none at all where they are not known."""

_NO_CHANGES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


def _none_known() -> frozenset[str]:
    return frozenset()


class _AskStore(Authenticated, frozen=True):
    """A token that was verified, and does not say what its account may: that is asked of the store for each request.

    ``expires_at`` is 0, so that no way past the store takes it for a credential that is in time.

    Attributes:
        ends_at: when it really ends, in seconds since 1970 UTC.
    """

    ends_at: int = 0


class BearerStrategy:
    """Verifies access tokens, and remembers the claims of those it has seen.

    The memory holds what a token says, not a verdict: every use asks the clock, the list of ended sessions and the
    changed roles again. Issuer and audience cannot change under it: they are fixed when this strategy is made. Where a
    key goes, the memory is emptied.

    Args:
        verifier: of access tokens.
        cache: of the claims of tokens seen before.
        ended: the sessions that ended.
        changed: the accounts whose roles were changed lately, by their ids, and the roles they hold now. It is asked
            as it is at that moment, so whoever fills it keeps one object.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are. A role that is not among them is not given to the principal.
        clock: the time, in seconds since 1970 UTC.
        learn: looks for keys that are not known here yet; it bounds itself how often. It raises Unavailable where it
            cannot look: then nobody can tell whether a token of an unknown key is right.
        thumbprint_of: tells the client certificate of a connection; without it, bound tokens are refused.
        is_foreign: tells the tokens that another strategy is to be asked about.
        held_now: asks the store what the account of a principal holds at this moment (`limen.core.held`), or raises
            why it must not be let through; for tokens that do not say it. Without it, they give what their roles give.
    """

    challenge = "Bearer"

    def __init__(
        self,
        verifier: TokenVerifier[AccessClaims],
        cache: ClaimsCache[Authenticated],
        ended: EndedSessions,
        *,
        changed: Mapping[str, frozenset[str]] = _NO_CHANGES,
        permissions_of: PermissionsOf,
        known_roles: KnownRoles = _none_known,
        clock: Clock,
        learn: Learn | None = None,
        thumbprint_of: Callable[[Mapping[str, Any]], str | None] | None = None,
        is_foreign: Callable[[bytes], bool] | None = None,
        held_now: HeldNow | None = None,
    ) -> None:
        self._verifier = verifier
        self._cache = cache
        self._ended = ended
        self._changed = changed
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._learn = learn
        self._thumbprint_of = thumbprint_of
        self._is_foreign = is_foreign
        self._held_now = held_now

    @property
    def keys(self) -> KeySet:
        """The keys that tokens are verified with now."""
        return self._verifier.keys

    def use_keys(self, keys: KeySet) -> None:
        """Verify with other keys from now on. Where one of those before is not among them, its tokens are dead."""
        is_more = keys.has_all_of(self._verifier.keys)
        self._verifier.use(keys)
        if not is_more:
            self._cache.clear()

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way for requests with one Authorization header in its common spelling.

        One function that asks for what it needs by as few steps as there can be: nearly every request takes it, and
        between two requests the processor has forgotten each function that it has to call.
        """
        lookup, clock, ended, changed = self._cache.get_by_digest, self._clock, self._ended, self._changed
        thumbprint_of = self._thumbprint_of

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            found = None
            for name, value in scope["headers"]:
                if name in _LOOKED_AT:
                    if name != b"authorization":
                        return otherwise(scope, state)  # it may be another credential
                    found = value if found is None else b""  # two are no token: the chain refuses them
            if found is None:
                return None
            digest = sha256(found).digest()
            entry = lookup(digest)
            if entry is not None:
                known = entry[0]
            elif found[:7] == _SPELLING and 7 < len(found) <= MAX_HEADER and found[7] != 0x20 and found[7:11] != KEY:
                new = self._admit(found[7:], digest)
                if not isinstance(new, Authenticated):
                    return otherwise(scope, state) if new is None else _reject(new, state)
                known = new
            else:
                return otherwise(scope, state)
            bound_to = known.bound_to
            if (
                # That it was right on another connection says nothing of this one.
                (bound_to is not None and (thumbprint_of is None or thumbprint_of(scope) != bound_to))
                or changed
                or known.principal.sid in ended
                or not clock() < known.expires_at
            ):
                fault = self._fault_on(known, scope)
                if fault is not None:
                    is_to_ask = isinstance(known, _AskStore)
                    return self._note_asked(known, scope, state) if is_to_ask else _reject(Rejected(fault), state)
            state.principal = known.principal
            state.credential = known
            return None

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory or verify at once: nothing here waits. None where the key has to be looked for."""
        if credential.scheme != "bearer" or credential.value.startswith(KEY):
            return NOT_MINE
        if self._is_foreign is not None and self._is_foreign(credential.value):
            return NOT_MINE
        digest = sha256(_SPELLING + credential.value).digest()
        seen = self._cache.get_by_digest(digest)
        known = self._admit(credential.value, digest) if seen is None else seen[0]
        if known is None or isinstance(known, Rejected):
            return known
        if isinstance(known, _AskStore):
            return None
        fault = self.fault_of(known)
        if fault is None and known.bound_to is not None and credential.certificate != known.bound_to:
            fault = TokenRejected(_BOUND)
        return known if fault is None else Rejected(fault)

    def fault_of(self, known: Authenticated) -> Unauthenticated | None:
        """Return why a credential that was verified may not be used any more; None where it may."""
        if self._clock() >= known.expires_at:
            return TokenExpired()
        if known.kid is not None and known.kid not in self._verifier.keys:
            return TokenRejected()
        principal = known.principal
        if principal.sid in self._ended:
            return SessionEnded()
        # Sets are compared, not times: what a refresh that is under way will issue is either this very set or stale.
        stated = known.stated_roles
        if stated is not None:
            held = self._changed.get(principal.sub, stated)
            # What ends by itself was already over for a token that was issued afterwards.
            if held != stated and held_at(held, known.issued_at * 1000) != stated:
                return TokenStale()
            # A token is over before the first end of what it states: one that is not is of before that end was set.
            ends = ends_of(held)
            if ends and any(end < known.expires_at * 1000 for name, end in ends.items() if name in stated):
                return TokenStale()
        return None

    def _fault_on(self, known: Authenticated, scope: Mapping[str, Any]) -> Unauthenticated | None:
        """Return why it may not be used on this very connection."""
        bound_to = known.bound_to
        if bound_to is not None and (self._thumbprint_of is None or self._thumbprint_of(scope) != bound_to):
            return TokenRejected(_BOUND)
        return self.fault_of(known)

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """The same answer as `recall`, after looking for the key where it was not known."""
        outcome = self.recall(credential) or await self._asked(credential)
        if outcome is not None or self._learn is None:
            return outcome or Rejected(TokenRejected())
        try:
            await self._learn()
        except Unavailable as error:
            return Rejected(error)
        return self.recall(credential) or await self._asked(credential) or Rejected(TokenRejected())

    async def _asked(self, credential: PresentedCredential) -> Authenticated | Rejected | None:
        """Ask the store about a token that does not say what its account may; None where it is no such token."""
        seen = self._cache.get_by_digest(sha256(_SPELLING + credential.value).digest())
        if seen is None or not isinstance(seen[0], _AskStore):
            return None
        return await self._with_store(seen[0], credential.certificate)

    async def _note_asked(self, known: Authenticated, scope: Mapping[str, Any], state: Attribution) -> None:
        certificate = None if self._thumbprint_of is None else self._thumbprint_of(scope)
        outcome = await self._with_store(known, certificate)
        if isinstance(outcome, Rejected):
            state.rejection = outcome.error
        else:
            state.principal, state.credential = outcome.principal, outcome

    async def _with_store(self, known: Authenticated, certificate: str | None) -> Authenticated | Rejected:
        """Return the credential with what its account holds at this moment, by the store."""
        ends_at = known.ends_at if isinstance(known, _AskStore) else known.expires_at
        whole = Authenticated(known.principal, ends_at, None, known.kid, known.bound_to)
        fault: LimenError | None = self.fault_of(whole)
        if fault is None and known.bound_to is not None and certificate != known.bound_to:
            fault = TokenRejected(_BOUND)
        if fault is not None or self._held_now is None:
            return Rejected(fault or TokenRejected())
        try:
            held = await self._held_now(known.principal)
        except LimenError as error:
            return Rejected(error)
        roles, permissions = given(held, self._known_roles(), self._permissions_of)
        ends_at = min([ends_at, *(end // 1000 for end in ends_of(held).values())])
        principal = replace(known.principal, roles=roles, permissions=permissions)
        return Authenticated(principal, ends_at, held, known.kid, known.bound_to, int(self._clock()))

    def _admit(self, token: bytes, digest: bytes) -> Authenticated | Rejected | None:
        """Verify a token that was not seen before, and remember what it says.

        None where its key may be learnt, or another strategy is to be asked.
        """
        if self._is_foreign is not None and self._is_foreign(token):
            return None
        ring = self._verifier.ring
        try:
            claims, kid = self._verifier.verify_with_kid(token)
        except TokenError as error:
            if error.reason == "kid" and self._learn is not None:
                return None
            _log.debug("access token refused", extra={"reason": error.reason})
            return Rejected(TokenExpired() if error.expired else TokenRejected())
        stated = claims.permissions
        held = claims.roles if stated is UNSET else joined(claims.roles, stated)
        roles, permissions = given(held, self._known_roles(), self._permissions_of)
        # By place: with their names it takes a third longer, and this is for each new token.
        principal = Principal(
            claims.sub,
            # Only services are known by certificates.
            PrincipalKind.SERVICE if BY_CERTIFICATE in claims.amr else _PERSON,
            roles,
            permissions,
            claims.sid,
            claims.client_id,
            Authentication(claims.amr, claims.auth_time),
        )
        bound_to = None if claims.cnf is UNSET else claims.cnf.certificate
        if stated is UNSET or stated or self._held_now is None:
            known = Authenticated(principal, claims.exp, held, kid, bound_to, claims.iat)
        else:
            known = _AskStore(principal, 0, None, kid, bound_to, claims.iat, claims.exp)
        self._cache.put_by_digest(digest, known, kid)
        if self._verifier.ring is not ring:
            # Another thread has changed the keys meanwhile, and may have emptied the memory before this was in it.
            self._cache.clear()
        return known


def _reject(outcome: Rejected, state: Attribution) -> Awaitable[None] | None:
    state.rejection = outcome.error
    return None
