"""The contract of the cap on sessions: so many live at a time, whoever opens them at the same moment."""

import asyncio

from limen.authn.records import NewSession, SessionCap
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account
from limen.storage import Storage
from limen.testing.contracts.contract import KEEP_ENDED, Contract, all_events, an_account, event, new_session

MOST = 3


def capped(account: Account, most: int = MOST, **changes: object) -> NewSession:
    """Return a session of an account that may have so many."""
    told = event(EventName.SESSION_ENDED, target="", data={"reason": "displaced"})
    return new_session(account, b"s", cap=SessionCap(most, KEEP_ENDED, told), **changes)


async def living(storage: Storage, account: Account) -> list[str]:
    """Return the ids of the account's living sessions, the newest first."""
    return [each.sid for each in await storage.sessions.of_account(account.id, limit=100, after=None)]


class SessionCapContract(Contract):
    """`IssuingStore.open` with a cap."""

    async def test_the_oldest_of_too_many_end(self, storage: Storage) -> None:
        """With the new one there are as many as may be; what ended is listed as such, and recorded."""
        account = await an_account(storage)
        opened = sorted(uuid7() for _ in range(5))  # of two opened in one millisecond the id tells which is older
        for sid, kind in zip(opened, ("refresh", "cookie", "refresh", "refresh", "cookie"), strict=True):
            session = capped(account, sid=sid, kind=kind)
            assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is not None
        assert await living(storage, account) == opened[:1:-1]
        assert {each.sid for each in await storage.sessions.ended_since(0)} == {*opened[:2]}
        ended = await all_events(storage, EventName.SESSION_ENDED)
        assert sorted(each.target for each in ended) == opened[:2]
        assert len(await all_events(storage, EventName.LOGIN_SUCCEEDED)) == 5

    async def test_of_many_at_the_same_moment_as_many_live_as_may(self, storage: Storage, peer: Storage) -> None:
        """Five too many in two processes, round after round: never one more, and never one less."""
        account = await an_account(storage)
        for _ in range(3):
            stores = [(storage, peer)[number % 2] for number in range(MOST + 5)]
            asked = [each.issuing.open(capped(account), event(EventName.LOGIN_SUCCEEDED)) for each in stores]
            assert None not in await asyncio.gather(*asked)
            assert len(await living(storage, account)) == MOST
        assert len(await all_events(storage, EventName.SESSION_ENDED)) == 3 * (MOST + 5) - MOST

    async def test_one_is_the_smallest_cap(self, storage: Storage) -> None:
        """A login ends the one before."""
        account = await an_account(storage)
        for _ in range(3):
            session = capped(account, 1)
            assert await storage.issuing.open(session, event()) is not None
            assert await living(storage, account) == [session.sid]

    async def test_what_is_refused_ends_nothing(self, storage: Storage) -> None:
        """Neither does an account's session end another account's."""
        account, other = await an_account(storage), await an_account(storage)
        mine, theirs = capped(account, 1), capped(other, 1)
        assert await storage.issuing.open(mine, event()) is not None
        assert await storage.issuing.open(theirs, event()) is not None
        assert await storage.issuing.open(capped(account, 1, account_epoch=7), event()) is None
        assert await living(storage, account) == [mine.sid]
        assert await living(storage, other) == [theirs.sid]

    async def test_without_a_cap_there_is_none(self, storage: Storage) -> None:
        """As many as log in."""
        account = await an_account(storage)
        for _ in range(MOST + 2):
            assert await storage.issuing.open(new_session(account, b"s"), event()) is not None
        assert len(await living(storage, account)) == MOST + 2
