"""limen's stores in one SQLite file: embedded, migrated at start, durable at each answer."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError, Unavailable
from limen.features.events.store import StoredEvent
from limen.features.throttling.store import ThrottleStore
from limen.storage.sql import events, migrations, sqlite_file
from limen.storage.sql.account_imports import SQLAccountImports
from limen.storage.sql.accounts import SQLAccounts
from limen.storage.sql.api_keys import SQLApiKeys, SQLKeyIssuing
from limen.storage.sql.approvals import SQLApprovals
from limen.storage.sql.borrowed import ApplicationConnection, Borrowings, Committed
from limen.storage.sql.borrowed_hosts import BorrowedSQLite
from limen.storage.sql.client_certificates import SQLClientCertificates
from limen.storage.sql.connection import Connection
from limen.storage.sql.cookies import SQLCookies
from limen.storage.sql.database import Operation
from limen.storage.sql.erasures import SQLErasures
from limen.storage.sql.events import SQLEvents
from limen.storage.sql.group_commit import QUEUE_SIZE, Reader, Writer
from limen.storage.sql.housekeeping import Housekeeping
from limen.storage.sql.issuing import SQLIssuing
from limen.storage.sql.mails import SQLMails
from limen.storage.sql.maintenance import SQLMaintenance
from limen.storage.sql.messages import SQLMessages
from limen.storage.sql.migrations import Schema, Standing
from limen.storage.sql.personal_data import SQLPersonalData
from limen.storage.sql.recovery import SQLRecovery
from limen.storage.sql.roles import SQLRoles
from limen.storage.sql.sessions import SQLSessions
from limen.storage.sql.signing_keys import SQLSigningKeys
from limen.storage.sql.sso import SQLSso
from limen.storage.sql.throttles import SQLThrottles
from limen.storage.sql.trail import SQLAudit
from limen.storage.sql.trail_sinks import SQLTrailSinks

_log = logging.getLogger(__name__)

T = TypeVar("T")


class SQLiteStorage:
    """All stores on one SQLite file. Nothing is opened before `start`, so it may be made before a process forks.

    Any number of event loops may use it at once. Several processes may share the file; each then waits for the others'
    transactions, so PostgreSQL is the better choice where there are many.

    Args:
        path: the file; it is made (0600) where there is none.
        clock: the database's clock: it stamps and judges every row.
        queue_size: operations that may wait; whoever comes then is answered Busy.

    Attributes:
        calls: how many store verbs were called.
    """

    def __init__(self, path: Path | str, *, clock: Clock = system_clock, queue_size: int = QUEUE_SIZE) -> None:
        self.path = Path(path)
        self.calls = 0
        self.accounts = SQLAccounts(self)
        self.sessions = SQLSessions(self)
        self.cookies = SQLCookies(self)
        self._borrowings = Borrowings()
        self._host = BorrowedSQLite(self.path, clock)
        self.issuing = SQLIssuing(Committed(self, self._borrowings), in_one=False)
        self.api_keys = SQLApiKeys(self)
        self.issuing_keys = SQLKeyIssuing(Committed(self, self._borrowings))
        self.client_certificates = SQLClientCertificates(self)
        self.roles = SQLRoles(self)
        self._housekeeping = Housekeeping(self)
        self.trail = SQLEvents(self)
        self.audit = SQLAudit(self)
        self.sinks = SQLTrailSinks(self)
        self.imports = SQLAccountImports(self)
        self.erasures = SQLErasures(self)
        self.personal_data = SQLPersonalData(self)
        self.maintenance = SQLMaintenance(self)
        self.signing_keys = SQLSigningKeys(self)
        self.sso = SQLSso(self)
        self.approvals = SQLApprovals(self)
        self.mails = SQLMails(self)
        self.recovery = SQLRecovery(self)
        self.throttles: ThrottleStore = SQLThrottles(Committed(self, self._borrowings))
        self.messages = SQLMessages(self, borrowed=self._borrowings.here)
        self._writer = Writer(self.path, clock, queue_size=queue_size)
        self._reader = Reader(self.path, clock, queue_size=queue_size)
        self._starting = threading.Lock()
        self._started = False

    async def start(self, *, migrate: bool = True) -> None:
        """Make the file where there is none, migrate it, and start the threads. A second call does nothing.

        Raises ConfigurationError where the file cannot be used, is of a newer limen, or is behind and ``migrate`` is
        False; Unavailable where the database fails.
        """
        await asyncio.to_thread(self._start, migrate)

    def _start(self, migrate: bool) -> None:
        with self._starting:
            if self._started:
                return
            try:
                if not migrate and not self.path.exists():
                    migrations.refuse_behind(None)
                sqlite_file.create_private(self.path)
                sqlite_file.migrate(self.path, allowed=migrate)
                self._writer.start()
                try:
                    self._reader.start()
                except BaseException:
                    self._writer.stop()
                    raise
            except sqlite3.Error as error:
                _log.error("database_start_failed", extra={"database_error": error.sqlite_errorname})
                raise Unavailable("The database cannot be opened.") from error
            self._started = True

    async def schema(self) -> Schema:
        """Tell which schema the file bears; nothing is made or changed, and it need not be started.

        Raises Unavailable where the database fails.
        """
        try:
            return await asyncio.to_thread(sqlite_file.schema_of, self.path)
        except sqlite3.Error as error:
            raise Unavailable("The database cannot be read.") from error

    async def stop(self) -> None:
        """Finish what is queued, and close the file. It may be started again."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        with self._starting:
            if not self._started:
                return
            self._started = False
            # The writer last: the last connection to close empties the write-ahead log, and must be allowed to write.
            self._reader.stop()
            self._writer.stop()

    async def ping(self) -> None:
        """Read from the database, and see that its schema is one this version can work with; Unavailable otherwise.

        A newer schema is no fault of a process that already runs: a migration leaves the version before it working.
        """
        if migrations.standing(await self._reader.submit(sqlite_file.schema_version)) is Standing.BEHIND:
            raise Unavailable("The schema of the database is not that of this version.")

    async def sweep(self, limit: int = 10_000) -> int:
        """Delete sessions expired for a day and entries of the ended list past their time, ``limit`` at most.

        Returns how many were deleted. Safe to call at any time, from several processes.
        """
        return await self._housekeeping.sweep(limit)

    async def events(self, *, limit: int = 100, after: int = 0) -> Sequence[StoredEvent]:
        """Return at most ``limit`` records of the audit trail that follow the one numbered ``after``, in order."""
        return await self.read(partial(events.page, limit=limit, after=after))

    async def write(self, operation: Operation[T]) -> T:
        """Run the operation in a writing transaction; answer after it was committed to disk.

        Whoever is cancelled while waiting does not call it back: what is queued is done.
        """
        self.calls += 1
        if (borrowed := self._borrowings.here()) is not None:
            return await borrowed.run(operation)
        return await self._writer.submit(partial(_driven, operation))

    async def write_one(self, operation: Operation[T]) -> T:
        """Run an operation of exactly one statement: here the same as `write`."""
        return await self.write(operation)

    async def read(self, operation: Operation[T]) -> T:
        """Run the operation where it can only read; each of its statements sees all that was committed before."""
        if (borrowed := self._borrowings.here()) is not None:
            self.calls += 1
            return await borrowed.run(operation)
        return await self.read_committed(operation)

    async def read_committed(self, operation: Operation[T]) -> T:
        """Read past a transaction that the application has handed in."""
        self.calls += 1
        return await self._reader.submit(partial(_driven, operation))

    def using(self, connection: ApplicationConnection) -> AbstractAsyncContextManager[None]:
        """Run what this task asks on the application's own connection until the block ends; see `Limen.using`."""
        return self._borrowings.using(connection, self._host)

    def borrowed(self) -> "ApplicationConnection | None":
        """Return what this task has handed to `using`, in whose block it is; None outside of one."""
        borrowed = self._borrowings.here()
        return None if borrowed is None else borrowed.given

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Take back what is done in the block where it fails, in a block of `using`; ConfigurationError outside."""
        return self._borrowings.savepoint()


def _driven(operation: Operation[T], connection: Connection) -> T:
    return connection.drive(operation())


def path_of(database_url: str) -> Path:
    """Return the file that ``sqlite:///relative/path`` or ``sqlite:////absolute/path`` names.

    Raises ConfigurationError for a URL without a file: a database in memory would be gone at each start, and with it
    everything that was revoked.
    """
    prefix = "sqlite:///"
    name = database_url.removeprefix(prefix)
    if not database_url.startswith(prefix) or not name or ":memory:" in name:
        raise ConfigurationError("LIMEN_DATABASE_URL names no file. Write sqlite:///path or sqlite:////absolute/path.")
    if "?" in name or "#" in name or "\0" in name:
        raise ConfigurationError("LIMEN_DATABASE_URL for SQLite takes a path and nothing else: no options after «?».")
    return Path(name)
