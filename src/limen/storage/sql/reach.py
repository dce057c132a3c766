"""Ends what an old password could reach. Whatever a password opens from now on is to be ended here as well."""

from limen.core.events import Event, EventName
from limen.features.sessions.store import EndReason
from limen.storage.sql.events import record
from limen.storage.sql.proofs import take_proofs
from limen.storage.sql.sessions import delete_all, list_as_ended
from limen.storage.sql.sso import unlink_linked
from limen.storage.sql.statement import Statement, Steps, row, rows, run

# The account's own, with the secrets of before; keys of services belong to services.
_REVOKE_KEYS = Statement("""
UPDATE limen_api_keys
   SET revoked_at = @now, previous_kid = NULL, previous_hash = NULL, overlap_until = NULL
 WHERE account_id = :account_id AND revoked_at IS NULL RETURNING id
""")


# In one order, whoever locks requests: two who take each other's back at once would wait for each other otherwise.
_LOCK_REQUESTS = Statement("""
SELECT id FROM limen_approvals
 WHERE status = 'pending'
   AND (maker_account = :account_id
        OR id IN (SELECT v.request_id FROM limen_approval_votes v WHERE v.approver_id = :account_id))
 ORDER BY id @for_update
""")

_TAKE_VOTE = Statement("DELETE FROM limen_approval_votes WHERE request_id = :id AND approver_id = :account_id")

_COUNT_AGAIN = Statement("""
UPDATE limen_approvals SET given = (SELECT count(*) FROM limen_approval_votes v WHERE v.request_id = limen_approvals.id)
 WHERE id = :id AND status = 'pending'
""")

_WITHDRAW = Statement("""
UPDATE limen_approvals SET status = 'withdrawn', decided_at = @now, decided_by = 'system', reason = 'password_lost'
 WHERE id = :id AND status = 'pending' AND maker_account = :account_id
RETURNING action, maker_id
""")


def end_reach(account_id: str, *, keep_ended_ms: int, keep_sid: str | None = None, lost: bool = False) -> Steps[None]:
    """End every session of the account but ``keep_sid``, and every proof on its way by mail.

    Where the password was ``lost``, whoever sets another one does not know what was made with it: so the account's own
    keys end as well, the identities of providers that were linked from inside, and what is pending of its requests for
    approval and of its yes to others'. To be called in the transaction that changes the password, with the account's
    row locked.
    """
    yield from take_proofs(account_id)
    reason = EndReason.PASSWORD_CHANGED
    if lost:
        yield from unlink_linked(account_id)
        yield from _take_back_approvals(account_id)
        revoked = yield from rows(_REVOKE_KEYS, account_id=account_id)
        ids = [str(key) for (key,) in revoked]
        yield from list_as_ended(ids, account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    yield from delete_all(account_id, reason=reason, keep_ended_ms=keep_ended_ms, keep_sid=keep_sid)


def _take_back_approvals(account_id: str) -> Steps[None]:
    for (id_,) in (yield from rows(_LOCK_REQUESTS, account_id=account_id)):
        request = str(id_)
        if (yield from run(_TAKE_VOTE, id=request, account_id=account_id)):
            yield from run(_COUNT_AGAIN, id=request)
        withdrawn = yield from row(_WITHDRAW, id=request, account_id=account_id)
        if withdrawn is not None:
            data = {"reason": "password_lost", "action": withdrawn[0], "maker": withdrawn[1]}
            yield from record(Event(EventName.APPROVAL_WITHDRAWN, actor="system", target=request, data=data))
