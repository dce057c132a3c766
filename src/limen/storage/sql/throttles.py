"""Counting in the database: buckets, and what is in them."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from limen.features.throttling.store import Back, Held, Take, Verdict
from limen.storage.sql.database import Database
from limen.storage.sql.statement import Statement, rows, run

# An end further away than twice the window was written while the clock was wrong: it must not last for as long.
_OVER: Final = (
    "({held}.ends_at <= @now OR {held}.ends_at - @now > 2 * {window})"  # of a row, and of the window that is asked for
)

_COUNTED: Final = f"""
ON CONFLICT (bucket) DO UPDATE
  SET taken = CASE WHEN {_OVER.format(held="limen_throttles", window="excluded.window_ms")}
                   THEN 1 ELSE limen_throttles.taken + 1 END,
      ends_at = CASE WHEN excluded.renewed = 1
                       OR {_OVER.format(held="limen_throttles", window="excluded.window_ms")}
                     THEN excluded.ends_at ELSE limen_throttles.ends_at END,
      most = excluded.most, window_ms = excluded.window_ms, renewed = excluded.renewed
WHERE {_OVER.format(held="limen_throttles", window="excluded.window_ms")} OR limen_throttles.taken < excluded.most
RETURNING bucket, taken, ends_at, ends_at - @now
"""  # noqa: S608

# Where one is full none is counted. On PostgreSQL another process may fill one between this look and the count: then
# the condition of the update, which sees the row as it is, leaves it out, and fewer rows come back than were asked for.
_TAKE = Statement(
    f"""
INSERT INTO limen_throttles (bucket, most, window_ms, renewed, taken, ends_at)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), 1, @now + json_extract(value, '$[2]')
  FROM json_each(:takes)
 WHERE NOT EXISTS (
   SELECT 1 FROM json_each(:takes) AS asked JOIN limen_throttles AS held
       ON held.bucket = json_extract(asked.value, '$[0]')
    WHERE held.taken >= json_extract(asked.value, '$[1]')
      AND NOT {_OVER.format(held="held", window="json_extract(asked.value, '$[2]')")})
{_COUNTED}
""",  # noqa: S608
    postgres=f"""
WITH asked AS (
  SELECT value->>0 AS bucket, CAST(value->>1 AS integer) AS most, CAST(value->>2 AS bigint) AS window_ms,
         CAST(value->>3 AS integer) AS renewed
    FROM json_array_elements(CAST(:takes AS json)))
INSERT INTO limen_throttles (bucket, most, window_ms, renewed, taken, ends_at)
SELECT bucket, most, window_ms, renewed, 1, @now + window_ms FROM asked
 WHERE NOT EXISTS (
   SELECT 1 FROM asked AS each JOIN limen_throttles AS held ON held.bucket = each.bucket
    WHERE held.taken >= each.most AND NOT {_OVER.format(held="held", window="each.window_ms")})
 ORDER BY bucket
{_COUNTED}
""",  # noqa: S608
)

_LOOK = Statement(
    """
SELECT bucket, taken, ends_at, ends_at - @now FROM limen_throttles
 WHERE bucket IN (SELECT value FROM json_each(:buckets)) AND taken >= most AND ends_at > @now
""",
    postgres="""
SELECT bucket, taken, ends_at, ends_at - @now FROM limen_throttles
 WHERE bucket IN (SELECT json_array_elements_text(CAST(:buckets AS json))) AND taken >= most AND ends_at > @now
""",
)

_GIVE_BACK = Statement(
    """
UPDATE limen_throttles
   SET taken = (SELECT CASE WHEN json_extract(value, '$[2]') = 1 OR limen_throttles.taken < 1 THEN 0
                            WHEN json_extract(value, '$[1]') IN (0, limen_throttles.ends_at)
                              THEN limen_throttles.taken - 1
                            ELSE limen_throttles.taken END
                  FROM json_each(:backs) WHERE json_extract(value, '$[0]') = limen_throttles.bucket)
 WHERE bucket IN (SELECT json_extract(value, '$[0]') FROM json_each(:backs))
""",
    postgres="""
WITH backs AS (
  SELECT value->>0 AS bucket, CAST(value->>1 AS bigint) AS ends_at, CAST(value->>2 AS integer) AS emptied
    FROM json_array_elements(CAST(:backs AS json))),
locked AS (
  SELECT bucket FROM limen_throttles WHERE bucket IN (SELECT bucket FROM backs) ORDER BY bucket FOR UPDATE)
UPDATE limen_throttles AS held
   SET taken = CASE WHEN backs.emptied = 1 OR held.taken < 1 THEN 0
                    WHEN backs.ends_at IN (0, held.ends_at) THEN held.taken - 1
                    ELSE held.taken END
  FROM backs, locked WHERE backs.bucket = held.bucket AND locked.bucket = held.bucket
""",
)


class SQLThrottles:
    """Implements `limen.features.throttling.store.ThrottleStore`.

    Args:
        database: where it is done; what is counted must not be part of the application's transaction, which may be
            rolled back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, takes: Sequence[Take]) -> Verdict:
        """Count by one statement; where it counted nothing, a second one reads why."""
        # In one order, so that two who ask for the same buckets never wait for each other.
        asked = sorted([bucket, most, window, int(renewed)] for bucket, most, window, renewed in takes)
        found = await self._database.write_one(partial(rows, _TAKE, takes=json.dumps(asked)))
        if len(found) == len(asked):
            return Verdict(True, held={bucket: Held(*held) for bucket, *held in found})
        buckets = json.dumps([bucket for bucket, *_ in asked])
        found = await self._database.read_committed(partial(rows, _LOOK, buckets=buckets))
        return Verdict(False, full={bucket: Held(*held) for bucket, *held in found})

    async def give_back(self, backs: Sequence[Back]) -> None:
        """Take out by one statement."""
        given = json.dumps(sorted([bucket, ends_at, int(emptied)] for bucket, ends_at, emptied in backs))
        await self._database.write_one(partial(run, _GIVE_BACK, backs=given))
