"""The contract of notices: mails that go with the record of an act, to an address that was proved, and not too many."""

import asyncio
import os
from collections.abc import Callable

import pytest

from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.core.mails import MailKind
from limen.core.notices import Notice, bound_of
from limen.features.accounts.store import Account
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    new_session,
)
from limen.testing.contracts.recovery import ADDRESS, verified

NEW_DEVICE = MailKind.NEW_DEVICE
MOST = bound_of(NEW_DEVICE).most


def told(account: Account, kind: MailKind = NEW_DEVICE) -> Notice:
    """Return a notice to the account."""
    return Notice(uuid7(), kind.value, {"time": "now"}, account.id)


async def log_in(storage: Storage, account: Account, **changes: object) -> bool:
    """Open a session with a notice; tell whether it was opened."""
    record = event(EventName.LOGIN_SUCCEEDED, notice=told(account))
    return await storage.issuing.open(new_session(account, os.urandom(32), **changes), record) is not None


async def queued(storage: Storage) -> list[str]:
    """Return the kinds of all mails that wait."""
    kinds = []
    while (claimed := await storage.mails.claim(lease_ms=KEEP_ENDED)) is not None:
        kinds.append(claimed.kind)
        await storage.mails.finish(claimed)
    return kinds


class NoticesContract(Contract):
    """`limen.core.events.Event.notice`, wherever an event is written."""

    async def test_it_is_written_with_the_act(self, storage: Storage) -> None:
        """To the verified address of its account, once; the record of the act knows nothing of it."""
        account = await verified(storage)
        assert await log_in(storage, account)
        claimed = await storage.mails.claim(lease_ms=KEEP_ENDED)
        assert claimed is not None
        assert (claimed.kind, claimed.recipient, claimed.account_id) == (NEW_DEVICE, ADDRESS, account.id)
        assert claimed.data == {"time": "now"}
        assert await storage.mails.claim(lease_ms=KEEP_ENDED) is None
        [record] = await all_events(storage, EventName.LOGIN_SUCCEEDED)
        assert "now" not in str(record)

    async def test_an_act_that_does_not_happen_tells_nothing(self, storage: Storage) -> None:
        """A login that the door refuses, a session that is over already, and what could not be recorded."""
        account = await verified(storage)
        assert not await log_in(storage, account, account_epoch=account.session_epoch + 1)
        opened = await a_session(storage, account)

        async def end(record: object) -> bool:
            return await storage.sessions.end(
                opened.sid,
                account_id=account.id,
                reason=EndReason.REUSE,
                event=record,  # type: ignore[arg-type]
                keep_ended_ms=KEEP_ENDED,
            )

        notice = told(account, MailKind.SESSION_STOLEN)
        with pytest.raises(TypeError):
            await end(event(data=BROKEN_EVENT.data, notice=notice))
        assert await queued(storage) == []
        assert await end(event(EventName.REFRESH_REUSED, notice=notice))
        assert not await end(event(EventName.REFRESH_REUSED, notice=told(account, MailKind.SESSION_STOLEN)))
        assert await queued(storage) == [MailKind.SESSION_STOLEN]

    async def test_nobody_is_told_at_an_address_that_is_not_proved(self, storage: Storage) -> None:
        """It may be a stranger's: they would be told of somebody else's account."""
        assert await log_in(storage, await an_account(storage, email="stranger@example.org"))
        assert await log_in(storage, await an_account(storage))
        assert await queued(storage) == []

    async def test_of_one_kind_there_are_not_too_many(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Each account and each kind has its own bound, also for what was sent; after its time there are more."""
        account, other = await verified(storage), await verified(storage, "other@example.org")
        for number in range(MOST + 2):
            assert await log_in(storage, account)
            assert await queued(storage) == [NEW_DEVICE][: int(number < MOST)]
        assert await log_in(storage, other)
        assert await queued(storage) == [NEW_DEVICE]
        turn_clock(DAY + 1)
        assert await log_in(storage, account)
        assert await queued(storage) == [NEW_DEVICE]

    async def test_many_at_once_are_bounded_too(self, storage: Storage, peer: Storage) -> None:
        """Of twenty logins at the same moment, in two processes, all are opened, and as many told as one by one."""
        account = await verified(storage)
        done = await asyncio.gather(*(log_in((storage, peer)[n % 2], account) for n in range(20)))
        assert all(done)
        assert await queued(storage) == [NEW_DEVICE] * MOST
