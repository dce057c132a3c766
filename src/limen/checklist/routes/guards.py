"""Which parts of a route are guards: limen's marks, FastAPI's security classes, libraries, and code that refuses."""

import enum
import inspect
import sys
import types
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from starlette.middleware import Middleware

from limen.checklist.facts import Guard
from limen.checklist.routes.code import function_of
from limen.checklist.routes.refusals import Refusals, refusals_of
from limen.guard.layers import layers

_STATED: Final = (
    ("role", ("role", "roles", "allowed_roles", "required_roles", "required_role")),
    ("permission", ("permission", "permissions", "required_permission", "required_permissions", "perms", "perm")),
    ("scope", ("scope", "scopes", "scopes_list", "required_scopes", "required_scope")),
    ("policy", ("policy", "policies", "action")),
)
"""What an object or a closure calls what it asks for, where a factory such as ``require_role("admin")`` made it."""

Credential = Literal["", "bearer", "cookie", "api_key", "basic"]


@dataclass(slots=True)
class Found:
    """What one dependency or decorator turned out to be.

    Attributes:
        guard: None where it is none.
        doubtful: names of what could not be followed.
        throttles: what limits calls, or empty.
        forgery: what asks for a proof against forged requests, or empty.
    """

    guard: Guard | None = None
    doubtful: frozenset[str] = frozenset()
    throttles: str = ""
    forgery: str = ""


def limen_marks() -> Any:
    """Return the module that reads limen's marks; None where the application has not loaded limen."""
    if "limen.web.guard.marks" not in sys.modules:
        return None
    from limen.checklist.routes import marks

    return marks


def of_dependency(node: Any) -> Found:
    """Return what a node of FastAPI's tree of dependencies is."""
    call = node.call
    marks = limen_marks()
    if marks is not None and marks.is_declaration(call):
        return Found()
    name = name_of(call)
    scheme = _of_scheme(call, name)
    if scheme is not None:
        return Found(scheme)
    library = _of_fastapi_users(call)
    if library is not None:
        return Found(library)
    throttles, forgery = _beside(call, name)
    refused = refusals_of(call)
    doubtful = frozenset(refused.doubtful)
    if not refused.refuses or throttles or forgery:
        return Found(None, frozenset() if throttles or forgery else doubtful, throttles, forgery)
    scopes = tuple(f"scope:{each}" for each in getattr(node, "own_oauth_scopes", None) or ())
    asks = _asked(call, refused) + scopes
    optional = "optional" in name.lower()
    return Found(Guard("dependency", name, asks, is_fresh=refused.is_fresh, is_optional=optional), doubtful)


def of_decorators(endpoint: object) -> Iterator[Found]:
    """Yield what stands around a handler: every wrapper, from the outside in, the handler itself left out."""
    found = [each for each in layers(endpoint) if isinstance(each, types.FunctionType)]
    innermost = inspect.unwrap(endpoint) if callable(endpoint) else endpoint
    for each in found:
        if each is innermost or each.__module__.startswith("limen."):
            continue
        yield _of_wrapper(each)


def _of_wrapper(wrapper: types.FunctionType) -> Found:
    # functools.wraps gives a wrapper the name of what it wraps; its code still knows its own.
    qualname = wrapper.__code__.co_qualname if hasattr(wrapper.__code__, "co_qualname") else wrapper.__code__.co_name
    module = wrapper.__globals__.get("__name__", "")
    name = qualname.split(".<locals>")[0]
    if module == "starlette.authentication":
        return Found(Guard("decorator", "requires", _closed_over(wrapper) or ("code",)))
    throttles, forgery = _beside(wrapper, f"{module}.{qualname}")
    if throttles or forgery:
        return Found(None, frozenset(), throttles, forgery)
    refused = refusals_of(wrapper)
    if not refused.refuses:
        return Found(None, frozenset(refused.doubtful))
    return Found(Guard("decorator", name, _asked(wrapper, refused), is_fresh=refused.is_fresh))


def of_handler(endpoint: object) -> Found:
    """Return what the handler's own code refuses."""
    call = inspect.unwrap(endpoint) if callable(endpoint) else endpoint
    refused = refusals_of(call)
    if not refused.refuses:
        return Found(None, frozenset(refused.doubtful))
    asks = ("code",) if 403 in refused.statuses else ()
    return Found(Guard("handler", "its own code", asks, is_fresh=refused.is_fresh), frozenset(refused.doubtful))


