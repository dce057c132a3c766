"""What stands in a router: by which route it enters a leaf, and which routes are foreign and have to decide first."""

import operator
from typing import Any

from starlette.routing import Host, Match, Mount, Route
from starlette.types import Scope

from limen.core.errors import ConfigurationError
from limen.web.guard.foreign import guard_foreign
from limen.web.guard.leaves import includes_as_known, names_endpoint

MOST_REMEMBERED = 20_000
"""What one router remembers; routes that are made and thrown away again must not fill the memory."""

_ByEndpoint = dict[int, list[Any]]


class Places:
    """The routes of one router and of the routers included there, looked at again whenever they are others."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[object, list[Any], _ByEndpoint]] = {}

    def in_router(self, router: Any) -> _ByEndpoint:
        """Return a router's routes by the identity of their endpoint, after guarding what is foreign among them."""
        routes = router.routes
        seen = self._seen.get(id(router))
        # The very same routes, one by one: those of the frameworks are equal where they are merely alike.
        if seen is not None and len(seen[1]) == len(routes) and all(map(operator.is_, seen[1], routes)):
            return seen[2]
        return self._look_at(router, routes, routes)

    def in_included(self, included: Any) -> _ByEndpoint:
        """Return the same of a router that FastAPI keeps as included.

        Raises:
            ConfigurationError: it is entered by code of its own, or one of its routes has no name for rules.
        """
        routes = included.original_router.routes
        seen = self._seen.get(id(included))
        if seen is not None and len(seen[1]) == len(routes) and all(map(operator.is_, seen[1], routes)):
            return seen[2]
        candidates = included.effective_candidates()
        for each in candidates:
            # FastAPI's own kind of route is not copied for an inclusion, so its path is not the one that a rule names.
            shared = None if getattr(each, "starlette_route", None) else getattr(each, "original_route", None)
            if shared is not None and isinstance(shared, Route) and not names_endpoint(shared):
                raise ConfigurationError(
                    f"{type(shared).__name__} {shared.path} matches by code of its own inside an included router; add "
                    "it to the application itself, and declare a rule for its path"
                )
        found = [getattr(each, "starlette_route", None) or getattr(each, "original_route", each) for each in candidates]
        return self._look_at(included, routes, found)

    def _look_at(self, owner: object, routes: list[Any], effective: list[Any]) -> _ByEndpoint:
        seen = list(routes)
        places: _ByEndpoint = {}
        for route in list(effective):
            if not names_endpoint(route):
                guard_foreign(route)
            router = getattr(route, "original_router", None)
            if router is not None and not includes_as_known(router):
                raise ConfigurationError(
                    f"{type(router).__name__} is included, and matches or handles by code of its own, which would run "
                    "before the guard decides; mount it and declare a rule for its path"
                )
            endpoint = route.app if isinstance(route, Mount | Host) else getattr(route, "endpoint", None)
            places.setdefault(id(endpoint), []).append(route)
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen[id(owner)] = (owner, seen, places)
        return places


def chosen(places: _ByEndpoint, endpoint: object, scope: Scope) -> Any:
    """Return the mount, host or route by which a router is about to enter an endpoint; None where it cannot be told.

    The router does not say. Where one application stands at several places, they are asked as the router asks them.
    """
    found = places.get(id(endpoint), [])
    if len(found) > 1:
        answers = [(route.matches(scope)[0], route) for route in found]
        found = [route for wanted in (Match.FULL, Match.PARTIAL) for match, route in answers if match is wanted]
    return found[0] if found else None


def mounts_of(places: _ByEndpoint, endpoint: object) -> list[Any]:
    """Return the mounts and hosts that lead to an application."""
    return [each for each in places.get(id(endpoint), ()) if isinstance(each, Mount | Host)]
