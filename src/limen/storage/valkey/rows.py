"""What the database has of a session whose secrets and times are in Valkey, and the statements that move it on.

The row is made by the one door, with its record, and goes when the session ends: by whatever verb, in its transaction.
Whoever uses a session asks for its row. So nothing that ended comes back with an older state of Valkey, and what Valkey
has without a row, because a process died between the two, opens nothing.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from typing import Final

from limen.core.clock import Clock
from limen.core.ids import is_uuid7
from limen.storage.sql.database import Database
from limen.storage.sql.holdings import HELD_BY_SESSION, role_names
from limen.storage.sql.issuing import COLUMNS
from limen.storage.sql.statement import Row, Statement, Steps, row, rows
from limen.storage.valkey.together import Together

_SELECT = f"""
SELECT limen_sessions.id, limen_sessions.account_id, account_epoch, kind, generation, token_hash, ends_at,
       limen_sessions.created_at, auth_time, amr, acr, client_id, a.status, a.session_epoch, ({HELD_BY_SESSION}), @now
  FROM limen_sessions JOIN limen_accounts a ON a.id = limen_sessions.account_id
"""  # noqa: S608

_HELD = Statement(
    _SELECT + "WHERE limen_sessions.id IN (SELECT value FROM json_each(:sids))",  # noqa: S608
    postgres=_SELECT  # noqa: S608
    + "WHERE limen_sessions.id IN (SELECT CAST(value AS uuid) FROM json_array_elements_text(CAST(:sids AS json)))",
)

_NOW = Statement("SELECT @now")

_ACCOUNT_HOLDS = """
   AND EXISTS (SELECT 1 FROM limen_accounts a
                WHERE a.id = limen_sessions.account_id AND a.status = 'active'
                  AND a.session_epoch = limen_sessions.account_epoch)
"""


_CHANGED = f"{_ACCOUNT_HOLDS} RETURNING {COLUMNS}, ({HELD_BY_SESSION}) AS roles"

# On PostgreSQL the statement of an act records it as well: one round trip, one commit.
_RECORDED = f"""
, recorded AS (
    INSERT INTO limen_events (time, event, outcome, actor, source, user_agent, target, request_id, data)
    SELECT @now, :event, :outcome, :actor, :source, :user_agent, :target, :request_id, :data FROM done)
SELECT {COLUMNS}, roles FROM done
"""  # noqa: S608

# The highest generation there was, and its secret: a Valkey that fell behind, or was written to by somebody else, is
# found out. It never goes back, also where the records of two rotations arrive in the other order.
_ROTATE = f"""
UPDATE limen_sessions
   SET generation = CASE WHEN generation > :generation THEN generation ELSE :generation END,
       token_hash = CASE WHEN generation > :generation THEN token_hash ELSE :token_hash END,
       parent_hash = :parent_hash, nonce = :nonce, kid = :kid, rotated_at = :rotated_at, idle_until = :idle_until
 WHERE id = :sid AND kind = 'refresh' AND account_id = :account_id {_CHANGED}
"""  # noqa: S608

_RENEW = f"""
UPDATE limen_sessions SET token_hash = :token_hash, rotated_at = :rotated_at, auth_time = :auth_time
 WHERE id = :sid AND kind = 'cookie' AND token_hash = :presented_hash AND account_id = :account_id {_CHANGED}
"""  # noqa: S608

ROTATED: Final = Statement(_ROTATE, postgres=f"WITH done AS ({_ROTATE}) {_RECORDED}")
RENEWED: Final = Statement(_RENEW, postgres=f"WITH done AS ({_RENEW}) {_RECORDED}")


@dataclass(frozen=True, slots=True)
class Held:
    """The row of a session, its account and the database's clock, read by one statement.

    Attributes:
        generation: the highest that was recorded.
        token_hash: `limen.storage.valkey.state.sealed` of the hash that was recorded last.
        now: the database's clock at this read, in milliseconds since 1970 UTC, as are all times.
    """

    sid: str
    account_id: str
    account_epoch: int
    kind: str
    generation: int
    token_hash: bytes = field(repr=False)
    ends_at: int
    created_at: int
    auth_time: int
    amr: tuple[str, ...]
    acr: str | None
    client_id: str
    account_status: str
    session_epoch: int
    roles: frozenset[str]
    now: int

    @property
    def account_holds(self) -> bool:
        """The account is active, and the session belongs to its present epoch."""
        return self.account_status == "active" and self.account_epoch == self.session_epoch

    def allows(self, generation: int, hashed: bytes) -> bool:
        """Tell whether the secret of this generation may be the current one, as far as was recorded."""
        if self.generation == generation:
            return compare_digest(self.token_hash, hashed)
        return self.generation < generation


class Rows:
    """Reads the rows of sessions; whoever asks at the same time shares a statement.

    Args:
        database: where they are.
        clock: the process's clock, by which the database's is told between two reads.
    """

    def __init__(self, database: Database, clock: Clock = time.time) -> None:
        self._database = database
        self._clock = clock
        self._ahead_ms: int | None = None
        self._together = Together(self._fetch)

    async def committed(self, sid: str) -> Held | None:
        """Read a row past a transaction that the application has handed in; None where there is none."""
        return await self._together.ask(sid) if is_uuid7(sid) else None

    async def here(self, sid: str) -> Held | None:
        """Read a row where this task works: in the application's transaction, where it has handed one in."""
        if not is_uuid7(sid):
            return None
        found = await self._database.read(partial(_held, [sid]))
        return found.get(sid)

    async def now(self) -> int:
        """Return the database's time in milliseconds since 1970 UTC, as the last read of a row tells it."""
        if self._ahead_ms is None:
            self._note(await self._database.read_committed(_now))
        return round(self._clock() * 1000) + (self._ahead_ms or 0)

    def _note(self, now: int) -> None:
        self._ahead_ms = now - round(self._clock() * 1000)

    async def _fetch(self, sids: Sequence[str]) -> Mapping[str, Held]:
        found = await self._database.read_committed(partial(_held, sids))
        for held in found.values():
            self._note(held.now)
            break
        return found


def _held(sids: Sequence[str]) -> Steps[dict[str, Held]]:
    found = yield from rows(_HELD, sids=json.dumps(sids))
    return {str(each[0]): _of(each) for each in found}


def _of(found: Row) -> Held:
    return Held(
        sid=str(found[0]),
        account_id=str(found[1]),
        account_epoch=found[2],
        kind=found[3],
        generation=found[4],
        token_hash=found[5],
        ends_at=found[6],
        created_at=found[7],
        auth_time=found[8],
        amr=tuple(found[9].split()),
        acr=found[10],
        client_id=found[11],
        account_status=found[12],
        session_epoch=found[13],
        roles=role_names(found[14]),
        now=found[15],
    )


def _now() -> Steps[int]:
    found = yield from row(_NOW)
    return int(found[0]) if found is not None else 0
