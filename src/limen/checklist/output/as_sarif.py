"""A report as SARIF 2.1.0 (OASIS, errata 01), which code hosts show beside the lines of a pull request."""

import hashlib
import linecache
from collections import Counter
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from limen.checklist.catalogue import RULES
from limen.checklist.checking import Report
from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.output.words import page_of, route_of

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ROOT: Final = "%SRCROOT%"
"""What paths are relative to. GitHub takes a fingerprint of the lines of this root alone."""

_LEVELS: Final = {Severity.LOW: "note", Severity.MEDIUM: "warning", Severity.HIGH: "error"}
# What GitHub sorts by: from 7.0 on it says high, from 4.0 on medium.
_SCORES: Final = {Severity.LOW: "3.0", Severity.MEDIUM: "5.5", Severity.HIGH: "8.0"}
_INDEX: Final = {rule.id: index for index, rule in enumerate(RULES)}


def report_as_sarif(report: Report, version: str, *, folder: Path | None = None) -> dict[str, Any]:
    """Return a report as a SARIF log with one run.

    What somebody accepted, and what a baseline takes out, is not in it: GitHub shows results with ``suppressions`` as
    open alerts, and closes what a log has no more.

    Args:
        report: of a check.
        version: of limen.
        folder: where it was made, the current one by default; paths are told from the root of its repository.
    """
    places = _Places(report.application.place, folder or Path.cwd())
    seen: Counter[str] = Counter()
    return _log(version, [_result(each, places, seen) for each in report.findings], {"executionSuccessful": True})


def broken_as_sarif(reason: str, version: str) -> dict[str, Any]:
    """Return the log of a check that could not be made: it says so, and is not taken for a clean one.

    Args:
        reason: why not, in one line.
        version: of limen.
    """
    told = {"level": "error", "message": {"text": reason}}
    return _log(version, [], {"executionSuccessful": False, "toolExecutionNotifications": [told]})


def _log(version: str, results: list[dict[str, Any]], invocation: dict[str, Any]) -> dict[str, Any]:
    driver = {"name": "limen check", "semanticVersion": version, "rules": [_rule(each) for each in RULES]}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        # The root is said by its meaning: where it lies on this machine is nobody's business.
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    words = "".join(each if each.isalnum() else " " for each in rule.title.replace("==", " equals "))
    more = f"`limen check --explain {rule.id}` says the same, and so does `{page_of(rule)}` in limen's repository."
    return {
        "id": rule.id,
        "name": "".join(word[0].upper() + word[1:] for word in words.split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": f"{rule.fix}\n\nIt cannot see: {rule.unseen}",
            "markdown": f"{rule.why}\n\n```python\n{rule.fix}\n```\n\nIt cannot see: {rule.unseen}\n\n{more}",
        },
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "security-severity": _SCORES[rule.severity],
            "tags": ["security", "limen"],
            "page": page_of(rule),
        },
    }


def _result(finding: Finding, places: "_Places", seen: "Counter[str]") -> dict[str, Any]:
    about = f"{route_of(finding)}: " if finding.route else ""
    location, elsewhere = places.of(finding.place)
    where = f" In {elsewhere}." if elsewhere else ""
    digest = hashlib.sha256("\0".join(finding.identity).encode()).hexdigest()[:32]
    seen[digest] += 1
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": _INDEX[finding.rule.id],
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{about}{finding.what}.{where} {finding.rule.why}"},
        "locations": [{"physicalLocation": location}],
        # Of its own name: one of GitHub's names would be compared with the hash that its upload makes of the line.
        "partialFingerprints": {"limenCheck/v1": f"{digest}:{seen[digest]}"},
    }


class _Places:
    """Where results are shown: in a file of the repository, since a code host shows no other.

    Args:
        application: where the application is made; what is found in a library is shown there.
        folder: where the check was made.
    """

    def __init__(self, application: Place, folder: Path) -> None:
        self._application = application
        self._folder = folder
        self._root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)

    def of(self, place: Place) -> tuple[dict[str, Any], str]:
        """Return the physical location, and the true place in words where that is another."""
        own = self._own(place)
        if own is not None:
            return own, ""
        elsewhere = f"{place.file}:{place.line}" if place.file else ""
        stands_for = self._own(self._application)
        if stands_for is not None:
            return stands_for, elsewhere
        file = place.file or self._application.file or "."
        return {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": max(1, place.line)}}, ""

    def _own(self, place: Place) -> dict[str, Any] | None:
        path = self._folder / place.file
        if not place.file or not path.is_relative_to(self._root) or not path.is_file():
            return None
        line = max(1, place.line)
        text = linecache.getline(str(path), line).rstrip("\r\n")
        indented = len(text) - len(text.lstrip())
        return {
            "artifactLocation": {"uri": quote(path.relative_to(self._root).as_posix()), "uriBaseId": ROOT},
            "region": {
                "startLine": line,
                "startColumn": indented + 1,
                "endLine": line,
                "endColumn": max(len(text), indented + 1) + 1,
            },
        }
