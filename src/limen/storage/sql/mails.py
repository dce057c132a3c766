"""The outbox of mails: written with the act that they tell of, claimed by one process at a time."""

import json
from collections.abc import Mapping
from functools import partial

from limen.authz.authority import Authority
from limen.core import metrics
from limen.core.events import Event
from limen.core.ids import uuid7
from limen.core.mails import ClaimedMail, NewMail
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Row, Statement, Steps, row, run

_QUEUE = Statement("""
INSERT INTO limen_mails (id, kind, recipient, data, status, created_at, expires_at, next_at)
VALUES (:id, :kind, :recipient, :data, 'queued', @now, @now + :lifetime, @now)
""")

# Only where the account is what it was when the mail was judged: a password takes long enough to check for all that it
# opened to be ended meanwhile.
_QUEUE_FOR_ACCOUNT = Statement("""
INSERT INTO limen_mails
       (id, kind, account_id, account_epoch, roles_version, recipient, data, status, created_at, expires_at, next_at)
SELECT :id, :kind, a.id, a.session_epoch, CAST(:roles_version AS integer), :recipient, :data, 'queued',
       @now, @now + :lifetime, @now
  FROM limen_accounts a
 WHERE a.id = :account_id AND a.session_epoch = :epoch
   AND COALESCE(a.email, '') = COALESCE(CAST(:account_email AS text), '')
""")

_COLUMNS = "id, kind, recipient, account_id, data, sealed, attempts, created_at, expires_at, expires_at <= @now, lease"

_CLAIM = Statement(f"""
UPDATE limen_mails SET attempts = attempts + 1, lease = :lease, next_at = @now + :lease_ms
 WHERE id = (SELECT id FROM limen_mails
              WHERE status = 'queued' AND next_at <= @now ORDER BY next_at LIMIT 1 @skip_locked)
   AND status = 'queued'
RETURNING {_COLUMNS}
""")  # noqa: S608

_END = """
UPDATE limen_mails
   SET status = '{status}', recipient = '', data = '{{}}', sealed = NULL, next_at = NULL, lease = NULL,
       done_at = @now, failure = {failure}
 WHERE id = :id AND status = 'queued' AND lease = :lease
"""

_FINISH = Statement(_END.format(status="sent", failure="NULL"))

_GIVE_UP = Statement(_END.format(status="given_up", failure=":failure"))

_PUT_OFF = Statement("""
UPDATE limen_mails SET next_at = @now + :again, lease = NULL, failure = :failure
 WHERE id = :id AND status = 'queued' AND lease = :lease
""")

_DROP = Statement("DELETE FROM limen_mails WHERE id = :id AND status = 'queued' AND lease = :lease")


class SQLMails:
    """Implements `limen.features.mail.store.MailStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue(self, mail: NewMail, event: Event, *, authority: Authority | None = None) -> bool:
        """Insert a mail to be sent, and the event; see the Protocol."""
        return await self._database.write(partial(_queued, mail, event, authority))

    async def claim(self, *, lease_ms: int) -> ClaimedMail | None:
        """Take the next mail whose time has come; one caller gets it."""
        return await self._database.write(partial(_claimed, lease_ms))

    async def finish(self, claimed: ClaimedMail) -> bool:
        """Note that it was sent, and forget to whom and what."""
        return await self._database.write_one(partial(_ended, _FINISH, claimed, {}))

    async def put_off(self, claimed: ClaimedMail, *, failure: str, again_ms: int) -> bool:
        """Note that it failed, and when it is tried again."""
        more = {"failure": failure, "again": again_ms}
        return await self._database.write_one(partial(_ended, _PUT_OFF, claimed, more))

    async def give_up(self, claimed: ClaimedMail, event: Event, *, failure: str) -> bool:
        """Note that it is not sent, and forget to whom and what; with the event."""
        return await self._database.write(partial(_given_up, claimed, event, failure))

    async def drop(self, claimed: ClaimedMail) -> bool:
        """Delete a mail that is for nobody."""
        return await self._database.write_one(partial(_ended, _DROP, claimed, {}))


def queue(mail: NewMail, *, roles_version: int | None = None) -> Steps[bool]:
    """Insert a mail, in the transaction of the act that it belongs to; False where its account is another by now."""
    values = {
        "id": mail.id,
        "kind": mail.kind,
        "recipient": mail.recipient,
        "data": _json(mail.data),
        "lifetime": mail.lifetime_ms,
    }
    if mail.account_id is None:
        return _counted((yield from run(_QUEUE, **values)))
    seen = {"epoch": mail.account_epoch, "account_email": mail.account_email, "roles_version": roles_version}
    return _counted((yield from run(_QUEUE_FOR_ACCOUNT, account_id=mail.account_id, **seen, **values)))


def _counted(queued: int) -> bool:
    """Count what was written, for the metrics: also what its transaction takes back afterwards, which is rare."""
    metrics.MAILS.add("queued", times=queued)
    return bool(queued)


def _queued(mail: NewMail, event: Event, authority: Authority | None) -> Steps[bool]:
    if mail.account_id is not None:
        yield from locked(mail.account_id, authority)
    # What an administrator could do to the account, they could do to what it held then.
    version = None if authority is None else authority.target_version
    if not (yield from queue(mail, roles_version=version)):
        return False
    yield from record(event)
    return True


def _claimed(lease_ms: int) -> Steps[ClaimedMail | None]:
    found = yield from row(_CLAIM, lease=uuid7(), lease_ms=lease_ms)
    return None if found is None else _mail(found)


def _ended(statement: Statement, claimed: ClaimedMail, more: dict[str, object]) -> Steps[bool]:
    return bool((yield from run(statement, id=claimed.id, lease=claimed.lease, **more)))


def _given_up(claimed: ClaimedMail, event: Event, failure: str) -> Steps[bool]:
    if not (yield from _ended(_GIVE_UP, claimed, {"failure": failure})):
        return False
    yield from record(event)
    return True


def _mail(found: Row) -> ClaimedMail:
    id_, kind, recipient, account_id, data, sealed, attempts, created_at, expires_at, is_expired, lease = found
    return ClaimedMail(
        id=str(id_),
        kind=kind,
        recipient=recipient,
        account_id=None if account_id is None else str(account_id),
        data=json.loads(data),
        sealed=None if sealed is None else bytes(sealed),
        attempts=attempts,
        created_at=created_at,
        expires_at=expires_at,
        is_expired=bool(is_expired),
        lease=str(lease),
    )


def _json(data: Mapping[str, object]) -> str:
    return json.dumps(dict(data))
