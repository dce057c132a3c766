"""Approvals: requests, who said yes to them, and what is still to be executed."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from limen.authz.authority import AuthorityMoved
from limen.core.errors import Conflict
from limen.core.events import Event, EventName, Outcome
from limen.core.ids import is_uuid7, uuid7
from limen.features.approvals.store import (
    ApprovalStatus,
    Box,
    Claimed,
    Decided,
    ExecutionState,
    GivenApproval,
    Maker,
    NewApproval,
    StoredApproval,
    Verdict,
    Vote,
)
from limen.storage.sql import approval_statements as sql
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import NOBODY, Row, Statement, Steps, row, rows, run

_LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""No request has an id beyond this one."""
_SYSTEM: Final = Maker("")

_Told: TypeAlias = Mapping[str, object]
"""What the event says of the act besides."""


class SQLApprovals:
    """Implements `limen.features.approvals.store.Approvals`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def request(self, new: NewApproval, event: Event, *, most: int) -> tuple[StoredApproval, bool]:
        """Insert a request, unless the same maker has the same one pending; see the Protocol."""
        return await self._database.write(partial(_requested, new, event, most))

    async def read(self, approval_id: str, *, reader: Maker) -> StoredApproval | None:
        """Read a request, as it stands to whoever reads."""
        return await self._database.read(partial(_read, approval_id, reader))

    async def page(
        self, box: Box, *, reader: Maker, actions: Collection[str], limit: int, after: str | None
    ) -> Sequence[StoredApproval]:
        """List at most ``limit`` requests, the newest first, that follow ``after``."""
        return await self._database.read(partial(_page, box, reader, actions, limit, after))

    async def approve(self, vote: Vote, event: Event) -> Decided:
        """Count one yes by one conditional UPDATE; see the Protocol."""
        return await self._database.write(partial(_decided, _approve, vote, event))

    async def reject(self, vote: Vote, event: Event) -> Decided:
        """End a request by one no."""
        return await self._database.write(partial(_decided, _reject, vote, event))

    async def withdraw(self, approval_id: str, *, reader: Maker, event: Event) -> Decided:
        """End a pending request of the reader's own."""
        return await self._database.write(partial(_withdrawn, approval_id, reader, event))

    async def cancel(self, *, limit: int, event: Event) -> int:
        """Withdraw at most ``limit`` pending requests, whosoever; return how many."""
        return await self._database.write(partial(_cancelled, limit, event))

    async def count_holders(self, roles: Collection[str], permission: str) -> int:
        """Count the active persons who hold one of the roles, or the permission itself; a thousand at most."""
        return await self._database.read(partial(_held, roles, permission))

    async def executed(self, approval_id: str, event: Event) -> None:
        """Note that it is done, in the transaction in which it is; Conflict where it was noted before."""
        await self._database.write(partial(_executed, approval_id, event))

    async def claim(self, actions: Collection[str], *, lease_ms: int) -> Claimed | None:
        """Take the next queued execution of one of the actions; one caller gets it."""
        return await self._database.write(partial(_claimed, actions, lease_ms))

    async def finish(self, claimed: Claimed, event: Event) -> bool:
        """Note that it is done; False where the lease has passed to another process."""
        return await self._database.write(partial(_finished, sql.FINISH, claimed, event, {}))

    async def put_off(self, claimed: Claimed, event: Event, *, failure: str, again_ms: int | None) -> bool:
        """Note that it failed, and when it is tried again; None: never."""
        if again_ms is None:
            return await self._database.write(partial(_finished, sql.GIVE_UP, claimed, event, {"failure": failure}))
        more = {"failure": failure, "again": again_ms}
        return await self._database.write(partial(_finished, sql.PUT_OFF, claimed, event, more))


# --- requests


def _requested(new: NewApproval, event: Event, most: int) -> Steps[tuple[StoredApproval, bool]]:
    # Once more where another one came in between, and is there by now.
    for _ in range(2):
        present = None
        if new.resource is not None:
            present = yield from _in_the_way(new, event)
        if present is not None:
            return (yield from _must_read(present, new.maker)), False
        pending = yield from row(sql.COUNT_PENDING, me=new.maker.sub)
        if pending is not None and pending[0] >= most:
            raise Conflict(f"You have {most} requests that nobody has decided; withdraw one first.")
        if (yield from row(sql.INSERT, **_columns_of(new))) is not None:
            yield from record(event)
            return (yield from _must_read(new.id, new.maker)), True
    raise Conflict("Another request for this was made at this moment.")


def _in_the_way(new: NewApproval, event: Event) -> Steps[str | None]:
    """Make room for the request; return the id of the pending one that is the same."""
    found = yield from row(sql.PENDING, action=new.action, resource=new.resource)
    if found is None:
        return None
    present, maker, digest, version, quorum, is_over, account = found
    present = str(present)
    if is_over:
        yield from _expire(present)
        return None
    if maker != new.maker.sub and (account is None or str(account) != new.maker.sub):
        raise Conflict("Somebody else's request for this is pending.")
    if (digest, version, quorum) == (new.digest, new.version, new.quorum):
        return str(present)
    yield from run(sql.SUPERSEDE, id=present, me=new.maker.sub)
    data = {**event.data, "reason": "superseded", "by": new.id}
    yield from record(replace(event, name=EventName.APPROVAL_WITHDRAWN, target=present, data=data))
    return None


