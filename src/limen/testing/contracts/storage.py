"""The contract of the storage as a whole: readiness, housekeeping, the audit trail."""

from collections.abc import Callable

from limen.core.events import EventName
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    DAY,
    KEEP_ENDED,
    REFRESH_TTL,
    SECOND,
    Contract,
    a_session,
    an_account,
    event,
    rotate,
)


class StorageContract(Contract):
    """`limen.storage.Storage`."""

    async def test_a_started_storage_is_ready(self, storage: Storage) -> None:
        """The ping of a database that works raises nothing, and is no store call."""
        before = storage.calls
        await storage.ping()
        assert storage.calls == before

    async def test_every_verb_is_counted(self, storage: Storage) -> None:
        """Reads and writes alike: whoever counts none made none."""
        before = storage.calls
        await storage.accounts.by_username("nobody")
        await storage.sessions.record(event())
        await storage.roles.read()
        assert storage.calls == before + 3

    async def test_sweep_takes_what_nobody_can_use(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A session goes a day after its end, the note of an ended one when its time is over; nothing else goes."""
        account = await an_account(storage)
        expired, used, ended = [await a_session(storage, account) for _ in range(3)]
        await storage.sessions.end(
            ended.sid, account_id=account.id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert await storage.sweep() == 0
        turn_clock(KEEP_ENDED + SECOND)
        assert await storage.sweep() == 1
        turn_clock(REFRESH_TTL - KEEP_ENDED - 60 * SECOND)
        assert await rotate(storage, used, b"next") is not None
        turn_clock(DAY)
        assert await storage.sweep() == 0
        turn_clock(120 * SECOND)
        assert await storage.sweep() == 1
        assert await storage.sessions.read(expired.sid) is None
        assert await storage.sessions.read(used.sid) is not None
        assert await storage.sweep() == 0

    async def test_sweep_takes_no_more_than_it_was_told(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A limit is kept to, and the rest goes the next time."""
        account = await an_account(storage)
        for _ in range(7):
            await a_session(storage, account)
        turn_clock(REFRESH_TTL + 2 * DAY)
        assert [await storage.sweep(3) for _ in range(4)] == [3, 3, 1, 0]

    async def test_the_audit_trail_is_read_in_pages(self, storage: Storage) -> None:
        """Following ``after`` meets every record once, in order."""
        for n in range(7):
            await storage.sessions.record(event(EventName.REFRESH_REFUSED, data={"n": n}))
        met: list[int] = []
        after = 0
        while page := await storage.events(limit=3, after=after):
            assert len(page) <= 3
            met += [record.data["n"] for record in page]
            after = page[-1].seq
        assert met == list(range(7))
