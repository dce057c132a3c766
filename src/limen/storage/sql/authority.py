"""Asks again, in the transaction of an act on an account, whether what the act was judged by still holds."""

from limen.authz.authority import Authority, AuthorityMoved
from limen.storage.sql.holdings import LOCK_CATALOGUE
from limen.storage.sql.statement import Statement, Steps, row, rows

# In the order of their ids, whoever asks: two who act on each other would otherwise wait for each other.
_LOCK = Statement("""
SELECT id, status, roles_version FROM limen_accounts WHERE id = :one OR id = :other ORDER BY id @for_update
""")


def locked(account_id: str, authority: Authority | None) -> Steps[str | None]:
    """Lock the account, and who acts on it; return the account's status, None where there is no such account.

    To be called first in its transaction. With an authority the row of the catalogue is locked as well.

    Raises:
        AuthorityMoved: what was judged by is no longer so; nothing may be changed.
    """
    other = authority.actor_id if authority is not None else account_id
    found = yield from rows(_LOCK, one=account_id, other=other)
    by_id = {str(each): (status, version) for each, status, version in found}
    status: str | None
    status, version = by_id.get(account_id, (None, None))
    if authority is not None:
        if status is not None and version != authority.target_version:
            raise AuthorityMoved
        yield from _require(authority, by_id.get(authority.actor_id))
    return status


def actor_locked(authority: Authority | None) -> Steps[None]:
    """The same where there is no account yet.

    Raises:
        AuthorityMoved: what was judged by is no longer so.
    """
    if authority is not None:
        found = yield from rows(_LOCK, one=authority.actor_id, other=authority.actor_id)
        yield from _require(authority, (found[0][1], found[0][2]) if found else None)


def _require(authority: Authority, actor: tuple[str | None, int | None] | None) -> Steps[None]:
    if actor != ("active", authority.actor_version):
        raise AuthorityMoved
    catalogue = yield from row(LOCK_CATALOGUE)
    if catalogue is None or catalogue[0] != authority.catalogue:
        raise AuthorityMoved
