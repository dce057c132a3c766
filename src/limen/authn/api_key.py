"""The strategy for API keys: ``X-API-Key: lim_…`` or ``Authorization: Bearer lim_…``; never from the URL.

A key is asked of the store at most once a second; in between it is remembered under the SHA-256 of the whole key. So
whatever happens to it, its owner or the owner's roles holds in every process within that second (ASVS 8.3.1).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Final, Protocol

from limen.authn.api_key_records import KeyState
from limen.authn.ended import EndedSessions
from limen.authn.extractor import read_authorization
from limen.authn.open_sockets import FRESH_SECONDS, OpenSockets
from limen.authn.strategy import (
    NOT_MINE,
    Attribute,
    Attribution,
    Authenticated,
    Outcome,
    PresentedCredential,
)
from limen.core.clock import Clock
from limen.core.errors import (
    AccountNotActive,
    CredentialMalformed,
    CredentialsConflict,
    LimenError,
    PolicyDenied,
    TokenExpired,
    TokenRejected,
)
from limen.core.held import given
from limen.core.networks import is_within
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.crypto.api_keys import MAX_KEY, PREFIX, ApiKey, KeyHasher, read_key
from limen.crypto.claims_cache import ClaimsCache

HEADER: Final = b"x-api-key"
METHOD: Final = "api_key"
"""The authentication method of a key. It is no method by which a person proves to be there (RFC 8176)."""
TOUCH_MS: Final = 300_000
"""The time of the last use is noted at most this often."""
MOST_TOUCHES: Final = 100
"""Notes of uses that may wait at once; further ones are dropped."""

_SPELLING: Final = b"Bearer lim_"
_INVALID: Final = "The API key is not valid."

_log = logging.getLogger(__name__)


class KeyLookUp(Protocol):
    """What the strategy asks of the store."""

    async def look_up(self, key_id: str) -> KeyState | None:
        """Read the key, its owner and the owner's roles; None where there is no such key."""
        ...

    async def touch(self, key_id: str, *, at_most_every_ms: int) -> bool:
        """Note that the key is used now, unless it was noted within this time; True where it was noted."""
        ...


class KeyCredential(Authenticated, frozen=True, kw_only=True):
    """An API key that was valid when the store was asked.

    Attributes:
        networks: from where it may be used; None from everywhere.
        asked_at: when the store was asked, in seconds of the monotonic clock.
    """

    networks: tuple[str, ...] | None
    asked_at: float


