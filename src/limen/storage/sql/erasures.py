"""What an account leaves behind when it is deleted: taken at once, and what takes longer is written down to be done."""

from dataclasses import replace
from functools import partial

from limen.core.events import Event, EventName
from limen.features.accounts.erasing import Erasure
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Statement, Steps, row, rows, run

_TAKE_FLOWS = Statement("DELETE FROM limen_sso_flows WHERE account_id = :id")

_TAKE_CODES = Statement("DELETE FROM limen_sso_codes WHERE account_id = :id")

# A forgotten password was asked for by an address alone. Another account may have the same one, and wait for its mail.
_TAKE_ADDRESSED = Statement("""
DELETE FROM limen_mails
 WHERE account_id IS NULL AND recipient = (SELECT email FROM limen_accounts WHERE id = :id)
   AND NOT EXISTS (SELECT 1 FROM limen_accounts other WHERE other.email = limen_mails.recipient AND other.id <> :id)
""")

_WITHDRAW = Statement("""
UPDATE limen_approvals
   SET status = 'withdrawn', decided_at = @now, decided_by = CAST(:actor AS text), reason = 'account_deleted'
 WHERE status = 'pending' AND maker_account = :id RETURNING id, action, maker_id
""")

# By these a person was known elsewhere; who is decided about is told by the account's id.
_FORGET_MAKER = Statement("""
UPDATE limen_approvals SET maker_issuer = NULL, maker_subject = NULL
 WHERE maker_account = :id AND maker_subject IS NOT NULL
""")

_REQUEST = Statement("""
INSERT INTO limen_erasures (account_id, actor, requested_at, lease_until) VALUES (:id, :actor, @now, 0)
ON CONFLICT (account_id) DO NOTHING
""")

_DUE = Statement("SELECT 1 FROM limen_erasures WHERE lease_until <= @now LIMIT 1")

_CLAIM = Statement("""
UPDATE limen_erasures SET lease_until = @now + :lease
 WHERE account_id = (SELECT account_id FROM limen_erasures WHERE lease_until <= @now
                      ORDER BY requested_at, account_id LIMIT 1 @skip_locked)
RETURNING account_id, actor
""")

_DONE = Statement("DELETE FROM limen_erasures WHERE account_id = :id")


def take_what_is_personal(account_id: str, event: Event) -> Steps[None]:
    """Take what is personal beside the account's row, in the transaction of its deletion and before its address goes.

    The details in the audit trail may be many: that they are to be erased is written down.
    """
    yield from run(_TAKE_FLOWS, id=account_id)
    yield from run(_TAKE_CODES, id=account_id)
    yield from run(_TAKE_ADDRESSED, id=account_id)
    withdrawn = yield from rows(_WITHDRAW, id=account_id, actor=event.actor)
    for approval_id, action, maker in withdrawn:
        data = {"action": action, "maker": maker, "reason": "account_deleted"}
        told = replace(event, name=EventName.APPROVAL_WITHDRAWN, target=str(approval_id), data=data)
        yield from record(told)
    yield from run(_FORGET_MAKER, id=account_id)
    yield from run(_REQUEST, id=account_id, actor=event.actor)


class SQLErasures:
    """Implements `limen.features.accounts.erasing.ErasureStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, lease_ms: int) -> Erasure | None:
        """Take one that is due; one caller gets it."""
        # Looked at first: most of the time there is none, and looking takes no writer.
        if await self._database.read(_is_none_due):
            return None
        return await self._database.write(partial(_claimed, lease_ms))

    async def done(self, account_id: str) -> None:
        """Note that it is done."""
        await self._database.write_one(partial(run, _DONE, id=account_id))


def _is_none_due() -> Steps[bool]:
    return (yield from row(_DUE)) is None


def _claimed(lease_ms: int) -> Steps[Erasure | None]:
    found = yield from row(_CLAIM, lease=lease_ms)
    return None if found is None else Erasure(str(found[0]), found[1])
