"""The effective tree of any Starlette or FastAPI application: every leaf that its routers can enter.

Newer FastAPI keeps included routers and makes their routes when they are asked for; older ones copy routes. A flat walk
of ``app.routes`` sees neither what is included lazily nor what is mounted, and passes. So routers are asked for what
they would match, all the way down.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from starlette.middleware import Middleware
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

_DEEPEST: Final = 32
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete", "options")
"""What Starlette's class views serve (its ``HTTPEndpoint``)."""


@dataclass(frozen=True, slots=True)
class SeenRoute:
    """One leaf, with its live objects.

    Attributes:
        path: from the root of the application.
        kind: ``http``, ``websocket``, ``static``, ``pages``, ``mount`` or ``opaque``.
        methods: the HTTP methods; empty for all.
        endpoint: what was registered; an application where it was mounted.
        dependant: FastAPI's tree of dependencies, or None.
        shape: what has FastAPI's response model; None for other frameworks' routes.
        middleware: what stands around it below the application: that of mounts, of mounted applications, of routes.
        route: the route as it was registered.
        overrides: what its application puts in the place of dependencies; None where that is not known yet.
    """

    path: str
    kind: str
    methods: tuple[str, ...]
    endpoint: Any
    dependant: Any = None
    shape: Any = None
    middleware: tuple[Middleware, ...] = ()
    route: Any = None
    overrides: Mapping[Any, Any] | None = None


class Within(Middleware):
    """Middleware of an application that is mounted somewhere.

    Attributes:
        root: where, as its ``root_path`` says; None where that is not known.
    """

    def __init__(self, known: Middleware, root: str | None) -> None:
        options: Any = dict(known.kwargs)
        super().__init__(known.cls, *known.args, **options)
        self.root = root


def seen_routes(app: Any) -> Iterator[SeenRoute]:
    """Yield every leaf of an application, in the order in which its routers look at them."""
    yield from _overridden(_of_router(_router_of(app), "", (), 0), app)


def _overridden(routes: Iterator[SeenRoute], app: Any) -> Iterator[SeenRoute]:
    """Say of the routes of an application what it puts in the place of their dependencies."""
    overrides = getattr(app, "dependency_overrides", None)
    for seen in routes:
        is_new = seen.overrides is None and isinstance(overrides, Mapping)
        yield replace(seen, overrides=overrides) if is_new else seen


def _router_of(app: Any) -> Any:
    return app if isinstance(app, Router) else getattr(app, "router", app)


def _of_router(router: Any, prefix: str, around: tuple[Middleware, ...], depth: int) -> Iterator[SeenRoute]:
    if depth > _DEEPEST or any(each is router for each in _inside):
        return  # an application that is mounted in itself answers nothing new
    _inside.append(router)
    yield from _of_routes(router, prefix, around, depth)
    _inside.pop()


_inside: list[Any] = []
"""The routers that are being walked through, the outermost first."""


def _of_routes(router: Any, prefix: str, around: tuple[Middleware, ...], depth: int) -> Iterator[SeenRoute]:
    around = (*around, *_between(getattr(router, "middleware_stack", None), getattr(router, "app", None)))
    for route in getattr(router, "routes", None) or ():
        yield from _of_route(route, prefix, around, depth)
    for group in getattr(router, "_low_priority_routes", None) or ():
        yield from _of_frontends(group, prefix, around)


def _of_route(route: Any, prefix: str, around: tuple[Middleware, ...], depth: int) -> Iterator[SeenRoute]:
    if hasattr(route, "effective_candidates"):
        yield from _of_included(route, prefix, around, depth)
    elif isinstance(route, Mount | Host):
        yield from _of_mount(route, prefix, around, depth)
    elif isinstance(route, WebSocketRoute):
        dependant = getattr(route, "dependant", None)
        around = (*around, *_between(route.app, None))
        yield SeenRoute(prefix + route.path, "websocket", (), route.endpoint, dependant, None, around, route)
    elif isinstance(route, Route):
        yield from _of_http(route, prefix, around)
    else:
        path = prefix + str(getattr(route, "path", "") or f"<{type(route).__name__}>")
        yield SeenRoute(path, "opaque", (), getattr(route, "endpoint", route), None, None, around)


