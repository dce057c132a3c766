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
_STYLES: Final = ("bold", "blue", "")
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

    def is_short(self, worst: Severity) -> bool:
        """Tell whether a rule is told without its reason and remedy: what is low, where something is worse."""
        return not self.everything and worst is Severity.LOW and any(each > worst for _, each, _ in self.heads())

    def hint(self) -> str:
        """Return how to read more; empty where there is nothing to be read."""
        heads = list(self.heads())
        short = next((rule.id for rule, worst, _ in heads if self.is_short(worst)), "")
        if short:
            return f"limen check --explain {short} tells why and how to mend it, --all of all rules."
        return f"limen check --explain {heads[0][0].id} tells more of a rule." if heads and not self.everything else ""

    def rows(self, found: list[Finding]) -> list[tuple[str, str, str]]:
        """Return route, place and words of the findings that are shown; words that repeat the title are left out.

        Words that are the same for all are left out, too: `shared` has them.
        """
        shown = found if self.everything or len(found) <= SHORT + 1 else found[:SHORT]
        is_shared = bool(self.shared(found))
        return [
            (
                printable(route_of(each)),
                printable(f"{each.place.file}:{each.place.line}") if each.place.file else "",
                "" if is_shared or each.what == each.rule.title else printable(each.what),
            )
            for each in shown
        ]

    def shared(self, found: list[Finding]) -> str:
        """Return the words that all findings of a rule have in common; empty where they differ, or there is one."""
        words = {each.what for each in found} - {found[0].rule.title}
        is_shared = len(found) > 1 and words == {found[0].what}
        return f"each: {printable(found[0].what)}" if is_shared and all(each.what for each in found) else ""

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


def _fix(rule: Rule) -> list[str]:
    """Return the lines of a remedy, without those that keep its parts apart in a file."""
    return [line for line in rule.fix.splitlines() if line.strip()]


def _plain(told: _Report) -> Iterator[str]:
    for rule, worst, found in told.heads():
        yield f"{rule.id} {worst.word}  {rule.title}: {counted(len(found), 'finding')}"
        rows = told.rows(found)
        routes, places = (min(60, max(len(each[column]) for each in rows)) for column in (0, 1))
        for route, place, what in rows:
            cells = [route.ljust(routes)] if routes else []
            yield "  " + "  ".join([*cells, place.ljust(places), what]).rstrip()
        yield from (f"  {each}" for each in (told.rest(found, len(rows)), told.shared(found)) if each)
        if not told.is_short(worst):
            yield f"  {rule.why}"
            yield from (f"    {line}".rstrip() for line in _fix(rule))
        if told.everything:
            yield f"  It cannot see: {rule.unseen}"
        yield ""
    tally = [line for _, line in told.tally()]
    yield from ([*tally, ""] if tally else [])
    yield from ([told.hint()] if told.hint() else [])


def _in_colours(told: _Report, last: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for rule, worst, found in told.heads():
        console.print(_head(rule, worst, len(found)))
        _print_rows(console, told, found)
        if not told.is_short(worst):
            _print_rule(console, rule, everything=told.everything)
        console.print()
    tally = told.tally()
    for severity, line in tally:
        console.print(Text(line[:6], style=_COLOURS[severity]) + Text(line[6:], style=""))
    if tally:
        console.print()
    if told.hint():
        console.print(Text(told.hint(), style="dim"))
    console.print(Text(last, style="bold" if told.rules else "bold green"))


def _head(rule: Rule, worst: Severity, count: int) -> "object":
    from rich.text import Text

    title = rule.title[0].upper() + rule.title[1:]
    return Text.assemble(
        (f"{rule.id} {worst.word}", _COLOURS[worst]), "  ", (title, "bold"), f": {counted(count, 'finding')}"
    )


def _print_rows(console: "Console", told: _Report, found: list[Finding]) -> None:
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rows = told.rows(found)
    widths = [max(cell_len(row[column]) for row in rows) for column in range(3)]
    if sum(each + 2 for each in widths if each) <= console.width:
        table = Table.grid(padding=(0, 2))
        for row in rows:
            cells = zip(row, _STYLES, widths, strict=True)
            table.add_row(*(Text(cell, style) for cell, style, width in cells if width))
        console.print(Padding(table, (0, 0, 0, 2), expand=False))
    else:
        for *about, what in rows:
            head = Text("  ").join(Text(cell, style) for cell, style in zip(about, _STYLES, strict=False) if cell)
            console.print(Padding(head, (0, 0, 0, 2), expand=False))
            if what:
                console.print(Padding(Text(what), (0, 0, 0, 4), expand=False))
    for each in (told.rest(found, len(rows)), told.shared(found)):
        if each:
            console.print(Padding(Text(each, style="dim"), (0, 0, 0, 2), expand=False))


def _print_rule(console: "Console", rule: Rule, *, everything: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(rule.why, style="dim"), (0, 0, 0, 2), expand=False))
    for line in _fix(rule):  # whole lines, whatever the width is: somebody copies them
        console.print(Text(f"    {line}", style="green"), soft_wrap=True)
    if everything:
        console.print(Padding(Text(f"It cannot see: {rule.unseen}", style="dim"), (0, 0, 0, 2), expand=False))
