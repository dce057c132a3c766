"""limen's own routes inside an application."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, NoMatchFound, Route

from limen.fastapi import public, roles
from limen.web.guard import protect
from limen.web.guard.own_routes import OwnRoutes
from tests.web.guard.kit import Counted, SmallGate, call


async def _named(request: Request) -> Response:
    return PlainTextResponse(f"{request.path_params}")


def _app(framework: Any, counted: Counted) -> Any:
    app = framework()
    app.router.routes.append(Route("/auth/mine", public(counted.endpoint("mine"))))
    app.router.routes.append(Route("/auth/login", public(counted.endpoint("page"))))
    own = OwnRoutes(
        "/auth",
        {
            "/login": {"POST": public(counted.endpoint("login"))},
            "/me": {"GET": counted.endpoint("me"), "DELETE": roles("admin")(counted.endpoint("delete"))},
            "/sessions/{id}": {"GET": _named},
        },
    )
    protect(app, SmallGate(), own_routes=own)
    return app


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_own_routes_are_decided_like_any_other(framework: Any) -> None:
    """Their marks count, an unmarked one asks who is calling, and HEAD comes with GET."""
    counted = Counted()
    app = _app(framework, counted)
    assert (await call(app, "/auth/login", method="POST")).body == b"login"
    assert (await call(app, "/auth/me")).status == 401
    assert (await call(app, "/auth/me", "maker")).body == b"me"
    assert (await call(app, "/auth/me", "maker", method="HEAD")).status == 200
    assert (await call(app, "/auth/me", "maker", method="DELETE")).status == 403
    assert (await call(app, "/auth/me", "admin", method="DELETE")).status == 200
    assert counted.ran == ["login", "me", "me", "delete"]


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_another_method_is_told_the_ones_there_are(framework: Any) -> None:
    """405 with Allow where the leaf may be entered; where it may not, that comes first."""
    app = _app(framework, Counted())
    reply = await call(app, "/auth/login", method="PUT")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert (await call(app, "/auth/me", method="PUT")).status == 401
    refused = await call(app, "/auth/me", "maker", method="PUT")
    assert (refused.status, refused.headers["allow"]) == (405, "DELETE, GET, HEAD")


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_what_is_not_there_is_the_applications(framework: Any) -> None:
    """Inside the prefix the application may have routes of its own, and beyond them there is nothing."""
    counted = Counted()
    app = _app(framework, counted)
    assert (await call(app, "/auth/mine")).body == b"mine"
    for path in ("/auth/none", "/auth", "/auth/", "/auth/me/x", "/auth/me//x"):
        assert (await call(app, path)).status == 404
    assert counted.ran == ["mine"]


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_they_stand_in_front_of_the_applications_list_and_not_in_it(framework: Any) -> None:
    """The application's list holds its own routes; a slash too many redirects, and its route of the same path stays."""
    counted = Counted()
    app = _app(framework, counted)
    assert not any(isinstance(each, OwnRoutes) for each in app.routes)
    redirected = await call(app, "/auth/me/", "maker")
    assert (redirected.status, redirected.headers["location"]) == (307, "http://app.example/auth/me")
    assert (await call(app, "/auth/login")).body == b"page"
    assert (await call(app, "/auth/login", method="POST")).body == b"login"
    assert counted.ran == ["page", "login"]


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_the_router_of_their_requests_is_the_applications(framework: Any) -> None:
    """What is in the scope as the router is the application's own, with its names, not what stands in for it."""
    seen: list[object] = []

    @public
    async def endpoint(request: Request) -> Response:
        seen.append(request.scope["router"])
        return PlainTextResponse("")

    app = framework()
    protect(app, SmallGate(), own_routes=OwnRoutes("", {"/here": {"GET": endpoint}, "/id/{id}": {"GET": endpoint}}))
    assert [(await call(app, path)).status for path in ("/here", "/id/7")] == [200, 200]
    assert [each is app.router for each in seen] == [True, True]


async def test_paths_may_have_parameters_and_a_root_path_before_them() -> None:
    """As routes have them."""
    app = _app(Starlette, Counted())
    assert (await call(app, "/auth/sessions/7", "maker")).body == b"{'id': '7'}"
    assert (await call(app, "/auth/sessions/7")).status == 401
    assert (await call(app, "/v1/auth/sessions/7", "maker", root_path="/v1")).status == 200
    assert (await call(app, "/v1/auth/me", "maker", root_path="/v1")).status == 200
    assert (await call(app, "/v1/auth/me", root_path="/v1")).status == 401
    outer = Starlette(routes=[Mount("/sub", app=app)])
    assert (await call(outer, "/sub/auth/me", "maker")).status == 200


async def test_a_socket_is_no_matter_of_own_routes() -> None:
    """They are HTTP only, and have no names."""
    app = _app(Starlette, Counted())
    assert (await call(app, "/auth/me", "maker", method="SOCKET")).status == 403
    with pytest.raises(NoMatchFound):
        OwnRoutes("", {"/me": {"GET": _named}}).url_path_for("me")
