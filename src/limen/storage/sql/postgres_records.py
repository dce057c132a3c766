"""Records alone on PostgreSQL: refusals that wait at the same time share one statement, and so one commit.

A storm of wrong passwords writes nothing but records. Each by itself costs a connection, a round trip and a commit to
disk; together they cost one of each, and those who log in find a connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary

from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of
from limen.storage.sql.gathering import Gathering
from limen.storage.sql.sessions import SQLSessions
from limen.storage.sql.statement import Statement, Steps, run

_MOST_TOGETHER: Final = 256
"""Records of one statement: new rows hold up nobody else's, so the more the better."""
_EACH: Final = ("event", "outcome", "actor", "source", "user_agent", "target", "request_id", "data")

# In the order in which they came: a number says which was first.
_INSERT_TOGETHER: Final = Statement.of_postgres("""
INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
SELECT @now, event, outcome, actor, source, user_agent, target, request_id, data::jsonb
  FROM unnest(:event::text[], :outcome::text[], :actor::text[], :source::text[], :user_agent::text[], :target::text[],
              :request_id::text[], :data::text[]) WITH ORDINALITY
    AS asked (event, outcome, actor, source, user_agent, target, request_id, data, place)
 ORDER BY place
""")

_Gatherings: TypeAlias = "WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering[Event, None]]"


class PostgresSessions(SQLSessions):
    """Implements `limen.features.sessions.store.SessionStore`; what is not a record alone is done as everywhere.

    Args:
        database: where it is done.
        borrowed: whether this task has borrowed a connection: then the record is part of its transaction.
    """

    def __init__(self, database: Database, *, borrowed: Callable[[], object | None]) -> None:
        super().__init__(database)
        self._records = database
        self._borrowed = borrowed
        self._gatherings: _Gatherings = WeakKeyDictionary()
        self._keys = count()

    async def record(self, event: Event) -> None:
        """Write an event of an act that changed nothing: with others that are written meanwhile, or alone."""
        if event.notice is not None or self._borrowed() is not None:
            await self._alone(event)
            return
        loop = asyncio.get_running_loop()
        gathering = self._gatherings.get(loop)
        if gathering is None:
            gathering = self._gatherings[loop] = Gathering(self._together, self._alone, most=_MOST_TOGETHER)
        await gathering.run(next(self._keys), event)

    async def _alone(self, event: Event) -> None:
        await super().record(event)

    async def _together(self, events: Sequence[Event]) -> list[None]:
        await self._records.write_one(partial(_recorded, events))
        return [None] * len(events)


def _recorded(events: Sequence[Event]) -> Steps[None]:
    each = [columns_of(event) for event in events]
    yield from run(_INSERT_TOGETHER, **{column: [one[column] for one in each] for column in _EACH})
