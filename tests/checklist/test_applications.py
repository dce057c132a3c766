"""The verdicts on applications that others wrote, and the tool that compares them with what the check tells."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from limen.checklist import catalogue
from limen.checklist.findings import Rule
from tools import check_applications
from tools.applications_files import (
    FOLDER,
    LEFT_OUT,
    MOST_FALSE,
    PAGE,
    Application,
    Verdict,
    all_applications,
    as_toml,
    page_of,
    read_file,
)
from tools.check_applications import Told, differences, places_of, with_figures, with_rest_true, without_verdict

APPLICATIONS = all_applications()
RULES = {each.id for each in vars(catalogue).values() if isinstance(each, Rule)}
NAMES = [each.name for each in APPLICATIONS]
OTHERS = all_applications(LEFT_OUT)

FALSE = (Verdict("LC002", "GET /a", "The route is guarded by its router."),)


def finding(rule: str, *, route: str | None = None, file: str = "a.py", line: int = 1) -> dict[str, Any]:
    """Return one finding as the check's JSON has it."""
    return {"id": rule, "route": route, "method": "GET", "file": file, "line": line, "severity": "high", "what": "it"}


def told(*findings: dict[str, Any]) -> Told:
    """Return what a run of the check told, with these findings and one open route."""
    routes = {"total": 1, "guarded": 0, "public": 0, "open": 1, "unknown": 0}
    severities = {"high": len(findings), "medium": 0, "low": 0}
    return Told(routes, severities, places_of(findings), 0.1)


def application(**others: Any) -> Application:
    """Return an application that nobody has looked at, or with what the keywords say."""
    return Application("shop", "1.0", "Sells.", "shop:app", ("shop==1.0",), **others)


