"""Removes what nobody can use any more: expired sessions, and the lists of what ended or changed.

In small batches, so that nobody waits for it; what somebody works on is left for the next time. What reuse detection
needs is in a session's own row, which goes only when no token of it can be alive.
"""

import json
from collections.abc import Sequence
from functools import partial

from limen.storage.sql.approvals import expired as expired_approvals
from limen.storage.sql.database import Database
from limen.storage.sql.statement import NOBODY, Statement, Steps, rows, run

MARGIN_MS = 24 * 60 * 60 * 1000
"""Expired rows stay for a day (milliseconds): a clock that was wrong for a while then deletes nothing that is alive."""

BATCH = 500
"""Rows that one transaction deletes at most: nobody waits longer for it than for a refresh."""

MOST_PAGES = 100
"""Pages of `BATCH` sessions that one sweep looks at; the next goes on from there."""

# Walks the primary key: an index on what a rotation changes would make every refresh dearer.
_WALK = Statement(f"""
SELECT id, idle_until < @now - {MARGIN_MS} FROM limen_sessions WHERE id > :after ORDER BY id LIMIT :limit
""")  # noqa: S608

# Asks again: a refresh may have come in between.
_DELETE_EXPIRED = Statement(
    f"""
DELETE FROM limen_sessions
 WHERE id IN (SELECT value FROM json_each(:sids)) AND idle_until < @now - {MARGIN_MS}
""",  # noqa: S608
    postgres=f"""
DELETE FROM limen_sessions
 WHERE id IN (SELECT id FROM limen_sessions
               WHERE id IN (SELECT CAST(value AS uuid) FROM json_array_elements_text(CAST(:sids AS json)))
                 AND idle_until < @now - {MARGIN_MS} FOR UPDATE SKIP LOCKED)
""",  # noqa: S608
)

_DELETE_ENDED = Statement("""
DELETE FROM limen_ended_sessions
 WHERE id IN (SELECT id FROM limen_ended_sessions WHERE keep_until < @now ORDER BY keep_until LIMIT :limit @skip_locked)
""")

_DELETE_CHANGED = Statement("""
DELETE FROM limen_changed_roles
 WHERE account_id IN (SELECT account_id FROM limen_changed_roles WHERE keep_until < @now
                       ORDER BY keep_until LIMIT :limit @skip_locked)
""")

# Expired keys are shown for a month; revoked ones stay until they would have ended.
_DELETE_KEYS = Statement(f"""
DELETE FROM limen_api_keys
 WHERE id IN (SELECT id FROM limen_api_keys WHERE expires_at < @now - {30 * MARGIN_MS}
               ORDER BY expires_at LIMIT :limit @skip_locked)
""")  # noqa: S608

_DELETE_FLOWS = Statement("""
DELETE FROM limen_sso_flows
 WHERE state_hash IN (SELECT state_hash FROM limen_sso_flows WHERE expires_at < @now
                       ORDER BY expires_at LIMIT :limit @skip_locked)
""")

_DELETE_CODES = Statement("""
DELETE FROM limen_sso_codes
 WHERE code_hash IN (SELECT code_hash FROM limen_sso_codes WHERE expires_at < @now
                      ORDER BY expires_at LIMIT :limit @skip_locked)
""")

_DELETE_LOGOUTS = Statement("""
DELETE FROM limen_sso_logouts
 WHERE token_id IN (SELECT token_id FROM limen_sso_logouts WHERE keep_until < @now
                     ORDER BY keep_until LIMIT :limit @skip_locked)
""")

_DELETE_SEEN = Statement("""
DELETE FROM limen_seen_messages
 WHERE (jti, consumer) IN (SELECT jti, consumer FROM limen_seen_messages WHERE keep_until < @now
                            ORDER BY keep_until LIMIT :limit @skip_locked)
""")

# What was decided is shown for three months; what is still to be executed stays.
_DELETE_APPROVALS = Statement(f"""
DELETE FROM limen_approvals
 WHERE id IN (SELECT id FROM limen_approvals
               WHERE decided_at < @now - {90 * MARGIN_MS} AND (execution IS NULL OR execution <> 'queued')
               ORDER BY decided_at LIMIT :limit @skip_locked)
""")  # noqa: S608

# What ended by itself. For a day after, as everywhere: a clock that was wrong for a while must not take anything away.
_DELETE_GRANTS = Statement(f"""
DELETE FROM limen_account_roles
 WHERE (account_id, role) IN (SELECT account_id, role FROM limen_account_roles WHERE expires_at < @now - {MARGIN_MS}
                               ORDER BY expires_at LIMIT :limit @skip_locked)
""")  # noqa: S608

