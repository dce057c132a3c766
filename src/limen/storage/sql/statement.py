"""A statement in the words of both engines, and the steps in which an operation asks for statements.

An operation is a generator: it yields what it asks and is sent what the database answered. So each is written once.
SQLite's thread, PostgreSQL's connection and the application's own transaction differ only in who drives it.
"""

import re
from collections.abc import Callable, Generator, Mapping
from enum import IntEnum
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

Parameters: TypeAlias = Mapping[str, Any]
Row: TypeAlias = tuple[Any, ...]

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""An id that nothing has, for where a statement wants one."""

# What the engines spell differently. ``@now`` is the database's clock in milliseconds since 1970 UTC, read when the
# statement runs. PostgreSQL has one of its own; SQLite's is that of the process, read in the thread that writes.
_SQLITE: Final = {
    "now": ":now",
    "least": "min",
    "array_of": "json_group_array",
    "for_update": "",
    "for_share": "",
    "skip_locked": "",
}
_POSTGRES: Final = {
    "now": "((extract(epoch FROM clock_timestamp()) * 1000)::bigint + :clock_shift)",
    "least": "LEAST",
    "array_of": "json_agg",
    "for_update": "FOR UPDATE",
    "for_share": "FOR SHARE",
    "skip_locked": "FOR UPDATE SKIP LOCKED",
}
_WORD = re.compile(r"@([a-z_]+)")
# Neither a cast (``::bigint``) nor what stands behind a word in a text (``'roles:assign'``) is a parameter.
_NAME = re.compile(r"(?<![:\w]):([a-z_]+)")

CLOCK_SHIFT: Final = "clock_shift"
"""A parameter that PostgreSQL's driver adds by itself: milliseconds by which tests turn its clock; otherwise 0."""


class Statement:
    """One statement: ``:name`` is a parameter, ``@word`` is spelt as the engine spells it.

    Args:
        text: the statement, for both engines, or for SQLite alone where ``postgres`` is given.
        postgres: the statement for PostgreSQL, where another shape of it is faster.

    Attributes:
        sqlite: the text for SQLite, with named parameters.
        postgres: the text for PostgreSQL, with parameters by number.
        arguments: makes the parameters for PostgreSQL, in the order of those numbers, of the named ones.
        asks_clock: whether it asks the database's clock.
    """

    __slots__ = ("arguments", "asks_clock", "postgres", "sqlite")

    def __init__(self, text: str, *, postgres: str | None = None) -> None:
        self.sqlite = _WORD.sub(lambda word: _SQLITE[word[1]], text)
        named = _WORD.sub(lambda word: _POSTGRES[word[1]], text if postgres is None else postgres)
        names = list(dict.fromkeys(_NAME.findall(named)))
        numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
        self.postgres = _NAME.sub(lambda name: numbers[name[1]], named)
        self.arguments = _arguments(names)
        self.asks_clock = CLOCK_SHIFT in numbers or "@now" in text

    @classmethod
    def of_postgres(cls, text: str) -> "Statement":
        """Make a statement that only PostgreSQL is asked."""
        return cls("", postgres=text)

    def __repr__(self) -> str:
        return f"Statement({self.sqlite.strip()!r})"


def _arguments(names: list[str]) -> Callable[[Parameters], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: tuple(parameters[name] for name in names)


class Wanted(IntEnum):
    """What is to be answered: rows, how many were changed, or nothing, after one run for each set of parameters."""

    ROWS = 0
    COUNT = 1
    NOTHING = 2


class Ask(NamedTuple):
    """One statement that an operation asks for."""

    statement: Statement
    parameters: Any
    wanted: Wanted


Steps: TypeAlias = Generator[Ask, Any, T]
"""An operation under way: yields what it asks, is sent the answer, returns what it found."""


def rows(statement: Statement, /, **parameters: Any) -> Steps[list[Row]]:
    """Run a statement and return all of its rows: a RETURNING that is not read to its end is not done."""
    found: list[Row] = yield Ask(statement, parameters, Wanted.ROWS)
    return found


def row(statement: Statement, /, **parameters: Any) -> Steps[Row | None]:
    """Run a statement that yields at most one row."""
    found: list[Row] = yield Ask(statement, parameters, Wanted.ROWS)
    return found[0] if found else None


def run(statement: Statement, /, **parameters: Any) -> Steps[int]:
    """Run a statement; return how many rows it changed."""
    changed: int = yield Ask(statement, parameters, Wanted.COUNT)
    return changed


def run_each(statement: Statement, parameters: list[dict[str, Any]], /) -> Steps[None]:
    """Run a statement once for each set of parameters."""
    if parameters:
        yield Ask(statement, parameters, Wanted.NOTHING)
