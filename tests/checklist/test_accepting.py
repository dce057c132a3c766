"""Accepted findings, baselines and locks."""

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from limen.checklist import baseline, lock
from limen.checklist.accepting import acceptances_of, sift
from limen.checklist.catalogue import OBJECT_NOT_ASKED, OPEN_ROUTE
from limen.checklist.facts import Application, Guard, Place, Route
from limen.checklist.findings import Finding
from limen.core.errors import ConfigurationError

TODAY = date(2026, 11, 23)


def _finding(file: str, line: int) -> Finding:
    return Finding(OPEN_ROUTE, OPEN_ROUTE.severity, "nothing asks", Place(file, line), "/a", "GET")


def _sifted(tmp_path: Path, text: str, line: int) -> tuple[list[str], int]:
    file = tmp_path / "app.py"
    file.write_text(text)
    listed = {str(file): acceptances_of(str(file))}
    standing, accepted = sift([_finding(str(file), line)], listed, TODAY)
    return [each.rule.id for each in standing], len(accepted)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# limen: accept LC001 until 2027-03-01 because it is\n@app.get('/a')\ndef a(): ...\n", 3),
        ("# limen: accept LC001 until 2027-03-01 because it is\n@app.get(\n    '/a',\n)\n@other\ndef a(): ...\n", 6),
        ("@app.get('/a')\ndef a(): ...  # limen: accept LC001 until 2026-11-23 because it is\n", 2),
        ("# limen: accept LC004, LC001 until 2027-03-01 because of both\ndef a(): ...\n", 2),
    ],
    ids=["above the decorator", "above decorators of many lines", "on the line, on its last day", "of several rules"],
)
def test_accepted(tmp_path: Path, text: str, line: int) -> None:
    """A finding is accepted on its line, and above its decorators, through the last day."""
    assert _sifted(tmp_path, text, line) == ([], 1)


@pytest.mark.parametrize(
    ("text", "line", "standing"),
    [
        ("# limen: accept LC001 until 2026-11-22 because it was\ndef a(): ...\n", 2, ["LC001"]),
        ("# limen: accept LC004 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001"]),
        ("# limen: accept LC001 until 2027-03-01 because it is\nx = 1\ndef a(): ...\n", 3, ["LC001"]),
        ("# limen: accept LC001 until 2027-03-01\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until tomorrow because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC777 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("x = '# limen: accept LC001 until 2027-03-01 because it is'\ndef a(): ...\n", 1, ["LC001"]),
    ],
    ids=[
        "expired",
        "of another rule",
        "above another statement",
        "no reason",
        "no end",
        "no date",
        "no such rule",
        "in a string",
    ],
)
def test_not_accepted(tmp_path: Path, text: str, line: int, standing: list[str]) -> None:
    """A finding stands where the comment is over, about something else, or incomplete; and that is told."""
    assert _sifted(tmp_path, text, line) == (standing, 0)


def test_a_baseline_knows_findings_again_where_lines_moved(tmp_path: Path) -> None:
    """What was there before is left out, however its lines moved; one more of the same kind is new."""
    path = tmp_path / "baseline.json"
    path.write_text(baseline.written([_finding("app.py", 3)]))
    moved, second = _finding("app.py", 30), _finding("app.py", 40)
    assert baseline.without([moved], baseline.read(path)) == ([], 1)
    assert baseline.without([moved, second], baseline.read(path)) == ([second], 1)
    assert baseline.without([moved], Counter()) == ([moved], 0)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99, "findings": []}', "[1]"])
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    """A file of another kind is an error that says how to make one, and never an empty baseline."""
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="--write-baseline"):
        baseline.read(path)


def _route(*guards: Guard, standing: str = "guarded") -> Application:
    return Application("app:app", routes=(Route("/a", ("GET",), standing=standing, guards=guards),))  # type: ignore[arg-type]


def _asks(*names: str, **more: bool) -> Application:
    return _route(Guard("dependency", "current", names, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        (_asks(), _route(standing="open"), "loosened"),
        (_route(standing="open"), _asks(), "tightened"),
        (_asks("role:admin"), _asks(), "loosened"),
        (_asks(), _asks("role:admin"), "tightened"),
        (_asks("role:admin"), _asks("role:admin", "role:maker"), "loosened"),
        (_asks("role:admin", "role:maker"), _asks("role:admin"), "tightened"),
        (_asks("role:admin"), _asks("role:maker"), "changed"),
        (_asks("permission:a:b"), _asks("permission:a:b", "permission:a:c"), "tightened"),
        (_asks("permission:a:b"), _asks(), "loosened"),
        (_asks(about_object=True), _asks(), "loosened"),
        (_asks(), _asks(is_fresh=True), "tightened"),
        (_asks(), Application("app:app"), "removed"),
        (Application("app:app"), _asks(), "added"),
    ],
    ids=[
        *("opened", "closed", "a role less", "a role first", "a role more", "one role of two", "another role"),
        *("a permission more", "a permission less", "no object", "asked live", "removed", "added"),
    ],
)
def test_a_lock_tells_what_a_change_means(before: Application, after: Application, label: str) -> None:
    """Who may do more than before is told as loosened, who may do less as tightened."""
    assert [each.label.value for each in lock.changes(lock.lock_of(before), lock.lock_of(after))] == [label]


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A lock of the same application has no change; routes that hide each other are all in it."""
    twice = Application("app:app", routes=_asks("role:a").routes + _route(standing="open").routes)
    path = tmp_path / "routes.lock"
    path.write_text(lock.written(lock.lock_of(twice)))
    read = lock.read(path)
    assert set(read["routes"]) == {"GET /a", "GET /a (again)"}
    assert lock.changes(read, lock.lock_of(twice)) == []


def test_rules_have_a_number_each_and_say_what_they_cannot_see() -> None:
    """Numbers are unique, and no rule is silent about its limits."""
    from limen.checklist.catalogue import RULES

    assert len({each.id for each in RULES}) == len(RULES) > 25
    assert all(each.unseen and each.fix and each.why.count(".") >= 2 for each in RULES)
    assert OBJECT_NOT_ASKED in RULES


def test_the_page_of_rules_is_that_of_the_code() -> None:
    """docs/reference/checks.md is what ``python -m limen.checklist.output.as_page`` prints."""
    from limen.checklist.output.as_page import rules_page

    page = Path(__file__).parents[2] / "docs" / "reference" / "checks.md"
    assert page.read_text(encoding="utf-8") == rules_page()
