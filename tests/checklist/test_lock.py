"""Who may call each route, as a file: what a change of it means, and what cannot hide from it."""

import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from limen.checklist import lock
from limen.checklist.facts import Application, Guard, Route
from limen.core.errors import ConfigurationError


def need(name: str, *asks: str, by: Literal["limen", "dependency"] = "dependency", **more: Any) -> Guard:
    """Return a guard that asks for all of this."""
    return Guard(by, name, asks, **more)


def route(path: str, *guards: Guard, methods: tuple[str, ...] = ("GET",), **more: Any) -> Route:
    """Return a route that is guarded where it has guards, and open where it has none."""
    return Route(path, methods, standing=more.pop("standing", "guarded" if guards else "open"), guards=guards, **more)


def locked(*routes: Route, middleware: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the lock of an application with these routes."""
    return lock.lock_of(Application("app:app", routes=routes, middleware=middleware))


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what is told of a change, as the command line says it."""
    return [f"{each.label.value}: {each.route}: {each.before} -> {each.after}" for each in lock.changes(before, after)]


ME, ADMIN, AUDITOR = need("me"), need("need", "role:admin"), need("need2", "role:auditor")
ONE_OF = need("any", "role:admin", "role:maker")


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        ([ME], [], "loosened"),
        ([], [ME], "tightened"),
        ([ME], [ME, ADMIN], "tightened"),
        ([ME, ADMIN], [ME], "loosened"),
        ([ADMIN, AUDITOR], [AUDITOR], "loosened"),
        ([AUDITOR], [ADMIN, AUDITOR], "tightened"),
        ([need("any", "role:admin")], [ONE_OF], "loosened"),
        ([ONE_OF], [need("any", "role:admin")], "tightened"),
        ([need("any", "role:admin")], [need("any", "role:maker")], "changed"),
        ([need("gate", "role:a", "role:b", by="limen")], [need("gate", "role:a", by="limen")], "loosened"),
        ([need("gate", "role:a|b", by="limen")], [need("gate", "role:a", by="limen")], "tightened"),
        ([need("gate", "role:a|b", by="limen")], [need("gate", "role:a|b|c", by="limen")], "loosened"),
        ([need("gate", "permission:a:read|a:all")], [need("gate", "permission:a:read")], "tightened"),
        ([need("me", "permission:a:read")], [need("me", "permission:a:read", "permission:a:write")], "tightened"),
        ([need("me", "permission:a:read", "permission:a:write")], [need("me", "permission:a:read")], "loosened"),
        ([need("me", "scope:items")], [need("me")], "loosened"),
        ([need("me")], [need("me", "scope:items")], "tightened"),
        ([need("me", "scope:items")], [need("me", "scope:orders")], "changed"),
        ([need("me", "policy:orders:read")], [need("me")], "loosened"),
        ([need("me")], [need("me", "policy:orders:read")], "tightened"),
        ([need("me", "code")], [need("me")], "loosened"),
        ([need("me", about_object=True)], [need("me")], "loosened"),
        ([need("me", is_fresh=True)], [need("me", is_fresh=None)], "loosened"),
        ([need("me", is_fresh=False)], [need("me", is_fresh=True)], "tightened"),
        ([ME], [need("somebody")], "changed"),
        ([ME], [need("me", is_optional=True)], "loosened"),
        ([ME], [ME, need("peek", is_optional=True)], ""),
        ([need("me", "role:a")], [need("me", "scope:b")], "changed"),
    ],
    ids=[
        *("opened", "closed", "a guard more", "a guard less", "one of two roles that were both needed"),
        *("a second role that is needed", "an alternative more", "an alternative less", "another role"),
        *("one of limen's stacked roles", "limen's roles narrowed", "limen's roles widened", "a permission narrowed"),
        *("a permission more", "a permission less", "no scope", "a scope", "another scope", "no policy", "a policy"),
        *("no code", "no object", "no live", "live", "another guard", "made optional", "beside an optional one"),
        *("a role for a scope",),
    ],
)
def test_what_a_change_of_guards_means(before: list[Guard], after: list[Guard], label: str) -> None:
    """Loosened is said where more may call, tightened where fewer may, and changed where it cannot be told."""
    found = lock.changes(locked(route("/a", *before, why="me")), locked(route("/a", *after, why="")))
    assert [each.label.value for each in found] == ([label] if label else [])


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        ("guarded", "unknown", "loosened"),
        ("unknown", "open", "loosened"),
        ("open", "unknown", "tightened"),
        ("public", "guarded", "tightened"),
        ("public", "open", "changed"),
    ],
)
def test_what_a_change_of_standing_means(before: str, after: str, label: str) -> None:
    """Guarded is closest, then unknown, then open; a route that is public on purpose is as open as any."""
    one, other = (locked(route("/a", ME, standing=each)) for each in (before, after))
    assert [each.label.value for each in lock.changes(one, other)] == [label]


def test_each_method_has_a_line() -> None:
    """A method more is a route more, and what it does to the other is told as what it is."""
    before = locked(route("/a", ME))
    after = locked(route("/a", methods=("GET", "POST")))
    assert told(before, after) == ["loosened: GET /a: me -> open", "added: POST /a:  -> open"]
    assert told(after, before) == ["tightened: GET /a: open -> me", "removed: POST /a: open -> "]


