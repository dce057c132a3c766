"""SQLite from a running event loop: one thread that writes, one that reads, and one flush for all who wait.

A flush to disk costs more than all statements of a refresh. So operations that are queued while the writer is busy
share its next transaction, and everybody is answered only after COMMIT returned. Where one of them fails, the
transaction is rolled back and all are run again, each in a savepoint of its own: so an operation does nothing but run
statements, and the one that fails takes back nothing but its own work.

An operation runs even if whoever awaited it was cancelled: once it is queued, it can no longer be told from one that is
committed.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, TypeVar

from limen.core.clock import Clock
from limen.core.errors import Busy, ConfigurationError, Conflict, Unavailable
from limen.storage.sql.connection import Connection
from limen.storage.sql.sqlite_file import connect

_log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BATCH = 256
"""Operations that share one transaction at most: a bound on how long the first of them waits."""

QUEUE_SIZE = 4_096
"""Operations that may wait: about half a second's work; whoever comes then is told to come back."""

_RESULT_IS_LOST = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
"""After these a connection is not to be relied on: it is closed, and the next batch opens a new one."""

_OWN_FAULT = {sqlite3.SQLITE_ERROR}
"""Operational to Python, but the fault of one statement: its neighbours go on."""


Operation = Callable[[Connection], T]
_Waiting = tuple[Operation[Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]
_Answer = tuple["asyncio.Future[Any]", Any, BaseException | None]


class _Failed:
    """The error of one operation, which its neighbours do not share."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Thread:
    """A thread with a connection of its own, and a bounded queue of operations. Any event loop may hand some in."""

    name: ClassVar[str]
    query_only: ClassVar[bool] = False

    def __init__(self, path: Path, clock: Clock, *, queue_size: int = QUEUE_SIZE, max_batch: int = MAX_BATCH) -> None:
        self._path = path
        self._clock = clock
        self._queue_size = queue_size
        self._max_batch = max_batch
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._gathered: list[_Waiting] = []
        self._gatherer: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._open = False
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._raw: sqlite3.Connection | None = None

    def start(self) -> None:
        """Open the connection and start the thread; raise sqlite3.Error or ConfigurationError where that fails."""
        started: ThreadFuture[None] = ThreadFuture()
        self._pid = os.getpid()
        self._queue = SimpleQueue()
        self._gathered, self._gatherer = [], None
        self._thread = threading.Thread(target=self._work, args=(started,), name=self.name, daemon=True)
        self._thread.start()
        started.result()
        self._open = True

    def stop(self) -> None:
        """Do what is queued, close the connection, end the thread. In a forked process there is none to end."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._queue_gathered()
            self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def submit(self, operation: Operation[T]) -> "asyncio.Future[T]":
        """Queue an operation; the future is answered in the running loop.

        Raises Busy where the queue is full, Unavailable before the start and after the stop, ConfigurationError in a
        process that was forked off after the start: threads do not survive that.
        """
        loop = asyncio.get_running_loop()
        # Before the lock, which may have been held by another thread at the moment of the fork.
        if self._pid not in {0, os.getpid()}:
            raise ConfigurationError(
                "The store was started before this process was forked. Start it in each worker (in its lifespan)."
            )
        with self._lock:
            if not self._open:
                raise Unavailable("The database is not open.")
            if self._queue.qsize() + len(self._gathered) >= self._queue_size:
                raise Busy
            future: asyncio.Future[T] = loop.create_future()
            self._gathered.append((operation, future, loop))
            # One call for all that this loop submits in its present turn. A loop that closed before its call came does
            # not hold the others up: whichever loop submits next calls for itself, and takes along what lies there.
            if self._gatherer is not loop:
                self._gatherer = loop
                loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        """Queue what was submitted in this turn of the loop, after the last request of the turn has been served.

        The thread and the loop share one interpreter lock. Woken by the first operation, the thread would contend for
        it with the loop at every statement, for a batch of one; three times as much processor time went into that.
        """
        with self._lock:
            self._queue_gathered()

    def _queue_gathered(self) -> None:
        for waiting in self._gathered:
            self._queue.put(waiting)
        self._gathered, self._gatherer = [], None

    def _work(self, started: "ThreadFuture[None]") -> None:
        try:
            self._connect()
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(None)
        batch = self._next_batch()
        while batch:
            _deliver(batch, self._answers(batch))
            batch = self._next_batch()
        self._disconnect()

    def _next_batch(self) -> list[_Waiting]:
        """Wait for an operation, and take with it what else is queued; an empty batch is the end."""
        batch: list[_Waiting] = []
        first = self._queue.get()
        if first is None:
            return batch
        batch.append(first)
        # Nobody else takes from the queue, so what it counts is there.
        for _ in range(min(self._queue.qsize(), self._max_batch - 1)):
            waiting = self._queue.get()
            if waiting is None:
                self._queue.put(None)
                break
            batch.append(waiting)
        return batch

    def _answers(self, batch: list[_Waiting]) -> list[Any]:
        """Run the batch; one answer each. Whatever goes wrong, everybody is answered, and the thread lives on."""
        try:
            connection = self._connection or self._connect()
            return self._run(connection, [operation for operation, _, _ in batch])
        except sqlite3.Error as error:
            self._recover(error)
        except Exception:
            _log.exception("database_thread_failed", extra={"thread": self.name})
            self._disconnect()
        return [_Failed(Unavailable()) for _ in batch]

    def _run(self, connection: Connection, operations: list[Operation[Any]]) -> list[Any]:
        raise NotImplementedError

    def _connect(self) -> Connection:
        self._raw = connect(self._path, query_only=self.query_only)
        self._connection = Connection(self._raw, self._clock)
        return self._connection

    def _disconnect(self) -> None:
        raw, self._raw, self._connection = self._raw, None, None
        if raw is not None:
            try:
                raw.close()
            except sqlite3.Error as error:
                _log_error("database_close_failed", error)

    def _recover(self, error: sqlite3.Error) -> None:
        """After a failure of the database: leave no transaction open, and no connection that is not to be relied on."""
        _log_error("database_failed", error)
        if self._raw is None or _primary_code(error) in _RESULT_IS_LOST:
            self._disconnect()
            return
        try:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
        except sqlite3.Error as second:
            _log_error("database_rollback_failed", second)
            self._disconnect()


class Writer(Thread):
    """The one thread of this process that writes."""

    name = "limen-sqlite-writer"

    def _run(self, connection: Connection, operations: list[Operation[Any]]) -> list[Any]:
        raw = self._raw
        assert raw is not None
        try:
            return self._together(raw, connection, operations)
        except Exception as error:
            if _fails_all(error):
                raise
            raw.execute("ROLLBACK")
        return self._apart(raw, connection, operations)

    def _together(self, raw: sqlite3.Connection, connection: Connection, operations: list[Operation[Any]]) -> list[Any]:
        # IMMEDIATE: the lock is taken before anything is read, so what was read cannot be stale when it is written.
        raw.execute("BEGIN IMMEDIATE")
        answers = [operation(connection) for operation in operations]
        raw.execute("COMMIT")
        return answers

    def _apart(self, raw: sqlite3.Connection, connection: Connection, operations: list[Operation[Any]]) -> list[Any]:
        """Run them again, each in a savepoint of its own, so that one that fails takes back its own work only.

        Savepoints from the start would cost each refresh 10 µs more, a sixth of what it takes.
        """
        raw.execute("BEGIN IMMEDIATE")
        answers: list[Any] = []
        for operation in operations:
            raw.execute("SAVEPOINT operation")
            try:
                answers.append(operation(connection))
            except Exception as error:
                if _fails_all(error):
                    raise
                raw.execute("ROLLBACK TO operation")
                answers.append(_Failed(_translated(error)))
            raw.execute("RELEASE operation")
        raw.execute("COMMIT")
        return answers


class Reader(Thread):
    """A thread that only reads: each statement sees what was committed when it began, and waits for no writer."""

    name = "limen-sqlite-reader"
    query_only = True

    def _run(self, connection: Connection, operations: list[Operation[Any]]) -> list[Any]:
        answers: list[Any] = []
        for operation in operations:
            try:
                answers.append(operation(connection))
            except Exception as error:
                if _fails_all(error):
                    raise
                answers.append(_Failed(_translated(error)))
        return answers


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where the error is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _fails_all(error: Exception) -> bool:
    """Tell a failure of the database, which everybody in the transaction shares, from the fault of one operation."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
        return False
    return _primary_code(error) not in _OWN_FAULT


def _translated(error: Exception) -> Exception:
    """Return the error of the catalogue for the fault of one operation; what is no error of SQLite stays as it is."""
    if not isinstance(error, sqlite3.Error):
        return error
    _log_error("database_statement_failed", error)
    answer = Conflict() if isinstance(error, sqlite3.IntegrityError) else Unavailable()
    # The name of a constraint or a table helps to find the fault; SQLite's messages hold no values.
    answer.__cause__ = error
    return answer


def _log_error(message: str, error: sqlite3.Error) -> None:
    """Log a failure by its name alone: neither statements nor parameters, which hold hashes and names."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    _log.error(message, extra={"database_error": name})


def _deliver(batch: list[_Waiting], answers: list[Any]) -> None:
    """Answer the futures, by one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for (_, future, loop), answer in zip(batch, answers, strict=True):
        settled = (future, None, answer.error) if type(answer) is _Failed else (future, answer, None)
        by_loop.setdefault(loop, []).append(settled)
    for loop, settlements in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, settlements)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits any more. What was committed stays committed.
            _log.debug("database_answer_unclaimed", extra={"answers": len(settlements)})


def _settle(settlements: list[_Answer]) -> None:
    for future, answer, error in settlements:
        if future.done():
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
