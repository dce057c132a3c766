"""A report for people: findings under their rule, the worst first, how to mend them, and all of it in short."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from limen.checklist.checking import Report
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.output.words import counted, printable, route_of, summary

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from rich.console import Console

_COLOURS: Final = {Severity.HIGH: "bold red", Severity.MEDIUM: "yellow", Severity.LOW: "cyan"}
SHORT: Final = 5
"""How many findings of a rule are shown; the rest is counted, by its files."""
_FILES: Final = 4
_TALLY_FROM: Final = 4
"""From how many rules on they are listed once more at the end, where a terminal stands still."""


def print_report(report: Report, *, before: int = 0, not_asked: int = 0, everything: bool = False) -> None:
    """Print a report on standard output: in colours and wrapped where somebody looks, else a finding a line.

    Args:
        report: of a check.
        before: how many findings a baseline took out.
        not_asked: how many rules were left out.
        everything: show every finding, and what its rule cannot see.
    """
    told = _Report(report, everything=everything)
    last = summary(report, before=before, not_asked=not_asked)
    if sys.stdout.isatty():
        _in_colours(told, last)
    else:
        print("\n".join([*_plain(told), last]))


class _Report:
    """A report in the order in which it is told.

    Args:
        report: of a check.
        everything: nothing is left out.
    """

    def __init__(self, report: Report, *, everything: bool) -> None:
        self.everything = everything
        self.rules: dict[Rule, list[Finding]] = {}
        for each in report.findings:
            self.rules.setdefault(each.rule, []).append(each)

    def heads(self) -> Iterator[tuple[Rule, Severity, list[Finding]]]:
        """Yield each rule with its worst severity here and its findings."""
        for rule, found in self.rules.items():
            yield rule, max(each.severity for each in found), found

    def rows(self, found: list[Finding]) -> list[tuple[str, str, str]]:
        """Return route, place and words of the findings that are shown; words that repeat the title are left out."""
        shown = found if self.everything or len(found) <= SHORT + 1 else found[:SHORT]
        return [
            (
                printable(route_of(each)),
                printable(f"{each.place.file}:{each.place.line}") if each.place.file else "",
                "" if each.what == each.rule.title else printable(each.what),
            )
            for each in shown
        ]

    def rest(self, found: list[Finding], shown: int) -> str:
        """Return how many more there are, and in which files most of them; empty where there are none."""
        files = Counter(each.place.file for each in found[shown:] if each.place.file).most_common()
        if len(found) == shown:
            return ""
        named = ", ".join(f"{printable(file)} ({count})" for file, count in files[:_FILES])
        more = f", {counted(len(files) - _FILES, 'more file')}" if len(files) > _FILES else ""
        where = f" in {named}{more}" if named else ""
        return f"and {len(found) - shown} more{where}; --all shows them"

    def tally(self) -> list[tuple[Severity, str]]:
        """Return a line a rule, for the end; none where there are few."""
        if len(self.rules) < _TALLY_FROM:
            return []
        width = max(len(str(len(found))) for found in self.rules.values())
        return [
            (worst, f"{worst.word:<6}  {rule.id}  {len(found):>{width}}  {rule.title}")
            for rule, worst, found in self.heads()
        ]


def _plain(told: _Report) -> Iterator[str]:
    for rule, worst, found in told.heads():
        yield f"{rule.id} {worst.word}  {rule.title}: {counted(len(found), 'finding')}"
        rows = told.rows(found)
        routes, places = (min(60, max(len(each[column]) for each in rows)) for column in (0, 1))
        for route, place, what in rows:
            cells = [route.ljust(routes)] if routes else []
            yield "  " + "  ".join([*cells, place.ljust(places), what]).rstrip()
        if rest := told.rest(found, len(rows)):
            yield f"  {rest}"
        yield f"  {rule.why}"
        yield from (f"    {line}".rstrip() for line in rule.fix.splitlines())
        if told.everything:
            yield f"  It cannot see: {rule.unseen}"
        yield ""
    tally = [line for _, line in told.tally()]
    yield from ([*tally, ""] if tally else [])


def _in_colours(told: _Report, last: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for rule, worst, found in told.heads():
        console.print(_head(rule, worst, len(found)))
        _print_rule(console, told, rule, found)
    for severity, line in told.tally():
        console.print(Text(line[:6], style=_COLOURS[severity]) + Text(line[6:], style=""))
    if told.rules:
        example = next(iter(told.rules)).id
        console.print()
        console.print(Text(f"limen check --explain {example} tells more of a rule.", style="dim"))
    console.print(Text(last, style="bold" if told.rules else "bold green"))


def _head(rule: Rule, worst: Severity, count: int) -> "object":
    from rich.text import Text

    title = rule.title[0].upper() + rule.title[1:]
    return Text.assemble(
        (f"{rule.id} {worst.word}", _COLOURS[worst]), "  ", (title, "bold"), f": {counted(count, 'finding')}"
    )


def _print_rule(console: "Console", told: _Report, rule: Rule, found: list[Finding]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rows = told.rows(found)
    table = Table.grid(padding=(0, 2))
    used = [any(row[column] for row in rows) for column in range(3)]
    for column, (ratio, style) in enumerate(((None, "bold"), (None, "blue"), (None, ""))):
        if used[column]:
            table.add_column(ratio=ratio, style=style, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell, is_used in zip(row, used, strict=True) if is_used))
    console.print(Padding(table, (0, 0, 0, 2)))
    if rest := told.rest(found, len(rows)):
        console.print(Padding(Text(rest, style="dim"), (0, 0, 0, 2)))
    console.print(Padding(Text(rule.why, style="dim"), (0, 0, 0, 2)))
    console.print(Padding(Text(rule.fix, style="green"), (0, 0, 0, 4)))
    if told.everything:
        console.print(Padding(Text(f"It cannot see: {rule.unseen}", style="dim"), (0, 0, 0, 2)))
    console.print()
