"""What every request with a session cookie asks, where sessions are in Valkey."""

from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from limen.authn.cookie import PresentedSession
from limen.core.clock import Clock
from limen.storage.sql.cookies import SQLCookies
from limen.storage.sql.database import Database
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.rows import Held, Rows
from limen.storage.valkey.state import COOKIE, TOUCH, sealed

BELIEVED_SECONDS: Final = 1.0
"""How long a process believes what the database said of a session; Valkey is asked each time."""
MOST_BELIEVED: Final = 50_000
"""Sessions of which a process remembers what the database said."""


@dataclass(slots=True)
class _Belief:
    held: Held
    since: float


class ValkeyCookies(SQLCookies):
    """Implements `limen.authn.cookie.CookieStore`.

    Args:
        database: where the rows are.
        rows: reads the rows.
        valkey: where secrets and times are.
        clock: the process's clock, in seconds.
        believed: seconds for which what the database said of a session is believed.
    """

    def __init__(
        self, database: Database, rows: Rows, valkey: Valkey, *, clock: Clock, believed: float = BELIEVED_SECONDS
    ) -> None:
        super().__init__(database)
        self._rows = rows
        self._valkey = valkey
        self._clock = clock
        self._believed = believed
        self._beliefs: dict[str, _Belief] = {}

    async def present(self, sid: str, token_hash: bytes) -> PresentedSession | None:
        """Ask Valkey for the session, and the database once a second whether session and account still are there."""
        asked = self._valkey.ask(sid)
        try:
            held, now = await self._held(sid, sealed(token_hash))
        except BaseException:
            # Nobody will ask for its answer any more, which may be a failure too.
            asked.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
            raise
        state = await asked
        if held is None or state is None:
            return None
        if state.word != COOKIE or not compare_digest(state.token_hash, token_hash):
            return None
        if now >= state.idle_until or now >= held.ends_at:
            return None
        return PresentedSession(
            held.account_id,
            min(state.idle_until, held.ends_at),
            held.ends_at,
            held.created_at,
            held.auth_time,
            held.amr,
            held.acr,
            held.client_id,
            held.roles,
            now,
        )

    async def touch(self, sid: str, token_hash: bytes, *, idle_ms: int, every_ms: int) -> bool:
        """Move the idle end by one script."""
        now = await self._rows.now()
        return await self._valkey.run(TOUCH, sid, now, idle_ms, token_hash.hex(), every_ms) is not None

    async def _held(self, sid: str, hashed: bytes) -> tuple[Held | None, int]:
        """Return the row of a cookie session that holds, with this hash, and the database's time."""
        belief = self._beliefs.get(sid)
        if belief is not None:
            # Another hash than the one believed may be that of a renewal a moment ago: the database is asked.
            is_fresh = 0 <= self._clock() - belief.since < self._believed
            if is_fresh and compare_digest(belief.held.token_hash, hashed):
                return belief.held, await self._rows.now()
            del self._beliefs[sid]
        since = self._clock()
        held = await self._rows.committed(sid)
        if held is None or held.kind != "cookie" or not held.account_holds:
            return None, 0
        if not compare_digest(held.token_hash, hashed):
            return None, 0
        if self._believed > 0:
            if len(self._beliefs) >= MOST_BELIEVED:
                del self._beliefs[next(iter(self._beliefs))]
            self._beliefs[sid] = _Belief(held, since)
        return held, held.now
