"""The table of another software's users, in a SQLite file of its own: read, never written."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from limen.core.errors import InvalidInput

# How many there are, and what they are, by the name of the table.
_TABLES: Final = {
    "user": ('SELECT count(*) FROM "user"', 'SELECT * FROM "user"'),
    "users": ('SELECT count(*) FROM "users"', 'SELECT * FROM "users"'),
}


def is_sqlite(begins: bytes) -> bool:
    """Tell whether a file that begins so is one of SQLite."""
    return begins.startswith(b"SQLite format 3")


@contextmanager
def rows_of(path: Path) -> Iterator[tuple[Iterator[dict[str, Any]], int, Callable[[], int]]]:
    """Open the file; yield the rows of its table of users, how many there are, and what tells how many were read.

    Raises:
        InvalidInput: there is no such table, or it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            file.row_factory = sqlite3.Row
            found = [name for name in _TABLES if _columns_of(file, name) >= {"email", "hashed_password"}]
            if not found:
                raise InvalidInput("There is no table user, with the columns email and hashed_password, in that file.")
            count, read_all = _TABLES[found[0]]
            total = int(file.execute(count).fetchone()[0])
            read = 0

            def rows() -> Iterator[dict[str, Any]]:
                nonlocal read
                for row in file.execute(read_all):
                    read += 1
                    yield dict(row)

            yield rows(), total, lambda: read
    except sqlite3.Error:
        raise InvalidInput("That file cannot be read as a database.") from None


def _columns_of(file: sqlite3.Connection, table: str) -> set[str]:
    return {str(row["name"]) for row in file.execute("SELECT name FROM pragma_table_info(?)", (table,))}
