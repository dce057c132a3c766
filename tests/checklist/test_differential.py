"""What `limen check` says of a guard, beside what the guard does: applications made of a grammar, and really called.

Every case is a way of refusing (or of failing to), written in a form and put in a place that teams use. The check reads
it; then a client calls it without a credential, and with a wrong one. The one thing that must never be is «guarded»
about a route that answers a stranger.
"""

import asyncio
import contextlib
import importlib.util
import itertools
import os
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from limen.checklist.facts import Route
from limen.checklist.judging import named_public
from limen.checklist.routes.reading import read_application
from tests.checklist.grammar import (
    BARE,
    FORMS,
    HEAD,
    MIDDLEWARE,
    MIDDLEWARE_LETS_IN,
    MIDDLEWARE_ROUTES,
    OTHER_PLACES,
    PLACES,
    REFUSALS,
    SOUND,
    TAKEN,
    TAKEN_BY_HAND,
    UNSOUND,
)
from tests.checklist.written import BEGINNING, WRITTEN

MIXED = int(os.environ.get("LIMEN_DIFFERENTIAL_CASES", "120"))
"""How many applications are mixed of all parts by a dice that always falls the same way."""

WRONG = {"x-token": "wrong", "x-api-key": "wrong", "authorization": "Bearer wrong", "cookie": "session=wrong"}
CALLERS: tuple[dict[str, str], ...] = ({}, WRONG)
"""A stranger, and somebody with credentials that nobody gave out."""

TOO_STRICT = frozenset(
    {("passed on", "handler"), ("passed on", "async handler"), ("passed on", "decorator"), ("passed on", "class view")}
    | {("called", "generator")}
)
"""Sketches, and where they stand, of which the check says that nothing asks, although something does."""

MOST_UNKNOWN = {"dependencies": 0.1, "more dependencies": 0.1, "code": 0.2, "middleware": 0.2}
"""Which share of a family may be told unknown."""


@dataclass(frozen=True, slots=True)
class Case:
    """One application of the grammar.

    Attributes:
        name: what it is made of.
        text: its source, with ``_N`` for its number.
    """

    name: str
    text: str


def _code(sketch: str, refusal: str, depth: int, returns: str = "") -> str:
    """Return a sketch as code.

    Args:
        sketch: with ``<refuse>`` in it.
        refusal: how it refuses.
        depth: of its indentation.
        returns: what stands where it returns a value, with a bare return behind it; a replacement of `re.sub`.
    """
    lines = []
    for line in sketch.replace("<refuse>", refusal).splitlines():
        margin = "    " * depth + line[: len(line) - len(line.lstrip())]
        handed = re.sub(r"^return (.+)$", returns, line.lstrip()) if returns else line.lstrip()
        lines.append(margin + handed)
        if handed != line.lstrip():
            lines.append(f"{margin}return")
    return "\n".join(lines)


def _dependency(sketch: str, refusal: str, taken: str, form: str) -> str:
    text = FORMS[form].replace("<taken>", TAKEN[taken])
    # A constructor returns nothing, and a generator hands its value on.
    ways = (("body", 1, ""), ("inner", 2, ""), ("nothing", 2, r"self.who = \1"), ("yielded", 1, r"yield \1"))
    for name, depth, returns in ways:
        text = text.replace(f"<{name}>", _code(sketch, REFUSALS[refusal], depth, returns))
    return text


def _application(place: str) -> str:
    return f"app_N = {BARE.replace('<more>', '')}\n{place}"


def _some(parts: Iterable[str], first: int, count: int) -> list[str]:
    """Return some of the parts, others for each number, so that all of them have their turn."""
    listed = list(parts)
    return [listed[(first + each) % len(listed)] for each in range(count)]


def in_dependencies() -> Iterator[Case]:
    """Yield every sketch in some forms, in some places, with some refusals, and some cases of all mixed."""
    sketches = SOUND | UNSOUND
    told: list[tuple[str, ...]] = []
    for number, each in enumerate(sketches):
        told += [(each, "raise", "header or none", form, "parameter") for form in _some(FORMS, number, 5)]
        told += [(each, "raise", "header", "def", place) for place in _some(PLACES, number, 4)]
        told += [(each, refusal, "api key", "def", "route") for refusal in _some(REFUSALS, number, 3)]
        told += [(each, "raise", taken, "async def", "annotated") for taken in _some(TAKEN, number, 2)]
    dice = random.Random(20261123)
    parts = [sorted(each) for each in (sketches, REFUSALS, TAKEN, FORMS, PLACES)]
    told += [tuple(dice.choice(part) for part in parts) for _ in range(MIXED)]
    for sketch, refusal, taken, form, place in dict.fromkeys(told):
        guard = _dependency(sketches[sketch], refusal, taken, form)
        yield Case(f"{sketch} | {refusal} | {taken} | {form} | {place}", f"{guard}\n{_application(PLACES[place])}")


def in_code() -> Iterator[Case]:
    """Yield every sketch where no dependency asks: in handlers, decorators and class views."""
    sketches = SOUND | UNSOUND
    for sketch, place in itertools.product(sketches, OTHER_PLACES):
        code = _code(f"{TAKEN_BY_HAND}{sketches[sketch]}", REFUSALS["raise"], 1)
        yield Case(f"{sketch} | {place}", f"def ask_N(request):\n{code}\n\n{_application(OTHER_PLACES[place])}")


