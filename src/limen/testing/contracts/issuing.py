"""The contract of the two verbs that bring a credential into being."""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from limen.core.errors import LimenError
from limen.core.events import EventName
from limen.features.accounts.store import Account, AccountStatus
from limen.features.sessions.store import EndReason
from limen.storage import Storage
from limen.testing.contracts.contract import (
    BROKEN_EVENT,
    DAY,
    KEEP_ENDED,
    MAX_TTL,
    NEW_HASH,
    OLD_HASH,
    REFRESH_TTL,
    SECOND,
    Contract,
    a_session,
    all_events,
    an_account,
    digest,
    event,
    new_session,
    rotate,
    state,
)

ROUNDS = 10


class OpenContract(Contract):
    """`IssuingStore.open`: a conditional INSERT from the account."""

    async def test_open_stores_the_session_as_given(self, storage: Storage) -> None:
        """The row holds the hash, the account's epoch, and times that are all counted from one reading of the clock."""
        account = await an_account(storage)
        session = new_session(account, b"s", amr=("pwd", "otp"), acr="urn:acr:2")
        current = await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED))
        stored = await state(storage, session.sid)
        assert current is not None
        assert (stored.token_hash, stored.parent_hash, stored.nonce) == (digest(b"s"), None, None)
        assert (stored.account_id, stored.account_epoch, stored.kind) == (account.id, 0, "refresh")
        assert (stored.generation, stored.kid, stored.client_id) == (0, "kid-1111", "client-1")
        assert (stored.idle_until, stored.ends_at) == (stored.rotated_at + REFRESH_TTL, stored.rotated_at + MAX_TTL)
        assert (stored.amr, stored.acr, stored.auth_time) == (("pwd", "otp"), "urn:acr:2", stored.rotated_at)
        assert stored.account_holds
        assert stored.in_time
        for name in (
            "generation",
            "kid",
            "rotated_at",
            "idle_until",
            "ends_at",
            "auth_time",
            "amr",
            "acr",
            "client_id",
        ):
            assert getattr(current, name) == getattr(stored, name), name
        assert (current.sid, current.account_id) == (session.sid, account.id)

    async def test_open_answers_the_roles_of_now(self, storage: Storage) -> None:
        """The roles of the account come with the session, so that a token is made from one transaction."""
        await storage.roles.sync({"maker": frozenset({"order:create"}), "checker": frozenset()}, event())
        account = await an_account(storage, roles=frozenset({"maker", "checker"}))
        session = new_session(account, b"s")
        current = await storage.issuing.open(session, event())
        assert current is not None
        assert current.roles == {"maker", "checker"}
        assert (await state(storage, session.sid)).roles == {"maker", "checker"}

    async def test_no_session_outlives_its_absolute_end(self, storage: Storage) -> None:
        """A refresh time longer than the session's own ends with the session."""
        opened = await a_session(storage, await an_account(storage), max_ttl_ms=DAY)
        stored = await state(storage, opened.sid)
        assert stored.idle_until == stored.ends_at == stored.rotated_at + DAY

    async def test_open_writes_its_event(self, storage: Storage) -> None:
        """One session opened is one record."""
        await a_session(storage, await an_account(storage))
        assert len(await all_events(storage, EventName.LOGIN_SUCCEEDED)) == 1

    @pytest.mark.parametrize("status", [status for status in AccountStatus if status is not AccountStatus.ACTIVE])
    async def test_open_refuses_an_account_that_is_not_active(self, storage: Storage, status: AccountStatus) -> None:
        """Every state but active is refused, also with the epoch of now."""
        account = await an_account(storage)
        if status is AccountStatus.DELETED:
            assert await storage.accounts.delete(account.id, event=event(), keep_ended_ms=KEEP_ENDED)
        else:
            await storage.accounts.change_status(
                account.id, of=AccountStatus.ACTIVE, to=status, event=event(), keep_ended_ms=KEEP_ENDED
            )
        await self._refused(storage, account, account_epoch=1)

    @pytest.mark.parametrize("seen", [-1, 0, 2])
    async def test_open_refuses_another_epoch(self, storage: Storage, seen: int) -> None:
        """A proof made before (or against something other than) the present epoch opens nothing."""
        account = await an_account(storage)
        await storage.sessions.end_all(account.id, reason=EndReason.LOGOUT_ALL, event=event(), keep_ended_ms=KEEP_ENDED)
        await self._refused(storage, account, account_epoch=seen)

    async def test_open_refuses_an_unknown_account(self, storage: Storage) -> None:
        """There is no session without an account."""
        account = await an_account(storage)
        await self._refused(storage, replace(account, id="00000000-0000-7000-8000-000000000000"))

    async def test_open_refuses_a_factor_too_few(
        self, storage: Storage, require_second_factor: Callable[[str], Awaitable[None]]
    ) -> None:
        """One factor is not enough where the account requires two; two are."""
        account = await an_account(storage)
        await require_second_factor(account.id)
        await self._refused(storage, account, factors=1)
        await a_session(storage, account, factors=2)

    @pytest.mark.parametrize("status", ["disabled", "blocked", "pending", "ACTIVE", ""])
    async def test_open_asks_the_status_itself(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Only the word «active» opens, also where the epoch is unchanged and where the state is unknown here."""
        account = await an_account(storage)
        await set_status(account.id, status)
        await self._refused(storage, account)

    async def test_open_refuses_no_factor_at_all(self, storage: Storage) -> None:
        """Nothing proved opens nothing, whatever the account requires."""
        await self._refused(storage, await an_account(storage), factors=0)

    async def test_open_never_replaces_a_session(self, storage: Storage) -> None:
        """A session id that is taken is an error, writes no event, and leaves the session as it was."""
        account = await an_account(storage)
        opened = await a_session(storage, account)
        before = await all_events(storage)
        with pytest.raises(LimenError):
            await storage.issuing.open(new_session(account, b"other", sid=opened.sid), event())
        assert (await state(storage, opened.sid)).token_hash == digest(opened.secret)
        assert await all_events(storage) == before

    async def test_open_without_its_event_is_taken_back(self, storage: Storage) -> None:
        """Where the event cannot be written, there is no session either."""
        session = new_session(await an_account(storage), b"s")
        with pytest.raises(Exception, match=r".+"):
            await storage.issuing.open(session, BROKEN_EVENT)
        assert await storage.sessions.read(session.sid) is None

    async def test_no_login_survives_a_changed_password(self, storage: Storage, peer: Storage) -> None:
        """In whichever order a login with the old password and its change arrive, nothing of the login lives on."""
        for _ in range(ROUNDS):
            account = await an_account(storage)
            session = new_session(account, os.urandom(32))
            await asyncio.gather(
                storage.issuing.open(session, event()),
                peer.accounts.change_password(
                    account.id,
                    seen_hash=OLD_HASH,
                    new_hash=NEW_HASH,
                    event=event(),
                    end_others=True,
                    keep_ended_ms=KEEP_ENDED,
                ),
            )
            assert await storage.sessions.read(session.sid) is None

    async def test_no_login_survives_a_disabled_account(self, storage: Storage, peer: Storage) -> None:
        """The same for a login that meets the disabling of its account."""
        for _ in range(ROUNDS):
            account = await an_account(storage)
            session = new_session(account, os.urandom(32))
            await asyncio.gather(
                peer.accounts.change_status(
                    account.id,
                    of=AccountStatus.ACTIVE,
                    to=AccountStatus.DISABLED,
                    event=event(),
                    keep_ended_ms=KEEP_ENDED,
                ),
                storage.issuing.open(session, event()),
            )
            assert await storage.sessions.read(session.sid) is None

    @staticmethod
    async def _refused(storage: Storage, account: Account, **changes: object) -> None:
        session = new_session(account, b"s", **changes)
        before = await all_events(storage)
        assert await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is None
        assert await storage.sessions.read(session.sid) is None
        assert await all_events(storage) == before


class RotateContract(Contract):
    """`IssuingStore.rotate`: a conditional UPDATE that also asks the account."""

    async def test_rotate_replaces_the_secret(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """The presented secret becomes the parent; the idle end moves, the absolute one and the login's time stay."""
        opened = await a_session(storage, await an_account(storage))
        before = await state(storage, opened.sid)
        turn_clock(60 * SECOND)
        rotation = opened.rotation(b"next")
        current = await storage.issuing.rotate(rotation, event())
        after = await state(storage, opened.sid)
        assert current is not None
        assert (after.generation, after.token_hash) == (1, digest(b"next"))
        assert (after.parent_hash, after.nonce) == (digest(opened.secret), rotation.nonce)
        assert after.kid == "kid-2222"
        assert after.rotated_at >= before.rotated_at + 60 * SECOND
        assert after.idle_until == after.rotated_at + REFRESH_TTL
        assert (after.ends_at, after.auth_time) == (before.ends_at, before.auth_time)
        for name in ("generation", "kid", "rotated_at", "idle_until", "ends_at", "auth_time", "amr", "client_id"):
            assert getattr(current, name) == getattr(after, name), name

    async def test_rotate_writes_its_event(self, storage: Storage) -> None:
        """Three rotations are three records, and each rotates the one before."""
        opened = await a_session(storage, await an_account(storage))
        for secret in (b"1", b"2", b"3"):
            assert await rotate(storage, opened, secret) is not None
            opened = opened.after(secret)
        assert len(await all_events(storage, EventName.REFRESHED)) == 3
        assert (await state(storage, opened.sid)).parent_hash == digest(b"2")

    @pytest.mark.parametrize(
        "changes",
        [
            {"presented_hash": digest(b"another")},
            {"generation": 1},
            {"generation": -1},
            {"sid": "00000000-0000-7000-8000-000000000000"},
            {"account_id": "00000000-0000-7000-8000-000000000000"},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    async def test_rotate_refuses_what_is_not_current(self, storage: Storage, changes: dict[str, object]) -> None:
        """Another secret, generation, session or account changes nothing and writes nothing."""
        opened = await a_session(storage, await an_account(storage))
        before, events = await state(storage, opened.sid), await all_events(storage)
        assert await rotate(storage, opened, b"next", **changes) is None
        assert replace(await state(storage, opened.sid), now=before.now) == before
        assert await all_events(storage) == events

    async def test_a_spent_secret_rotates_nothing(self, storage: Storage) -> None:
        """The parent's secret is refused, with its own generation and with the current one."""
        opened = await a_session(storage, await an_account(storage))
        assert await rotate(storage, opened, b"next") is not None
        assert await rotate(storage, opened, b"again") is None
        assert await rotate(storage, opened, b"again", generation=1) is None
        assert (await state(storage, opened.sid)).token_hash == digest(b"next")

    async def test_a_cookie_session_is_not_rotated(self, storage: Storage) -> None:
        """The verb is for refresh tokens; a session carried by a cookie has none."""
        opened = await a_session(storage, await an_account(storage), kind="cookie")
        assert await rotate(storage, opened, b"next") is None

    async def test_fifty_at_once_have_one_winner(self, storage: Storage, peer: Storage) -> None:
        """Of fifty parallel uses of one token, over two processes' stores, one wins; what it was answered is stored."""
        for _ in range(ROUNDS):
            opened = await a_session(storage, await an_account(storage))
            written = len(await all_events(storage, EventName.REFRESHED))
            secrets = [os.urandom(32) for _ in range(50)]
            answers = await asyncio.gather(
                *(rotate((storage, peer)[n % 2], opened, secret) for n, secret in enumerate(secrets))
            )
            winners = [secret for secret, answer in zip(secrets, answers, strict=True) if answer is not None]
            stored = await state(peer, opened.sid)
            assert len(winners) == 1
            assert (stored.token_hash, stored.parent_hash) == (digest(winners[0]), digest(opened.secret))
            assert stored.generation == 1
            assert len(await all_events(storage, EventName.REFRESHED)) == written + 1

    async def test_sessions_of_many_rotate_at_once(self, storage: Storage, peer: Storage) -> None:
        """Parallel rotations of different sessions all win, and each row holds its own secret."""
        account = await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(40)]
        secrets = [os.urandom(32) for _ in sessions]
        answers = await asyncio.gather(
            *(
                rotate((storage, peer)[n % 2], opened, secret)
                for n, (opened, secret) in enumerate(zip(sessions, secrets, strict=True))
            )
        )
        assert all(answer is not None for answer in answers)
        for opened, secret in zip(sessions, secrets, strict=True):
            assert (await state(storage, opened.sid)).token_hash == digest(secret)

    async def test_a_failing_neighbour_takes_nothing_back(self, storage: Storage) -> None:
        """Rotations that share their moment with one that fails succeed all the same, and it alone is taken back."""
        account = await an_account(storage)
        sessions = [await a_session(storage, account) for _ in range(20)]
        broken = sessions[7]

        async def one(opened: object) -> bool:
            if opened is broken:
                with pytest.raises(Exception, match=r".+"):
                    await storage.issuing.rotate(broken.rotation(b"next"), BROKEN_EVENT)
                return False
            assert isinstance(opened, type(broken))
            return await rotate(storage, opened, b"next") is not None

        assert sum(await asyncio.gather(*(one(opened) for opened in sessions))) == 19
        generations = [(await state(storage, opened.sid)).generation for opened in sessions]
        assert generations == [int(opened is not broken) for opened in sessions]
        assert len(await all_events(storage, EventName.REFRESHED)) == 19

    async def test_nothing_is_stored_but_hashes(self, storage: Storage, stored_bytes: Callable[[], bytes]) -> None:
        """Neither the secret of a login nor that of a rotation is anywhere in the database, in no usual spelling."""
        opened = await a_session(storage, await an_account(storage))
        successor = os.urandom(32)
        assert await rotate(storage, opened, successor) is not None
        content = stored_bytes()
        assert digest(successor) in content or digest(successor).hex().encode() in content
        for secret in (opened.secret, successor):
            for spelling in (secret, secret.hex().encode(), base64.urlsafe_b64encode(secret).rstrip(b"=")):
                assert spelling not in content


class RotateAgainstEndingContract(Contract):
    """Rotations that meet the end of their session or of their account."""

    async def test_rotate_then_end_takes_the_successor_with_it(self, storage: Storage) -> None:
        """A logout after a refresh ends what the refresh brought."""
        opened = await a_session(storage, await an_account(storage))
        assert await rotate(storage, opened, b"next") is not None
        assert await self._end(storage, opened.sid, opened.account_id)
        assert await storage.sessions.read(opened.sid) is None

    async def test_end_then_rotate_finds_nothing(self, storage: Storage) -> None:
        """A refresh after a logout is refused and writes nothing."""
        opened = await a_session(storage, await an_account(storage))
        assert await self._end(storage, opened.sid, opened.account_id)
        assert await rotate(storage, opened, b"next") is None
        assert not await all_events(storage, EventName.REFRESHED)

    async def test_nothing_lives_after_an_acknowledged_end(self, storage: Storage, peer: Storage) -> None:
        """A logout among seven refreshes wins in the end, whatever the order."""
        for _ in range(ROUNDS):
            opened = await a_session(storage, await an_account(storage))
            refreshes = [rotate((storage, peer)[n % 2], opened, os.urandom(32)) for n in range(7)]
            *_, ended = await asyncio.gather(*refreshes, self._end(peer, opened.sid, opened.account_id))
            assert ended is True
            assert await storage.sessions.read(opened.sid) is None
            assert opened.sid in {entry.sid for entry in await storage.sessions.ended_since(0)}

    async def test_rotate_queued_behind_a_disable_is_refused(self, storage: Storage, peer: Storage) -> None:
        """A refresh that waits for the disabling of its account does not rotate what was read before the wait."""
        for _ in range(ROUNDS):
            account = await an_account(storage)
            opened = await a_session(storage, account)
            blocking = asyncio.ensure_future(
                storage.accounts.change_status(
                    account.id,
                    of=AccountStatus.ACTIVE,
                    to=AccountStatus.BLOCKED,
                    event=event(),
                    keep_ended_ms=KEEP_ENDED,
                )
            )
            await asyncio.gather(*(rotate((storage, peer)[n % 2], opened, os.urandom(32)) for n in range(8)))
            assert (await blocking).changed
            assert await storage.sessions.read(opened.sid) is None
            assert await rotate(peer, opened, b"late") is None

    @pytest.mark.parametrize("status", ["disabled", "blocked", "pending", "ACTIVE", ""])
    async def test_rotate_asks_the_status_itself(
        self, storage: Storage, set_status: Callable[[str, str], Awaitable[None]], status: str
    ) -> None:
        """Only the word «active» rotates, also where the session is still there; active again, it does."""
        opened = await a_session(storage, await an_account(storage))
        await set_status(opened.account_id, status)
        assert await rotate(storage, opened, b"next") is None
        stored = await state(storage, opened.sid)
        assert (stored.account_status, stored.account_holds) == (status, False)
        found = await storage.accounts.by_id(opened.account_id)
        assert found is not None
        assert found.status is not AccountStatus.ACTIVE
        await set_status(opened.account_id, "active")
        assert await rotate(storage, opened, b"next") is not None

    async def test_idle_end(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """A token unused for its time rotates nothing; a little earlier it does."""
        opened = await a_session(storage, await an_account(storage))
        turn_clock(REFRESH_TTL - 5 * SECOND)
        assert await rotate(storage, opened, b"1") is not None
        turn_clock(REFRESH_TTL + SECOND)
        assert await rotate(storage, opened.after(b"1"), b"2") is None
        assert not (await state(storage, opened.sid)).in_time

    async def test_absolute_end(self, storage: Storage, turn_clock: Callable[[int], None]) -> None:
        """However often it is used, a session ends; the last idle end is the absolute one."""
        opened = await a_session(storage, await an_account(storage), max_ttl_ms=10 * DAY)
        turn_clock(6 * DAY)
        assert await rotate(storage, opened, b"1") is not None
        stored = await state(storage, opened.sid)
        assert stored.idle_until == stored.ends_at
        turn_clock(4 * DAY + SECOND)
        assert await rotate(storage, opened.after(b"1"), b"2") is None

    async def test_a_clock_that_steps_back_revives_nothing(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """Five minutes back, a spent secret is as spent as before, and the row says that it is younger than now."""
        opened = await a_session(storage, await an_account(storage))
        assert await rotate(storage, opened, b"1") is not None
        turn_clock(-300 * SECOND)
        assert await rotate(storage, opened, b"2") is None
        stored = await state(storage, opened.sid)
        assert stored.now - stored.rotated_at < -2 * SECOND

    @staticmethod
    async def _end(storage: Storage, sid: str, account_id: str) -> bool:
        return await storage.sessions.end(
            sid,
            account_id=account_id,
            reason=EndReason.LOGOUT,
            event=event(EventName.SESSION_ENDED),
            keep_ended_ms=KEEP_ENDED,
        )
