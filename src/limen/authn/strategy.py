"""What a strategy is, and the three things it can say. Nothing is overloaded: a malformed credential is not «none»."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from limen.core.errors import LimenError
from limen.core.events import Origin
from limen.core.principal import Principal


class PresentedCredential(msgspec.Struct, frozen=True, gc=False):
    """What arrived in a request (RFC 9110, section 11.4): nothing is known of it yet.

    Attributes:
        scheme: the authentication scheme, in lower case.
        value: what followed the scheme, exactly as it arrived.
        certificate: the thumbprint of the client certificate of the connection it arrived on; None for none.
    """

    scheme: str
    value: bytes
    certificate: str | None = None

    def __repr__(self) -> str:
        return f"PresentedCredential(scheme={self.scheme!r})"


class Authenticated(msgspec.Struct, frozen=True):
    """The credential is valid, and this is whom it stands for.

    Attributes:
        principal: whom the request is attributed to.
        expires_at: when the credential ends, in seconds since 1970 UTC.
        stated_roles: what is held as the credential states it (`limen.core.held`); the principal has the roles of it
            that exist. None for a credential that states none, which cannot become stale.
        kid: the id of the key that it was signed with, where it ends with that key.
        bound_to: the thumbprint of the client certificate without which it is nobody's (RFC 8705, section 3); None for
            a credential that whoever bears it may use.
        issued_at: when it was issued, in seconds since 1970 UTC by the database's clock; 0 where that is not known.
    """

    principal: Principal
    expires_at: int
    stated_roles: frozenset[str] | None = None
    kid: str | None = None
    bound_to: str | None = None
    issued_at: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """The credential is this strategy's and is not valid, or nobody can tell now; no other strategy is asked."""

    error: LimenError


class NotMine:
    """The credential is of another kind; the next strategy is asked."""


NOT_MINE = NotMine()

Outcome = Authenticated | Rejected | NotMine


class Attribution(Protocol):
    """Where the outcome for one request is noted.

    Attributes:
        principal: whom the request is attributed to.
        rejection: what a presented credential was refused with.
        credential: what was proved, for as long as the connection lasts.
        safe_only: nothing was asked but the credential, which is enough for methods that change nothing alone.
    """

    principal: Principal
    rejection: LimenError | None
    credential: object
    safe_only: bool

    @property
    def origin(self) -> Origin:
        """Where the request came from: the client's address, wherever proxies are trusted to tell it."""
        ...


Attribute = Callable[[Mapping[str, Any], Attribution], Awaitable[None] | None]
"""Finds out whom a request is attributed to, from its ASGI scope, and notes it.

Where that takes an await, it returns what is to be awaited."""


class Strategy(Protocol):
    """One method of authentication: it verifies one kind of presented credential."""

    @property
    def challenge(self) -> str:
        """The authentication scheme for ``WWW-Authenticate`` (RFC 9110, section 11.6.1)."""
        ...

    def shortcut(self, otherwise: Attribute) -> Attribute:
        """Return a way that knows by itself what this strategy is asked most, and leaves all else to ``otherwise``.

        It says the same as asking the strategies in order; it is there because nearly every request takes it.
        """
        ...

    def recall(self, credential: PresentedCredential) -> Outcome | None:
        """Answer from memory, without waiting; None where the credential has to be looked at."""
        ...

    async def authenticate(self, credential: PresentedCredential) -> Outcome:
        """Verify the credential. Whatever goes wrong is `Rejected`, never an exception of the library underneath."""
        ...