def in_middleware() -> Iterator[Case]:
    """Yield every middleware with everything that it lets in."""
    for form, lets_in in itertools.product(MIDDLEWARE, MIDDLEWARE_LETS_IN):
        first, more = MIDDLEWARE_LETS_IN[lets_in]
        text = MIDDLEWARE[form].replace("<open>", first).replace("<and_more>", more)
        yield Case(f"{form} | lets in {lets_in}", _application(MIDDLEWARE_ROUTES + text))


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "dependencies": lambda: itertools.islice(in_dependencies(), 0, None, 2),
    "more dependencies": lambda: itertools.islice(in_dependencies(), 1, None, 2),
    "code": in_code,
    "middleware": in_middleware,
}


def imported(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Write a module and import it."""
    file = folder / "applications_to_compare.py"
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)
    spec.loader.exec_module(module)
    return module


Answer = Literal["lets in", "refuses", "fails"]


async def answer_of(app: Any, route: Route, headers: dict[str, str]) -> Answer:
    """Call a route by each of its methods, as a server would, and tell what becomes of the most welcome."""
    kind = "websocket" if route.kind == "websocket" else "http"
    found: Answer = "fails"
    for method in ("GET",) if kind == "websocket" else route.methods or ("GET", "POST"):
        messages = await _called(app, kind, method, route.path, headers)
        if any("reached" in str(each) for each in messages):
            return "lets in"
        if any(each["type"] == "websocket.close" or each.get("status", 500) in {401, 403} for each in messages):
            found = "refuses"
    return found


async def _called(app: Any, kind: str, method: str, path: str, headers: dict[str, str]) -> list[Any]:
    path = re.sub(r"{[^}]+}", "1", path)
    scope = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50000),
        "server": ("orders.example", 80),
    }
    messages: list[Any] = []

    waiting: list[dict[str, Any]] = [
        {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}
    ]

    async def receive() -> dict[str, Any]:
        if not waiting:  # a client that stays, until the answer is there
            await asyncio.Event().wait()
        return waiting.pop()

    async def send(message: Any) -> None:
        messages.append(message)

    # What nobody catches ends a request, too.
    with contextlib.suppress(Exception):
        await app(scope, receive, send)
    return messages


@dataclass(slots=True)
class Compared:
    """What the check told beside what happened.

    Attributes:
        too_good: told guarded, and a stranger or any token is let in.
        accused: told open, and both are refused.
        unknown: how many are told unknown.
        lets_in: how many let somebody in.
        routes: how many were asked.
    """

    too_good: list[str] = field(default_factory=list)
    accused: list[str] = field(default_factory=list)
    unknown: int = 0
    lets_in: int = 0
    routes: int = 0

    async def take(self, case: Case, app: Any) -> None:
        """Read an application, call its routes, and note where the two differ."""
        facts = named_public(read_application(app, "generated:app"))
        assert facts.routes, case.name
        for route in facts.routes:
            self.routes += 1
            self.unknown += route.standing == "unknown"
            answers = [await answer_of(app, route, headers) for headers in CALLERS]
            self.lets_in += "lets in" in answers
            told = f"{case.name}: {route.name} is told {route.standing} ({route.why}); strangers: {answers}"
            if route.standing == "guarded" and "lets in" in answers:
                self.too_good.append(told)
            parts = case.name.split(" | ")
            is_known = any((parts[0], each) in TOO_STRICT for each in parts)
            if route.standing == "open" and set(answers) == {"refuses"} and not is_known:
                self.accused.append(told)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore:coroutine 'verified_later' was never awaited:RuntimeWarning")
def test_what_is_told_of_a_guard_is_what_the_guard_does(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No route is told guarded that lets a stranger or any token in, none told open that refuses both."""
    cases = list(FAMILIES[family]())
    text = "\n".join(each.text.replace("_N", f"_{number}") for number, each in enumerate(cases))
    module = imported(f"{HEAD}\n{text}", tmp_path, monkeypatch)
    compared = Compared()

    async def compare() -> None:
        for number, case in enumerate(cases):
            await compared.take(case, getattr(module, f"app_{number}"))

    asyncio.run(compare())
    assert compared.routes >= len(cases)
    # The comparison would be worth nothing were nobody let in, or everybody.
    assert len(cases) / 4 < compared.lets_in < compared.routes
    assert not compared.too_good, "\n".join(compared.too_good)
    assert not compared.accused, "\n".join(compared.accused)
    # «Unknown» is an answer where code decides by a path or by an error, and not one to everything.
    assert compared.unknown <= compared.routes * MOST_UNKNOWN[family]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.filterwarnings("ignore:coroutine 'averify' was never awaited:RuntimeWarning")
def test_what_is_told_of_an_application_is_what_it_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of applications that were written by hand, each in a module of its own."""
    module = imported(f"{BEGINNING}\n{WRITTEN[name]}", tmp_path, monkeypatch)
    compared = Compared()
    asyncio.run(compared.take(Case(name, ""), module.app))
    assert not compared.too_good
    assert not compared.accused
