"""The actions that take others' yes: who may say it, and what is done then."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from limen.authz.permissions import permission_name
from limen.core.decision import Decision
from limen.core.errors import ConfigurationError
from limen.core.ids import is_uuid7
from limen.core.principal import Principal
from limen.features.approvals.payloads import payload_of
from limen.features.approvals.store import ApprovalStatus, ExecutionState, GivenApproval, StoredApproval
from limen.guard.own_code import checked_callable

_log = logging.getLogger(__name__)

LONGEST: Final = 30 * 86_400
"""Seconds that a request may wait at most: for as long the API key is known that it was made by."""
MOST_QUORUM: Final = 20
_ACTION = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}(?::[A-Za-z][A-Za-z0-9_.-]{0,63}){1,2}\Z")
_NO: Final = Decision(allowed=False, code="policy_denied")


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """A request, as those see it who may. Times are milliseconds since 1970 UTC.

    Attributes:
        id: of the request; what is approved by it never changes.
        action: the name of the action.
        resource: what it is to be done to; None where it makes something new.
        payload: what it is to be done with.
        digest: SHA-256 of the payload's canonical JSON, as hexadecimal digits.
        version: of the resource, as the application counts it.
        quorum: how many have to say yes.
        status: pending, approved, rejected, withdrawn or expired.
        maker: who asked: their account, or the id made of another issuer and its subject.
        approvals: who has said yes, the first one first.
        created_at: when it was made.
        expires_at: until when it may be decided.
        decided_at: when it was decided, withdrawn or found to be over.
        decided_by: the account that decided.
        reason: why it was rejected or withdrawn.
        execution: queued, done or failed; None where nothing is to be done, or nothing yet.
        failure: the code of the last execution that failed.
    """

    id: str
    action: str
    resource: str | None
    payload: Mapping[str, Any] = field(repr=False)
    digest: str
    version: str | None
    quorum: int
    status: ApprovalStatus
    maker: str
    approvals: Sequence[GivenApproval]
    created_at: int
    expires_at: int
    decided_at: int | None
    decided_by: str | None
    reason: str | None
    execution: ExecutionState | None
    failure: str | None

    @classmethod
    def of(cls, stored: StoredApproval) -> "ApprovalView":
        """Return what is shown of a stored request."""
        return cls(
            id=stored.id,
            action=stored.action,
            resource=stored.resource,
            payload=payload_of(stored.payload),
            digest=stored.digest.hex(),
            version=stored.version,
            quorum=stored.quorum,
            status=stored.status,
            maker=stored.maker,
            approvals=stored.approvals,
            created_at=stored.created_at,
            expires_at=stored.expires_at,
            decided_at=stored.decided_at,
            decided_by=stored.decided_by,
            reason=stored.reason,
            execution=stored.execution,
            failure=stored.failure,
        )


@dataclass(frozen=True, slots=True)
class Approved:
    """What is to be done now.

    Attributes:
        id: the key by which this is told from everything else that was approved: do it once for each.
        action: the name of the action.
        resource: what it is to be done to.
        payload: what it is to be done with, exactly as it was approved.
        version: the version of the resource when it was asked for; put it into the WHERE of what you write.
        maker: who asked.
        approvers: the accounts that said yes.
        attempt: which attempt this is; the first is 1.
    """

    id: str
    action: str
    resource: str | None
    payload: Mapping[str, Any] = field(repr=False)
    version: str | None
    maker: str
    approvers: tuple[str, ...]
    attempt: int

    @classmethod
    def of(cls, stored: StoredApproval, *, attempt: int) -> "Approved":
        """Return what an executor is given."""
        return cls(
            id=stored.id,
            action=stored.action,
            resource=stored.resource,
            payload=payload_of(stored.payload),
            version=stored.version,
            maker=stored.maker,
            approvers=tuple(given.approver for given in stored.approvals),
            attempt=attempt,
        )


class Judge(Protocol):
    """Says who may approve or reject a request. It does no I/O; what it raises is a no."""

    def decide(self, principal: Principal, action: str, request: ApprovalView) -> Decision:
        """Say whether the principal, with the roles of now, may decide on this request of this action."""
        ...


@dataclass(frozen=True, slots=True)
class ByPermission:
    """Whoever holds a permission may decide."""

    permission: str

    def decide(self, principal: Principal, action: str, request: ApprovalView) -> Decision:
        """Say whether it is held."""
        if self.permission in principal.permissions:
            return Decision(allowed=True)
        return Decision(allowed=False, code="policy_denied", reason=f"The permission {self.permission} is required.")


@dataclass(frozen=True, slots=True)
class ByPolicy:
    """Whoever the policies allow ``<action>:approve`` on the request may decide.

    Args:
        can: asks the policies: a principal, an action, and the request as the resource.
    """

    can: Callable[[Principal, str, ApprovalView], bool]

    def decide(self, principal: Principal, action: str, request: ApprovalView) -> Decision:
        """Say what the policies say."""
        return Decision(allowed=True) if self.can(principal, approving(action), request) is True else _NO


SessionFactory: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens a connection or session of the application: an ``async_sessionmaker``, its ``begin``, or an engine's."""

