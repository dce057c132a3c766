"""The inner position of the guard: inside a router, at the moment it hands over to a leaf.

Routers of Starlette and FastAPI call ``scope.update(child_scope)`` with the endpoint in it before the route's
``handle``, however and whenever the route was added. So a dict subclass as scope sees the leaf before body,
dependencies and handler. That is a habit of the routers, not a promise: the answer is sealed besides
(`limen.web.guard.outer`), and the guard tests itself at start (`limen.web.guard.selftest`).
"""

import logging
import sys
from typing import Any

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.authn.cookie import SAFE_METHODS
from limen.core.errors import ConfigurationError, CsrfFailed, LimenError, PolicyDenied
from limen.core.principal import PrincipalKind
from limen.guard.requirements import Requirement
from limen.web.cors import preflight_answer
from limen.web.guard.dependants import read_dependencies
from limen.web.guard.foreign import guarded_default
from limen.web.guard.leaves import (
    Leaf,
    dispatches_as_known,
    innermost_position,
    is_framework_page,
    learn_fastapi,
    make_leaf,
)
from limen.web.guard.marks import NOTHING_STATED
from limen.web.guard.own_routes import OwnRoutes
from limen.web.guard.places import MOST_REMEMBERED, Places, chosen, mounts_of
from limen.web.guard.rules import OWN_DEFAULT, name_below
from limen.web.guard.state import GUARD_KEY, GuardState
from limen.web.problems import send_answer, send_problem

_GUARD_OF_ROUTER = "limen_guard"

_ANONYMOUS = PrincipalKind.ANONYMOUS
_NOT_YET: dict[str, Any] | None = None

_log = logging.getLogger("limen.guard")


