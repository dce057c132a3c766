"""Handlers of which the guard knows nothing but the path: they are given something in front of them that decides."""

from typing import Any

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import ConfigurationError, LimenError

_IS_GUARDED = "limen_guarded"


def guard_foreign(route: BaseRoute) -> None:
    """Let a route that does not name its endpoint decide before it is handled.

    Raises:
        ConfigurationError: it takes no attribute, so it cannot be guarded.
    """
    handle = route.handle
    if getattr(handle, _IS_GUARDED, None) is route:  # a copy of a route has the handler of the one it was copied from
        return

    async def decide_first(scope: Scope, receive: Receive, send: Send) -> None:
        watched = _watched(scope)
        if not watched.final:
            watched.guard.decide_foreign(watched, route)
        await handle(scope, receive, send)

    setattr(decide_first, _IS_GUARDED, route)
    try:
        route.handle = decide_first  # type: ignore[method-assign]
    except AttributeError:
        raise ConfigurationError(
            f"{type(route).__name__} neither names its endpoint when it matches nor takes attributes, so it cannot be "
            "guarded"
        ) from None


def guarded_default(default: ASGIApp) -> ASGIApp:
    """Return a handler for «nothing matched» that decides before it runs."""
    if getattr(default, _IS_GUARDED, False):
        return default

    async def decide_first(scope: Scope, receive: Receive, send: Send) -> None:
        watched = _watched(scope)
        watched.guard.decide_default(watched)
        await default(scope, receive, send)

    setattr(decide_first, _IS_GUARDED, True)
    return decide_first


def _watched(scope: Any) -> Any:
    """Return the scope, if it is one that the guard watches; reached in any other way, nothing here runs."""
    if not hasattr(scope, "guard"):
        raise LimenError()
    return scope
