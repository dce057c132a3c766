"""The cookie strategy: sessions of browsers, asked of the store at every request (OWASP ASVS 5.0, 7.2 and 7.3).

The cookie holds the session's id and 256 random bits; the row holds their SHA-256. So the row is found by its primary
key, no index is needed on what changes, and a dump of the database opens nothing.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

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
from limen.crypto.encoding import b64url_decode, b64url_encode
from limen.crypto.refresh import secret_hash

HOST_NAME: Final = b"__Host-limen"
"""Browsers take a cookie of this prefix over https only, for ``/``, never from a sub-domain (RFC 6265bis, 4.1.3)."""
LOOPBACK_NAME: Final = b"limen"
"""The name on plain http at a loopback address, where browsers refuse the prefix."""
MAX_HEADER: Final = 16 * 1024
"""Bytes of all Cookie headers that are looked at; more of them are malformed before anything is decoded."""
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing (RFC 9110, section 9.2.1); TRACE and whatever is unknown, or spelt otherwise, is not of them."""
SECURE_SCHEMES: Final = frozenset({"https", "wss"})
SCHEME_KEY: Final = "limen.scheme"
"""Where a scope holds the scheme that the client used, when a trusted proxy says another one than the socket has."""
TOUCH_MS: Final = 60_000
"""The idle end is moved at most this often."""
DAY_MS: Final = 86_400_000
"""A session that may live longer than this is a remembered one: the bounds of the settings lie on either side of it."""

_ID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_VALUE_LENGTH: Final = 64
_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
"""Headers that are a credential of their own, which no page makes a browser send of its own accord."""
_LOOKED_AT: Final = _CREDENTIALS | {b"cookie"}
_PERSON: Final = PrincipalKind.PERSON
_ALONE: Final = frozenset({b"", b";"})
_TOO_LARGE: Final = "The Cookie header is too large."
_NO_VALUE: Final = "The session cookie is not one of ours."
_PORT: Final = re.compile(rb":\d{1,5}\Z")

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


class PresentedCookie(NamedTuple):
    """What a session cookie says: nothing is known of it yet.

    Attributes:
        sid: the id of the session's row, no secret.
        token_hash: SHA-256 of the secret bits; the bits themselves are not kept.
    """

    sid: str
    token_hash: bytes

    def __repr__(self) -> str:
        return f"PresentedCookie(sid={self.sid!r})"


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
            value = _value_in(given, scope, https_only=self.https_only)
            if value is None:
                return otherwise(scope, state)
            if isinstance(value, CredentialMalformed):
                state.rejection = value
                return None
            digest = sha256(value).digest()
            entry = lookup(digest)
            found = parse_value(value) if entry is None else entry[0].found
            if found is None:
                state.rejection = CredentialMalformed(_NO_VALUE)
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


def cookie_name(scope: Mapping[str, Any], *, https_only: bool = False) -> bytes:
    """Return the one name that the session cookie has on this connection.

    Without TLS a cookie without the prefix counts at a loopback address only. Behind a proxy that ends TLS the host is
    another one, and the name is the one with the prefix, which browsers never send over plain http.
    """
    if https_only or (scope.get(SCHEME_KEY) or scope.get("scheme")) in SECURE_SCHEMES:
        return HOST_NAME
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return LOOPBACK_NAME if len(hosts) == 1 and is_loopback(hosts[0]) else HOST_NAME


@lru_cache(maxsize=256)
def is_loopback(host: bytes) -> bool:
    """Tell whether a Host header names this very machine (RFC 6761, section 6.3; RFC 5735, section 3; RFC 4291)."""
    name = _PORT.sub(b"", host.strip().lower())
    if name == b"localhost" or name.endswith(b".localhost"):
        return True
    try:
        return ip_address(name.decode("ascii").removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def read_cookie(scope: Mapping[str, Any], *, https_only: bool = False) -> PresentedCookie | CredentialMalformed | None:
    """Read the session cookie of a request (RFC 6265, section 4.2): what it says, malformed, or None for none at all.

    Several Cookie headers are one (RFC 9113, section 8.2.3). The name must occur once: which of two counts would depend
    on who reads.
    """
    given = cookie_header(scope)
    if given is None or isinstance(given, CredentialMalformed):
        return given
    value = _value_in(given, scope, https_only=https_only)
    if value is None or isinstance(value, CredentialMalformed):
        return value
    found = parse_value(value)
    return CredentialMalformed(_NO_VALUE) if found is None else found


def cookie_header(scope: Mapping[str, Any]) -> bytes | CredentialMalformed | None:
    """Return all cookies of a request as one text, malformed where there are too many of them, None for none."""
    given = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            given = value if given is None else given + b";" + value
            if len(given) > MAX_HEADER:
                return CredentialMalformed(_TOO_LARGE)
    return given


def _value_in(given: bytes, scope: Mapping[str, Any], *, https_only: bool) -> bytes | CredentialMalformed | None:
    """Return the value of the one session cookie among all cookies; malformed for two, None for none."""
    if len(given) > MAX_HEADER:
        return CredentialMalformed(_TOO_LARGE)
    name = cookie_name(scope, https_only=https_only)
    wanted = b"__Host-limen=" if name is HOST_NAME else name + b"="
    at = given.find(wanted)
    if at < 0:
        return None
    begins = at + len(wanted)
    ends = begins + _VALUE_LENGTH
    if (at == 0 or given[at - 2 : at] == b"; ") and given[ends : ends + 1] in _ALONE and given.find(wanted, begins) < 0:
        # As browsers spell it (RFC 6265, section 4.2.1), and once.
        return given[begins:ends]
    values = values_named(given, name)
    if len(values) != 1:
        return CredentialMalformed("There must be one session cookie.") if values else None
    return values[0]


def values_named(given: bytes, name: bytes) -> list[bytes]:
    """Return the values of every cookie of this name, as they stand there."""
    wanted = name + b"="
    if wanted not in given:
        return []
    return [pair[len(wanted) :] for each in given.split(b";") if (pair := each.strip(b" \t")).startswith(wanted)]


def parse_value(value: bytes) -> PresentedCookie | None:
    """Return what the value of a session cookie says; None for what is not its one canonical spelling."""
    if len(value) != _VALUE_LENGTH:
        return None
    try:
        raw = b64url_decode(value)
    except ValueError:
        return None
    digits = raw[:_ID_BYTES].hex()
    sid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return PresentedCookie(sid, secret_hash(raw[_ID_BYTES:]))


def value_of(sid: str, secret: bytes) -> str:
    """Return the value of the cookie: the row's id and the secret bits, in base64url, 64 characters.

    Raises:
        ValueError: the secret has not 32 bytes.
    """
    if len(secret) != _SECRET_BYTES:
        raise ValueError("the secret of a session has 32 bytes")
    return b64url_encode(bytes.fromhex(sid.replace("-", "")) + secret).decode("ascii")


@dataclass(frozen=True, slots=True)
class IssuedCookie:
    """A session cookie that the door hands out.

    Attributes:
        value: the cookie's value.
        presented: what it says, as a request with it will.
        account_id: whose session it is.
        max_age: seconds for which a browser is to keep it; None: until the browser is closed.
        ends_at: the session's absolute end, in seconds since 1970 UTC.
    """

    value: str = field(repr=False)
    presented: PresentedCookie
    account_id: str
    max_age: int | None
    ends_at: int
