"""What stands in a router's place while it dispatches, between finding a route and handing over to it.

The router's own code dispatches, and takes `StandIn` for its routes: it is all of them at once. Asked whether it
matches, it asks them in their order, as the router would. Told to handle, it decides, and hands over to the very route
that matched, before body, dependencies and handler. So it does not matter when a route was added, replaced or rebuilt.
"""

from collections.abc import Awaitable, Iterable
from itertools import chain
from typing import Any, Protocol

from starlette.routing import Match, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.web.guard.inclusions import TELEMETRY_KEY, tell_telemetry
from limen.web.guard.leaves import Leaf
from limen.web.guard.own_routes import OwnRoutes
from limen.web.guard.rules import OWN_DEFAULT
from limen.web.guard.state import GUARD_KEY, GuardState

_FULL, _PARTIAL = Match.FULL, Match.PARTIAL
_NO_MATCH: tuple[Match, Scope] = (Match.NONE, {})


class Deciding(Protocol):
    """What decides in the place of a router: `limen.web.guard.dispatch.InnerGuard`, which has more about each."""

    leaves: dict[int, Leaf]
    own: OwnRoutes | None

    def decide(self, state: GuardState, leaf: Leaf, scope: Scope) -> None:
        """Decide a leaf that is about to be entered."""

    def decide_declared(self, state: GuardState, leaf: Leaf | None, name: str) -> None:
        """Decide, by the rule for its name, what cannot be seen into."""

    def enter_without_endpoint(self, state: GuardState, route: Any) -> ASGIApp:
        """Decide a route that does not name its endpoint, and return what handles it."""

    def enter_frontend(self, state: GuardState, scope: Scope, child: Scope) -> None:
        """Decide what FastAPI found when no route matched."""

    def leaf_of(self, route: Any, endpoint: object, included: Any = None, child: Scope | None = None) -> Leaf:
        """Return the leaf behind a route, looked at anew."""


class StandIn:
    """What dispatches in a router's place, by the router's own code: the router to it, and all of its routes at once.

    Args:
        guard: the inner guard of the router.
    """

    __slots__ = ("_guard", "_router", "routes")

    path_format: str | None = None

    def __init__(self, guard: Deciding, router: Router) -> None:
        self._guard = guard
        self._router = router
        self.routes = (self,)

    # --- as the router

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)

    @property
    def form_limits(self) -> Any:
        """What FastAPI asks for at every request, and `__getattr__` would be slow to say."""
        return self._router.form_limits  # type: ignore[attr-defined]

    @property
    def default(self) -> ASGIApp:
        """What the router calls when nothing matched; where it is the application's own, it is decided first."""
        default: ASGIApp = self._router.default
        if getattr(default, "__func__", None) is Router.not_found:
            return default

        def decide_first(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            self._guard.decide_declared(scope[GUARD_KEY], None, OWN_DEFAULT)
            return default(scope, receive, send)

        return decide_first

    def _match_low_priority(self, scope: Scope) -> Any:
        """Find a frontend of FastAPI, which it looks for when no route matched, and decide."""
        found = self._router._match_low_priority(scope)  # type: ignore[attr-defined]
        match, child, *_ = found
        if match is not Match.NONE:
            self._guard.enter_frontend(scope[GUARD_KEY], scope, child)
        return found

    # --- as the routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return the answer of the first route that matches, or else of the first that would but for the method."""
        routes: Iterable[Any] = self._router.routes
        own = self._guard.own
        if own is not None:
            path = scope["path"]
            # Nearly every request is not for limen's own: these questions take less than a call would.
            if path in own.exact or path.startswith(own.beginnings) or scope.get("root_path"):
                routes = chain((own,), routes)
        partial: Any = None
        for route in routes:
            match, child = route.matches(scope)
            if match is _FULL:
                scope[GUARD_KEY].found = route, child
                return match, child
            if match is _PARTIAL and partial is None:
                partial = route, child
        if partial is None:
            return _NO_MATCH
        scope[GUARD_KEY].found = partial
        return _PARTIAL, partial[1]

    def handle(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Decide, and hand over to the route that matched.

        Raises:
            LimenError: the request may not enter it.
            AskFirst: the store, or code of the application's, has to be asked first.
        """
        state: GuardState = scope[GUARD_KEY]
        route, child = state.found
        if scope.get("route") is self:
            scope["route"] = route
        if scope.get(TELEMETRY_KEY) is not None:
            tell_telemetry(scope, route)
        guard = self._guard
        endpoint = child.get("endpoint")
        if endpoint is None:
            return guard.enter_without_endpoint(state, route)(scope, receive, send)
        leaf = guard.leaves.get(id(route))
        if leaf is None or leaf.route is not route or leaf.endpoint is not endpoint:
            leaf = guard.leaf_of(route, endpoint, None, child)
        guard.decide(state, leaf, scope)
        return route.handle(scope, receive, send)  # type: ignore[no-any-return]