_DELETE_DIRECT_GRANTS = Statement(f"""
DELETE FROM limen_account_permissions
 WHERE (account_id, permission) IN (SELECT account_id, permission FROM limen_account_permissions
                                     WHERE expires_at < @now - {MARGIN_MS}
                                     ORDER BY expires_at LIMIT :limit @skip_locked)
""")  # noqa: S608

_DELETE_PROOFS = Statement(f"""
DELETE FROM limen_mail_proofs
 WHERE (account_id, purpose) IN (SELECT account_id, purpose FROM limen_mail_proofs
                                  WHERE expires_at < @now - {MARGIN_MS} ORDER BY expires_at LIMIT :limit @skip_locked)
""")  # noqa: S608

# For a week it can be seen that a mail was sent or given up; to whom, not even then.
_DELETE_MAILS = Statement(f"""
DELETE FROM limen_mails
 WHERE id IN (SELECT id FROM limen_mails WHERE done_at < @now - {7 * MARGIN_MS}
               ORDER BY done_at LIMIT :limit @skip_locked)
""")  # noqa: S608

# What nobody takes any more: mail was switched off while it waited.
_DELETE_LEFT_MAILS = Statement(f"""
DELETE FROM limen_mails
 WHERE id IN (SELECT id FROM limen_mails WHERE status = 'queued' AND next_at < @now - {7 * MARGIN_MS}
               ORDER BY next_at LIMIT :limit @skip_locked)
""")  # noqa: S608

# A request waits for a month at most; the secret of a key may have been somebody's for as long as the key is there.
_DELETE_HANDS = Statement(f"""
DELETE FROM limen_credential_hands
 WHERE (credential_id, held_by) IN (
    SELECT h.credential_id, h.held_by FROM limen_credential_hands h
     WHERE h.since < @now - {31 * MARGIN_MS}
       AND NOT EXISTS (SELECT 1 FROM limen_api_keys k WHERE k.id = h.credential_id)
     ORDER BY h.since LIMIT :limit @skip_locked)
""")  # noqa: S608

_DELETE_THROTTLES = Statement(f"""
DELETE FROM limen_throttles
 WHERE bucket IN (SELECT bucket FROM limen_throttles WHERE ends_at < @now - {MARGIN_MS}
                   ORDER BY ends_at LIMIT :limit @skip_locked)
""")  # noqa: S608

_LISTS = (
    _DELETE_ENDED,
    _DELETE_CHANGED,
    _DELETE_KEYS,
    _DELETE_FLOWS,
    _DELETE_CODES,
    _DELETE_LOGOUTS,
    _DELETE_SEEN,
    _DELETE_APPROVALS,
    _DELETE_GRANTS,
    _DELETE_DIRECT_GRANTS,
    _DELETE_PROOFS,
    _DELETE_MAILS,
    _DELETE_LEFT_MAILS,
    _DELETE_HANDS,
    _DELETE_THROTTLES,
)


class Housekeeping:
    """Sweeps one database, a part of it each time.

    Args:
        database: what is swept. Several processes may sweep the same one.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = NOBODY

    async def sweep(self, limit: int) -> int:
        """Delete what is past its time, ``limit`` rows at most, and turn requests that are; return how many went."""
        swept = 0
        while swept < limit:
            size = min(BATCH, limit - swept)
            turned = await self._database.write(partial(expired_approvals, size))
            swept += turned
            if turned < size:
                break
        for statement in _LISTS:
            swept += await self._sweep_list(statement, limit - swept)
        return swept + await self._sweep_expired(limit - swept)

    async def _sweep_list(self, statement: Statement, limit: int) -> int:
        swept = 0
        while swept < limit:
            size = min(BATCH, limit - swept)
            deleted = await self._database.write_one(partial(run, statement, limit=size))
            swept += deleted
            if deleted < size:
                break
        return swept

    async def _sweep_expired(self, limit: int) -> int:
        swept = 0
        for _ in range(MOST_PAGES):
            following, expired = await self._database.read(partial(_expired, self._after))
            chosen = expired[: limit - swept]
            if chosen:
                swept += await self._database.write_one(partial(run, _DELETE_EXPIRED, sids=json.dumps(chosen)))
            if len(chosen) < len(expired):
                break
            self._after = following
            if following == NOBODY:
                break
        return swept


def _expired(after: str) -> Steps[tuple[str, Sequence[str]]]:
    """Return where the next page begins (the start again, at the end), and what is expired on this one."""
    found = yield from rows(_WALK, after=after, limit=BATCH)
    # The absolute end is never before the idle one, so the idle one tells both.
    following = str(found[-1][0]) if len(found) == BATCH else NOBODY
    return following, [str(sid) for sid, is_expired in found if is_expired]
