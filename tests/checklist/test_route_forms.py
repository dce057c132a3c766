"""The rules about routes in more forms: code as applications have it that a rule finds, and code that it leaves alone.

`route_forms/LC008.txt` and so on hold the forms, each an application that begins with ``CHECKED`` and more names. A new
form is added at the end of its part.
"""

import re
from pathlib import Path
from typing import Final

import pytest

from limen.checklist.judging import judge, named_public
from tests.checklist.conftest import CHECKED, Made

FORMS: Final = Path(__file__).parent / "route_forms"
NAMES: Final = """
import hmac, logging
from enum import Enum
from fastapi import Cookie, Form, WebSocket
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, StreamingResponse
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import Field, computed_field, field_serializer, field_validator
from starlette.staticfiles import StaticFiles
log = logging.getLogger('application_of_text')
def load(*_: object): return open('nowhere').read()
"""


def forms_of(wanted: str) -> dict[str, tuple[str, str]]:
    """Return of each form of a kind, by its id, the rule and the code."""
    found = {}
    for file in sorted(FORMS.glob("*.txt")):
        parts = re.split(r"^### (found|left alone): (.*)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for kind, name, code in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if kind == wanted:
                found[f"{file.stem} {name}"] = (file.stem, code)
    return found


FOUND: Final = forms_of("found")
LEFT_ALONE: Final = forms_of("left alone")


def _rules(made: Made, code: str) -> set[str]:
    return {each.rule.id for each in judge(named_public(made(CHECKED + NAMES + code)))}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, made: Made) -> None:
    """What a rule is for is found."""
    rule, code = FOUND[name]
    assert rule in _rules(made, code)


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str, made: Made) -> None:
    """What only looks like it is left alone by that rule."""
    rule, code = LEFT_ALONE[name]
    assert rule not in _rules(made, code)
