"""What commands print: JSON for programs, tables for people; colours only where somebody looks."""

import json
import sys
from collections.abc import Sequence


def show_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def say(*lines: str) -> None:
    """Print lines on standard output, exactly as they are: they can be pasted."""
    for line in lines:
        print(line, flush=True)


def note(text: str) -> None:
    """Print a line on standard error, so that standard output stays what was asked for."""
    print(f"limen: {text}", file=sys.stderr, flush=True)


def heading(text: str) -> None:
    """Print a line that stands out where standard output is a terminal."""
    if not sys.stdout.isatty():
        say(text)
        return
    from rich.console import Console

    Console(highlight=False).print(f"[bold]{_escaped(text)}[/bold]")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, colours: dict[str, str] | None = None) -> None:
    """Print rows under their columns: framed in a terminal, else aligned by spaces.

    Args:
        columns: their names.
        rows: as many cells each; control characters in a cell are shown, not sent to the terminal.
        colours: the style of a cell by its exact text, such as ``{"fail": "red"}``.
    """
    clean = [[_visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, clean, colours or {})
        return
    widths = [max(len(row[index]) for row in [list(columns), *clean]) for index in range(len(columns))]
    for row in [list(columns), *clean]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], colours: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in row))
    Console(highlight=False).print(drawn)


def _visible(cell: str) -> str:
    """Show control characters as escapes: a stored text must not steer the terminal of whoever reads it."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cell)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
