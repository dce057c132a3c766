"""What approvals ask of a database.

A request never changes what it asks for: action, resource, payload and version stay as they were written, so whoever
says yes to its id says yes to exactly that. All times are the database's, in milliseconds since 1970 UTC.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.authz.authority import Authority
from limen.core.events import Event


class ApprovalStatus(StrEnum):
    """How a request stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class ExecutionState(StrEnum):
    """How far the execution of an approved request has come."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Maker:
    """Who asks for something.

    Attributes:
        sub: as the principal has it: an account here, or the id made of another issuer and its subject.
        issuer: the other issuer, where it is one.
        subject: what that issuer calls them.
        sid: the session or the API key by which it was asked for, where that has an id of limen's.
    """

    sub: str
    issuer: str | None = None
    subject: str | None = field(default=None, repr=False)
    sid: str | None = None


@dataclass(frozen=True, slots=True)
class NewApproval:
    """A request to be inserted.

    Attributes:
        id: of the request; the key by which its execution is told from every other.
        action: the name of the action.
        resource: what it is to be done to; None where it makes something new.
        payload: what it is to be done with, as canonical JSON.
        digest: SHA-256 of that text.
        version: of the resource, as the application counts it.
        quorum: how many have to say yes.
        lifetime_ms: how long they have for it.
        maker: who asks.
    """

    id: str
    action: str
    resource: str | None
    payload: str = field(repr=False)
    digest: bytes
    version: str | None
    quorum: int
    lifetime_ms: int
    maker: Maker


@dataclass(frozen=True, slots=True)
class GivenApproval:
    """One yes: the account that gave it, and when (milliseconds since 1970 UTC)."""

    approver: str
    approved_at: int


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """A request as it lies in the database.

    Attributes:
        status: as of now: one whose time is over is ``expired`` before anybody has noted that.
        maker: who asked, as their principal's ``sub``.
        maker_account: their account here; None where there is none.
        approvals: who has said yes, the first one first.
        decided_at: when it was decided, withdrawn or over; None while it is pending.
        decided_by: the account that decided; None where nobody did.
        reason: why it was rejected or withdrawn.
        execution: how far its execution has come; None where it is not approved, or its transaction is not over.
        attempts: how often an execution was begun.
        failure: the code of the last one that failed.
        is_mine: who reads is the maker.
        is_own: who reads must not decide it: the maker, whoever a linked identity of the maker's belongs to, or who
            made the API key that it was asked for by.
        is_given: who reads has said yes already.
    """

    id: str
    action: str
    resource: str | None
    payload: str = field(repr=False)
    digest: bytes
    version: str | None
    quorum: int
    status: ApprovalStatus
    maker: str
    maker_account: str | None
    approvals: Sequence[GivenApproval]
    created_at: int
    expires_at: int
    decided_at: int | None
    decided_by: str | None
    reason: str | None
    execution: ExecutionState | None
    attempts: int
    failure: str | None
    is_mine: bool
    is_own: bool
    is_given: bool


@dataclass(frozen=True, slots=True)
class Vote:
    """Somebody decides.

    Attributes:
        id: of the request.
        approver: the account that decides.
        sid: the session in which it does.
        maker_account: as the request was read: its row is locked with the approver's.
        seen: the digest that the approver has seen; None where only the id says what was seen.
        authority: what the approver was judged by.
        queue: whether the execution is queued where this is the last yes that was missing.
        reason: why, of a rejection.
    """

    id: str
    approver: str
    sid: str
    maker_account: str | None
    authority: Authority
    seen: bytes | None = None
    queue: bool = False
    reason: str | None = None


class Verdict(StrEnum):
    """What became of an attempt to decide, in the order in which it is asked."""

    DONE = "done"
    GONE = "not_found"
    OWN = "own_request"
    EXPIRED = "expired"
    DECIDED = "already_decided"
    GIVEN = "already_given"
    CHANGED = "changed"
    MAKER = "maker_not_active"
    SESSION = "session_ended"


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of it, and the request as it is now; None where it was not decided, or there is none."""

    verdict: Verdict
    approval: StoredApproval | None


class Box(StrEnum):
    """Which requests are listed: those that others made and that are pending, one's own, or all of them."""

    INBOX = "inbox"
    MINE = "mine"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Claimed:
    """An execution that this process has taken over for a while.

    Attributes:
        approval: the request.
        lease: what its end is told by; another process that takes over has another one.
    """

    approval: StoredApproval
    lease: str


class ApprovalStore(Protocol):
    """Requests and who said yes to them. Every verb is one transaction, and the event is written in it."""

    async def request(self, new: NewApproval, event: Event, *, most: int) -> tuple[StoredApproval, bool]:
        """Insert a request; True where it is new.

        Of one action and one resource at most one is pending. Where the same maker asks for the same again, that one is
        returned; where they ask for something else, it is withdrawn, and the new one takes its place. Raises Conflict
        where it is another maker's, and where the maker has ``most`` pending requests.
        """
        ...

    async def read(self, approval_id: str, *, reader: Maker) -> StoredApproval | None:
        """Read a request, as it stands to whoever reads."""
        ...

    async def page(
        self, box: Box, *, reader: Maker, actions: Collection[str], limit: int, after: str | None
    ) -> Sequence[StoredApproval]:
        """List at most ``limit`` requests, the newest first, that follow ``after``.

        In the inbox are those of the ``actions`` that are pending, in time, not the reader's own, and to which the
        reader has not said yes.
        """
        ...

    async def approve(self, vote: Vote, event: Event) -> Decided:
        """Count one yes by one conditional UPDATE; the last one that was missing approves the request.

        Asked in that transaction: the request is pending and in time, is not the approver's own, has no yes of theirs,
        and has the digest that was seen; the session lives; approver and maker are active. Otherwise nothing is
        changed, and the event is written as a failure, with the reason. Raises AuthorityMoved, with nothing written,
        where what the approver was judged by holds no longer.
        """
        ...

    async def reject(self, vote: Vote, event: Event) -> Decided:
        """End a request by one no, asked as `approve` asks."""
        ...

    async def withdraw(self, approval_id: str, *, reader: Maker, event: Event) -> Decided:
        """End a pending request of the reader's own."""
        ...

    async def cancel(self, *, limit: int, event: Event) -> int:
        """Withdraw at most ``limit`` pending requests, whosoever; return how many. The event is written for each."""
        ...

    async def count_holders(self, roles: Collection[str], permission: str) -> int:
        """Count the active persons who hold one of the roles, or the permission itself."""
        ...


class ExecutionStore(Protocol):
    """The execution of what was approved. Every verb is one transaction, and the event is written in it."""

    async def executed(self, approval_id: str, event: Event) -> None:
        """Note that it is done, in the transaction in which it is; Conflict where it was noted before."""
        ...

    async def claim(self, actions: Collection[str], *, lease_ms: int) -> Claimed | None:
        """Take the next queued execution of one of the actions whose time has come; None where there is none.

        However many processes ask, one gets it, for ``lease_ms``; then it can be taken again. It counts as an attempt.
        """
        ...

    async def finish(self, claimed: Claimed, event: Event) -> bool:
        """Note that it is done; False, and nothing written, where the lease has passed to another process."""
        ...

    async def put_off(self, claimed: Claimed, event: Event, *, failure: str, again_ms: int | None) -> bool:
        """Note that it failed, and when it is tried again; None: never. False where the lease has passed on."""
        ...


class Approvals(ApprovalStore, ExecutionStore, Protocol):
    """All of it."""
