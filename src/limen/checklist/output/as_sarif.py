"""A report as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a pull request."""

import hashlib
from pathlib import PurePath
from typing import Any, Final

from limen.checklist.catalogue import RULES
from limen.checklist.checking import Report
from limen.checklist.findings import Finding, Rule, Severity

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {Severity.LOW: "note", Severity.MEDIUM: "warning", Severity.HIGH: "error"}
# What GitHub sorts by, from 0 to 10.
_SCORES: Final = {Severity.LOW: "3.0", Severity.MEDIUM: "5.5", Severity.HIGH: "8.0"}


def report_as_sarif(report: Report, version: str) -> dict[str, Any]:
    """Return a report as a SARIF log with one run.

    Args:
        report: of a check.
        version: of limen.
    """
    results = [_result(each) for each in report.findings]
    results += [
        {**_result(each), "suppressions": [{"kind": "inSource", "justification": reason.reason}]}
        for each, reason in report.accepted
    ]
    driver = {"name": "limen check", "version": version, "rules": [_rule(each) for each in RULES]}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.title.replace("@", "").replace("==", "equals").split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": rule.fix,
            "markdown": f"{rule.why}\n\n```python\n{rule.fix}\n```\n\nIt cannot see: {rule.unseen}",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security"]},
    }


def _result(finding: Finding) -> dict[str, Any]:
    about = f"{finding.method} {finding.route}: " if finding.route else ""
    digest = hashlib.sha256("\0".join(finding.identity).encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": RULES.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{about}{finding.what}. {finding.rule.why}"},
        "partialFingerprints": {"limenCheck/v1": digest},
    }
    # Without a place a code host shows a result nowhere; the application's own file is better than none.
    if finding.place.file:
        uri = PurePath(finding.place.file).as_posix()
        region = {"startLine": max(1, finding.place.line)}
        result["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}]
    return result
