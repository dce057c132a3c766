"""Where a request goes, for each route: middleware that exempts paths is tried with the path of the route itself.

Whatever a stranger can vary without leaving the route is tried with it: ``HEAD`` beside ``GET``, a line's end behind
the path (``$`` in the pattern of a route lets it pass), the path with and without the application's ``root_path``. Of
a path with parameters only that is known which its fixed parts decide.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from starlette.datastructures import URL

_PARAMETER: Final = re.compile(r"{[^}:]*(?::([^}]*))?}")
_STEPS: Final = frozenset({"lower", "upper", "casefold", "strip", "rstrip", "lstrip", "removeprefix", "removesuffix"})
_ONE_PART: Final = frozenset({None, "str", "int", "float", "uuid"})
_PLAIN: Final = re.compile(r"[\w./~@+,=$!*'()&%-]*", re.ASCII)
_MOST: Final = 256
Verb = Literal["eq", "in", "contains", "startswith", "endswith", "match", "search", "fullmatch"]


@dataclass(frozen=True, slots=True)
class Spot:
    """The path or the method of a request, as a text that each route knows.

    Attributes:
        part: which; ``url`` is the whole URL.
        steps: what was made of it: the name of a method of texts, and what it was handed.
    """

    part: Literal["url", "url.path", "path", "method", "root_path"]
    steps: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def made(self, name: str, args: list[Any]) -> "Spot | None":
        """Return what a method of it returns; None where that is no part of it."""
        is_known = name in _STEPS and all(isinstance(each, str | Spot) for each in args) and len(args) < 2
        return replace(self, steps=(*self.steps, (name, tuple(args)))) if is_known else None


def in_scope(key: Any) -> Spot | None:
    """Return what a scope has under a key; None where that is no text of this module's."""
    return Spot(key) if key in {"path", "method", "root_path"} else None


def texts_of(value: Any) -> tuple[str, ...] | None:
    """Return the texts in a live table; None where it has anything else in it."""
    if not isinstance(value, tuple | list | set | frozenset | dict) or len(value) > _MOST:
        return None
    found = tuple(value)
    return found if all(isinstance(each, str) for each in found) else None


@dataclass(frozen=True, slots=True)
class Place:
    """One way in which a request comes to a route.

    Attributes:
        path: the whole path, or its template.
        method: the HTTP method; empty where it is not known.
        root: the ``root_path``; None where it is not known.
    """

    path: str
    method: str
    root: str | None

    def decides(self, spot: Spot, verb: Verb, operand: Any) -> bool | None:
        """Tell whether a test of the path or the method holds; None where a request of this place decides."""
        text = self._text(spot)
        if text is not None:
            return _holds(text, verb, operand)
        template = self._template(spot)
        if template is None:
            return None
        head = _head(template)
        if verb == "startswith":
            told = [_begins(head, each) for each in operand]
            return True if True in told else None if None in told else False
        if verb == "contains":
            return True if operand in head else None
        constants = operand if verb == "in" else (operand,) if verb == "eq" else None
        if constants is None or any(_pattern(template).fullmatch(each) for each in constants):
            return None
        return False

    def _text(self, spot: Spot) -> str | None:
        text = self.root if spot.part == "root_path" else self.method or None if spot.part == "method" else None
        if spot.part in {"path", "url.path"} and "{" not in self.path and _may_be_read(self.path, spot):
            # What splits an URL takes ends of lines out of it.
            text = self.path.replace("\n", "") if spot.part == "url.path" else self.path
        for name, args in spot.steps:
            told = [self._text(each) if isinstance(each, Spot) else each for each in args]
            if text is None or None in told:
                return None
            text = getattr(text, name)(*told)
        return text

    def _template(self, spot: Spot) -> str | None:
        """Return what is left of a path with parameters, where no more than its fixed beginning was taken away."""
        if spot.part not in {"path", "url.path"} or "{" not in self.path or not _may_be_read(self.path, spot):
            return None
        template = self.path
        for name, args in spot.steps:
            prefix = self._text(args[0]) if args and isinstance(args[0], Spot) else args[0] if args else None
            if name != "removeprefix" or prefix is None or _begins(_head(template), prefix) is None:
                return None
            template = template.removeprefix(prefix)
        return template


@dataclass(slots=True)
class Asked:
    """A place, and what was asked of it while code was read.

    Attributes:
        place: the place.
        taken: each test, and how it ended.
    """

    place: Place
    taken: dict[tuple[Spot, Verb, Any], bool | None] = field(default_factory=dict)

    def decide(self, spot: Spot, verb: Verb, operand: Any) -> bool | None:
        """Tell whether a test holds, and remember that it was asked."""
        found = self.taken[spot, verb, operand] = self.place.decides(spot, verb, operand)
        return found

    def is_same_at(self, place: Place) -> bool:
        """Tell whether all that was asked ends the same way at another place."""
        return all(place.decides(*test) is ended for test, ended in self.taken.items())