def of_middleware(middleware: Middleware) -> tuple[Found, bool]:
    """Return what a middleware is, and whether it decides by the path: then nobody sees which routes it is for."""
    kind, options = middleware.cls, dict(middleware.kwargs)
    name = getattr(kind, "__name__", type(kind).__name__)
    dispatch = options.get("dispatch")
    if dispatch is not None:
        name = name_of(dispatch)
    module = getattr(kind, "__module__", "")
    throttles, forgery = _beside(dispatch or kind, f"{module}.{name}")
    if throttles or forgery:
        return Found(None, frozenset(), throttles, forgery), False
    if module.split(".")[0] in {"starlette", "fastapi"} and dispatch is None:
        return Found(), False
    whole = Refusals()
    for part in (
        dispatch,
        inspect.getattr_static(kind, "dispatch", None),
        inspect.getattr_static(kind, "__call__", None),
    ):
        function = None if part is None else function_of(part)
        if function is not None:
            refused = refusals_of(part if part is dispatch else types.MethodType(function, kind))
            whole.statuses |= refused.statuses
            whole.named |= refused.named
            whole.doubtful |= refused.doubtful
            whole.looks_at_path |= refused.looks_at_path
            whole.asks_store |= refused.asks_store
    if not whole.refuses:
        return Found(None, frozenset(whole.doubtful)), False
    guard = Guard("middleware", name, ("code",) if 403 in whole.statuses else (), is_fresh=whole.is_fresh)
    return Found(guard), whole.looks_at_path


def name_of(call: object) -> str:
    """Return how a dependency is called where it was written."""
    if isinstance(call, types.MethodType):
        return f"{type(call.__self__).__name__}.{call.__func__.__name__}"
    name = getattr(call, "__qualname__", None) or type(call).__qualname__
    return str(name).split(".<locals>")[0]


def _of_scheme(call: object, name: str) -> Guard | None:
    """Return one of FastAPI's security classes: it takes a credential out of the request, and verifies nothing."""
    kinds = [each for each in type(call).__mro__ if each.__module__.startswith("fastapi.security")]
    # A subclass with a __call__ of its own is judged by its code.
    if not kinds or not _defined_by_fastapi(type(call)):
        return None
    names = {each.__name__ for each in kinds}
    credential: Credential = "bearer"
    if "APIKeyCookie" in names:
        credential = "cookie"
    elif "APIKeyBase" in names or names & {"APIKeyHeader", "APIKeyQuery"}:
        credential = "api_key"
    elif "HTTPBasic" in names:
        credential = "basic"
    optional = getattr(call, "auto_error", True) is False
    return Guard("scheme", name, credential=credential, takes_only=True, is_optional=optional)


def _defined_by_fastapi(kind: type) -> bool:
    function = function_of(inspect.getattr_static(kind, "__call__", None))
    return function is not None and function.__module__.startswith("fastapi.security")


def _of_fastapi_users(call: object) -> Guard | None:
    """Return a dependency that fastapi-users made: its options are in what it closes over."""
    for layer in layers(call):
        if isinstance(layer, types.FunctionType) and layer.__module__ == "fastapi_users.authentication.authenticator":
            options = {"optional": False, "superuser": False} | _cells(layer)
            asks = ("role:superuser",) if options["superuser"] else ()
            return Guard("dependency", "fastapi-users", asks, is_fresh=True, is_optional=bool(options["optional"]))
    return None


def _beside(call: object, name: str) -> tuple[str, str]:
    """Return what limits calls and what asks against forgery, by what libraries and people call it."""
    module = getattr(call, "__module__", "") or type(call).__module__
    told = f"{module}.{name}.{type(call).__qualname__}".lower().replace("_", "")
    throttles = name if any(word in told for word in ("ratelimit", "limiter", "throttl", "slowapi")) else ""
    forgery = name if "csrf" in told or "xsrf" in told else ""
    return throttles, forgery


def _asked(call: object, refused: Refusals) -> tuple[str, ...]:
    named = _closed_over(call) + _attributes(call)
    return named or (("code",) if 403 in refused.statuses else ())


def _closed_over(call: object) -> tuple[str, ...]:
    function = call if isinstance(call, types.FunctionType) else None
    return () if function is None else tuple(_named(_cells(function)))


def _cells(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def _attributes(call: object) -> tuple[str, ...]:
    if isinstance(call, types.FunctionType) or inspect.isclass(call):
        return ()
    owner = call.__self__ if isinstance(call, types.MethodType) else call
    return tuple(_named(getattr(owner, "__dict__", {})))


def _named(values: Any) -> Iterator[str]:
    for kind, names in _STATED:
        for name, value in values.items():
            if name.lower().lstrip("_") in names:
                yield from (f"{kind}:{each}" for each in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        yield value
    elif isinstance(value, Collection) and not isinstance(value, bytes | dict):
        for each in sorted(value, key=str):
            yield from _texts(each) if isinstance(each, str | enum.Enum) else ()
