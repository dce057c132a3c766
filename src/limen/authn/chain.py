"""Asks the strategies, in order, whose a presented credential is."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from limen.authn.extractor import read_authorization
from limen.authn.strategy import (
    Attribute,
    Attribution,
    Authenticated,
    NotMine,
    Outcome,
    PresentedCredential,
    Rejected,
    Strategy,
)
from limen.core.errors import CredentialMalformed


class AuthenticationChain:
    """The strategies of one application.

    A credential that no strategy takes for its own is malformed: it never counts as «nothing sent», so that a misspelt
    scheme is told to the caller instead of being answered as if they were anonymous.

    Args:
        strategies: in the order in which they are asked.
        thumbprint_of: tells the client certificate of a connection; without it, credentials that are bound to one are
            refused.

    Attributes:
        attribute: finds out whom a request is attributed to; what the guard asks for each one.
        challenges: the authentication schemes that a 401 names (RFC 9110, section 11.6.1).
    """

    def __init__(
        self, strategies: Sequence[Strategy], *, thumbprint_of: Callable[[Mapping[str, Any]], str | None] | None = None
    ) -> None:
        self._strategies = tuple(strategies)
        self._thumbprint_of = thumbprint_of
        self.challenges = tuple(dict.fromkeys(each.challenge for each in strategies if each.challenge))
        self.attribute: Attribute = self._attribute
        for strategy in reversed(self._strategies):
            self.attribute = strategy.shortcut(self.attribute)

    def recall(
        self, headers: Iterable[tuple[bytes, bytes]], certificate: str | None = None
    ) -> Authenticated | Rejected | PresentedCredential | None:
        """Answer from memory where possible; else return the credential for `authenticate`; None for none.

        Args:
            headers: of the request.
            certificate: the thumbprint of the client certificate of its connection.
        """
        # Two headers are malformed: which of them counts would depend on who reads (request smuggling past a proxy).
        found = None
        for name, value in headers:
            if name == b"authorization":
                if found is not None:
                    return Rejected(CredentialMalformed("There must be one Authorization header."))
                found = value
        if found is None:
            return None
        credential = read_authorization(found, certificate)
        if isinstance(credential, CredentialMalformed):
            return Rejected(credential)
        for strategy in self._strategies:
            outcome = strategy.recall(credential)
            if outcome is not None and not isinstance(outcome, NotMine):
                return outcome
        return credential

    async def authenticate(self, credential: PresentedCredential) -> Authenticated | Rejected:
        """Ask the strategies in order; the first that does not say «not mine» decides."""
        for strategy in self._strategies:
            outcome: Outcome = await strategy.authenticate(credential)
            if not isinstance(outcome, NotMine):
                return outcome
        return Rejected(CredentialMalformed("The authentication scheme is not supported here."))

    def _attribute(self, scope: Mapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        certificate = None if self._thumbprint_of is None else self._thumbprint_of(scope)
        outcome = self.recall(scope["headers"], certificate)
        if isinstance(outcome, PresentedCredential):
            return self._look_up(outcome, state)
        if outcome is not None:
            note(outcome, state)
        return None

    async def _look_up(self, credential: PresentedCredential, state: Attribution) -> None:
        note(await self.authenticate(credential), state)


def note(outcome: Authenticated | Rejected, state: Attribution) -> None:
    """Note for a request what a strategy said."""
    if isinstance(outcome, Rejected):
        state.rejection = outcome.error
    else:
        state.principal = outcome.principal
        state.credential = outcome
