"""The leaves of an application: what ends a dispatch, what it requires, and how a router is put under guard."""

import functools
import inspect
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from limen.core.errors import ConfigurationError
from limen.guard.limits import name_of_endpoint
from limen.guard.requirements import AUTHENTICATED, PUBLIC, Question, Requirement
from limen.web.guard.dependants import read_dependencies, read_route, takes_principal_by_dependency
from limen.web.guard.hidden import hidden_in_endpoint
from limen.web.guard.marks import NOTHING_STATED, Statement, read_marks, read_method_marks
from limen.web.guard.rules import name_below
from limen.web.guard.wrapping import takes_principal

KNOWN_MATCHES: list[Any] = [Route.matches, WebSocketRoute.matches, Mount.matches, Host.matches]
"""Functions that name the endpoint when they match, so that the guard sees it before it runs."""

KNOWN_DISPATCH: list[Any] = [Router.app]
"""Functions that dispatch as the guard expects it, and as its self-test checks."""

KNOWN_CALLS: list[Any] = [(Starlette.__call__, Starlette.build_middleware_stack)]
"""How applications take a connection and hand it through their middleware to their router."""

KNOWN_INCLUSIONS: list[Any] = []
"""How routers that FastAPI keeps as included find and enter their routes."""

KNOWN_INCLUDED: list[type] = []
"""What FastAPI keeps included routers as."""


@dataclass(eq=False, slots=True)
class Leaf:
    """What ends a dispatch, and what is required there.

    Attributes:
        endpoint: what was registered.
        route: the route that leads to it.
        included: FastAPI's included router by which it was reached; None without one.
        requirement: what must hold.
        stated: what the code says about it.
        declared_by_path: it is opaque: only a rule for its path can open it.
        router: a mounted router, which decides itself further down; the requirement is then what its mount adds.
        by_method: for a class view, what its methods require besides, by HTTP method.
        contradiction: `public` stands beside a restriction, or a declaration is hidden: nobody gets in.
        is_plain: roles and permissions alone decide.
        hands_out_principal: its handler is given the principal, and may ask policies about it.
        met_by: the roles, the permissions and the policies that met it last; one tuple, so that no two threads mix
            theirs.
    """

    endpoint: object
    route: Any = None
    included: Any = None
    requirement: Requirement = AUTHENTICATED
    stated: Statement = NOTHING_STATED
    declared_by_path: bool = False
    router: Router | None = None
    by_method: dict[str, Requirement] | None = None
    contradiction: bool = False
    hands_out_principal: bool = False
    is_plain: bool = field(init=False)
    met_by: tuple[frozenset[str], frozenset[str], object] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        many = self.declared_by_path or self.contradiction or self.router is not None or self.by_method is not None
        self.is_plain = not many and self.requirement.is_by_names

    @property
    def all_questions(self) -> tuple[Question, ...]:
        """What it asks the policies, whatever the method: a class view by all of its methods."""
        asked = self.requirement.questions
        if self.by_method is not None:
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                asked += self.required_for(method).questions
        return tuple(dict.fromkeys(asked))

    def name_below(self, above: str) -> str:
        """Return what counts for this leaf are called by, the same in each process that runs the same code.

        Args:
            above: the name of the mount it is below; a mount itself is called by its path.
        """
        if self.router is not None or self.declared_by_path:
            return name_below(above, self.route)
        return name_of_endpoint(self.endpoint)

    def required_for(self, method: str) -> Requirement:
        """Return what must hold for this HTTP method."""
        if self.by_method is None:
            return self.requirement
        requirement = self.by_method.get(method)
        if requirement is None:
            stated = read_method_marks(self.endpoint, method)  # type: ignore[arg-type]
            requirement = self.requirement.limited(stated.limits)
            if stated.restriction is not None and not requirement.public:
                requirement &= stated.restriction
            if len(self.by_method) < 32:  # methods are the caller's to invent
                self.by_method[method] = requirement
        return requirement


def make_leaf(
    endpoint: object,
    *,
    route: Any,
    included: Any,
    is_mounted: bool,
    is_foreign: bool,
    mounted: object,
    router_states: Statement,
) -> Leaf:
    """Return the leaf behind an endpoint that a router is about to enter.

    Args:
        endpoint: what the router hands over to.
        route: the route that leads to it; one of FastAPI's has the tree of dependencies.
        included: the included router by which it was reached, or None.
        is_mounted: it was mounted as an application, not registered as an endpoint.
        is_foreign: the route matches by code of its own. What it names may not be what it runs, so a rule has to be
            declared for it, and what is stated about the endpoint holds besides.
        mounted: what was mounted, without the middleware of its mount; otherwise the endpoint.
        router_states: what the dependencies of the application's router state; FastAPI puts them into its own routes,
            and the guard asks them of every other leaf as well.
    """
    if hasattr(route, "dependant"):
        stated = read_marks(endpoint) & read_route(route, included)
        return (_foreign_leaf if is_foreign else _stated_leaf)(endpoint, route, included, stated)
    around = router_states
    if included is not None:
        around &= read_dependencies(included.include_context.dependencies)
        around &= read_dependencies(included.original_router.dependencies)
    router = router_of(mounted)
    if router is not None:
        return Leaf(endpoint, route, included, around.required(PUBLIC), around, router=router)
    if is_mounted or is_opaque(endpoint) or is_framework_page(endpoint):
        return Leaf(endpoint, route, included, around.required(PUBLIC), around, declared_by_path=True)
    hidden = hidden_in_endpoint(endpoint)
    stated = read_marks(endpoint) & Statement(restriction=around.restriction, limits=around.limits)
    stated &= Statement(contradiction=bool(hidden), hidden=hidden)
    return (_foreign_leaf if is_foreign else _stated_leaf)(endpoint, route, included, stated)


