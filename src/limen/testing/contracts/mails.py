"""The contract of the outbox of mails."""

import asyncio
from collections.abc import Callable

import pytest

from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.core.mails import ClaimedMail, MailKind, NewMail
from limen.core.notices import Notice
from limen.features.accounts.store import NewAccount
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    NEW_HASH,
    OLD_HASH,
    SECOND,
    Contract,
    all_events,
    an_account,
    event,
)

LEASE = 60 * SECOND
ADDRESS = "ada@example.org"


def a_mail(**changes: object) -> NewMail:
    """Return a mail to be queued."""
    values: dict[str, object] = {
        "id": uuid7(),
        "kind": MailKind.RESET.value,
        "recipient": ADDRESS,
        "account_id": None,
        "lifetime_ms": 30 * 60 * SECOND,
        **changes,
    }
    return NewMail(**values)  # type: ignore[arg-type]


async def queue(storage: Storage, mail: NewMail) -> NewMail:
    """Queue it and return it."""
    assert await storage.mails.queue(mail, event(EventName.PASSWORD_RESET_REQUESTED))
    return mail


async def claim(storage: Storage) -> ClaimedMail:
    """Claim a mail that must be there."""
    claimed = await storage.mails.claim(lease_ms=LEASE)
    assert claimed is not None
    return claimed


