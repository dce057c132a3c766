"""Each rule of the catalogue is proven on both sides, and says what it cannot see."""

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from limen.checklist.accepting import acceptances_of, sift
from limen.checklist.catalogue import BAD_ACCEPTANCE, OPEN_ROUTE, RULES
from limen.checklist.facts import Place
from limen.checklist.findings import Finding, Rule
from tests.checklist import test_route_forms, test_source

ACCEPTED: Final = "def a(): ...  # limen: accept LC001 until 2027-03-01 because it is the front page\n"
COMMENTS: Final = {
    "LC900 found: nobody says why": (True, ACCEPTED.replace(" because it is the front page", "")),
    "LC900 found: nothing is accepted by it": (True, ACCEPTED.replace("LC001", "LC004")),
    "LC900 left alone: a reason, a date, and what it is for": (False, ACCEPTED),
}
"""The rule about acceptances is asked of comments and not of routes or statements."""


@pytest.mark.parametrize("name", COMMENTS)
def test_comments(name: str, tmp_path: Path) -> None:
    """An acceptance that is incomplete, or for nothing, is found; one that is complete is left alone."""
    is_found, text = COMMENTS[name]
    file = tmp_path / "app.py"
    file.write_text(text)
    finding = Finding(OPEN_ROUTE, OPEN_ROUTE.severity, "nothing asks", Place(str(file), 1), "/a", "GET")
    standing, _ = sift([finding], {str(file): acceptances_of(str(file))}, date(2026, 11, 23))
    assert (BAD_ACCEPTANCE in {each.rule for each in standing}) is is_found


def _rules_in(names: Iterable[str]) -> set[str]:
    return {found.group() for name in names if (found := re.match(r"LC\d{3}", name))}


FOUND: Final = _rules_in([*test_source.FOUND, *test_route_forms.FOUND, *(n for n in COMMENTS if " found" in n)])
LEFT_ALONE: Final = _rules_in(
    [*test_source.LEFT_ALONE, *test_route_forms.LEFT_ALONE, *(n for n in COMMENTS if " left alone" in n)]
)


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_each_rule_is_proven_on_both_sides(rule: Rule) -> None:
    """There is a form that each rule finds and one that it leaves alone, under its own name; each is a test."""
    assert rule.id in FOUND
    assert rule.id in LEFT_ALONE


def test_each_form_is_of_a_rule() -> None:
    """No form is of a rule that was taken out, or of a slip in its name."""
    assert {each.id for each in RULES} == FOUND | LEFT_ALONE


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each.id)
def test_each_rule_says_what_it_cannot_see(rule: Rule) -> None:
    """The note is there, is a sentence, and is the rule's own."""
    assert re.fullmatch(r"[A-Z`].{20,}\.", rule.unseen, re.DOTALL)
    assert [each.id for each in RULES if each.unseen == rule.unseen] == [rule.id]
