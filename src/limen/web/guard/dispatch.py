"""The inner position of the guard: around the dispatch of a router, inside all its middleware.

The router dispatches by its own code, with something in place of its routes that decides before it hands over
(`limen.web.guard.stand_in`). That a router asks its routes in such a way is a habit, not a promise: the answer is
sealed besides (`limen.web.guard.outer`), and the guard tests itself at start (`limen.web.guard.selftest`).
"""

import logging
import sys
from contextlib import suppress
from typing import Any

from starlette.routing import Host, Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.authn.cookie import SAFE_METHODS
from limen.core import metrics, telemetry
from limen.core.errors import ConfigurationError, LimenError, PolicyDenied
from limen.core.principal import PrincipalKind
from limen.guard.policies import LoadedPolicies
from limen.guard.requirements import Requirement
from limen.web.guard.answering import is_answered, refuse
from limen.web.guard.asking import AskFirst, ask
from limen.web.guard.dependants import read_dependencies
from limen.web.guard.inclusions import check_included, guarded_inclusion, is_included
from limen.web.guard.leaves import (
    Leaf,
    dispatches_as_known,
    innermost_position,
    is_framework_page,
    learn_fastapi,
    make_leaf,
    names_endpoint,
)
from limen.web.guard.limits import Told
from limen.web.guard.marks import NOTHING_STATED
from limen.web.guard.own_code import KeptBackError, Observed
from limen.web.guard.own_routes import OwnRoutes
from limen.web.guard.policies import Unanswered
from limen.web.guard.rules import name_below
from limen.web.guard.stand_in import StandIn
from limen.web.guard.state import GUARD_KEY, GuardState
from limen.web.problems import send_problem
from limen.web.tracing import traced_decision

MOST_REMEMBERED = 20_000
"""What one router remembers; routes that are made and thrown away again must not fill the memory."""

_GUARD_OF_ROUTER = "limen_guard"

_ANONYMOUS = PrincipalKind.ANONYMOUS
_ALLOWED = metrics.GUARD_DECISIONS.tally("allowed", "")

_log = logging.getLogger("limen.guard")


