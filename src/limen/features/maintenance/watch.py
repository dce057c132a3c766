"""Notices a database that went back while this process runs: a restore, or a failover to a replica that lagged."""

import logging

from limen.core import metrics
from limen.core.events import Event, EventName, EventSink, Outcome
from limen.features.maintenance.store import EventMark, MaintenanceStore

_log = logging.getLogger(__name__)

LOOK_BACK = 1_000
"""Numbers of records are not committed in their order: so many are read again."""


class RollbackWatch:
    """Remembers the newest record of the audit trail that it saw, and looks whether it is still there.

    A record that was read was committed, is never changed and its number never used twice. That its number is there is
    not enough: a busy server has used it again before anybody looks. So its time and its name are compared, too.

    It takes no service away. Which tokens came back to life is not known, and a failover that lost 20 ms must not log
    everybody out, or stop everybody, without somebody's decision: it says so loudly until `limen db restored` was run.

    Args:
        store: where the records are.
        record: writes the event.

    Attributes:
        rolled_back: whether the database went back, and nobody has run `limen db restored` since.
    """

    def __init__(self, store: MaintenanceStore, *, record: EventSink) -> None:
        self._store = store
        self._record = record
        self._seen: EventMark | None = None
        self._restored_after = 0
        self.rolled_back = False

    async def look(self) -> None:
        """Compare what is there with what was seen the last time.

        Raises:
            Unavailable: the database does not answer; what was seen stays remembered.
        """
        seen = self._seen
        marks = await self._store.newest_event(0 if seen is None else seen.seq)
        newest = marks[-1] if marks else None
        self._seen = newest
        if seen is not None and seen not in marks:
            self.rolled_back = True
            self._restored_after = 0 if newest is None else newest.seq
            await self._tell(seen, newest)
        elif self.rolled_back and newest is not None:
            self.rolled_back = not await self._store.was_restored_after(self._restored_after)
            self._restored_after = max(self._restored_after, newest.seq - LOOK_BACK)

    async def _tell(self, seen: EventMark, newest: EventMark | None) -> None:
        metrics.ROLLBACKS.add()
        data = {"seen": seen.seq, "newest": 0 if newest is None else newest.seq}
        _log.error("the store was rolled back: a record that was there is gone; run `limen db restored`", extra=data)
        await self._record(Event(EventName.STORE_ROLLED_BACK, Outcome.FAILURE, actor="system", data=data))
