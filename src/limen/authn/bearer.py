"""The Bearer strategy: limen's own access tokens (RFC 6750, RFC 9068)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

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
from limen.core.errors import SessionEnded, TokenExpired, TokenRejected, TokenStale, Unauthenticated
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.crypto.claims import AccessClaims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenError, TokenVerifier

_PERSON: Final = PrincipalKind.PERSON
_SPELLING: Final = b"Bearer "
"""How the scheme is spelt nearly always. A token is remembered under the SHA-256 of the header's whole value in this
spelling: nothing has to be cut off before it is hashed."""

_log = logging.getLogger(__name__)

PermissionsOf = Callable[[frozenset[str]], frozenset[str]]
"""Answers the permissions that a set of roles gives."""

KnownRoles = Callable[[], frozenset[str]]
"""Answers the names of the roles there are; none at all where they are not known."""

_NO_CHANGES: Final[Mapping[str, frozenset[str]]] = MappingProxyType({})


def _none_known() -> frozenset[str]:
    return frozenset()


class BearerStrategy:
    """Verifies access tokens, and remembers the claims of those it has seen.

    The memory holds what a token says, not a verdict: every use asks the clock, the list of ended sessions and the
    changed roles again.
    Issuer, audience and keys cannot change under it: they are fixed when this strategy is made, and the memory with it.

    Args:
        verifier: of access tokens.
        cache: of the claims of tokens seen before.
        ended: the sessions that ended.
        changed: the accounts whose roles were changed lately, by their ids, and the roles they hold now. It is asked
            as it is at that moment, so whoever fills it keeps one object.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are. A role that is not among them is not given to the principal.
        clock: the time, in seconds since 1970 UTC.
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
    ) -> None:
        self._verifier = verifier
        self._cache = cache
        self._ended = ended
        self._changed = changed
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way for requests with one Authorization header in its common spelling.

        One function that asks for what it needs by as few steps as there can be: nearly every request takes it, and
        between two requests the processor has forgotten each function that it has to call.
        """
        lookup, clock, ended, changed = self._cache.get_by_digest, self._clock, self._ended, self._changed

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            found = None
            for name, value in scope["headers"]:
                if name == b"authorization":
                    if found is not None:
                        return otherwise(scope, state)  # two: the chain refuses them
                    found = value
            if found is None:
                return None
            digest = sha256(found).digest()
            entry = lookup(digest)
            if entry is not None:
                known = entry[0]
            elif found[:7] == _SPELLING and 7 < len(found) <= MAX_HEADER and found[7] != 0x20:
                new = self._admit(found[7:], digest)
                if isinstance(new, Rejected):
                    state.rejection = new.error
                    return None
                known = new
            else:
                return otherwise(scope, state)
            if clock() < known.expires_at and known.principal.sid not in ended and not changed:
                state.principal = known.principal
                state.credential = known
                return None
            fault = self.fault_of(known)
            if fault is None:
                state.principal = known.principal
                state.credential = known
            else:
                state.rejection = fault
            return None

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory or verify at once: nothing here waits."""
        if credential.scheme != "bearer":
            return NOT_MINE
        digest = sha256(_SPELLING + credential.value).digest()
        seen = self._cache.get_by_digest(digest)
        known = self._admit(credential.value, digest) if seen is None else seen[0]
        if isinstance(known, Rejected):
            return known
        fault = self.fault_of(known)
        return known if fault is None else Rejected(fault)

    def fault_of(self, known: Authenticated) -> Unauthenticated | None:
        """Return why a credential that was verified may not be used any more; None where it may."""
        if self._clock() >= known.expires_at:
            return TokenExpired()
        principal = known.principal
        if principal.sid in self._ended:
            return SessionEnded()
        # Sets are compared, not times: what a refresh that is under way will issue is either this very set or stale.
        stated = known.stated_roles
        if stated is not None and self._changed.get(principal.sub, stated) != stated:
            return TokenStale()
        return None

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """The same answer as `recall`."""
        return self.recall(credential) or NOT_MINE

    def _admit(self, token: bytes, digest: bytes) -> Authenticated | Rejected:
        """Verify a token that was not seen before, and remember what it says."""
        try:
            claims, kid = self._verifier.verify_with_kid(token)
        except TokenError as error:
            _log.debug("access token refused", extra={"reason": error.reason})
            return Rejected(TokenExpired() if error.expired else TokenRejected())
        names = self._known_roles()
        roles = claims.roles if not names or claims.roles <= names else claims.roles & names
        # By place: with their names it takes a third longer, and this is for each new token.
        principal = Principal(
            claims.sub,
            _PERSON,
            roles,
            self._permissions_of(roles),
            claims.sid,
            claims.client_id,
            Authentication(claims.amr, claims.auth_time),
        )
        known = Authenticated(principal, claims.exp, claims.roles)
        self._cache.put_by_digest(digest, known, kid)
        return known
