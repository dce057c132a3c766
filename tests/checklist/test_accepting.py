"""Accepted findings, baselines and locks."""

from collections import Counter
from datetime import date
from pathlib import Path

import msgspec
import pytest

from limen.checklist import baseline, lock
from limen.checklist.accepting import acceptances_of, sift
from limen.checklist.catalogue import OBJECT_NOT_ASKED, OPEN_MODEL, OPEN_ROUTE
from limen.checklist.facts import Application, Guard, Place, Route
from limen.checklist.findings import Finding, Rule
from limen.core.errors import ConfigurationError

TODAY = date(2026, 11, 23)
UNTIL = "until 2027-03-01 because"


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
        ("@app.get('/a')\n# limen: accept LC001 until 2027-03-01 because it is\n@other\ndef a(): ...\n", 4),
        ("@app.get(\n    '/a',  # limen: accept LC001 until 2027-03-01 because it is\n)\ndef a(\n  b,\n): ...\n", 4),
        ("# limen: accept LC001 until 2027-03-01 because it is\n# and\n\nx = f(\n    1,\n)\n", 4),
        ("x = f(\n    1,\n)  # limen: accept LC001 until 2027-03-01 because it is\n", 1),
        ("x = f(\n    a=1,\n    b=2,  # limen: accept LC001 until 2027-03-01 because it is\n    c=3,\n)\n", 1),
        ("x = {\n    # limen: accept LC001 until 2027-03-01 because it is\n    'a': 1,\n    'c': 3,\n}\n", 3),
        ("x = 1  # noqa: X  # limen: accept LC001 until 2027-03-01 because it is\n", 1),
        ("x = 1  # limen: accept LC001 until 2028-11-23 because it is\n", 1),
        ("x = 1  # LIMEN:ACCEPT lc001 until 2027-03-01 because it is\n", 1),
        ("try:\n    f()\n# limen: accept LC001 until 2027-03-01 because it is\nexcept E:\n    pass\n", 4),
        ("# -*- coding: latin-1 -*-\n# limen: accept LC001 until 2027-03-01 because it is\nx = 1\n", 3),
        ("\ufeff# limen: accept LC001 until 2027-03-01 because it is\nx = 1\n", 2),
        ("# limen: accept LC001 until 2027-03-01 because it is\nclass A(B):\n    x = 1\n", 2),
    ],
    ids=[
        *("above the decorator", "above decorators of many lines", "on the line, on its last day"),
        *("between decorators", "in a decorator", "above a statement of many lines", "at its end", "in it"),
        *("above a line in it", "behind another comment", "two years", "in capitals", "above a handler of errors"),
        *("in another encoding", "behind a byte order mark", "above a class"),
    ],
)
def test_accepted(tmp_path: Path, text: str, line: int) -> None:
    """A finding is accepted on its line, and above its decorators, through the last day."""
    assert _sifted(tmp_path, text, line) == ([], 1)