def _columns_of(new: NewApproval) -> dict[str, Any]:
    maker = new.maker
    return {
        "id": new.id,
        "action": new.action,
        "resource": new.resource,
        "payload": new.payload,
        "digest": new.digest,
        "version": new.version,
        "quorum": new.quorum,
        "lifetime": new.lifetime_ms,
        "maker": maker.sub,
        "account": None if maker.issuer is not None or not is_uuid7(maker.sub) else maker.sub,
        "issuer": maker.issuer,
        "subject": maker.subject,
        "sid": maker.sid if maker.sid is not None and is_uuid7(maker.sid) else None,
    }


def _withdrawn(approval_id: str, reader: Maker, event: Event) -> Steps[Decided]:
    if not is_uuid7(approval_id):
        return Decided(Verdict.GONE, None)
    done = yield from row(sql.WITHDRAW, id=approval_id, me=reader.sub, account=_account(reader))
    if done is not None:
        yield from record(event)
        return Decided(Verdict.DONE, (yield from _read(approval_id, reader)))
    found = yield from _read(approval_id, reader)
    if found is None or not found.is_mine:
        return Decided(Verdict.GONE, found)
    verdict = Verdict.DECIDED
    if found.status is ApprovalStatus.EXPIRED:
        verdict = Verdict.EXPIRED
        yield from _expire(approval_id)
    yield from _refused(event, verdict)
    return Decided(verdict, found)


def _cancelled(limit: int, event: Event) -> Steps[int]:
    found = yield from rows(sql.CANCEL_SOME, limit=limit, actor=event.actor)
    for approval_id, action, maker in found:
        data = {**event.data, "action": action, "maker": maker}
        yield from record(replace(event, target=str(approval_id), data=data))
    return len(found)


def expired(limit: int) -> Steps[int]:
    """Turn at most ``limit`` pending requests whose time is over, with an event each; return how many."""
    found = yield from rows(sql.EXPIRE_SOME, limit=limit)
    yield from _record_expired(found)
    return len(found)


def _expire(approval_id: str) -> Steps[None]:
    yield from _record_expired((yield from rows(sql.EXPIRE, id=approval_id)))


def _record_expired(found: Sequence[Row]) -> Steps[None]:
    for approval_id, action, maker in found:
        data = {"action": action, "maker": maker}
        yield from record(Event(EventName.APPROVAL_EXPIRED, actor="system", target=str(approval_id), data=data))


def _held(roles: Collection[str], permission: str) -> Steps[int]:
    found = yield from row(sql.COUNT_HOLDERS, names=_array(roles), permission=permission)
    return int(found[0]) if found is not None else 0


# --- deciding


def _decided(how: Callable[[Vote], Steps[_Told | None]], vote: Vote, event: Event) -> Steps[Decided]:
    if not is_uuid7(vote.id):
        return Decided(Verdict.GONE, None)
    yield from _hold(vote)
    is_yes = how is _approve
    verdict = yield from _locked(vote, is_yes=is_yes)
    told = (yield from how(vote)) if verdict is None else None
    if told is None:
        verdict = verdict or (yield from _locked(vote, is_yes=is_yes)) or Verdict.SESSION
        if verdict is Verdict.EXPIRED:
            yield from _expire(vote.id)
        if verdict is not Verdict.GONE:
            yield from _refused(event, verdict)
        return Decided(verdict, None)
    yield from record(replace(event, data={**event.data, **told}))
    return Decided(Verdict.DONE, (yield from _read(vote.id, Maker(vote.approver))))


def _hold(vote: Vote) -> Steps[None]:
    """Hold what the approver was judged by, until the end of the transaction.

    Raises:
        AuthorityMoved: it is not so any more.
    """
    found = yield from rows(sql.HOLD, one=vote.approver, other=vote.maker_account or vote.approver)
    authority = vote.authority
    now = [(status, version, catalogue) for each, status, version, catalogue in found if str(each) == vote.approver]
    if now != [("active", authority.actor_version, authority.catalogue)]:
        raise AuthorityMoved


def _approve(vote: Vote) -> Steps[_Told | None]:
    found = yield from row(sql.APPROVE, **_asked(vote))
    if found is None:
        return None
    status, given, quorum = found
    if not (yield from run(sql.VOTE, id=vote.id, account=vote.approver, sid=vote.sid)):
        raise Conflict()  # taken back as a whole: the row is locked, so there is none unless somebody wrote it by hand
    if status == ApprovalStatus.APPROVED and vote.queue:
        yield from run(sql.QUEUE, id=vote.id)
    return {"given": given, "quorum": quorum, "status": status}


