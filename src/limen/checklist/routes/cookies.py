"""Cookies as credentials: which routes take nothing else, and whether browsers send them with requests of others."""

import ast
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.middleware import Middleware
from starlette.requests import HTTPConnection

from limen.checklist.facts import Cookie
from limen.checklist.routes.asked import cells_of
from limen.checklist.routes.code import MISSING, body_of, function_of, hints_of, node_of, resolved, tree_of
from limen.checklist.routes.libraries import is_closed_book
from limen.checklist.routes.parameters import fields_of
from limen.checklist.routes.values import IDENTITY, ORDINARY_HEADERS
from limen.checklist.routes.verdicts import owner_of
from limen.checklist.syntax import walk
from limen.guard.layers import layers

_DEEPEST: Final = 3
_REQUEST: Final = re.compile(r"(^|\.)_?(request|req|conn|connection|websocket|ws|http_connection)$")
_KEPT_BACK: Final = frozenset({"lax", "strict"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What code takes out of a request by which it may tell who is calling.

    Attributes:
        cookies: their names; empty for one whose name is not known.
        session: Starlette's session is among them, which is a cookie.
        other: so is something that no browser sends by itself, or a cookie that it keeps back.
    """

    cookies: frozenset[str] = frozenset()
    session: bool = False
    other: bool = False

    def __or__(self, more: "Taken") -> "Taken":
        return Taken(self.cookies | more.cookies, self.session or more.session, self.other or more.other)


NOTHING: Final = Taken()
_OTHER: Final = Taken(other=True)


def taken_by_node(node: Any) -> Taken:
    """Return what one node of FastAPI's tree of dependencies takes."""
    kinds = {each.__name__ for each in type(node.call).__mro__ if each.__module__.startswith("fastapi.security")}
    if kinds:
        name = str(getattr(getattr(node.call, "model", None), "name", ""))
        return Taken(frozenset({name})) if "APIKeyCookie" in kinds else _OTHER
    if any(transport_keeps_back(each) for each in transports_of(node.call)):
        return _OTHER
    credentials = [field for field, is_credential in fields_of(node) if is_credential]
    names = {each.alias for each in credentials if any(each is every for every in node.cookie_params)}
    return Taken(frozenset(names), other=len(names) < len(credentials)) | taken_by(node.call)


def taken_by_middleware(middleware: Middleware) -> Taken:
    """Return what a middleware takes."""
    cls: Any = middleware.cls
    options = dict(middleware.kwargs)
    backend = options.get("backend")
    if str(getattr(cls, "__module__", "")).startswith("starlette."):
        call = options.get("dispatch") or getattr(backend, "authenticate", None)
        return NOTHING if call is None else taken_by(call)
    name = "dispatch" if callable(getattr(cls, "dispatch", None)) else "__call__"
    return taken_by(getattr(cls, name, None)) if inspect.isclass(cls) else taken_by(cls)


_known: dict[tuple[int, int], tuple[Taken, object]] = {}


def taken_by(call: object, depth: int = 0) -> Taken:
    """Return what the code of a function takes, and that of what it calls."""
    function = function_of(call)
    if function is None or depth > _DEEPEST or is_closed_book(function):
        return NOTHING
    owner = owner_of(call)
    key = (id(function), id(owner))
    known = _known.get(key)
    if known is None:
        _known[key] = (NOTHING, (function, owner))  # one that calls itself takes nothing more
        known = _known[key] = (_in_code(function, owner, depth), (function, owner))
    return known[0]


def _in_code(function: types.FunctionType, owner: object, depth: int) -> Taken:
    node = node_of(function)
    found = NOTHING
    named: set[int] = set()
    for each in body_of(node) if node is not None else ():
        carrier, key = _looked_up(each)
        if carrier is not None:
            named.add(id(carrier))
            found |= _of_carrier(carrier, _text(key, function, owner), function)
        elif isinstance(each, ast.Attribute) and id(each) not in named:
            found |= _of_carrier(each, "", function)
        if isinstance(each, ast.Call):
            callee = resolved(each.func, function, owner)
            if callee is not MISSING and not inspect.isclass(callee):
                base = resolved(each.func.value, function, owner) if isinstance(each.func, ast.Attribute) else MISSING
                is_bound = isinstance(callee, types.FunctionType) and base is not MISSING and not inspect.ismodule(base)
                found |= taken_by(types.MethodType(callee, base) if is_bound else callee, depth + 1)
    return found


def _looked_up(node: ast.AST) -> tuple[ast.Attribute | None, ast.expr | None]:
    """Return ``request.cookies`` and ``"name"`` of ``request.cookies.get("name")`` or ``request.cookies["name"]``."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
        return node.value, node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"get", "pop"}:
        inner = node.func.value
        if isinstance(inner, ast.Attribute) and node.args:
            return inner, node.args[0]
    return None, None


def _text(node: ast.expr | None, function: types.FunctionType, owner: object) -> str:
    value = None if node is None else resolved(node, function, owner)
    return value if isinstance(value, str) else ""


def _of_carrier(carrier: ast.Attribute, name: str, function: types.FunctionType) -> Taken:
    """Return what is taken out of ``request.cookies``, ``request.session`` or ``request.headers``."""
    if carrier.attr not in {"cookies", "_cookies", "session", "headers"} or not _is_request(carrier.value, function):
        return NOTHING
    if carrier.attr == "session":
        return Taken(session=True)
    if carrier.attr == "headers":
        is_ordinary = name.lower() in ORDINARY_HEADERS or not IDENTITY.search(name.replace("-", "_"))
        return NOTHING if name and is_ordinary else _OTHER
    return Taken(frozenset({name})) if not name or IDENTITY.search(name) else NOTHING


def _is_request(node: ast.expr, function: types.FunctionType) -> bool:
    if isinstance(node, ast.Name):
        hint = hints_of(function).get(node.id)
        if inspect.isclass(hint) and issubclass(hint, HTTPConnection):
            return True
    return bool(_REQUEST.search(ast.unparse(node)))


# --- fastapi-users, whose cookies are live objects


def transports_of(call: object) -> tuple[Any, ...]:
    """Return the ways in which a dependency that fastapi-users made takes its tokens."""
    for layer in layers(call):
        if isinstance(layer, types.FunctionType) and layer.__module__ == "fastapi_users.authentication.authenticator":
            cells = cells_of(vars(layer).get("__func_impl__", layer))
            backends = getattr(cells.get("self"), "backends", ())
            return tuple(each.transport for each in backends if hasattr(each, "transport"))
    return ()


def transport_keeps_back(transport: Any) -> bool:
    """Tell whether other sites cause no request with the cookie of a transport of fastapi-users, if it has one."""
    return getattr(transport, "cookie_samesite", "none") in _KEPT_BACK


def cookies_of(call: object) -> Iterator[Cookie]:
    """Yield the cookies that fastapi-users sets for a dependency."""
    for each in transports_of(call):
        if hasattr(each, "cookie_secure"):
            yield Cookie(str(each.cookie_name), bool(each.cookie_secure), str(each.cookie_samesite))


# --- what the application says of cookies when it sets them


@dataclass(frozen=True, slots=True)
class SetCookie:
    """One call of ``set_cookie``.

    Attributes:
        name: of the cookie; empty where it is not written there.
        is_kept_back: browsers do not send it with requests that other sites cause, as far as it is written there.
    """

    name: str
    is_kept_back: bool


def set_cookies(roots: Iterable[str]) -> tuple[SetCookie, ...]:
    """Return what the modules of some packages say of cookies that they set."""
    wanted = set(roots)
    files = {
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in wanted and str(getattr(module, "__file__", "")).endswith(".py")
    }
    return tuple(each for file in sorted(files) for each in _set_in(file))


def _set_in(file: str) -> Iterator[SetCookie]:
    try:
        if b"set_cookie" not in Path(file).read_bytes():
            return
    except OSError:
        return
    tree = tree_of(file)
    for each in walk([tree]) if tree is not None else ():
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "set_cookie":
            options = {given.arg: given.value for given in each.keywords}
            given = options.get("samesite")
            # Starlette's own is Lax; what a setting says, nobody reads here.
            value = given.value if isinstance(given, ast.Constant) else "lax"
            name = each.args[0] if each.args else options.get("key")
            text = str(name.value) if isinstance(name, ast.Constant) else ""
            yield SetCookie(text, str(value).lower() in _KEPT_BACK)


class Credentials:
    """By what the routes of one application know who is calling, as far as cookies matter.

    Args:
        sessions: the cookies that middleware sets.
        roots: the packages of the application, whose code sets cookies; asked for where that matters.

    Attributes:
        cookies: those of fastapi-users that were come upon.
    """

    def __init__(self, sessions: Iterable[Cookie], roots: Callable[[], Iterable[str]]) -> None:
        self._sessions, self._roots = tuple(sessions), roots
        self._set: tuple[SetCookie, ...] | None = None
        self._known: dict[int, tuple[Taken, object]] = {}
        self.cookies: tuple[Cookie, ...] = ()

    def of_node(self, node: Any) -> Taken:
        """Return what a node of FastAPI's tree of dependencies takes; each is read once."""
        known = self._known.get(id(node.call))
        if known is None:
            known = self._known[id(node.call)] = (taken_by_node(node), node.call)
            self.cookies = (*self.cookies, *cookies_of(node.call))
        return known[0]

    def are_sent_along(self, taken: Taken) -> bool:
        """Tell whether all that is taken are cookies, and one of them comes along with what other sites cause."""
        if taken.other:
            return False
        if taken.session and any(each.same_site.lower() not in _KEPT_BACK for each in self._sessions):
            return True
        return any(not self._is_kept_back(name) for name in taken.cookies)

    def _is_kept_back(self, name: str) -> bool:
        if self._set is None:
            self._set = set_cookies(self._roots())
        about = [each for each in self._set if not name or each.name in {name, ""}]
        return bool(about) and all(each.is_kept_back for each in about)
