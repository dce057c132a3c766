"""After a backup came back, or the database failed over and lost what was written last: nothing of before is valid."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from limen.core.events import Event, EventName, EventSink
from limen.features.maintenance.store import MaintenanceStore

_log = logging.getLogger(__name__)

BATCH = 500
"""Accounts of one transaction: nobody waits longer for a row of theirs than such a batch takes, some 50 ms."""
PAUSE_SECONDS = 0.005
"""Between two batches others get their turn: SQLite has one writer, whoever it is."""


@dataclass(frozen=True, slots=True)
class Restored:
    """How much was ended: API keys wait to be confirmed, requests for approvals are withdrawn."""

    accounts: int
    sessions: int
    keys: int = 0
    requests: int = 0


OnBatch = Callable[[Restored], None]
"""Is told how much was done so far."""


def _unheard(_done: Restored) -> None:
    return


class MaintenanceService:
    """The use cases of maintenance.

    Args:
        store: where the data is.
        record: writes the event at the end.
        keep_ended_ms: how long an ended session stays on the list.
        cancel_requests: withdraws every request that waits for approvals; is given who does it.
    """

    def __init__(
        self,
        store: MaintenanceStore,
        *,
        record: EventSink,
        keep_ended_ms: int,
        cancel_requests: Callable[[str], Awaitable[int]],
    ) -> None:
        self._store = store
        self._cancel_requests = cancel_requests
        self._record = record
        self._keep_ended_ms = keep_ended_ms

    async def count_accounts(self) -> int:
        """Count the accounts that `restored` will go through."""
        return await self._store.count_accounts()

    async def restored(self, *, actor: str, on_batch: OnBatch = _unheard) -> Restored:
        """End every session of every account, after the database came back as it was earlier.

        A restored database calls spent refresh tokens current, and sessions alive that had ended. So every account's
        epoch is raised and every session deleted and listed as ended, in batches. Stopped in between it leaves no
        account half done; run again it begins anew and comes to the same end.

        An API key that was revoked since the backup is alive in it. So each opens nothing until somebody confirms it. A
        request that was rejected, or executed, since the backup is pending in it. So each is withdrawn.

        Access tokens of sessions that the restored database has never heard of cannot be listed: they live as long as
        an access token does, unless the access secret is replaced at once.

        Args:
            actor: who does it, for the audit trail.
            on_batch: is told after each batch how much was done.

        Raises:
            Unavailable: the database does not answer; run it again.
        """
        event = Event(EventName.SESSIONS_ENDED, actor=actor, data={"reason": "restored"})
        after: str | None = None
        accounts = sessions = keys = 0
        while True:
            batch = await self._store.end_every_session(
                after=after, limit=BATCH, event=event, keep_ended_ms=self._keep_ended_ms
            )
            accounts += batch.accounts
            sessions += batch.sessions
            keys += batch.keys
            on_batch(Restored(accounts, sessions, keys))
            if batch.next is None:
                break
            after = batch.next
            await asyncio.sleep(PAUSE_SECONDS)
        requests = await self._cancel_requests(actor)
        # Only now: whoever reads it knows that nothing of before is left.
        await self._record(
            Event(
                EventName.STORE_RESTORED,
                actor=actor,
                data={"accounts": accounts, "sessions": sessions, "keys": keys, "requests": requests},
            )
        )
        done = {"accounts": accounts, "sessions": sessions, "keys": keys, "requests": requests}
        _log.info("every session was ended after a restore", extra=done)
        return Restored(accounts, sessions, keys, requests)