def _of_http(shape: Any, prefix: str, around: tuple[Middleware, ...]) -> Iterator[SeenRoute]:
    path = prefix + shape.path
    route = getattr(shape, "original_route", shape)
    around = (*around, *_between(route.app, None))
    if inspect.isclass(shape.endpoint) and not shape.methods:
        # Each method of a class has code of its own: a guarded get says nothing of the post beside it.
        for method in _methods_of_view(shape.endpoint) or ((),):
            yield SeenRoute(path, "http", method, shape.endpoint, None, None, around, route)
        return
    methods = tuple(sorted(set(shape.methods or ()) - {"HEAD"} or set(shape.methods or ())))
    dependant = getattr(shape, "dependant", None)
    kind = "pages" if is_framework_page(shape.endpoint) else "http"
    has_shape = shape if dependant is not None else None
    yield SeenRoute(path, kind, methods, shape.endpoint, dependant, has_shape, around, route)


def _methods_of_view(view: type) -> tuple[tuple[str], ...]:
    return tuple((name.upper(),) for name in _METHODS if callable(getattr(view, name, None)))


def _of_included(included: Any, prefix: str, around: tuple[Middleware, ...], depth: int) -> Iterator[SeenRoute]:
    for candidate in _candidates(included):
        if hasattr(candidate, "effective_candidates"):
            yield from _of_included(candidate, prefix, around, depth + 1)
        elif candidate.starlette_route is not None:
            for seen in _of_route(candidate.starlette_route, prefix, around, depth + 1):
                yield _with_dependencies(seen, candidate)
        elif candidate.endpoint is not None:
            if isinstance(candidate.original_route, WebSocketRoute):
                path = prefix + candidate.path
                yield SeenRoute(path, "websocket", (), candidate.endpoint, candidate.dependant, None, around)
            else:
                yield from _of_http(candidate, prefix, around)
    for context in getattr(included, "effective_low_priority_routes", tuple)():
        group = context.starlette_route or context.original_route
        yield from _of_frontends(group, prefix + getattr(context, "frontend_prefix", ""), around)


def _candidates(included: Any) -> Iterable[Any]:
    try:
        from limen.checklist.routes.included import candidates
    except ImportError:  # a FastAPI in which that has another name
        found: Iterable[Any] = included.effective_candidates()
        return found
    return candidates(included)


def _with_dependencies(seen: SeenRoute, candidate: Any) -> SeenRoute:
    """Give a WebSocket of FastAPI's the dependencies of the routers that include it."""
    dependant = getattr(candidate, "dependant", None) or getattr(candidate.starlette_route, "dependant", None)
    return replace(seen, dependant=dependant) if seen.kind == "websocket" and dependant is not None else seen


def _of_mount(route: Any, prefix: str, around: tuple[Middleware, ...], depth: int) -> Iterator[SeenRoute]:
    name = prefix + (route.path if isinstance(route, Mount) else f"<{route.host}>")
    # What was mounted, without what the mount's own middleware wraps it in.
    app = getattr(route, "_base_app", None) or route.app
    root = None if "{" in name or "<" in name or getattr(app, "root_path", None) else name
    own = [Within(each, root) for each in getattr(app, "user_middleware", None) or ()]
    around = (*around, *_between(route.app, getattr(route, "_base_app", None)), *own)
    if isinstance(app, StaticFiles):
        yield SeenRoute(name or "/", "static", ("GET",), app, None, None, around)
        return
    router = _router_of(app)
    if getattr(router, "routes", None) is None:
        yield SeenRoute(name or "/", "mount", (), app, None, None, around)
        return
    yield from _overridden(_of_router(router, name, around, depth + 1), app)


def _between(outer: Any, base: Any) -> tuple[Middleware, ...]:
    """Return the middleware that was wrapped around something, the outermost first; ``base`` is what it is around."""
    found: list[Middleware] = []
    while outer is not None and outer is not base and not inspect.isroutine(outer) and len(found) < 16:
        inner = getattr(outer, "app", None)
        if inner is None:
            break
        kind: Any = type(outer)
        found.append(Middleware(kind, **_options_of(outer)))
        outer = inner
    return tuple(found)


def _options_of(middleware: Any) -> dict[str, Any]:
    """Return the options of a middleware that is already made, as far as it is asked for them."""
    found = {"backend": middleware.backend} if hasattr(middleware, "backend") else {}
    dispatch = getattr(middleware, "dispatch_func", None)
    return found | ({"dispatch": dispatch} if inspect.isfunction(dispatch) else {})


def _of_frontends(group: Any, prefix: str, around: tuple[Middleware, ...]) -> Iterator[SeenRoute]:
    for frontend in getattr(group, "routes", ()):
        yield SeenRoute(prefix + frontend.path, "static", ("GET",), frontend, None, None, around)


def is_framework_page(endpoint: object) -> bool:
    """Tell whether it is one of the pages that FastAPI makes of the schema: /docs, /redoc, /openapi.json."""
    is_fastapi = getattr(endpoint, "__module__", None) == "fastapi.applications"
    return is_fastapi and "FastAPI.setup" in getattr(endpoint, "__qualname__", "")
