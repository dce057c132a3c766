"""Tricks that walked past other designs."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import Conflict, Forbidden, LimenError
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.fastapi import CurrentPrincipal, live, permissions, public, roles
from limen.web.cors import CorsPolicy
from limen.web.guard import protect
from tests.web.guard.kit import CopyingMiddleware, Counted, SmallGate, call

PREFLIGHT = (("origin", "https://evil.example"), ("access-control-request-method", "POST"))


def _app(counted: Counted, gate: SmallGate | None = None, middleware: list[Middleware] | None = None) -> Starlette:
    routes = [
        Route("/admin", roles("admin")(counted.endpoint("admin")), methods=["GET", "OPTIONS"]),
        Route("/open", public(counted.endpoint("open")), methods=["GET", "OPTIONS"]),
    ]
    app = Starlette(routes=routes, middleware=middleware)
    protect(app, gate or SmallGate())
    return app


@pytest.mark.parametrize("origins", [[], ["https://app.example"]])
@pytest.mark.parametrize("path", ["/admin", "/open", "/nowhere"])
async def test_a_forged_preflight_reaches_no_handler(path: str, origins: list[str]) -> None:
    """What looks like a preflight is answered by limen; three headers written by hand run no OPTIONS handler."""
    counted = Counted()
    app = _app(counted, SmallGate(cors=CorsPolicy.of(origins)))
    reply = await call(app, path, method="OPTIONS", headers=PREFLIGHT)
    assert reply.status == 204
    assert "access-control-allow-origin" not in reply.headers
    assert counted.ran == []


async def test_options_without_the_headers_of_a_preflight_is_a_request_like_any_other() -> None:
    """OPTIONS is decided at its leaf."""
    counted = Counted()
    app = _app(counted)
    assert (await call(app, "/admin", method="OPTIONS")).status == 401
    assert (await call(app, "/admin", "admin", method="OPTIONS")).status == 200
    assert counted.ran == ["admin"]


async def test_a_preflight_from_a_listed_origin_is_answered_with_what_it_asks() -> None:
    """CORS works through the guard, and the answer to the request that follows may be read."""
    app = _app(Counted(), SmallGate(cors=CorsPolicy.of(["https://evil.example"])))
    reply = await call(app, "/admin", method="OPTIONS", headers=PREFLIGHT)
    assert reply.headers["access-control-allow-origin"] == "https://evil.example"
    answer = await call(app, "/admin", headers=(("origin", "https://evil.example"),))
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, "https://evil.example")


class _Rewriting:
    """Inner middleware that turns a harmless path into another one, after the guard saw the request come in."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/open/../admin":
            scope = {**scope, "path": "/admin", "raw_path": b"/admin"}
        await self.app(scope, receive, send)


async def test_middleware_that_rewrites_the_path_changes_nothing() -> None:
    """The leaf that runs is the one that is decided, whatever path came in."""
    counted = Counted()
    app = _app(counted, middleware=[Middleware(_Rewriting), Middleware(CopyingMiddleware)])
    assert (await call(app, "/open/../admin")).status == 401
    assert (await call(app, "/open/../admin", "maker")).status == 403
    assert counted.ran == []


TRICKS = [
    "/admin/",
    "//admin",
    "/admin//",
    "/./admin",
    "/open/../admin",
    "/ADMIN",
    "/%61dmin",
    "/admin%2f",
    "/admin%00",
    "/admin;x=1",
    "/admin;/open",
    "/admin.json",
    "/admin ",
    "/open/admin",
    "admin",
    "",
]


@pytest.mark.parametrize("path", TRICKS)
@pytest.mark.parametrize("root_path", ["", "/admin", "/open", "/prefix"])
async def test_no_spelling_of_a_path_reaches_the_handler(path: str, root_path: str) -> None:
    """Decoded or not, with whatever root_path: nobody gets to the admin's handler."""
    counted = Counted()
    app = _app(counted)
    for who in (None, "maker"):
        try:
            reply = await call(app, path, who, root_path=root_path)
        except (AssertionError, ValueError):
            continue  # the framework cannot make anything of such a path
        assert reply.status in {307, 401, 403, 404}, reply
    assert counted.ran == []


