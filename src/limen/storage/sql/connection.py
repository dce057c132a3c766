"""What drives an operation on SQLite."""

import sqlite3
from typing import Any, TypeVar

from limen.core.clock import Clock
from limen.storage.sql.statement import Ask, Row, Steps, Wanted

T = TypeVar("T")


class Connection:
    """Statements on the one connection of its thread, and the database's clock."""

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

    def drive(self, steps: Steps[T]) -> T:
        """Run an operation to its end, statement by statement, and return what it returns."""
        answer: Any = None
        try:
            while True:
                answer = self._answer(steps.send(answer))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def _answer(self, ask: Ask) -> list[Row] | int | None:
        statement, parameters, wanted = ask
        if wanted is Wanted.NOTHING:
            now = self.now()
            self._raw.executemany(statement.sqlite, [{**each, "now": now} for each in parameters])
            return None
        if statement.asks_clock:
            parameters["now"] = self.now()
        cursor = self._raw.execute(statement.sqlite, parameters)
        return cursor.fetchall() if wanted is Wanted.ROWS else cursor.rowcount
