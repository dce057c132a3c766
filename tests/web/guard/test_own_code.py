"""Code of the application that stands in the place of the framework's does not run before the decision."""

from typing import Any

import fastapi.routing
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import ConfigurationError
from limen.fastapi import permissions, public, roles
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call
from tests.web.guard.rows import NamingRoute

RAN: list[str] = []
"""What ran of the classes below; the seal lets a 404 pass, so they answer that."""

INCLUDED_ROUTERS = hasattr(fastapi.routing, "_IncludedRouter")


async def _answer(name: str, scope: Scope, receive: Receive, send: Send) -> None:
    RAN.append(name)
    await PlainTextResponse("secret", 404)(scope, receive, send)


class OwnCall(FastAPI):
    """An application that answers some paths by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/side"):
            await _answer("call", scope, receive, send)
            return
        await super().__call__(scope, receive, send)


class OwnStack(Starlette):
    """An application that puts something else in front of its router."""

    def build_middleware_stack(self) -> ASGIApp:
        async def first(scope: Scope, receive: Receive, send: Send) -> None:
            await _answer("stack", scope, receive, send)

        return first


class OwnRouterCall(Router):
    """A router that answers before it dispatches."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer("router", scope, receive, send)


class NamingApiRoute(APIRoute):
    """FastAPI's own kind of route, which matches by code of its own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope)


class OwnHandle(APIRouter):
    """A router that is entered by code of its own."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer("handle", scope, receive, send)


class OwnMatches(APIRouter):
    """A router that is matched by code of its own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        RAN.append("matches")
        return Match.FULL, {}


class OwnMount(Mount):
    """A mount that answers before what is mounted."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer("mount", scope, receive, send)


class OwnRoute(APIRoute):
    """A foreign route, as equal to others as all FastAPI's are."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == "/f" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _answer("route", scope, receive, send)


class OwnIncludedRoute(OwnRoute):
    """The same, for an inclusion."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == "/in/f" else Match.NONE), {}


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


async def _endpoint() -> None:
    RAN.append("endpoint")


@pytest.mark.parametrize("mounted", [OwnCall(), OwnStack(), OwnRouterCall()])
async def test_a_mounted_application_with_code_of_its_own_is_opaque(mounted: Any) -> None:
    """It is closed until a rule is declared, and the rule then decides."""
    app = FastAPI(openapi_url=None)
    app.mount("/own", mounted)
    protect(app, SmallGate())
    assert (await call(app, "/own/side")).status == 401
    assert (await call(app, "/own/side", "admin")).status == 403
    assert RAN == []
    declared = FastAPI(openapi_url=None)
    declared.mount("/own", mounted)
    protect(declared, SmallGate()).mount_rule("/own", roles("maker"))
    assert (await call(declared, "/own/side", "admin")).status == 403
    assert (await call(declared, "/own/side", "maker")).body == b"secret"


@pytest.mark.parametrize("kind", [OwnCall, OwnStack])
def test_an_application_with_code_of_its_own_cannot_be_protected(kind: type[Starlette]) -> None:
    """Its code would run outside of the guard; silence would pass for protection."""
    with pytest.raises(ConfigurationError, match="by code of its own"):
        protect(kind(), SmallGate())


def test_an_application_whose_router_has_a_call_of_its_own_cannot_be_protected() -> None:
    """The guard stands inside of that call."""
    app = Starlette()
    app.router = OwnRouterCall(routes=[])
    with pytest.raises(ConfigurationError, match="by code of its own"):
        protect(app, SmallGate())


if INCLUDED_ROUTERS:

    @pytest.mark.parametrize("kind", [OwnHandle, OwnMatches])
    @pytest.mark.parametrize("nested", [False, True])
    async def test_an_included_router_with_code_of_its_own_is_refused(kind: type[APIRouter], nested: bool) -> None:
        """Where the application is protected, or, included later, at its start; and while it runs."""
        app = FastAPI(openapi_url=None)
        app.get("/leaf")(_endpoint)
        protection = protect(app, SmallGate())
        app.include_router(_around(kind(), nested=nested))
        with pytest.raises(ConfigurationError, match="by code of its own"):
            await protection.ensure_started()
        assert RAN == []

    @pytest.mark.parametrize("nested", [False, True])
    async def test_an_included_router_with_code_of_its_own_is_not_entered_later(nested: bool) -> None:
        """Included while the application runs, it answers nobody."""
        app = FastAPI(openapi_url=None)
        app.get("/leaf")(_endpoint)
        protection = protect(app, SmallGate())
        await protection.ensure_started()
        app.include_router(_around(OwnHandle(), nested=nested))
        with pytest.raises(ConfigurationError, match="by code of its own"):
            await call(app, "/r")
        assert RAN == []

    async def test_a_foreign_route_in_an_included_router_is_not_opened_by_the_rule_of_another() -> None:
        """Its path there is the one without the prefix, which a mount of the application may have as well."""
        app, router = FastAPI(openapi_url=None), APIRouter()
        app.mount("/f", Counted().application())
        protection = protect(app, SmallGate())
        protection.public_mount("/f")
        await protection.ensure_started()
        router.routes.append(OwnIncludedRoute("/f", _endpoint))
        app.include_router(router, prefix="/in")
        with pytest.raises(ConfigurationError, match="inside an included router"):
            await call(app, "/in/f")
        assert RAN == []

    def _around(router: APIRouter, *, nested: bool) -> APIRouter:
        router.add_api_route("/r", _endpoint)
        if not nested:
            return router
        outer = APIRouter()
        outer.include_router(router)
        return outer


