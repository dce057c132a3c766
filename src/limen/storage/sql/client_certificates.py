"""Names of client certificates: registered, matched, listed, taken away."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from limen.authn.client_certificate_records import CertificateState
from limen.authz.authority import Authority
from limen.core.errors import Conflict
from limen.core.events import Event
from limen.core.ids import is_uuid7
from limen.features.client_certificates.store import NewRegistration, Registration
from limen.features.sessions.store import EndReason
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.holdings import HELD, role_names
from limen.storage.sql.sessions import delete_all, list_as_ended
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

MOST_NAMES: Final = 100
"""Names that a service may have at once."""

_COLUMNS = f"""
c.id, c.name, c.account_id, a.account_kind, a.status, a.session_epoch, ({HELD.format(account="c.account_id")})
  FROM limen_client_certificates c JOIN limen_accounts a ON a.id = c.account_id
"""

_MATCH = Statement(
    f"SELECT {_COLUMNS} WHERE c.name IN (SELECT value FROM json_each(:names)) ORDER BY c.id",  # noqa: S608
    postgres=f"SELECT {_COLUMNS} WHERE c.name = ANY "
    "(ARRAY(SELECT json_array_elements_text(CAST(:names AS json)))) ORDER BY c.id",
)

_BY_ID = Statement(f"SELECT {_COLUMNS} WHERE c.id = :id")

# The account's row is locked by the statement before (`locked`), so what is asked here cannot change until the commit.
_ADD = Statement("""
INSERT INTO limen_client_certificates (id, account_id, name, created_at, created_by)
SELECT :id, a.id, :name, @now, :created_by
  FROM limen_accounts a WHERE a.id = :account_id AND a.status = 'active' AND a.account_kind = 'service'
    ON CONFLICT (name) DO NOTHING
RETURNING id, name, created_at, created_by
""")

_IS_SERVICE = Statement("""
SELECT 1 FROM limen_accounts WHERE id = :account_id AND status = 'active' AND account_kind = 'service'
""")

_COUNT = Statement("SELECT count(*) FROM limen_client_certificates WHERE account_id = :account_id")

# The newest first: ids begin with the time.
_OF_ACCOUNT = Statement("""
SELECT id, name, created_at, created_by FROM limen_client_certificates WHERE account_id = :account_id ORDER BY id DESC
""")

# What was asked for by it stays theirs who registered it, also when the registration has gone.
_NOTE_HAND = Statement("""
INSERT INTO limen_credential_hands (credential_id, held_by, since)
SELECT id, created_by, @now FROM limen_client_certificates WHERE id = :id AND account_id = :account_id
ON CONFLICT (credential_id, held_by) DO UPDATE SET since = excluded.since
""")

_REMOVE = Statement("DELETE FROM limen_client_certificates WHERE id = :id AND account_id = :account_id")


class SQLClientCertificates:
    """Implements `limen.features.client_certificates.store.ClientCertificateStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def match(self, names: Sequence[str]) -> Sequence[CertificateState]:
        """Read which of the names are registered, with their accounts and roles, in one statement."""
        return await self._database.read_committed(partial(_matched, names))

    async def by_id(self, registration: str) -> CertificateState | None:
        """Read one registration; None where there is none."""
        return await self._database.read_committed(partial(_found, registration))

    async def add(self, new: NewRegistration, event: Event) -> Registration | None:
        """Register a name by one conditional INSERT … SELECT from the service's account, and write the event."""
        return await self._database.write(partial(_added, new, event))

    async def of_account(self, account_id: str) -> Sequence[Registration]:
        """List the names of the account, the newest first."""
        return await self._database.read(partial(_of_account, account_id))

    async def remove(
        self,
        registration: str,
        *,
        account_id: str,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> bool:
        """Take a name away if it is this account's, and end what it began: the tokens of the account."""
        return await self._database.write(partial(_removed, registration, account_id, event, keep_ended_ms, authority))


def _matched(names: Sequence[str]) -> Steps[Sequence[CertificateState]]:
    found = yield from rows(_MATCH, names=json.dumps(list(names)))
    return [_state(each) for each in found]


def _found(registration: str) -> Steps[CertificateState | None]:
    # PostgreSQL would call it an error: what is no id names no registration.
    found = (yield from row(_BY_ID, id=registration)) if is_uuid7(registration) else None
    return None if found is None else _state(found)


def _state(found: Row) -> CertificateState:
    registration, name, account_id, kind, status, epoch, roles = found
    return CertificateState(str(registration), name, str(account_id), kind, status, epoch, role_names(roles))


def _added(new: NewRegistration, event: Event) -> Steps[Registration | None]:
    yield from locked(new.account_id, new.authority)
    if (yield from row(_IS_SERVICE, account_id=new.account_id)) is None:
        return None
    # The account's row is locked: of two who register the last one, one does.
    held = yield from row(_COUNT, account_id=new.account_id)
    if held is not None and held[0] >= MOST_NAMES:
        raise Conflict(f"The service has {MOST_NAMES} names of certificates; remove one first.")
    found = yield from row(_ADD, id=new.id, account_id=new.account_id, name=new.name, created_by=new.created_by)
    if found is None:
        raise Conflict("A service is known by this name already.")
    yield from record(event)
    return Registration(str(found[0]), *found[1:])


def _of_account(account_id: str) -> Steps[Sequence[Registration]]:
    found = (yield from rows(_OF_ACCOUNT, account_id=account_id)) if is_uuid7(account_id) else []
    return [Registration(str(each[0]), *each[1:]) for each in found]


def _removed(
    registration: str, account_id: str, event: Event, keep_ended_ms: int, authority: Authority | None
) -> Steps[bool]:
    if not is_uuid7(registration):
        return False
    yield from locked(account_id, authority)
    yield from run(_NOTE_HAND, id=registration, account_id=account_id)
    if not (yield from run(_REMOVE, id=registration, account_id=account_id)):
        return False
    # Which of its names a token was issued for is not kept: a service that has another gets another token.
    yield from list_as_ended(
        [registration], account_id=account_id, reason=EndReason.REVOKED, keep_ended_ms=keep_ended_ms
    )
    yield from delete_all(account_id, reason=EndReason.REVOKED, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return True
