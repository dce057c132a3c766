"""The sentences of a report that all its forms share."""

from limen.checklist.checking import Report
from limen.checklist.findings import Severity


def counted(count: int, what: str) -> str:
    """Return «1 route», «2 routes», «no routes»."""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def summary(report: Report, *, before: int = 0) -> str:
    """Return what was looked at and what was found, in one line."""
    routes = report.application.routes
    standings = [each.standing for each in routes]
    told = [f"{standings.count(each)} {each}" for each in ("guarded", "public", "open", "unknown") if each in standings]
    severities = [each.severity for each in report.findings]
    bad = [f"{severities.count(each)} {each.word}" for each in sorted(Severity, reverse=True) if each in severities]
    text = f"{counted(len(routes), 'route')} ({', '.join(told)}), {counted(len(report.application.files), 'file')}: "
    text += counted(len(report.findings), "finding") + (f" ({', '.join(bad)})" if bad else "")
    if report.accepted:
        text += f", {len(report.accepted)} accepted"
    if before:
        text += f", {before} in the baseline"
    return text