async def test_a_foreign_route_that_is_replaced_by_an_equal_one_is_guarded_again() -> None:
    """Equality of routes says nothing about who guards them."""
    app = FastAPI(openapi_url=None)
    app.router.routes.append(OwnRoute("/f", _endpoint))
    protect(app, SmallGate()).mount_rule("/f", roles("admin"))
    assert (await call(app, "/f")).status == 401
    app.router.routes[-1] = OwnRoute("/f", _endpoint)
    assert (await call(app, "/f")).status == 401
    assert (await call(app, "/f", "maker")).status == 403
    assert RAN == []


async def test_a_mount_with_code_of_its_own_is_foreign() -> None:
    """What is mounted there would decide itself, but later than that code."""
    route: BaseRoute = OwnMount("/sub", routes=[Route("/leaf", Counted().endpoint())])
    app = Starlette(routes=[route])
    protection = protect(app, SmallGate())
    with pytest.raises(ConfigurationError, match=r"/sub: a foreign route"):
        await protection.ensure_started()
    other = Starlette(routes=[OwnMount("/sub", routes=[Route("/leaf", Counted().endpoint())])])
    protect(other, SmallGate()).mount_rule("/sub", roles("admin"))
    assert (await call(other, "/sub/leaf")).status == 401
    assert (await call(other, "/sub/leaf", "maker")).status == 403
    assert RAN == []


async def _own_handle(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer("handle", scope, receive, send)


@pytest.mark.parametrize("kind", [Route, APIRoute])
async def test_a_handle_that_was_replaced_is_called_after_the_decision(kind: Any) -> None:
    """Whoever puts something else in its place, however late, gets in where the route lets them."""
    app = FastAPI(openapi_url=None)
    route = kind("/leaf", roles("admin")(Counted().endpoint()))
    app.router.routes.append(route)
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 403
    route.handle = _own_handle
    assert (await call(app, "/leaf")).status == 401
    assert (await call(app, "/leaf", "maker")).status == 403
    assert RAN == []
    assert (await call(app, "/leaf", "admin")).body == b"secret"


@pytest.mark.parametrize("kind", [NamingRoute, NamingApiRoute])
async def test_what_a_foreign_route_names_is_asked_beside_its_rule(kind: Any) -> None:
    """Its rule holds, and so does the mark of the endpoint that it names; a public mark opens nothing."""
    app, counted = FastAPI(openapi_url=None), Counted()
    app.router.routes.append(kind("/marked", roles("checker")(counted.endpoint("marked"))))
    app.router.routes.append(kind("/public", public(counted.endpoint("public"))))
    protection = protect(app, SmallGate())
    protection.mount_rule("/marked", permissions.any("order:read", "order:delete"))
    protection.mount_rule("/public", roles("admin"))
    for path, allowed in (("/marked", "checker"), ("/public", "admin")):
        for who in (None, "maker", "checker", "admin"):
            status = (await call(app, path, who)).status
            assert status == (401 if who is None else 200 if who == allowed else 403), (path, who)
    assert counted.ran == ["marked", "public"]


async def test_a_public_rule_does_not_open_what_a_foreign_route_names() -> None:
    """A restricted endpoint behind a public rule stops the start, and lets nobody in where it comes later."""
    app, counted = Starlette(routes=[Route("/other", Counted().endpoint())]), Counted()
    protection = protect(app, SmallGate())
    assert (await call(app, "/other", "maker")).status == 200
    app.router.routes.append(NamingRoute("/leaf", roles("admin")(counted.endpoint())))
    protection.public_mount("/leaf")
    assert [(await call(app, "/leaf", who)).status for who in (None, "maker", "admin")] == [403, 403, 403]
    assert counted.ran == []
    other = Starlette(routes=[NamingRoute("/leaf", roles("admin")(counted.endpoint()))])
    protect(other, SmallGate()).public_mount("/leaf")
    with pytest.raises(ConfigurationError, match="/leaf: its rule is public"):
        await call(other, "/leaf", "admin")


async def test_a_foreign_route_gets_no_attribute_from_the_guard() -> None:
    """It is decided before it is called, so it may be of a kind that takes none, and stays as it was made."""

    class Slotted:
        __slots__ = ()

        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return (Match.FULL if scope["path"] == "/f" else Match.NONE), {}

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await _answer("slotted", scope, receive, send)

    app = Starlette(routes=[Route("/leaf", Counted().endpoint())])
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 200
    app.router.routes.append(Slotted())  # type: ignore[arg-type]
    assert (await call(app, "/f")).status == 401
    assert (await call(app, "/f", "maker")).status == 403
    assert RAN == []
