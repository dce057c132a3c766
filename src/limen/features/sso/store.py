"""What single sign-on asks of a database.

Nothing that is kept here opens anything: what a browser or a client holds is there as its SHA-256 only. All times are
the database's, in milliseconds since 1970 UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider: both compared byte by byte (OpenID Connect Core, section 5.7)."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A login under way: begun in a browser, to be ended by the provider's answer in the same one.

    Attributes:
        state_hash: SHA-256 of ``state``.
        browser_hash: SHA-256 of what the browser's cookie holds; PKCE's verifier and the nonce are derived from it.
        provider: the name of the provider that it was begun for.
        issuer: that provider's issuer at that moment; an answer of any other is refused.
        next: where the browser goes afterwards.
        challenge: the S256 challenge of a client that will exchange a code; None where the browser gets a cookie.
        account_id: the account that the identity is to be linked to; None for a login.
        account_epoch: that account's ``session_epoch`` when the linking was begun.
        session_id: the session in which the linking was begun; it ends with that session.
        lifetime_ms: how long it may take.
    """

    state_hash: bytes
    browser_hash: bytes
    provider: str
    issuer: str
    next: str
    challenge: str | None
    account_id: str | None
    account_epoch: int | None
    session_id: str | None
    lifetime_ms: int


@dataclass(frozen=True, slots=True)
class Flow:
    """A login that was under way, and is taken out by whoever got this."""

    provider: str
    issuer: str
    next: str
    challenge: str | None
    account_id: str | None
    account_epoch: int | None
    session_id: str | None


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """The account that an identity is linked to."""

    id: str
    status: str
    session_epoch: int
    roles: frozenset[str]

    @property
    def is_active(self) -> bool:
        """Whether it may be used; a status that this version does not know is no."""
        return self.status == "active"


@dataclass(frozen=True, slots=True)
class NewCode:
    """A one-time code for a client that is not this browser; what it stands for is in ``content`` and the account.

    Attributes:
        code_hash: SHA-256 of the code.
        identity: by which identity it came about.
        account_id: whose session it will open.
        account_epoch: that account's ``session_epoch`` at the login.
        challenge: the S256 challenge that the verifier has to fit (RFC 7636, section 4.6).
        content: what the provider said of the login, as a list in JSON without secrets; its fifth is the provider's
            session.
        hint: the sealed ID token, for the logout at the provider; None where it is not kept.
        lifetime_ms: how long it may take.
    """

    code_hash: bytes
    identity: Identity
    account_id: str
    account_epoch: int
    challenge: str
    content: str
    hint: bytes | None = field(repr=False)
    lifetime_ms: int


@dataclass(frozen=True, slots=True)
class Code:
    """A one-time code that is taken out, and so spent."""

    identity: Identity
    account_id: str
    account_epoch: int
    challenge: str
    content: str
    hint: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewPerson:
    """An account without a password, to be made for an identity; its address is one that a provider verified."""

    id: str
    username: str
    email: str | None


class Created(StrEnum):
    """What became of an account that was to be made for an identity."""

    DONE = "done"
    NAME_TAKEN = "name_taken"
    IDENTITY_TAKEN = "identity_taken"


class Linked(StrEnum):
    """What became of a link: done, also where it was there already; another account's; or its session has ended."""

    DONE = "done"
    ANOTHERS = "anothers"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """An identity of an account, as its holder sees it; ``created_at`` in milliseconds since 1970 UTC."""

    id: str
    provider: str
    issuer: str
    created_at: int


@dataclass(frozen=True, slots=True)
class ProviderLogin:
    """By which login at a provider a session came about."""

    provider: str
    identity: Identity
    hint: bytes | None = field(repr=False)


class FlowStore(Protocol):
    """What is under way. Every verb is one transaction, and what is taken is gone with that statement."""

    async def begin(self, flow: NewFlow) -> None:
        """Insert a login that is under way."""
        ...

    async def take(self, state_hash: bytes, browser_hash: bytes, provider: str) -> Flow | None:
        """Delete the login of this state, browser and provider, and return it: one ``DELETE … RETURNING``.

        None, with nothing deleted, where there is none, it is of another browser or provider, or its time is over.
        """
        ...

    async def keep_code(self, code: NewCode) -> None:
        """Insert a one-time code."""
        ...

    async def take_code(self, code_hash: bytes) -> Code | None:
        """Delete a one-time code that is in time, and return it; None where there is none."""
        ...


class IdentityStore(Protocol):
    """Identities and the accounts they are linked to. Every verb is one transaction, with its event in it."""

    async def find(self, identity: Identity) -> KnownAccount | None:
        """Return the account that the identity is linked to."""
        ...

    async def is_known_email(self, email: str) -> bool:
        """Tell whether an account that is not deleted has this normalised address."""
        ...

    async def create(self, person: NewPerson, identity: Identity, *, provider: str, event: Event) -> Created:
        """Make the account and link the identity to it, both or neither; of fifty at once one is done."""
        ...

    async def link(
        self, account_id: str, account_epoch: int, identity: Identity, *, sid: str | None, provider: str, event: Event
    ) -> Linked:
        """Link the identity to an active account of this epoch, by one conditional INSERT, and record it.

        Nothing is written where the account's session ``sid`` is not there any more, or is over; without one neither.
        """
        ...

    async def is_fresh(self, sid: str, *, account_id: str, within_ms: int) -> bool:
        """Tell whether the account's session began, or its holder proved who they are, within this time."""
        ...

    async def of_account(self, account_id: str) -> Sequence[LinkedIdentity]:
        """List the identities of an account, the oldest first."""
        ...

    async def unlink(self, identity_id: str, *, account_id: str, event: Event) -> bool | None:
        """Unlink an identity of this account, and delete its one-time codes; None where there is none.

        False, and nothing is changed, where it is the account's last way in: it has no password and no other identity.
        """
        ...


class ProviderSessionStore(Protocol):
    """The sessions that logins at providers brought about."""

    async def login_of(self, sid: str) -> ProviderLogin | None:
        """Return the login at a provider that a session came about by; None where it was no such login."""
        ...

    async def end_of(
        self,
        issuer: str,
        *,
        subject: str | None,
        provider_sid: str | None,
        token_id: bytes,
        keep_token_ms: int,
        event: Event,
        keep_ended_ms: int,
    ) -> int | None:
        """End the sessions that a logout token names, and delete the one-time codes of that subject or session.

        Args:
            issuer: of the token.
            subject: whose sessions; None for all subjects, where the provider's session is named.
            provider_sid: which session at the provider; None for all of them.
            token_id: SHA-256 over the issuer and the token's ``jti``; kept, so that it counts once.
            keep_token_ms: for how long, in milliseconds.
            event: what is recorded once where any session ended.
            keep_ended_ms: how long an ended session stays on the list.

        Returns:
            How many ended; None, with nothing done, where the token was used before.
        """
        ...


class SsoStore(FlowStore, IdentityStore, ProviderSessionStore, Protocol):
    """All of it."""
