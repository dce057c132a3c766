"""An application that was never protected fails closed at whatever states a requirement."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import limen.fastapi
import limen.starlette
from limen.core.errors import ConfigurationError, PolicyDenied
from limen.core.principal import Principal
from limen.fastapi import CurrentPrincipal, current_principal, live, permissions, public, roles
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call

RESTRICTIONS = [roles("maker"), permissions("order:create"), permissions.any("order:create"), live]
NAMES = ["roles", "permissions", "permissions.any", "live"]


@pytest.mark.parametrize("restriction", RESTRICTIONS, ids=NAMES)
async def test_a_decorated_fastapi_endpoint_refuses_without_a_guard(restriction: Any) -> None:
    """The decorator wraps: the handler does not run, and the error names what to add."""
    counted = Counted()
    app = FastAPI()
    app.get("/leaf")(restriction(counted.handler()))
    with pytest.raises(ConfigurationError, match=r"gate\.protect\(app\)"):
        await call(app, "/leaf", "maker")
    assert counted.ran == []


@pytest.mark.parametrize("restriction", RESTRICTIONS, ids=NAMES)
async def test_a_decorated_starlette_endpoint_refuses_without_a_guard(restriction: Any) -> None:
    """The same for a function, a class view and a WebSocket of Starlette."""
    counted = Counted()

    class View(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    app = Starlette(
        routes=[
            Route("/function", restriction(counted.endpoint())),
            Route("/view", restriction(View)),
            WebSocketRoute("/socket", restriction(counted.socket())),
        ]
    )
    for path, method in (("/function", "GET"), ("/view", "GET"), ("/socket", "SOCKET")):
        with pytest.raises(ConfigurationError, match=r"gate\.protect\(app\)"):
            await call(app, path, "maker", method=method)
    assert counted.ran == []


@pytest.mark.parametrize("restriction", [*RESTRICTIONS, public], ids=[*NAMES, "public"])
async def test_a_dependency_refuses_without_a_guard(restriction: Any) -> None:
    """In `dependencies` and in an annotation a requirement refuses as well."""
    counted = Counted()

    async def annotated(me: Annotated[Principal, restriction]) -> str:
        counted.ran.append("annotated")
        return me.sub

    app = FastAPI()
    app.get("/dependency", dependencies=[restriction])(counted.handler())
    app.get("/annotation")(annotated)
    for path in ("/dependency", "/annotation"):
        with pytest.raises(ConfigurationError, match=r"gate\.protect\(app\)"):
            await call(app, path, "maker")
    assert counted.ran == []


async def test_current_principal_refuses_without_a_guard() -> None:
    """Nobody can say who is calling, so nobody is said to be."""
    counted = Counted()

    async def leaf(me: CurrentPrincipal) -> str:
        counted.ran.append(me.sub)
        return me.sub

    app = FastAPI()
    app.get("/leaf")(leaf)
    with pytest.raises(ConfigurationError, match=r"gate\.protect\(app\)"):
        await call(app, "/leaf", "maker")
    with pytest.raises(ConfigurationError):
        current_principal(HTTPConnection({"type": "http", "headers": []}))
    assert counted.ran == []


async def test_a_decorated_function_that_is_called_without_a_request_refuses() -> None:
    """Code that may call it directly has to say so."""

    async def leaf() -> str:
        return "ran"

    with pytest.raises(ConfigurationError, match="__wrapped__"):
        await roles("maker")(leaf)()
    assert await roles("maker")(leaf).__wrapped__() == "ran"  # type: ignore[attr-defined]


async def test_a_decorated_function_that_another_endpoint_calls_still_asks() -> None:
    """The wrapper is a second net: calling an admin's endpoint from an open one does not skip its requirement."""
    counted = Counted()
    inner = roles("admin")(counted.endpoint("inner"))
    inner_live = live(counted.endpoint("live"))

    def synchronous(request: Request) -> Response:
        raise AssertionError("nothing may run")

    inner_synchronous_live = live(synchronous)

    async def outer(request: Request) -> Response:
        if request.url.path == "/synchronous":
            return inner_synchronous_live(request)
        return await (inner_live if request.url.path == "/live" else inner)(request)

    app = Starlette(routes=[Route(path, outer) for path in ("/outer", "/live", "/synchronous")])
    gate = SmallGate()
    protect(app, gate)
    assert (await call(app, "/outer", "maker")).status == 403
    assert (await call(app, "/outer", "admin")).status == 200
    assert gate.live_asked == []
    assert (await call(app, "/live", "maker")).status == 200
    assert gate.live_asked == ["id-of-maker"]
    assert (await call(app, "/synchronous", "maker")).status == PolicyDenied.status
    assert counted.ran == ["inner", "live"]


