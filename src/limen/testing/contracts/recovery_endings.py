"""The contract of recovery: what ends a mail that waits to carry a proof, however far it is."""

from collections.abc import Awaitable, Callable

import pytest

from limen.authz.authority import Authority
from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.core.mails import MailKind
from limen.core.notices import Notice
from limen.features.accounts.store import Account, AccountStatus
from limen.features.recovery.store import Preparing, Purpose, Verified
from limen.storage import Storage
from limen.testing.contracts.account_administration import ADMINISTRATORS
from limen.testing.contracts.contract import Contract, all_events, an_account, digest, event
from limen.testing.contracts.recovery import (
    ADDRESS,
    LEASE,
    acts_that_end,
    ask,
    mail_for,
    now,
    prepare,
    proof_of,
    reset,
    verified,
    verify,
)
from limen.testing.contracts.roles import put

EVIL = "eve@example.org"
ENDINGS = ["password", "temporary", "email", "same-email", "all-out", "disabled", "restored", "reset", "address"]


class EndingContract(Contract):
    """What `take_proofs` takes, and what `RecoveryStore.prepare` and `MailStore.queue` ask for."""

    @pytest.mark.parametrize("how", ["forgot", "administrator", "change"])
    @pytest.mark.parametrize("state", ["queued", "claimed", "prepared"])
    @pytest.mark.parametrize("act", ENDINGS)
    async def test_what_ends_a_mail(
        self, storage: Storage, turn_clock: Callable[[int], None], act: str, state: str, how: str
    ) -> None:
        """Whatever ends a proof ends the mail that waits to carry one, however far it is; one that follows works."""
        account = await verified(storage)
        is_change = how == "change"
        end = await _ending(storage, account, act, is_change=is_change)
        await ask(
            storage, EVIL if is_change else ADDRESS, account=None if how == "forgot" else account, verify=is_change
        )
        claimed = None if state == "queued" else await storage.mails.claim(lease_ms=LEASE)
        token: bytes | Preparing | None = None
        if state == "prepared":
            token = await prepare(storage, verify=is_change, claimed=claimed, finishing=False)
        await end(token)
        if state == "claimed":
            assert await prepare(storage, verify=is_change, claimed=claimed) is Preparing.NOBODY
        elif isinstance(token, bytes):
            purpose = Purpose.VERIFY if is_change else Purpose.RESET
            assert await storage.recovery.owner(purpose, digest(token)) is None
        turn_clock(2 * LEASE)
        assert await storage.mails.claim(lease_ms=LEASE) is None
        after = await now(storage, account)
        if after.status is AccountStatus.ACTIVE:
            await ask(storage, "more@example.org", account=after, verify=True)
            assert isinstance(await prepare(storage, verify=True), bytes)

    @pytest.mark.parametrize("act", ["password", "temporary", "email", "all-out", "disabled", "restored"])
    async def test_a_link_that_was_judged_before_is_not_queued(self, storage: Storage, act: str) -> None:
        """While a password is being checked, what it opens may end: then nothing is asked for, and nothing written."""
        account = await verified(storage)
        seen = await now(storage, account)
        await acts_that_end(storage, account)[act]()
        asked = len(await all_events(storage))
        mail = mail_for(seen, MailKind.VERIFY, EVIL)
        assert not await storage.mails.queue(mail, event(EventName.EMAIL_VERIFICATION_REQUESTED))
        assert await storage.mails.claim(lease_ms=LEASE) is None
        assert len(await all_events(storage)) == asked

    async def test_an_end_that_knows_no_mails_ends_them(
        self, storage: Storage, peer: Storage, by_hand: Callable[[str], None]
    ) -> None:
        """A process of a version before raises the epoch and no more: no link of an account's own mail is made."""
        account = await verified(storage)
        await ask(storage, EVIL, account=account, verify=True)
        by_hand(f"UPDATE limen_accounts SET session_epoch = session_epoch + 1 WHERE id = '{account.id}'")  # noqa: S608
        assert await prepare(peer, verify=True) is Preparing.NOBODY

    async def test_the_mails_of_others_stay(self, storage: Storage) -> None:
        """What ends the one's ends nobody else's, also where the other wrote the same address without a proof."""
        await verified(storage)
        other = await an_account(storage, email=ADDRESS)
        await ask(storage)
        await acts_that_end(storage, other)["all-out"]()
        assert isinstance(await prepare(storage), bytes)

    @pytest.mark.parametrize("state", ["queued", "prepared"])
    async def test_an_administrators_link_ends_with_the_roles(
        self, storage: Storage, by_hand: Callable[[str], None], state: str
    ) -> None:
        """Who is given powers is out of reach of whoever could reach them without; the owner's own link stays."""
        await storage.roles.sync(ADMINISTRATORS, event())
        administrator, account = await an_account(storage, roles=frozenset({"chief"})), await verified(storage)
        for is_administrators in (True, False):
            read = await storage.roles.read([administrator.id, account.id])
            versions = (read.holders[each].version for each in (administrator.id, account.id))
            actor_version, target_version = versions
            authority = Authority(read.version, administrator.id, actor_version, target_version)
            mail = mail_for(await now(storage, account), MailKind.RESET, ADDRESS)
            assert await storage.mails.queue(mail, event(), authority=authority if is_administrators else None)
            token = await prepare(storage) if state == "prepared" else None
            by_hand(f"UPDATE limen_accounts SET roles_version = roles_version + 1 WHERE id = '{account.id}'")  # noqa: S608
            if token is None:
                token = await prepare(storage)
            is_alive = isinstance(token, bytes) and await reset(storage, token) is not None
            assert is_alive is not is_administrators

    @pytest.mark.parametrize("how", ["definition", "code", "separation"])
    @pytest.mark.parametrize("state", ["queued", "claimed", "prepared"])
    async def test_an_administrators_link_ends_with_what_roles_mean(
        self, storage: Storage, state: str, how: str
    ) -> None:
        """A role that the account holds gives more, without being given anew; the owner's own link stays."""
        await storage.roles.sync(ADMINISTRATORS, event())
        await put(storage, "clerk", "order:read")
        administrator = await an_account(storage, roles=frozenset({"chief"}))
        account = await verified(storage)
        for is_administrators in (True, False):
            read = await storage.roles.read([administrator.id, account.id])
            actor_version, target_version = (read.holders[each].version for each in (administrator.id, account.id))
            authority = Authority(read.version, administrator.id, actor_version, target_version)
            mail = mail_for(await now(storage, account), MailKind.RESET, ADDRESS)
            assert await storage.mails.queue(mail, event(), authority=authority if is_administrators else None)
            claimed = None if state == "queued" else await storage.mails.claim(lease_ms=LEASE)
            token = await prepare(storage, claimed=claimed) if state == "prepared" else None
            permission = f"order:{'one' if is_administrators else 'two'}"
            if how == "definition":
                await put(storage, "clerk", permission)
            elif how == "code":
                await storage.roles.sync({**ADMINISTRATORS, "maker": frozenset({permission})}, event())
            else:
                pairs = [frozenset({("clerk", "maker")}), frozenset[tuple[str, str]]()]
                await storage.roles.separate(pairs[not is_administrators], event())
            if state == "queued":
                claimed = await storage.mails.claim(lease_ms=LEASE)
            if token is None and claimed is not None:
                token = await prepare(storage, claimed=claimed)
            is_alive = isinstance(token, bytes) and await reset(storage, token) is not None
            assert is_alive is not is_administrators

    async def test_a_start_of_the_same_version_ends_no_link(self, storage: Storage) -> None:
        """Each process declares its roles; where nothing of them has changed, an administrator's link stays."""
        await storage.roles.sync(ADMINISTRATORS, event())
        administrator = await an_account(storage, roles=frozenset({"chief"}))
        account = await verified(storage)
        read = await storage.roles.read([administrator.id, account.id])
        actor_version, target_version = (read.holders[each].version for each in (administrator.id, account.id))
        mail = mail_for(await now(storage, account), MailKind.RESET, ADDRESS)
        authority = Authority(read.version, administrator.id, actor_version, target_version)
        assert await storage.mails.queue(mail, event(), authority=authority)
        token = await prepare(storage)
        await storage.roles.sync(ADMINISTRATORS, event())
        assert isinstance(token, bytes)
        assert await reset(storage, token) == account.id

    async def test_the_old_address_is_told(self, storage: Storage) -> None:
        """Where it was verified, and is another one now; who writes the same one tells nobody."""
        account = await verified(storage)
        for email in (ADDRESS, "new@example.org", "newer@example.org"):
            notice = Notice(uuid7(), MailKind.EMAIL_CHANGED.value)
            assert await storage.accounts.set_email(account.id, email, event=event(), notice=notice)
        told = await storage.mails.claim(lease_ms=LEASE)
        assert told is not None
        assert (told.recipient, told.kind) == (ADDRESS, MailKind.EMAIL_CHANGED)
        assert await storage.mails.claim(lease_ms=LEASE) is None


async def _ending(
    storage: Storage, account: Account, act: str, *, is_change: bool
) -> Callable[[object], Awaitable[None]]:
    """Return what ends; it is handed the token that was made last, if any, which took the place of one before."""
    proof: bytes | None = None
    if act == "reset":
        proof = await proof_of(storage)
    elif act == "address":
        proof = await proof_of(storage, "new@example.org", account=account, verify=True)

    async def end(newest: object) -> None:
        if act == "reset":
            token = newest if isinstance(newest, bytes) and not is_change else proof
            assert isinstance(token, bytes)
            assert await reset(storage, token) == account.id
        elif act == "address":
            token = newest if isinstance(newest, bytes) and is_change else proof
            assert isinstance(token, bytes)
            assert await verify(storage, token) is Verified.DONE
        elif act == "same-email":
            assert await storage.accounts.set_email(account.id, ADDRESS, event=event())
        else:
            await acts_that_end(storage, account)[act]()

    return end
