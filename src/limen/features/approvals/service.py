"""Approvals: what one person asks for is done when others have said yes to it (four eyes, maker and checker).

Who decides is the principal, never a field of a request; a person has to have logged in for it; and nobody decides what
they asked for themselves, by whichever session, key, role or identity (ASVS 5.0, 2.3.5).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Final

from limen.authz.administration import Administration
from limen.authz.authority import AuthorityMoved
from limen.authz.roles import RoleCatalogue
from limen.core.errors import (
    ConfigurationError,
    Conflict,
    Forbidden,
    LimenError,
    NotFound,
    PermissionRequired,
    PolicyDenied,
    Unauthenticated,
    Unavailable,
)
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin, Outcome
from limen.core.ids import is_uuid7, uuid7
from limen.core.pages import DEFAULT_PAGE, check_limit, check_place
from limen.core.principal import Principal
from limen.features.approvals.actions import (
    MOST_QUORUM,
    Action,
    ApprovalView,
    Approved,
    ByPermission,
    ByPolicy,
    Judge,
    can_decide,
)
from limen.features.approvals.asking import data_of, digest_of, line_of, reader_of, session_of, view_of
from limen.features.approvals.declarations import Declarations, no_such_request
from limen.features.approvals.execution import Execution
from limen.features.approvals.payloads import MAX_BYTES, canonical
from limen.features.approvals.store import (
    Approvals,
    ApprovalStatus,
    Box,
    Decided,
    ExecutionState,
    GivenApproval,
    NewApproval,
    Verdict,
    Vote,
)
from limen.features.roles.service import RoleService

__all__ = [
    "ApprovalPage",
    "ApprovalService",
    "ApprovalStatus",
    "ApprovalView",
    "Approved",
    "Box",
    "ByPermission",
    "ByPolicy",
    "ExecutionState",
    "GivenApproval",
    "Judge",
    "cancel_all",
]

MAX_PAYLOAD: Final = MAX_BYTES
ATTEMPTS: Final = 5
"""How often a decision is judged anew, when what it was judged by has moved."""
MOST_PENDING: Final = 1_000
"""Pending requests that a maker may have at once."""
MAX_NAME: Final = 256
MAX_VERSION: Final = 128
MAX_REASON: Final = 500
LOOKED_AT: Final = 200
PAGES_LOOKED_AT: Final = 10
"""An inbox is filtered by code, so one page of it looks at 2 000 requests at most; the next goes on from there."""


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """Some requests, the newest first; ``next`` is the ``after`` of those that follow, None at the end."""

    items: Sequence[ApprovalView]
    next: str | None


class ApprovalService(Declarations):
    """The use cases of approvals.

    Args:
        store: where the requests are.
        roles: says what who decides is judged by.
        live: asks the database about a principal and returns it as it is now.
        catalogue: the roles there are.
        using: runs this task's store verbs on a connection of the application's.
        borrowed: returns what this task has handed to `using` already.
        savepoint: takes back, of that, what is done in a block that fails.
        record: writes the event of a refusal.
    """

    def __init__(
        self,
        store: Approvals,
        *,
        roles: RoleService,
        live: Callable[[Principal], Awaitable[Principal]],
        catalogue: Callable[[], RoleCatalogue],
        using: Callable[[Any], AbstractAsyncContextManager[None]],
        borrowed: Callable[[], Any | None],
        savepoint: Callable[[], AbstractAsyncContextManager[None]],
        record: EventSink,
    ) -> None:
        super().__init__(store, catalogue)
        self._roles = roles
        self._live = live
        self._record = record
        self._execution = Execution(store, using=using, borrowed=borrowed, savepoint=savepoint, record=record)

    # --- asking

    async def request(
        self,
        me: Principal,
        action: str,
        *,
        payload: Mapping[str, object],
        resource: str | None = None,
        version: str | int | None = None,
        quorum: int | None = None,
        origin: Origin = NOWHERE,
    ) -> ApprovalView:
        """Ask for something to be done.

        Of one action and one resource at most one request is pending. The same again is the same request. With another
        payload, version or quorum it is a new one, and the one before is withdrawn: what somebody approves by its id
        never changes.

        Args:
            me: who asks; any credential does.
            action: a declared one.
            payload: what it is to be done with: plain JSON values, 16 KiB at most.
            resource: what it is to be done to, such as ``payout:42``; None where it makes something new.
            version: of the resource, as the application counts it.
            quorum: how many have to say yes, where that is more than the action says.
            origin: where the request came from.

        Raises:
            InvalidInput: the payload, the resource or the version is unusable.
            Conflict: somebody else's request for it is pending, or this maker has a thousand.
            ConfigurationError: there is no such action, or the quorum is out of range.
        """
        declared = self._actions.get(action)
        if declared is None:
            raise ConfigurationError(f"the action {action} is not declared: write @gate.approvals.action({action!r})")
        wanted = max(declared.quorum, quorum or 1)
        if wanted > MOST_QUORUM:
            raise ConfigurationError(f"a quorum is at most {MOST_QUORUM}")
        reader = reader_of(me)
        text, digest = canonical(payload)
        new = NewApproval(
            id=uuid7(),
            action=action,
            resource=None if resource is None else line_of("resource", resource, MAX_NAME),
            payload=text,
            digest=digest,
            version=None if version is None else line_of("version", str(version), MAX_VERSION),
            quorum=wanted,
            lifetime_ms=declared.expires_in * 1000,
            maker=reader,
        )
        data = {"action": action, "resource": resource, "quorum": wanted, "digest": digest.hex()}
        told = Event(EventName.APPROVAL_REQUESTED, Outcome.SUCCESS, me.sub, new.id, origin, data)
        try:
            made, _ = await self._store.request(new, told, most=MOST_PENDING)
        except Conflict as error:
            await self._tell_refused(told, error)
            raise
        return ApprovalView.of(made)

    async def withdraw(self, me: Principal, approval_id: str, *, origin: Origin = NOWHERE) -> ApprovalView:
        """Take back a request of one's own, by whichever credential.

        Raises:
            NotFound: there is no such request, or it is not for the caller to see.
            PolicyDenied: it is somebody else's.
            AlreadyDecided: it is not pending any more.
        """
        told = Event(EventName.APPROVAL_WITHDRAWN, Outcome.SUCCESS, me.sub, approval_id[:128], origin)
        reader = reader_of(me)
        decided = await self._store.withdraw(approval_id, reader=reader, event=told)
        stored = decided.approval
        if decided.verdict is Verdict.GONE and stored is not None:
            is_visible = self._is_visible(await self._now(me), stored)
            error = PolicyDenied("Only its maker withdraws a request.") if is_visible else no_such_request()
            await self._tell_refused(told, error)
            raise error
        return view_of(decided)

    # --- looking

    async def show(self, me: Principal, approval_id: str) -> ApprovalView:
        """Find a request by its id: one's own, one that one may decide on, or any with ``approvals:read``.

        Raises:
            NotFound: there is no such request, or it is not for the caller to see.
        """
        stored = await self._store.read(approval_id, reader=reader_of(me))
        if stored is None or not (stored.is_mine or self._is_visible(await self._now(me), stored)):
            raise no_such_request()
        return ApprovalView.of(stored)

    async def page(
        self, me: Principal, box: Box = Box.INBOX, *, limit: int = DEFAULT_PAGE, after: str | None = None
    ) -> ApprovalPage:
        """List requests, the newest first: at most ``limit`` (1 to 200).

        The inbox has what the caller may decide on at this moment; whoever cannot decide by this credential has an
        empty one. A page of it may have fewer items than the limit, or none, and still a ``next``.

        Raises:
            InvalidInput: a limit out of range, or an ``after`` that no page has answered.
            PermissionRequired: all of them, without ``approvals:read``.
        """
        reader = reader_of(me)
        check_limit(limit)
        check_place(after)
        if box is not Box.MINE:
            me = await self._now(me)
        if box is Box.INBOX:
            return await self._inbox(me, limit, after)
        if box is Box.ALL and Administration.APPROVALS_READ not in me.permissions:
            raise PermissionRequired(f"The permission {Administration.APPROVALS_READ} is required.")
        found = await self._store.page(box, reader=reader, actions=(), limit=limit + 1, after=after)
        items = [ApprovalView.of(stored) for stored in found[:limit]]
        return ApprovalPage(items, items[-1].id if len(found) > limit else None)

    async def _inbox(self, me: Principal, limit: int, after: str | None) -> ApprovalPage:
        actions = [action.name for action in self._actions.values() if action.could(me)]
        if not actions or not can_decide(me):
            return ApprovalPage([], None)
        items: list[ApprovalView] = []
        place = after
        for _ in range(PAGES_LOOKED_AT):
            found = await self._store.page(
                Box.INBOX, reader=reader_of(me), actions=actions, limit=LOOKED_AT, after=place
            )
            for stored in found:
                if len(items) == limit:
                    return ApprovalPage(items, place)
                place = stored.id
                if self._may(me, stored):
                    items.append(ApprovalView.of(stored))
            if len(found) < LOOKED_AT:
                return ApprovalPage(items, None)
        return ApprovalPage(items, place)

    # --- deciding

    async def approve(
        self, me: Principal, approval_id: str, *, seen: str | None = None, origin: Origin = NOWHERE
    ) -> ApprovalView:
        """Say yes. The last yes that was missing approves the request, and has it executed.

        Args:
            me: who decides: a person with a session here.
            approval_id: of the request; what is asked for under this id never changes.
            seen: the digest of the payload that was looked at, to be held against that of the request.
            origin: where the request came from.

        Raises:
            StepUpRequired: nobody has logged in: an API key, a service, a certificate, a message or a foreign token.
            OwnRequest: they asked for it themselves.
            NotFound: there is no such request, or it is not for the caller to see.
            PolicyDenied: they may see it, and not decide on it.
            AlreadyDecided: it is not pending any more, or they have said yes before.
            Conflict: another payload was seen, or the maker's account is not active.
            SessionEnded, AccountNotActive: who decides is not there any more.
        """
        told = Event(EventName.APPROVAL_APPROVED, Outcome.SUCCESS, me.sub, approval_id[:128], origin)
        digest = digest_of(seen)

        async def attempt(action: Action, vote: Vote) -> Decided:
            event = replace(told, data=data_of(action, digest))
            if action.session is None:
                return await self._store.approve(replace(vote, seen=digest, queue=True), event)
            return await self._execution.with_decision(
                action,
                lambda: self._store.approve(replace(vote, seen=digest), event),
                actor=me.sub,
                origin=origin,
            )

        return await self._decide(me, approval_id, told, attempt)

    async def reject(
        self, me: Principal, approval_id: str, reason: str, *, seen: str | None = None, origin: Origin = NOWHERE
    ) -> ApprovalView:
        """Say no, which ends the request: whoever may approve it may.

        Args:
            reason: why, 1 to 500 printable characters; its maker reads it.

        Raises:
            InvalidInput: the reason is unusable.
            LimenError: as for `approve`.
        """
        told = Event(EventName.APPROVAL_REJECTED, Outcome.SUCCESS, me.sub, approval_id[:128], origin)
        why = line_of("reason", reason, MAX_REASON)
        digest = digest_of(seen)

        async def attempt(action: Action, vote: Vote) -> Decided:
            event = replace(told, data=data_of(action, digest))
            return await self._store.reject(replace(vote, seen=digest, reason=why), event)

        return await self._decide(me, approval_id, told, attempt)

    async def _decide(
        self, me: Principal, approval_id: str, told: Event, attempt: Callable[[Action, Vote], Awaitable[Decided]]
    ) -> ApprovalView:
        try:
            sid = session_of(me)
        except Unauthenticated as error:
            if me.is_authenticated and is_uuid7(approval_id):
                await self._tell_refused(told, error)
            raise
        for _ in range(ATTEMPTS):
            try:
                action, vote = await self._judged(me, sid, approval_id, told)
                return view_of(await attempt(action, vote))
            except AuthorityMoved:
                continue
        raise Unavailable("The roles are being changed by others; try again.")

    async def _judged(self, me: Principal, sid: str, approval_id: str, told: Event) -> tuple[Action, Vote]:
        """Judge by what the database says now; the transaction asks whether it is still so."""
        stored = await self._store.read(approval_id, reader=reader_of(me))
        if stored is None:
            raise no_such_request()
        try:
            authority = await self._roles.authority(me)
            now = await self._live(me)
            action = self._require_may(now, stored)
        except (Unauthenticated, Forbidden, NotFound) as error:
            await self._tell_refused(replace(told, data={"action": stored.action}), error)
            raise
        if authority is None:
            raise PolicyDenied()
        return action, Vote(stored.id, me.sub, sid, stored.maker_account, authority)

    async def _now(self, me: Principal) -> Principal:
        """Return a person who has logged in as they are now; others as their credential has them."""
        return await self._live(me) if can_decide(me) else me

    async def _tell_refused(self, told: Event, error: LimenError) -> None:
        data = {**told.data, "reason": error.code}
        await self._record(replace(told, outcome=Outcome.FAILURE, data=data))

    # --- by itself

    async def check(self) -> None:
        """Refuse a ``session=`` that leads elsewhere, and warn of actions that too few could approve."""
        await self._execution.try_sessions(self._actions.values())
        await super().check()

    async def work(self) -> int:
        """Execute what is queued of the actions that are declared here without a session; return how many attempts."""
        return await self._execution.work(self._queued)


async def cancel_all(store: Approvals, actor: str) -> int:
    """Withdraw every pending request, after the database came back as it was earlier; return how many there were."""
    told = Event(EventName.APPROVAL_WITHDRAWN, Outcome.SUCCESS, actor, data={"reason": "restored"})
    count = 0
    while done := await store.cancel(limit=LOOKED_AT, event=told):
        count += done
    return count
