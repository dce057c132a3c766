"""`live` asks the store again before the handler runs, once, and at dispatch."""

from typing import Any

import fastapi.routing
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Receive, Scope, Send

from limen.core.errors import Unavailable
from limen.core.principal import Principal
from limen.fastapi import CurrentPrincipal, live, public, roles
from limen.web.guard import protect
from tests.web.guard.kit import CopyingMiddleware, Counted, SmallGate, call


def _app(counted: Counted, gate: SmallGate) -> FastAPI:
    app, router = FastAPI(), APIRouter()

    def leaf() -> Any:
        # One function for each route: a restriction goes with the function it was written on.
        async def handler(me: CurrentPrincipal, payload: dict[str, int] = Body()) -> list[str]:
            counted.ran.append("leaf")
            return sorted(me.roles)

        return handler

    app.post("/direct")(live(roles("checker")(leaf())))
    app.post("/dependency", dependencies=[live(), roles("checker")])(leaf())
    router.post("/leaf")(roles("checker")(leaf()))
    app.include_router(router, prefix="/included", dependencies=[live])
    app.mount("/sub", Starlette(routes=[Route("/leaf", live(counted.endpoint()), methods=["POST"])]))
    app.post("/plain")(roles("checker")(leaf()))
    protect(app, gate)
    return app


LIVE = ["/direct", "/dependency", "/included/leaf", "/sub/leaf"]


@pytest.mark.parametrize("path", LIVE)
async def test_an_account_whose_session_ended_is_refused_before_the_body_is_read(path: str) -> None:
    """The token is good, the store says no: 401, although the body is malformed, and nothing runs."""
    counted, gate = Counted(), SmallGate()
    app = _app(counted, gate)
    gate.ended.add("checker")
    reply = await call(app, path, "checker", method="POST", body=b"{")
    assert (reply.status, reply.code) == (401, "session_ended")
    assert counted.ran == []
    assert gate.live_asked == ["id-of-checker"]


@pytest.mark.parametrize("path", LIVE[:3])
async def test_a_role_that_was_taken_away_is_missed_at_once(path: str) -> None:
    """The token still says checker, the account does not: 403."""
    counted, gate = Counted(), SmallGate()
    app = _app(counted, gate)
    gate.live_roles["id-of-checker"] = frozenset({"maker"})
    reply = await call(app, path, "checker", method="POST", body=b"{}")
    assert (reply.status, reply.code) == (403, "role_required")
    assert counted.ran == []


@pytest.mark.parametrize("path", LIVE)
async def test_the_store_is_asked_once_and_the_handler_runs_once(path: str) -> None:
    """The second dispatch finds the leaf decided, and the handler gets the principal of now."""
    counted, gate = Counted(), SmallGate()
    app = _app(counted, gate)
    gate.live_roles["id-of-checker"] = frozenset({"checker", "maker"})
    reply = await call(app, path, "checker", method="POST", body=b"{}")
    assert reply.status == 200
    assert len(counted.ran) == 1
    assert gate.live_asked == ["id-of-checker"]
    if path != "/sub/leaf":
        assert reply.json() == ["checker", "maker"]


async def test_without_live_the_store_is_not_asked() -> None:
    """A guarded request costs no store call."""
    counted, gate = Counted(), SmallGate()
    app = _app(counted, gate)
    assert (await call(app, "/plain", "checker", method="POST", body=b"{}")).status == 200
    assert gate.live_asked == []


@pytest.mark.parametrize("path", LIVE[:3])
async def test_nobody_and_the_wrong_role_do_not_reach_the_store(path: str) -> None:
    """What the token alone refuses costs no store call: a flood of bad requests does not become a flood of look-ups."""
    gate = SmallGate()
    app = _app(Counted(), gate)
    for who, status in ((None, 401), ("maker", 403)):
        assert (await call(app, path, who, method="POST", body=b"{}")).status == status
    assert gate.live_asked == []


async def test_a_store_that_does_not_answer_is_a_no() -> None:
    """503, and nothing runs."""
    counted = Counted()

    class Down(SmallGate):
        async def live(self, principal: Principal) -> Principal:
            raise Unavailable()

    app = _app(counted, Down())
    reply = await call(app, "/direct", "checker", method="POST", body=b"{}")
    assert (reply.status, reply.code) == (503, "unavailable")
    assert counted.ran == []


