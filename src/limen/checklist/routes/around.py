"""What stands around a whole application: guards, other origins, cookies, headers, limits."""

import ast
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

from starlette.middleware import Middleware

from limen.checklist.facts import Cookie, Cors
from limen.checklist.routes.code import function_of, node_of, nodes_of
from limen.checklist.routes.guards import BY_THE_PATH, Found, of_middleware
from limen.checklist.routes.places import Asked, Place, places_of
from limen.checklist.routes.walking import SeenRoute, Within

_HEADER_LIBRARIES: Final = frozenset({"secure", "secweb", "Secweb", "starlette_securityheaders", "asgi_headers"})
_HEADERS: Final = re.compile(
    r"x-content-type-options|x-frame-options|strict-transport-security|nosniff|frame-ancestors"
    r"|secure_?headers|security_?headers|^helmet$|^talisman$",
    re.IGNORECASE,
)
_POLICY: Final = re.compile(r"content-security-policy(?!-report-only)", re.IGNORECASE)
_HAS_DOCSTRING: Final = 0x4000000 if sys.version_info >= (3, 13) else 0
"""The flag of code that begins with a docstring; before, its first constant says so."""


class Around:
    """The middleware of an application, read once.

    Attributes:
        names: of every middleware, the outermost first.
        cors: what other origins may do.
        cookies: what middleware sets.
        forgery: what asks for a proof against forged requests, or empty.
        guarding: the middleware that refuses.
        sends_security_headers: something sets them.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.cors: tuple[Cors, ...] = ()
        self.cookies: tuple[Cookie, ...] = ()
        self.forgery = ""
        self.guarding: tuple[Middleware, ...] = ()
        self.sends_security_headers: bool | None = False
        self._all: list[Middleware] = []
        self._root = ""
        self._moving: dict[int, tuple[bool, Middleware]] = {}
        self._placed: dict[Any, list[tuple[Asked, Found, Middleware]]] = {}
        self._found: dict[str, list[Found]] = {"http": [], "websocket": []}

    def take_inner(self, middleware: Middleware) -> None:
        """Take what a mounted application lets other origins do, and the cookies that it sets."""
        name, options = getattr(middleware.cls, "__name__", ""), _options(middleware)
        if name == "CORSMiddleware" and options:
            self.cors = tuple(dict.fromkeys((*self.cors, _cors(options))))
        elif name == "SessionMiddleware" and options:
            self.cookies = tuple(dict.fromkeys((*self.cookies, _session_cookie(options))))

    def take(self, middleware: Middleware) -> None:
        """Take one middleware of the application."""
        name = getattr(middleware.cls, "__name__", type(middleware.cls).__name__)
        self.names = (*self.names, name)
        options = _options(middleware)
        if name == "CORSMiddleware":
            self.cors = (*self.cors, _cors(options))
        elif name == "SessionMiddleware":
            self.cookies = (*self.cookies, _session_cookie(options))
        if sets_headers(middleware):
            self.sends_security_headers = True
        self._all.append(middleware)
        for kind, found in self._found.items():
            found.append(self.read(middleware, kind))
        if self._found["http"][-1].guard is not None or _is_by_path(self._found["http"][-1]):
            self.guarding = (*self.guarding, middleware)
        self.forgery = self.forgery or self._found["http"][-1].forgery

    def found(self, kind: str) -> tuple[Found, ...]:
        """Return what stands around every route of a kind."""
        return tuple(self._found["websocket" if kind == "websocket" else "http"])

    def is_at(self, root: str) -> None:
        """Take where an application says itself that it stands: its ``root_path``."""
        self._root = root

    def standing(self, seen: SeenRoute) -> list[Found]:
        """Return what stands around one route: the application's middleware, and that of mounts and of the route.

        What decides by the path is tried with the path of the route, once for all routes with which it ends the same.
        """
        kind = "websocket" if seen.kind == "websocket" else "http"
        outer = list(zip(self._all, self._found[kind], strict=True))
        inner = [(each, self.read(each, kind)) for each in seen.middleware]
        if not any(_is_by_path(found) for _, found in (*outer, *inner)):
            return [found for _, found in (*outer, *inner)]
        if any(self._moves(each) for each, _ in (*outer, *inner)):
            return [found for _, found in (*outer, *inner)]
        found = [self._tried(each, known, seen, self._root) for each, known in outer]
        return [*found, *(self._tried(each, known, seen, self._root_of(each)) for each, known in inner)]

    def _moves(self, middleware: Middleware) -> bool:
        known = self._moving.get(id(middleware))
        if known is None:
            known = self._moving[id(middleware)] = (_moves(middleware), middleware)
        return known[0]

    def _root_of(self, inner: Middleware) -> str | None:
        return inner.root if isinstance(inner, Within) and not self._root else None

    def _tried(self, middleware: Middleware, known: Found, seen: SeenRoute, root: str | None) -> Found:
        """Return what a middleware is for one route; what it is for any, where the route does not decide that."""
        if not _is_by_path(known):
            return known
        told, varied = places_of(seen.path, seen.kind, seen.methods, root, self._root)
        kind = "websocket" if seen.kind == "websocket" else "http"
        found = [self._at(middleware, kind, each) for each in told]
        if not found or any(each != found[0] for each in found):
            return known
        # Whatever else leads to the same route has to be refused as well.
        is_firm = found[0].guard is not None and not found[0].guard.takes_only
        if is_firm and any(self._at(middleware, kind, each) != found[0] for each in varied):
            return known
        return found[0]

    def _at(self, middleware: Middleware, kind: str, place: Place) -> Found:
        read = self._placed.setdefault((id(middleware), kind), [])
        for asked, found, _ in read:
            if asked.is_same_at(place):
                return found
        asked = Asked(place)
        found = of_middleware(middleware, kind, asked)
        read.append((asked, found, middleware))
        return found

    @property
    def throttled_by(self) -> str:
        """What limits requests to every route, or empty."""
        return next((each.throttles for each in self._found["http"] if each.throttles), "")

    def read(self, middleware: Middleware, kind: str) -> Found:
        """Return what a middleware is for routes of a kind."""
        return of_middleware(middleware, "websocket" if kind == "websocket" else "http")


def sets_headers(middleware: Middleware) -> bool:
    """Tell whether a middleware sets security headers: its code names one, or it is of a library for that."""
    cls: Any = middleware.cls
    call = dict(middleware.kwargs).get("dispatch") or cls
    if str(getattr(call, "__module__", "")).split(".")[0] in _HEADER_LIBRARIES:
        return True
    parts = vars(call).values() if inspect.isclass(call) else (call,)
    texts = {text for each in parts if isinstance(each, types.FunctionType) for text in _texts(each.__code__)}
    if any(_HEADERS.search(each) for each in texts):
        return True
    # A policy alone may be for one path, such as that of a page of its own.
    return any(_POLICY.search(each) for each in texts) and not texts & {"path", "url"}


def _is_by_path(found: Found) -> bool:
    return any(each.endswith(BY_THE_PATH) for each in found.doubtful)


_PLACES: Final = frozenset({"path", "root_path", "method"})


def _moves(middleware: Middleware) -> bool:
    """Tell whether a middleware puts another path or method in the place of the request's."""
    cls: Any = middleware.cls
    call = dict(middleware.kwargs).get("dispatch") or cls
    parts = [each for kind in cls.__mro__ for each in vars(kind).values()] if inspect.isclass(call) else [call]
    functions = [function for each in parts if (function := function_of(each)) is not None]
    is_own = [each for each in functions if not (each.__module__ or "").startswith(("starlette.", "fastapi."))]
    return any(_puts(each) for one in is_own if (node := node_of(one)) is not None for each in nodes_of(node))


