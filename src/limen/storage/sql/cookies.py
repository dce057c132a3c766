"""What every request with a session cookie asks. What opens and renews cookie sessions is in `issuing`."""

from functools import partial

from limen.authn.cookie import PresentedSession
from limen.features.sessions.store import EndReason
from limen.storage.sql.database import Database
from limen.storage.sql.holdings import HELD_BY_SESSION, role_names
from limen.storage.sql.sessions import list_as_ended
from limen.storage.sql.statement import Statement, Steps, row, rows, run

_LIVES = """
 WHERE limen_sessions.id = :sid AND kind = 'cookie' AND token_hash = :token_hash
   AND @now < idle_until AND @now < ends_at
"""

_PRESENT = Statement(f"""
SELECT account_id, idle_until, ends_at, limen_sessions.created_at, auth_time, amr, acr, client_id, ({HELD_BY_SESSION}),
       @now
  FROM limen_sessions JOIN limen_accounts a
    ON a.id = limen_sessions.account_id AND a.status = 'active' AND a.session_epoch = account_epoch
{_LIVES}
""")  # noqa: S608

# The time is asked again: of a hundred requests at once, one moves it. No index is on what changes.
_TOUCH = Statement(f"""
UPDATE limen_sessions SET idle_until = @least(@now + :idle, ends_at), rotated_at = @now
{_LIVES}   AND idle_until <= @now + :idle - :every AND idle_until < ends_at
""")  # noqa: S608


_DELETE_OF_ACCOUNT = Statement("""
DELETE FROM limen_sessions WHERE account_id = :account_id AND kind = 'cookie' RETURNING id
""")


class SQLCookies:
    """Implements `limen.authn.cookie.CookieStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def present(self, sid: str, token_hash: bytes) -> PresentedSession | None:
        """Read the session, its account and the roles of now by one statement."""
        return await self._database.read(partial(_present, sid, token_hash))

    async def touch(self, sid: str, token_hash: bytes, *, idle_ms: int, every_ms: int) -> bool:
        """Move the idle end by one conditional UPDATE."""
        touching = partial(run, _TOUCH, sid=sid, token_hash=token_hash, idle=idle_ms, every=every_ms)
        return await self._database.write_one(touching) == 1


def _present(sid: str, token_hash: bytes) -> Steps[PresentedSession | None]:
    found = yield from row(_PRESENT, sid=sid, token_hash=token_hash)
    if found is None:
        return None
    account_id, idle_until, ends_at, created_at, auth_time, amr, acr, client_id, roles, now = found
    return PresentedSession(
        str(account_id),
        idle_until,
        ends_at,
        created_at,
        auth_time,
        tuple(amr.split()),
        acr,
        client_id,
        role_names(roles),
        now,
    )


def end_cookies(account_id: str, *, keep_ended_ms: int) -> Steps[None]:
    """End the account's cookie sessions, since it may do other things from now on: no id of before is to be worth more.

    To be called after accounts and catalogue were locked, in the transaction of the change (OWASP ASVS 5.0, 7.2.4).
    """
    found = yield from rows(_DELETE_OF_ACCOUNT, account_id=account_id)
    sids = [str(sid) for (sid,) in found]
    yield from list_as_ended(sids, account_id=account_id, reason=EndReason.ROLES_CHANGED, keep_ended_ms=keep_ended_ms)
