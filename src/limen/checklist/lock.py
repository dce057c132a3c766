"""Who may call each route, as a file to commit: a pull request that opens a route shows it in its difference.

The file has a line a route and method, sorted, so that two branches that change two routes merge. A route asks for all
that stands in its line; alternatives of one demand are written ``role:admin|maker``.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from limen.checklist.facts import Application, Guard, Route
from limen.core.errors import ConfigurationError

FORMAT: Final = 1
_OPENNESS: Final = {"guarded": 0, "unknown": 1, "open": 2, "public": 2}
_PARAMETER: Final = re.compile(r"{(?P<name>[^:}]+)(?::(?P<kind>[^}]*))?}")
_PATTERNS: Final = {"path": ".*", "int": "[0-9]+", "float": r"[0-9]+(?:\.[0-9]+)?"}
_SAMPLES: Final = {"path": "x/x", "int": "1", "float": "1.5"}


class Label(Enum):
    """What a change means for those who call."""

    LOOSENED = "loosened"
    TIGHTENED = "tightened"
    CHANGED = "changed"
    """Some may do more and some less, or it cannot be told."""
    ADDED = "added"
    REMOVED = "removed"


class Change(Struct, frozen=True):
    """What became of one route.

    Attributes:
        route: its method and its path.
        label: what it means.
        before: who might call it; empty where it was not there.
        after: who may call it now.
    """

    route: str
    label: Label
    before: str
    after: str


class _Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the file.

    Attributes:
        standing: whether somebody asks who is calling.
        by: the guards, by their names and the values they were made with.
        asks: all that is asked besides; alternatives of one demand are apart by ``|``.
        object: the guards ask about what the path names.
        live: the guards ask the store.
        answered_by: the path of an earlier route that takes what is meant for this one.
    """

    standing: Literal["guarded", "public", "open", "unknown"]
    by: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    object: bool = False
    live: bool = False
    answered_by: str = ""


class _Lock(Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    middleware: tuple[str, ...]
    routes: dict[str, _Entry]


def lock_of(application: Application) -> dict[str, Any]:
    """Return who may call each route, as plain values: the same wherever the same code is checked."""
    routes: dict[str, _Entry] = {}
    earlier: list[tuple[re.Pattern[str], str, Route]] = []
    for each in application.routes:
        hider = next((path for pattern, path, one in earlier if hides(pattern, one, each)), "")
        standing_for = next((one for _, path, one in earlier if path == hider), each) if hider else each
        for method in _methods(each):
            name = f"{method} {each.path}"
            while name in routes:
                name += " (again)"
            routes[name] = _of_route(standing_for, hider)
        if each.kind in {"http", "websocket"}:
            earlier.append((pattern_of(each.path), each.path, each))
    told = _Lock(FORMAT, application.middleware, dict(sorted(routes.items())))
    plain: dict[str, Any] = msgspec.to_builtins(told)
    return plain


def _methods(route: Route) -> tuple[str, ...]:
    return ("WS",) if route.kind == "websocket" else route.methods or ("ANY",)


def hides(pattern: "re.Pattern[str]", earlier: Route, later: Route) -> bool:
    """Tell whether an earlier route takes all requests that are meant for a later one."""
    if earlier.kind != later.kind or not pattern.fullmatch(_sample(later.path)):
        return False
    return not earlier.methods or (bool(later.methods) and set(later.methods) <= set(earlier.methods))


def pattern_of(path: str) -> "re.Pattern[str]":
    """Return what a path of Starlette matches; converters of an application's own take a segment."""
    parts = _PARAMETER.split(path)
    text = re.escape(parts[0])
    for kind, literal in zip(parts[2::3], parts[3::3], strict=True):
        text += _PATTERNS.get(kind or "str", "[^/]+") + re.escape(literal)
    return re.compile(text)


def _sample(path: str) -> str:
    """Return a request that a path is for, in which a parameter is a word that no other route spells out."""
    return _PARAMETER.sub(lambda found: _SAMPLES.get(found["kind"] or "str", "\x00"), path)


def _of_route(route: Route, hider: str) -> _Entry:
    if route.standing != "guarded":
        return _Entry(route.standing, answered_by=hider)
    firm = [each for each in route.guards if not each.takes_only and not each.is_optional]
    return _Entry(
        "guarded",
        # What only middleware guards has no guard of its own: then it is told why it is guarded.
        tuple(sorted({_called(each) for each in firm})) or tuple(each for each in (route.why,) if each),
        tuple(sorted({ask for each in firm for ask in _asks(each)})),
        any(each.about_object for each in firm),
        any(bool(each.is_fresh) for each in firm),
        hider,
    )


def _called(guard: Guard) -> str:
    """Return a guard with what it was made with, ``level(minimum=9)``: made with another value it is another one."""
    return f"{guard.name}({', '.join(guard.made_with)})" if guard.made_with else guard.name


def _asks(guard: Guard) -> Iterator[str]:
    """Yield what a guard demands: several roles of one are alternatives, and everything else is asked as well."""
    roles = sorted(each.removeprefix("role:") for each in guard.asks if each.startswith("role:"))
    if roles and guard.by == "limen":  # limen says itself which are alternatives
        yield from (f"role:{each}" for each in roles)
    elif roles:
        yield f"role:{'|'.join(roles)}"
    yield from (each for each in guard.asks if not each.startswith("role:"))


def written(lock: Mapping[str, Any]) -> str:
    """Return the text of a lock: a route and method a line."""
    lines = ",\n".join(
        f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(told, ensure_ascii=False)}"
        for name, told in sorted(lock["routes"].items())
    )
    middleware = json.dumps(list(lock["middleware"]), ensure_ascii=False)
    return f'{{\n  "format": {lock["format"]},\n  "middleware": {middleware},\n  "routes": {{\n{lines}\n  }}\n}}\n'


