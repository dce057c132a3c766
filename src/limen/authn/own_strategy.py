"""A strategy of the application's own: one small class, held to the rules that limen's own strategies keep."""

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from limen.authn.client_certificate import ThumbprintOf
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
    ConfigurationError,
    CredentialMalformed,
    CredentialsConflict,
    LimenError,
    PolicyDenied,
    SessionEnded,
    TokenExpired,
    TokenRejected,
    Unavailable,
)
from limen.core.events import Origin
from limen.core.held import counting
from limen.core.principal import (
    ANONYMOUS,
    BY_CERTIFICATE,
    BY_PROVIDER,
    INTERACTIVE_METHODS,
    Authentication,
    Principal,
    PrincipalKind,
)

MOST_SECONDS: Final = 5.0
"""How long a strategy of the application's own may take."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{1,31}")
# RFC 9110, section 5.6.2: a token.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
# RFC 9110, section 5.5: what a field's value may hold, without the spaces around it.
_VALUE: Final = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_BOUND: Final = "The credential is bound to a client certificate that this connection does not have."
_METHODS_OF_LIMEN: Final = INTERACTIVE_METHODS | {BY_CERTIFICATE, BY_PROVIDER, "api_key", "message", "swk", "forwarded"}
_HEADERS_OF_LIMEN: Final = frozenset({b"authorization", b"x-api-key"})
_NOT_FREE: Final = frozenset(
    {
        "authorization", "bearer", "connection", "content-length", "content-type", "cookie", "forwarded", "host",
        "origin", "upgrade", "x-api-key", "x-csrf-token",
    }
)  # fmt: skip
_OF_BROWSERS: Final = frozenset({"basic", "digest", "kerberos", "mutual", "negotiate", "ntlm"})
"""Schemes whose credentials a browser keeps, and sends along whatever page asks: no proof is asked beside a header."""

_log = logging.getLogger(__name__)


class OwnStrategy(ABC):
    """A way of one's own to say who is calling; an application derives from it, and gives it to ``strategies=``.

    Attributes:
        name: the method in `Authentication.methods`, lower case.
        scheme: the scheme of an Authorization header that is its own, such as ``"Ticket"``; or
        header: the name of a header that is its own, such as ``"X-Ticket"``. One of the two.
        lifetime: seconds for which an open socket outlives the look at its credential.

    Raises:
        ConfigurationError: a class without a way to look at a credential is made an object of.
    """

    name: str = ""
    scheme: str | None = None
    header: str | None = None
    lifetime: int = 300

    def __new__(cls, *_args: object, **_named: object) -> Self:
        """Refuse a class that has not written what it has to, in words that say what that is."""
        if getattr(cls, "__abstractmethods__", None):
            raise ConfigurationError(
                f"{cls.__name__} has no authenticate. Write in it: "
                "async def authenticate(self, credential): return the principal, or None where it is not valid"
            )
        return super().__new__(cls)

    @abstractmethod
    async def authenticate(self, credential: PresentedCredential) -> Principal | Authenticated | None:
        """Say whom a credential stands for.

        Args:
            credential: what arrived; its value in bytes is what a stranger has written.

        Returns:
            the principal, or an `Authenticated` that says when it ends; None where the credential is not valid.

        Raises:
            LimenError: it is refused, such as `TokenRejected`. Anything else is answered 503.
        """

    async def live(self, principal: Principal) -> Principal:
        """Say who the principal is at this moment, for ``@live``; a strategy that cannot tell refuses.

        Raises:
            LimenError: it must not be let through.
        """
        raise PolicyDenied("A live check cannot be made for this credential.")


@dataclass(slots=True)
class _Beside:
    """Where it is noted what else a request presents."""

    origin: Origin
    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: object = None
    safe_only: bool = False


class OwnStrategyAdapter:
    """Holds a strategy of the application's own to what every strategy keeps.

    Args:
        strategy: the application's.
        ended: what ended lately.
        others: the names of the headers in which other credentials come.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are.
        clock: the time, in seconds since 1970 UTC.
        thumbprint_of: tells the client certificate of a connection; without it, bound credentials are refused.

    Raises:
        ConfigurationError: its name, scheme or header is unusable, or limen's.
    """

    def __init__(
        self,
        strategy: OwnStrategy,
        ended: EndedSessions,
        *,
        others: frozenset[bytes],
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        thumbprint_of: ThumbprintOf | None = None,
    ) -> None:
        _require_usable(strategy)
        self._strategy = strategy
        self._ended = ended
        self._scheme = (strategy.scheme or "").lower()
        self._header = (strategy.header or "").lower().encode("ascii")
        self._others = others - {self._header}
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._thumbprint_of = thumbprint_of
        self.challenge = strategy.scheme or ""

    def is_of(self, principal: Principal) -> bool:
        """Tell whether this strategy has said who it is."""
        authentication = principal.authentication
        return principal.issuer is None and authentication is not None and self._strategy.name in authentication.methods

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way that looks for the strategy's own header, and leaves requests without it to ``otherwise``."""
        if not self._header:
            return otherwise
        wanted, others = self._header, self._others

        def attribute(scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
            found = [value for name, value in scope["headers"] if name == wanted]
            if not found:
                return otherwise(scope, state)
            if len(found) > 1 or len(found[0]) > MAX_HEADER or not _VALUE.fullmatch(found[0]):
                state.rejection = CredentialMalformed(
                    f"There must be one {self._strategy.header} header, with a value."
                )
                return None
            if any(name in others for name, _ in scope["headers"]):
                state.rejection = CredentialsConflict(f"Send {self._strategy.header} or another credential, not both.")
                return None
            certificate = None if self._thumbprint_of is None else self._thumbprint_of(scope)
            credential = PresentedCredential(self._strategy.name, found[0], certificate)
            return self._attribute(credential, scope, state, otherwise)

        return attribute

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Leave what is of its scheme to `authenticate`."""
        return None if self._scheme and credential.scheme == self._scheme else NOT_MINE

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """Ask the application's strategy, and take what is no clear answer for none."""
        if not self._scheme or credential.scheme != self._scheme:
            return NOT_MINE
        return await self._ask(credential)

    async def live(self, principal: Principal) -> Principal:
        """Return the principal as it is now.

        Raises:
            LimenError: it must not be let through.
        """
        if principal.sid is not None and principal.sid in self._ended:
            raise SessionEnded()
        outcome = await self._held(self._strategy.live, principal)
        if isinstance(outcome, Rejected):
            raise outcome.error
        if outcome.principal.sub != principal.sub:
            raise TokenRejected()
        return outcome.principal

    async def _attribute(
        self, credential: PresentedCredential, scope: Mapping[str, Any], state: Attribution, otherwise: Attribute
    ) -> None:
        outcome = await self._ask(credential)
        if isinstance(outcome, Rejected):
            state.rejection = outcome.error
            return
        beside = await _presented_beside(scope, scope["headers"], state, otherwise)
        if isinstance(beside.rejection, SessionEnded):
            # A cookie that is over must not hide whose the connection is.
            others = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
            beside = await _presented_beside(scope, others, state, otherwise)
        if isinstance(beside.rejection, Unavailable | CredentialMalformed | CredentialsConflict):
            state.rejection = beside.rejection
        elif _is_somebody_else(outcome.principal, beside.principal):
            state.rejection = CredentialsConflict()
        else:
            state.principal, state.credential = outcome.principal, outcome

    async def _ask(self, credential: PresentedCredential) -> Authenticated | Rejected:
        outcome = await self._held(self._strategy.authenticate, credential)
        bound_to = outcome.bound_to if isinstance(outcome, Authenticated) else None
        return outcome if bound_to in {None, credential.certificate} else Rejected(TokenRejected(_BOUND))

    async def _held(self, ask: Callable[[Any], Awaitable[object]], about: object) -> Authenticated | Rejected:
        """Wait for what the application says, and hold it against the rules."""
        try:
            async with asyncio.timeout(MOST_SECONDS):
                said = await ask(about)
        except LimenError as error:
            return Rejected(error)
        except Exception as error:
            # Not its message, which may hold the credential.
            extra = {"strategy": self._strategy.name, "failure": type(error).__name__}
            _log.error("a strategy of the application's own failed", extra=extra)
            return Rejected(Unavailable())
        if said is None:
            return Rejected(TokenRejected())
        now = int(self._clock())
        known = said if isinstance(said, Authenticated) else None
        principal = said if known is None else known.principal
        if not isinstance(principal, Principal) or not _is_whole(principal):
            extra = {"strategy": self._strategy.name, "type": type(said).__name__}
            _log.error("a strategy of the application's own named no principal", extra=extra)
            return Rejected(TokenRejected())
        if known is None:
            known = Authenticated(principal, now + self._strategy.lifetime)
        return self._in_time(principal, known.expires_at, known.bound_to, now)

    def _in_time(
        self, principal: Principal, expires_at: int, bound_to: str | None, now: int
    ) -> Authenticated | Rejected:
        if expires_at <= now:
            return Rejected(TokenExpired())
        if principal.sid is not None and principal.sid in self._ended:
            return Rejected(SessionEnded())
        return Authenticated(self._like_others(principal, now), expires_at, bound_to=bound_to)

    def _like_others(self, principal: Principal, now: int) -> Principal:
        """Return the principal with roles that exist, what they give, and how it proved who it is."""
        roles = counting(frozenset(principal.roles), self._known_roles())
        stated = principal.authentication or Authentication((), now)
        methods = tuple(dict.fromkeys((*stated.methods, self._strategy.name)))
        return replace(
            principal,
            roles=roles,
            permissions=frozenset(principal.permissions) or self._permissions_of(roles),
            authentication=replace(stated, methods=methods),
        )


def adapters_of(
    strategies: Sequence[OwnStrategy],
    ended: EndedSessions,
    *,
    permissions_of: Callable[[frozenset[str]], frozenset[str]],
    known_roles: Callable[[], frozenset[str]],
    clock: Clock,
    thumbprint_of: ThumbprintOf | None = None,
) -> list[OwnStrategyAdapter]:
    """Return what the chain asks for the strategies of an application.

    Raises:
        ConfigurationError: one is unusable, or two share a name, a scheme or a header.
    """
    for each in strategies:
        _require_usable(each)
    for what in ("name", "scheme", "header"):
        given = [str(getattr(each, what)).lower() for each in strategies if getattr(each, what)]
        if len(given) != len(set(given)):
            raise ConfigurationError(f"two of strategies= have the same {what}")
    headers = frozenset(each.header.lower().encode("ascii") for each in strategies if each.header)
    return [
        OwnStrategyAdapter(
            each,
            ended,
            others=_HEADERS_OF_LIMEN | headers,
            permissions_of=permissions_of,
            known_roles=known_roles,
            clock=clock,
            thumbprint_of=thumbprint_of,
        )
        for each in strategies
    ]


def security_schemes_of(strategies: Sequence[OwnStrategy]) -> dict[str, dict[str, str]]:
    """Return what OpenAPI calls security schemes (OpenAPI 3.1, section 4.8.27), by the strategies' names."""
    return {
        each.name: {"type": "http", "scheme": each.scheme.lower()}
        if each.scheme
        else {"type": "apiKey", "in": "header", "name": str(each.header)}
        for each in strategies
    }


def _require_usable(strategy: object) -> None:
    if not isinstance(strategy, OwnStrategy):
        raise ConfigurationError(f"strategies= takes objects of classes derived from OwnStrategy, not {strategy!r}")
    called = type(strategy).__name__
    if not _NAME.fullmatch(strategy.name) or strategy.name in _METHODS_OF_LIMEN:
        raise ConfigurationError(f"{called}.name is a lower-case name of its own, not {strategy.name!r}")
    if bool(strategy.scheme) == bool(strategy.header):
        raise ConfigurationError(f"{called} has a scheme, or a header: one of the two")
    given = strategy.scheme or strategy.header or ""
    if not _TOKEN.fullmatch(given) or given.lower() in _NOT_FREE:
        raise ConfigurationError(f"{called}: {given!r} is not free for a credential of one's own")
    if strategy.scheme and strategy.scheme.lower() in _OF_BROWSERS:
        raise ConfigurationError(f"{called}: browsers send {given} of their own accord, whatever page asks")
    if strategy.scheme and len(strategy.scheme) > 32:
        raise ConfigurationError(f"{called}.scheme has at most 32 characters")
    if strategy.lifetime <= 0:
        raise ConfigurationError(f"{called}.lifetime is a number of seconds")


async def _presented_beside(scope: Mapping[str, Any], headers: object, state: Attribution, ask: Attribute) -> _Beside:
    """Find out whose the cookie is, or the certificate: without a method that changes something no proof is asked."""
    beside = _Beside(state.origin)
    pending = ask({**scope, "headers": headers, "method": "GET"}, beside)
    if pending is not None:
        await pending
    return beside


def _is_whole(principal: Principal) -> bool:
    return bool(principal.sub) and principal.is_authenticated and principal.issuer is None


def _is_somebody_else(principal: Principal, other: Principal) -> bool:
    """Tell whether a request presents two people, or two services.

    A service may hand on what a person sent it, over a connection with a certificate of its own.
    """
    if not other.is_authenticated or other.sub == principal.sub:
        return False
    return not (other.is_by_certificate and principal.kind is PrincipalKind.PERSON)