class MailsContract(Contract):
    """`MailStore`."""

    async def test_a_mail_is_claimed_as_it_was_queued(self, storage: Storage) -> None:
        """With its id, recipient and data; the event of the act is there."""
        mail = await queue(storage, a_mail(data={"by": "ümläut"}))
        claimed = await claim(storage)
        assert (claimed.id, claimed.kind, claimed.recipient) == (mail.id, mail.kind, ADDRESS)
        assert (claimed.data, claimed.sealed, claimed.account_id) == ({"by": "ümläut"}, None, None)
        assert (claimed.attempts, claimed.is_expired) == (1, False)
        assert claimed.expires_at - claimed.created_at >= 30 * 60 * SECOND
        assert len(await all_events(storage, EventName.PASSWORD_RESET_REQUESTED)) == 1

    async def test_no_mail_without_its_act(self, storage: Storage) -> None:
        """Where the event cannot be written, there is no mail."""
        with pytest.raises(Exception, match=r".+"):
            await storage.mails.queue(a_mail(), BROKEN_EVENT)
        assert await storage.mails.claim(lease_ms=LEASE) is None

    async def test_fifty_who_claim_get_one(self, storage: Storage, peer: Storage) -> None:
        """Of all who ask at once one gets the mail."""
        await queue(storage, a_mail())
        claims = await asyncio.gather(*((storage, peer)[n % 2].mails.claim(lease_ms=LEASE) for n in range(50)))
        assert sum(claimed is not None for claimed in claims) == 1

    async def test_each_of_many_is_claimed_once(self, storage: Storage, peer: Storage) -> None:
        """Twenty mails, two processes: each is handed out once."""
        mails = [await queue(storage, a_mail()) for _ in range(20)]
        claimed: list[str] = []

        async def work(own: Storage) -> None:
            while (got := await own.mails.claim(lease_ms=LEASE)) is not None:
                claimed.append(got.id)

        await asyncio.gather(work(storage), work(peer), work(storage))
        assert sorted(claimed) == sorted(mail.id for mail in mails)

    async def test_a_lease_passes_on(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A process that died leaves the mail to another one, and can end it no more itself."""
        await queue(storage, a_mail())
        dead = await claim(storage)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        turn_clock(LEASE + SECOND)
        heir = await claim(storage)
        assert (heir.id, heir.attempts) == (dead.id, 2)
        assert not await storage.mails.finish(dead)
        assert not await storage.mails.put_off(dead, failure="x", again_ms=0)
        assert not await storage.mails.give_up(dead, event(EventName.MAIL_GIVEN_UP), failure="x")
        assert not await storage.mails.drop(dead)
        assert not await all_events(storage, EventName.MAIL_GIVEN_UP)
        assert await storage.mails.finish(heir)

    async def test_what_was_sent_is_forgotten(
        self, storage: Storage, turn_clock: Callable[[int], None], stored_bytes: Callable[[], bytes]
    ) -> None:
        """It is never claimed again, nobody can read to whom it went, and after a week the row goes as well."""
        await queue(storage, a_mail(recipient="nobody-else@example.org", data={"by": "canary-of-the-data"}))
        assert await storage.mails.finish(await claim(storage))
        assert await storage.mails.claim(lease_ms=LEASE) is None
        turn_clock(2 * LEASE)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        assert await storage.sweep() == 0
        turn_clock(7 * DAY)
        assert await storage.sweep() == 1

    async def test_what_failed_comes_again_later(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Not before its pause is over, and then with one attempt more."""
        await queue(storage, a_mail())
        assert await storage.mails.put_off(await claim(storage), failure="refused", again_ms=10 * SECOND)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        turn_clock(11 * SECOND)
        assert (await claim(storage)).attempts == 2

    async def test_what_is_given_up_is_told(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """It never comes again, and the trail says so."""
        await queue(storage, a_mail())
        given_up = event(EventName.MAIL_GIVEN_UP)
        assert await storage.mails.give_up(await claim(storage), given_up, failure="refused")
        turn_clock(DAY)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        assert len(await all_events(storage, EventName.MAIL_GIVEN_UP)) == 1

    async def test_what_is_for_nobody_is_gone(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Dropped, there is no row any more."""
        await queue(storage, a_mail())
        assert await storage.mails.drop(await claim(storage))
        turn_clock(10 * DAY)
        assert await storage.sweep() == 0

    async def test_what_nobody_takes_is_swept(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A mail that waits for a week waits for nobody: mail was switched off."""
        await queue(storage, a_mail())
        turn_clock(6 * DAY)
        assert await storage.sweep() == 0
        turn_clock(2 * DAY)
        assert await storage.sweep() == 1

    async def test_it_tells_when_its_time_is_over(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """By the database's clock."""
        await queue(storage, a_mail(lifetime_ms=10 * SECOND))
        turn_clock(11 * SECOND)
        assert (await claim(storage)).is_expired

    async def test_an_account_is_made_with_its_mail(self, storage: Storage) -> None:
        """The mail is written in the transaction of the account; a name that is taken brings none."""
        ada = await an_account(storage)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        for username, made in (("ann", True), (ada.username, False)):
            new = _new(username)
            mail = a_mail(kind=MailKind.VERIFY.value, account_id=new.id, account_epoch=0, account_email=new.email)
            assert await storage.accounts.create(new, event(EventName.ACCOUNT_CREATED), mail=mail) is made
        assert (await claim(storage)).kind == MailKind.VERIFY
        assert await storage.mails.claim(lease_ms=LEASE) is None

    async def test_a_notice_goes_to_nobody_unproved(self, storage: Storage) -> None:
        """A changed password is told to a verified address only: any other may be a stranger's."""
        account = await an_account(storage, email=ADDRESS)
        assert await storage.accounts.change_password(
            account.id,
            seen_hash=OLD_HASH,
            new_hash=NEW_HASH,
            event=event(EventName.PASSWORD_CHANGED),
            end_others=True,
            notice=Notice(uuid7(), MailKind.PASSWORD_CHANGED.value),
        )
        assert await storage.mails.claim(lease_ms=LEASE) is None

    async def test_who_is_deleted_gets_no_mail(self, storage: Storage, stored_bytes: Callable[[], bytes]) -> None:
        """What waits for them goes with the account."""
        account = await an_account(storage, email=ADDRESS)
        seen = {"account_id": account.id, "account_epoch": account.session_epoch, "account_email": account.email}
        await queue(storage, a_mail(kind=MailKind.VERIFY.value, **seen))
        await storage.accounts.delete(account.id, event=event(EventName.ACCOUNT_DELETED), keep_ended_ms=SECOND)
        assert await storage.mails.claim(lease_ms=LEASE) is None


def _new(username: str) -> NewAccount:
    return NewAccount(id=uuid7(), username=username, email=ADDRESS, password_hash=OLD_HASH)