@pytest.mark.parametrize(
    ("text", "line", "standing"),
    [
        ("# limen: accept LC001 until 2026-11-22 because it was\ndef a(): ...\n", 2, ["LC001"]),
        ("# limen: accept LC004 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 2027-03-01 because it is\nx = 1\ndef a(): ...\n", 3, ["LC001", "LC900"]),
        (
            "x = {\n    'a': 1,  # limen: accept LC001 until 2027-03-01 because it is\n    'c': 3,\n}\n",
            3,
            ["LC001", "LC900"],
        ),
        ("def a():  # limen: accept LC001 until 2027-03-01 because it is\n    x = 1\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 2027-03-01\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until tomorrow because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC777 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC01 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001, LCOO4 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 2027-02-30 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 20270301 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 9999-12-31 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 2028-11-24 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 0001-01-01 because it is\ndef a(): ...\n", 2, ["LC001"]),
        (
            "# limen: accept LC001 until \uff12\uff10\uff12\uff17-03-01 because it is\ndef a(): ...\n",
            2,
            ["LC001", "LC900"],
        ),
        (f"x = 1  # limen: accept LC004 {UNTIL} it is # limen: accept LC001 {UNTIL} it is\n", 1, ["LC001", "LC900"]),
        ("# limen: accept LC001 until 2027-03-01 because …\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: accept LC001 because it is until 2027-03-01\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen: acept LC001 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("# limen accept LC001 until 2027-03-01 because it is\ndef a(): ...\n", 2, ["LC001", "LC900"]),
        ("x = '# limen: accept LC001 until 2027-03-01 because it is'\ndef a(): ...\n", 1, ["LC001"]),
    ],
    ids=[
        *(
            "expired",
            "of another rule",
            "above another statement",
            "on another line of a table",
            "on a function's head",
        ),
        *("no reason", "no end", "no date", "no such rule", "a rule of two digits", "one rule of two", "no such day"),
        *("a date of another form", "no end in sight", "a day more than two years", "the first day", "other digits"),
        *("two in one line", "an empty reason", "no rule", "another order", "a word misspelt", "no colon"),
        "in a string",
    ],
)
def test_not_accepted(tmp_path: Path, text: str, line: int, standing: list[str]) -> None:
    """A finding stands where the comment is over, about something else, or incomplete; and that is told."""
    assert _sifted(tmp_path, text, line) == (standing, 0)


def _of(folder: Path, text: str, *findings: Finding, read: set[str] | None = None) -> tuple[list[str], int]:
    """Return what stands, with its sentence, and how many were accepted."""
    file = folder / "app.py"
    file.write_text(text)
    placed = [msgspec.structs.replace(each, place=Place(str(file), each.place.line)) for each in findings]
    standing, accepted = sift(placed, {str(file): acceptances_of(str(file))}, TODAY, read=read)
    return [f"{each.rule.id} {each.what}" for each in standing], len(accepted)


def _at(line: int, route: str = "/a", rule: Rule = OPEN_ROUTE) -> Finding:
    return Finding(rule, rule.severity, "nothing asks", Place("", line), route, "GET" if route else "")


def test_several_rules_on_one_line(tmp_path: Path) -> None:
    """A comment accepts each rule that it names, with commas, «and» or spaces between them."""
    for ids in ("LC001, LC004", "LC001 and LC004", "LC001 LC004", "lc001,lc004,and LC001"):
        text = f"# limen: accept {ids} until 2027-03-01 because of both\ndef a(): ...\n"
        assert _of(tmp_path, text, _at(2), _at(2, rule=OBJECT_NOT_ASKED)) == ([], 2)


def test_what_accepts_nothing_any_more_is_told(tmp_path: Path) -> None:
    """A rule that is not found beside its comment is named, and the others of the comment still hold."""
    text = "# limen: accept LC001, LC004 until 2027-03-01 because of both\ndef a(): ...\n"
    standing, accepted = _of(tmp_path, text, _at(2))
    assert accepted == 1
    assert standing == ["LC900 it accepts LC004, which is not found here any more"]
    over = text.replace("2027", "2026")
    assert _of(tmp_path, over)[0][0].endswith("LC001, which is not found here any more, and is over")


def test_a_file_of_two_applications_says_so(tmp_path: Path) -> None:
    """A comment that names LC900 too is needed by another application, and is not told."""
    text = "# limen: accept LC001, LC900 until 2027-03-01 because of the other application\ndef a(): ...\n"
    assert _of(tmp_path, text) == ([], 0)


def test_what_was_not_asked_is_not_told(tmp_path: Path) -> None:
    """Where a file's text was not read, nobody knows whether its comments are still needed; of routes it is known."""
    text = "x = 1  # limen: accept LC101, LC001 until 2027-03-01 because of both\n"
    assert len(_of(tmp_path, text)[0]) == 2
    assert _of(tmp_path, text, read=set()) == (["LC900 it accepts LC001, which is not found here any more"], 0)


@pytest.mark.parametrize(
    ("about", "accepted"),
    [("", 0), (" for GET /a", 1), (" for GET /a and GET /b", 2), (" for 2 routes", 2), (" for 3 routes", 0)],
)
def test_one_comment_opens_no_other_route(tmp_path: Path, about: str, accepted: int) -> None:
    """A handler of two routes is accepted for those that the comment names, or for so many as it says."""
    text = f"# limen: accept LC001{about} until 2027-03-01 because it is\ndef a(): ...\n"
    standing, count = _of(tmp_path, text, _at(2, "/a"), _at(2, "/b"))
    assert count == accepted
    assert len([each for each in standing if each.startswith("LC001")]) == 2 - accepted
    assert any("2 routes" in each for each in standing) is (accepted == 0)


def test_a_model_of_two_routes_is_accepted_once(tmp_path: Path) -> None:
    """What is about a class is one thing, however many routes use it."""
    text = "# limen: accept LC006 until 2027-03-01 because it is\nclass A(BaseModel): ...\n"
    assert _of(tmp_path, text, _at(2, "/a", OPEN_MODEL), _at(2, "/b", OPEN_MODEL)) == ([], 2)


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
