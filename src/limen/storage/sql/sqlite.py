"""limen's stores in one SQLite file: embedded, migrated at start, durable at each answer."""

import asyncio
import logging
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import TypeVar

from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError, Unavailable
from limen.storage.sql import migrations, sqlite_file
from limen.storage.sql.borrowed import Committed
from limen.storage.sql.borrowed_hosts import BorrowedSQLite
from limen.storage.sql.connection import Connection
from limen.storage.sql.database import Operation
from limen.storage.sql.group_commit import QUEUE_SIZE, Reader, Writer
from limen.storage.sql.issuing import SQLIssuing
from limen.storage.sql.migrations import Schema, Standing
from limen.storage.sql.sessions import SQLSessions
from limen.storage.sql.stores import SQLStores

_log = logging.getLogger(__name__)

T = TypeVar("T")


class SQLiteStorage(SQLStores):
    """All stores on one SQLite file. Nothing is opened before `start`, so it may be made before a process forks.

    Any number of event loops may use it at once. Several processes may share the file; each then waits for the others'
    transactions, so PostgreSQL is the better choice where there are many.

    Args:
        path: the file; it is made (0600) where there is none.
        clock: the database's clock: it stamps and judges every row.
        queue_size: operations that may wait; whoever comes then is answered Busy.
    """

    def __init__(self, path: Path | str, *, clock: Clock = system_clock, queue_size: int = QUEUE_SIZE) -> None:
        self.path = Path(path)
        super().__init__(BorrowedSQLite(self.path, clock))
        self.sessions = SQLSessions(self)
        self.issuing = SQLIssuing(Committed(self, self._borrowings), in_one=False)
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

    async def read_committed(self, operation: Operation[T]) -> T:
        """Read past a transaction that the application has handed in."""
        self.calls += 1
        return await self._reader.submit(partial(_driven, operation))


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
