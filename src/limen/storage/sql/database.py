"""What the stores ask of a database: run these steps, in a transaction that is durable when the answer comes."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from limen.storage.sql.statement import Steps

T = TypeVar("T")

Operation: TypeAlias = Callable[[], Steps[T]]
"""Begins an operation; it may be begun more than once, when a transaction had to be rolled back because of another."""


class Database(Protocol):
    """Runs the operations of the stores. Each counts as one store call."""

    async def write(self, operation: Operation[T]) -> T:
        """Run the operation in a writing transaction; answer after it was committed to disk.

        Raises Unavailable where the database failed (nothing was changed), Busy where too many wait.
        """
        ...

    async def write_one(self, operation: Operation[T]) -> T:
        """Run an operation of exactly one statement, which is then a transaction by itself; otherwise as `write`."""
        ...

    async def read(self, operation: Operation[T]) -> T:
        """Run the operation where it can only read; each of its statements sees all that was committed before."""
        ...

    async def read_committed(self, operation: Operation[T]) -> T:
        """Read past the transaction that the application has handed in: for what a process remembers.

        What is rolled back afterwards must not be remembered.
        """
        ...
