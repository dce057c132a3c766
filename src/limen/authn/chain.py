"""Asks the strategies, in order, whose a presented credential is."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from limen.authn.extractor import read_authorization
from limen.authn.strategy import Authenticated, NotMine, Outcome, PresentedCredential, Rejected, Strategy
from limen.core.errors import CredentialMalformed, LimenError
from limen.core.principal import Principal


class Attribution(Protocol):
    """Where the outcome for one request is noted.

    Attributes:
        principal: whom the request is attributed to.
        rejection: what a presented credential was refused with.
        credential: what was proved, for as long as the connection lasts.
    """

    principal: Principal
    rejection: LimenError | None
    credential: object


class AuthenticationChain:
    """The strategies of one application.

    A credential that no strategy takes for its own is malformed: it never counts as «nothing sent», so that a misspelt
    scheme is told to the caller instead of being answered as if they were anonymous.
    """

    def __init__(self, strategies: Sequence[Strategy]) -> None:
        self._strategies = tuple(strategies)
        self._seen = tuple(strategy.seen for strategy in strategies)
        self.challenges = tuple(dict.fromkeys(strategy.challenge for strategy in strategies))

    def recall(self, headers: Iterable[tuple[bytes, bytes]]) -> Authenticated | Rejected | PresentedCredential | None:
        """Answer from memory where possible; else return the credential for `authenticate`; None for none."""
        # Two headers are malformed: which of them counts would depend on who reads (request smuggling past a proxy).
        found = None
        for name, value in headers:
            if name == b"authorization":
                if found is not None:
                    return Rejected(CredentialMalformed("There must be one Authorization header."))
                found = value
        if found is None:
            return None
        for seen in self._seen:
            known = seen(found)
            if known is not None:
                return known
        credential = read_authorization(found)
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
