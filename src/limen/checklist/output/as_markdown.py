"""A report as Markdown: for a comment on a pull request, or a page of a release."""

import re
from collections.abc import Sequence
from typing import Final

from limen.checklist.checking import Report
from limen.checklist.findings import Finding
from limen.checklist.lock import Change
from limen.checklist.output.words import counted, page_of, printable, route_of, summary

# No name of somebody, no address, no tag, no emphasis: an underscore inside a word is none.
_PLAIN: Final = re.compile(r"(?!.*(?:://|www\.))(?:[A-Za-z0-9 ,.;:'()/=-]|(?<=\w)_(?=\w))+")


def report_as_markdown(report: Report, *, before: int = 0, not_asked: int = 0, changes: Sequence[Change] = ()) -> str:
    """Return a report as Markdown: what changed since a lock was written, and a section a rule."""
    lines = [
        f"# limen check {_text(report.application.target)}",
        "",
        summary(report, before=before, not_asked=not_asked),
        "",
    ]
    if changes:
        lines += ["## Who may call what", "", "| | route | before | now |", "|---|---|---|---|"]
        lines += [_changed(each) for each in changes]
        lines.append("")
    rules = list(dict.fromkeys(each.rule for each in report.findings))
    for rule in rules:
        found = [each for each in report.findings if each.rule == rule]
        lines += [f"## {rule.id} {rule.title} ({counted(len(found), 'finding')})", "", rule.why, ""]
        lines += ["| severity | route | where | what |", "|---|---|---|---|"]
        lines += [_row(each) for each in found]
        lines += [
            "",
            "```python",
            rule.fix,
            "```",
            "",
            f"More: `{page_of(rule)}`, or `limen check --explain {rule.id}`",
            "",
        ]
    if report.accepted:
        lines += ["## Accepted", "", "| rule | route | where | until | because |", "|---|---|---|---|---|"]
        for each, reason in report.accepted:
            until = reason.until.isoformat() if reason.until else "no end"
            lines.append(f"| {each.rule.id} | {_route(each)} | {_where(each)} | {until} | {_text(reason.reason)} |")
    return "\n".join(lines).rstrip() + "\n"


def _changed(change: Change) -> str:
    before, now = (_text(each) if each else "not there" for each in (change.before, change.after))
    return f"| **{change.label.value}** | {_code(change.route)} | {before} | {now} |"


def _row(finding: Finding) -> str:
    return f"| {finding.severity.word} | {_route(finding)} | {_where(finding)} | {_text(finding.what)} |"


def _route(finding: Finding) -> str:
    return _code(route_of(finding)) if finding.route else ""


def _where(finding: Finding) -> str:
    return _text(f"{finding.place.file}:{finding.place.line}") if finding.place.file else ""


def _text(text: str) -> str:
    """Return words of an application as they are, or as code where Markdown could read more into them."""
    return text if _PLAIN.fullmatch(text) else _code(text)


def _code(text: str) -> str:
    """Return a text as code that it cannot leave: not by its back quotes, a line break, or a bar in a table."""
    shown = printable(" ".join(text.split())).replace("|", "\\|")
    fence = "`" * (1 + max((len(each) for each in re.findall("`+", shown)), default=0))
    blank = " " if "`" in shown else ""
    return f"{fence}{blank}{shown}{blank}{fence}"
