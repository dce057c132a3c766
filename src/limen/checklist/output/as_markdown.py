"""A report as Markdown: for a comment on a pull request, or a page of a release."""

from limen.checklist.checking import Report
from limen.checklist.findings import Finding
from limen.checklist.output.words import counted, page_of, route_of, summary


def report_as_markdown(report: Report, *, before: int = 0, not_asked: int = 0) -> str:
    """Return a report as Markdown, a section a rule."""
    lines = [f"# limen check {report.application.target}", "", summary(report, before=before, not_asked=not_asked), ""]
    rules = list(dict.fromkeys(each.rule for each in report.findings))
    for rule in rules:
        found = [each for each in report.findings if each.rule == rule]
        lines += [f"## {rule.id} {_cell(rule.title)} ({counted(len(found), 'finding')})", "", rule.why, ""]
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
            lines.append(f"| {each.rule.id} | {_route(each)} | {_where(each)} | {until} | {_cell(reason.reason)} |")
    return "\n".join(lines).rstrip() + "\n"


def _row(finding: Finding) -> str:
    return f"| {finding.severity.word} | {_route(finding)} | {_where(finding)} | {_cell(finding.what)} |"


def _route(finding: Finding) -> str:
    return _cell(f"`{route_of(finding)}`") if finding.route else ""


def _where(finding: Finding) -> str:
    return _cell(f"{finding.place.file}:{finding.place.line}") if finding.place.file else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