Execute: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Action:
    """An action that takes others' yes.

    Attributes:
        name: such as ``payout:release``.
        execute: does it: is given what was approved, and the session where there is one.
        session: opens the application's session; None where it is executed from the outbox.
        quorum: how many have to say yes at least.
        expires_in: seconds for which a request waits.
        judges: who may decide; each has to say yes.
        timeout: seconds that one execution may take.
        attempts: how often an execution of the outbox is tried.
    """

    name: str
    execute: Execute
    session: SessionFactory | None
    quorum: int
    expires_in: int
    judges: tuple[Judge, ...]
    timeout: float
    attempts: int

    def __post_init__(self) -> None:
        told = f"the action {self.name!r}"
        if not inspect.iscoroutinefunction(self.execute):
            raise ConfigurationError(f"{told} is executed by an async function")
        checked_callable(f"{told}", self.execute, 1 if self.session is None else 2)
        for word, value, most in (
            ("quorum", self.quorum, MOST_QUORUM),
            ("expires_in", self.expires_in, LONGEST),
            ("attempts", self.attempts, 100),
        ):
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigurationError(f"{told}: {word} is a whole number from 1 to {most}")
        if not 0 < self.timeout <= 600:
            raise ConfigurationError(f"{told}: timeout is more than 0 and at most 600 seconds")
        for judge in self.judges:
            if not callable(getattr(judge, "decide", None)):
                raise ConfigurationError(f"{told}: may_approve has a method decide(principal, action, request)")

    @property
    def permission(self) -> str | None:
        """The permission that alone decides who may approve; None where something else is asked as well."""
        judge = self.judges[0]
        return judge.permission if len(self.judges) == 1 and isinstance(judge, ByPermission) else None

    def could(self, principal: Principal) -> bool:
        """Tell whether the principal may perhaps decide on some request: what can be told without one."""
        return all(each.permission in principal.permissions for each in self.judges if isinstance(each, ByPermission))

    def decide(self, principal: Principal, request: ApprovalView) -> Decision:
        """Ask every judge; the first no is the answer, and what a judge raises or returns instead is a no."""
        for judge in self.judges:
            try:
                decision: object = judge.decide(principal, self.name, request)
            except Exception:
                _log.exception("a judge of approvals failed, which is a no", extra={"action": self.name})
                return _NO
            if not isinstance(decision, Decision):
                told = {"action": self.name, "returned": type(decision).__name__}
                _log.error("what a judge of approvals returned is no Decision, which is a no", extra=told)
                return _NO
            if decision.allowed is not True:
                return decision
        return Decision(allowed=True)


def can_decide(me: Principal) -> bool:
    """Tell whether somebody may decide on anything at all: a person who has logged in here, in their session."""
    return me.issuer is None and me.is_interactive and me.sid is not None and is_uuid7(me.sid)


def approving(action: str) -> str:
    """Return the permission to approve an action where none is named: ``payout:release:approve``."""
    return f"{action}:approve"


def judges_of(action: str, permission: str | None, may_approve: Judge | None) -> tuple[Judge, ...]:
    """Return who is asked: a permission, a judge of the application's, or both; ``<action>:approve`` for neither.

    Raises:
        ConfigurationError: the name of the action or of the permission is malformed.
    """
    if not _ACTION.match(action):
        raise ConfigurationError(f"{action!r} is no action: write resource:action, such as payout:release")
    if permission is None and may_approve is not None:
        return (may_approve,)
    by_permission = ByPermission(permission_name(approving(action) if permission is None else permission))
    return (by_permission,) if may_approve is None else (by_permission, may_approve)
