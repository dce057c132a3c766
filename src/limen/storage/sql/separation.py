"""Roles that nobody may hold at once: which they are, and who holds two of them all the same."""

from collections.abc import Collection

from limen.core.errors import Conflict
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run, run_each

_SEPARATED = Statement("SELECT role, other FROM limen_separated_roles")

_SEPARATE = Statement("INSERT INTO limen_separated_roles (role, other) VALUES (:role, :other)")

_UNITE_ALL = Statement("DELETE FROM limen_separated_roles")

# Each role, and everything that whoever holds it has by that: itself, and what it extends.
HAS_BY = """
has_by (role, has) AS (
    SELECT known.name, known.name FROM limen_roles known WHERE known.source <> 'retired'
    UNION
    SELECT has_by.role, x.extends FROM has_by JOIN limen_role_extensions x ON x.role = has_by.has
      JOIN limen_roles known ON known.name = x.extends WHERE known.source <> 'retired')
"""
"""A table for WITH RECURSIVE."""
_HELD = "(holding.expires_at IS NULL OR holding.expires_at > @now)"
_OTHER_HELD = "(beside.expires_at IS NULL OR beside.expires_at > @now)"

_VIOLATED_BY_ACCOUNT = Statement(f"""
WITH RECURSIVE {HAS_BY}
SELECT apart.role, apart.other FROM limen_separated_roles apart
 WHERE EXISTS (SELECT 1 FROM limen_account_roles holding JOIN has_by ON has_by.role = holding.role
                WHERE holding.account_id = :account_id AND has_by.has = apart.role AND {_HELD})
   AND EXISTS (SELECT 1 FROM limen_account_roles beside JOIN has_by ON has_by.role = beside.role
                WHERE beside.account_id = :account_id AND has_by.has = apart.other AND {_OTHER_HELD})
 ORDER BY apart.role, apart.other
""")  # noqa: S608

_VIOLATIONS = f"""
WITH RECURSIVE {HAS_BY}
SELECT {{columns}} FROM limen_separated_roles apart
  JOIN has_by one ON one.has = apart.role
  JOIN limen_account_roles holding ON holding.role = one.role
  JOIN limen_account_roles beside ON beside.account_id = holding.account_id
  JOIN has_by two ON two.role = beside.role AND two.has = apart.other
  JOIN limen_accounts a ON a.id = holding.account_id
 WHERE {_HELD} AND {_OTHER_HELD}
"""  # noqa: S608

# Of two that are held at once neither counts, nor a role by which one of them is held: see `RoleCatalogue.counting`.
COUNTS = f"""
NOT EXISTS (
    SELECT 1 FROM limen_separated_roles apart
      JOIN has_by mine ON mine.role = counted.role AND (mine.has = apart.role OR mine.has = apart.other)
     WHERE EXISTS (SELECT 1 FROM limen_account_roles holding JOIN has_by ON has_by.role = holding.role
                    WHERE holding.account_id = counted.account_id AND has_by.has = apart.role AND {_HELD})
       AND EXISTS (SELECT 1 FROM limen_account_roles beside JOIN has_by ON has_by.role = beside.role
                    WHERE beside.account_id = counted.account_id AND has_by.has = apart.other AND {_OTHER_HELD}))
"""  # noqa: S608
"""Whether a row of limen_account_roles, called ``counted``, counts for its account; beside `HAS_BY`."""

_COUNT_VIOLATORS = Statement(_VIOLATIONS.format(columns="count(DISTINCT holding.account_id)"))

_VIOLATORS = Statement(
    _VIOLATIONS.format(columns="DISTINCT a.username, apart.role, apart.other")
    + "ORDER BY a.username, apart.role, apart.other LIMIT :limit"
)


def separated() -> Steps[frozenset[tuple[str, str]]]:
    """Return the pairs, the names of each in their order."""
    found: list[Row] = yield from rows(_SEPARATED)
    return frozenset((role, other) for role, other in found)


def separate(pairs: Collection[tuple[str, str]]) -> Steps[None]:
    """Make the pairs be exactly these."""
    yield from run(_UNITE_ALL)
    yield from run_each(_SEPARATE, [{"role": role, "other": other} for role, other in sorted(pairs)])


def violators() -> Steps[int]:
    """Count the accounts that hold two roles which nobody may hold at once."""
    found = yield from row(_COUNT_VIOLATORS)
    return 0 if found is None else int(found[0])


def violations(limit: int) -> Steps[list[tuple[str, str, str]]]:
    """List, by username, who holds which pair that nobody may hold."""
    found = yield from rows(_VIOLATORS, limit=limit)
    return [(username, role, other) for username, role, other in found]


def refuse_separated(account_id: str) -> Steps[None]:
    """Refuse where the account holds, by what was just granted, two roles that nobody may hold at once.

    To be called in the transaction of the grant, after the account's row was locked or made in it.

    Raises:
        Conflict: it does; nothing may be changed.
    """
    found = yield from row(_VIOLATED_BY_ACCOUNT, account_id=account_id)
    if found is not None:
        raise separated_conflict(found[0], found[1])


def separated_conflict(role: str, other: str) -> Conflict:
    """Return the error for two roles that nobody may hold at once."""
    return Conflict(f"Nobody may hold the roles {role} and {other} at once: their duties are separated.")
