"""The stores on SQLite, with the sessions in Valkey."""

from pathlib import Path

from limen.core.clock import Clock, system_clock
from limen.storage.sql.borrowed import Committed
from limen.storage.sql.sqlite import SQLiteStorage
from limen.storage.valkey.client import Valkey
from limen.storage.valkey.cookies import BELIEVED_SECONDS, ValkeyCookies
from limen.storage.valkey.issuing import ValkeyIssuing
from limen.storage.valkey.roles import ValkeyRoles
from limen.storage.valkey.rows import Rows
from limen.storage.valkey.sessions import ValkeySessions
from limen.storage.valkey.throttles import ValkeyThrottles


class ValkeySQLiteStorage(SQLiteStorage):
    """All stores on one SQLite file, and what changes of a session at each use in Valkey.

    Args:
        path: the file.
        valkey_url: where Valkey is.
        clock: the database's clock.
        believed: seconds for which a process believes what the database said of a cookie session.
    """

    def __init__(
        self,
        path: Path | str,
        valkey_url: str,
        *,
        clock: Clock = system_clock,
        believed: float = BELIEVED_SECONDS,
    ) -> None:
        super().__init__(path, clock=clock)
        self.valkey = Valkey(valkey_url)
        rows, borrowed = Rows(self, clock), self._borrowings.here
        self.sessions = ValkeySessions(self, rows, self.valkey, borrowed=borrowed)
        self.roles = ValkeyRoles(self, self.sessions)
        self.throttles = ValkeyThrottles(self.valkey, clock)
        self.cookies = ValkeyCookies(self, rows, self.valkey, clock=clock, believed=believed)
        self.issuing = ValkeyIssuing(
            Committed(self, self._borrowings), rows, self.valkey, in_one=False, borrowed=borrowed
        )

    async def start(self, *, migrate: bool = True) -> None:
        """Open the file as `SQLiteStorage` does, and see that Valkey lets us in."""
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
