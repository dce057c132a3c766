"""What an operation is given to work with."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from limen.core.clock import Clock

Parameters = Mapping[str, object] | tuple[object, ...]
Row = tuple[Any, ...]


class Connection:
    """What an operation is given: statements on the one connection of its thread, and the database's clock."""

    __slots__ = ("_clock", "_raw")

    def __init__(self, raw: sqlite3.Connection, clock: Clock) -> None:
        self._raw = raw
        self._clock = clock

    def now(self) -> int:
        """Return milliseconds since 1970 UTC, to be read just before the statement that uses it.

        Read in the thread, after waiting for the lock: a time that was read before the wait would lie before the row's
        own. The clock is used as it is. Holding it still after a step back of five minutes would keep a spent parent
        inside its leeway for as long; as it is, the parent's age becomes negative, and it is refused.
        """
        return round(self._clock() * 1000)

    def rows(self, sql: str, parameters: Parameters) -> list[Row]:
        """Run a statement and fetch all of its rows: a RETURNING that is not read to its end is not done."""
        return self._raw.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters) -> Row | None:
        """Run a statement that yields at most one row."""
        rows = self._raw.execute(sql, parameters).fetchall()
        return rows[0] if rows else None

    def run(self, sql: str, parameters: Parameters) -> int:
        """Run a statement; return how many rows it changed."""
        return self._raw.execute(sql, parameters).rowcount

    def run_many(self, sql: str, parameters: Sequence[Parameters]) -> None:
        """Run a statement once for each set of parameters."""
        self._raw.executemany(sql, parameters)
