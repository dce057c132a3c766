"""Notices: mails that are written in the transaction of what they tell of, as many of a kind as are of use."""

import json
from typing import Final

from limen.core import metrics
from limen.core.notices import Notice, bound_of
from limen.storage.sql.statement import Statement, Steps, row, run

NOTICE_LIFETIME_MS: Final = 3 * 24 * 60 * 60 * 1000
"""Milliseconds after which a notice is not sent any more: what it tells of is no news by then."""

# Of two logins at once the account's row is shared; who counts what was written has to be alone.
_ALONE = Statement(
    "SELECT 1 WHERE :account_id IS NOT NULL",
    postgres="SELECT pg_advisory_xact_lock(hashtextextended('limen notice ' || CAST(:account_id AS text), 0))",
)

# To an address that was proved, and is the account's own at this moment; to nobody otherwise.
_NOTICE = Statement("""
INSERT INTO limen_mails (id, kind, account_id, recipient, data, status, created_at, expires_at, next_at)
SELECT :id, CAST(:kind AS text), a.id, a.email, :data, 'queued', @now, @now + :lifetime, @now
  FROM limen_accounts a JOIN limen_verified_emails v ON v.account_id = a.id AND v.email = a.email
 WHERE a.id = :account_id AND a.status <> 'deleted'
   AND :most > (SELECT count(*) FROM limen_mails m
                 WHERE m.account_id = a.id AND m.kind = CAST(:kind AS text) AND m.created_at > @now - :within)
""")


def notify(account_id: str, notice: Notice | None) -> Steps[None]:
    """Insert a notice to the account's verified address as it is now, in the transaction of what it tells of.

    Not where as many of its kind were written lately as are of use (`limen.core.notices.bound_of`).
    """
    if notice is None:
        return
    bound = bound_of(notice.kind)
    yield from row(_ALONE, account_id=account_id)
    queued = yield from run(
        _NOTICE,
        id=notice.id,
        kind=notice.kind,
        account_id=account_id,
        data=json.dumps(dict(notice.data)),
        lifetime=NOTICE_LIFETIME_MS,
        most=bound.most,
        within=bound.within_ms,
    )
    # Also what its transaction takes back afterwards, which is rare.
    metrics.MAILS.add("queued", times=queued)
