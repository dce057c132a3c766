"""Which parts of a route are guards: limen's marks, FastAPI's security classes, libraries, and code that refuses."""

import dataclasses
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from limen.checklist.facts import Guard
from limen.checklist.routes.asked import asked_by, cells_of, only_authenticated
from limen.checklist.routes.beside import asks_against_forgery, limits_by_decorator, limits_calls
from limen.checklist.routes.code import MISSING, function_of
from limen.checklist.routes.made_with import made_with, of_options
from limen.checklist.routes.parameters import handed_to, has_cookie, shows_who
from limen.checklist.routes.places import Asked
from limen.checklist.routes.raising import learn
from limen.checklist.routes.schemes import Credential, name_of, of_fastapi_users, of_scheme
from limen.checklist.routes.values import Instance, Sign, is_made
from limen.checklist.routes.verdicts import Verdict, key_of, verdict_of
from limen.guard.layers import layers

BY_THE_PATH: Final = "decides by the path"
"""Why nobody can tell what a middleware refuses, unless the path is known."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one dependency, decorator or middleware turned out to be.

    Attributes:
        guard: None where it is none.
        doubtful: why it cannot be told whether it is one.
        throttles: what limits calls, or empty.
        forgery: what asks for a proof against forged requests, or empty.
        returned: what it hands on for a request that shows nothing.
        handed: what it hands on for one that shows something.
        skips: it may answer in the place of what stands behind it, so that nobody is asked there.
        reads: what it takes from a session or a state, or as the caller, that other code has put there.
        writes: what it puts there although it does not know who is calling.
    """

    guard: Guard | None = None
    doubtful: frozenset[str] = frozenset()
    throttles: str = ""
    forgery: str = ""
    returned: Any = MISSING
    handed: Any = MISSING
    skips: bool = False
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()


def limen_marks() -> Any:
    """Return the module that reads limen's marks; None where the application has not loaded limen."""
    if "limen.web.guard.marks" not in sys.modules:
        return None
    from limen.checklist.routes import marks

    return marks


_read: dict[Any, tuple[Found, object]] = {}


class Dependencies:
    """The tree of dependencies of one route.

    Args:
        overrides: what the application puts in the place of its dependencies.
        kind: ``http`` or ``websocket``.
    """

    def __init__(self, overrides: Mapping[Any, Any], kind: str) -> None:
        self._overrides, self._kind = overrides, kind
        self._known: dict[int, Found] = {}

    def standing(self, node: Any) -> Any:
        """Return the node that is asked in the place of another."""
        override = self._overrides.get(node.call) if self._overrides else None
        if override is None:
            return node
        made = sys.modules["fastapi.dependencies.utils"].get_dependant(path="/", call=override)
        made.name = node.name
        return made

    def found(self, node: Any) -> Found:
        """Return what a node is."""
        known = self._known.get(id(node))
        if known is None:
            known = self._known[id(node)] = self._read_once(self.standing(node))
        return known

    def _read_once(self, node: Any) -> Found:
        """Read what a node calls, once for all routes in which it is handed the same."""
        scopes = tuple(_scopes(node)) if node.security_scopes_param_name else ()
        handed = tuple((name, key_of(each)) for shown in (False, True) for name, each in self._handed(node, shown))
        key = (id(node.call), self._kind, scopes, handed)
        known = _read.get(key)
        if known is None:
            # The call is kept alive with it: a freed object's id may be another's.
            known = _read[key] = (self._read(node), node.call)
        return known[0]

    def _handed(self, node: Any, shown: bool) -> list[tuple[str, Any]]:
        return [*self.parameters(node, shown).items(), ("", shown)]

    def inner(self, node: Any) -> list[Any]:
        """Return what a node depends on."""
        return [*self.standing(node).dependencies]

    def value_of(self, node: Any, shown: bool) -> Any:
        """Return what a node hands on to what depends on it."""
        marks = limen_marks()
        if marks is not None and marks.is_declaration(node.call):
            return Sign.WHO
        found = self.found(node)
        if found.guard is None:
            value = found.handed if shown else found.returned
            return value if isinstance(value, Sign | Instance) or is_made(value) else MISSING
        if found.guard.is_optional:
            if shown:
                return Sign.GIVEN if found.guard.by == "scheme" else Sign.DERIVED
            return Sign.ABSENT if found.returned in (None, MISSING) else found.returned
        return Sign.GIVEN if found.guard.takes_only else Sign.WHO

    def parameters(self, node: Any, shown: bool) -> dict[str, Any]:
        """Return what a node's function is handed."""
        return handed_to(node, self.value_of, shown=shown)

    def _read(self, node: Any) -> Found:
        call = node.call
        marks = limen_marks()
        if marks is not None and marks.is_declaration(call):
            return Found()
        name = name_of(call)
        scheme = of_scheme(call, name)
        if scheme is not None:
            return Found(scheme)
        library = of_fastapi_users(call)
        if library is not None:
            return Found(library)
        verdict = verdict_of(call, "dependency", self._kind, lambda shown: self.parameters(node, shown))
        found = _found(call, name, verdict, "dependency", "cookie" if has_cookie(node) else "")
        scopes = tuple(f"scope:{each}" for each in _scopes(node)) if node.security_scopes_param_name else ()
        if found.guard is None or not scopes:
            return found
        asks = (*(each for each in found.guard.asks if each != "code"), *scopes)
        return _with(found, replace(found.guard, asks=asks))


