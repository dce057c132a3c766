"""What recovery asks of a database: proofs that a mail carries, and the addresses that they proved."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.core.events import Event
from limen.core.mails import ClaimedMail
from limen.core.notices import Notice


class Purpose(StrEnum):
    """What a proof is for; it is good for nothing else."""

    RESET = "reset"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class NewProof:
    """A proof to be stored for a mail.

    Attributes:
        purpose: what it is for.
        token_hash: SHA-256 of the token.
        sealed: the token, sealed for the mail's row.
        lifetime_ms: milliseconds for which it works, by the database's clock.
        to_any_address: an administrator started it: the address need not have been verified, and there need not have
            been a password.
    """

    purpose: Purpose
    token_hash: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    lifetime_ms: int
    to_any_address: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A proof that was stored.

    Attributes:
        account_id: whose it is.
        username: the account's name.
        expires_at: when it ends, milliseconds since 1970 UTC.
    """

    account_id: str
    username: str
    expires_at: int


class Preparing(StrEnum):
    """Why no proof was stored."""

    NOBODY = "nobody"
    """There is nobody whose it could be."""
    TAKEN = "taken"
    """The address is verified as another account's."""


@dataclass(frozen=True, slots=True)
class ProofOwner:
    """The account that a living proof belongs to.

    Attributes:
        account_id: its id.
        username: its name.
        email: the address that the proof was sent to.
    """

    account_id: str
    username: str
    email: str = field(repr=False)


class Verified(StrEnum):
    """What became of the proof of an address."""

    DONE = "done"
    INVALID = "invalid"
    TAKEN = "taken"
    """Another account proved the address in the meantime."""


class RecoveryStore(Protocol):
    """Proofs and verified addresses. Every verb is one transaction, and the event is written in it.

    A proof is of one account and one purpose, and a newer one takes its place. It lives while it is in time, the
    account is an active person's, and the account's epoch is what it was: whatever ends all sessions ends it.
    """

    async def prepare(self, claimed: ClaimedMail, proof: NewProof, event: Event) -> Prepared | Preparing:
        """Store a proof, and in the mail the sealed token, where the mail's address is the account's.

        For a reset that is the account whose verified address it is, with a password; for a verification the mail's
        own account. The event's target becomes the account. Nothing is written where no proof is stored.
        """
        ...

    async def owner(self, purpose: Purpose, token_hash: bytes) -> ProofOwner | None:
        """Return whose living proof it is; it stays."""
        ...

    async def reset_password(
        self, token_hash: bytes, *, new_hash: str, event: Event, notice: Notice | None, keep_ended_ms: int
    ) -> str | None:
        """Take a living proof and set the password, in one transaction; return the account's id. None: no such proof.

        Whoever asks at once with the same proof, one gets it. Everything that the old password could reach ends:
        sessions, the account's own API keys, and every other proof. The event's target becomes the account.
        """
        ...

    async def verify_email(self, token_hash: bytes, *, event: Event, notice: Notice | None) -> Verified:
        """Take a living proof, and make its address the account's own, and verified.

        Where the account had another address before, a notice goes to that one, and every other proof ends.
        """
        ...

    async def verified_email(self, account_id: str) -> str | None:
        """Return the account's address where it is verified."""
        ...