@pytest.mark.parametrize("module", [limen.fastapi, limen.starlette], ids=["fastapi", "starlette"])
def test_a_decorator_keeps_name_docstring_and_signature(module: Any) -> None:
    """Whoever inspects the endpoint finds the function that was written; only principals are handed in."""

    async def leaf(number: int, me: module.CurrentPrincipal, text: str = "a") -> str:
        """Say something."""
        return f"{number}{me.sub}{text}"

    wrapped = module.roles("maker")(leaf)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__wrapped__) == ("leaf", "Say something.", leaf)
    assert list(inspect.signature(wrapped).parameters) == ["number", "text", "limen_connection"]
    assert asyncio.iscoroutinefunction(wrapped) if not hasattr(inspect, "markcoroutinefunction") else True


async def test_the_principal_is_handed_to_decorated_endpoints() -> None:
    """`me: CurrentPrincipal` works with FastAPI and Starlette, beside a request, with and without a decorator."""

    @roles("maker")
    async def plain(request: Request, me: CurrentPrincipal) -> Response:
        return PlainTextResponse(me.sub + request.url.path)

    @roles("maker")
    def synchronous(me: CurrentPrincipal, n: int) -> str:
        return f"{me.sub}{n}"

    async def undecorated(me: CurrentPrincipal, connection: HTTPConnection) -> str:
        return me.sub + connection.url.path

    @live
    async def connected(me: CurrentPrincipal, connection: HTTPConnection) -> str:
        return me.sub + connection.url.path

    app = FastAPI()
    app.router.routes.append(Route("/plain", plain))
    app.get("/synchronous")(synchronous)
    app.get("/undecorated")(undecorated)
    app.get("/connected")(connected)
    protect(app, SmallGate())
    assert (await call(app, "/plain", "maker")).body == b"id-of-maker/plain"
    assert (await call(app, "/synchronous", "maker", query_string=b"n=3")).json() == "id-of-maker3"
    assert (await call(app, "/synchronous", "maker")).status == 422
    assert (await call(app, "/undecorated", "maker")).json() == "id-of-maker/undecorated"
    assert (await call(app, "/connected", "maker")).json() == "id-of-maker/connected"


async def test_a_public_route_may_ask_who_is_calling() -> None:
    """`Annotated[Principal, public]` may be the anonymous principal; a rejected token does not close the route."""

    async def leaf(me: Annotated[Principal, public]) -> str:
        return me.sub or "nobody"

    @functools.wraps(leaf)
    async def copied(*args: Any, **kwargs: Any) -> Any:
        return await leaf(*args, **kwargs)

    app = FastAPI()
    app.get("/leaf")(leaf)
    app.get("/copied")(copied)
    protect(app, SmallGate())
    assert (await call(app, "/leaf")).json() == "nobody"
    assert (await call(app, "/leaf", "nonsense")).json() == "nobody"
    assert (await call(app, "/leaf", "maker")).json() == "id-of-maker"
    assert (await call(app, "/copied")).status == 401


async def test_a_decorated_endpoint_may_stream() -> None:
    """An asynchronous generator stays one for whoever looks at it."""

    @roles("maker")
    async def numbers(me: CurrentPrincipal) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    assert inspect.isasyncgenfunction(inspect.unwrap(numbers))


@pytest.mark.parametrize(
    "wrong", [roles, permissions, permissions.any, lambda: permissions("approve"), lambda: roles("a, b")]
)
def test_a_requirement_that_means_nothing_is_refused_where_it_is_written(wrong: Callable[[], Any]) -> None:
    """Empty lists and malformed names raise at once."""
    with pytest.raises(ConfigurationError):
        wrong()


def test_an_object_that_is_an_application_cannot_be_decorated() -> None:
    """It is no function and no class: its rule is declared by path."""
    with pytest.raises(ConfigurationError, match="mount_rule"):
        roles("maker")(Starlette())


async def test_a_method_and_a_partial_can_be_decorated() -> None:
    """The requirement holds for the bound method, and the class's function stays as it was."""
    counted = Counted()

    class Controller:
        async def leaf(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    controller = Controller()
    app = Starlette(
        routes=[
            Route("/method", roles("admin")(controller.leaf)),
            Route("/partial", roles("admin")(functools.partial(Controller.leaf, controller))),
            Route("/plain", controller.leaf),
        ]
    )
    protect(app, SmallGate())
    for path in ("/method", "/partial"):
        assert (await call(app, path, "maker")).status == 403
        assert (await call(app, path, "admin")).status == 200
    assert (await call(app, "/plain", "maker")).status == 200


async def test_a_websocket_handler_gets_the_principal() -> None:
    """The principal is handed to a socket's handler too."""
    got: list[str] = []

    @roles("maker")
    async def socket(websocket: WebSocket, me: CurrentPrincipal) -> None:
        got.append(me.sub)
        await websocket.accept()

    app = FastAPI()
    app.websocket("/socket")(socket)
    app.router.routes.append(WebSocketRoute("/plain", socket))
    protect(app, SmallGate())
    assert (await call(app, "/socket", "maker", method="SOCKET")).status == 101
    assert (await call(app, "/plain", "maker", method="SOCKET")).status == 101
    assert got == ["id-of-maker", "id-of-maker"]
