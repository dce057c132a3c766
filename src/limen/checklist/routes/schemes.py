"""What a dependency is called, and those that are known by their class: FastAPI's schemes, and fastapi-users'."""

import functools
import inspect
import types
from typing import Any, Final, Literal

from limen.checklist.facts import Guard
from limen.checklist.routes.asked import cells_of
from limen.checklist.routes.code import function_of
from limen.guard.layers import layers

_SAY_NOTHING: Final = frozenset(
    {"_", "inner", "wrapper", "wrapped", "dependency", "decorator", "dispatch", "check", "checker", "<lambda>", "call"}
    | {"current_user_dependency", "current_user_token_dependency", "async_wrapper", "sync_wrapper"}
)
Credential = Literal["", "bearer", "cookie", "api_key", "basic"]
_kept_back: dict[int, object] = {}
"""Schemes whose cookie a browser does not send along with what other sites cause."""


def name_of(call: object) -> str:
    """Return how a dependency is called where it was written."""
    if isinstance(call, types.MethodType):
        return f"{type(call.__self__).__name__}.{call.__func__.__name__}"
    if isinstance(call, functools.partial):
        return name_of(call.func)
    name = str(getattr(call, "__qualname__", None) or type(call).__qualname__)
    # Of what was made inside a function, the innermost name that says something.
    parts = [each for each in name.split(".<locals>.") if each.rpartition(".")[2] not in _SAY_NOTHING]
    return parts[-1] if parts else name.partition(".<locals>")[0]


def of_scheme(call: object, name: str) -> Guard | None:
    """Return one of FastAPI's security classes: it takes a credential out of the request, and verifies nothing."""
    kinds = [each for each in type(call).__mro__ if each.__module__.startswith("fastapi.security")]
    # A subclass with a __call__ of its own is judged by its code.
    if not kinds or not _defined_by_fastapi(type(call)):
        return None
    names = {each.__name__ for each in kinds}
    credential: Credential = "bearer"
    if "APIKeyCookie" in names:
        credential = "" if id(call) in _kept_back else "cookie"
    elif "APIKeyBase" in names or names & {"APIKeyHeader", "APIKeyQuery"}:
        credential = "api_key"
    elif "HTTPBasic" in names:
        credential = "basic"
    optional = getattr(call, "auto_error", True) is False
    return Guard("scheme", name, credential=credential, takes_only=True, is_optional=optional)


def _defined_by_fastapi(kind: type) -> bool:
    function = function_of(inspect.getattr_static(kind, "__call__", None))
    return function is not None and function.__module__.startswith("fastapi.security")


def of_fastapi_users(call: object) -> Guard | None:
    """Return a dependency that fastapi-users made: its options are in what it closes over."""
    for layer in layers(call):
        if isinstance(layer, types.FunctionType) and layer.__module__ == "fastapi_users.authentication.authenticator":
            # It is made by makefun, from a function that keeps its options.
            cells = cells_of(vars(layer).get("__func_impl__", layer))
            options = {"optional": False, "superuser": False, "verified": False} | cells
            asks = ("role:superuser",) if options["superuser"] else ()
            name = "fastapi-users, verified" if options["verified"] else "fastapi-users"
            _learn_cookies(cells.get("self"))
            return Guard("dependency", name, asks, is_fresh=True, is_optional=bool(options["optional"]))
    return None


def _learn_cookies(authenticator: Any) -> None:
    for backend in getattr(authenticator, "backends", ()):
        transport: Any = getattr(backend, "transport", None)
        if getattr(transport, "cookie_samesite", "none") in {"lax", "strict"}:
            _kept_back[id(transport.scheme)] = transport.scheme
