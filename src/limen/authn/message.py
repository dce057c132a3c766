"""Verifies the tokens of messages: whom a message stands for, now, whenever it was sent.

A message may lie for hours. So its token states no roles and is no proof of anything that may have changed: the account
is asked of the database where the message is handled, and what is answered is believed for a second.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from limen.authn.bearer import Learn
from limen.authn.ended import EndedSessions
from limen.authn.message_records import ServiceLookUp
from limen.core.clock import Clock
from limen.core.errors import (
    AccountNotActive,
    ConfigurationError,
    CredentialMalformed,
    LimenError,
    SessionEnded,
    TokenExpired,
    TokenRejected,
)
from limen.core.held import given
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.crypto.jwt import TokenError, TokenVerifier
from limen.crypto.keys import KeySet
from limen.crypto.message_claims import MESSAGE_MAX_TTL, MESSAGE_TYP, MessageClaims, body_hash, is_audience

METHOD: Final = "message"
"""The authentication method of a message. It is no method by which a person proves to be there (RFC 8176)."""
MAX_TOKEN: Final = 4096
"""Characters of a token that are looked at; a longer text is malformed before anything is decoded."""
FRESH_SECONDS: Final = 1.0
"""How long what the database said of an account is believed; the promise is two seconds."""
MOST_REMEMBERED: Final = 10_000

_INVALID: Final = "The token of the message is not valid."

_log = logging.getLogger(__name__)

LiveRoles = Callable[[Principal], Awaitable[frozenset[str]]]
"""Asks the store for the session of a principal and answers the roles of now, or raises why it must not be used."""


@dataclass(frozen=True, slots=True)
class MessageCredential:
    """The token of a message, valid at this moment.

    Attributes:
        principal: whom the message stands for.
        jti: the id of the token, and so of the message.
        expires_at: when the token ends, in seconds since 1970 UTC.
    """

    principal: Principal
    jti: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database said of an account: its roles, or why it must not be used."""

    roles: frozenset[str]
    fault: LimenError | None
    asked_at: float


