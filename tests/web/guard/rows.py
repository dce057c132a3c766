"""Every way into an application: each row puts one leaf that only a checker may enter behind a path."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import fastapi.routing
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from limen.core.principal import Principal
from limen.fastapi import live, permissions, roles
from tests.web.guard.kit import CopyingMiddleware, Counted

FRONTEND = hasattr(FastAPI, "frontend")
only_checkers = roles("checker")


class ForeignRoute(BaseRoute):
    """A route of somebody else's, which does not name its endpoint when it matches."""

    def __init__(self, path: str, counted: Counted) -> None:
        self.path = path
        self.counted = counted

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == self.path else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.counted.application("foreign")(scope, receive, send)


class NamingRoute(Route):
    """A route that matches by code of its own: what it names need not be what it runs."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope)


class OwnRouteClass(APIRoute):
    """A route class of the application's, as FastAPI's manual shows it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        return super().get_route_handler()


@dataclass(frozen=True)
class Row:
    """One way in.

    Attributes:
        name: what it is.
        add: puts it into an application.
        path: where it is then.
        method: ``SOCKET`` for a WebSocket.
        opaque: the path for which a rule must be declared; None where the leaf carries its own mark.
        host: the Host header by which it is reached.
    """

    name: str
    add: Callable[[Any, Counted], None]
    path: str = "/leaf"
    method: str = "GET"
    opaque: str | None = None
    only_fastapi: bool = True
    host: str = "app.example"


def _direct(app: Any, counted: Counted) -> None:
    app.get("/leaf")(only_checkers(counted.handler()))


def _synchronous(app: Any, counted: Counted) -> None:
    def leaf() -> str:
        counted.ran.append("leaf")
        return ""

    app.get("/leaf")(only_checkers(leaf))


def _permission(app: Any, counted: Counted) -> None:
    app.get("/leaf")(permissions("order:approve", "order:read")(counted.handler()))


def _any_permission(app: Any, counted: Counted) -> None:
    app.get("/leaf")(permissions.any("order:approve", "order:delete")(counted.handler()))


def _live(app: Any, counted: Counted) -> None:
    app.get("/leaf")(live(only_checkers(counted.handler())))


def _dependency(app: Any, counted: Counted) -> None:
    app.get("/leaf", dependencies=[only_checkers])(counted.handler())


def _annotation(app: Any, counted: Counted) -> None:
    async def leaf(me: Annotated[Principal, only_checkers]) -> str:
        counted.ran.append(me.sub)
        return me.sub

    app.get("/leaf")(leaf)


def _shadowed_annotation(app: Any, counted: Counted) -> None:
    """FastAPI takes the last of several annotations; the guard takes them all."""

    async def leaf(me: Annotated[Principal, only_checkers, live]) -> str:
        counted.ran.append(me.sub)
        return me.sub

    app.get("/leaf")(leaf)


def _sub_dependency(app: Any, counted: Counted) -> None:
    async def somebody(me: Annotated[Principal, only_checkers]) -> str:
        return me.sub

    async def leaf(sub: Annotated[str, Depends(somebody)]) -> str:
        counted.ran.append(sub)
        return sub

    app.get("/leaf")(leaf)


def _marked_dependency(app: Any, counted: Counted) -> None:
    @only_checkers
    async def somebody(request: Request) -> str:
        return request.url.path

    app.get("/leaf", dependencies=[Depends(somebody)])(counted.handler())


def _depends_on_the_object(app: Any, counted: Counted) -> None:
    app.get("/leaf", dependencies=[Depends(only_checkers)])(counted.handler())


def _included(app: Any, counted: Counted) -> None:
    router = APIRouter()
    router.get("/leaf")(only_checkers(counted.handler()))
    app.include_router(router, prefix="/in")


def _included_late(app: Any, counted: Counted) -> None:
    router = APIRouter()
    app.include_router(router, prefix="/in")
    router.get("/leaf")(only_checkers(counted.handler()))
    if not hasattr(fastapi.routing, "_IncludedRouter"):
        app.include_router(router, prefix="/in")  # older ones copy the routes when the router is included


def _include_dependency(app: Any, counted: Counted) -> None:
    router = APIRouter()
    router.get("/leaf")(counted.handler())
    app.include_router(router, prefix="/in", dependencies=[only_checkers])


def _include_deep_dependency(app: Any, counted: Counted) -> None:
    async def somebody(me: Annotated[Principal, only_checkers]) -> None:
        assert me.is_authenticated

    inner, outer = APIRouter(), APIRouter()
    inner.get("/leaf")(counted.handler())
    outer.include_router(inner, prefix="/deep")
    app.include_router(outer, prefix="/in", dependencies=[Depends(somebody)])


