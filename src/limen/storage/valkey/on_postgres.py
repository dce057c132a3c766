"""The stores on PostgreSQL, with the sessions in Valkey."""

from limen.core.clock import Clock, system_clock
from limen.storage.sql.borrowed import Committed
from limen.storage.sql.postgres import POOL_SIZE, PostgresStorage
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.cookies import BELIEVED_SECONDS, ValkeyCookies
from limen.storage.valkey.postgres_issuing import ValkeyPostgresIssuing
from limen.storage.valkey.roles import ValkeyRoles
from limen.storage.valkey.rows import Rows
from limen.storage.valkey.sessions import ValkeySessions
from limen.storage.valkey.throttles import ValkeyThrottles


class ValkeyPostgresStorage(PostgresStorage):
    """All stores on one PostgreSQL database, and what changes of a session at each use in Valkey.

    Args:
        url: the database.
        valkey_url: where Valkey is.
        clock: moves the database's clock for tests, as there.
        pool_size: connections of one event loop at most.
        believed: seconds for which a process believes what the database said of a cookie session.
    """

    def __init__(
        self,
        url: str,
        valkey_url: str,
        *,
        clock: Clock = system_clock,
        pool_size: int = POOL_SIZE,
        believed: float = BELIEVED_SECONDS,
    ) -> None:
        super().__init__(url, clock=clock, pool_size=pool_size)
        self.valkey = Valkey(valkey_url)
        rows, borrowed = Rows(self, clock), self._borrowings.here
        self.sessions = ValkeySessions(self, rows, self.valkey, borrowed=borrowed)
        self.roles = ValkeyRoles(self, self.sessions)
        self.throttles = ValkeyThrottles(self.valkey, clock)
        self.cookies = ValkeyCookies(self, rows, self.valkey, clock=clock, believed=believed)
        self.issuing = ValkeyPostgresIssuing(  # type: ignore[assignment] # takes the place of the one of before
            Committed(self, self._borrowings), rows, self.valkey, borrowed=borrowed
        )

    async def start(self, *, migrate: bool = True) -> None:
        """Open the database as `PostgresStorage` does, and see that Valkey lets us in."""
        await super().start(migrate=migrate)
        await self.valkey.start()

    async def stop(self) -> None:
        """Close both."""
        await self.valkey.stop()
        await super().stop()

    async def ping(self) -> None:
        """Read from the database, and ask Valkey for a sign of life; Unavailable where one of them cannot serve."""
        await super().ping()
        await self.valkey.ping()
