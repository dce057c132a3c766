"""The contract of what lies about an account: it is read for its owner, and erased when the account is deleted."""

import asyncio
from collections.abc import Callable

from limen.core.events import EventName
from limen.storage import Storage
from limen.testing.contracts.contract import KEEP_ENDED, SECOND, Contract, a_session, an_account, event


async def _delete(storage: Storage, account_id: str) -> None:
    deleted = event(EventName.ACCOUNT_DELETED)
    assert await storage.accounts.delete(account_id, event=deleted, keep_ended_ms=KEEP_ENDED)


class PersonalDataContract(Contract):
    """`PersonalDataStore`."""

    async def test_what_lies_about_an_account_is_read(self, storage: Storage) -> None:
        """Its row, its roles and its sessions, each under its name; nothing of another account, and no hash."""
        await storage.roles.sync({"maker": frozenset()}, event())
        ada = await an_account(storage, username="ada", email="ada@example.org", roles=frozenset({"maker"}))
        bob = await an_account(storage, username="bob")
        mine, other = await a_session(storage, ada), await a_session(storage, bob)
        told = await storage.personal_data.about(ada.id)
        assert told is not None
        (account,) = told["account"]
        assert (account["id"], account["username"], account["email"]) == (ada.id, "ada", "ada@example.org")
        assert (bool(account["is_password_set"]), bool(account["is_email_verified"])) == (True, False)
        assert [row["role"] for row in told["roles"]] == ["maker"]
        assert [row["id"] for row in told["sessions"]] == [mine.sid]
        assert other.sid not in repr(told)
        assert ada.password_hash is not None
        assert ada.password_hash not in repr(told)

    async def test_a_deleted_account_has_nothing(self, storage: Storage) -> None:
        """Nor has an id that no account has."""
        ada = await an_account(storage)
        await _delete(storage, ada.id)
        assert await storage.personal_data.about(ada.id) is None
        assert await storage.personal_data.about("01a206dd-3a09-70bf-9935-7af967c47223") is None


class ErasureContract(Contract):
    """`ErasureStore`, and what a deletion writes down for it."""

    async def test_a_deletion_is_to_be_erased_once(self, storage: Storage) -> None:
        """It is claimed with who deleted it, by one caller at a time, and not again when it was done."""
        ada = await an_account(storage)
        assert await storage.erasures.claim(lease_ms=SECOND) is None
        await _delete(storage, ada.id)
        claimed = await storage.erasures.claim(lease_ms=60 * SECOND)
        assert claimed is not None
        assert (claimed.account_id, claimed.actor) == (ada.id, event().actor)
        assert await storage.erasures.claim(lease_ms=60 * SECOND) is None
        await storage.erasures.done(ada.id)
        assert await storage.erasures.claim(lease_ms=60 * SECOND) is None

    async def test_what_is_not_done_comes_back(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """After its time another process gets what one has claimed and not done."""
        ada = await an_account(storage)
        await _delete(storage, ada.id)
        assert await storage.erasures.claim(lease_ms=60 * SECOND) is not None
        turn_clock(61 * SECOND)
        again = await storage.erasures.claim(lease_ms=60 * SECOND)
        assert again is not None
        assert again.account_id == ada.id

    async def test_each_is_claimed_by_one(self, storage: Storage, peer: Storage) -> None:
        """Of many who ask at once each gets another one, or none."""
        ids = [(await an_account(storage)).id for _ in range(5)]
        for account_id in ids:
            await _delete(storage, account_id)
        asked = [each.erasures.claim(lease_ms=60 * SECOND) for each in (storage, peer) for _ in range(10)]
        got = [each.account_id for each in await asyncio.gather(*asked) if each is not None]
        while (more := await storage.erasures.claim(lease_ms=60 * SECOND)) is not None:
            got.append(more.account_id)
        assert sorted(got) == sorted(ids)
