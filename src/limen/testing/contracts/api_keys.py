"""The contract of API keys: the two verbs that issue them, and the store."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen.authn.api_key_records import IssuedRow, KeyReplacement, KeyState, NewKey
from limen.authz.authority import Authority, AuthorityMoved
from limen.core.errors import Conflict
from limen.core.events import Event, EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account, AccountStatus, NewAccount
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    OLD_HASH,
    SECOND,
    Contract,
    all_events,
    an_account,
    digest,
    event,
    new_session,
)

ROUNDS = 10
MOST = 100
NOBODY = "00000000-0000-7000-8000-000000000000"


def new_key(account: Account, secret: bytes = b"s", **changes: object) -> NewKey:
    """Return a key to be inserted for the account as it was read."""
    key = NewKey(
        id=uuid7(),
        account_id=account.id,
        account_epoch=account.session_epoch,
        name="key",
        kid="kid-1111",
        secret_hash=digest(secret),
        scopes=None,
        networks=None,
        lifetime_ms=90 * DAY,
        created_by=account.id,
    )
    return replace(key, **changes)  # type: ignore[arg-type]


async def a_key(storage: Storage, account: Account, secret: bytes = b"s", **changes: object) -> str:
    """Insert a key and return its id."""
    key = new_key(account, secret, **changes)
    assert await storage.issuing_keys.insert_key(key, event(EventName.API_KEY_CREATED)) is not None
    return key.id


async def replace_secret(
    storage: Storage, account: Account, key_id: str, recorded: Event | None = None, **changes: object
) -> IssuedRow | None:
    """Rotate a key."""
    replacement = KeyReplacement(
        id=key_id,
        account_id=account.id,
        account_epoch=account.session_epoch,
        rotations=0,
        kid="kid-2222",
        secret_hash=digest(b"next"),
        overlap_ms=DAY,
    )
    replacement = replace(replacement, **changes)  # type: ignore[arg-type]
    told = recorded or event(EventName.API_KEY_ROTATED)
    return await storage.issuing_keys.replace_key_secret(replacement, told)


async def revoke(storage: Storage, account_id: str, key_id: str, **changes: object) -> bool:
    """Revoke a key."""
    arguments: dict[str, object] = {"event": event(EventName.API_KEY_REVOKED), "keep_ended_ms": KEEP_ENDED, **changes}
    return await storage.api_keys.revoke(key_id, account_id=account_id, **arguments)  # type: ignore[arg-type]


async def state(storage: Storage, key_id: str) -> KeyState:
    """Read a key that must be there."""
    found = await storage.api_keys.look_up(key_id)
    assert found is not None
    return found


class IssueKeysContract(Contract):
    """`KeyIssuingStore`."""

    async def test_a_key_is_stored_as_given(self, storage: Storage) -> None:
        """Hash, scopes, networks and owner are those of the request, the times one reading of the clock."""
        await storage.roles.sync({"maker": frozenset({"order:create"})}, event())
        account = await an_account(storage, roles=frozenset({"maker"}))
        key = new_key(account, scopes=("a:b", "c:d"), networks=("192.0.2.0/24",))
        issued = await storage.issuing_keys.insert_key(key, event(EventName.API_KEY_CREATED))
        found = await state(storage, key.id)
        assert issued == IssuedRow(key.id, "key", ("a:b", "c:d"), found.expires_at)
        assert (found.account_id, found.account_kind, found.account_status) == (account.id, "person", "active")
        assert (found.kid, found.secret_hash) == ("kid-1111", digest(b"s"))
        assert (found.previous_kid, found.previous_hash, found.last_used_at) == (None, None, None)
        assert (found.scopes, found.networks) == (frozenset({"a:b", "c:d"}), ("192.0.2.0/24",))
        assert found.expires_at == found.created_at + 90 * DAY
        assert (found.in_time, found.is_revoked, found.rotations) == (True, False, 0)
        assert found.roles == frozenset({"maker"})
        assert len(await all_events(storage, EventName.API_KEY_CREATED)) == 1

    async def test_without_scopes_there_are_none(self, storage: Storage) -> None:
        """No scopes is something else than an empty set of them."""
        account = await an_account(storage)
        assert (await state(storage, await a_key(storage, account))).scopes is None
        assert (await state(storage, await a_key(storage, account, scopes=()))).scopes == frozenset()

    @pytest.mark.parametrize("status", ["disabled", "blocked", "pending", "deleted", "ACTIVE", ""])
    async def test_only_an_active_account_gets_a_key(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Only the word «active» makes one, or rotates one."""
        account = await an_account(storage)
        made = await a_key(storage, account)
        await set_status(account.id, status)
        key = new_key(account)
        assert await storage.issuing_keys.insert_key(key, event()) is None
        assert await storage.api_keys.look_up(key.id) is None
        assert await replace_secret(storage, account, made) is None
        assert (await state(storage, made)).account_status == status

    async def test_another_epoch_gets_none(self, storage: Storage) -> None:
        """What was allowed before the sessions of the account were ended makes no key and rotates none."""
        account = await an_account(storage)
        made = await a_key(storage, account)
        await storage.sessions.end_all(account.id, reason=EndReason.LOGOUT_ALL, event=event(), keep_ended_ms=KEEP_ENDED)
        assert await storage.issuing_keys.insert_key(new_key(account), event()) is None
        assert await replace_secret(storage, account, made) is None
        assert await storage.issuing_keys.insert_key(new_key(account, account_epoch=1), event()) is not None

    async def test_an_unknown_account_gets_none(self, storage: Storage) -> None:
        """There is no key without an owner."""
        account = replace(await an_account(storage), id=NOBODY)
        assert await storage.issuing_keys.insert_key(new_key(account), event()) is None

    async def test_a_key_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, there is no key, and no rotation."""
        account = await an_account(storage)
        key = new_key(account)
        with pytest.raises(Exception, match=r".+"):
            await storage.issuing_keys.insert_key(key, BROKEN_EVENT)
        assert await storage.api_keys.look_up(key.id) is None

    async def test_an_authority_that_moved_makes_none(self, storage: Storage) -> None:
        """What was judged by is asked again in the transaction."""
        account, actor = await an_account(storage), await an_account(storage)
        moved = Authority(999, actor.id, 0, 0)
        with pytest.raises(AuthorityMoved):
            await storage.issuing_keys.insert_key(new_key(account, authority=moved), event())
        made = await a_key(storage, account)
        with pytest.raises(AuthorityMoved):
            await replace_secret(storage, account, made, authority=moved)
        with pytest.raises(AuthorityMoved):
            await revoke(storage, account.id, made, authority=moved)
        assert not (await state(storage, made)).is_revoked

    async def test_there_are_only_so_many(self, storage: Storage) -> None:
        """An account has a hundred living keys at most, also where the last ones are made at once."""
        account = await an_account(storage)
        for _ in range(MOST - 1):
            await a_key(storage, account)
        made = await asyncio.gather(*(a_key(storage, account) for _ in range(4)), return_exceptions=True)
        assert sum(isinstance(each, Conflict) for each in made) == 3
        revoked = (await storage.api_keys.of_account(account.id, limit=1, after=None))[0]
        assert await revoke(storage, account.id, revoked.id)
        await a_key(storage, account)

    async def test_rotation_keeps_the_secret_before(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """For the overlap, and no longer; the key lives as long again as it did when it was made."""
        account = await an_account(storage)
        made = await a_key(storage, account, lifetime_ms=10 * DAY)
        before = await state(storage, made)
        turn_clock(5 * DAY)
        issued = await replace_secret(storage, account, made)
        after = await state(storage, made)
        assert issued is not None
        assert (after.kid, after.secret_hash, after.rotations) == ("kid-2222", digest(b"next"), 1)
        assert (after.previous_kid, after.previous_hash) == (before.kid, before.secret_hash)
        assert abs(after.expires_at - before.expires_at - 5 * DAY) < 60 * SECOND
        turn_clock(DAY + SECOND)
        over = await state(storage, made)
        assert (over.previous_kid, over.previous_hash, over.secret_hash) == (None, None, digest(b"next"))

    async def test_the_secret_before_never_outlives_the_key(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A key that would have ended in an hour does not live for a day because it was rotated."""
        account = await an_account(storage)
        made = await a_key(storage, account, lifetime_ms=3_600 * SECOND)
        assert await replace_secret(storage, account, made) is not None
        turn_clock(3_600 * SECOND + SECOND)
        assert (await state(storage, made)).previous_hash is None

    async def test_rotation_of_what_is_not_to_be_rotated(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Somebody else's, one that was rotated meanwhile, a revoked and an expired one: nothing is written."""
        account, other = await an_account(storage), await an_account(storage)
        made = await a_key(storage, account)
        assert await replace_secret(storage, other, made) is None
        assert await replace_secret(storage, account, made, rotations=1) is None
        assert await replace_secret(storage, account, NOBODY) is None
        revoked = await a_key(storage, account)
        assert await revoke(storage, account.id, revoked)
        assert await replace_secret(storage, account, revoked) is None
        turn_clock(90 * DAY + SECOND)
        assert await replace_secret(storage, account, made) is None
        assert not await all_events(storage, EventName.API_KEY_ROTATED)

    async def test_of_many_who_rotate_one_does(self, storage: Storage, peer: Storage) -> None:
        """The secret before is the one that was in use, not one that nobody was ever told."""
        account = await an_account(storage)
        for _ in range(ROUNDS):
            made = await a_key(storage, account)
            secrets = [os.urandom(32) for _ in range(8)]
            answers = await asyncio.gather(
                *(
                    replace_secret((storage, peer)[n % 2], account, made, secret_hash=digest(secret))
                    for n, secret in enumerate(secrets)
                )
            )
            assert sum(answer is not None for answer in answers) == 1
            winner = next(secret for secret, answer in zip(secrets, answers, strict=True) if answer is not None)
            found = await state(storage, made)
            assert (found.secret_hash, found.previous_hash) == (digest(winner), digest(b"s"))

    async def test_rotation_against_revocation(self, storage: Storage, peer: Storage) -> None:
        """Whatever the order, the key is revoked in the end, and no secret before it is kept."""
        account = await an_account(storage)
        for _ in range(ROUNDS):
            made = await a_key(storage, account)
            _, ended = await asyncio.gather(replace_secret(storage, account, made), revoke(peer, account.id, made))
            found = await state(storage, made)
            assert ended is True
            assert (found.is_revoked, found.previous_hash) == (True, None)

    async def test_a_key_against_the_disabling_of_its_owner(self, storage: Storage, peer: Storage) -> None:
        """Whatever the order: a key that was made belongs to an account that is not active."""
        for _ in range(ROUNDS):
            account = await an_account(storage)
            key = new_key(account)
            await asyncio.gather(
                storage.issuing_keys.insert_key(key, event()),
                peer.accounts.change_status(
                    account.id,
                    of=AccountStatus.ACTIVE,
                    to=AccountStatus.DISABLED,
                    event=event(),
                    keep_ended_ms=KEEP_ENDED,
                ),
            )
            found = await storage.api_keys.look_up(key.id)
            assert found is None or found.account_status == "disabled"


class ApiKeysContract(Contract):
    """`ApiKeyStore`."""

    async def test_what_is_not_there(self, storage: Storage) -> None:
        """No such key, and what cannot be an id: None, and nothing is revoked."""
        account = await an_account(storage)
        for wrong in (NOBODY, "", "' OR '1'='1", "x" * 1000):
            assert await storage.api_keys.look_up(wrong) is None
            assert not await revoke(storage, account.id, wrong)

    async def test_the_roles_are_those_of_now(self, storage: Storage, peer: Storage) -> None:
        """What the owner loses is gone with the next look."""
        await storage.roles.sync({"maker": frozenset({"order:create"})}, event())
        account = await an_account(storage, roles=frozenset({"maker"}))
        made = await a_key(storage, account)
        await storage.roles.sync({"other": frozenset({"order:read"})}, event())
        assert (await state(peer, made)).roles == frozenset()

    async def test_an_expired_key_says_so(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """By the database's clock; a second before it is in time."""
        made = await a_key(storage, await an_account(storage), lifetime_ms=DAY)
        turn_clock(DAY - 5 * SECOND)
        assert (await state(storage, made)).in_time
        turn_clock(6 * SECOND)
        assert not (await state(storage, made)).in_time

    async def test_revoked_once(self, storage: Storage, peer: Storage) -> None:
        """Only by its owner; once; listed as ended, so that every process knows; the event with it."""
        account, other = await an_account(storage), await an_account(storage)
        made = await a_key(storage, account)
        assert not await revoke(storage, other.id, made)
        answers = await asyncio.gather(*(revoke((storage, peer)[n % 2], account.id, made) for n in range(4)))
        assert sorted(answers) == [False, False, False, True]
        assert (await state(peer, made)).is_revoked
        assert made in {entry.sid for entry in await peer.sessions.ended_since(0)}
        assert len(await all_events(storage, EventName.API_KEY_REVOKED)) == 1

    async def test_listed_the_newest_first(self, storage: Storage) -> None:
        """A page at a time; without those that were revoked, and without those of others."""
        account, other = await an_account(storage), await an_account(storage)
        made = [await a_key(storage, account) for _ in range(5)]
        await a_key(storage, other)
        await revoke(storage, account.id, made[2])
        # Ids begin with the time; of those made in one millisecond either may be the newer.
        expected = sorted({*made} - {made[2]}, reverse=True)
        first = await storage.api_keys.of_account(account.id, limit=2, after=None)
        rest = await storage.api_keys.of_account(account.id, limit=10, after=first[-1].id)
        assert [each.id for each in (*first, *rest)] == expected
        assert first[0].created_by == account.id

    async def test_a_use_is_noted_now_and_then(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """Once in the time that is named, however often it is used; never of a revoked one."""
        account = await an_account(storage)
        made = await a_key(storage, account)
        noted = [await storage.api_keys.touch(made, at_most_every_ms=300 * SECOND) for _ in range(3)]
        assert noted == [True, False, False]
        first = (await state(storage, made)).last_used_at
        assert first is not None
        turn_clock(301 * SECOND)
        assert await storage.api_keys.touch(made, at_most_every_ms=300 * SECOND)
        assert ((await state(storage, made)).last_used_at or 0) >= first + 300 * SECOND
        await revoke(storage, account.id, made)
        turn_clock(301 * SECOND)
        assert not await storage.api_keys.touch(made, at_most_every_ms=300 * SECOND)

    async def test_the_keys_of_a_deleted_account_are_gone(self, storage: Storage) -> None:
        """Their names may be personal, and they open nothing."""
        account = await an_account(storage)
        made = await a_key(storage, account)
        assert await storage.accounts.delete(account.id, event=event(), keep_ended_ms=KEEP_ENDED)
        assert await storage.api_keys.look_up(made) is None

    async def test_nothing_is_stored_but_hashes(self, storage: Storage, stored_bytes: Callable[[], bytes]) -> None:
        """No secret that was handed in as a hash is anywhere in the database."""
        secret = os.urandom(32)
        await a_key(storage, await an_account(storage), secret)
        content = stored_bytes()
        assert digest(secret) in content or digest(secret).hex().encode() in content
        assert secret not in content
        assert secret.hex().encode() not in content

    async def test_what_is_long_over_is_swept(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A month after its end an expired key is gone, a living one never."""
        account = await an_account(storage)
        over = await a_key(storage, account, lifetime_ms=DAY)
        living = await a_key(storage, account)
        turn_clock(30 * DAY)
        await storage.sweep()
        assert await storage.api_keys.look_up(over) is not None
        turn_clock(2 * DAY)
        await storage.sweep()
        assert await storage.api_keys.look_up(over) is None
        assert (await state(storage, living)).in_time

    async def test_a_service_is_no_administrator(self, storage: Storage) -> None:
        """The last person who administers stays, also where a service holds the role: no key can administer."""
        await storage.roles.sync({"admin": frozenset({"roles:assign"})}, event())
        person = await an_account(storage, roles=frozenset({"admin"}))
        service = NewAccount(uuid7(), f"service-{uuid7()}", None, None, frozenset({"admin"}), kind="service")
        assert await storage.accounts.create(service, event())
        change = {"of": AccountStatus.ACTIVE, "to": AccountStatus.DISABLED, "event": event(), "keep_ended_ms": 0}
        with pytest.raises(Conflict):
            await storage.accounts.change_status(person.id, **change)  # type: ignore[arg-type]
        assert (await storage.accounts.change_status(service.id, **change)).changed  # type: ignore[arg-type]

    async def test_no_session_is_opened_for_a_service(self, storage: Storage) -> None:
        """Whatever was proved: an account of the kind ``service`` has keys and nothing else."""
        new = NewAccount(uuid7(), f"service-{uuid7()}", None, OLD_HASH, kind="service")
        assert await storage.accounts.create(new, event())
        account = await storage.accounts.by_id(new.id)
        assert account is not None
        assert account.kind == "service"
        assert await storage.issuing.open(new_session(account, b"s"), event()) is None
        assert not await storage.accounts.set_temporary_password(
            account.id, new_hash=OLD_HASH, lifetime_ms=DAY, event=event(), keep_ended_ms=KEEP_ENDED
        )
        listed = await storage.accounts.page(query="", limit=10, after=None, kind="service")
        assert [each.id for each in listed] == [account.id]
