"""The strategy of a service behind a gateway: the token that limen's ``/auth/verify`` hands on, in ``X-Limen-Token``.

The other headers of the gateway (``X-Limen-Subject`` and the like) are for people and for services that trust their
network; nothing here reads them. The token is signed, so it does not matter who could reach the service past the
gateway (OWASP ASVS 5.0, 4.1.3). A credential that the client sent to the gateway means nothing here.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from limen.authn.strategy import Attribution, Authenticated
from limen.core.clock import Clock
from limen.core.errors import CredentialMalformed, LimenError, TokenExpired, TokenRejected, Unavailable
from limen.core.held import counting
from limen.core.principal import Authentication, Principal
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.forwarded_claims import ForwardedClaims, kind_of
from limen.crypto.jwt import MAX_TOKEN_BYTES, TokenError, TokenVerifier
from limen.crypto.keys import KeySet

HEADER: Final = b"x-limen-token"

_log = logging.getLogger(__name__)


class Forwarded(Authenticated, frozen=True, kw_only=True):
    """Whom a gateway let through.

    Attributes:
        until: the second at which what it opened has to be closed, since 1970 UTC.
    """

    until: int


class ForwardedStrategy:
    """Verifies the tokens of gateways, and remembers those it has seen for as long as they live.

    Args:
        verifier: of tokens that gateways of one issuer hand on.
        permissions_of: what a set of roles allows in this service.
        known_roles: the roles of this service; where there are none, roles are taken as they are.
        clock: the time in seconds since 1970 UTC.
        learn: looks for keys that are not known here yet.
    """

    challenge = "Bearer"

    def __init__(
        self,
        verifier: TokenVerifier[ForwardedClaims],
        *,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        learn: Callable[[], Awaitable[None]],
    ) -> None:
        self._verifier = verifier
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._learn = learn
        self._seen: ClaimsCache[Forwarded] = ClaimsCache()

    def use_keys(self, keys: KeySet) -> None:
        """Verify with other keys from now on; what was remembered of those before is forgotten."""
        self._verifier.use(keys)
        self._seen.clear()

    def attribute(self, scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        """Find out whom a gateway let through, and note it; nobody where there is no such token."""
        found = None
        for name, value in scope["headers"]:
            if name == HEADER:
                if found is not None:
                    state.rejection = CredentialMalformed("There must be one X-Limen-Token header.")
                    return None
                found = value
        if found is None:
            return None
        if len(found) > MAX_TOKEN_BYTES:
            state.rejection = CredentialMalformed("The X-Limen-Token header is too large.")
            return None
        digest = sha256(found).digest()
        seen = self._seen.get_by_digest(digest)
        known = self._admit(found, digest) if seen is None else seen[0]
        if known is None:
            return self._learn_first(found, digest, state)
        _note(known if isinstance(known, LimenError) else self._in_time(known), state)
        return None

    def is_open(self, known: Forwarded) -> bool:
        """Tell whether what this token opened may stay open: the credential behind it is in time, its key there."""
        return self._clock() < known.until and known.kid in self._verifier.keys

    async def _learn_first(self, token: bytes, digest: bytes, state: Attribution) -> None:
        try:
            await self._learn()
        except Unavailable as error:
            state.rejection = error
            return
        _note(self._admit(token, digest) or TokenRejected(), state)

    def _in_time(self, known: Forwarded) -> Forwarded | LimenError:
        return known if self._clock() < known.expires_at else TokenExpired()

    def _admit(self, token: bytes, digest: bytes) -> Forwarded | LimenError | None:
        """Verify a token that was not seen before; None where its key may be learnt."""
        ring = self._verifier.ring
        try:
            claims, kid = self._verifier.verify_with_kid(token)
        except TokenError as error:
            if error.reason == "kid":
                return None
            _log.debug("a gateway's token refused", extra={"reason": error.reason})
            return TokenExpired() if error.expired else TokenRejected()
        roles = counting(claims.roles, self._known_roles())
        principal = Principal(
            claims.sub,
            kind_of(claims),
            roles,
            claims.permissions | self._permissions_of(roles),
            claims.sid,
            None,
            Authentication(claims.amr, claims.auth_time) if claims.amr else None,
        )
        known = Forwarded(principal, claims.exp, None, kid, until=claims.until)
        self._seen.put_by_digest(digest, known, kid)
        if self._verifier.ring is not ring:
            # The keys were changed meanwhile, and what was remembered may have been forgotten before this was in it.
            self._seen.clear()
        return known


def _note(outcome: Forwarded | LimenError, state: Attribution) -> None:
    if isinstance(outcome, Forwarded):
        state.principal = outcome.principal
        state.credential = outcome
    else:
        state.rejection = outcome
