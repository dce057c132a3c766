"""The strategy for client certificates: who made the connection, proved by the TLS handshake (RFC 8446, 4.4.2).

What a certificate says is read once. Whose it is, is asked of the store at most once a second; in between it is
remembered under the SHA-256 of the whole certificate. So a name that is taken away, a service that is switched off or
loses a role is felt in every process within that second (ASVS 8.3.1), and the certificate's own time at each use.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from limen.authn.certificate_source import (
    CertificateHeaders,
    CertificateSource,
    Pairs,
    ThumbprintOf,
    thumbprints,
    tls_certificate,
)
from limen.authn.client_certificate_records import CertificateLookUp, CertificateState
from limen.authn.cookie import SAFE_METHODS
from limen.authn.ended import EndedSessions
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
    CertificateRejected,
    CredentialsConflict,
    CsrfFailed,
    LimenError,
)
from limen.core.held import given
from limen.core.principal import ANONYMOUS, BY_CERTIFICATE, Authentication, Principal, PrincipalKind
from limen.crypto.certificates import ClientCertificate
from limen.crypto.claims_cache import ClaimsCache

__all__ = [
    "CertificateCredential",
    "CertificateHeaders",
    "CertificateSource",
    "ClientCertificateStrategy",
    "Pairs",
    "ThumbprintOf",
    "foreign_page",
    "is_by_certificate_alone",
    "thumbprints",
    "tls_certificate",
]

_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"cookie"})
_OF_PAGES: Final = frozenset({b"sec-fetch-site", b"origin"})
"""Headers by which a browser tells whose page asks."""
_LOOKED_AT: Final = _CREDENTIALS | _OF_PAGES
_ANONYMOUS: Final = PrincipalKind.ANONYMOUS
_SERVICE: Final = PrincipalKind.SERVICE
_UNCLEAR: Final = (_ANONYMOUS, _SERVICE)
"""Of these the certificate decides whose request it is, or whether it may be; a person's needs none."""
_SAFE_METHODS: Final = SAFE_METHODS | {"QUERY"}
_OWN_PAGES: Final = frozenset({b"same-origin", b"none"})
_RANK: Final = {"sha256": 0, "uri": 1, "dns": 2}

_log = logging.getLogger(__name__)


class CertificateCredential(Authenticated, frozen=True, kw_only=True):
    """A client certificate whose account was active when the store was asked.

    Attributes:
        certificate: what it says.
        account_epoch: the account's ``session_epoch`` at that moment.
        asked_at: when the store was asked, in seconds of the monotonic clock.
    """

    certificate: ClientCertificate
    account_epoch: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class _Refused:
    """What was found of a certificate that stands for nobody."""

    error: LimenError
    asked_at: float


