"""What a finding is known again by: no two have it in common, and lines above do not change it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

from limen.checklist.checking import Report, check
from limen.checklist.facts import Broken
from limen.checklist.findings import Finding
from limen.checklist.judging import judge, named_public
from limen.checklist.output.as_sarif import report_as_sarif
from limen.checklist.routes.reading import read_application
from limen.checklist.source.module import Module
from limen.checklist.source.reading import QUESTIONS

ENDPOINTS = Path(__file__).parents[2] / "examples" / "endpoints"
FORMS = sorted((Path(__file__).parent / "forms").glob("LC1*.txt"))
LINES = "# a line\n" * 20


def checked(folder: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Return the report of an application in a folder."""
    monkeypatch.chdir(folder)
    found = check(target)
    assert not isinstance(found, Broken), found
    return found


def moved(text: str) -> str:
    """Return a file with twenty lines more at its beginning, and some in its middle."""
    return LINES + re.sub(r"^(?=(?:@|def |class |async def ))", "\n\n", text, flags=re.MULTILINE)


def identities(findings: Any) -> Counter[tuple[str, ...]]:
    """Return how often each identity is there."""
    return Counter(each.identity for each in findings)


def test_findings_of_an_application_are_known_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the example with every finding none has the identity of another, and all keep theirs when lines move."""
    for each in ENDPOINTS.glob("*.py"):
        (tmp_path / each.name).write_text(each.read_text())
    before = checked(tmp_path, "bad:app", monkeypatch)
    (tmp_path / "bad.py").write_text(moved((ENDPOINTS / "bad.py").read_text()))
    after = checked(tmp_path, "bad:app", monkeypatch)
    assert before.findings[0].place != after.findings[0].place
    assert max(identities(before.findings).values()) == 1
    assert identities(before.findings) == identities(after.findings)
    assert prints(before, tmp_path) == prints(after, tmp_path)


def prints(report: Report, folder: Path) -> set[str]:
    """Return the fingerprints of a log."""
    results = report_as_sarif(report, "0.1.0", folder=folder)["runs"][0]["results"]
    return {each["partialFingerprints"]["limenCheck/v1"] for each in results}


def in_text(text: str) -> list[Finding]:
    """Return what is found in a file."""
    module = Module("app.py", text)
    return [found for question in QUESTIONS for found in question(module)]


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.stem)
def test_findings_in_a_file_are_known_again(file: Path) -> None:
    """The same holds for every form that a rule about source text finds."""
    codes = re.split(r"^### .*\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [(code, identities(in_text(code))) for code in codes[1:]]
    assert any(each for _, each in found)
    for code, before in found:
        assert before == identities(in_text(LINES + code))
        assert all(count == 1 for count in before.values())


@pytest.mark.parametrize(
    "text",
    [
        (
            "class A:\n def get(self, x):\n  db.execute(f'SELECT {x}')\n"
            "class B:\n def get(self, x):\n  db.execute(f'SELECT {x}')\n"
        ),
        "def f(x):\n db.execute(f'SELECT a FROM b WHERE c={x}')\n db.execute(f'SELECT d FROM b WHERE c={x}')\n",
        "import requests\nrequests.get(a, verify=False)\nrequests.get(b, verify=False)\n",
        (
            "import hashlib\ndef f(password):\n def g():\n  u.password = hashlib.md5(password)\n"
            " u.password = hashlib.md5(password)\n"
        ),
    ],
    ids=["methods of two classes", "two statements", "code of a module", "a function in a function"],
)
def test_two_that_are_alike_are_two(text: str) -> None:
    """What stands somewhere else, or says something else, is another finding."""
    found = in_text(text)
    assert len(found) == 2
    assert len(identities(found)) == 2


def test_a_format_is_no_other_code() -> None:
    """Other quotes, blanks and line ends make nothing new of a finding."""
    one = "def f(x):\n db.execute(f'SELECT {x}', {'a': 1})\n"
    other = 'def f(x):\n    db.execute(\n        f"SELECT {x}",\n        {"a": 1},\n    )\n'
    assert identities(in_text(one)) == identities(in_text(other))


def test_a_secret_is_not_in_an_identity() -> None:
    """A baseline is committed: what stands for a finding is the same for another secret, so none is found from it."""
    one, other = (in_text(f"SECRET_KEY = '{each}'\n") for each in ("hunter2-and-more", "another-word-1"))
    assert identities(one) == identities(other)
    assert len(one) == 1


class Hash(BaseModel):
    """An answer with one secret."""

    password_hash: str


class More(Hash):
    """The same with another one."""

    api_key: str


def application(answer: type, *, docs: bool = True, same_site: Any = "lax") -> list[Finding]:
    """Return what is found around and on one route."""
    app = FastAPI(docs_url="/docs" if docs else None, redoc_url=None)
    app.add_middleware(SessionMiddleware, secret_key="x", same_site=same_site)

    @app.get("/a", response_model=answer)
    def a() -> None: ...

    return list(judge(named_public(read_application(app, "own:app"))))


@pytest.mark.parametrize(
    ("rule", "after"),
    [
        ("LC007", {"answer": More}),
        ("LC014", {"docs": False}),
        ("LC012", {"same_site": "none"}),
    ],
)
def test_what_became_worse_is_another_finding(rule: str, after: dict[str, Any]) -> None:
    """One secret more in an answer, one page or one fault more is not hidden by a baseline of before."""
    before = {each.identity for each in application(Hash) if each.rule.id == rule}
    now = {each.identity for each in application(**{"answer": Hash, **after}) if each.rule.id == rule}
    assert len(before) == len(now) == 1
    assert before != now
