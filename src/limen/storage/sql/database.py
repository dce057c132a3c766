"""What the stores ask of a database: run this, in a transaction that is durable when the answer comes."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from limen.storage.sql.connection import Connection

T = TypeVar("T")


class Database(Protocol):
    """Runs the operations of the stores. Each counts as one store call."""

    async def write(self, operation: Callable[[Connection], T]) -> T:
        """Run the operation in a writing transaction; answer after it was committed to disk.

        Raises Unavailable where the database failed (nothing was changed), Busy where too many wait.
        """
        ...

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run the operation where it can only read; each of its statements sees all that was committed before."""
        ...
