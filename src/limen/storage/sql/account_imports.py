"""Accounts that are brought in from elsewhere: one statement for a thousand of them."""

import json
from collections.abc import Mapping, Sequence
from functools import partial

from limen.core.errors import Conflict
from limen.core.events import Event
from limen.features.accounts.importing import ImportedAccount
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of
from limen.storage.sql.separation import refuse_separated, separated
from limen.storage.sql.statement import Statement, Steps, rows, run

_NAMED = Statement(
    "SELECT username, id FROM limen_accounts WHERE username IN (SELECT value FROM json_each(:names))",
    postgres="""
SELECT username, id FROM limen_accounts
 WHERE username IN (SELECT value COLLATE "C" FROM json_array_elements_text(CAST(:names AS json)))
""",
)

# In the order of their names: of two imports at once each waits for the other's rows in the same order.
_INSERT = Statement(
    """
INSERT INTO limen_accounts (id, username, email, status, password_hash, created_at)
SELECT json_extract(value, '$.id'), json_extract(value, '$.username'), json_extract(value, '$.email'),
       json_extract(value, '$.status'), json_extract(value, '$.password_hash'),
       COALESCE(json_extract(value, '$.created_at'), @now)
  FROM json_each(:accounts) WHERE TRUE ORDER BY json_extract(value, '$.username')
ON CONFLICT DO NOTHING RETURNING id
""",
    postgres="""
INSERT INTO limen_accounts (id, username, email, status, password_hash, created_at)
SELECT CAST(value->>'id' AS uuid), value->>'username', value->>'email', value->>'status', value->>'password_hash',
       COALESCE(CAST(value->>'created_at' AS bigint), @now)
  FROM json_array_elements(CAST(:accounts AS json)) ORDER BY value->>'username' COLLATE "C"
ON CONFLICT DO NOTHING RETURNING id
""",
)

_GIVE_ROLES = Statement(
    """
INSERT INTO limen_account_roles (account_id, role)
SELECT json_extract(value, '$.id'), known.name FROM json_each(:held)
  JOIN limen_roles known ON known.name = json_extract(value, '$.role') AND known.source <> 'retired'
""",
    postgres="""
INSERT INTO limen_account_roles (account_id, role)
SELECT CAST(value->>'id' AS uuid), known.name FROM json_array_elements(CAST(:held AS json))
  JOIN limen_roles known ON known.name = value->>'role' AND known.source <> 'retired'
""",
)

# Whose it was proved to be first keeps it.
_VERIFY = Statement(
    """
INSERT INTO limen_verified_emails (email, account_id, verified_at)
SELECT json_extract(value, '$.email'), json_extract(value, '$.id'), @now FROM json_each(:proved)
 WHERE TRUE ORDER BY json_extract(value, '$.email')
ON CONFLICT DO NOTHING
""",
    postgres="""
INSERT INTO limen_verified_emails (email, account_id, verified_at)
SELECT value->>'email', CAST(value->>'id' AS uuid), @now FROM json_array_elements(CAST(:proved AS json))
 ORDER BY value->>'email'
ON CONFLICT DO NOTHING
""",
)

_RECORD = Statement(
    """
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
SELECT @now, json_extract(value, '$.event'), json_extract(value, '$.outcome'), json_extract(value, '$.actor'),
       json_extract(value, '$.source'), json_extract(value, '$.user_agent'), json_extract(value, '$.target'),
       json_extract(value, '$.request_id'), json_extract(value, '$.data')
  FROM json_each(:events)
""",
    postgres="""
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
SELECT @now, value->>'event', value->>'outcome', value->>'actor', value->>'source', value->>'user_agent',
       value->>'target', value->>'request_id', CAST(value->>'data' AS jsonb)
  FROM json_array_elements(CAST(:events AS json))
""",
)


class SQLAccountImports:
    """Implements `limen.features.accounts.importing.ImportStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, usernames: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of the accounts of these names, by name."""
        return await self._database.read(partial(_named, list(usernames)))

    async def insert(
        self, accounts: Sequence[ImportedAccount], events: Mapping[str, Event], *, all_or_none: bool
    ) -> frozenset[str]:
        """Insert the accounts whose name and id are free, in one transaction; see the Protocol."""
        return await self._database.write(partial(_inserted, accounts, events, all_or_none))


def _named(usernames: list[str]) -> Steps[dict[str, str]]:
    found = yield from rows(_NAMED, names=json.dumps(usernames))
    return {username: str(account_id) for username, account_id in found}


def _inserted(
    accounts: Sequence[ImportedAccount], events: Mapping[str, Event], all_or_none: bool
) -> Steps[frozenset[str]]:
    made = yield from rows(_INSERT, accounts=json.dumps([_columns(account) for account in accounts]))
    ids = frozenset(str(account_id) for (account_id,) in made)
    if all_or_none and len(ids) < len(accounts):
        raise Conflict("A name or an id is taken.")
    new = [account for account in accounts if account.id in ids]
    yield from _roles_given(new)
    proved = [{"id": account.id, "email": account.email} for account in new if account.email_verified]
    if proved:
        yield from run(_VERIFY, proved=json.dumps(proved))
    told = [columns_of(events[account.id]) for account in new if account.id in events]
    if told:
        yield from run(_RECORD, events=json.dumps(told))
    return ids


def _roles_given(new: Sequence[ImportedAccount]) -> Steps[None]:
    held = [{"id": account.id, "role": role} for account in new for role in sorted(account.roles)]
    if not held:
        return
    given = yield from run(_GIVE_ROLES, held=json.dumps(held))
    if given != len(held):
        raise Conflict("A role that an account is to hold does not exist.")
    several = [account.id for account in new if len(account.roles) > 0]
    if (yield from separated()):
        for account_id in several:
            yield from refuse_separated(account_id)


def _columns(account: ImportedAccount) -> dict[str, object]:
    return {
        "id": account.id,
        "username": account.username,
        "email": account.email,
        "status": account.status,
        "password_hash": account.password_hash,
        "created_at": account.created_at,
    }
