"""Issuing on PostgreSQL: refreshes that wait at the same time share one statement, and so one round trip and commit."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from limen.authn.records import CurrentSession, Rotation
from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of
from limen.storage.sql.gathering import ALONE, Alone, Gathering
from limen.storage.sql.holdings import HELD_BY_SESSION
from limen.storage.sql.issuing import BEGAN, COLUMNS, SQLIssuing, current
from limen.storage.sql.statement import Row, Statement, Steps, rows

# Nobody waits for a session that another transaction holds, so two of these cannot wait for each other, whatever order
# they take their rows in. What is left out goes alone, and waits there.
_ROTATE_TOGETHER: Final = Statement.of_postgres(
    f"""
WITH asked AS (
    SELECT * FROM unnest(:sid::uuid[], :account_id::uuid[], :generation::bigint[], :presented_hash::bytea[],
                         :next_hash::bytea[], :nonce::bytea[], :actor::text[], :target::text[], :source::text[],
                         :user_agent::text[], :request_id::text[], :data::text[])
        AS asked (sid, account, presented_generation, presented_hash, next_hash, next_nonce, actor, target, source,
                  agent, request, details)),
free AS (
    SELECT asked.* FROM asked JOIN limen_sessions ON limen_sessions.id = asked.sid
     WHERE generation = presented_generation AND token_hash = presented_hash
       FOR NO KEY UPDATE OF limen_sessions SKIP LOCKED),
done AS (
    UPDATE limen_sessions
       SET generation = generation + 1, parent_hash = token_hash, token_hash = free.next_hash, nonce = free.next_nonce,
           kid = :kid, rotated_at = {BEGAN}, idle_until = LEAST({BEGAN} + :refresh_ttl, ends_at)
      FROM free, limen_accounts a
     WHERE limen_sessions.id = free.sid AND kind = 'refresh' AND generation = free.presented_generation
       AND token_hash = free.presented_hash
       AND {BEGAN} < idle_until AND {BEGAN} < ends_at AND account_id = free.account
       AND a.id = account_id AND a.status = 'active' AND a.session_epoch = limen_sessions.account_epoch
    RETURNING limen_sessions.id, {COLUMNS}, ({HELD_BY_SESSION}) AS roles,
              actor, target, source, agent, request, details),
recorded AS (
    INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
    SELECT rotated_at, :event, :outcome, actor, source, agent, target, request, details::jsonb FROM done)
SELECT id, {COLUMNS}, roles FROM done
"""  # noqa: S608
)

_EACH: Final = "sid", "account_id", "generation", "presented_hash", "next_hash", "nonce"
_EACH_RECORD: Final = "actor", "target", "source", "user_agent", "request_id", "data"

_Act: TypeAlias = tuple[Rotation, Event]
_Gatherings: TypeAlias = "WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering[_Act, CurrentSession | None]]"


class PostgresIssuing(SQLIssuing):
    """Implements `limen.authn.records.IssuingStore`; what is not a refresh is done as everywhere.

    Args:
        database: where it is done.
        borrowed: whether this task has borrowed a connection, where nothing may be issued.
    """

    def __init__(self, database: Database, *, borrowed: Callable[[], object | None]) -> None:
        super().__init__(database, in_one=True)
        self._database = database
        self._borrowed = borrowed
        self._gatherings: _Gatherings = WeakKeyDictionary()

    async def rotate(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        """Replace the current secret, and write the event: with others that are asked for meanwhile, or alone."""
        if self._borrowed() is not None:
            return await self._alone((rotation, event))
        loop = asyncio.get_running_loop()
        gathering = self._gatherings.get(loop)
        if gathering is None:
            gathering = self._gatherings[loop] = Gathering(self._together, self._alone)
        return await gathering.run(rotation.sid, (rotation, event))

    async def _alone(self, act: _Act) -> CurrentSession | None:
        rotation, event = act
        return await super().rotate(rotation, event)

    async def _together(self, acts: Sequence[_Act]) -> list[CurrentSession | Alone | None]:
        shared = _shared(acts[0])
        alike = [act for act in acts if _shared(act) == shared]
        found = await self._database.write_one(partial(_rotated, alike))
        # A row that did not change is asked about alone: it may only have been held by somebody else.
        return [
            ALONE if (row := found.get(rotation.sid)) is None else current(rotation.sid, rotation.account_id, row)
            for rotation, _ in acts
        ]


def _shared(act: _Act) -> tuple[str, int, str, str]:
    """Return what a statement says once for all of its acts."""
    rotation, event = act
    return rotation.kid, rotation.refresh_ttl_ms, event.name.value, event.outcome.value


def _rotated(acts: Sequence[_Act]) -> Steps[dict[str, Row]]:
    kid, refresh_ttl, name, outcome = _shared(acts[0])
    columns: dict[str, Any] = {column: [getattr(rotation, column) for rotation, _ in acts] for column in _EACH}
    records = [columns_of(event) for _, event in acts]
    columns.update((column, [record[column] for record in records]) for column in _EACH_RECORD)
    found = yield from rows(_ROTATE_TOGETHER, kid=kid, refresh_ttl=refresh_ttl, event=name, outcome=outcome, **columns)
    return {str(each[0]): each[1:] for each in found}