async def test_headers_that_name_another_path_or_user_are_not_believed() -> None:
    """The route that matched decides: no header of a proxy or of another framework changes that."""
    counted = Counted()
    app = _app(counted)
    for name, value in (
        ("x-original-uri", "/open"),
        ("x-rewrite-url", "/open"),
        ("x-forwarded-prefix", "/open"),
        ("x-http-method-override", "OPTIONS"),
        ("x-middleware-subrequest", "middleware"),
        ("x-limen-subject", "id-of-admin"),
        ("x-auth-user", "admin"),
    ):
        assert (await call(app, "/admin", headers=((name, value),))).status == 401
    assert (await call(app, "/admin", host="a/open?")).status == 401
    assert counted.ran == []


async def test_a_root_path_from_the_server_does_not_hide_the_route() -> None:
    """Behind a prefix the route is still found, and still guarded."""
    counted = Counted()
    app = _app(counted)
    assert (await call(app, "/prefix/admin", root_path="/prefix")).status == 401
    assert (await call(app, "/prefix/admin", "admin", root_path="/prefix")).status == 200
    assert counted.ran == ["admin"]


@pytest.mark.parametrize("included", [False, True])
async def test_the_body_is_not_read_before_the_decision(included: bool) -> None:
    """A malformed body is told 401 or 403 to those who may not call, and 422 only to those who may."""
    counted = Counted()

    async def leaf(payload: dict[str, int] = Body()) -> str:
        counted.ran.append("leaf")
        return str(payload)

    app, router = FastAPI(), APIRouter()
    if included:
        router.post("/leaf")(leaf)
        app.include_router(router, dependencies=[roles("checker")])
    else:
        app.post("/leaf", dependencies=[roles("checker")])(leaf)
    protect(app, SmallGate())
    for who, status in ((None, 401), ("maker", 403), ("checker", 422)):
        assert (await call(app, "/leaf", who, method="POST", body=b'{"a":')).status == status
    assert counted.ran == []


async def test_dependency_overrides_switch_nothing_off() -> None:
    """Overriding every dependency of a route leaves the guard where it is."""
    counted = Counted()
    app = FastAPI()
    requirement = roles("checker")
    app.get("/leaf", dependencies=[requirement])(counted.handler())
    app.get("/other")(roles("checker")(counted.handler()))
    protect(app, SmallGate())
    overrides: dict[Any, Any] = app.dependency_overrides
    for declared in (requirement, requirement.dependency):
        overrides[declared] = lambda: None
    for path in ("/leaf", "/other"):
        assert (await call(app, path)).status == 401
        assert (await call(app, path, "maker")).status == 403
    assert counted.ran == []


# --- marks that travel