class LiveCheckNeeded(Exception):
    """The leaf asks for the store: deciding cannot wait inside `dict.update`, so the dispatch starts again after it."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.leaf = leaf


class WatchedScope(dict[str, Any]):
    """A scope that sees which leaf a router is about to enter, and lets it do so only if the request may.

    Attributes:
        guard: the inner guard of the router that dispatches.
        below: the name of what that router is mounted as.
        state: the state of the request.
        outer_included: the included router by which an outer application reached this one.
        final: a leaf was allowed; what is written into the scope from here on is the application's business.
        entered: what the leaf that was allowed adds to the scope; None before.
    """

    __slots__ = ("below", "entered", "final", "guard", "outer_included", "state")

    guard: "InnerGuard"
    below: str
    state: GuardState
    outer_included: Any
    final: bool
    entered: dict[str, Any] | None

    def update(self, child: Any = (), /, **more: Any) -> None:
        """Take over what a route adds to the scope, after deciding.

        Raises:
            LimenError: the request may not enter this leaf.
            LiveCheckNeeded: the store has to be asked first.
        """
        if self.final:
            # Below an opaque leaf this may be the router of an application that nobody put under guard. One that was
            # has a guard of its own, which watches with a scope of its own.
            dict.update(self, child, **more)
            return
        if more or type(child) is not dict:
            child = dict(child, **more)
        endpoint = child.get("endpoint")
        if endpoint is None:
            self.guard.enter_without_endpoint(self)
            dict.update(self, child)
            return
        guard = self.guard
        route = child.get("route")
        # By `get`, here and below: asked by `in` and by brackets, what is derived from a dict takes twice as long.
        fastapi = self.get("fastapi")
        included = None if fastapi is None else fastapi.get("included_router")
        if included is self.outer_included:
            included = None
        # The leaf from memory, where it was met before. A way of its own for each kind: what is looked up by identity
        # has to be the very thing that was met then.
        if included is not None:
            leaf = guard.by_inclusion.get((id(endpoint if route is None else route), id(included)))
        elif route is not None:
            leaf = guard.by_route.get(id(route))
        else:
            leaf = (guard.mounted if "app_root_path" in child else guard.by_endpoint).get(id(endpoint))
        if leaf is None or leaf.endpoint is not endpoint or leaf.route is not route or leaf.included is not included:
            leaf = guard.leaf_of(endpoint, route, included, is_mounted="app_root_path" in child)
        state = self.state
        principal = state.principal
        met = leaf.met_by
        if (
            met is None
            or met[0] is not principal.roles
            or met[1] is not principal.permissions
            or principal.kind is _ANONYMOUS
            or state.parent is not None
        ):
            guard.enter(self, child, leaf)
        else:
            # Sound because sets of roles and of permissions never change, and a plain leaf asks for nothing else.
            self.final = True
            self.entered = child
            state.endpoint = endpoint
            state.decided = True
        dict.update(self, child)

    def begin_again(self, scope: Scope) -> None:
        """Be what the scope was before a dispatch that was given up before anything was entered."""
        self.clear()
        dict.update(self, scope)
        if "fastapi" in scope:
            self.enter_mounted()

    def enter_mounted(self) -> None:
        """Tell what FastAPI wrote down for an outer application from what it will write down for this one."""
        outer = self["fastapi"]
        self.outer_included = outer.get("included_router")
        dict.__setitem__(self, "fastapi", dict(outer))


class InnerGuard:
    """Stands around the dispatch of one router, inside all its middleware.

    Args:
        app: the router's dispatch.
        router: the router.
    """

    def __init__(self, app: ASGIApp, router: Router) -> None:
        self.app = app
        self.router = router
        self.by_route: dict[int, Leaf] = {}
        self.by_inclusion: dict[tuple[int, int], Leaf] = {}
        self.by_endpoint: dict[int, Leaf] = {}
        self.mounted: dict[int, Leaf] = {}
        self.own: OwnRoutes | None = None
        self._places = Places()
        self._default: object = None
        self._inspect()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection, watched."""
        state = scope.get(GUARD_KEY)
        if type(state) is not GuardState:
            await self._serve_without_state(scope, receive, send)
            return
        state.entered = True
        if state.parent is not None:
            state.parent.mark_entered()
        if self.router.default is not self._default:
            self._inspect()
        method = scope.get("method")
        is_other = state.safe_only and method not in SAFE_METHODS
        if (is_other or method == "OPTIONS") and await _is_answered(scope, send, state):
            return
        watched = WatchedScope(scope)
        watched.guard = self
        watched.state = state
        watched.below = state.below
        watched.final = False
        watched.outer_included = None
        watched.entered = _NOT_YET
        if "fastapi" in scope:
            watched.enter_mounted()
        dispatch, own = self.app, self.own
        if own is not None:
            path = scope["path"]
            if path in own.paths or path.startswith(own.beginnings) or scope.get("root_path"):
                dispatch = own.before(self.router, watched)
        try:
            await dispatch(watched, receive, send)
        except LiveCheckNeeded as needed:
            state.below = watched.below
            await self._dispatch_again(needed.leaf, watched, scope, receive, send)
        except LimenError as error:
            await refuse(error, scope, send, state)
        finally:
            if watched.entered is not None:
                # Tracing and exception handlers, which stand outside, find what they would find without the guard. Not
                # by the scope's own `update`: it may be the watched one of an outer application.
                dict.update(scope, watched.entered)
                route = watched.get("route")
                if route is not None:
                    scope["route"] = route

    def enter(self, scope: WatchedScope, child: dict[str, Any], leaf: Leaf) -> None:
        """Decide what takes more than one look: mounts, class views, live checks, opaque leaves."""
        state = scope.state
        if leaf.router is not None:
            instrument(leaf.router)
            self._decide(scope, leaf, leaf.requirement, is_final=False)
            state.below = name_below(scope.below, self._place(scope, leaf))
        elif leaf.declared_by_path:
            place = self._place(scope, leaf)
            if place is None:
                raise state.undeclared()
            self._decide_declared(scope, leaf, name_below(scope.below, place))
            scope.entered = child
        elif leaf.contradiction:
            raise self._contradiction(leaf, state)
        else:
            self._decide(scope, leaf, leaf.required_for(scope.get("method", "")), is_final=True)
            scope.entered = child
            if leaf.is_plain and state.principal.is_authenticated:
                leaf.met_by = (state.principal.roles, state.principal.permissions)

    def enter_without_endpoint(self, scope: WatchedScope) -> None:
        """Look at what a router enters without naming an endpoint.

        An included router of FastAPI names it later. A frontend is denied until declared. Anything else is a foreign
        route: it was given a `handle` that decides first, and routes added since are given one now, before it is
        called.
        """
        fastapi = scope.get("fastapi")
        if fastapi:
            if "frontend_path" in fastapi:
                # Frontends are found by their very path, without parameters, so what was matched is also their name.
                path, root = str(scope["path"]), str(scope.get("root_path", ""))
                start = len(root) if path == root or path.startswith(root + "/") else 0
                matched = path[start : len(path) - len(fastapi["frontend_path"])]
                self._decide_declared(scope, None, scope.below + matched)
                return
            included = fastapi.get("included_router")
            if included is not None and included is not scope.outer_included:
                self._places.in_included(included)
        self._places.in_router(self.router)

    def decide_foreign(self, scope: WatchedScope, route: BaseRoute) -> None:
        """Decide a leaf of which nothing is known but the route: it is denied until declared.

        Raises:
            LimenError: no rule is declared, or the request does not meet it.
        """
        self._decide_declared(scope, None, name_below(scope.below, route))

    def decide_default(self, scope: WatchedScope) -> None:
        """Decide the application's own handler for «nothing matched».

        Raises:
            LimenError: no rule is declared, or the request does not meet it.
        """
        self._decide_declared(scope, None, OWN_DEFAULT)

    def inspect_included(self, included: Any) -> None:
        """Look at an included router before it is entered, or listed.

        Raises:
            ConfigurationError: it is entered by code of its own.
        """
        self._places.in_included(included)

    # --- deciding

    def _decide(self, scope: WatchedScope, leaf: Leaf | None, requirement: Requirement, *, is_final: bool) -> None:
        state = scope.state
        error = state.refusal(requirement)
        if error is not None:
            raise error
        if leaf is not None and requirement.live and state.live_leaf is not leaf:
            raise LiveCheckNeeded(leaf)
        if is_final:
            scope.final = True
            state.mark_decided(None if leaf is None else leaf.endpoint)

    def _decide_declared(self, scope: WatchedScope, leaf: Leaf | None, name: str) -> None:
        state = scope.state
        declared = state.rules.find(name)
        if declared is None:
            raise state.undeclared()
        if leaf is not None and not leaf.requirement.public:
            if not declared.public:
                declared &= leaf.requirement
            elif not is_framework_page(leaf.endpoint):
                raise self._contradiction(leaf, state)
        if declared.live and leaf is None:
            raise PolicyDenied("A live check cannot be made for this path.")
        self._decide(scope, leaf, declared, is_final=True)
        state.below = name

    def _contradiction(self, leaf: Leaf, state: GuardState) -> LimenError:
        _log.error(
            "a route is public and restricted at once; nobody gets in",
            extra={"endpoint": repr(leaf.endpoint), "request_id": state.request_id},
        )
        return PolicyDenied("What is declared for this route contradicts itself.")

    def _place(self, scope: WatchedScope, leaf: Leaf) -> Any:
        places = self._inspect() if leaf.included is None else self._places.in_included(leaf.included)
        return chosen(places, leaf.endpoint, scope)

    async def _dispatch_again(
        self, leaf: Leaf, watched: WatchedScope, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Ask the store, then dispatch once more; only to this very leaf, and only once."""
        state: GuardState = scope[GUARD_KEY]
        try:
            await state.check_live(leaf)
            scope["user"] = state.principal
            watched.begin_again(scope)
            dispatch = self.app if self.own is None else self.own.before(self.router, watched)
            await dispatch(watched, receive, send)
        except LiveCheckNeeded:
            _log.error("a second dispatch reached another leaf", extra={"request_id": state.request_id})
            await refuse(PolicyDenied(), scope, send, state)
        except LimenError as error:
            await refuse(error, scope, send, state)

    async def _serve_without_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        _log.error("a guarded router was reached without the guard's state: protect(app) does not stand around it")
        await send_problem(scope, send, LimenError(), "")

    # --- leaves

    def leaf_of(self, endpoint: object, route: Any, included: Any, *, is_mounted: bool) -> Leaf:
        """Return the leaf behind an endpoint, looked at anew, and remember it."""
        places = self._inspect()
        if included is not None:
            places = self._places.in_included(included)
        mounts = mounts_of(places, endpoint)
        if not hasattr(route, "dependant"):
            route = None
        dependencies = getattr(self.router, "dependencies", None)
        router_states = read_dependencies(dependencies) if dependencies and route is None else NOTHING_STATED
        leaf = make_leaf(
            endpoint,
            route=route,
            included=included,
            is_mounted=is_mounted or bool(mounts),
            # Middleware of a mount stands in front of what was mounted; the guard stands behind it.
            mounted=getattr(mounts[0], "_base_app", endpoint) if mounts else endpoint,
            router_states=router_states,
        )
        memory: dict[Any, Leaf] = self.by_endpoint
        key: Any = id(endpoint)
        if included is not None:
            memory, key = self.by_inclusion, (id(endpoint if route is None else route), id(included))
        elif route is not None:
            memory, key = self.by_route, id(route)
        elif is_mounted:
            memory = self.mounted
        if len(memory) >= MOST_REMEMBERED:
            memory.clear()
        memory[key] = leaf
        return leaf

    def _inspect(self) -> dict[int, list[Any]]:
        """Give every foreign route, and the router's own default, a handler that decides first."""
        router = self.router
        if self._default is not router.default:
            if getattr(router.default, "__func__", None) is not Router.not_found:
                router.default = guarded_default(router.default)
            self._default = router.default
        return self._places.in_router(router)


def instrument(router: Router) -> InnerGuard:
    """Put a router under guard, once.

    Raises:
        ConfigurationError: it dispatches in a way that the guard does not know, or middleware hides its dispatch.
    """
    present = vars(router).get(_GUARD_OF_ROUTER)
    if isinstance(present, InnerGuard):
        return present
    fastapi = sys.modules.get("fastapi")
    if fastapi is not None and hasattr(fastapi, "FastAPI"):
        learn_fastapi(fastapi.routing, fastapi.FastAPI)
    if not dispatches_as_known(router):
        raise ConfigurationError(f"{type(router).__name__} dispatches by code of its own, which the guard cannot watch")
    holder, name = innermost_position(router)
    guard = InnerGuard(getattr(holder, name), router)
    setattr(holder, name, guard)
    setattr(router, _GUARD_OF_ROUTER, guard)
    return guard


async def _is_answered(scope: Scope, send: Send, state: GuardState) -> bool:
    """Answer a preflight, and a request that middleware has given another method than the one that was judged."""
    if state.safe_only and scope.get("method") not in SAFE_METHODS:
        await refuse(CsrfFailed("The method was changed on the way."), scope, send, state)
        return True
    answer = preflight_answer(scope, state.gate.cors)
    if answer is None:
        return False
    state.mark_decided()
    await send_answer(scope, send, answer)
    return True


async def refuse(error: LimenError, scope: Scope, send: Send, state: GuardState) -> None:
    """Answer an error as problem details; the application's exception handlers neither swallow nor restyle it.

    Raises:
        LimenError: the answer has begun already.
    """
    if state.answered:
        raise error
    state.mark_decided()
    await send_problem(scope, send, error, state.request_id, challenges=state.gate.challenges)
