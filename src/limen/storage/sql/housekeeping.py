"""Removes what nobody can use any more: expired sessions, and the list of ended ones."""

from limen.storage.sql.connection import Connection
from limen.storage.sql.database import Database

MARGIN_MS = 24 * 60 * 60 * 1000
"""Expired rows stay for a day (milliseconds): a clock that was wrong for a while then deletes nothing that is alive."""

BATCH = 500
"""Rows that one transaction deletes at most: nobody waits longer for it than for a refresh."""

# Walks the primary key: an index on what a rotation changes would make every refresh dearer.
_EXPIRED = """
SELECT id, idle_until FROM limen_sessions WHERE id > :after ORDER BY id LIMIT :limit
"""

# Asks again: a refresh may have come in between.
_DELETE_EXPIRED = "DELETE FROM limen_sessions WHERE id = :sid AND idle_until < :before"

_DELETE_ENDED = """
DELETE FROM limen_ended_sessions
 WHERE id IN (SELECT id FROM limen_ended_sessions WHERE keep_until < :now ORDER BY keep_until LIMIT :limit)
"""


async def sweep(database: Database, limit: int) -> int:
    """Delete expired sessions and ended ones past their time, ``limit`` at most; return how many went."""
    swept = await _sweep_ended(database, limit)
    return swept + await _sweep_expired(database, limit - swept)


async def _sweep_ended(database: Database, limit: int) -> int:
    swept = 0
    while swept < limit:
        size = min(BATCH, limit - swept)

        def operation(connection: Connection, size: int = size) -> int:
            return connection.run(_DELETE_ENDED, {"now": connection.now(), "limit": size})

        deleted = await database.write(operation)
        swept += deleted
        if deleted < size:
            break
    return swept


async def _sweep_expired(database: Database, limit: int) -> int:
    swept, after = 0, ""
    while swept < limit:

        def look(connection: Connection, after: str = after) -> tuple[str, list[str]]:
            return _expired(connection, after)

        after, expired = await database.read(look)
        if expired:
            chosen = expired[: limit - swept]

            def operation(connection: Connection, chosen: list[str] = chosen) -> int:
                before = connection.now() - MARGIN_MS
                return sum(connection.run(_DELETE_EXPIRED, {"sid": sid, "before": before}) for sid in chosen)

            swept += await database.write(operation)
        if not after:
            break
    return swept


def _expired(connection: Connection, after: str) -> tuple[str, list[str]]:
    """Return where the next page begins (empty at the end), and what is expired on this one."""
    rows = connection.rows(_EXPIRED, {"after": after, "limit": BATCH})
    # The absolute end is never before the idle one, so the idle one tells both.
    before = connection.now() - MARGIN_MS
    following = rows[-1][0] if len(rows) == BATCH else ""
    return following, [sid for sid, idle_until in rows if idle_until < before]
