"""The verbs of the one door, where sessions are in Valkey. Each is done when the database has it, with its record."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hmac import compare_digest
from typing import Any

from limen.authn.records import CurrentSession, NewSession, Renewal, Rotation
from limen.core.events import Event
from limen.storage.sql.database import Database
from limen.storage.sql.events import columns_of
from limen.storage.sql.issuing import SQLIssuing, current
from limen.storage.sql.statement import Row
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.rows import RENEWED, ROTATED, Rows
from limen.storage.valkey.state import COOKIE, MARGIN_MS, REFRESH, RENEW, ROTATE, State, sealed


class ValkeyIssuing(SQLIssuing):
    """Implements `limen.authn.records.IssuingStore`.

    Args:
        database: where rows and records are.
        rows: reads the rows.
        valkey: where secrets and times are.
        in_one: the engine records the event in the statement itself.
        borrowed: whether this task has borrowed a connection, where nothing may be issued.
    """

    def __init__(
        self, database: Database, rows: Rows, valkey: Valkey, *, in_one: bool, borrowed: Callable[[], object | None]
    ) -> None:
        super().__init__(database, in_one=in_one)
        self._rows = rows
        self._valkey = valkey
        self._borrowed = borrowed

    async def open(self, session: NewSession, event: Event) -> CurrentSession | None:
        """Insert row and record by the database's conditional statement, and then keep what the session is used by.

        A process that dies in between leaves a row that opens nothing.
        """
        # No row and no record where Valkey is away: they would be made anew at each attempt to log in.
        await self._valkey.ping()
        return await self._kept(session, await super().open(_row_of(session), event))

    async def open_bound(self, session: NewSession, registration: str, event: Event) -> CurrentSession | None:
        """Do the same for a service that proved itself by a client certificate."""
        await self._valkey.ping()
        return await self._kept(session, await super().open_bound(_row_of(session), registration, event))

    async def _kept(self, session: NewSession, opened: CurrentSession | None) -> CurrentSession | None:
        if opened is None:
            return None
        state = State(
            COOKIE if session.kind == "cookie" else REFRESH,
            0,
            session.token_hash,
            None,
            None,
            session.kid,
            opened.rotated_at,
            min(opened.rotated_at + session.refresh_ttl_ms, opened.ends_at),
            opened.ends_at,
        )
        await self._valkey.begin(session.sid, state, live_ms=state.idle_until - opened.rotated_at + MARGIN_MS)
        return replace(opened, idle_until=state.idle_until)

    async def rotate(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        """Replace the current secret by one script, between two looks at the database; the second is the record.

        Where the record cannot be written, nobody is answered: the successor is stated again to whoever comes within
        the leeway, from what the script has left.
        """
        if self._borrowed() is not None:
            return await super().rotate(rotation, event)  # which refuses
        columns_of(event)  # What cannot be written must fail before anything is changed.
        return await asyncio.shield(asyncio.ensure_future(self._rotated(rotation, event)))

    async def _rotated(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        held = await self._rows.committed(rotation.sid)
        if held is None or held.kind != "refresh" or held.account_id != rotation.account_id or not held.account_holds:
            return None
        # A Valkey that went back would take a spent secret for the current one; the row has seen the next. Where a
        # record was lost the row is one behind; it is never ahead.
        if not held.allows(rotation.generation, sealed(rotation.presented_hash)):
            return None
        state = await self._valkey.run(
            ROTATE,
            rotation.sid,
            held.now,
            rotation.refresh_ttl_ms,
            rotation.generation,
            rotation.presented_hash.hex(),
            rotation.next_hash.hex(),
            rotation.nonce.hex(),
            rotation.kid,
        )
        if state is None:
            return None
        columns = {
            "sid": rotation.sid,
            "account_id": rotation.account_id,
            "generation": state.generation,
            "token_hash": sealed(rotation.next_hash),
            "parent_hash": sealed(rotation.presented_hash),
            "nonce": rotation.nonce,
            "kid": rotation.kid,
            "rotated_at": state.rotated_at,
            "idle_until": state.idle_until,
        }
        found = await self._record(columns, event)
        if found is None:
            return None
        return replace(current(rotation.sid, rotation.account_id, found), generation=state.generation)

    async def _record(self, columns: Mapping[str, Any], event: Event) -> Row | None:
        """Write down that a session was rotated; None where row or account do not hold any more."""
        return await self._write(partial(self._recorded, ROTATED, dict(columns), event))

    async def renew(self, renewal: Renewal, event: Event) -> CurrentSession | None:
        """Replace the secret of a cookie session by one script, between two looks at the database."""
        if self._borrowed() is not None:
            return await super().renew(renewal, event)  # which refuses
        columns_of(event)
        return await asyncio.shield(asyncio.ensure_future(self._renewed(renewal, event)))

    async def _renewed(self, renewal: Renewal, event: Event) -> CurrentSession | None:
        held = await self._rows.committed(renewal.sid)
        if held is None or held.account_id != renewal.account_id or not held.account_holds:
            return None
        if not compare_digest(held.token_hash, sealed(renewal.presented_hash)):
            return None
        state = await self._valkey.run(
            RENEW,
            renewal.sid,
            held.now,
            renewal.idle_ms,
            renewal.presented_hash.hex(),
            renewal.next_hash.hex(),
        )
        if state is None:
            return None
        columns = {
            "sid": renewal.sid,
            "account_id": renewal.account_id,
            "presented_hash": sealed(renewal.presented_hash),
            "token_hash": sealed(renewal.next_hash),
            "rotated_at": state.rotated_at,
            "auth_time": state.rotated_at,
        }
        found = await self._write(partial(self._recorded, RENEWED, columns, event))
        if found is None:
            return None
        return replace(current(renewal.sid, renewal.account_id, found), idle_until=state.idle_until)


def _row_of(session: NewSession) -> NewSession:
    """Return what the database keeps of it: the idle end of a cookie moves in Valkey alone, so its row stays longer."""
    idle_ms = session.max_ttl_ms if session.kind == "cookie" else session.refresh_ttl_ms
    return replace(session, token_hash=sealed(session.token_hash), refresh_ttl_ms=idle_ms)