async def test_live_works_through_middleware_that_copies_and_for_class_views_and_sockets() -> None:
    """Wherever the leaf is, the check comes before it."""
    counted, gate = Counted(), SmallGate()

    @live
    class View(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return await counted.endpoint("view")(request)

    class Method(HTTPEndpoint):
        @live
        async def get(self, request: Request) -> Response:
            return await counted.endpoint("method")(request)

    class Synchronous(HTTPEndpoint):
        @live
        def get(self, request: Request) -> Response:
            counted.ran.append("synchronous")
            return Response()

    app = FastAPI()
    app.router.routes += [Route("/view", View), Route("/method", Method), Route("/synchronous", Synchronous)]
    app.websocket("/socket")(live(counted.socket()))
    protect(app, gate)
    app.add_middleware(CopyingMiddleware)
    for path, method in (
        ("/view", "GET"),
        ("/method", "GET"),
        ("/method", "HEAD"),
        ("/synchronous", "GET"),
        ("/socket", "SOCKET"),
    ):
        gate.ended.clear()
        assert (await call(app, path, "maker", method=method)).status in {200, 101}
        gate.ended.add("maker")
        assert (await call(app, path, "maker", method=method)).status in {401, 403}
    assert counted.ran == ["view", "method", "method", "synchronous", "socket"]


async def test_the_route_that_was_found_before_a_live_check_is_the_one_that_is_entered() -> None:
    """A route that names another endpoint every time it is asked is asked once, and decided for what it named."""
    counted, gate = Counted(), SmallGate()

    class Alternating(BaseRoute):
        endpoints = (roles("admin")(counted.endpoint("first")), live(counted.endpoint("second")))
        times = 0

        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            self.times += 1
            return Match.FULL, {"endpoint": self.endpoints[self.times % 2]}

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            counted.ran.append(scope["endpoint"].__name__)
            await scope["endpoint"](Request(scope, receive, send))
            await Response()(scope, receive, send)

    app = Starlette(routes=[Route("/other", counted.endpoint())])
    protection = protect(app, gate)
    assert (await call(app, "/other", "maker")).status == 200
    protection.mount_rule("<Alternating>", roles("admin", "maker"))
    route = Alternating()
    app.router.routes.append(route)
    assert (await call(app, "/leaf", "maker")).status == 200
    assert (route.times, gate.live_asked) == (1, ["id-of-maker"])
    assert (await call(app, "/leaf", "maker")).status == 403


async def test_a_router_that_changes_during_a_live_check_lets_nobody_in() -> None:
    """The check counts for the leaf it was made for; what stands in its place when the store answers is not entered."""
    counted, router = Counted(), APIRouter()
    router.get("/leaf")(live(counted.handler()))

    class Slow(SmallGate):
        async def live(self, principal: Principal) -> Principal:
            fresh = await super().live(principal)
            router.routes.clear()
            router.get("/leaf")(live(counted.handler()))
            return fresh

    app = FastAPI()
    app.include_router(router)
    protect(app, Slow())
    reply = await call(app, "/leaf", "maker")
    # Older versions of FastAPI copy the routes when the router is included.
    included = hasattr(fastapi.routing, "_IncludedRouter")
    assert (reply.status, len(counted.ran)) == ((403, 0) if included else (200, 1))


async def test_a_dependency_that_is_live_makes_its_route_live() -> None:
    """A shared dependency with `live` in it is seen at dispatch."""
    counted, gate = Counted(), SmallGate()

    @live
    async def fresh(request: Request) -> None:
        assert request.url.path

    app = FastAPI()
    app.get("/leaf", dependencies=[Depends(fresh)])(counted.handler())
    protect(app, gate)
    gate.ended.add("maker")
    assert (await call(app, "/leaf", "maker")).status == 401
    assert counted.ran == []


async def test_a_declared_rule_may_be_live() -> None:
    """A mounted application can ask for a live check as well."""
    counted, gate = Counted(), SmallGate()
    app: Any = Starlette(
        routes=[Mount("/files", app=counted.application()), Route("/open", public(counted.endpoint()))]
    )
    protect(app, gate).mount_rule("/files", live)
    assert (await call(app, "/files/a", "maker")).status == 200
    gate.ended.add("maker")
    assert (await call(app, "/files/a", "maker")).status == 401
    assert counted.ran == ["application"]


@pytest.mark.parametrize("path", LIVE)
async def test_a_failure_that_nobody_foresaw_is_answered_as_problem_details(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the gate is 500 with a trace id, not the framework's plain text, and it is logged."""

    class Broken(SmallGate):
        async def live(self, principal: Principal) -> Principal:
            raise RuntimeError("a fault")

    counted = Counted()
    reply = await call(_app(counted, Broken()), path, "checker", method="POST", body=b'{"a": 1}')
    assert (reply.status, reply.headers["content-type"]) == (500, "application/problem+json")
    assert reply.json()["trace_id"]
    assert b"a fault" not in reply.body
    assert "a live check failed" in caplog.text
    assert counted.ran == []