def test_an_open_route_in_front_of_a_guarded_one_is_seen() -> None:
    """Routers ask routes in their order: where an open one takes what was meant for another, that is told."""
    special, any_item = route("/items/admin", ADMIN), route("/items/{name}")
    before, after = locked(special, any_item), locked(any_item, special)
    (line,) = told(before, after)
    assert line == "loosened: GET /items/admin: need (role:admin) -> open, answered by /items/{name}"


@pytest.mark.parametrize(
    ("first", "hidden"),
    [
        (route("/items/{name}"), True),
        (route("/{rest:path}"), True),
        (route("/items/admin", methods=()), True),
        (route("/items/{number:int}"), False),
        (route("/items/{name}", methods=("POST",)), False),
        (route("/items/{name}/more"), False),
        (route("/items/{name}", kind="websocket"), False),
        (route("/items.admin"), False),
    ],
    ids=["a word", "a path", "every method", "a number", "another method", "longer", "another kind", "a dot"],
)
def test_which_route_hides_another(first: Route, hidden: bool) -> None:
    """Only what matches the path, with its methods and of its kind, takes its requests."""
    entry = locked(first, route("/items/admin", ADMIN))["routes"]
    (of_admin,) = [told for name, told in entry.items() if name.startswith("GET /items/admin")]
    assert ("answered_by" in of_admin) is hidden
    assert of_admin["standing"] == ("open" if hidden else "guarded")


def test_a_parameter_of_one_is_no_word_of_another() -> None:
    """``/items/{id}`` behind ``/items/new`` is asked for all but one of its requests."""
    assert "answered_by" not in locked(route("/items/new"), route("/items/{id}", ME))["routes"]["GET /items/{id}"]
    assert locked(route("/items/{a}"), route("/items/{b}", ME))["routes"]["GET /items/{b}"]["answered_by"]


def test_middleware_is_in_the_file() -> None:
    """A guard around the whole application that goes away is seen, also where routes have guards of their own."""
    guarded = route("/a", ME)
    changed = told(locked(guarded, middleware=("CORS", "GuardA")), locked(guarded, middleware=("CORS",)))
    assert changed == ["changed: the application's middleware: CORS, GuardA -> CORS"]
    one, other = (
        locked(Route("/a", ("GET",), standing="guarded", why=f"middleware {each}")) for each in ("GuardA", "GuardB")
    )
    assert told(one, other) == ["changed: GET /a: middleware GuardA -> middleware GuardB"]


def test_a_line_a_route_in_order() -> None:
    """The file is sorted and has a line for each, whatever order the routers have: two branches merge."""
    routes = [route("/b", ME), route("/a", need("me", "role:x", about_object=True)), route("/c", kind="websocket")]
    text = lock.written(locked(*routes))
    assert text == lock.written(locked(*reversed(routes)))
    assert text.splitlines()[4:-2] == [
        '    "GET /a": {"standing": "guarded", "by": ["me"], "asks": ["role:x"], "object": true},',
        '    "GET /b": {"standing": "guarded", "by": ["me"]},',
        '    "WS /c": {"standing": "open"}',
    ]


def test_two_branches_that_change_two_routes_merge(tmp_path: Path) -> None:
    """Git puts them together without asking, and the result is a lock."""

    def file(name: str, *opened: str) -> Path:
        routes = [route(path) if path in opened else route(path, ME) for path in ("/a", "/b", "/c", "/d", "/e")]
        (tmp_path / name).write_text(lock.written(locked(*routes)))
        return tmp_path / name

    ours, base, theirs = file("ours", "/a"), file("base"), file("theirs", "/e")
    subprocess.run(["git", "merge-file", str(ours), str(base), str(theirs)], check=True)
    assert ours.read_text() == file("both", "/a", "/e").read_text()
    assert lock.read(ours)["routes"]["GET /e"] == {"standing": "open"}


ROUTE = '"GET /a": {"standing": "guarded"}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 2, "middleware": [], "routes": {}}',
        '{"format": 1, "routes": {}}',
        '{"format": 1, "middleware": [], "routes": {"GET /a": "guarded"}}',
        '{"format": 1, "middleware": [], "routes": {"GET /a": {"standing": ["x"]}}}',
        '{"format": 1, "middleware": [], "routes": {"GET /a": {"standing": "guarded", "asks": [1]}}}',
        '{"format": 1, "middleware": [], "routes": {"GET /a": {"standing": "ajar"}}}',
        '{"format": 1, "middleware": [], "routes": {"GET /a": {"standing": "open", "because": "x"}}}',
        f'{{"format": 1, "middleware": [], "routes": {{{ROUTE}, {ROUTE}}}}}',
        f'{{"format": 1, "middleware": [], "routes": {{\n<<<<<<< ours\n{ROUTE}\n=======\n>>>>>>> theirs\n}}}}',
    ],
    ids=[
        *("empty", "a list", "another format", "no middleware", "a word", "a list of standings", "a number"),
        *("another standing", "another field", "twice", "a conflict"),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    """A file that was edited or merged into something else is an error that says what to do, and no crash."""
    path = tmp_path / "routes.lock"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="cannot be read as a lock"):
        lock.read(path)


def test_a_lock_that_is_not_there_is_told(tmp_path: Path) -> None:
    """So is a path that leads nowhere."""
    with pytest.raises(ConfigurationError, match="cannot be read as a lock"):
        lock.read(tmp_path / "none.lock")


def test_the_text_is_json() -> None:
    """Other programs read it."""
    assert json.loads(lock.written(locked(route('/"ä'))))["routes"] == {'GET /"ä': {"standing": "open"}}
