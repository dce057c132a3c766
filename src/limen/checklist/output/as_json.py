"""A report as JSON: the form that other programs read."""

from collections.abc import Iterable
from typing import Any

from limen.checklist.checking import Report
from limen.checklist.facts import Place
from limen.checklist.findings import Finding
from limen.checklist.lock import Change
from limen.checklist.output.words import page_of


def report_as_json(
    report: Report, *, before: int = 0, not_asked: int = 0, changes: Iterable[Change] = ()
) -> dict[str, Any]:
    """Return a report as plain values.

    Args:
        report: of a check.
        before: how many findings a baseline took out.
        not_asked: how many rules were left out.
        changes: since a lock was written.
    """
    application = report.application
    standings = [each.standing for each in application.routes]
    return {
        "app": application.target,
        "routes": len(application.routes),
        "guarded": standings.count("guarded"),
        "public": standings.count("public"),
        "open": standings.count("open"),
        "unknown": standings.count("unknown"),
        "files": len(application.files),
        "not_read": [{"file": file, "why": why} for file, why in report.skipped],
        "made_up_settings": list(application.faked),
        "findings": [_finding(each) for each in report.findings],
        "accepted": [
            {**_finding(each), "reason": reason.reason, "until": reason.until.isoformat() if reason.until else None}
            for each, reason in report.accepted
        ],
        "in_baseline": before,
        "rules_not_asked": not_asked,
        "changes": [
            {"route": each.route, "label": each.label.value, "before": each.before or None, "after": each.after or None}
            for each in changes
        ],
    }


def broken_as_json(target: str, reason: str, place: Place, hint: str) -> dict[str, Any]:
    """Return why an application could not be looked at, as plain values."""
    where = {"file": place.file or None, "line": place.line or None}
    return {"app": target, "error": {"reason": reason, **where, "hint": hint}}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.rule.id,
        "severity": finding.severity.word,
        "title": finding.rule.title,
        "what": finding.what,
        "route": finding.route or None,
        "method": finding.method or None,
        "file": finding.place.file or None,
        "line": finding.place.line or None,
        "why": finding.rule.why,
        "fix": finding.rule.fix,
        "page": page_of(finding.rule),
    }
