"""The cookie strategy: sessions of browsers, asked of the store at every request (OWASP ASVS 5.0, 7.2 and 7.3).

The cookie holds the session's id and 256 random bits; the row holds their SHA-256. So the row is found by its primary
key, no index is needed on what changes, and a dump of the database opens nothing.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from limen.authn.cookie_value import (
    HOST_NAME,
    LOOPBACK_NAME,
    MAX_HEADER,
    NO_VALUE,
    SCHEME_KEY,
    SECURE_SCHEMES,
    PresentedCookie,
    cookie_header,
    cookie_name,
    is_loopback,
    parse_value,
    read_cookie,
    value_in,
    value_of,
    values_named,
)
from limen.authn.ended import EndedSessions
from limen.authn.strategy import (
    NOT_MINE,
    Attribute,
    Attribution,
    Authenticated,
    Outcome,
    PresentedCredential,
)
from limen.core.errors import CredentialMalformed, CredentialsConflict, LimenError, SessionEnded
from limen.core.held import ends_of, given, held_at
from limen.core.principal import ANONYMOUS, Authentication, Principal, PrincipalKind
from limen.crypto.claims_cache import ClaimsCache

__all__ = [
    "DAY_MS",
    "HOST_NAME",
    "LOOPBACK_NAME",
    "MAX_HEADER",
    "SAFE_METHODS",
    "SCHEME_KEY",
    "SECURE_SCHEMES",
    "TOUCH_MS",
    "CookieSession",
    "CookieStore",
    "CookieStrategy",
    "CookieTerms",
    "IssuedCookie",
    "PresentedCookie",
    "PresentedSession",
    "Proof",
    "cookie_header",
    "cookie_name",
    "is_loopback",
    "parse_value",
    "read_cookie",
    "value_of",
    "values_named",
]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing (RFC 9110, section 9.2.1); TRACE and whatever is unknown, or spelt otherwise, is not of them."""
TOUCH_MS: Final = 60_000
"""The idle end is moved at most this often."""
DAY_MS: Final = 86_400_000
"""A session that may live longer than this is a remembered one: the bounds of the settings lie on either side of it."""

_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
"""Headers that are a credential of their own, which no page makes a browser send of its own accord."""
_LOOKED_AT: Final = _CREDENTIALS | {b"cookie"}
_PERSON: Final = PrincipalKind.PERSON
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CookieTerms:
    """How long cookie sessions last, in seconds: unused, and at most; and the same for those that are remembered."""

    idle: int = 1_800
    most: int = 43_200
    remembered_idle: int = 43_200
    remembered_most: int = 2_592_000

    def idle_ms(self, *, remembered: bool) -> int:
        """Return how long a session lives unused, in milliseconds."""
        return (self.remembered_idle if remembered else self.idle) * 1000

    def most_ms(self, *, remembered: bool) -> int:
        """Return how long a session lives at most, in milliseconds."""
        return (self.remembered_most if remembered else self.most) * 1000


@dataclass(frozen=True, slots=True)
class PresentedSession:
    """A living cookie session as the store has it, with the roles that its account holds now.

    Times are milliseconds since 1970 UTC by the database's clock; ``now`` is that clock at this read.
    """

    account_id: str
    idle_until: int
    ends_at: int
    created_at: int
    auth_time: int
    amr: tuple[str, ...]
    acr: str | None
    client_id: str
    roles: frozenset[str]
    now: int


class CookieStore(Protocol):
    """What every request with a session cookie asks of the store."""

    async def present(self, sid: str, token_hash: bytes) -> PresentedSession | None:
        """Read the session, its account and the roles of now by one statement.

        None where there is no such cookie session, its secret is another one, it is past its idle or absolute end, or
        its account is not active or of another epoch.
        """
        ...

    async def touch(self, sid: str, token_hash: bytes, *, idle_ms: int, every_ms: int) -> bool:
        """Move the idle end to ``idle_ms`` from now, never beyond the absolute end, by one conditional UPDATE.

        It changes nothing, and is False, where the session is over or was moved less than ``every_ms`` ago.
        """
        ...


