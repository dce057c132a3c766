"""The rules about source text: each finds what it is for, and leaves alone what is close to it.

`forms/LC101.txt` and so on hold the forms: code that is bad, and code that only looks so. A new form is added at the
end of its part, so that the others keep their numbers.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from limen.checklist.catalogue import RULES
from limen.checklist.source.module import Module
from limen.checklist.source.reading import QUESTIONS

FORMS = Path(__file__).parent / "forms"


def _forms(wanted: str) -> Iterator[tuple[str, str, str]]:
    """Yield the id of a test, the rule, and the code of each form of a kind."""
    for file in sorted(FORMS.glob("*.txt")):
        parts = re.split(r"^### (found|left alone)(?:: (.*))?\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        number = 0
        for kind, name, code in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if kind == wanted:
                number += 1
                yield f"{file.stem}-{number}{' ' + name if name else ''}", file.stem, code


FOUND = {name: (rule, code) for name, rule, code in _forms("found")}
LEFT_ALONE = {name: code for name, _, code in _forms("left alone")}


def _found(text: str) -> list[str]:
    module = Module("app.py", text)
    return [finding.rule.id for question in QUESTIONS for finding in question(module)]


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    """What a rule is for is found."""
    rule, text = FOUND[name]
    assert rule in _found(text)


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str) -> None:
    """What only looks like it is left alone."""
    assert _found(LEFT_ALONE[name]) == []


def test_every_rule_about_source_text_has_both_sides() -> None:
    """Each rule has forms that it finds, and forms close to them that it leaves alone."""
    rules = {each.id for each in RULES if "LC100" < each.id < "LC900"} | {"LC011"}
    assert {rule for rule, _ in FOUND.values()} == rules
    assert {name.partition("-")[0] for name in LEFT_ALONE} - {"any"} == rules