def _reject(vote: Vote) -> Steps[_Told | None]:
    found = yield from row(sql.REJECT, reason=vote.reason, **_asked(vote))
    return None if found is None else {"given": found[0], "quorum": found[1], "status": ApprovalStatus.REJECTED.value}


def _asked(vote: Vote) -> dict[str, Any]:
    return {"id": vote.id, "me": vote.approver, "account": vote.approver, "sid": vote.sid, "seen": vote.seen}


def _locked(vote: Vote, *, is_yes: bool) -> Steps[Verdict | None]:
    """Lock the request, and return what stands against the decision; None where nothing does."""
    found = yield from row(sql.LOCK, id=vote.id, me=vote.approver, account=vote.approver, seen=vote.seen)
    if found is None:
        return Verdict.GONE
    status, is_over, is_own, is_given, is_seen, maker_is_active = found
    for verdict, applies in (
        (Verdict.OWN, is_own),
        (Verdict.EXPIRED, status == ApprovalStatus.PENDING and is_over),
        (Verdict.DECIDED, status != ApprovalStatus.PENDING),
        (Verdict.GIVEN, is_yes and is_given),
        (Verdict.CHANGED, not is_seen),
        (Verdict.MAKER, not maker_is_active),
    ):
        if applies:
            return verdict
    return None


def _refused(event: Event, verdict: Verdict) -> Steps[None]:
    data = {**event.data, "reason": verdict.value}
    yield from record(replace(event, outcome=Outcome.FAILURE, data=data))


# --- execution


def _executed(approval_id: str, event: Event) -> Steps[None]:
    if not (yield from run(sql.EXECUTED, id=approval_id)):
        raise Conflict("It was executed before.")
    yield from record(event)


def _claimed(actions: Collection[str], lease_ms: int) -> Steps[Claimed | None]:
    lease = uuid7()
    found = yield from row(sql.CLAIM, names=_array(actions), lease=lease, lease_ms=lease_ms)
    if found is None:
        return None
    return Claimed((yield from _must_read(str(found[0]), _SYSTEM)), lease)


def _finished(statement: Statement, claimed: Claimed, event: Event, more: Mapping[str, Any]) -> Steps[bool]:
    if not (yield from run(statement, id=claimed.approval.id, lease=claimed.lease, **more)):
        return False
    yield from record(event)
    return True


# --- reading


def _read(approval_id: str, reader: Maker) -> Steps[StoredApproval | None]:
    # PostgreSQL would call it an error: what is no id names no request.
    if not is_uuid7(approval_id):
        return None
    found = yield from row(sql.READ, id=approval_id, me=reader.sub, account=_account(reader))
    return None if found is None else _stored(found)


def _must_read(approval_id: str, reader: Maker) -> Steps[StoredApproval]:
    found = yield from _read(approval_id, reader)
    if found is None:
        raise Conflict()
    return found


def _page(
    box: Box, reader: Maker, actions: Collection[str], limit: int, after: str | None
) -> Steps[Sequence[StoredApproval]]:
    asked: dict[str, Any] = {"me": reader.sub, "account": _account(reader), "before": after or _LAST, "limit": limit}
    if box is Box.INBOX:
        found = yield from rows(sql.PAGE_OF_INBOX, names=_array(actions), **asked)
    else:
        found = yield from rows(sql.PAGE_OF_MINE if box is Box.MINE else sql.PAGE_OF_ALL, **asked)
    return [_stored(each) for each in found]


def _account(reader: Maker) -> str:
    return reader.sub if reader.issuer is None and is_uuid7(reader.sub) else NOBODY


def _array(names: Collection[str]) -> str:
    return json.dumps(sorted(names))


def _stored(found: Row) -> StoredApproval:
    (id_, action, resource, payload, digest, version, quorum, status, maker, account, votes,
     created_at, expires_at, decided_at, decided_by, reason, execution, attempts, failure, *flags) = found  # fmt: skip
    is_mine, is_own, is_given = flags
    return StoredApproval(
        id=str(id_),
        action=action,
        resource=resource,
        payload=payload,
        digest=bytes(digest),
        version=version,
        quorum=quorum,
        status=ApprovalStatus(status),
        maker=maker,
        maker_account=None if account is None else str(account),
        approvals=_votes(votes),
        created_at=created_at,
        expires_at=expires_at,
        decided_at=decided_at,
        decided_by=decided_by,
        reason=reason,
        execution=None if execution is None else ExecutionState(execution),
        attempts=attempts,
        failure=failure,
        is_mine=bool(is_mine),
        is_own=bool(is_own),
        is_given=bool(is_given),
    )


def _votes(array: str | None) -> Sequence[GivenApproval]:
    if not array:
        return ()
    given = (text.split(" ") for text in msgspec.json.decode(array, type=list[str]))
    return tuple(
        sorted((GivenApproval(by, int(at)) for by, at in given), key=lambda one: (one.approved_at, one.approver))
    )
