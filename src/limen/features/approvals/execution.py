"""Executing what was approved: in the transaction of the last yes, or from the outbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin, Outcome
from limen.features.approvals.actions import Action, Approved
from limen.features.approvals.payloads import is_whole
from limen.features.approvals.store import ApprovalStatus, Claimed, Decided, ExecutionStore, StoredApproval, Verdict

_log = logging.getLogger(__name__)

MARGIN: Final = 30.0
"""Seconds by which a lease is longer than an execution may take."""
FIRST_PAUSE: Final = 5
LONGEST_PAUSE: Final = 3600
_WITHOUT: Final = "Without session=, it is executed from an outbox."


class Execution:
    """Does what was approved.

    Args:
        store: where it is noted.
        using: runs this task's store verbs on a connection of the application's.
        borrowed: returns what this task has handed to `using` already.
        savepoint: takes back, of that, what is done in a block that fails.
        record: writes an event.
    """

    def __init__(
        self,
        store: ExecutionStore,
        *,
        using: Callable[[Any], AbstractAsyncContextManager[None]],
        borrowed: Callable[[], Any | None],
        savepoint: Callable[[], AbstractAsyncContextManager[None]],
        record: EventSink,
    ) -> None:
        self._store = store
        self._using = using
        self._borrowed = borrowed
        self._savepoint = savepoint
        self._record = record

    async def try_sessions(self, actions: Iterable[Action]) -> None:
        """Open what each action's ``session=`` opens, and close it again: a mistake shows now, not with the last yes.

        A database that does not answer at this moment is none.

        Raises:
            ConfigurationError: limen cannot decide on it, such as on a connection to another database.
        """
        for action in actions:
            if action.session is None:
                continue
            try:
                async with _transaction(action) as connection, self._using(connection):
                    pass
            except ConfigurationError as error:
                raise ConfigurationError(f"the action {action.name}, session=: {error} {_WITHOUT}") from None
            except Exception as error:
                extra = {"action": action.name, "failure": type(error).__name__}
                _log.warning("approvals_session_failed", extra=extra)

    async def with_decision(
        self, action: Action, decide: Callable[[], Awaitable[Decided]], *, actor: str, origin: Origin
    ) -> Decided:
        """Decide and, where that was the last yes, execute: one commit, or nothing.

        In a block of `Limen.using` it is a savepoint in that block's transaction: whoever opened it commits, also where
        they go on after an error. Otherwise it is a transaction that is opened by the action's ``session=``.

        Raises:
            LimenError: what the executor refuses by; nothing was changed, and the request is still pending.
            Unavailable: it took too long.
        """
        borrowed = self._borrowed()
        try:
            if borrowed is not None:
                async with self._savepoint():
                    return await self._decide_and_execute(action, decide, borrowed, actor, origin)
            async with _transaction(action) as connection, self._using(connection):
                return await self._decide_and_execute(action, decide, connection, actor, origin)
        except _FailedError as failed:
            error = failed
        # After the rollback, which would have taken the record with it.
        _tell(error.approval, error.code)
        data = {**_data(error.approval, attempt=1), "failure": error.code, "again": False}
        await self._record(Event(EventName.APPROVAL_FAILED, Outcome.FAILURE, actor, error.approval.id, origin, data))
        raise error.shown from error.error

    async def _decide_and_execute(
        self, action: Action, decide: Callable[[], Awaitable[Decided]], connection: Any, actor: str, origin: Origin
    ) -> Decided:
        decided = await decide()
        approval = decided.approval
        if decided.verdict is not Verdict.DONE or approval is None or approval.status is not ApprovalStatus.APPROVED:
            return decided
        try:
            _require_whole(approval)
            async with asyncio.timeout(action.timeout):
                await action.execute(Approved.of(approval, attempt=1), connection)
                if (flush := getattr(connection, "flush", None)) is not None:
                    await flush()  # what a session has put off to its commit is part of it
        except Exception as error:
            raise _FailedError(approval, error) from error
        told = Event(
            EventName.APPROVAL_EXECUTED, Outcome.SUCCESS, actor, approval.id, origin, _data(approval, attempt=1)
        )
        await self._store.executed(approval.id, told)
        return decided

    async def work(self, actions: Mapping[str, Action]) -> int:
        """Execute what is queued of these actions, one after the other; return how many attempts were made.

        At least once: a process that dies at it leaves it to another one, once its lease is over.
        """
        if not actions:
            return 0
        lease_ms = round((max(action.timeout for action in actions.values()) + MARGIN) * 1000)
        attempts = 0
        while (claimed := await self._store.claim(actions, lease_ms=lease_ms)) is not None:
            await self._attempt(actions[claimed.approval.action], claimed)
            attempts += 1
        return attempts

    async def _attempt(self, action: Action, claimed: Claimed) -> None:
        approval = claimed.approval
        attempt = approval.attempts
        code = ""
        if attempt > action.attempts:
            # Each time whoever was at it has died, or was stopped.
            code = "lease_lost"
        elif not is_whole(approval.payload, approval.digest):
            code = "payload_changed"
            attempt = action.attempts
        else:
            try:
                async with asyncio.timeout(action.timeout):
                    await action.execute(Approved.of(approval, attempt=attempt))
            except Exception as error:
                code = _code_of(error)
        data = _data(approval, attempt=attempt)
        if not code:
            told = Event(EventName.APPROVAL_EXECUTED, Outcome.SUCCESS, "system", approval.id, NOWHERE, data)
            await self._store.finish(claimed, told)
            return
        _tell(approval, code)
        again = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) if attempt < action.attempts else None
        data = {**data, "failure": code, "again": again is not None}
        told = Event(EventName.APPROVAL_FAILED, Outcome.FAILURE, "system", approval.id, NOWHERE, data)
        await self._store.put_off(claimed, told, failure=code, again_ms=None if again is None else again * 1000)


class PayloadChanged(LimenError):
    """What lies in the database is not what was asked for: somebody has written into it by hand."""

    code = "internal_error"
    hint = "The payload does not have the digest that was stored with it; nothing was executed."


class _FailedError(Exception):
    """The executor raised: everything is rolled back, and then told."""

    def __init__(self, approval: StoredApproval, error: Exception) -> None:
        super().__init__()
        self.approval = approval
        self.error = error
        self.code = _code_of(error)

    @property
    def shown(self) -> Exception:
        """What is raised to whoever approved."""
        if isinstance(self.error, TimeoutError):
            return Unavailable("It took too long; nothing was changed.")
        return self.error


def _require_whole(approval: StoredApproval) -> None:
    if not is_whole(approval.payload, approval.digest):
        raise PayloadChanged()


@asynccontextmanager
async def _transaction(action: Action) -> AsyncIterator[Any]:
    """Open what the application gives, in a transaction that is committed at the end."""
    if action.session is None:
        raise ConfigurationError(f"the action {action.name} has no session")
    async with action.session() as connection:
        if connection.in_transaction():
            yield connection  # it was begun by what opened it, which commits it as well
        else:
            async with connection.begin():
                yield connection


def _code_of(error: Exception) -> str:
    if isinstance(error, LimenError):
        return error.code[:64]
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__[:64]


def _data(approval: StoredApproval, *, attempt: int) -> dict[str, object]:
    return {"action": approval.action, "resource": approval.resource, "attempt": attempt}


def _tell(approval: StoredApproval, code: str) -> None:
    # Neither message nor traceback, which may hold what the payload has in it.
    extra = {"approval": approval.id, "action": approval.action, "failure": code}
    _log.error("approval_execution_failed", extra=extra)