class CookieSession(Authenticated, frozen=True, kw_only=True):
    """A session cookie that is valid.

    Attributes:
        token_hash: SHA-256 of its secret bits, to which the anti-forgery token is bound.
        ends_at: its absolute end, in seconds since 1970 UTC.
        remembered: whether it lives for more than a day.
    """

    token_hash: bytes
    ends_at: int
    remembered: bool

    def __repr__(self) -> str:
        return f"CookieSession(sid={self.principal.sid!r})"


_SAID: Final = attrgetter(
    "account_id", "idle_until", "ends_at", "created_at", "auth_time", "amr", "acr", "client_id", "roles"
)
"""All that the store tells of a session, but for its clock."""


class _Seen(NamedTuple):
    """What was made of a cookie the last time, and of what.

    Attributes:
        found: what the cookie says.
        said: what the store said.
        session: what came of it.
    """

    found: PresentedCookie
    said: tuple[object, ...]
    session: CookieSession


Proof = Callable[[Mapping[str, Any], CookieSession], LimenError | None]
"""Tells why a request, by its ASGI scope, may not use a cookie that is valid (a page of somebody else's made it)."""


class CookieStrategy:
    """Finds the session of a cookie; the store is asked each time, so what ended a moment ago is over everywhere.

    Remembered is how a cookie is spelt, under the SHA-256 of its value, and the principal that was made of what the
    store said: it is used again where the store says the very same once more, and the roles mean the same.

    Args:
        store: where the sessions are.
        ended: the sessions that ended; asked before the store, as for every credential.
        terms: how long sessions last.
        proof: what else a request with a cookie has to show, unless its method changes nothing.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are.
        https_only: only the name with the prefix counts, whatever the connection looks like.
    """

    challenge = ""
    """A cookie is no authentication scheme: a 401 cannot ask for one (RFC 9110, section 11.6.1)."""

    def __init__(
        self,
        store: CookieStore,
        ended: EndedSessions,
        *,
        terms: CookieTerms,
        proof: Proof,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        https_only: bool = False,
    ) -> None:
        self._store = store
        self._ended = ended
        self._idle_ms = (terms.idle_ms(remembered=False), terms.idle_ms(remembered=True))
        self._proof = proof
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._seen: ClaimsCache[_Seen] = ClaimsCache()
        self.https_only = https_only

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way that looks for the cookie, and leaves requests without one to ``otherwise``."""
        lookup = self._seen.get_by_digest

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            given, is_beside = None, False
            for name, part in scope["headers"]:
                if name in _LOOKED_AT:
                    if name != b"cookie":
                        is_beside = True
                    elif given is None:
                        given = part
                    elif len(given) <= MAX_HEADER:  # beyond, it is refused, and is not made longer
                        given += b";" + part
            if given is None:
                return otherwise(scope, state)
            value = value_in(given, scope, https_only=self.https_only)
            if value is None:
                return otherwise(scope, state)
            if isinstance(value, CredentialMalformed):
                state.rejection = value
                return None
            digest = sha256(value).digest()
            entry = lookup(digest)
            found = parse_value(value) if entry is None else entry[0].found
            if found is None:
                state.rejection = CredentialMalformed(NO_VALUE)
                return None
            if is_beside:
                return self._beside(found, digest, scope, state, otherwise)
            return self._attribute(found, digest, scope, state)

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Say that nothing in an Authorization header is a cookie."""
        return NOT_MINE

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """Say the same."""
        return NOT_MINE

    async def _attribute(
        self, found: PresentedCookie, digest: bytes, scope: Mapping[str, Any], state: Attribution
    ) -> None:
        sid, token_hash = found
        try:
            row = None if sid in self._ended else await self._store.present(sid, token_hash)
            if row is None:
                state.rejection = SessionEnded()
                return
            if self._is_to_be_moved(row):
                await self._move(found, row)
        except LimenError as error:
            # Noted, not raised: what is open to everybody stays open while the store does not answer.
            state.rejection = error
            return
        session = self._session(found, row, digest)
        if scope.get("method") in SAFE_METHODS:
            state.safe_only = True
        else:
            fault = self._proof(scope, session)
            if fault is not None:
                state.rejection = fault
                return
        state.principal = session.principal
        state.credential = session

    async def _beside(
        self,
        found: PresentedCookie,
        digest: bytes,
        scope: Mapping[str, Any],
        state: Attribution,
        otherwise: Attribute,
    ) -> None:
        """Let the header decide, whatever it says, unless the cookie is somebody else's."""
        pending = otherwise(scope, state)
        if pending is not None:
            await pending
        if state.rejection is not None:
            return
        if not state.principal.is_authenticated:
            # A header that nobody here takes for a credential: X-API-Key where there are no such keys.
            await self._attribute(found, digest, scope, state)
            return
        try:
            session = await self.session_of(found)
        except LimenError as error:
            fault = error
        else:
            if session is None or session.principal.sub == state.principal.sub:
                return
            fault = CredentialsConflict()
        state.principal, state.credential, state.rejection = ANONYMOUS, None, fault

    async def session_of(self, found: PresentedCookie) -> CookieSession | None:
        """Return the living session of a cookie; None where there is none. Being used keeps it alive.

        Raises:
            Unavailable, Busy: the store does not answer, which is a no.
        """
        sid, token_hash = found
        if sid in self._ended:
            return None
        row = await self._store.present(sid, token_hash)
        if row is None:
            return None
        if self._is_to_be_moved(row):
            await self._move(found, row)
        return self._made(found, row)

    def _is_to_be_moved(self, row: PresentedSession) -> bool:
        idle_ms = self._idle_ms[row.ends_at - row.created_at > DAY_MS]
        return row.idle_until < row.ends_at and row.now + idle_ms - row.idle_until >= TOUCH_MS

    async def _move(self, found: PresentedCookie, row: PresentedSession) -> None:
        idle_ms = self._idle_ms[row.ends_at - row.created_at > DAY_MS]
        try:
            await self._store.touch(found.sid, found.token_hash, idle_ms=idle_ms, every_ms=TOUCH_MS)
        except LimenError as error:
            # The session is valid all the same; not moved, it ends earlier, never later.
            _log.warning("the idle end of a session was not moved", extra={"code": error.code})

    def _session(self, found: PresentedCookie, row: PresentedSession, digest: bytes) -> CookieSession:
        """Return the session that the store has just told of, as it was made the last time where nothing differs."""
        if type(row.roles) is not frozenset:
            # Something in it ends by itself, and when it does is not asked where sets are compared.
            return self._made(found, row)
        said = _SAID(row)
        entry = self._seen.get_by_digest(digest)
        if entry is not None:
            seen = entry[0]
            principal = seen.session.principal
            roles, permissions = given(row.roles, self._known_roles(), self._permissions_of)
            if seen.said == said and principal.roles == roles and principal.permissions == permissions:
                return seen.session
        session = self._made(found, row)
        self._seen.put_by_digest(digest, _Seen(found, said, session), "")
        return session

    def _made(self, found: PresentedCookie, row: PresentedSession) -> CookieSession:
        held = held_at(row.roles, row.now)
        roles, permissions = given(held, self._known_roles(), self._permissions_of)
        return CookieSession(
            Principal(
                row.account_id,
                _PERSON,
                roles,
                permissions,
                found.sid,
                row.client_id,
                Authentication(row.amr, row.auth_time // 1000, row.acr),
            ),
            # What stays open with this session must not outlive what ends of it.
            min([row.idle_until, *ends_of(held).values()]) // 1000,
            held,
            token_hash=found.token_hash,
            ends_at=row.ends_at // 1000,
            remembered=row.ends_at - row.created_at > DAY_MS,
        )


@dataclass(frozen=True, slots=True)
class IssuedCookie:
    """A session cookie that the door hands out.

    Attributes:
        value: the cookie's value.
        presented: what it says, as a request with it will.
        account_id: whose session it is.
        account_epoch: its ``session_epoch``, where a session was opened; None for one that goes on.
        max_age: seconds for which a browser is to keep it; None: until the browser is closed.
        ends_at: the session's absolute end, in seconds since 1970 UTC.
    """

    value: str = field(repr=False)
    presented: PresentedCookie
    account_id: str
    max_age: int | None
    ends_at: int
    account_epoch: int | None = None