class ClientCertificateStrategy:
    """Finds the service that a client certificate stands for.

    Args:
        store: where the names of certificates are.
        ended: what ended lately; a name that was taken away is on the list as well.
        source: finds the certificate of a connection.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are.
        clock: the time, in seconds since 1970 UTC.
        monotonic: seconds of a clock that nobody turns.
    """

    challenge = ""
    """A certificate is no authentication scheme of HTTP: a 401 cannot ask for one."""

    def __init__(
        self,
        store: CertificateLookUp,
        ended: EndedSessions,
        source: CertificateSource,
        *,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ended = ended
        self._source = source
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._monotonic = monotonic
        self._seen: ClaimsCache[CertificateCredential | _Refused] = ClaimsCache()
        self._open = OpenSockets(self.live, self._monotonic)

    def forget(self) -> None:
        """Ask the store about every certificate again: what a role gives has changed, or a name was taken away here."""
        self._seen.clear()

    def shortcut(self, otherwise: Attribute) -> Attribute:  # noqa: C901 - the function in it
        """Return a way that looks for a certificate, and leaves connections without one to ``otherwise``.

        Beside another credential it is that one which says who acts, and the certificate only who speaks: a service may
        send what a person sent it. A service acts for itself: its own credential on the connection of another service
        was stolen, or is mixed up, and is refused (400 ``credentials_conflict``).
        """
        source, clock, monotonic, ended = self._source, self._clock, self._monotonic, self._ended
        lookup = self._seen.get_by_digest
        headers = source if isinstance(source, CertificateHeaders) else None
        looked_at = _LOOKED_AT | (frozenset() if headers is None else headers.names)

        def attribute(  # noqa: C901, PLR0911, PLR0912 - one walk through the headers, and as few calls as there can be
            scope: Any, state: Attribution
        ) -> Awaitable[None] | None:
            pairs = None
            is_page = is_beside = False
            for name, value in scope["headers"]:
                if name in looked_at:
                    if name in _OF_PAGES:
                        is_page = True
                    elif name in _CREDENTIALS:
                        is_beside = True
                    elif pairs is None:
                        pairs = [(name, value)]
                    else:
                        pairs.append((name, value))
            if headers is not None:
                found = headers.told(scope, tuple(pairs) if pairs else ())
            elif is_beside:
                pending = otherwise(scope, state)
                if pending is not None:
                    return self._after(pending, scope, state)
                known = state.credential
                if isinstance(known, Authenticated) and known.bound_to is not None and state.rejection is None:
                    return None  # what `_beside` says, without a call
                return self._beside(scope, state)
            else:
                found = source(scope)
            if found is None:
                return otherwise(scope, state)
            if isinstance(found, LimenError):
                state.rejection = found
                return None
            if is_beside:
                pending = otherwise(scope, state)
                if pending is not None:
                    return self._after(pending, scope, state)
                return self._beside(scope, state)
            if not is_page and found.fault is None and found.not_before <= clock() < found.not_after + 1:
                # What `_alone` says, where a program calls whose certificate was asked about within the second.
                entry = lookup(found.digest)
                if entry is not None:
                    known = entry[0]
                    if (
                        type(known) is CertificateCredential
                        and monotonic() - known.asked_at < FRESH_SECONDS
                        and known.principal.sid not in ended
                    ):
                        state.principal = known.principal
                        state.credential = known
                        return None
            return self._alone(found, scope, state)

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Say that nothing in an Authorization header is a certificate."""
        return NOT_MINE

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """Say the same."""
        return NOT_MINE

    # --- whose it is

    def _alone(self, found: ClientCertificate, scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        fault = foreign_page(scope)
        if fault is not None:
            state.rejection = fault
            return None
        if scope.get("method") in SAFE_METHODS and foreign_page(scope, "POST") is not None:
            # Middleware may still make another method of it, which was not judged.
            state.safe_only = True
        known = self._recalled(found)
        if known is None:
            return self._look_up_alone(found, state)
        _note(known, state)
        return None

    async def _look_up_alone(self, found: ClientCertificate, state: Attribution) -> None:
        try:
            known = await self._look_up(found)
        except LimenError as error:
            # Noted, not raised: what is open to everybody stays open while the store does not answer.
            state.rejection = error
            return
        _note(known, state)

    async def _after(self, pending: Awaitable[None], scope: Mapping[str, Any], state: Attribution) -> None:
        await pending
        waiting = self._beside(scope, state)
        if waiting is not None:
            await waiting

    def _beside(self, scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        credential = state.credential
        if isinstance(credential, Authenticated) and credential.bound_to is not None and state.rejection is None:
            # It was held against the certificate of this very connection just now: whose that is needs no other proof.
            return None
        found = self._source(scope)
        if isinstance(found, LimenError):
            state.principal, state.credential, state.rejection = ANONYMOUS, None, found
            return None
        kind = state.principal.kind
        if found is None or state.rejection is not None or kind not in _UNCLEAR:
            return None
        if kind is _ANONYMOUS:
            # A header that is no credential after all: a cookie of the application's.
            return self._alone(found, scope, state)
        known = self._recalled(found)
        if known is None:
            return self._look_up_beside(found, state)
        _compare(known, state)
        return None

    async def _look_up_beside(self, found: ClientCertificate, state: Attribution) -> None:
        try:
            known = await self._look_up(found)
        except LimenError as error:
            state.principal, state.credential, state.rejection = ANONYMOUS, None, error
            return
        _compare(known, state)

    def _recalled(self, found: ClientCertificate) -> CertificateCredential | _Refused | None:
        """Answer from memory; None where the store has to be asked. The time is asked at each use."""
        fault = found.fault_at(self._clock())
        if fault is not None:
            return _Refused(_refused(found, fault), 0.0)
        entry = self._seen.get_by_digest(found.digest)
        if entry is None or self._monotonic() - entry[0].asked_at >= FRESH_SECONDS:
            return None
        known = entry[0]
        if isinstance(known, CertificateCredential) and known.principal.sid in self._ended:
            return None
        return known

    async def _look_up(self, found: ClientCertificate) -> CertificateCredential | _Refused:
        asked_at = self._monotonic()
        rows = await self._store.match(found.names)
        row, fault = _one_of(rows)
        known: CertificateCredential | _Refused
        if row is None or fault is not None:
            known = _Refused(fault or _refused(found, "unknown"), asked_at)
        elif row.id in self._ended:
            known = _Refused(_refused(found, "removed"), asked_at)
        else:
            known = CertificateCredential(
                self._principal_of(row),
                found.not_after + 1,
                None,
                None,
                certificate=found,
                account_epoch=row.account_epoch,
                asked_at=asked_at,
            )
        self._seen.put_by_digest(found.digest, known, "")
        return known

    def _principal_of(self, row: CertificateState) -> Principal:
        roles, permissions = given(row.roles, self._known_roles(), self._permissions_of)
        return Principal(
            row.account_id,
            _SERVICE,
            roles,
            permissions,
            row.id,
            None,
            Authentication((BY_CERTIFICATE,), int(self._clock())),
        )

    # --- asking again

    async def live(self, principal: Principal) -> Principal:
        """Ask the store about the registration behind a principal, and return the principal as it is now.

        Raises:
            CertificateRejected, AccountNotActive: it must not be let through.
            Unavailable: the store does not answer, which is a no.
        """
        row = await self._store.by_id(principal.sid or "")
        if row is None or row.account_id != principal.sub or row.account_kind != "service" or row.id in self._ended:
            raise CertificateRejected()
        if row.account_status != "active":
            raise AccountNotActive()
        return self._principal_of(row)

    def still_valid(self, known: CertificateCredential) -> bool:
        """Tell whether what was opened with a certificate may stay open; the store is asked beside, nothing waits.

        The answer is at most a second old, and a bit; where the store has not answered for ten seconds, it is no.
        """
        sid = known.principal.sid or ""
        if known.certificate.fault_at(self._clock()) is not None or sid in self._ended:
            return False
        return self._open.may_stay(known.principal, known.asked_at)


def is_by_certificate_alone(principal: Principal) -> bool:
    """Tell whether the principal's credential is a certificate, and not a token that is bound to one."""
    return principal.is_by_certificate and principal.client_id is None


def _one_of(rows: Sequence[CertificateState]) -> tuple[CertificateState | None, LimenError | None]:
    """Return the registration that counts: the narrowest, if all are one service's."""
    if len({row.account_id for row in rows}) > 1:
        _log.warning("client certificate refused", extra={"reason": "ambiguous", "certificates": [r.id for r in rows]})
        return None, CertificateRejected("The client certificate bears the names of two services.")
    if not rows:
        return None, None
    row = min(rows, key=lambda each: (_RANK.get(each.name.partition(":")[0], 3), each.id))
    if row.account_kind != "service":
        return None, None
    return row, None if row.account_status == "active" else AccountNotActive()


def foreign_page(scope: Mapping[str, Any], method: str | None = None) -> LimenError | None:
    """Return a refusal for what a page of a foreign origin asks of a browser that holds a certificate.

    A browser sends its certificate along whoever asks, as it does a cookie; a program sends neither of these headers.

    Args:
        scope: of the request.
        method: another one than the request's.
    """
    if (method or scope.get("method", "GET")) in _SAFE_METHODS:
        return None
    site = origin = None
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site":
            site = value
        elif name == b"origin":
            origin = value
    if (site is None and origin is None) or site in _OWN_PAGES:
        return None
    return CsrfFailed("A page of another origin sent this with the browser's certificate.")


def _refused(found: ClientCertificate, reason: str) -> LimenError:
    _log.info("client certificate refused", extra={"reason": reason, "sha256": found.digest.hex()})
    return CertificateRejected()


def _note(known: CertificateCredential | _Refused, state: Attribution) -> None:
    if isinstance(known, _Refused):
        state.rejection = known.error
    else:
        state.principal, state.credential = known.principal, known


def _compare(known: CertificateCredential | _Refused, state: Attribution) -> None:
    """Refuse a service's credential on the connection of another service."""
    if isinstance(known, CertificateCredential) and known.principal.sub != state.principal.sub:
        state.principal, state.credential = ANONYMOUS, None
        state.rejection = CredentialsConflict("The client certificate is another service's than the credential.")
