"""The Bearer strategy: limen's own access tokens (RFC 6750, RFC 9068)."""

import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from limen.authn.ended import EndedSessions
from limen.authn.strategy import NOT_MINE, Authenticated, Outcome, PresentedCredential, Rejected
from limen.core.clock import Clock
from limen.core.errors import SessionEnded, TokenExpired, TokenRejected
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.crypto.claims import AccessClaims
from limen.crypto.claims_cache import ClaimsCache, digest_of
from limen.crypto.jwt import TokenError, TokenVerifier

_PERSON: Final = PrincipalKind.PERSON
_log = logging.getLogger(__name__)

PermissionsOf = Callable[[frozenset[str]], frozenset[str]]
"""Answers the permissions that a set of roles gives."""


class BearerStrategy:
    """Verifies access tokens, and remembers the claims of those it has seen.

    The memory holds what a token says, not a verdict: every use asks the clock and the list of ended sessions again.
    Issuer, audience and keys cannot change under it: they are fixed when this strategy is made, and the memory with it.

    Args:
        verifier: of access tokens.
        cache: of the claims of tokens seen before.
        ended: the sessions that ended.
        permissions_of: what a set of roles gives.
        clock: the time, in seconds since 1970 UTC.
    """

    challenge = "Bearer"

    def __init__(
        self,
        verifier: TokenVerifier[AccessClaims],
        cache: ClaimsCache[Authenticated],
        ended: EndedSessions,
        *,
        permissions_of: PermissionsOf,
        clock: Clock,
    ) -> None:
        self._verifier = verifier
        self._cache = cache
        self._lookup = cache.get_by_digest
        self._ended = ended
        self._permissions_of = permissions_of
        self._clock = clock

    def seen(self, authorization: bytes) -> Authenticated | None:
        """Answer who sent this very value before, if the token is still in time and its session has not ended."""
        if authorization[:7] != b"Bearer ":
            return None
        entry = self._lookup(sha256(authorization[7:]).digest())
        if entry is None:
            return None
        known = entry[0]
        if self._clock() < known.expires_at and known.principal.sid not in self._ended:
            return known
        return None

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory or verify at once: nothing here waits."""
        if credential.scheme != "bearer":
            return NOT_MINE
        digest = digest_of(credential.value)
        seen = self._cache.get_by_digest(digest)
        if seen is not None:
            known = seen[0]
        else:
            try:
                claims, kid = self._verifier.verify_with_kid(credential.value)
            except TokenError as error:
                _log.debug("access token refused", extra={"reason": error.reason})
                return Rejected(TokenExpired() if error.expired else TokenRejected())
            known = self._remember(digest, claims, kid)
        if self._clock() >= known.expires_at:
            return Rejected(TokenExpired())
        if known.principal.sid in self._ended:
            return Rejected(SessionEnded())
        return known

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """The same answer as `recall`."""
        return self.recall(credential) or NOT_MINE

    def _remember(self, digest: bytes, claims: AccessClaims, kid: str) -> Authenticated:
        # By place: with their names it takes a third longer, and this is for each new token.
        principal = Principal(
            claims.sub,
            _PERSON,
            claims.roles,
            self._permissions_of(claims.roles),
            claims.sid,
            claims.client_id,
            Authentication(claims.amr, claims.auth_time),
        )
        known = Authenticated(principal, claims.exp)
        self._cache.put_by_digest(digest, known, kid)
        return known