class InnerGuard:
    """Stands around the dispatch of one router, inside all its middleware.

    Args:
        app: the router's dispatch.
        router: the router.

    Attributes:
        leaves: the leaves behind the router's own routes, by the identity of the route.
        included: the same for routers that FastAPI keeps as included, by the identity of both.
        own: limen's own routes, in front of the router's.
    """

    def __init__(self, app: ASGIApp, router: Router) -> None:
        self.app = app
        self.router = router
        self.leaves: dict[int, Leaf] = {}
        self.included: dict[tuple[int, int], Leaf] = {}
        self.own: OwnRoutes | None = None
        self._own_leaves: dict[int, Leaf] = {}
        self._inclusions: dict[int, Any] = {}
        self._dispatch: Any = type(router).app
        self._stand_in = StandIn(self, router)
        if (tracer := telemetry.tracer()) is not None:
            vars(self)["decide"] = traced_decision(self.decide, tracer, AskFirst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection, and decide on the way."""
        state = scope.get(GUARD_KEY)
        if type(state) is not GuardState:
            await self._serve_without_state(scope, receive, send)
            return
        state.entered = True
        if state.parent is not None:
            state.parent.mark_entered()
        method = scope.get("method")
        is_other = state.safe_only and method not in SAFE_METHODS
        if (is_other or method == "OPTIONS") and await is_answered(scope, send, state):
            return
        if "router" not in scope:
            scope["router"] = self.router
        try:
            await self._dispatch(self._stand_in, scope, receive, send)
        except AskFirst as needed:
            await self._ask_and_enter(needed, scope, receive, send)
        except LimenError as error:
            await refuse(error, scope, send, state)

    def decide(self, state: GuardState, leaf: Leaf, scope: Scope) -> None:
        """Decide a leaf that is about to be entered.

        Raises:
            LimenError: the request may not enter it.
            AskFirst: the store, or code of the application's, has to be asked first.
        """
        met, principal = leaf.met_by, state.principal
        # Sound because sets of roles and of permissions never change, and neither do loaded policies; a plain leaf asks
        # for nothing else.
        if (
            met is not None
            and met[0] is principal.roles
            and met[1] is principal.permissions
            and met[2] is state.gate.loaded_policies
            and principal.kind is not _ANONYMOUS
            and state.parent is None
        ):
            state.endpoint = leaf.endpoint
            state.decided, state.is_open = True, leaf.requirement.public
            _ALLOWED.number += 1
        else:
            self._decide_anew(state, leaf, scope)

    def _decide_anew(self, state: GuardState, leaf: Leaf, scope: Scope) -> None:
        """Decide what takes more than one look: mounts, class views, live checks, opaque leaves."""
        if leaf.router is not None:
            instrument(leaf.router)
            name = name_below(state.below, leaf.route)
            self._decide(state, leaf, leaf.requirement, is_final=False)
            if isinstance(leaf.route, Mount | Host) and not names_endpoint(leaf.route):
                # Code of its own stands before what is mounted.
                self.decide_declared(state, None, name)
            state.below = name
        elif leaf.declared_by_path:
            self.decide_declared(state, leaf, name_below(state.below, leaf.route))
        elif leaf.contradiction:
            raise self._contradiction(leaf, state)
        else:
            loaded = state.gate.loaded_policies
            self._decide(state, leaf, leaf.required_for(scope.get("method", "")), is_final=True)
            if leaf.is_plain and state.principal.is_authenticated and _is_remembered(leaf, loaded):
                leaf.met_by = (state.principal.roles, state.principal.permissions, loaded)

    def enter_without_endpoint(self, state: GuardState, route: Any) -> ASGIApp:
        """Return what handles a route that does not name its endpoint, after deciding.

        An included router of FastAPI names it later, and it is decided then. Anything else is a foreign route.

        Raises:
            LimenError: no rule is declared for the foreign route, or the request does not meet it.
            ConfigurationError: the included router is entered by code of its own.
        """
        if is_included(route):
            return self._inclusion_of(route).handle  # type: ignore[no-any-return]
        self.decide_foreign(state, route)
        return route.handle  # type: ignore[no-any-return]

    def enter_included(self, included: Any, scope: Scope) -> Any:
        """Return what an included router found for a request that is about to enter it, after deciding.

        Raises:
            LimenError: the request may not enter the leaf.
            AskFirst: the store, or code of the application's, has to be asked first.
            ConfigurationError: what was found is entered by code of its own.
        """
        found = match, child, route, context = included._match(scope)
        state: GuardState = scope[GUARD_KEY]
        if is_included(route):
            return match, child, self._inclusion_of(route), context
        endpoint = child.get("endpoint")
        if endpoint is None:
            check_included(included, route)
            raise _counted(state.undeclared())
        leaf = self.included.get((id(route), id(included)))
        if leaf is None or leaf.route is not route or leaf.included is not included or leaf.endpoint is not endpoint:
            leaf = self.leaf_of(route, endpoint, included, child)
        try:
            self.decide(state, leaf, scope)
        except AskFirst as needed:
            needed.child = child
            raise
        return found

    def enter_frontend(self, state: GuardState, scope: Scope, child: Scope) -> None:
        """Decide what FastAPI found when no route matched: a frontend is denied until declared.

        Raises:
            LimenError: no rule is declared for it, or the request does not meet it.
        """
        frontend = child.get("fastapi", {}).get("frontend_path")
        if frontend is None:
            raise _counted(state.undeclared())
        # Frontends are found by their very path, without parameters, so what was matched is also their name.
        path, root = str(scope["path"]), str(scope.get("root_path", ""))
        start = len(root) if path == root or path.startswith(root + "/") else 0
        self.decide_declared(state, None, state.below + path[start : len(path) - len(frontend)])

    def decide_foreign(self, state: GuardState, route: Any) -> None:
        """Decide a leaf of which nothing is known but the route: it is denied until declared.

        Raises:
            LimenError: no rule is declared, or the request does not meet it.
        """
        self.decide_declared(state, None, name_below(state.below, route))

    def decide_declared(self, state: GuardState, leaf: Leaf | None, name: str) -> None:
        """Decide a leaf that the guard cannot see into, by the rule for its name.

        Raises:
            LimenError: no rule is declared, or the request does not meet it.
            AskFirst: the store, or code of the application's, has to be asked first.
        """
        declared = state.rules.find(name)
        if declared is None:
            raise _counted(state.undeclared())
        if leaf is not None:
            if leaf.contradiction or not leaf.requirement.public:
                if leaf.contradiction or (declared.public and not is_framework_page(leaf.endpoint)):
                    raise self._contradiction(leaf, state)
                if not declared.public:
                    declared &= leaf.requirement
            declared = declared.limited(leaf.requirement.limits)
        if declared.is_asked and leaf is None:
            raise _counted(PolicyDenied("Nothing can be asked first for this path."))
        self._decide(state, leaf, declared, is_final=True)
        state.below = name

    # --- deciding

    def _decide(self, state: GuardState, leaf: Leaf | None, requirement: Requirement, *, is_final: bool) -> None:
        error = state.refusal(requirement)
        if error is not None:
            raise _counted(error)
        if leaf is not None and state.asked_leaf is leaf:
            # It was asked for this very entering: middleware may dispatch a request twice, with another path.
            state.asked_leaf = None
        elif leaf is not None and (
            requirement.is_asked or state.must_wait(requirement, hands_out_principal=leaf.hands_out_principal)
        ):
            raise AskFirst(leaf, requirement)
        else:
            error = state.denial(requirement)
            if error is not None:
                raise _counted(error)
        if is_final:
            _ALLOWED.number += 1
            state.mark_decided(None if leaf is None else leaf.endpoint, is_open=requirement.public)

    def _contradiction(self, leaf: Leaf, state: GuardState) -> LimenError:
        _log.error(
            "what is declared for a route contradicts itself; nobody gets in",
            extra={"endpoint": repr(leaf.endpoint), "request_id": state.request_id},
        )
        return _counted(PolicyDenied("What is declared for this route contradicts itself."))

    async def _ask_and_enter(self, needed: AskFirst, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, then decide once more about the route that was found; only this very leaf, and only once."""
        state: GuardState = scope[GUARD_KEY]
        leaf, requirement = needed.leaf, needed.requirement
        found, below = state.found, state.below
        told = Told(send) if requirement.limits else None
        if told is not None:
            send = told.send
        if requirement.loading:
            send = Unanswered(send, scope, state, requirement.loading).send
        observed = Observed(send, requirement.intercepts)
        try:
            try:
                await ask(needed, scope, told, observed)
            except LimenError as error:
                _counted(error)
                raise
            state.asked_leaf = leaf
            state.found, state.below = found, below
            await self._stand_in.handle(scope, receive, observed.or_nothing)
            observed.require_whole(state)
        except AskFirst:
            _log.error("after a leaf was asked for, another one was reached", extra={"request_id": state.request_id})
            await refuse(_counted(PolicyDenied()), scope, send, state)
        except LimenError as error:
            if not observed.failed:
                with suppress(KeptBackError):
                    await refuse(error, scope, observed.or_nothing, state)
            if observed.failed:
                await refuse(LimenError(), scope, send, state)

    async def _serve_without_state(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        _log.error("a guarded router was reached without the guard's state: protect(app) does not stand around it")
        await send_problem(scope, send, LimenError(), "")

    # --- leaves

    def leaf_of(self, route: Any, endpoint: object, included: Any = None, child: Scope | None = None) -> Leaf:
        """Return the leaf behind a route, looked at anew, and remember it.

        Args:
            route: the route that is entered.
            endpoint: what it hands over to; limen's own routes have many.
            included: the included router by which it is reached, or None.
            child: what the route adds to the scope, where there is a request.

        Raises:
            ConfigurationError: it stands in an included router, and matches by code of its own.
        """
        if route is self.own:
            known = self._own_leaves.get(id(endpoint))
            if known is not None and known.endpoint is endpoint:
                return known
        if included is not None:
            check_included(included, route)
        is_mounted = isinstance(route, Mount | Host)
        dependencies = getattr(self.router, "dependencies", None)
        is_api = hasattr(route, "dependant")
        leaf = make_leaf(
            endpoint,
            route=route,
            included=included,
            is_mounted=is_mounted or (child is not None and "app_root_path" in child),
            is_foreign=route is not self.own and not names_endpoint(route),
            # Middleware of a mount stands in front of what was mounted; the guard stands behind it.
            mounted=getattr(route, "_base_app", endpoint) if is_mounted else endpoint,
            router_states=read_dependencies(dependencies) if dependencies and not is_api else NOTHING_STATED,
        )
        if included is not None:
            _remember(self.included, (id(route), id(included)), leaf)
        elif route is self.own:
            _remember(self._own_leaves, id(endpoint), leaf)
        else:
            _remember(self.leaves, id(route), leaf)
        return leaf

    def _inclusion_of(self, included: Any) -> Any:
        inclusion = self._inclusions.get(id(included))
        if inclusion is None or inclusion.limen_included is not included:
            check_included(included)
            inclusion = guarded_inclusion(included, self.enter_included)
            _remember(self._inclusions, id(included), inclusion)
        return inclusion


def _is_remembered(leaf: Leaf, loaded: LoadedPolicies | None) -> bool:
    """Tell whether those who met a plain leaf once meet it again: no policy has a say, and nothing is to be loaded."""
    if loaded is None:
        return True
    return loaded.facts_of(leaf.requirement).by_names and not (leaf.hands_out_principal and loaded.reads_attributes)


def _counted(error: LimenError) -> LimenError:
    """Count a refusal that is about to be raised."""
    metrics.GUARD_DECISIONS.add("refused", error.code)
    return error


def _remember(memory: dict[Any, Any], key: Any, what: Any) -> None:
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    memory[key] = what


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