def _with(found: Found, guard: Guard) -> Found:
    return dataclasses.replace(found, guard=guard)


def _scopes(node: Any) -> list[str]:
    own = getattr(node, "own_oauth_scopes", None)
    if own is None and not hasattr(node, "own_oauth_scopes"):
        return list(getattr(node, "security_scopes", None) or ())
    return list(dict.fromkeys([*(getattr(node, "parent_oauth_scopes", None) or ()), *(own or ())]))


def _found(
    call: object, name: str, verdict: Verdict, by: Literal["dependency", "decorator"], credential: Credential = ""
) -> Found:
    """Return what a verdict makes of something."""
    throttles = name if verdict.throttles or limits_calls(call, name) else ""
    if asks_against_forgery(name):
        return Found(throttles=throttles, forgery=name, returned=verdict.returned, handed=verdict.handed)
    guard = None
    asks = asked_by(call) or (("code",) if verdict.asks_right else ())
    if verdict.is_firm:
        guard = Guard(
            by,
            name,
            only_authenticated(asks),
            is_fresh=verdict.is_fresh,
            credential=credential,
            made_with=made_with(call),
        )
    elif verdict.is_optional or verdict.takes_only:
        guard = Guard(by, name, is_optional=verdict.is_optional, takes_only=verdict.takes_only)
    elif verdict.asks_right and verdict.doubtful and not throttles:
        # It may turn nobody away who is known to no other; of those it asks what they may do.
        guard = Guard(by, name, only_authenticated(asks), is_optional=True)
    doubtful = frozenset() if verdict.is_firm or throttles else verdict.doubtful
    return Found(
        guard,
        frozenset(f"{name}: {each}" if " " in each else each for each in doubtful),
        throttles,
        "",
        verdict.returned,
        verdict.handed,
        reads=verdict.reads,
        writes=verdict.writes,
    )


def of_decorators(endpoint: object, kind: str) -> Iterator[Found]:
    """Yield what stands around a handler: every wrapper, from the outside in, the handler itself left out."""
    for each in layers(endpoint):
        wrapped = getattr(each, "__dict__", {}).get("__wrapped__")
        if isinstance(each, types.FunctionType) and wrapped is not None and not each.__module__.startswith("limen."):
            yield _of_wrapper(each, wrapped, kind)


def reaches_handler(endpoint: object) -> bool:
    """Tell whether what was registered holds what it says that it wraps: ``__wrapped__`` alone calls nothing."""
    for each in layers(endpoint):
        wrapped = getattr(each, "__dict__", {}).get("__wrapped__")
        if isinstance(each, types.FunctionType) and wrapped is not None and each.__closure__ is None:
            names = set(each.__code__.co_names)
            if not any(each.__globals__.get(name) is wrapped for name in names):
                return False
    return True


def _of_wrapper(wrapper: types.FunctionType, wrapped: object, kind: str) -> Found:
    # functools.wraps gives a wrapper the name of what it wraps; its code still knows its own.
    qualname = getattr(wrapper.__code__, "co_qualname", wrapper.__code__.co_name)
    module = wrapper.__globals__.get("__name__", "")
    name = qualname.split(".<locals>")[0]
    if module == "starlette.authentication":
        scopes = cells_of(wrapper).get("scopes_list")
        guard = Guard("decorator", "requires", only_authenticated(asked_by(wrapper)))
        return Found(guard, reads=frozenset({"request.auth"})) if scopes else Found()
    if module.split(".")[0] in {"slowapi", "fastapi_limiter"}:
        return Found(throttles=name if limits_by_decorator(wrapper) else "")
    return _found(wrapper, name, verdict_of(wrapper, "onward", kind, wrapped=wrapped), "decorator")


def of_handler(endpoint: object, kind: str, dependant: Any, tree: Dependencies) -> Found:
    """Return what the handler's own code refuses."""
    call = inspect.unwrap(endpoint) if callable(endpoint) else endpoint
    if isinstance(endpoint, types.MethodType) and isinstance(call, types.FunctionType):
        call = types.MethodType(call, endpoint.__self__)

    def handed(shown: bool) -> dict[str, Any]:
        return tree.parameters(dependant, shown) if dependant is not None else {}

    verdict = verdict_of(call, "handler", kind, handed)
    may_know = dependant is None or shows_who(handed(False)) or isinstance(call, types.MethodType)
    throttles = "its own code" if verdict.throttles else ""
    is_asked = verdict.turns_away and verdict.sees_credential
    # A 403 that no look at a credential leads to, as for a page that is too long, is about no caller.
    is_other = verdict.statuses & {401, 403} == {403} and not verdict.turns_away and not verdict.sees_credential
    calls = frozenset(
        each
        for each in verdict.doubtful
        if " " not in each or is_asked or (each.startswith("it depends on") and not is_other)
    )
    if not verdict.is_firm or not may_know:
        return Found(None, calls, throttles, writes=verdict.writes)
    asks = ("code",) if verdict.asks_right else ()
    return Found(
        Guard("handler", "its own code", asks, is_fresh=verdict.is_fresh), frozenset(), throttles, reads=verdict.reads
    )


