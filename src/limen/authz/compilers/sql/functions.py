"""What SQLite and PostgreSQL spell differently, or answer differently; each is one element that both compile.

Texts are looked for sign by sign, never by LIKE, whose signs could come from anybody, and compared by code point,
whatever the database's collation is. Not-a-number is missing: PostgreSQL holds it for the greatest of all numbers.
"""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _Condition(FunctionElement[bool]):
    """A condition that is one in every place; of a function that returns a truth, SQLite would be asked ``= 1``."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Return the condition: it brings its own brackets."""
        return self


class contains(_Condition):  # noqa: N801
    """``contains(text, part)``: whether a text holds another one."""

    inherit_cache = True


class begins(_Condition):  # noqa: N801
    """``begins(text, part)``: whether a text begins with another one."""

    inherit_cache = True


class by_code_point(FunctionElement[str]):  # noqa: N801
    """``by_code_point(text)``: the text, to be ordered as Python orders texts."""

    type = String()
    inherit_cache = True


class is_number(_Condition):  # noqa: N801
    """``is_number(value)``: whether there is a number; unknown or false where there is none."""

    inherit_cache = True


class is_no_number(_Condition):  # noqa: N801
    """``is_no_number(value)``: whether there is none. Never unknown."""

    inherit_cache = True


def _arguments(element: FunctionElement[Any], compiler: Any, arguments: dict[str, Any]) -> list[str]:
    clauses: list[ColumnElement[Any]] = list(element.clauses)
    return [compiler.process(clause.self_group(), **arguments) for clause in clauses]


@compiles(contains, "sqlite")
def _(element: contains, compiler: Any, **told: Any) -> str:
    text, part = _arguments(element, compiler, told)
    return f"(instr({text}, {part}) > 0)"


@compiles(contains, "postgresql")
def _(element: contains, compiler: Any, **told: Any) -> str:
    text, part = _arguments(element, compiler, told)
    return f"(strpos({text}, {part}) > 0)"


@compiles(begins, "sqlite")
def _(element: begins, compiler: Any, **told: Any) -> str:
    text, part = _arguments(element, compiler, told)
    # The first place where it is found: no length is counted, which ends at a NUL, and no index of signs either.
    return f"(instr({text}, {part}) = 1)"


@compiles(begins, "postgresql")
def _(element: begins, compiler: Any, **told: Any) -> str:
    text, part = _arguments(element, compiler, told)
    return f"starts_with({text}, {part})"


@compiles(by_code_point, "sqlite")
def _(element: by_code_point, compiler: Any, **told: Any) -> str:
    (text,) = _arguments(element, compiler, told)
    return f"({text} COLLATE BINARY)"


@compiles(by_code_point, "postgresql")
def _(element: by_code_point, compiler: Any, **told: Any) -> str:
    (text,) = _arguments(element, compiler, told)
    return f'({text} COLLATE "C")'


@compiles(is_number, "sqlite")
def _(element: is_number, compiler: Any, **told: Any) -> str:
    (value,) = _arguments(element, compiler, told)
    return f"({value} IS NOT NULL)"


@compiles(is_number, "postgresql")
def _(element: is_number, compiler: Any, **told: Any) -> str:
    (value,) = _arguments(element, compiler, told)
    return f"({value} <> 'NaN')"


@compiles(is_no_number, "sqlite")
def _(element: is_no_number, compiler: Any, **told: Any) -> str:
    (value,) = _arguments(element, compiler, told)
    return f"({value} IS NULL)"


@compiles(is_no_number, "postgresql")
def _(element: is_no_number, compiler: Any, **told: Any) -> str:
    (value,) = _arguments(element, compiler, told)
    return f"({value} IS NULL OR {value} = 'NaN')"