def _router_dependency(app: Any, counted: Counted) -> None:
    router = APIRouter(dependencies=[only_checkers])
    router.get("/leaf")(counted.handler())
    app.include_router(router, prefix="/in")


def _included_plain(app: Any, counted: Counted) -> None:
    router = APIRouter()
    router.add_route("/leaf", only_checkers(counted.endpoint()))
    app.include_router(router, prefix="/in")


def _included_plain_by_router(app: Any, counted: Counted) -> None:
    """FastAPI asks a router's dependencies of its own kind of route only; the guard asks them of every route in it."""
    router = APIRouter(dependencies=[only_checkers])
    router.add_route("/leaf", counted.endpoint())
    if hasattr(fastapi.routing, "_IncludedRouter"):
        app.include_router(router, prefix="/in")
    else:
        app.mount("/in", router)


def _plain(app: Any, counted: Counted) -> None:
    app.add_route("/leaf", only_checkers(counted.endpoint()))


def _plain_in_the_list(app: Any, counted: Counted) -> None:
    app.router.routes.append(Route("/leaf", only_checkers(counted.endpoint())))


def _with_middleware(app: Any, counted: Counted) -> None:
    endpoint = only_checkers(counted.endpoint())
    app.router.routes.append(Route("/leaf", endpoint, middleware=[Middleware(CopyingMiddleware)]))


def _partial(app: Any, counted: Counted) -> None:
    async def leaf(name: str, request: Request) -> Response:
        counted.ran.append(name)
        return PlainTextResponse(name)

    app.add_route("/leaf", functools.partial(only_checkers(leaf), "leaf"))


def _wrong_order(app: Any, counted: Counted) -> None:
    only_checkers(app.get("/leaf")(counted.handler()))


def _wrapped_by_another(app: Any, counted: Counted) -> None:
    handler = only_checkers(counted.endpoint())

    @functools.wraps(handler)
    async def timed(request: Request) -> Response:
        return await handler(request)

    app.add_route("/leaf", timed)


def _route_class(app: Any, counted: Counted) -> None:
    router = APIRouter(route_class=OwnRouteClass)
    router.get("/leaf")(only_checkers(counted.handler()))
    app.include_router(router, prefix="/in")