@pytest.mark.parametrize("name", NAMES)
def test_every_finding_has_a_verdict(name: str) -> None:
    """Of each rule as many findings were read as there are, and each place was judged once."""
    each = read_file(FOLDER / f"{name}.toml")
    verdicts = [(rule, place) for rule, places in each.true.items() for place in places]
    verdicts += [(verdict.rule, verdict.place) for verdict in each.false]
    assert Counter(rule for rule, _ in verdicts) == Counter(each.findings)
    assert len(set(verdicts)) == len(verdicts)
    assert each.found == sum(each.severities.values())
    assert each.routes["total"] == sum(each.routes.values()) - each.routes["total"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_what_was_read(name: str) -> None:
    """A file names its distribution pinned to one version, a day, rules that exist, and a reason for each false one."""
    each = read_file(FOLDER / f"{name}.toml")
    assert f"=={each.version}" in each.requirements[0]
    assert all("==" in line for line in each.requirements)
    assert len(each.read) == len("2026-11-23")
    assert {*each.findings, *(verdict.rule for verdict in (*each.false, *each.missed))} <= RULES
    assert all(len(verdict.why.split()) >= 4 for verdict in (*each.false, *each.missed))
    assert (FOLDER / f"{name}.toml").read_text(encoding="utf-8") == as_toml(each)


def test_under_ten_percent_are_false() -> None:
    """Of all findings on all applications together less than a tenth is false."""
    assert sum(len(each.false) for each in APPLICATIONS) < MOST_FALSE * sum(each.found for each in APPLICATIONS)


def test_the_page_is_made_of_the_files() -> None:
    """docs/reference/check-applications.md is what ``python -m tools.check_applications --page`` writes."""
    assert PAGE.read_text(encoding="utf-8") == page_of(APPLICATIONS)


def test_whoever_is_left_out_is_named_with_its_figures() -> None:
    """No application is dropped in silence: the page names each that is not counted, and the share with all of them."""
    page = " ".join(page_of(APPLICATIONS, [application(findings={"LC002": 7}, false=FALSE)]).split())
    assert "- shop 1.0, 0 routes: 1 of 7 findings are false." in page
    found, false = sum(each.found for each in APPLICATIONS) + 7, sum(len(each.false) for each in APPLICATIONS) + 1
    assert f"With them {false} of {found} findings would be false" in page
    assert all(len(each.true) + len(each.false) > 0 and each.read for each in OTHERS)
    assert not {each.name for each in OTHERS} & set(NAMES)


def test_first_looks_are_told_as_they_were() -> None:
    """What the very first run told of code that nobody had looked at stands on the page, whatever was mended since."""
    page = " ".join(page_of([application(first={"findings": 8, "false": 6})], []).split())
    assert "shop (6 of 8). Together 6 of 8 were false, 75.0 %." in page


def test_places_are_told_apart() -> None:
    """A finding is named by its route or its line, and the second of a rule at one place by its number."""
    places = places_of([finding("LC005", route="/a"), finding("LC005", route="/a"), finding("LC101", line=7)])
    assert list(places) == [("LC005", "GET /a"), ("LC005", "GET /a (2)"), ("LC101", "a.py:7")]


def test_what_differs_is_told() -> None:
    """Other figures, and a verdict on what is not found any more, are differences; what nobody judged is told."""
    before = application(
        routes={"total": 1, "open": 1},
        severities={"high": 1},
        findings={"LC001": 1},
        true={"LC001": ("GET /a",)},
    )
    assert differences(before, told(finding("LC001", route="/a"))) == []
    now = told(finding("LC101", line=3))
    assert differences(before, now) == [
        "findings, LC001: 1 in the file, 0 now",
        "findings, LC101: 0 in the file, 1 now",
        "LC001 at GET /a has a verdict and is not found any more",
    ]
    assert without_verdict(before, now) == [("LC101", "a.py:3")]


def test_writing_figures_makes_no_verdict() -> None:
    """New figures keep the verdicts on what is still found, drop the others, and judge nothing."""
    false = (Verdict("LC101", "a.py:3", "the table's name is a constant"), Verdict("LC101", "a.py:9", "it was so once"))
    before = application(false=false, true={"LC001": ("GET /gone",)})
    now = told(finding("LC101", line=3), finding("LC001", route="/new"))
    after = with_figures(before, now)
    assert after.findings == {"LC001": 1, "LC101": 1}
    assert after.false == false[:1]
    assert after.true == {}
    assert without_verdict(after, now) == [("LC001", "GET /new")]
    assert with_rest_true(after, now).true == {"LC001": ("GET /new",)}


def test_a_file_is_read_as_it_was_written() -> None:
    """What is written as TOML is read as the same application, quotes and a launcher's text included."""
    before = application(
        learned='It says "no" - and a \\ too.',
        launcher='from shop import make\n\napp = make("a")',
        environment={"SHOP_KEY": "k"},
        files={"shop.yml": "sells:\n  - oak\n"},
        findings={"LC001": 30},
        true={"LC001": tuple(f"GET /a-long-path/{number}" for number in range(30))},
        missed=(Verdict("LC101", "a.py:3", "the text is joined from a list"),),
    )
    again = msgspec.toml.decode(as_toml(before), type=Application)
    assert msgspec.structs.replace(again, launcher=again.launcher.strip()) == before


def test_a_check_is_run_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The tool runs the real check on a launcher's application; new findings end with 1, and judged ones with 0."""
    launcher = (
        "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get('/secret')\ndef secret() -> int:\n    return 1\n"
    )
    path = tmp_path / "files" / "shop.toml"
    path.parent.mkdir()
    path.write_text(
        as_toml(msgspec.structs.replace(application(), launcher=launcher, target="launcher:app")), encoding="utf-8"
    )
    monkeypatch.setattr(check_applications, "environment_of", lambda *_: Path(sys.executable).parent)
    arguments = ["shop", "--files", str(path.parent)]
    assert check_applications.main(arguments) == 1
    assert "no verdict: LC001 GET /secret" in capsys.readouterr().out
    assert check_applications.main([*arguments, "--read"]) == 0
    assert check_applications.main(arguments) == 0
    written = read_file(path)
    assert written.findings["LC001"] == 1
    assert "GET /secret" in written.true["LC001"]
    assert json.dumps(written.routes["open"]) != "0"