def of_route_class(route: Any, kind: str) -> Found:
    """Return what a class of routes of the application's own does around each of its routes."""
    method = getattr(type(route), "get_route_handler", None)
    function = function_of(method)
    if function is None or (function.__module__ or "").startswith("fastapi."):
        return Found()
    verdict = verdict_of(types.MethodType(function, route), "onward", kind, is_route_class=True)
    found = _found(function, type(route).__name__, verdict, "decorator")
    return dataclasses.replace(found, skips=verdict.skips)


def leads_away(handler: Any) -> bool:
    """Tell whether a handler of exceptions answers with a way to somewhere else, as to a login."""
    function = function_of(handler)
    return function is not None and "RedirectResponse" in function.__code__.co_names


def learn_handlers(app: Any) -> None:
    """Learn with which statuses an application answers exceptions of its own that say nothing of a refusal."""
    for kind, handler in (getattr(app, "exception_handlers", None) or {}).items():
        if inspect.isclass(kind) and issubclass(kind, Exception) and kind is not Exception:
            statuses = verdict_of(handler, "handler").statuses or ({401} if leads_away(handler) else frozenset())
            if len(statuses) == 1 and not issubclass(kind, HTTPException):
                learn(kind, next(iter(statuses)))


def of_middleware(middleware: Middleware, kind: str, asked: Asked | None = None) -> Found:
    """Return what a middleware is for routes of a kind: those that Starlette's base class makes see no WebSockets."""
    cls: Any = middleware.cls
    options = dict(middleware.kwargs)
    dispatch = options.get("dispatch")
    name = name_of(dispatch) if dispatch is not None else getattr(cls, "__name__", type(cls).__name__)
    if dispatch is None and getattr(cls, "__module__", "") == "starlette.middleware.authentication":
        return _of_backend(options.get("backend"), kind)
    if asks_against_forgery(name):
        return Found(forgery=name)
    if limits_calls(dispatch or cls, name):
        return Found(throttles=name)
    call = _entered(cls, dispatch, kind)
    return Found() if call is None else _of_entered(call, name, kind, of_options(options), asked)


def _entered(cls: Any, dispatch: Any, kind: str) -> Any:
    """Return what a middleware runs for a request of a kind; None where it runs nothing of its own."""
    is_base = inspect.isclass(cls) and issubclass(cls, BaseHTTPMiddleware)
    if is_base and kind == "websocket":
        return None
    if dispatch is not None or not inspect.isclass(cls) or str(cls.__module__).startswith(("starlette.", "fastapi.")):
        return dispatch
    function = function_of(inspect.getattr_static(cls, "dispatch" if is_base else "__call__", None))
    return None if function is None else types.MethodType(function, Instance(cls))


def _of_entered(call: Any, name: str, kind: str, options: tuple[str, ...], asked: Asked | None) -> Found:
    verdict = verdict_of(call, "onward", kind, is_middleware=True, asked=asked)
    if verdict.is_firm:
        asks = ("code",) if verdict.asks_right else ()
        guard = Guard("middleware", name, asks, is_fresh=verdict.is_fresh, made_with=options)
        return Found(guard, reads=verdict.reads, writes=verdict.writes)
    taken = Guard("middleware", name, takes_only=True) if verdict.takes_only else None
    # What never looks at a credential refuses for other reasons: a kind of content, a path with dots.
    is_none = verdict.is_optional or taken is not None or not verdict.sees_credential
    doubtful = frozenset() if is_none else verdict.doubtful
    told = frozenset(_about_middleware(name, each) for each in doubtful)
    throttles = name if verdict.throttles else ""
    return Found(taken, told, throttles, reads=verdict.reads, writes=verdict.writes)


def _about_middleware(name: str, why: str) -> str:
    if why == "it depends on the path":
        return f"middleware {name} {BY_THE_PATH}"
    return f"middleware {name}: {why}"


def _of_backend(backend: Any, kind: str) -> Found:
    """Return what Starlette's AuthenticationMiddleware does with a backend: it refuses where the backend raises."""
    authenticate = getattr(backend, "authenticate", None)
    verdict = Verdict() if authenticate is None else verdict_of(authenticate, "dependency", kind)
    name = f"AuthenticationMiddleware({type(backend).__name__})"
    if verdict.is_firm:
        return Found(Guard("middleware", name, is_fresh=verdict.is_fresh))
    # A backend says «nobody» by returning nothing; what it returns otherwise is taken for somebody who is known.
    knows = Verdict() if authenticate is None else verdict_of(authenticate, "backend", kind)
    # One that cannot be followed to its end is taken at its word.
    is_known = knows.is_firm or knows.doubtful or not knows.lets_in
    return Found() if is_known else Found(writes=frozenset({"request.user", "request.auth"}))