def read(path: Path) -> dict[str, Any]:
    """Return what a lock file says.

    Raises:
        ConfigurationError: it cannot be read, names a route twice, as a merge may leave it, or is no lock.
    """
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text, object_pairs_hook=_once)
        told: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(text, type=_Lock))
    except (OSError, ValueError, msgspec.DecodeError) as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(
            f"{path} cannot be read as a lock: {why}. Delete it, and it is written anew."
        ) from error
    return told


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, _ in pairs if [each for each, _ in pairs].count(name) > 1)
        raise ValueError(f"{twice!r} is in it twice")
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what became of each route between two locks; what is the same is left out."""
    found = []
    if list(before["middleware"]) != list(after["middleware"]):
        texts = [", ".join(each["middleware"]) or "none" for each in (before, after)]
        found.append(Change("the application's middleware", Label.CHANGED, *texts))
    old, new = before["routes"], after["routes"]
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one != other:
            found.append(Change(name, _label(one, other), _text(one), _text(other)))
    return found


def _label(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Label:
    if one is None or other is None:
        return Label.ADDED if one is None else Label.REMOVED
    first, second = _OPENNESS[one["standing"]], _OPENNESS[other["standing"]]
    if first != second:
        return Label.LOOSENED if second > first else Label.TIGHTENED
    old, new = set(_demands(one)), set(_demands(other))
    is_tighter, is_looser = _follows(old, new), _follows(new, old)
    if is_tighter == is_looser:
        return Label.CHANGED
    return Label.TIGHTENED if is_tighter else Label.LOOSENED


def _demands(told: Mapping[str, Any]) -> Iterator[frozenset[str]]:
    """Yield each demand as its alternatives: a request is let in where it meets one of each."""
    for ask in told.get("asks", ()):
        kind, _, names = ask.partition(":")
        yield frozenset(f"{kind}:{each}" for each in names.split("|"))
    yield from (frozenset([f"by:{each}"]) for each in told.get("by", ()))
    yield from (frozenset([flag]) for flag in ("object", "live") if told.get(flag))


def _follows(wanted: Iterable[frozenset[str]], given: Iterable[frozenset[str]]) -> bool:
    """Tell whether whoever meets all that is given meets all that is wanted: it is no looser."""
    listed = list(given)
    return all(any(each <= demand for each in listed) for demand in wanted)


def _text(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    hidden = [f"answered by {told['answered_by']}"] if told.get("answered_by") else []
    if told["standing"] != "guarded":
        return ", ".join([str(told["standing"]), *hidden])
    extra = [each for each in ("object", "live") if told.get(each)]
    by = " + ".join(told.get("by", ())) or "guarded"
    asks = ", ".join([*told.get("asks", ()), *extra, *hidden])
    return f"{by} ({asks})" if asks else by
