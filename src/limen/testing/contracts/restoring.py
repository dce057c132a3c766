"""The contract of maintenance: ending everything after a restore, and marks by which a rollback is noticed."""

import asyncio
from dataclasses import replace

import pytest

from limen.core.events import EventName
from limen.features.accounts.store import AccountStatus
from limen.features.maintenance.store import EndedBatch, EventMark
from limen.storage import Storage
from limen.testing.contracts.api_keys import a_key, revoke, state
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    Contract,
    a_session,
    all_events,
    an_account,
    event,
    new_session,
    rotate,
)


async def end_next(storage: Storage, after: str | None = None, limit: int = 100) -> EndedBatch:
    """End the sessions of the next accounts."""
    return await storage.maintenance.end_every_session(
        after=after,
        limit=limit,
        event=event(EventName.SESSIONS_ENDED, data={"reason": "restored"}),
        keep_ended_ms=KEEP_ENDED,
    )


async def end_everything(storage: Storage, limit: int = 100) -> list[EndedBatch]:
    """End the sessions of all accounts, so many in a step, and return the steps."""
    batches = [await end_next(storage, limit=limit)]
    while batches[-1].next is not None:
        batches.append(await end_next(storage, batches[-1].next, limit))
    return batches


class RestoringContract(Contract):
    """`MaintenanceStore`."""

    async def test_every_session_ends(self, storage: Storage, peer: Storage) -> None:
        """Each session of each account is deleted and listed for every process, and its token rotates no more."""
        accounts = [await an_account(storage) for _ in range(3)]
        opened = [await a_session(storage, account) for account in accounts for _ in range(2)]
        assert await end_everything(storage) == [EndedBatch(3, 6, None)]
        assert {entry.sid for entry in await peer.sessions.ended_since(0)} == {each.sid for each in opened}
        for each in opened:
            assert await peer.sessions.read(each.sid) is None
            assert await rotate(peer, each, b"next") is None

    async def test_every_epoch_is_raised_once(self, storage: Storage) -> None:
        """Also that of an account without a session, and of one that is switched off: it may be on again tomorrow."""
        accounts = [await an_account(storage) for _ in range(5)]
        await storage.accounts.change_status(
            accounts[0].id,
            of=AccountStatus.ACTIVE,
            to=AccountStatus.DISABLED,
            event=event(EventName.ACCOUNT_DISABLED),
            keep_ended_ms=KEEP_ENDED,
        )
        before = [await storage.accounts.by_id(account.id) for account in accounts]
        await end_everything(storage, limit=2)
        after = [await storage.accounts.by_id(account.id) for account in accounts]
        assert [one.session_epoch for one in after if one] == [one.session_epoch + 1 for one in before if one]
        assert after == [replace(one, session_epoch=one.session_epoch + 1) for one in before if one]

    @pytest.mark.parametrize(("count", "steps"), [(0, [0]), (4, [2, 2, 0]), (5, [2, 2, 1])])
    async def test_it_goes_in_steps(self, storage: Storage, count: int, steps: list[int]) -> None:
        """A step takes no more accounts than it was told, and following ``next`` meets each once."""
        for account in [await an_account(storage) for _ in range(count)]:
            await a_session(storage, account)
        batches = await end_everything(storage, limit=2)
        assert [batch.accounts for batch in batches] == steps
        assert [batch.sessions for batch in batches] == steps

    async def test_a_step_tells_what_it_did(self, storage: Storage) -> None:
        """The record of a step is written with it and has its numbers; a step without accounts writes none."""
        await a_session(storage, await an_account(storage))
        await end_everything(storage, limit=1)
        records = await all_events(storage, EventName.SESSIONS_ENDED)
        assert [record.data for record in records] == [{"reason": "restored", "accounts": 1, "sessions": 1, "keys": 0}]

    async def test_a_step_without_its_record_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the sessions go on and nothing is listed."""
        opened = await a_session(storage, await an_account(storage))
        with pytest.raises(Exception, match=r".+"):
            await storage.maintenance.end_every_session(
                after=None, limit=10, event=BROKEN_EVENT, keep_ended_ms=KEEP_ENDED
            )
        assert await storage.sessions.ended_since(0) == []
        assert await rotate(storage, opened, b"next") is not None

    async def test_stopped_in_between_it_begins_anew(self, storage: Storage) -> None:
        """The second run comes to the same end, whatever the first one had done."""
        opened = [await a_session(storage, await an_account(storage)) for _ in range(4)]
        await end_next(storage, limit=2)
        assert sum(batch.sessions for batch in await end_everything(storage, limit=3)) == 2
        assert await end_everything(storage) == [EndedBatch(4, 0, None)]
        assert len(await storage.sessions.ended_since(0)) == len(opened)

    async def test_a_login_under_way_opens_nothing(self, storage: Storage) -> None:
        """Whoever proved a password before the step finds another epoch after it."""
        account = await an_account(storage)
        await end_everything(storage)
        session = new_session(account, b"secret")
        assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is None

    async def test_logins_and_refreshes_against_it(self, storage: Storage, peer: Storage) -> None:
        """Raced, nothing that was proved before lives on, and every session that was opened is on the list."""
        for _ in range(20):
            account = await an_account(storage)
            old = await a_session(storage, account)
            born = [new_session(account, b"secret") for _ in range(3)]
            opening = [peer.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) for session in born]
            ending = asyncio.create_task(end_everything(storage))
            answers = await asyncio.gather(rotate(peer, old, b"next"), *opening)
            await ending
            for sid in (old.sid, *(session.sid for session in born)):
                assert await storage.sessions.read(sid) is None
            listed = {entry.sid for entry in await storage.sessions.ended_since(0)}
            assert {old.sid, *(answer.sid for answer in answers if answer)} <= listed

    async def test_two_at_once(self, storage: Storage, peer: Storage) -> None:
        """Two who do the same do not hold each other up, and each goes through all accounts."""
        for _ in range(12):
            await a_session(storage, await an_account(storage))
        done = await asyncio.gather(end_everything(storage, limit=5), end_everything(peer, limit=3))
        assert [sum(batch.accounts for batch in batches) for batches in done] == [12, 12]
        assert sum(batch.sessions for batches in done for batch in batches) == 12

    async def test_keys_wait_to_be_confirmed(self, storage: Storage, peer: Storage) -> None:
        """Each that is not revoked, once; a key that is made afterwards does not. One confirmed is as it was before."""
        account, other = await an_account(storage), await an_account(storage)
        kept, revoked, others = (
            await a_key(storage, account),
            await a_key(storage, account),
            await a_key(storage, other),
        )
        assert await revoke(storage, account.id, revoked)
        assert [batch.keys for batch in await end_everything(storage, limit=1)] == [1, 1, 0]
        assert [batch.keys for batch in await end_everything(storage)] == [0]
        found = await storage.accounts.by_id(account.id)
        assert found is not None
        later = await a_key(storage, replace(account, session_epoch=found.session_epoch))
        unconfirmed = {key_id: (await state(peer, key_id)).is_unconfirmed for key_id in (kept, revoked, others, later)}
        assert unconfirmed == {kept: True, revoked: False, others: True, later: False}
        listed = {key.id: key.unconfirmed for key in await peer.api_keys.of_account(account.id, limit=9, after=None)}
        assert listed == {kept: True, later: False}

        async def confirm(key_id: str, account_id: str) -> bool:
            confirmed = event(EventName.API_KEY_CONFIRMED, target=key_id)
            return await storage.api_keys.confirm(key_id, account_id=account_id, event=confirmed)

        assert not await confirm(kept, other.id)
        assert not await confirm(revoked, account.id)
        assert not await confirm("nonsense", account.id)
        assert (await state(peer, kept)).is_unconfirmed
        assert await confirm(kept, account.id)
        assert await confirm(kept, account.id)
        assert not (await state(peer, kept)).is_unconfirmed
        assert (await state(peer, others)).is_unconfirmed
        assert [each.target for each in await all_events(storage, EventName.API_KEY_CONFIRMED)] == [kept]

    async def test_the_newest_record_is_a_mark(self, storage: Storage, peer: Storage) -> None:
        """It is found again as it was, by every process, beside the newest of now; a number that is free is not."""
        assert await storage.maintenance.newest_event(0) == []
        await storage.sessions.record(event(EventName.REFRESH_REFUSED))
        (first,) = await storage.maintenance.newest_event(0)
        assert isinstance(first, EventMark)
        assert (first.event, first.seq > 0, first.time > 0) == ("refresh_refused", True, True)
        assert await peer.maintenance.newest_event(first.seq) == [first]
        for _ in range(3):
            await peer.sessions.record(event(EventName.SESSION_ENDED))
        seen, newest = await storage.maintenance.newest_event(first.seq)
        assert (seen, newest.event, newest.seq > first.seq) == (first, "session_ended", True)
        assert await storage.maintenance.newest_event(newest.seq + 1000) == [newest]

    async def test_a_restore_is_found(self, storage: Storage) -> None:
        """Its record counts from its own number on, and no other record does."""
        await storage.sessions.record(event(EventName.STORE_RESTORED))
        await storage.sessions.record(event(EventName.SESSIONS_ENDED))
        first, *_ = await all_events(storage)
        assert await storage.maintenance.was_restored_after(0)
        assert not await storage.maintenance.was_restored_after(first.seq)

    async def test_sessions_are_counted_by_secret(self, storage: Storage) -> None:
        """By the one that signed the current token: a rotation moves the session on."""
        account = await an_account(storage)
        first, *_ = [await a_session(storage, account) for _ in range(3)]
        assert await storage.maintenance.sessions_by_secret() == {"kid-1111": 3}
        assert await rotate(storage, first, b"next") is not None
        assert await storage.maintenance.sessions_by_secret() == {"kid-1111": 2, "kid-2222": 1}

    async def test_accounts_are_counted(self, storage: Storage) -> None:
        """All of them, whatever their status."""
        assert await storage.maintenance.count_accounts() == 0
        for _ in range(3):
            await an_account(storage)
        assert await storage.maintenance.count_accounts() == 3
