"""Who holds which roles, how that is read beside another row, and who of them administers."""

from functools import lru_cache

import msgspec

from limen.authz.administration import Administration
from limen.core.errors import Conflict
from limen.core.held import read
from limen.storage.sql.separation import COUNTS, HAS_BY
from limen.storage.sql.statement import Statement, Steps, row, run

LAST_ADMINISTRATOR = "No administrator would be left: first give another active account a role with roles:assign."

LAST_BY_SEPARATION = (
    "No administrator would be left: whoever is one holds two of the roles that separation_of_duty= separates, and"
    " neither would count. First revoke one of the two, or give another active account a role with roles:assign."
)

_ROLES_OF = """
SELECT CASE WHEN held.expires_at IS NULL THEN held.role ELSE held.role || '@' || held.expires_at END AS name
  FROM limen_account_roles held JOIN limen_roles known ON known.name = held.role
 WHERE known.source <> 'retired' AND held.account_id = {account}
   AND (held.expires_at IS NULL OR held.expires_at > @now)
"""

HELD = f"""
SELECT @array_of(name) FROM ({_ROLES_OF} UNION ALL
    SELECT CASE WHEN own.expires_at IS NULL THEN '+' || own.permission
                ELSE '+' || own.permission || '@' || own.expires_at END
      FROM limen_account_permissions own
     WHERE own.account_id = {{account}} AND (own.expires_at IS NULL OR own.expires_at > @now)) everything
"""  # noqa: S608
"""A subquery: what an account holds (`limen.core.held`), as a JSON array; to be told what its id is called."""

HELD_BY_ACCOUNT = HELD.format(account="limen_accounts.id")
"""The same for the account of the outer statement."""

HELD_BY_SESSION = HELD.format(account="limen_sessions.account_id")
"""The same for the account of the session in the outer statement."""


@lru_cache(maxsize=1024)
def role_names(array: str | None) -> frozenset[str]:
    """Turn the JSON array of such a subquery into what is held; accounts with the same roles share one set.

    PostgreSQL answers no array at all where SQLite answers an empty one.
    """
    return read(msgspec.json.decode(array, type=list[str])) if array else frozenset()


# Whoever changes who is an administrator holds this row, so that two who do it at once do it one after the other.
LOCK_CATALOGUE = Statement("SELECT version FROM limen_catalogue WHERE id = 1 @for_update")

# A service cannot administer: that takes a person who has logged in. Nor does a role count that ends by itself: at its
# end nobody would be left; nor one that is held beside another that excludes it.
_HELD_BY_ADMINISTRATOR = f"""
SELECT 1 FROM limen_account_roles counted JOIN limen_accounts a ON a.id = counted.account_id
 WHERE a.status = 'active' AND a.account_kind = 'person' AND counted.expires_at IS NULL
   AND counted.role IN (SELECT role FROM giving) AND {COUNTS}
"""  # noqa: S608

# Always a statement of its own, after the lock: on PostgreSQL one that began before would not see what was committed
# while it waited.
_ADMINISTRATORS = Statement(f"""
WITH RECURSIVE {HAS_BY}, giving (role) AS (
    SELECT p.role FROM limen_role_permissions p JOIN limen_roles known ON known.name = p.role
     WHERE p.permission = '{Administration.ROLES_ASSIGN.value}' AND known.source <> 'retired'
    UNION
    SELECT x.role FROM limen_role_extensions x JOIN giving ON giving.role = x.extends
      JOIN limen_roles known ON known.name = x.role WHERE known.source <> 'retired')
SELECT EXISTS ({_HELD_BY_ADMINISTRATOR} AND a.id = :account_id),
       EXISTS ({_HELD_BY_ADMINISTRATOR} AND a.id <> :account_id)
""")  # noqa: S608


# What is kept longer stays: a clock that stepped back must not end it early.
LIST_AS_CHANGED = Statement(f"""
INSERT INTO limen_changed_roles (account_id, roles, changed_at, keep_until)
SELECT a.id, COALESCE(CAST(({HELD.format(account="a.id")}) AS text), '[]'), @now, @now + :keep
  FROM limen_accounts a WHERE a.id = :account_id
    ON CONFLICT (account_id) DO UPDATE SET roles = excluded.roles, changed_at = excluded.changed_at,
       keep_until = CASE WHEN excluded.keep_until > limen_changed_roles.keep_until THEN excluded.keep_until
                         ELSE limen_changed_roles.keep_until END
""")  # noqa: S608


def refuse_last_administrator(account_id: str) -> Steps[None]:
    """Refuse where this account is the last active one with a role that gives ``roles:assign``.

    To be called in the transaction that takes away the account or its standing: after the account's row was locked
    (``@for_update``), before anything is changed. It locks the row of the catalogue until that transaction ends.

    Raises:
        Conflict: it is the last one; nothing may be changed.
    """
    yield from row(LOCK_CATALOGUE)
    is_one, is_another = yield from administrators(account_id)
    if is_one and not is_another:
        raise Conflict(LAST_ADMINISTRATOR)


def list_changed_roles(account_id: str, *, keep_ended_ms: int) -> Steps[None]:
    """Tell every process which roles the account holds now, so that tokens with other ones are refused.

    To be called after the change, in its transaction, with the catalogue's row locked.
    """
    yield from run(LIST_AS_CHANGED, account_id=account_id, keep=keep_ended_ms)


def administrators(account_id: str) -> Steps[tuple[bool, bool]]:
    """Tell whether this account is an active administrator, and whether another one is."""
    found = yield from row(_ADMINISTRATORS, account_id=account_id)
    return (bool(found[0]), bool(found[1])) if found else (False, False)
