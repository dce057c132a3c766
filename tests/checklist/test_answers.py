"""What the command answers: to people at a terminal, to programs, and where it cannot look."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import date
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from limen.checklist import baseline, checking
from limen.checklist.accepting import Acceptance
from limen.checklist.catalogue import BAD_ACCEPTANCE, OPEN_ROUTE, RULES
from limen.checklist.checking import Report
from limen.checklist.facts import Application, Place, Route
from limen.checklist.findings import Finding, Severity
from limen.checklist.output.as_markdown import report_as_markdown
from limen.checklist.output.as_table import print_report
from limen.checklist.output.words import page_of
from limen.cli.exits import Unfinished
from limen.cli.main import main
from tests.docs.markdown import anchors

ROOT = Path(__file__).parents[2]
OPEN = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/a")
def a() -> int: ...
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an open application in ``main.py``, in which the command is called."""
    (tmp_path / "main.py").write_text(OPEN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Call ``limen check`` and return how it ended, and what it wrote."""
    code = main(["check", *arguments])
    return int(code), *capsys.readouterr()


# --- which rules, which application


def test_rules_are_left_out_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--only`` and ``--ignore`` choose, and the summary does not hide it."""
    code, out, _ = called(capsys, "main:app", "--only", "LC001,LC014", "--ignore", "lc014")
    assert code == 1
    assert "LC001 high" in out
    assert "LC014" not in out
    assert out.rstrip().endswith(f"{len(RULES) - 1} rules not asked")
    _, out, _ = called(capsys, "main:app", "--only", "LC001", "--json", "--sarif", "limen.sarif")
    assert json.loads(out)["rules_not_asked"] == len(RULES) - 1
    results = json.loads((here / "limen.sarif").read_text())["runs"][0]["results"]
    assert {each["ruleId"] for each in results} == {"LC001"}


def test_a_rule_that_is_none_is_wrong_usage(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a rule ends with 2 and names what may be meant."""
    code, out, err = called(capsys, "main:app", "--ignore", "LC04")
    assert (code, out) == (2, "")
    assert "There is no rule 'LC04'. Did you mean" in err


def test_without_a_name_the_only_application_is_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever calls it bare gets an answer, and is told which application it is about."""
    code, out, err = called(capsys)
    assert code == 1
    assert "checking main:app, the only application in this folder" in err
    assert "LC001" in out


def test_without_a_name_several_are_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed where there are two, and something is said where there is none."""
    (here / "admin.py").write_text(OPEN)
    code, _, err = called(capsys)
    assert code == 2
    assert "limen check main:app, limen check admin:app" in err
    for each in here.glob("*.py"):
        each.unlink()
    code, _, err = called(capsys)
    assert code == 2
    assert "None was found in this folder" in err


def test_a_path_is_as_good_as_a_module(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a shell completes is understood."""
    code, out, _ = called(capsys, "./main.py", "--json")
    assert (code, json.loads(out)["app"]) == (1, "main:app")


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_a_rule_is_explained(rule: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an application, and without the pages, a rule says why, how to mend it, and what it cannot see."""
    code, out, _ = called(capsys, "--explain", rule.id.lower())
    assert code == 0
    for each in (rule.title, rule.why, rule.fix.splitlines()[0], "It cannot see: ", page_of(rule)):
        assert each in out


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_each_rule_has_its_place_in_the_pages(rule: Any) -> None:
    """The page that a finding names is there, with the anchor, whatever the title of the rule becomes."""
    file, _, anchor = page_of(rule).partition("#")
    assert anchor == rule.id.lower()
    assert anchor in anchors((ROOT / file).read_text(encoding="utf-8"))


def test_every_form_leads_to_the_page(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON, SARIF and Markdown name the page of what they found."""
    for form in ("json", "sarif", "markdown"):
        _, out, _ = called(capsys, "main:app", "--format", form)
        assert page_of(OPEN_ROUTE) in out


def test_help_shows_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has examples, a line each, and the exit codes."""
    code, out, _ = called(capsys, "--help")
    assert code == 0
    assert "\n  limen check app.main:app --fail-on high --ignore LC013,LC014\n" in out
    assert "Exit codes: 0 nothing was found that fails, 1 something was, 2" in out


# --- where it cannot look


def test_a_program_is_told_why_nothing_was_looked_at(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on standard output has the reason, the place and what to do, and the exit code is 2."""
    (here / "main.py").write_text("import fastapi\nimport nothing_of_that_name\n")
    code, out, err = called(capsys, "main:app", "--format", "json")
    assert code == 2
    error = json.loads(out)["error"]
    assert error["reason"] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert (Path(error["file"]).name, error["line"]) == ("main.py", 2)
    assert error["hint"].endswith("python -m pip install limen")
    assert error["hint"] in err


def test_a_name_that_is_not_there_is_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names another variable of the file is told the right one."""
    code, _, err = called(capsys, "main:application")
    assert code == 2
    assert "main has no application" in err
    assert "limen check main:app" in err


def test_a_fault_of_limen_is_no_finding(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where limen itself fails the exit code is 2: CI must not take it for findings, nor for a clean application."""

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(checking, "check", fails)
    code, out, err = called(capsys, "main:app")
    assert (code, out) == (2, "")
    assert "limen failed: ZeroDivisionError." in err
    with pytest.raises(Unfinished) as raised:
        main(["--debug", "check", "main:app"])
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


# --- baselines


def finding(route: str, **more: Any) -> Finding:
    """Return a finding on a route."""
    told = {"place": Place("main.py", 3), "method": "GET", **more}
    rule = told.pop("rule", OPEN_ROUTE)
    return Finding(rule, rule.severity, told.pop("what", "nothing asks who is calling"), route=route, **told)


def test_what_is_gone_from_a_baseline_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mended finding that stays in the file would let it come back in silence."""
    assert called(capsys, "main:app", "--write-baseline", "known.json")[0] == 0
    assert "are gone" not in called(capsys, "main:app", "--baseline", "known.json")[2]
    (here / "main.py").write_text(OPEN.replace("FastAPI()", "FastAPI(openapi_url=None)"))
    code, out, err = called(capsys, "main:app", "--baseline", "known.json")
    assert code == 0
    assert "1 of the findings in the baseline are gone" in err
    assert "in the baseline" in out
    # Rules that are not asked find nothing, which says nothing.
    assert "are gone" not in called(capsys, "main:app", "--baseline", "known.json", "--ignore", "LC014")[2]


def test_an_acceptance_without_a_reason_is_in_no_baseline(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has to be looked at again is not made silent for ever."""
    (here / "main.py").write_text(OPEN.replace("@app", "# limen: accept LC001\n@app"))
    _, _, err = called(capsys, "main:app", "--write-baseline", "known.json")
    assert "1 of LC900 are not in it" in err
    assert {identity[0] for identity in baseline.read(here / "known.json")}.isdisjoint({BAD_ACCEPTANCE.id})
    assert called(capsys, "main:app", "--baseline", "known.json")[0] == 1


@pytest.mark.parametrize(
    "entry",
    ['["LC001"]', '["LC001", "/a", "GET", "main.py", 3]', '"LC001"', "[]"],
    ids=["short", "number", "text", "no"],
)
def test_an_entry_of_another_form_is_refused(here: Path, capsys: pytest.CaptureFixture[str], entry: str) -> None:
    """A baseline that nobody can read is an error, before anything is imported."""
    (here / "known.json").write_text(f'{{"format": 1, "findings": [{entry}]}}')
    code, _, err = called(capsys, "main:app", "--baseline", "known.json")
    assert code == 2
    assert "--write-baseline known.json" in err


@pytest.mark.parametrize("option", ["--baseline", "--lock"])
def test_a_file_that_is_wrong_is_told_before_anything_is_imported(
    here: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Nobody waits for an import to be told of a merge that went wrong, and it ends as what could not be looked at."""
    (here / "main.py").write_text("open('imported', 'w')\n" + OPEN)
    (here / "torn.json").write_text("<<<<<<< ours\n")
    code, out, err = called(capsys, "main:app", option, "torn.json")
    assert (code, out) == (2, "")
    assert "torn.json" in err
    assert not (here / "imported").exists()


def test_what_a_lock_says_is_in_what_others_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pull request's comment and a program are told which route was opened, and not only the log."""
    assert "Who may call what" not in called(capsys, "main:app", "--lock", "routes.lock", "--format", "markdown")[1]
    (here / "main.py").write_text(OPEN.replace('"/a"', '"/b|c"'))
    locked = ("main:app", "--lock", "routes.lock", "--locked")
    _, out, _ = called(capsys, *locked, "--format", "markdown")
    assert "| **removed** | `GET /a` | open | not there |\n| **added** | `GET /b\\|c` | not there | open |" in out
    told = json.loads(called(capsys, *locked, "--json")[1])["changes"]
    assert told[0] == {"route": "GET /a", "label": "removed", "before": "open", "after": None}


@pytest.mark.parametrize("option", ["--sarif", "--lock", "--write-baseline"])
def test_a_file_that_cannot_be_written_is_no_finding(
    here: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """A folder that is not there ends with 2 and is named: 1 would tell of findings."""
    code, _, err = called(capsys, "main:app", option, "no/such/folder.json")
    assert code == 2
    assert "no/such/folder.json cannot be written: No such file or directory" in err


# --- at a terminal


def at_terminal(folder: Path, width: int, *arguments: str, **environment: str) -> str:
    """Return what the command writes into a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR", "CI"}}
    command = [sys.executable, "-m", "limen.cli", "check", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    read = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        read += part
    os.close(ours)
    process.wait(60)
    return read.decode().replace("\r\n", "\n")


def test_a_narrow_terminal_is_filled_and_not_overrun(tmp_path: Path) -> None:
    """At 80 columns words wrap inside their column, in colours; importing is shown while it lasts and wiped away."""
    (tmp_path / "main.py").write_text(OPEN)
    written = at_terminal(tmp_path, 80, "main:app")
    assert "\x1b[1;31mLC001 high" in written
    shown = written[written.index("LC001") :]
    lines = ESCAPES.sub("", shown).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any(line.startswith("  GET /a") for line in lines)
    assert "limen check --explain LC013 tells why and how to mend it, --all of all rules." in lines
    assert any("routes (" in line for line in lines[-2:])


def test_what_does_not_fit_side_by_side_stands_below_each_other(tmp_path: Path) -> None:
    """At 60 columns no path is cut in two, and lines of code are whole, so that they can be copied."""
    path = "/accounts/{account_id}/orders"
    (tmp_path / "main.py").write_text(
        OPEN.replace("/a", path).replace("-> int", "").replace("def a()", "def a(b: dict)")
    )
    written = ESCAPES.sub("", at_terminal(tmp_path, 60, "main:app", "--all"))
    assert f"  GET {path}  main.py:5" in [line.rstrip() for line in written.splitlines()]
    assert "    its body b is a dict" in [line.rstrip() for line in written.splitlines()]
    assert "    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)" in written


def test_what_is_low_is_told_in_short_where_something_is_worse(capsys: pytest.CaptureFixture[str]) -> None:
    """What has to be read is what matters; ``--all`` tells of the others why, and how to mend it."""
    high, low = OPEN_ROUTE, next(each for each in RULES if each.severity is Severity.LOW)
    both = of(finding("/a", rule=high), finding("/b", rule=low))
    for everything, report, is_told in (
        (False, both, False),
        (True, both, True),
        (False, of(finding("/b", rule=low)), True),
    ):
        print_report(report, everything=everything)
        out = capsys.readouterr().out
        assert (low.why in out) is is_told
        assert (f"--explain {low.id} tells why" in out) is not is_told
        assert low.title in out


def test_what_all_have_in_common_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Three routes with one fault are three lines, and the fault a fourth."""
    print_report(of(*(finding(f"/{n}", what="it is open") for n in range(3))))
    out = capsys.readouterr().out
    assert out.count("it is open") == 1
    assert "\n  each: it is open\n" in out


def test_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    """NO_COLOR is heard, and a wide terminal needs no wrapping."""
    (tmp_path / "main.py").write_text(OPEN)
    written = at_terminal(tmp_path, 160, "main:app", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", written)
    assert OPEN_ROUTE.why in ESCAPES.sub("", written)


def of(*findings: Finding) -> Report:
    """Return a report of these findings."""
    return Report(Application("main:app", routes=(Route("/a", ("GET",)),), files=("main.py",)), findings)


def test_two_hundred_findings_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """Of each rule a handful is shown, the others are counted by file; ``--all`` shows every one."""
    many = [finding(f"/{n}", place=Place(f"app/{'abcdefg'[n % 7]}.py", n)) for n in range(200)]
    print_report(of(*many))
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 15
    assert "and 195 more in app/" in out
    assert ", 3 more files; --all shows them" in out
    print_report(of(*many), everything=True)
    out = capsys.readouterr().out
    assert out.count("app/") == 200
    assert "It cannot see: " in out


def test_one_more_than_a_handful_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is told of one more that could have stood in that line."""
    print_report(of(*(finding(f"/{n}") for n in range(6))))
    out = capsys.readouterr().out
    assert "--all" not in out
    assert out.count("main.py:3") == 6


def test_rules_are_listed_at_the_end_where_they_are_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sees only the end of a long report sees each rule, with its severity and how often it found something."""
    print_report(of(*(finding("/a", rule=rule) for rule in RULES[:4]), finding("/b", rule=RULES[3])))
    *_, listed, last = capsys.readouterr().out.strip().split("\n\n")
    assert listed.splitlines()[0].startswith("high    LC001  1  nothing asks")
    assert listed.splitlines()[3].split()[1:3] == [RULES[3].id, "2"]
    assert last.splitlines()[-1].startswith("1 route (1 open), 1 file: 5 findings (")


def test_names_of_an_application_do_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape in a path is shown, not sent."""
    print_report(of(finding("/\x1b[2J", place=Place("a\x07.py", 1))))
    assert "\x1b" not in (out := capsys.readouterr().out)
    assert "/\\x1b[2J" in out
    assert "a\\x07.py:1" in out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("prices are the same for everybody", "prices are the same for everybody"),
        ("order_id in its path", "order_id in its path"),
        ("@everyone look", "`@everyone look`"),
        ("a `b` c", "`` a `b` c ``"),
        ("``` and ` both", "```` ``` and ` both ````"),
        ("<img src=x>", "`<img src=x>`"),
        ("[a](javascript:1)", "`[a](javascript:1)`"),
        ("see https://example.com", "`see https://example.com`"),
        ("a | b", "`a \\| b`"),
        ("a\n## b", "`a ## b`"),
        ("\x1b[31m\u202e", "`\\x1b[31m\\u202e`"),
        ("_all_", "`_all_`"),
    ],
)
def test_markdown_reads_nothing_into_words_of_an_application(text: str, shown: str) -> None:
    """A path, a name or a reason mentions nobody, links nowhere, ends no cell, and steers no terminal."""
    acceptance = Acceptance(Place("main.py", 2), (OPEN_ROUTE.id,), date(2027, 3, 1), text)
    route = "/" + text.replace("\n", "")
    report = Report(Application("main:app"), (), ((finding(route), acceptance),))
    (row,) = [line for line in report_as_markdown(report).splitlines() if line.startswith("| LC001")]
    assert row.endswith(f" | 2027-03-01 | {shown} |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