def _puts(node: ast.AST) -> bool:
    if isinstance(node, ast.Subscript):
        is_place = isinstance(node.slice, ast.Constant) and node.slice.value in _PLACES
        return is_place and isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.Dict):
        return None in node.keys and any(isinstance(each, ast.Constant) and each.value in _PLACES for each in node.keys)
    is_made = isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
    return is_made and name in {"dict", "update"} and any(each.arg in _PLACES for each in getattr(node, "keywords", ()))


def _texts(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    first = code.co_consts[0] if code.co_consts and code.co_flags & _HAS_DOCSTRING == _HAS_DOCSTRING else None
    for number, each in enumerate(code.co_consts):
        if isinstance(each, types.CodeType):
            yield from _texts(each)
        elif isinstance(each, str | bytes | tuple) and (number or not isinstance(first, str)):
            yield str(each)


def around_application(app: Any) -> Around:
    """Return what stands around an application."""
    found = Around()
    found.is_at(str(getattr(app, "root_path", "") or ""))
    for middleware in getattr(app, "user_middleware", None) or ():
        found.take(middleware)
    if getattr(app, "limen_protection", None) is not None:
        # limen sets them on every answer, and asks for a proof wherever a cookie is the credential.
        found.sends_security_headers = True
        found.forgery = "limen"
    return found


def _options(middleware: Middleware) -> Mapping[str, Any]:
    return dict(middleware.kwargs)


def _cors(options: Mapping[str, Any]) -> Cors:
    origins = options.get("allow_origins") or ()
    listed = (origins,) if isinstance(origins, str) else tuple(str(each) for each in origins)
    return Cors(listed, str(options.get("allow_origin_regex") or ""), bool(options.get("allow_credentials")))


def _session_cookie(options: Mapping[str, Any]) -> Cookie:
    return Cookie(
        str(options.get("session_cookie", "session")),
        bool(options.get("https_only", False)),
        str(options.get("same_site", "lax")),
    )