def compared(asked: Asked | None, left: Any, right: Any, op: ast.cmpop) -> bool | None:
    """Tell whether the path or the method equals a constant, or is in some; None where that is not decided here."""
    spot, other = (left, right) if isinstance(left, Spot) else (right, left)
    if asked is None or not isinstance(spot, Spot):
        return None
    if isinstance(op, ast.Eq | ast.NotEq):
        # What a browser asks beforehand, with OPTIONS, never comes to a route.
        return asked.decide(spot, "eq", other) if isinstance(other, str) and other != "OPTIONS" else None
    if not isinstance(op, ast.In | ast.NotIn):
        return None
    if spot is right:
        return asked.decide(spot, "contains", other) if isinstance(other, str) else None
    listed = texts_of(other)
    return None if listed is None else asked.decide(spot, "in", listed)


def places_of(
    path: str, kind: str, methods: tuple[str, ...], root: str | None, prefix: str = ""
) -> tuple[list[Place], list[Place]]:
    """Return how requests come to a route: as it says itself, and as a stranger may vary it.

    Args:
        path: of the route, from the root of the application.
        kind: that of `limen.checklist.routes.walking.SeenRoute`.
        methods: of the route; empty for all.
        root: the ``root_path`` where the code stands that is read; None where it is not known.
        prefix: what a stranger may write before the path: the ``root_path`` that an application says itself.
    """
    if "<" in path or (path and not path.startswith("/")):
        return [], []  # of another host
    if kind in {"static", "mount", "opaque"}:
        path = path.rstrip("/") + "{rest:path}"
    told = [Place(path, each, root) for each in (methods if kind != "websocket" else ()) or ("",)]
    varied = [replace(each, method="HEAD") for each in told if each.method == "GET"]
    for each in [*told, *varied]:
        if "{" not in path:
            varied.append(replace(each, path=f"{path}\n"))
        if prefix:
            varied += [
                replace(each, path=prefix.rstrip("/") + path + end) for end in ("", *(["\n"] * ("{" not in path)))
            ]
    return told, varied


def _holds(text: str, verb: Verb, operand: Any) -> bool:
    match verb:
        case "eq":
            return bool(text == operand)
        case "in":
            return text in operand
        case "contains":
            return operand in text
        case "startswith" | "endswith":
            return bool(getattr(text, verb)(operand))
    return getattr(re, verb)(operand[0], text, operand[1]) is not None


def _head(template: str) -> str:
    """Return the fixed beginning of a template."""
    return template.partition("{")[0]


def _begins(head: str, constant: str) -> bool | None:
    return True if head.startswith(constant) else None if constant.startswith(head) else False


@functools.lru_cache(maxsize=4096)
def _pattern(template: str) -> re.Pattern[str]:
    """Return what a path may be of this template, whatever is taken out of its parameters on the way."""
    found, end = "", 0
    for each in _PARAMETER.finditer(template):
        found += re.escape(template[end : each.start()]) + ("[^/]*" if each.group(1) in _ONE_PART else ".*")
        end = each.end()
    return re.compile(f"{found}{re.escape(template[end:])}\n?", re.DOTALL)


def _may_be_read(path: str, spot: Spot) -> bool:
    """Tell whether a path is what code sees of it."""
    is_plain = all(_PLAIN.fullmatch(each) for each in _literals(path.removesuffix("\n")))
    return is_plain and (spot.part == "path" or _urls_are_paths())


def _literals(path: str) -> Iterator[str]:
    end = 0
    for each in _PARAMETER.finditer(path):
        yield path[end : each.start()]
        end = each.end()
    yield path[end:]


@functools.cache
def _urls_are_paths() -> bool:
    """Tell whether the path of an URL is that of the request.

    Where it is made of an unread ``Host`` header, ``Host: x/login?`` is a path of the stranger's choice.
    """
    tried = (("/a?b/c", b"x"), ("/a#b/c", b"x"), ("/a/c", b"x/login?"), ("/a/c", b"x/login#"), ("/a/c", b"x/login"))
    scope: dict[str, Any] = {"type": "http", "scheme": "http", "server": ("x", 80), "query_string": b""}
    seen = [URL(scope=scope | {"path": path, "headers": [(b"host", host)]}).path for path, host in tried]
    return all(each.startswith("/a") and each.endswith("c") for each in seen)


__all__ = ["Asked", "Place", "Spot", "Verb", "in_scope", "places_of", "texts_of"]
