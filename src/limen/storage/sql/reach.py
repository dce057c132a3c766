"""Ends what an old password could reach. Whatever a password opens from now on is to be ended here as well."""

from limen.features.sessions.store import EndReason
from limen.storage.sql.proofs import take_proofs
from limen.storage.sql.sessions import delete_all, list_as_ended
from limen.storage.sql.statement import Statement, Steps, rows

# The account's own, with the secrets of before; keys of services belong to services.
_REVOKE_KEYS = Statement("""
UPDATE limen_api_keys
   SET revoked_at = @now, previous_kid = NULL, previous_hash = NULL, overlap_until = NULL
 WHERE account_id = :account_id AND revoked_at IS NULL RETURNING id
""")


def end_reach(account_id: str, *, keep_ended_ms: int, keep_sid: str | None = None, keys: bool = False) -> Steps[None]:
    """End every session of the account but ``keep_sid``, every proof on its way by mail and, with ``keys``, its keys.

    To be called in the transaction that changes the password, with the account's row locked.
    """
    yield from take_proofs(account_id)
    reason = EndReason.PASSWORD_CHANGED
    if keys:
        revoked = yield from rows(_REVOKE_KEYS, account_id=account_id)
        ids = [str(key) for (key,) in revoked]
        yield from list_as_ended(ids, account_id=account_id, reason=reason, keep_ended_ms=keep_ended_ms)
    yield from delete_all(account_id, reason=reason, keep_ended_ms=keep_ended_ms, keep_sid=keep_sid)
