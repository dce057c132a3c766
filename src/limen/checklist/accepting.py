"""Findings that somebody accepted, with a reason and an end.

``# limen: accept LC004 until 2027-03-01 because prices are the same for everybody`` stands on the line of the finding,
or right above its statement and decorators. It is read from the comments of the file, not from its text, so that a
string that looks like it accepts nothing. An acceptance that cannot be read, or accepts nothing, is a finding itself.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from limen.checklist import catalogue as rules
from limen.checklist.comments import comments_of
from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Severity

EXAMPLE: Final = "# limen: accept LC004 until 2027-03-01 because …"
_MARK: Final = re.compile(
    r"#\s*limen\s*:\s*(?P<verb>\w+)(?P<rest>.*)|#\s*limen\s+(?P<bare>ac+e?pt\w*)\b", re.IGNORECASE
)
_WHOLE: Final = re.compile(
    r"^\s+(?P<ids>\w+(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s+)LC\w*)*)(?:\s+for\s+(?P<for>.+?))?\s+until\s+(?P<until>\S+)"
    r"\s+because\s+(?P<reason>\S.*)$",
    re.IGNORECASE,
)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_LONGEST: Final = timedelta(days=731)
"""How long an acceptance holds at most, from today on: what has no end in sight is looked at by nobody again."""
_COUNT: Final = re.compile(r"(\d+)\s+routes?")
# Who may call is asked of each route: one comment on a handler must not open the next route that uses it.
_OF_A_ROUTE: Final = frozenset({"LC001", "LC002", "LC003", "LC004", "LC009", "LC010", "LC015", "LC016"})


class Acceptance(Struct, frozen=True):
    """One comment.

    Attributes:
        place: where it stands.
        ids: the rules it is about; none where the comment cannot be read.
        until: the last day.
        reason: why.
        fault: what is wrong with the comment, or empty.
        lines: the lines whose findings it accepts.
        routes: the routes it is about: ``GET /news``; or their number; empty where it names none.
    """

    place: Place
    ids: tuple[str, ...] = ()
    until: date | None = None
    reason: str = ""
    fault: str = ""
    lines: tuple[int, ...] = ()
    routes: tuple[str, ...] = ()


def acceptances_of(file: str) -> list[Acceptance]:
    """Return the acceptances of a file; none where it cannot be read."""
    found = []
    for comment in comments_of(file):
        marked = _MARK.search(comment.text)
        if marked is not None:
            told = _read(marked, Place(file, comment.line))
            found.append(replace(told, lines=comment.about))
    return found


def _read(marked: re.Match[str], place: Place) -> Acceptance:
    if (marked["verb"] or "").lower() != "accept":
        return Acceptance(place, fault=f"«{marked[0].strip()[:30]}» says nothing; write: {EXAMPLE}")
    whole = _WHOLE.match(marked["rest"])
    if whole is None:
        return Acceptance(place, fault=_missing(marked["rest"]))
    ids = tuple(dict.fromkeys(each.upper() for each in re.findall(r"[^\s,]+", whole["ids"]) if each.lower() != "and"))
    fault = _fault_of(ids, whole["reason"])
    if fault:
        return Acceptance(place, fault=fault)
    try:
        until = date.fromisoformat(_DAY.fullmatch(whole["until"])[0])  # type: ignore[index]
    except (ValueError, TypeError):
        return Acceptance(place, fault=f"{whole['until']} is no date; write 2027-03-01")
    routes = tuple(" ".join(each.split()) for each in (whole["for"] or "").split(" and ") if each.strip())
    return Acceptance(place, ids, until, whole["reason"].strip(), routes=routes)


def _fault_of(ids: tuple[str, ...], reason: str) -> str:
    """Return what is wrong with the rules or the reason of a comment; empty where nothing is."""
    unknown = [each for each in ids if each not in rules.BY_ID]
    if unknown:
        return f"there is no rule {unknown[0]}"
    if len(re.sub(r"\W", "", reason)) < 3:
        return "it has no reason"
    return "there are two in one comment; write: accept LC001, LC004 until …" if _MARK.search(reason) else ""


def _missing(text: str) -> str:
    """Return what a comment lacks."""
    lacking = [word for word in ("until", "because") if not re.search(rf"\s{word}\s+\S", text, re.IGNORECASE)]
    if not re.match(r"\s+LC", text, re.IGNORECASE):
        lacking.insert(0, "rule")
    told = {"rule": "it names no rule", "until": "it has no end", "because": "it has no reason"}
    return f"{told[lacking[0]] if lacking else 'it is in another order'}; write: {EXAMPLE}"


def sift(
    findings: Iterable[Finding],
    acceptances: Mapping[str, list[Acceptance]],
    today: date,
    *,
    read: Collection[str] | None = None,
) -> tuple[list[Finding], list[tuple[Finding, Acceptance]]]:
    """Return the findings that stand, and those that were accepted.

    Args:
        findings: all of them.
        acceptances: by file.
        today: an acceptance holds through its last day, which is at most two years away.
        read: the files that the rules about source text were asked of; all where it is None. What was not asked
            cannot tell whether an acceptance is still needed.
    """
    standing: list[Finding] = []
    accepted: list[tuple[Finding, Acceptance]] = []
    used: dict[Acceptance, set[str]] = defaultdict(set)
    listed = list(findings)
    shared = _shared(listed, acceptances)
    for each in listed:
        found = _for(each, acceptances.get(each.place.file, ()))
        if found is None:
            standing.append(each)
            continue
        used[found].add(each.rule.id)
        if found.until is not None and found.until < today:
            standing.append(replace(each, what=f"{each.what} (accepted until {found.until}, which is over)"))
        elif _is_far(found, today) or not _names(found, each, shared[found, each.rule.id]):
            standing.append(each)
        else:
            accepted.append((each, found))
    for file, of_file in acceptances.items():
        for acceptance in of_file:
            is_read = read is None or file in read
            faults = _faults(acceptance, used[acceptance], shared, today, is_read=is_read)
            standing += [_faulty(acceptance, fault) for fault in faults]
    return standing, accepted


def _for(finding: Finding, listed: Iterable[Acceptance]) -> Acceptance | None:
    about = (each for each in listed if finding.rule.id in each.ids and finding.place.line in each.lines)
    # Of two, the one that names the route.
    return max(about, key=lambda each: f"{finding.method} {finding.route}" in each.routes, default=None)


def _shared(
    findings: Iterable[Finding], acceptances: Mapping[str, list[Acceptance]]
) -> dict[tuple[Acceptance, str], set[str]]:
    """Return the routes that each acceptance would be about, rule by rule."""
    shared: dict[tuple[Acceptance, str], set[str]] = defaultdict(set)
    for each in findings:
        found = _for(each, acceptances.get(each.place.file, ()))
        if found is not None:
            shared[found, each.rule.id].add(f"{each.method} {each.route}".strip())
    return shared


def _names(acceptance: Acceptance, finding: Finding, routes: set[str]) -> bool:
    """Tell whether an acceptance is about the route of a finding."""
    if finding.rule.id not in _OF_A_ROUTE or not finding.route:
        return True
    if not acceptance.routes:
        return len(routes) == 1
    counted = _COUNT.fullmatch(acceptance.routes[0])
    if counted is not None:
        return int(counted[1]) == len(routes)
    return f"{finding.method} {finding.route}" in acceptance.routes


def _is_far(acceptance: Acceptance, today: date) -> bool:
    return acceptance.until is not None and acceptance.until - today > _LONGEST


def _faults(
    acceptance: Acceptance,
    used: set[str],
    shared: Mapping[tuple[Acceptance, str], set[str]],
    today: date,
    *,
    is_read: bool,
) -> Iterable[str]:
    """Yield what is to be told about a comment itself."""
    if acceptance.fault:
        yield acceptance.fault
    if _is_far(acceptance, today):
        yield f"{acceptance.until} is more than two years away; what is accepted is looked at again before that"
    for each in acceptance.ids:
        routes = sorted(shared.get((acceptance, each), ()))
        if each in used and not _counts(acceptance, each, routes):
            yield f"{each} is about {len(routes)} routes here: write «for {routes[0]}», or «for {len(routes)} routes»"
        was_asked = is_read or not "LC100" < each < "LC900"
        # A file that two applications share may have a comment for the other one: it names LC900 as well.
        if each not in used and was_asked and "LC900" not in acceptance.ids:
            is_over = acceptance.until is not None and acceptance.until < today
            yield f"it accepts {each}, which is not found here any more{', and is over' if is_over else ''}"


def _counts(acceptance: Acceptance, rule: str, routes: list[str]) -> bool:
    """Tell whether a comment says which of several routes it is about, or how many they are."""
    if rule not in _OF_A_ROUTE or len(routes) < 2:
        return True
    counted = _COUNT.fullmatch(acceptance.routes[0]) if acceptance.routes else None
    return int(counted[1]) == len(routes) if counted is not None else bool(acceptance.routes)


def _faulty(acceptance: Acceptance, fault: str) -> Finding:
    severity = Severity.LOW if fault.startswith("it accepts") else Severity.MEDIUM
    return Finding(rules.BAD_ACCEPTANCE, severity, fault, acceptance.place, subject=fault)