def _wraps(function: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(request: Request) -> Response:
        return await inner(request)  # type: ignore[no-any-return]

    return wrapper


async def test_a_copied_public_opens_nothing() -> None:
    """functools.wraps copies the mark; it does not count on the copy."""
    counted = Counted()
    opened = public(counted.endpoint("open"))
    app = Starlette(routes=[Route("/open", opened), Route("/copy", _wraps(opened, counted.endpoint("copy")))])
    protect(app, SmallGate())
    assert (await call(app, "/open")).status == 200
    assert (await call(app, "/copy")).status == 401
    assert counted.ran == ["open"]


async def test_an_inherited_public_opens_nothing() -> None:
    """A class view that was marked public does not open the classes made from it."""
    counted = Counted()

    @public
    class Open(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await counted.endpoint(type(self).__name__)(request)

    class Admin(Open):
        pass

    app = Starlette(routes=[Route("/open", Open), Route("/admin", Admin)])
    protect(app, SmallGate())
    assert (await call(app, "/open")).status == 200
    assert (await call(app, "/admin")).status == 401
    assert counted.ran == ["Open"]


async def test_a_public_method_does_not_open_its_class() -> None:
    """What was registered is the class: a mark on one of its methods only restricts."""
    counted = Counted()

    class View(HTTPEndpoint):
        @public
        async def get(self, request: Request) -> Response:
            return await counted.endpoint()(request)

    app = Starlette(routes=[Route("/view", View)])
    protect(app, SmallGate())
    assert (await call(app, "/view")).status == 401
    assert counted.ran == []


async def test_a_public_function_that_is_used_again_behind_a_restriction_is_refused() -> None:
    """One function on an open and on a restricted route contradicts itself; a route added later is denied."""
    counted = Counted()
    shared = public(counted.handler())
    app = FastAPI()
    app.get("/open")(shared)
    protect(app, SmallGate())
    assert (await call(app, "/open")).status == 200
    app.get("/admin", dependencies=[roles("admin")])(shared)
    for who in (None, "maker", "admin"):
        assert (await call(app, "/admin", who)).status in {401, 403}
    assert counted.ran == ["handler"]


async def test_public_as_a_dependency_or_annotation_opens_that_route_alone() -> None:
    """`public` in dependencies or in the endpoint's own annotation opens it; in a shared dependency it does not."""
    counted = Counted()

    async def shared(me: CurrentPrincipal) -> str:
        return me.sub

    app = FastAPI()
    app.get("/dependency", dependencies=[public])(counted.handler())
    app.get("/unmarked")(counted.handler())
    protect(app, SmallGate())
    assert (await call(app, "/dependency")).status == 200
    assert (await call(app, "/unmarked")).status == 401
    assert counted.ran == ["handler"]


async def test_somebody_who_holds_nothing_opens_no_door_to_nobody() -> None:
    """An account without roles and nobody at all hold the same empty set; only one of them is somebody."""
    counted, gate = Counted(), SmallGate()
    gate.people["plain"] = Principal(sub="plain", kind=PrincipalKind.PERSON)
    app = Starlette(routes=[Route("/leaf", counted.endpoint())])
    protect(app, gate)
    assert gate.people["plain"].roles is ANONYMOUS.roles
    for who, status in (("plain", 200), (None, 401), ("plain", 200), (None, 401)):
        assert (await call(app, "/leaf", who)).status == status
    assert len(counted.ran) == 2


async def test_what_was_allowed_once_is_decided_anew_for_others() -> None:
    """A leaf remembers what met it, not who was let in."""
    counted = Counted()
    app = Starlette(routes=[Route("/leaf", permissions("order:approve")(counted.endpoint()))])
    gate = SmallGate()
    protect(app, gate)
    for who, status in (("checker", 200), ("maker", 403), ("checker", 200), (None, 401), ("admin", 403)):
        assert (await call(app, "/leaf", who)).status == status
    demoted = gate.people["checker"]
    gate.people["checker"] = Principal(demoted.sub, demoted.kind, demoted.roles, frozenset())
    assert (await call(app, "/leaf", "checker")).status == 403
    assert len(counted.ran) == 2


# --- objects that are called


class _OnlyAdmins:
    @roles("admin")
    def __call__(self) -> int:
        return 1


async def test_a_requirement_on_the_call_of_a_dependency_object_is_decided_at_dispatch() -> None:
    """Before the body is read, and whether the dependency is overridden or not."""
    counted, only_admins = Counted(), _OnlyAdmins()
    app = FastAPI()

    @app.post("/leaf")
    def leaf(payload: dict[str, int] = Body(), who: int = Depends(only_admins)) -> None:
        counted.ran.append("leaf")

    app.get("/included", dependencies=[Depends(only_admins)])(counted.handler())
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker", method="POST", body=b"{")).status == 403
    app.dependency_overrides[only_admins] = lambda: 1
    assert (await call(app, "/leaf", "maker", method="POST", body=b"{}")).status == 403
    assert (await call(app, "/included", "maker")).status == 403
    assert counted.ran == []
    assert (await call(app, "/leaf", "admin", method="POST", body=b"{}")).status == 200


async def test_a_requirement_on_the_call_of_an_endpoint_object_is_decided_at_dispatch() -> None:
    """`live` there asks the store; `public` there opens nothing, as it is not on what was registered."""

    class Live:
        @live
        def __call__(self) -> int:
            return 1

    class Public:
        @public
        def __call__(self) -> int:
            return 1

    app, gate = FastAPI(), SmallGate()
    app.add_api_route("/live", Live())
    app.add_api_route("/public", Public())
    protect(app, gate)
    assert (await call(app, "/live")).status == 401
    assert (await call(app, "/live", "maker")).status == 200
    assert gate.live_asked == ["id-of-maker"]
    assert (await call(app, "/public")).status == 401


# --- the seal, and who answers


class _Answering:
    """Middleware inside the guard that answers by itself, as a cache does."""

    def __init__(self, app: ASGIApp, status: int) -> None:
        self.app = app
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse("secret", self.status)(scope, receive, send)


@pytest.mark.parametrize(("status", "expected"), [(200, 500), (206, 500), (302, 302), (429, 429), (503, 503)])
async def test_content_without_a_decision_is_kept_back(
    status: int, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Middleware inside the guard may refuse and redirect; content that nobody decided becomes a 500 and a log line."""
    app = _app(Counted(), middleware=[Middleware(_Answering, status=status)])
    reply = await call(app, "/open")
    assert reply.status == expected
    assert (b"secret" in reply.body) is (expected != 500)
    assert ("without a decision" in caplog.text) is (expected == 500)


async def test_an_exception_handler_for_404_cannot_serve_content() -> None:
    """Not even as «not found, so have this instead»: what is no 404 any more is kept back."""

    async def instead(request: Request, error: Exception) -> Response:
        return PlainTextResponse("secret", 200)

    app = _app(Counted())
    app.add_exception_handler(404, instead)
    reply = await call(app, "/nowhere")
    assert reply.status == 500
    assert b"secret" not in reply.body


async def test_the_router_may_say_that_there_is_nothing() -> None:
    """404, 405 of an open route, and the redirect to a path with a slash are answered without a decision."""
    app = _app(Counted())
    app.router.routes.append(Route("/slash/", public(Counted().endpoint())))
    assert (await call(app, "/nowhere")).status == 404
    assert (await call(app, "/open", method="DELETE")).status == 405
    assert (await call(app, "/slash")).status == 307
    assert (await call(app, "/admin", method="DELETE")).status == 401


async def test_exception_handlers_of_the_application_neither_swallow_nor_restyle_a_refusal() -> None:
    """The refusal is problem details, whatever the application does with errors."""

    async def swallow(request: Request, error: Exception) -> Response:
        return JSONResponse({"fine": True}, 200)

    app = _app(Counted())
    for kind in (401, 403, HTTPException, LimenError, Exception):
        app.add_exception_handler(kind, swallow)
    reply = await call(app, "/admin")
    assert (reply.status, reply.code) == (401, "credential_missing")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["www-authenticate"] == 'Bearer realm="limen"'
    refused = await call(app, "/admin", "maker")
    assert (refused.status, refused.json()["detail"]) == (403, "The role admin is required.")


@pytest.mark.parametrize("error", [Forbidden("Not yours."), Conflict("Too late.")])
async def test_an_error_of_the_catalogue_raised_by_a_handler_is_answered_as_problem_details(error: LimenError) -> None:
    """A service may raise `Forbidden` or `Conflict`, and the caller gets the code and the detail."""

    async def leaf() -> None:
        raise error

    app = FastAPI()
    app.get("/leaf")(public(leaf))
    protect(app, SmallGate())
    reply = await call(app, "/leaf")
    assert (reply.status, reply.code, reply.json()["detail"]) == (error.status, error.code, error.detail)


async def test_what_a_handler_writes_into_its_scope_is_its_own_business() -> None:
    """Once a leaf was decided, `scope.update` is a plain update."""

    async def leaf(request: Request) -> Response:
        request.scope.update({"mine": 1})
        request.scope.update(other=2)
        return PlainTextResponse(f"{request.scope['mine']} {request.scope['other']}")

    app = Starlette(routes=[Route("/leaf", leaf)])
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).body == b"1 2"


async def test_middleware_outside_still_sees_the_route() -> None:
    """Tracing reads endpoint, route and parameters from the scope after the request."""
    seen: dict[str, Any] = {}

    class Tracing:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            seen.update(scope)

    app = Starlette(routes=[Route("/leaf/{name}", public(Counted().endpoint()))])
    protect(app, SmallGate())
    app.add_middleware(Tracing)
    await call(app, "/leaf/x")
    assert seen["path_params"] == {"name": "x"}
    assert seen["endpoint"].__name__ == "handler"


async def test_a_guarded_router_that_is_reached_around_the_guard_answers_500() -> None:
    """Calling the router itself, without the middleware around it, fails closed."""
    counted = Counted()
    app = _app(counted)
    for path in ("/admin", "/open"):
        assert (await call(app.router, path)).status == 500
    assert counted.ran == []


async def test_a_mount_inside_a_restricted_router_is_restricted() -> None:
    """What an application's router demands holds for what is mounted on it as well."""
    counted = Counted()
    inner = Starlette(routes=[Route("/leaf", counted.endpoint())])
    app = FastAPI(dependencies=[roles("admin")])
    app.router.routes.append(Mount("/sub", app=inner))
    protect(app, SmallGate())
    assert (await call(app, "/sub/leaf", "maker")).status == 403
    assert counted.ran == []
    assert (await call(app, "/sub/leaf", "admin")).status == 200
