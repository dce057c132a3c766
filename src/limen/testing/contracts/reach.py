"""The contract of what an old password could reach: each kind of it, and every way to another password."""

import os
from collections.abc import Awaitable, Callable

import pytest

from limen.core.events import EventName
from limen.core.ids import uuid7
from limen.features.accounts.store import Account
from limen.features.approvals.store import ApprovalStatus, Verdict
from limen.features.recovery.store import Preparing, Verified
from limen.features.sso.store import Created, Linked, NewPerson
from limen.storage import Storage
from limen.testing.contracts.api_keys import a_key
from limen.testing.contracts.approvals import Checker, a_checker, a_request, authority_of, stored
from limen.testing.contracts.contract import (
    DAY,
    KEEP_ENDED,
    NEW_HASH,
    OLD_HASH,
    Contract,
    a_session,
    all_events,
    event,
    new_session,
)
from limen.testing.contracts.recovery import ADDRESS, ask, now, prepare, proof_of, reset, verified, verify
from limen.testing.contracts.sso import a_code, linked, somebody

Holds = Callable[[], Awaitable[bool]]
"""Tells whether what was made still opens something."""


async def _session(storage: Storage, account: Account) -> Holds:
    opened = await a_session(storage, account)

    async def holds() -> bool:
        row = await storage.sessions.read(opened.sid)
        return row is not None and row.account_holds

    return holds


async def _login(storage: Storage, account: Account) -> Holds:
    """A login whose password was right before."""

    async def holds() -> bool:
        told = event(EventName.LOGIN_SUCCEEDED)
        return await storage.issuing.open(new_session(account, os.urandom(32)), told) is not None

    return holds


async def _key(storage: Storage, account: Account) -> Holds:
    key = await a_key(storage, account)

    async def holds() -> bool:
        row = await storage.api_keys.look_up(key)
        return row is not None and not row.is_revoked

    return holds


async def _link(storage: Storage, account: Account) -> Holds:
    token = await proof_of(storage, "more@example.org", account=account, verify=True)

    async def holds() -> bool:
        return await verify(storage, token) is Verified.DONE

    return holds


async def _mail(storage: Storage, account: Account) -> Holds:
    """A link that is asked for, and not made yet."""
    await ask(storage, "more@example.org", account=account, verify=True)

    async def holds() -> bool:
        claimed = await storage.mails.claim(lease_ms=DAY)
        return claimed is not None and not isinstance(await prepare(storage, verify=True, claimed=claimed), Preparing)

    return holds


async def _identity(storage: Storage, account: Account) -> Holds:
    identity = somebody()
    assert await linked(storage, account, identity) is Linked.DONE

    async def holds() -> bool:
        return await storage.sso.find(identity) is not None

    return holds


async def _flow(storage: Storage, account: Account) -> Holds:
    """A link that was begun at a provider, and comes back afterwards."""
    session = await a_session(storage, account)

    async def holds() -> bool:
        return await linked(storage, account, somebody(), sid=session.sid) is Linked.DONE

    return holds


async def _code(storage: Storage, account: Account) -> Holds:
    """The one-time code of a login at a provider, which is exchanged afterwards."""
    code = a_code(account)
    await storage.sso.keep_code(code)

    async def holds() -> bool:
        found = await storage.sso.take_code(code.code_hash)
        if found is None:
            return False
        session = new_session(account, os.urandom(32), account_epoch=found.account_epoch)
        return await storage.issuing.open(session, event(EventName.LOGIN_SUCCEEDED)) is not None

    return holds


async def _request(storage: Storage, account: Account) -> Holds:
    approval = await a_request(storage, account)

    async def holds() -> bool:
        return (await stored(storage, approval)).status is ApprovalStatus.PENDING

    return holds


