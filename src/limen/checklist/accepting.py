"""Findings that somebody accepted, with a reason and an end.

``# limen: accept LC004 until 2027-03-01 because prices are the same for everybody`` stands on the line of the finding,
or on one of the lines directly above it: comments and decorators. It is read from the comments of the file, not from
its text, so that a string that looks like it accepts nothing.
"""

import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from limen.checklist import catalogue as rules
from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Severity

_MARK: Final = re.compile(r"#\s*limen:\s*accept\b(?P<rest>.*)", re.IGNORECASE)
_WHOLE: Final = re.compile(
    r"^\s+(?P<ids>LC\d{3}(?:\s*,\s*LC\d{3})*)\s+until\s+(?P<until>\S+)\s+because\s+(?P<reason>\S.*)$",
    re.IGNORECASE,
)


class Acceptance(Struct, frozen=True):
    """One comment.

    Attributes:
        place: where it stands.
        ids: the rules it is about; none where the comment cannot be read.
        until: the last day.
        reason: why.
        fault: what is wrong with the comment, or empty.
    """

    place: Place
    ids: tuple[str, ...] = ()
    until: date | None = None
    reason: str = ""
    fault: str = ""


def acceptances_of(file: str) -> list[Acceptance]:
    """Return the acceptances of a file; none where it cannot be read."""
    try:
        text = Path(file).read_text(encoding="utf-8")
        if "limen:" not in text:
            return []
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (OSError, ValueError, tokenize.TokenError, SyntaxError):
        return []
    comments = [each for each in tokens if each.type == tokenize.COMMENT]
    return [found for each in comments if (found := _read(each.string, Place(file, each.start[0]))) is not None]


def _read(comment: str, place: Place) -> Acceptance | None:
    marked = _MARK.match(comment)
    if marked is None:
        return None
    whole = _WHOLE.match(marked["rest"])
    if whole is None:
        return Acceptance(place, fault="write: # limen: accept LC004 until 2027-03-01 because …")
    ids = tuple(each.strip().upper() for each in whole["ids"].split(","))
    unknown = [each for each in ids if each not in rules.BY_ID]
    if unknown:
        return Acceptance(place, fault=f"there is no rule {unknown[0]}")
    try:
        until = date.fromisoformat(whole["until"])
    except ValueError:
        return Acceptance(place, fault=f"{whole['until']} is no date; write 2027-03-01")
    return Acceptance(place, ids, until, whole["reason"].strip())


def sift(
    findings: Iterable[Finding], acceptances: Mapping[str, list[Acceptance]], today: date
) -> tuple[list[Finding], list[tuple[Finding, Acceptance]]]:
    """Return the findings that stand, and those that were accepted.

    Args:
        findings: all of them.
        acceptances: by file.
        today: an acceptance holds through its last day.
    """
    standing: list[Finding] = []
    accepted: list[tuple[Finding, Acceptance]] = []
    for each in findings:
        found = next(_for(each, acceptances.get(each.place.file, ())), None)
        if found is None:
            standing.append(each)
        elif found.until is not None and found.until < today:
            standing.append(replace(each, what=f"{each.what} (accepted until {found.until}, which is over)"))
        else:
            accepted.append((each, found))
    for listed in acceptances.values():
        standing += [_faulty(each) for each in listed if each.fault]
    return standing, accepted


def _for(finding: Finding, listed: Iterable[Acceptance]) -> Iterator[Acceptance]:
    for each in listed:
        if finding.rule.id in each.ids and _is_at(finding.place, each.place):
            yield each


def _is_at(place: Place, comment: Place) -> bool:
    if place.line == comment.line:
        return True
    if not 0 < place.line - comment.line <= 40:
        return False
    between = Path(comment.file).read_text(encoding="utf-8").splitlines()[comment.line - 1 : place.line - 1]
    # Comments, decorators and what they take may stand between, and no other statement.
    depth = 0
    for line in between:
        text = line.strip()
        if depth == 0 and text and not text.startswith(("#", "@", ")", "]")):
            return False
        code = text.split("#")[0]
        depth += sum(code.count(each) for each in "([{") - sum(code.count(each) for each in ")]}")
    return True


def _faulty(acceptance: Acceptance) -> Finding:
    return Finding(rules.BAD_ACCEPTANCE, Severity.MEDIUM, acceptance.fault, acceptance.place, subject=acceptance.fault)