def _class_view(app: Any, counted: Counted) -> None:
    @only_checkers
    class View(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    app.add_route("/leaf", View)


def _inherited_class_view(app: Any, counted: Counted) -> None:
    @only_checkers
    class View(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    class Special(View):
        pass

    app.add_route("/leaf", Special)


def _class_view_method(app: Any, counted: Counted) -> None:
    class View(HTTPEndpoint):
        @only_checkers
        async def get(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    app.add_route("/leaf", View)


def _mounted_fastapi(app: Any, counted: Counted) -> None:
    inner = FastAPI()
    inner.get("/leaf")(only_checkers(counted.handler()))
    app.mount("/sub", inner)


def _mounted_fastapi_include(app: Any, counted: Counted) -> None:
    inner, router = FastAPI(), APIRouter()
    router.get("/leaf")(counted.handler())
    inner.include_router(router, prefix="/in", dependencies=[only_checkers])
    app.mount("/sub", inner)


def _mounted_starlette(app: Any, counted: Counted) -> None:
    app.mount("/sub", Starlette(routes=[Route("/leaf", only_checkers(counted.endpoint()))]))


def _mounted_copying(app: Any, counted: Counted) -> None:
    routes = [Route("/leaf", only_checkers(counted.endpoint()))]
    app.mount("/sub", Starlette(routes=routes, middleware=[Middleware(CopyingMiddleware)]))


def _mounted_routes(app: Any, counted: Counted) -> None:
    app.router.routes.append(Mount("/sub", routes=[Route("/leaf", only_checkers(counted.endpoint()))]))


def _mount_with_middleware(app: Any, counted: Counted) -> None:
    routes = [Route("/leaf", only_checkers(counted.endpoint()))]
    app.router.routes.append(Mount("/sub", routes=routes, middleware=[Middleware(CopyingMiddleware)]))


def _router_with_middleware(app: Any, counted: Counted) -> None:
    routes = [Route("/leaf", only_checkers(counted.endpoint()))]
    app.mount("/sub", Router(routes=routes, middleware=[Middleware(CopyingMiddleware)]))


def _mounted_twice(app: Any, counted: Counted) -> None:
    inner = Starlette(routes=[Mount("/sub", app=Starlette(routes=[Route("/leaf", only_checkers(counted.endpoint()))]))])
    app.mount("/sub", inner)


def _application_as_endpoint(app: Any, counted: Counted) -> None:
    inner = Router(routes=[Route("/leaf", only_checkers(counted.endpoint()))])
    app.router.routes.append(Route("/leaf", inner))


def _by_host(app: Any, counted: Counted) -> None:
    inner = Starlette(routes=[Route("/leaf", only_checkers(counted.endpoint()))])
    app.router.routes.insert(0, Host("sub.example", app=inner))


def _options(app: Any, counted: Counted) -> None:
    app.router.routes.append(Route("/leaf", only_checkers(counted.endpoint()), methods=["OPTIONS"]))


def _any_method(app: Any, counted: Counted) -> None:
    app.add_route("/leaf", only_checkers(type("View", (_AnyMethod,), {"counted": counted})))


class _AnyMethod:
    """An endpoint that answers whatever method there is, invented ones too."""

    counted: Counted

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.arguments = (scope, receive, send)

    def __await__(self) -> Any:
        return self.counted.application()(*self.arguments).__await__()


def _socket(app: Any, counted: Counted) -> None:
    app.router.routes.append(WebSocketRoute("/leaf", only_checkers(counted.socket())))


def _api_socket(app: Any, counted: Counted) -> None:
    app.websocket("/leaf")(only_checkers(counted.socket()))


def _socket_by_dependency(app: Any, counted: Counted) -> None:
    app.websocket("/leaf", dependencies=[only_checkers])(counted.socket())


def _included_socket(app: Any, counted: Counted) -> None:
    router = APIRouter()
    router.websocket("/leaf")(counted.socket())
    app.include_router(router, prefix="/in", dependencies=[only_checkers])


def _mounted_socket(app: Any, counted: Counted) -> None:
    app.mount("/sub", Starlette(routes=[WebSocketRoute("/leaf", only_checkers(counted.socket()))]))


def _socket_view(app: Any, counted: Counted) -> None:
    @only_checkers
    class View(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            counted.ran.append("view")
            await websocket.accept()

    app.router.routes.append(WebSocketRoute("/leaf", View))


def _opaque_mount(app: Any, counted: Counted) -> None:
    app.mount("/opaque", counted.application())


def _opaque_endpoint(app: Any, counted: Counted) -> None:
    class Application:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await counted.application()(scope, receive, send)

    app.router.routes.append(Route("/leaf", Application()))


def _opaque_host(app: Any, counted: Counted) -> None:
    app.router.routes.insert(0, Host("sub.example", app=counted.application()))


def _opaque_in_mounted(app: Any, counted: Counted) -> None:
    app.mount("/sub", Starlette(routes=[Mount("/opaque", app=counted.application())]))


class _CountedFiles(StaticFiles):
    counted: Counted

    async def get_response(self, path: str, scope: Scope) -> Response:
        self.counted.ran.append(path)
        return await super().get_response(path, scope)


def _static_files(app: Any, counted: Counted) -> None:
    files = _CountedFiles(directory=Path(__file__).parent)
    files.counted = counted
    app.mount("/static", files, name="static")


def _foreign_naming(app: Any, counted: Counted) -> None:
    app.router.routes.append(NamingRoute("/leaf", counted.endpoint()))


def _foreign(app: Any, counted: Counted) -> None:
    app.router.routes.append(ForeignRoute("/leaf", counted))


def _own_default(app: Any, counted: Counted) -> None:
    app.router.default = counted.application()


def _docs(app: Any, counted: Counted) -> None:
    original: Callable[[], Any] = app.openapi

    def openapi() -> Any:
        counted.ran.append("openapi")
        return original()

    app.openapi = openapi


def _frontend(app: Any, counted: Counted) -> None:
    app.frontend("/spa", directory=Path(__file__).parent)
    _count_frontend(app.router, counted)


def _included_frontend(app: Any, counted: Counted) -> None:
    router: Any = APIRouter()
    router.frontend("/spa", directory=Path(__file__).parent)
    _count_frontend(router, counted)
    app.include_router(router, prefix="/in")


def _count_frontend(router: Any, counted: Counted) -> None:
    files = router._frontend_routes.routes[0].app
    # Up to FastAPI 0.140 they are static files like others.
    name = "get_response_for_scope" if hasattr(files, "get_response_for_scope") else "get_response"
    served = getattr(files, name)

    async def counting(*args: Any) -> Response:
        counted.ran.append("frontend")
        return await served(*args)  # type: ignore[no-any-return]

    setattr(files, name, counting)


MARKED = [
    Row("direct", _direct),
    Row("head of a get", _plain, method="HEAD", only_fastapi=False),
    Row("synchronous", _synchronous),
    Row("permission", _permission),
    Row("any permission", _any_permission),
    Row("live", _live),
    Row("dependency", _dependency),
    Row("annotation", _annotation),
    Row("shadowed annotation", _shadowed_annotation),
    Row("dependency of a dependency", _sub_dependency),
    Row("marked dependency", _marked_dependency),
    Row("Depends(roles())", _depends_on_the_object),
    Row("included", _included, "/in/leaf"),
    Row("added to an included router", _included_late, "/in/leaf"),
    Row("include(dependencies)", _include_dependency, "/in/leaf"),
    Row("nested, include(dependencies) deep", _include_deep_dependency, "/in/deep/leaf"),
    Row("router(dependencies)", _router_dependency, "/in/leaf"),
    Row("plain route, rebuilt by an include", _included_plain, "/in/leaf"),
    Row("plain route in router(dependencies)", _included_plain_by_router, "/in/leaf"),
    Row("plain route", _plain, only_fastapi=False),
    Row("plain route in the list", _plain_in_the_list, only_fastapi=False),
    Row("route with middleware", _with_middleware, only_fastapi=False),
    Row("functools.partial", _partial, only_fastapi=False),
    Row("decorators in the wrong order", _wrong_order),
    Row("functools.wraps", _wrapped_by_another, only_fastapi=False),
    Row("route class", _route_class, "/in/leaf"),
    Row("class view", _class_view, only_fastapi=False),
    Row("inherited class view", _inherited_class_view, only_fastapi=False),
    Row("method of a class view", _class_view_method, only_fastapi=False),
    Row("HEAD of a method of a class view", _class_view_method, method="GET", only_fastapi=False),
    Row("mounted FastAPI", _mounted_fastapi, "/sub/leaf"),
    Row("mounted FastAPI with include(dependencies)", _mounted_fastapi_include, "/sub/in/leaf"),
    Row("mounted Starlette", _mounted_starlette, "/sub/leaf", only_fastapi=False),
    Row("mounted with middleware that copies the scope", _mounted_copying, "/sub/leaf", only_fastapi=False),
    Row("mounted routes", _mounted_routes, "/sub/leaf", only_fastapi=False),
    Row("mount with middleware", _mount_with_middleware, "/sub/leaf", only_fastapi=False),
    Row("router with middleware", _router_with_middleware, "/sub/leaf", only_fastapi=False),
    Row("mounted twice", _mounted_twice, "/sub/sub/leaf", only_fastapi=False),
    Row("router as endpoint", _application_as_endpoint, only_fastapi=False),
    Row("by host", _by_host, only_fastapi=False, host="sub.example"),
    Row("OPTIONS", _options, method="OPTIONS", only_fastapi=False),
    Row("QUERY", _any_method, method="QUERY", only_fastapi=False),
    Row("lower-case method", _any_method, method="get", only_fastapi=False),
    Row("invented method", _any_method, method="FROBNICATE", only_fastapi=False),
    Row("socket", _socket, method="SOCKET", only_fastapi=False),
    Row("FastAPI socket", _api_socket, method="SOCKET"),
    Row("socket with dependency", _socket_by_dependency, method="SOCKET"),
    Row("included socket", _included_socket, "/in/leaf", method="SOCKET"),
    Row("mounted socket", _mounted_socket, "/sub/leaf", method="SOCKET", only_fastapi=False),
    Row("socket view", _socket_view, method="SOCKET", only_fastapi=False),
]

OPAQUE = [
    Row("foreign application", _opaque_mount, "/opaque/a", opaque="/opaque", only_fastapi=False),
    Row("object as endpoint", _opaque_endpoint, opaque="/leaf", only_fastapi=False),
    Row("foreign application by host", _opaque_host, opaque="sub.example", only_fastapi=False, host="sub.example"),
    Row("foreign in mounted", _opaque_in_mounted, "/sub/opaque/a", opaque="/sub/opaque", only_fastapi=False),
    Row("static files", _static_files, "/static/kit.py", opaque="/static", only_fastapi=False),
    Row("foreign route", _foreign, opaque="/leaf", only_fastapi=False),
    Row("foreign route that names its endpoint", _foreign_naming, opaque="/leaf", only_fastapi=False),
    Row("a default of its own", _own_default, "/nowhere", opaque="*", only_fastapi=False),
    Row("/openapi.json", _docs, "/openapi.json", opaque="/openapi.json"),
]
if FRONTEND:
    OPAQUE.append(Row("frontend", _frontend, "/spa/kit.py", opaque="/spa"))
    OPAQUE.append(Row("included frontend", _included_frontend, "/in/spa/kit.py", opaque="/in/spa"))
