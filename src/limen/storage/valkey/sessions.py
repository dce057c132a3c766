"""Sessions in Valkey: read one, list some, end some. What the database says decides; what it ended leaves Valkey."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from limen.core.events import Event
from limen.features.sessions.store import Ended, EndReason, LivingSession, SessionState
from limen.storage.sql.database import Database
from limen.storage.sql.sessions import SQLSessions
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.rows import Held, Rows
from limen.storage.valkey.state import REFRESH, State, sealed

CLOCK_STEP_MS = 2_000
"""By how much a state may be younger than the clock that was read just before it (milliseconds)."""
REMEMBERED = 20_000
"""Endings that this process knows to have left Valkey, at most."""

RECORDED_MS = 1_000
"""A record that is not there by then (milliseconds) was lost."""
PATIENCE = 100
"""How often it is looked for."""
_LATELY = 2**62
"""A time that has not come: what is listed since then is what is always read."""
_NOTHING = bytes(32)
"""The hash of no secret."""

_log = logging.getLogger(__name__)


class ValkeySessions(SQLSessions):
    """Implements `limen.features.sessions.store.SessionStore`.

    Args:
        database: where rows, endings and records are.
        rows: reads the rows.
        valkey: where secrets and times are.
        borrowed: whether this task has borrowed a connection: what it ends may yet be rolled back.
    """

    def __init__(
        self, database: Database, rows: Rows, valkey: Valkey, *, borrowed: Callable[[], object | None]
    ) -> None:
        super().__init__(database)
        self._rows = rows
        self._valkey = valkey
        self._borrowed = borrowed
        self._forgotten: dict[str, None] = {}

    async def read(self, sid: str) -> SessionState | None:
        """Read the session: its row, its account and the clock, and then what Valkey has of it.

        Where a rotation is in Valkey and its record is not there yet, it is on its way: whoever judges by what is read
        here must not end the session of somebody who has not been answered.
        """
        for looks_left in reversed(range(PATIENCE)):
            held = await self._rows.here(sid)
            state = None if held is None else await self._valkey.ask(sid)
            if held is None or state is None:
                return None
            is_recorded = state.generation <= held.generation
            if is_recorded or not looks_left or held.now - state.rotated_at > RECORDED_MS:
                return _joined(held, state)
            await asyncio.sleep(RECORDED_MS / PATIENCE / 1000)
        return None

    async def of_account(self, account_id: str, *, limit: int, after: str | None) -> Sequence[LivingSession]:
        """List at most ``limit`` living sessions of the account, the newest first, that follow ``after``."""
        shown: list[LivingSession] = []
        while True:
            page = await super().of_account(account_id, limit=limit, after=after)
            states = await self._valkey.many([listed.sid for listed in page])
            now = await self._rows.now()
            for listed in page:
                state = states.get(listed.sid)
                if state is not None and now < state.idle_until:
                    shown.append(replace(listed, last_used_at=state.rotated_at))
            if len(shown) >= limit or len(page) < limit:
                return shown[:limit]
            after = page[-1].sid

    async def end(self, sid: str, *, account_id: str, reason: EndReason, event: Event, keep_ended_ms: int) -> bool:
        """Delete the session's row if it is this account's, and list it as ended; then it leaves Valkey."""
        ended = await super().end(sid, account_id=account_id, reason=reason, event=event, keep_ended_ms=keep_ended_ms)
        if ended and self._borrowed() is None:
            await self._forget([sid])
        return ended

    async def ended_since(self, since_ms: int) -> Sequence[Ended]:
        """List what ended, by whatever verb and in whatever process, and see that it leaves Valkey.

        Every process does so every second; so does whoever ended something, before it is answered. Sessions that end
        with their account are met here.
        """
        found = await super().ended_since(since_ms)
        await self._leave(found)
        return found

    async def leave(self) -> None:
        """See that what ended a moment ago leaves Valkey."""
        await self._leave(await super().ended_since(_LATELY))

    async def _leave(self, found: Sequence[Ended]) -> None:
        fresh = [entry.sid for entry in found if entry.sid not in self._forgotten]
        if fresh:
            await self._forget(fresh)

    async def _forget(self, sids: Sequence[str]) -> None:
        if len(self._forgotten) + len(sids) > REMEMBERED:
            self._forgotten.clear()
        self._forgotten.update(dict.fromkeys(sids))
        await self._valkey.forget(sids)


def _joined(held: Held, state: State) -> SessionState | None:
    generation, token_hash, parent_hash, nonce = state.generation, state.token_hash, state.parent_hash, state.nonce
    if (state.word == REFRESH) != (held.kind == "refresh"):
        return None
    if not held.allows(generation, sealed(token_hash)):
        if held.kind == "cookie":
            return None
        # The row was read first, so it is Valkey that went back. No secret is the current one then: whoever presents
        # one is judged as ahead of the store, or as a thief, and the session ends either way.
        _log.error("valkey_went_back", extra={"sid": held.sid, "recorded": held.generation, "found": generation})
        generation, token_hash, parent_hash = held.generation, _NOTHING, None
    return SessionState(
        sid=held.sid,
        account_id=held.account_id,
        account_epoch=held.account_epoch,
        kind=held.kind,
        generation=generation,
        token_hash=token_hash,
        parent_hash=parent_hash,
        nonce=nonce,
        kid=state.kid,
        rotated_at=state.rotated_at,
        idle_until=min(state.idle_until, held.ends_at),
        ends_at=held.ends_at,
        auth_time=held.auth_time,
        amr=held.amr,
        acr=held.acr,
        client_id=held.client_id,
        account_status=held.account_status,
        session_epoch=held.session_epoch,
        roles=held.roles,
        # A rotation that came between the two reads bears a time that the clock has had, so it is at least that late.
        now=state.rotated_at if 0 < state.rotated_at - held.now <= CLOCK_STEP_MS else held.now,
    )
