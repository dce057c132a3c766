"""What the sessions ask of a database, beside the two verbs of the one door (`limen.authn.issuing`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.authz.authority import Authority
from limen.core.events import Event

ALWAYS_READ_MS = 10_000
"""Whatever is asked for, the list of ended sessions is read from this far back, by the database's clock of now."""


class EndReason(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"
    LOGOUT_ALL = "logout_all"
    REVOKED = "revoked"
    REPLACED = "replaced"
    ROLES_CHANGED = "roles_changed"
    ADMINISTRATION = "administration"
    REUSE = "reuse"
    ROLLED_BACK = "rolled_back"
    RESTORED = "restored"
    PASSWORD_CHANGED = "password_changed"
    ACCOUNT_STATUS = "account_status"
    SSO_LOGOUT = "sso_logout"
    DISPLACED = "displaced"


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session's row, its account's state, and the database's clock, read by one statement.

    Times are milliseconds since 1970 UTC, all stamped by the database's clock; ``now`` is that clock at this read.
    ``account_status`` is plain text: a status that this version does not know is simply not active.
    """

    sid: str
    account_id: str
    account_epoch: int
    kind: str
    generation: int
    token_hash: bytes = field(repr=False)
    parent_hash: bytes | None = field(repr=False)
    nonce: bytes | None = field(repr=False)
    kid: str
    rotated_at: int
    idle_until: int
    ends_at: int
    auth_time: int
    amr: tuple[str, ...]
    acr: str | None
    client_id: str
    account_status: str
    session_epoch: int
    roles: frozenset[str]
    now: int

    @property
    def account_holds(self) -> bool:
        """The account is active, and the session belongs to its present epoch."""
        return self.account_status == "active" and self.account_epoch == self.session_epoch

    @property
    def in_time(self) -> bool:
        """Neither the idle nor the absolute end of the session has come."""
        return self.now < self.idle_until and self.now < self.ends_at


@dataclass(frozen=True, slots=True)
class LivingSession:
    """What is shown of a session that is alive: nothing of it opens anything.

    Attributes:
        sid: its id.
        kind: ``refresh`` or ``cookie``.
        user_agent: what the client called itself when it logged in, at most 256 characters; not to be believed.
        address: the peer's address at the login.
        created_at: milliseconds since 1970 UTC.
        last_used_at: when it was refreshed last, or its cookie used, by the minute; milliseconds since 1970 UTC.
    """

    sid: str
    kind: str
    user_agent: str
    address: str
    created_at: int
    last_used_at: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One entry of the list of ended sessions.

    Attributes:
        sid: the session.
        ended_at: milliseconds since 1970 UTC, by the database's clock.
        keep_until: milliseconds since 1970 UTC after which no access token of it can be alive.
    """

    sid: str
    ended_at: int
    keep_until: int


class SessionStore(Protocol):
    """Sessions in a database. Every verb is one transaction, and the event is written in it."""

    async def read(self, sid: str) -> SessionState | None:
        """Read the session with its account in a statement of its own, on a fresh snapshot of the primary."""
        ...

    async def of_account(self, account_id: str, *, limit: int, after: str | None) -> Sequence[LivingSession]:
        """List at most ``limit`` living sessions of the account, the newest first, that follow the one named ``after``.

        Alive is a session that is in time and of the present epoch of an active account.
        """
        ...

    async def end(self, sid: str, *, account_id: str, reason: EndReason, event: Event, keep_ended_ms: int) -> bool:
        """Delete the session's row if it is this account's, and list it as ended.

        True for the one caller that deleted it: only then is the event written.
        """
        ...

    async def end_all(
        self,
        account_id: str,
        *,
        reason: EndReason,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> int:
        """Raise the account's epoch, delete all its sessions and list each as ended; return how many there were.

        With an ``authority`` it is asked first, in the same transaction, whether that still holds.

        Raises:
            AuthorityMoved: it does not; nothing is changed.
        """
        ...

    async def ended_since(self, since_ms: int) -> Sequence[Ended]:
        """List what ended at or after this time (milliseconds since 1970 UTC), or lately, and is still to be kept.

        «Lately» is the last `ALWAYS_READ_MS` by the database's clock: a clock that was ahead for a while would
        otherwise hide every ending until it has caught up with itself.
        """
        ...

    async def record(self, event: Event) -> None:
        """Write an event of an act that changed nothing: a refusal, or a failure."""
        ...
