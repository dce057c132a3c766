"""The contract of recovery: proofs that a mail carries, and the addresses that they proved."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.core.mails import ClaimedMail, MailKind, NewMail
from limen.core.notices import Notice
from limen.features.accounts.store import Account, AccountStatus
from limen.features.recovery.store import NewProof, Prepared, Preparing, Purpose, Verified
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    KEEP_ENDED,
    NEW_HASH,
    OLD_HASH,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    digest,
    event,
)

LIFETIME = 30 * 60 * SECOND
LEASE = 60 * SECOND
ADDRESS = "ada@example.org"
THIRD_HASH = "$scheme$of-the-third-one"


async def ask(
    storage: Storage, recipient: str = ADDRESS, *, account: Account | None = None, verify: bool = False
) -> None:
    """Queue the mail that is to carry a proof."""
    kind = MailKind.VERIFY if verify else MailKind.RESET
    mail = NewMail(uuid7(), kind.value, recipient, None, LIFETIME)
    if account is not None:
        mail = mail_for(await now(storage, account), kind, recipient)
    assert await storage.mails.queue(mail, event(EventName.PASSWORD_RESET_REQUESTED))


def mail_for(seen: Account, kind: MailKind, recipient: str) -> NewMail:
    """Return the mail for an account as it was read."""
    return NewMail(
        uuid7(),
        kind.value,
        recipient,
        seen.id,
        LIFETIME,
        account_epoch=seen.session_epoch,
        account_email=seen.email,
    )


async def prepare(
    storage: Storage,
    *,
    verify: bool = False,
    claimed: ClaimedMail | None = None,
    finishing: bool = True,
    **changes: object,
) -> bytes | Preparing:
    """Claim the next mail, unless one was claimed, store a proof for it, and finish it; return the token."""
    if claimed is None:
        claimed = await storage.mails.claim(lease_ms=LEASE)
    assert claimed is not None
    token = os.urandom(32)
    purpose = Purpose.VERIFY if verify else Purpose.RESET
    proof = NewProof(purpose, digest(token), b"sealed", LIFETIME, **changes)  # type: ignore[arg-type]
    prepared = await storage.recovery.prepare(claimed, proof, event(EventName.RECOVERY_LINK_MADE))
    if isinstance(prepared, Preparing):
        await storage.mails.drop(claimed)
        return prepared
    if finishing:
        await storage.mails.finish(claimed)
    return token


async def proof_of(storage: Storage, recipient: str = ADDRESS, **how: object) -> bytes:
    """Ask for a mail and return the token in it."""
    verify = bool(how.get("verify", False))
    await ask(storage, recipient, **how)  # type: ignore[arg-type]
    token = await prepare(storage, verify=verify)
    assert isinstance(token, bytes)
    return token


async def verified(storage: Storage, email: str = ADDRESS) -> Account:
    """Make an account whose address is verified."""
    account = await an_account(storage, email=email)
    token = await proof_of(storage, email, account=account, verify=True)
    assert await verify(storage, token) is Verified.DONE
    return account


async def verify(storage: Storage, token: bytes, notice: Notice | None = None) -> Verified:
    """Show the token of a verification."""
    return await storage.recovery.verify_email(digest(token), event=event(EventName.EMAIL_VERIFIED), notice=notice)


async def reset(storage: Storage, token: bytes, new_hash: str = NEW_HASH) -> str | None:
    """Show the token of a reset."""
    return await storage.recovery.reset_password(
        digest(token), new_hash=new_hash, event=event(EventName.PASSWORD_RESET), notice=None, keep_ended_ms=KEEP_ENDED
    )


async def now(storage: Storage, account: Account) -> Account:
    """Read the account again."""
    found = await storage.accounts.by_id(account.id)
    assert found is not None
    return found


class ResetContract(Contract):
    """`RecoveryStore.prepare` for a reset, and `reset_password`."""

    async def test_a_reset_sets_the_password_and_nothing_else(
        self, storage: Storage, require_second_factor: Callable[[str], Awaitable[None]]
    ) -> None:
        """The epoch is raised; status, roles and the second factor stay; nobody is logged in; the trail has it."""
        account = await verified(storage)
        await require_second_factor(account.id)
        assert await reset(storage, await proof_of(storage)) == account.id
        after = await now(storage, account)
        assert (after.password_hash, after.session_epoch) == (NEW_HASH, account.session_epoch + 1)
        assert (after.status, after.roles, after.email) == (account.status, account.roles, ADDRESS)
        assert after.second_factor_required
        assert not await storage.sessions.of_account(account.id, limit=10, after=None)
        [told] = await all_events(storage, EventName.PASSWORD_RESET)
        assert (told.actor, told.target) == (account.id, account.id)

    async def test_a_proof_works_once(self, storage: Storage) -> None:
        """Shown again it is nothing, and changes nothing."""
        account = await verified(storage)
        token = await proof_of(storage)
        assert await reset(storage, token) == account.id
        assert await reset(storage, token, THIRD_HASH) is None
        assert (await now(storage, account)).password_hash == NEW_HASH

    async def test_of_fifty_at_once_one_resets(self, storage: Storage, peer: Storage) -> None:
        """However many show one proof at the same time, one password is set and one record written."""
        account = await verified(storage)
        token = await proof_of(storage)
        hashes = [f"$scheme$number-{n}" for n in range(50)]
        done = await asyncio.gather(*(reset((storage, peer)[n % 2], token, each) for n, each in enumerate(hashes)))
        assert [each for each in done if each is not None] == [account.id]
        assert (await now(storage, account)).password_hash == hashes[done.index(account.id)]
        assert len(await all_events(storage, EventName.PASSWORD_RESET)) == 1

    async def test_a_newer_proof_ends_the_one_before(self, storage: Storage) -> None:
        """Of two the older one is nothing, and the newer one works."""
        account = await verified(storage)
        older, newer = await proof_of(storage), await proof_of(storage)
        assert await reset(storage, older) is None
        assert await reset(storage, newer) == account.id

    async def test_a_proof_ends_by_the_clock(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """After its lifetime it is nothing; a day later the row is gone."""
        await verified(storage)
        token = await proof_of(storage)
        turn_clock(LIFETIME + SECOND)
        assert await storage.recovery.owner(Purpose.RESET, digest(token)) is None
        assert await reset(storage, token) is None

    async def test_a_proof_is_good_for_one_purpose(self, storage: Storage) -> None:
        """That of an address resets no password, and that of a reset verifies no address."""
        account = await verified(storage)
        of_address = await proof_of(storage, account=account, verify=True)
        of_reset = await proof_of(storage)
        assert await reset(storage, of_address) is None
        assert await verify(storage, of_reset) is Verified.INVALID
        assert await verify(storage, of_address) is Verified.DONE
        assert await reset(storage, of_reset) == account.id

    @pytest.mark.parametrize("act", ["password", "temporary", "email", "all-out", "disabled", "restored", "by-hand"])
    async def test_what_ends_a_proof(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], act: str
    ) -> None:
        """A change of password or address, leaving everywhere, switching off, and a restored backup."""
        account = await verified(storage)
        token = await proof_of(storage)
        other = await proof_of(storage, "new@example.org", account=account, verify=True)
        if act == "by-hand":
            await set_status(account.id, "blocked")
        else:
            await acts_that_end(storage, account)[act]()
        before = await now(storage, account)
        assert await storage.recovery.owner(Purpose.RESET, digest(token)) is None
        assert await reset(storage, token, THIRD_HASH) is None
        assert await verify(storage, other) is Verified.INVALID
        assert await now(storage, account) == before

    async def test_every_session_ends(self, storage: Storage) -> None:
        """Each of them is deleted and listed as ended."""
        account = await verified(storage)
        sessions = [await a_session(storage, account) for _ in range(3)]
        assert await reset(storage, await proof_of(storage)) == account.id
        assert not await storage.sessions.of_account(account.id, limit=10, after=None)
        ended = {each.sid for each in await storage.sessions.ended_since(0)}
        assert ended == {session.sid for session in sessions}

    async def test_every_other_proof_ends(self, storage: Storage) -> None:
        """A change of address that was begun with the old password is not finished after the reset."""
        account = await verified(storage)
        stolen = await proof_of(storage, "eve@example.org", account=account, verify=True)
        assert await reset(storage, await proof_of(storage)) == account.id
        assert await verify(storage, stolen) is Verified.INVALID
        assert (await now(storage, account)).email == ADDRESS

    @pytest.mark.parametrize("recipient", ["eve@example.org", "ada@example.com", "%", ADDRESS.upper()])
    async def test_a_strange_address_is_nobodys(self, storage: Storage, recipient: str) -> None:
        """No proof is stored, and there is no record of one."""
        await verified(storage)
        made = len(await all_events(storage, EventName.RECOVERY_LINK_MADE))
        await ask(storage, recipient)
        assert await prepare(storage) is Preparing.NOBODY
        assert len(await all_events(storage, EventName.RECOVERY_LINK_MADE)) == made

    async def test_an_address_that_was_not_proved_resets_nothing(self, storage: Storage) -> None:
        """Whoever registers with somebody else's address hands them no account, and gets none."""
        await an_account(storage, email=ADDRESS)
        await ask(storage)
        assert await prepare(storage) is Preparing.NOBODY

    async def test_a_switched_off_account_gets_no_proof(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Nor does one of a status that this version does not know."""
        account = await verified(storage)
        for status in ("disabled", "blocked", "frozen"):
            await set_status(account.id, status)
            await ask(storage)
            assert await prepare(storage) is Preparing.NOBODY

    async def test_an_administrator_may_send_it_to_an_address_that_was_not_proved(self, storage: Storage) -> None:
        """Who then shows the proof has proved the address."""
        account = await an_account(storage, email=ADDRESS)
        await ask(storage, account=account)
        token = await prepare(storage, to_any_address=True)
        assert isinstance(token, bytes)
        assert await storage.recovery.verified_email(account.id) is None
        assert await reset(storage, token) == account.id
        assert await storage.recovery.verified_email(account.id) == ADDRESS

    async def test_the_token_is_nowhere_in_the_database(
        self, storage: Storage, stored_bytes: Callable[[], bytes]
    ) -> None:
        """Its digest is, and what was sealed of it is gone with the mail."""
        await verified(storage)
        token = await proof_of(storage)
        await storage.ping()
        assert token not in stored_bytes()
        assert token.hex().encode() not in stored_bytes().lower()

    async def test_a_mail_that_another_process_took_over_gets_no_second_proof(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """The proof of the one that has the lease counts; the one that was slow writes nothing."""
        account = await verified(storage)
        await ask(storage)
        slow = await storage.mails.claim(lease_ms=LEASE)
        turn_clock(LEASE + SECOND)
        assert slow is not None
        token = await prepare(storage)
        assert isinstance(token, bytes)
        late = NewProof(Purpose.RESET, digest(b"late"), b"sealed", LIFETIME)
        assert await storage.recovery.prepare(slow, late, event()) is Preparing.NOBODY
        assert await reset(storage, token) == account.id

    async def test_what_was_prepared_is_there_at_the_next_attempt(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """The mail that is tried again carries the same sealed token, until the same time."""
        account = await verified(storage)
        await ask(storage)
        claimed = await storage.mails.claim(lease_ms=LEASE)
        assert claimed is not None
        proof = NewProof(Purpose.RESET, digest(b"t"), b"sealed for the row", LIFETIME)
        prepared = await storage.recovery.prepare(claimed, proof, event())
        assert isinstance(prepared, Prepared)
        assert (prepared.account_id, prepared.username) == (account.id, account.username)
        await storage.mails.put_off(claimed, failure="refused", again_ms=SECOND)
        turn_clock(2 * SECOND)
        again = await storage.mails.claim(lease_ms=LEASE)
        assert again is not None
        assert (again.sealed, again.account_id) == (b"sealed for the row", account.id)
        assert again.expires_at == prepared.expires_at

    async def test_a_reset_without_its_record_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, the password is the old one and the proof still works."""
        account = await verified(storage)
        token = await proof_of(storage)
        with pytest.raises(Exception, match=r".+"):
            await storage.recovery.reset_password(
                digest(token), new_hash=THIRD_HASH, event=BROKEN_EVENT, notice=None, keep_ended_ms=KEEP_ENDED
            )
        assert (await now(storage, account)).password_hash == OLD_HASH
        assert await reset(storage, token) == account.id


class VerifyContract(Contract):
    """`RecoveryStore.prepare` for an address, and `verify_email`."""

    async def test_an_address_is_verified_by_its_proof(self, storage: Storage) -> None:
        """Not before, and once."""
        account = await an_account(storage, email=ADDRESS)
        token = await proof_of(storage, account=account, verify=True)
        assert await storage.recovery.verified_email(account.id) is None
        assert await verify(storage, token) is Verified.DONE
        assert await storage.recovery.verified_email(account.id) == ADDRESS
        assert await verify(storage, token) is Verified.INVALID

    async def test_a_proof_is_of_the_very_address(self, storage: Storage) -> None:
        """An address that is written after the mail was sent is not verified by it."""
        account = await an_account(storage, email=ADDRESS)
        token = await proof_of(storage, account=account, verify=True)
        await storage.accounts.set_email(account.id, "other@example.org", event=event(EventName.EMAIL_CHANGED))
        assert await verify(storage, token) is Verified.INVALID
        assert await storage.recovery.verified_email(account.id) is None

    async def test_a_changed_address_is_not_verified(self, storage: Storage) -> None:
        """Whoever writes another one, what was proved of the one before says nothing of it; and that one is free."""
        account = await verified(storage)
        await storage.accounts.set_email(account.id, "other@example.org", event=event(EventName.EMAIL_CHANGED))
        assert await storage.recovery.verified_email(account.id) is None
        await storage.accounts.set_email(account.id, ADDRESS, event=event(EventName.EMAIL_CHANGED))
        assert await storage.recovery.verified_email(account.id) is None
        assert (await verified(storage)).email == ADDRESS

    async def test_an_address_changes_when_it_is_proved(self, storage: Storage) -> None:
        """Until then it is the old one; then the old one is told, it is free, and a reset goes to the new one."""
        account = await verified(storage)
        token = await proof_of(storage, "new@example.org", account=account, verify=True)
        pending = await proof_of(storage)
        assert (await now(storage, account)).email == ADDRESS
        assert await verify(storage, token, Notice(uuid7(), MailKind.EMAIL_CHANGED.value)) is Verified.DONE
        assert await storage.recovery.verified_email(account.id) == "new@example.org"
        assert await reset(storage, pending) is None
        notice = await storage.mails.claim(lease_ms=LEASE)
        assert notice is not None
        assert (notice.recipient, notice.kind) == (ADDRESS, MailKind.EMAIL_CHANGED)
        await storage.mails.finish(notice)
        assert await reset(storage, await proof_of(storage, "new@example.org")) == account.id
        assert (await verified(storage)).id != account.id

    async def test_an_address_is_one_accounts(self, storage: Storage) -> None:
        """Where another account has proved it, no proof is made, and one that was made before is refused."""
        second = await an_account(storage, email=ADDRESS)
        early = await proof_of(storage, account=second, verify=True)
        first = await verified(storage)
        await ask(storage, account=second, verify=True)
        assert await prepare(storage, verify=True) is Preparing.TAKEN
        assert await verify(storage, early) is Verified.TAKEN
        assert await storage.recovery.verified_email(first.id) == ADDRESS
        assert await storage.recovery.verified_email(second.id) is None

    async def test_of_twenty_accounts_one_gets_the_address(self, storage: Storage, peer: Storage) -> None:
        """However many prove it at once."""
        accounts = [await an_account(storage, email=ADDRESS) for _ in range(20)]
        tokens = [await proof_of(storage, account=account, verify=True) for account in accounts]
        done = await asyncio.gather(*(verify((storage, peer)[n % 2], token) for n, token in enumerate(tokens)))
        assert sorted(done) == sorted([Verified.DONE, *[Verified.TAKEN] * 19])
        winner = accounts[done.index(Verified.DONE)]
        assert await storage.recovery.verified_email(winner.id) == ADDRESS

    async def test_who_is_deleted_leaves_the_address(self, storage: Storage) -> None:
        """It is free, and nothing of it is kept for the account that was."""
        account = await verified(storage)
        await storage.accounts.delete(account.id, event=event(EventName.ACCOUNT_DELETED), keep_ended_ms=KEEP_ENDED)
        assert await storage.recovery.verified_email(account.id) is None
        assert (await verified(storage)).id != account.id


def acts_that_end(storage: Storage, account: Account) -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that ends a proof."""

    def changed() -> Awaitable[object]:
        return storage.accounts.change_password(
            account.id, seen_hash=OLD_HASH, new_hash=NEW_HASH, event=event(), end_others=True
        )

    def temporary() -> Awaitable[object]:
        return storage.accounts.set_temporary_password(
            account.id, new_hash=NEW_HASH, lifetime_ms=SECOND, event=event(), keep_ended_ms=KEEP_ENDED
        )

    def another_email() -> Awaitable[object]:
        return storage.accounts.set_email(account.id, "other@example.org", event=event())

    def all_out() -> Awaitable[object]:
        return storage.sessions.end_all(account.id, reason=EndReason.LOGOUT, event=event(), keep_ended_ms=KEEP_ENDED)

    def disabled() -> Awaitable[object]:
        return storage.accounts.change_status(
            account.id,
            of=AccountStatus.ACTIVE,
            to=AccountStatus.DISABLED,
            event=event(),
            keep_ended_ms=KEEP_ENDED,
        )

    def restored() -> Awaitable[object]:
        return storage.maintenance.end_every_session(after=None, limit=100, event=event(), keep_ended_ms=KEEP_ENDED)

    return {
        "password": changed,
        "temporary": temporary,
        "email": another_email,
        "all-out": all_out,
        "disabled": disabled,
        "restored": restored,
    }