async def _vote(storage: Storage, account: Account) -> Holds:
    session = await a_session(storage, account)
    approval = await a_request(storage, quorum=2)
    checker = Checker(account, session.sid, await authority_of(storage, account.id))
    assert (await checker.approve(storage, approval)).verdict is Verdict.DONE

    async def holds() -> bool:
        assert (await (await a_checker(storage)).approve(storage, approval)).verdict is Verdict.DONE
        return (await stored(storage, approval)).status is ApprovalStatus.APPROVED

    return holds


KINDS = {
    "session": _session,
    "login under way": _login,
    "key": _key,
    "link": _link,
    "mail": _mail,
    "identity": _identity,
    "flow": _flow,
    "code": _code,
    "request": _request,
    "vote": _vote,
}
KEPT_BY_WHO_KNOWS = {"key", "identity", "request", "vote"}
"""What somebody keeps who changes a password that they know: they see the lists, and end what is none of theirs."""


class ReachContract(Contract):
    """`limen.storage.sql.reach.end_reach`."""

    @pytest.mark.parametrize("act", ["reset", "temporary", "change"])
    @pytest.mark.parametrize("kind", KINDS)
    async def test_another_password_ends_it(self, storage: Storage, kind: str, act: str) -> None:
        """Whoever had the old one has no way in; without that act each of these would hold, as the next test says."""
        account = await now(storage, await verified(storage))
        token = await proof_of(storage) if act == "reset" else b""
        holds = await KINDS[kind](storage, account)
        if act == "reset":
            if kind == "mail":
                await reset(storage, token)
            else:
                assert await reset(storage, token) == account.id
        elif act == "temporary":
            assert await storage.accounts.set_temporary_password(
                account.id, new_hash=NEW_HASH, lifetime_ms=DAY, event=event(), keep_ended_ms=KEEP_ENDED
            )
        else:
            assert await storage.accounts.change_password(
                account.id,
                seen_hash=OLD_HASH,
                new_hash=NEW_HASH,
                event=event(),
                end_others=True,
                keep_ended_ms=KEEP_ENDED,
            )
        assert await holds() is (act == "change" and kind in KEPT_BY_WHO_KNOWS)

    @pytest.mark.parametrize("kind", KINDS)
    async def test_nothing_else_ends_it(self, storage: Storage, kind: str) -> None:
        """Another account's reset leaves it: what the tests above look at is what they say."""
        account, other = await verified(storage), await verified(storage, "other@example.org")
        holds = await KINDS[kind](storage, await now(storage, account))
        if kind != "mail":
            assert await reset(storage, await proof_of(storage, "other@example.org")) == other.id
        assert await holds()

    async def test_an_identity_that_the_account_came_by_stays(self, storage: Storage) -> None:
        """No password has brought it about; the codes of those that go are gone, and who asked by them is known."""
        person, identity = NewPerson(uuid7(), f"name-{uuid7()}", ADDRESS), somebody()
        told = event(EventName.ACCOUNT_CREATED)
        assert await storage.sso.create(person, identity, provider="corp", event=told) is Created.DONE
        account = await storage.accounts.by_id(person.id)
        assert account is not None
        assert await linked(storage, account, somebody()) is Linked.DONE
        assert await storage.accounts.set_temporary_password(
            account.id, new_hash=NEW_HASH, lifetime_ms=DAY, event=event(), keep_ended_ms=KEEP_ENDED
        )
        assert len(await storage.sso.of_account(account.id)) == 1
        assert await storage.sso.find(identity) is not None

    async def test_what_is_taken_back_is_recorded(self, storage: Storage) -> None:
        """A request that a lost password took along says so in the trail, and who had asked."""
        account = await verified(storage)
        approval = await a_request(storage, account)
        token = await proof_of(storage)
        assert await reset(storage, token) == account.id
        [record] = await all_events(storage, EventName.APPROVAL_WITHDRAWN)
        assert (record.target, record.actor) == (approval.id, "system")
        assert record.data == {"reason": "password_lost", "action": approval.action, "maker": account.id}