class MessageTokens:
    """Finds whom messages stand for.

    Args:
        keys: what tokens are verified with, until `use_keys`.
        issuer: the exact ``iss``.
        services: where the accounts of services are.
        live_roles: asks for the session of a person.
        ended: the sessions that ended.
        changed: the accounts whose roles were changed lately, and the roles they hold now.
        permissions_of: what a set of roles gives.
        known_roles: the roles there are.
        clock: the time, in seconds since 1970 UTC.
        leeway: seconds beyond its end for which a token is accepted.
        ahead: seconds by which a token may come from the future.
        learn: looks for keys that are not known yet, where they can be learnt.
        monotonic: seconds of a clock that nobody turns.
    """

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        services: ServiceLookUp,
        live_roles: LiveRoles,
        ended: EndedSessions,
        changed: Mapping[str, frozenset[str]],
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        known_roles: Callable[[], frozenset[str]],
        clock: Clock,
        leeway: int,
        ahead: int,
        learn: Learn | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._services = services
        self._live_roles = live_roles
        self._ended = ended
        self._changed = changed
        self._permissions_of = permissions_of
        self._known_roles = known_roles
        self._clock = clock
        self._leeway = leeway
        self._ahead = ahead
        self._learn = learn
        self._monotonic = monotonic
        self._verifiers: dict[str, TokenVerifier[MessageClaims]] = {}
        self._known: dict[tuple[str, str | int | None], _Known] = {}

    def use_keys(self, keys: KeySet) -> None:
        """Verify with other keys from now on; nothing of a token is remembered, so nothing has to be forgotten."""
        self._keys = keys
        for verifier in self._verifiers.values():
            verifier.use(keys)

    def listen(self, audience: str) -> None:
        """Take tokens for this audience: to be called once by whoever handles its messages.

        Raises:
            ConfigurationError: nothing can be for such an audience.
        """
        if not is_audience(audience):
            raise ConfigurationError("The audience of messages is 1 to 255 visible ASCII characters.")
        if audience not in self._verifiers:
            self._verifiers[audience] = TokenVerifier(
                self._keys,
                issuer=self._issuer,
                audience=audience,
                typ=MESSAGE_TYP,
                claims=MessageClaims,
                max_lifetime=MESSAGE_MAX_TTL,
                leeway=self._leeway,
                ahead=self._ahead,
                clock=self._clock,
            )

    async def verify(self, token: str, body: bytes, *, audience: str, live: bool = False) -> MessageCredential:
        """Return whom a message stands for.

        Args:
            token: as it came.
            body: the message itself.
            audience: whom it has to be for; see `listen`.
            live: ask the database now, whatever is remembered.

        Raises:
            CredentialMalformed, TokenRejected, TokenExpired, SessionEnded, AccountNotActive: it stands for nobody.
            Unavailable: nobody can tell now.
        """
        claims = await self._claims(token, self._verifiers[audience])
        if not compare_digest(claims.bh, body_hash(body)):
            _log.warning("message refused", extra={"reason": "body", "account": claims.sub, "jti": claims.jti})
            raise TokenRejected("The token is that of another message.")
        if claims.sid is not None and claims.sid in self._ended:
            raise SessionEnded()
        known = self._known.get((claims.sub, claims.sid or claims.ep))
        if known is None or live or self._is_old(known, claims.sub):
            known = await self._ask(claims)
        if known.fault is not None:
            # Another one each time: an exception that is raised again and again would collect its tracebacks.
            raise type(known.fault)(known.fault.detail)
        return MessageCredential(self._principal(claims, known.roles), claims.jti, claims.exp)

    async def live(self, principal: Principal) -> Principal:
        """Ask the database about the principal of a message, and return it as it is now.

        Raises:
            TokenRejected, SessionEnded, AccountNotActive: it must not be let through.
            Unavailable: the database does not answer, which is a no.
        """
        if principal.sid is not None:
            return self._with_roles(principal, await self._live_roles(principal))
        state = await self._services.service_state(principal.sub)
        if state is None or state.kind != PrincipalKind.SERVICE.value:
            raise TokenRejected(_INVALID)
        if state.status != "active":
            raise AccountNotActive()
        return self._with_roles(principal, state.roles)

    async def _claims(self, token: str, verifier: TokenVerifier[MessageClaims]) -> MessageClaims:
        if len(token) > MAX_TOKEN:
            raise CredentialMalformed("The token of the message is too large.")
        try:
            return verifier.verify(token)
        except TokenError as error:
            if error.reason != "kid" or self._learn is None:
                raise self._refused(error) from None
        await self._learn()
        try:
            return verifier.verify(token)
        except TokenError as error:
            raise self._refused(error) from None

    @staticmethod
    def _refused(error: TokenError) -> LimenError:
        _log.info("message refused", extra={"reason": error.reason})
        return TokenExpired("The token of the message has expired.") if error.expired else TokenRejected(_INVALID)

    def _is_old(self, known: _Known, sub: str) -> bool:
        return self._monotonic() - known.asked_at >= FRESH_SECONDS or self._changed.get(sub, known.roles) != known.roles

    async def _ask(self, claims: MessageClaims) -> _Known:
        asked_at = self._monotonic()
        roles: frozenset[str] = frozenset()
        fault: LimenError | None = None
        try:
            roles = await self._roles_of(claims)
        except (TokenRejected, SessionEnded, AccountNotActive) as error:
            fault = error.with_traceback(None)
            _log.info("message refused", extra={"reason": error.code, "account": claims.sub})
        known = _Known(roles, fault, asked_at)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[claims.sub, claims.sid or claims.ep] = known
        return known

    async def _roles_of(self, claims: MessageClaims) -> frozenset[str]:
        if claims.sid is not None:
            return await self._live_roles(self._principal(claims, frozenset()))
        state = await self._services.service_state(claims.sub)
        if state is None or state.kind != PrincipalKind.SERVICE.value:
            raise TokenRejected(_INVALID)
        if state.status != "active":
            raise AccountNotActive()
        if state.epoch != claims.ep:
            raise SessionEnded()
        return state.roles

    def _principal(self, claims: MessageClaims, roles: frozenset[str]) -> Principal:
        kind = PrincipalKind.SERVICE if claims.sid is None else PrincipalKind.PERSON
        proved = Authentication((METHOD,), claims.iat)
        return self._with_roles(Principal(claims.sub, kind, sid=claims.sid, authentication=proved), roles)

    def _with_roles(self, principal: Principal, held: frozenset[str]) -> Principal:
        roles, permissions = given(held, self._known_roles(), self._permissions_of)
        return Principal(
            principal.sub,
            principal.kind,
            roles,
            permissions,
            principal.sid,
            None,
            principal.authentication,
        )


def is_by_message(principal: Principal) -> bool:
    """Tell whether the principal's credential is the token of a message."""
    authentication = principal.authentication
    return authentication is not None and METHOD in authentication.methods