class ApiKeyStrategy:
    """Finds the owner of an API key.

    Args:
        store: where the keys are.
        hasher: compares what is stored of a key.
        ended: what ended lately; a revoked key is on the list as well.
        environment: the name of this installation in its keys.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are.
        clock: the time, in seconds since 1970 UTC.
        used: told of a use that was noted, with the row as it was before.
        monotonic: seconds of a clock that nobody turns.
    """

    challenge = ""
    """The same as for access tokens: ``Bearer``."""

    def __init__(
        self,
        store: KeyLookUp,
        hasher: KeyHasher,
        ended: EndedSessions,
        *,
        environment: str,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        used: Callable[[KeyState], Awaitable[None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._ended = ended
        self._environment = environment
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._used = used
        self._monotonic = monotonic
        self._seen: ClaimsCache[KeyCredential] = ClaimsCache()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = OpenSockets(self.live, self._monotonic)

    def forget(self) -> None:
        """Ask the store about every key again: what a role gives has changed, or a key was revoked here."""
        self._seen.clear()

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way that looks for a key, and leaves requests without one to ``otherwise``."""
        lookup, clock, ended, monotonic = self._seen.get_by_digest, self._clock, self._ended, self._monotonic

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            found = presented_in(scope["headers"])
            if found is None:
                return otherwise(scope, state)
            if isinstance(found, LimenError):
                state.rejection = found
                return None
            if len(found) > MAX_KEY:
                state.rejection = TokenRejected(_INVALID)
                return None
            digest = sha256(found).digest()
            entry = lookup(digest)
            if entry is None:
                return self._look_up(found, digest, state)
            known = entry[0]
            if (
                monotonic() - known.asked_at >= FRESH_SECONDS
                or clock() >= known.expires_at
                or known.principal.sid in ended
            ):
                return self._look_up(found, digest, state)
            if known.networks is not None:
                _note(known, state)
            else:
                state.principal = known.principal
                state.credential = known
            return None

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Say that it is not its business: a key is asked with the address that it comes from (`shortcut`)."""
        return NOT_MINE

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """Say the same."""
        return NOT_MINE

    async def _look_up(self, presented: bytes, digest: bytes, state: Attribution) -> None:
        key = read_key(presented, self._environment)
        if key is None:
            state.rejection = TokenRejected(_INVALID)
            return
        asked_at = self._monotonic()
        try:
            row = await self._store.look_up(key.id)
        except LimenError as error:
            # Noted, not raised: what is open to everybody stays open while the store does not answer.
            state.rejection = error
            return
        if not self._is_of(key, row) or row is None:
            _log.info("API key refused", extra={"reason": "unknown" if row is None else "secret", "key": key.id})
            state.rejection = TokenRejected(_INVALID)
            return
        fault = self._fault_of(row)
        if fault is not None:
            _log.info("API key refused", extra={"reason": fault.code, "key": key.id})
            state.rejection = fault
            return
        known = KeyCredential(
            self._principal_of(row), row.expires_at // 1000, None, None, networks=row.networks, asked_at=asked_at
        )
        self._seen.put_by_digest(digest, known, row.kid)
        _note(known, state)
        self._touch(row)

    def _is_of(self, key: ApiKey, row: KeyState | None) -> bool:
        """Compare with both secrets of the row, always: no answer comes earlier than another."""
        kid, stored = (None, None) if row is None else (row.kid, row.secret_hash)
        before_kid, before = (None, None) if row is None else (row.previous_kid, row.previous_hash)
        is_now = self._hasher.matches(key, kid, stored)
        was_before = self._hasher.matches(key, before_kid, before)
        return is_now or was_before

    def _fault_of(self, row: KeyState) -> LimenError | None:
        if row.is_revoked or row.id in self._ended:
            return TokenRejected(_INVALID)
        if not row.in_time or self._clock() >= row.expires_at // 1000:
            return TokenExpired("The API key has expired.")
        if row.is_unconfirmed:
            return TokenRejected("The API key has to be confirmed: the database was restored.")
        if row.account_status != "active":
            return AccountNotActive()
        return None

    def _principal_of(self, row: KeyState) -> Principal:
        """Return whom the key stands for: never more than its owner now is.

        With scopes it has the permissions that are both named and the owner's, and no role: a route for a role is one
        for whoever holds all that the role means.
        """
        roles, permissions = given(row.roles, self._known_roles(), self._permissions_of)
        if row.scopes is not None:
            roles, permissions = frozenset(), permissions & row.scopes
        kind = PrincipalKind.SERVICE if row.account_kind == "service" else PrincipalKind.PERSON
        return Principal(
            row.account_id, kind, roles, permissions, row.id, None, Authentication((METHOD,), row.created_at // 1000)
        )

    # --- asking again

    async def live(self, principal: Principal) -> Principal:
        """Ask the store about the key of a principal, and return the principal as it is now.

        Raises:
            TokenRejected, TokenExpired, AccountNotActive: it must not be let through.
            Unavailable: the store does not answer, which is a no.
        """
        row = await self._store.look_up(principal.sid or "")
        if row is None or row.account_id != principal.sub:
            raise TokenRejected(_INVALID)
        fault = self._fault_of(row)
        if fault is not None:
            raise fault
        return self._principal_of(row)

    def still_valid(self, known: KeyCredential) -> bool:
        """Tell whether what was opened with a key may stay open. It waits for nothing: the store is asked beside.

        The answer is at most a second old, and a bit; where the store has not answered for ten seconds, it is no.
        """
        if self._clock() >= known.expires_at or (known.principal.sid or "") in self._ended:
            return False
        return self._open.may_stay(known.principal, known.asked_at)

    # --- noting its use

    def _touch(self, row: KeyState) -> None:
        """Note the use, after the request and beside it; where much waits already, not at all."""
        last = row.last_used_at
        if (last is None or last < self._clock() * 1000 - TOUCH_MS) and len(self._tasks) < MOST_TOUCHES:
            self._beside(self._noted(row))

    async def _noted(self, row: KeyState) -> None:
        try:
            if await self._store.touch(row.id, at_most_every_ms=TOUCH_MS) and self._used is not None:
                await self._used(row)
        except LimenError as error:
            _log.debug("the use of an API key was not noted", extra={"code": error.code})

    def _beside(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_by_key(principal: Principal) -> bool:
    """Tell whether the principal's credential is an API key."""
    authentication = principal.authentication
    return authentication is not None and METHOD in authentication.methods


def presented_in(headers: list[tuple[bytes, bytes]]) -> bytes | LimenError | None:
    """Return the key that a request presents; None where it presents none, an error where that is a guess.

    Two headers that name credentials are refused, also where they name the same one: which of them counts would depend
    on who reads.
    """
    key = authorization = None
    for name, value in headers:
        if name == HEADER:
            if key is not None:
                return CredentialMalformed("There must be one X-API-Key header.")
            key = value
        elif name == b"authorization":
            if authorization is not None:
                return None if key is None else CredentialMalformed("There must be one Authorization header.")
            authorization = value
    if authorization is None:
        return key if key is None or key.startswith(PREFIX) else CredentialMalformed("X-API-Key holds no key of ours.")
    in_authorization = _in_authorization(authorization)
    if key is None:
        return in_authorization
    if key == in_authorization:
        return CredentialMalformed("Send the key in one header.")
    return CredentialsConflict("Send X-API-Key or Authorization, not both.")


def _in_authorization(value: bytes) -> bytes | None:
    if value[:11] == _SPELLING:
        return value[7:]
    if value[:6].lower() != b"bearer":
        return None
    found = read_authorization(value)
    if isinstance(found, PresentedCredential) and found.value.startswith(PREFIX):
        return found.value
    return None


def _note(known: KeyCredential, state: Attribution) -> None:
    networks = known.networks
    if networks is not None and not is_within(state.origin.address, networks):
        _log.warning("API key refused", extra={"reason": "network", "key": known.principal.sid})
        state.rejection = PolicyDenied("The API key may not be used from this address.")
        return
    state.principal = known.principal
    state.credential = known
