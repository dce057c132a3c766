"""A report for people: findings under their rule, the worst first, then how to mend them."""

import sys
from collections.abc import Callable

from limen.checklist.checking import Report
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.output.words import counted, summary

_COLOURS = {Severity.HIGH: "bold red", Severity.MEDIUM: "yellow", Severity.LOW: "cyan"}
SHORT = 8
"""How many findings of a rule are shown; the rest is counted."""


def print_report(report: Report, *, before: int = 0, verbose: bool = False) -> None:
    """Print a report on standard output.

    Args:
        report: of a check.
        before: how many findings a baseline took out.
        verbose: show every finding, and what its rule cannot see.
    """
    say = _printer()
    for rule in dict.fromkeys(each.rule for each in report.findings):
        found = [each for each in report.findings if each.rule == rule]
        worst = max(each.severity for each in found)
        say(f"{rule.id} {worst.word}", _COLOURS[worst], f"  {rule.title}: {counted(len(found), 'finding')}")
        _print_rule(say, rule, found, verbose=verbose)
    say(summary(report, before=before), "bold", "")


def _print_rule(say: "Callable[[str, str, str], None]", rule: Rule, found: list[Finding], *, verbose: bool) -> None:
    shown = found if verbose else found[:SHORT]
    routes = [f"{each.method} {each.route}" if each.route else "" for each in shown]
    width = min(48, max(len(each) for each in routes))
    for each, route in zip(shown, routes, strict=True):
        where = f"{each.place.file}:{each.place.line}" if each.place.file else ""
        say("  " + route.ljust(width) + ("  " if width else ""), "", f"{each.what}  {where}".rstrip())
    if len(found) > len(shown):
        say(f"  and {len(found) - len(shown)} more; --verbose shows them", "dim", "")
    say("  " + rule.why, "dim", "")
    for line in rule.fix.splitlines():
        say("    " + line, "green", "")
    if verbose:
        say("  It cannot see: " + rule.unseen, "dim", "")
    say("", "", "")


def _printer() -> "Callable[[str, str, str], None]":
    """Return what prints a line, its first part in a style; plain text where nobody looks."""
    if not sys.stdout.isatty():

        def plain(first: str, style: str, rest: str) -> None:
            print((_clean(first) + _clean(rest)).rstrip())

        return plain
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def coloured(first: str, style: str, rest: str) -> None:
        console.print(Text(_clean(first), style=style) + Text(_clean(rest)))

    return coloured


def _clean(text: str) -> str:
    """Show control characters as escapes: a name in somebody's code must not steer the terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