def _foreign_leaf(endpoint: object, route: Any, included: Any, stated: Statement) -> Leaf:
    requirement = stated.required(PUBLIC)
    return Leaf(
        endpoint, route, included, requirement, stated, declared_by_path=True, contradiction=stated.contradiction
    )


def _stated_leaf(endpoint: object, route: Any, included: Any, stated: Statement) -> Leaf:
    requirement = stated.required(PUBLIC if stated.public else AUTHENTICATED)
    view = inspect.isclass(endpoint) and issubclass(endpoint, HTTPEndpoint)
    handed = takes_principal(endpoint) or takes_principal_by_dependency(route)
    return Leaf(
        endpoint,
        route,
        included,
        requirement,
        stated,
        by_method={} if view else None,
        contradiction=stated.contradiction,
        hands_out_principal=handed,
    )


def router_of(app: object) -> Router | None:
    """Return the router of an application that the guard can see into; None for one that it cannot."""
    if isinstance(app, Starlette) and not calls_as_known(app):
        return None
    router = app.router if isinstance(app, Starlette) else app
    return router if isinstance(router, Router) and dispatches_as_known(router) else None


def calls_as_known(app: Starlette) -> bool:
    """Tell whether the class of the application reaches its router by the framework's own code, and by nothing else."""
    return (type(app).__call__, type(app).build_middleware_stack) in KNOWN_CALLS


def dispatches_as_known(router: Router) -> bool:
    """Tell whether the router dispatches by the framework's own code."""
    kind = type(router)
    return kind.__call__ is Router.__call__ and kind.app in KNOWN_DISPATCH and "app" not in vars(router)


def includes_as_known(router: Any) -> bool:
    """Tell whether a router that was included enters its routes by the framework's own code."""
    own = vars(router)
    return (type(router).matches, type(router).handle) in KNOWN_INCLUSIONS and not {"matches", "handle"} & own.keys()


def is_opaque(endpoint: object) -> bool:
    """Tell whether the endpoint is an ASGI application of its own: neither a function nor a class view."""
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    return not (inspect.isroutine(endpoint) or inspect.isclass(endpoint))


def is_framework_page(endpoint: object) -> bool:
    """Tell whether it is one of the pages that FastAPI makes itself: /docs, /redoc, /openapi.json."""
    module = getattr(endpoint, "__module__", None)
    return module == "fastapi.applications" and "FastAPI.setup" in getattr(endpoint, "__qualname__", "")


def names_endpoint(route: object) -> bool:
    """Tell whether a route names its endpoint when it matches, by the framework's own code.

    What a mount names may be a router, which decides later: until then only the framework's code may run.
    """
    if isinstance(route, Mount | Host) and (
        type(route).handle not in {Mount.handle, Host.handle} or "handle" in vars(route)
    ):
        return False
    return type(route).matches in KNOWN_MATCHES and "matches" not in vars(route)  # type: ignore[attr-defined]


def learn_fastapi(routing: Any, application: Any) -> None:
    """Let the guard know FastAPI's routes, routers and applications."""
    known = (routing.APIRoute.matches, routing.APIWebSocketRoute.matches)
    included = getattr(routing, "_IncludedRouter", None)
    group = getattr(routing, "_FrontendRouteGroup", None)
    for matches in (*known, *(each.matches for each in (included, group) if each is not None)):
        if matches not in KNOWN_MATCHES:
            KNOWN_MATCHES.append(matches)
    if routing.APIRouter.app not in KNOWN_DISPATCH:
        KNOWN_DISPATCH.append(routing.APIRouter.app)
    calls = (application.__call__, application.build_middleware_stack)
    if calls not in KNOWN_CALLS:
        KNOWN_CALLS.append(calls)
    if included is not None and included not in KNOWN_INCLUDED:
        KNOWN_INCLUDED.append(included)
        KNOWN_INCLUSIONS.append((routing.APIRouter.matches, routing.APIRouter.handle))


def innermost_position(router: Router) -> tuple[object, str]:
    """Return the object and the name of its attribute that holds the router's own dispatch.

    A router may have middleware of its own, which may copy the scope: the guard has to stand inside of it.

    Raises:
        ConfigurationError: a middleware hides what it wraps.
    """
    holder: object = router
    name = "middleware_stack"
    while True:
        inner = getattr(holder, name, None)
        if inner is None:
            raise ConfigurationError(
                f"the guard cannot stand inside {type(holder).__name__}, a middleware of a router: it has no attribute "
                "'app'; put the middleware on the application instead"
            )
        if inner == router.app:
            return holder, name
        holder, name = inner, "app"


def stands_inside(guard: object, router: Router) -> bool:
    """Tell whether the guard of a router is still what its dispatch goes through.

    Raises:
        ConfigurationError: a middleware hides what it wraps.
    """
    return innermost_position(router)[0] is guard
