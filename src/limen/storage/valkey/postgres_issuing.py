"""The door's verbs with Valkey and PostgreSQL: records that wait at the same time share one statement and commit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of
from limen.storage.sql.gathering import ALONE, Alone, Gathering
from limen.storage.sql.holdings import HELD_BY_SESSION
from limen.storage.sql.issuing import COLUMNS
from limen.storage.sql.statement import Row, Statement, Steps, rows
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.issuing import ValkeyIssuing
from limen.storage.valkey.rows import Rows

# Nobody waits for a session that another transaction holds, so two of these cannot wait for each other. What is left
# out goes alone, and waits there.
_TOGETHER: Final = Statement.of_postgres(
    f"""
WITH asked AS (
    SELECT * FROM unnest(:sid::uuid[], :account_id::uuid[], :generation::bigint[], :token_hash::bytea[],
                         :parent_hash::bytea[], :nonce::bytea[], :kid::text[], :rotated_at::bigint[],
                         :idle_until::bigint[], :event::text[], :outcome::text[], :actor::text[], :target::text[],
                         :source::text[], :user_agent::text[], :request_id::text[], :data::text[])
        AS asked (sid, account, next_generation, next_hash, hash_before, next_nonce, next_kid, moment, next_idle,
                  name, outcome, actor, target, source, agent, request, details)),
free AS (
    SELECT asked.* FROM asked JOIN limen_sessions ON limen_sessions.id = asked.sid
       FOR NO KEY UPDATE OF limen_sessions SKIP LOCKED),
done AS (
    UPDATE limen_sessions
       SET generation = GREATEST(generation, free.next_generation),
           token_hash = CASE WHEN generation > free.next_generation THEN token_hash ELSE free.next_hash END,
           parent_hash = free.hash_before, nonce = free.next_nonce, kid = free.next_kid, rotated_at = free.moment,
           idle_until = free.next_idle
      FROM free, limen_accounts a
     WHERE limen_sessions.id = free.sid AND kind = 'refresh' AND account_id = free.account
       AND a.id = account_id AND a.status = 'active' AND a.session_epoch = limen_sessions.account_epoch
    RETURNING limen_sessions.id, {COLUMNS}, ({HELD_BY_SESSION}) AS roles, name, outcome, actor, target, source, agent,
              request, details),
recorded AS (
    INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
    SELECT @now, name, outcome, actor, source, agent, target, request, details::jsonb FROM done)
SELECT id, {COLUMNS}, roles FROM done
"""  # noqa: S608
)

_Act: TypeAlias = tuple[Mapping[str, Any], Event]
_Gatherings: TypeAlias = "WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering[_Act, Row | None]]"


class ValkeyPostgresIssuing(ValkeyIssuing):
    """Implements `limen.authn.records.IssuingStore`.

    Args:
        database: where rows and records are.
        rows: reads the rows.
        valkey: where secrets and times are.
        borrowed: whether this task has borrowed a connection, where nothing may be issued.
    """

    def __init__(
        self, database: Database, rows: Rows, valkey: Valkey, *, borrowed: Callable[[], object | None]
    ) -> None:
        super().__init__(database, rows, valkey, in_one=True, borrowed=borrowed)
        self._gatherings: _Gatherings = WeakKeyDictionary()

    async def _record(self, columns: Mapping[str, Any], event: Event) -> Row | None:
        loop = asyncio.get_running_loop()
        gathering = self._gatherings.get(loop)
        if gathering is None:
            gathering = self._gatherings[loop] = Gathering(self._together, self._alone)
        return await gathering.run(columns["sid"], (columns, event))

    async def _alone(self, act: _Act) -> Row | None:
        return await super()._record(*act)

    async def _together(self, acts: Sequence[_Act]) -> list[Row | Alone | None]:
        found = await self._database.write_one(partial(_recorded, acts))
        # A row that did not change is asked about alone: it may only have been held by somebody else.
        return [found.get(columns["sid"], ALONE) for columns, _ in acts]


def _recorded(acts: Sequence[_Act]) -> Steps[dict[str, Row]]:
    each = [{**columns, **columns_of(event)} for columns, event in acts]
    found = yield from rows(_TOGETHER, **{name: [one[name] for one in each] for name in each[0]})
    return {str(row[0]): row[1:] for row in found}
