"""Removes what nobody can use any more: expired sessions, and the list of ended ones."""

from collections.abc import Sequence
from functools import partial

from limen.storage.sql.database import Database
from limen.storage.sql.statement import NOBODY, Statement, Steps, rows, run

MARGIN_MS = 24 * 60 * 60 * 1000
"""Expired rows stay for a day (milliseconds): a clock that was wrong for a while then deletes nothing that is alive."""

BATCH = 500
"""Rows that one transaction deletes at most: nobody waits longer for it than for a refresh."""

# Walks the primary key: an index on what a rotation changes would make every refresh dearer.
_WALK = Statement(f"""
SELECT id, idle_until < @now - {MARGIN_MS} FROM limen_sessions WHERE id > :after ORDER BY id LIMIT :limit
""")  # noqa: S608

# Asks again: a refresh may have come in between. A row that somebody works on is left for the next time.
_DELETE_EXPIRED = Statement(f"""
DELETE FROM limen_sessions
 WHERE id IN (SELECT id FROM limen_sessions WHERE id = :sid AND idle_until < @now - {MARGIN_MS} @skip_locked)
   AND idle_until < @now - {MARGIN_MS}
""")  # noqa: S608

_DELETE_ENDED = Statement("""
DELETE FROM limen_ended_sessions
 WHERE id IN (SELECT id FROM limen_ended_sessions WHERE keep_until < @now ORDER BY keep_until LIMIT :limit @skip_locked)
""")


async def sweep(database: Database, limit: int) -> int:
    """Delete expired sessions and ended ones past their time, ``limit`` at most; return how many went."""
    swept = await _sweep_ended(database, limit)
    return swept + await _sweep_expired(database, limit - swept)


async def _sweep_ended(database: Database, limit: int) -> int:
    swept = 0
    while swept < limit:
        size = min(BATCH, limit - swept)
        deleted = await database.write(partial(run, _DELETE_ENDED, limit=size))
        swept += deleted
        if deleted < size:
            break
    return swept


async def _sweep_expired(database: Database, limit: int) -> int:
    swept, after = 0, NOBODY
    while swept < limit and after:
        after, expired = await database.read(partial(_expired, after))
        if expired:
            swept += await database.write(partial(_deleted, expired[: limit - swept]))
    return swept


def _expired(after: str) -> Steps[tuple[str, list[str]]]:
    """Return where the next page begins (empty at the end), and what is expired on this one."""
    found = yield from rows(_WALK, after=after, limit=BATCH)
    # The absolute end is never before the idle one, so the idle one tells both.
    following = str(found[-1][0]) if len(found) == BATCH else ""
    return following, [str(sid) for sid, is_expired in found if is_expired]


def _deleted(sids: Sequence[str]) -> Steps[int]:
    deleted = 0
    for sid in sids:
        deleted += yield from run(_DELETE_EXPIRED, sid=sid)
    return deleted
