"""Routers that FastAPI keeps as included: what they are entered by, and what about them is refused."""

import sys
from collections.abc import Callable
from typing import Any

from starlette.routing import Mount, Route
from starlette.types import Scope

from limen.core.errors import ConfigurationError
from limen.web.guard.leaves import KNOWN_INCLUDED, includes_as_known, names_endpoint

TELEMETRY_KEY = "fastapi.telemetry"
"""Where FastAPI keeps what it tells tracing about a request."""

_GUARDED: dict[type, type] = {}


def is_included(route: object) -> bool:
    """Tell whether a route is a router that FastAPI keeps as included, and of no kind made of that."""
    return type(route) in KNOWN_INCLUDED


def check_included(included: Any, route: Any = None) -> None:
    """Make sure that only the framework's code runs on the way to a leaf of an included router.

    Args:
        included: the included router.
        route: the route in it that is about to be entered, or None.

    Raises:
        ConfigurationError: the router, or the route in it, is entered by code of its own.
    """
    router = included.original_router
    if not includes_as_known(router):
        raise ConfigurationError(
            f"{type(router).__name__} is included, and matches or handles by code of its own, which would run "
            "before the guard decides; mount it and declare a rule for its path"
        )
    # FastAPI's own kind of route is not copied for an inclusion, so its path is not the one that a rule names.
    if isinstance(route, Route) and not names_endpoint(route):
        raise ConfigurationError(
            f"{type(route).__name__} {route.path} matches by code of its own inside an included router; add "
            "it to the application itself, and declare a rule for its path"
        )


def guarded_inclusion(included: Any, enter: Callable[[Any, Scope], Any]) -> Any:
    """Return an included router that finds what the given one finds, and is entered by way of the guard.

    Args:
        included: the included router.
        enter: is called with it and the scope when its leaf is about to be entered; returns what it found.
    """
    kind = _guarded(type(included))
    inclusion = kind(original_router=included.original_router, include_context=included.include_context)
    inclusion.limen_included = included
    inclusion.limen_enter = enter
    return inclusion


def _guarded(kind: type) -> Any:
    """Return a kind of included router whose `_match` decides; it is asked only when it is handled."""

    def match(self: Any, scope: Scope) -> Any:
        return self.limen_enter(self.limen_included, scope)

    if kind not in _GUARDED:
        _GUARDED[kind] = type("GuardedInclusion", (kind,), {"_match": match})
    return _GUARDED[kind]


def tell_telemetry(scope: Scope, route: Any) -> None:
    """Tell FastAPI's telemetry which route was found, as its router would."""
    routing: Any = sys.modules.get("fastapi.routing")
    tell = getattr(routing, "_route_selected", None)
    if tell is not None:
        tell(scope=scope, path=getattr(route, "path_format", None), mount=isinstance(route, Mount))
