"""`intercept(before=…, after=…)`: functions around a handler may refuse and look on, and open nothing."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from limen import Decision, Principal
from limen.core.errors import ConfigurationError, Forbidden
from limen.fastapi import ResponseStart, guard, intercept, roles
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call


class Seen:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def before(self, principal: Principal, request: HTTPConnection) -> None:
        self.told.append(("before", principal.sub, request.url.path))

    async def after(self, principal: Principal, request: HTTPConnection, start: ResponseStart) -> None:
        self.told.append((start.status, start.headers.get("content-type", "").partition(";")[0]))


def _app(where: str, endpoint: Any) -> Any:
    if where == "Starlette":
        return Starlette(routes=[Route("/leaf", endpoint)])
    app = FastAPI()
    if where == "included":
        router = APIRouter()
        router.add_route("/leaf", endpoint)
        app.include_router(router)
    elif where == "mounted":
        app.mount("/", Starlette(routes=[Route("/leaf", endpoint)]))
    else:
        app.add_route("/leaf", endpoint)
    return app


PLACES = ["Starlette", "FastAPI", "included", "mounted"]


@pytest.mark.parametrize("where", PLACES)
async def test_it_sees_the_request_and_how_the_answer_begins(where: str) -> None:
    """Once each, for whoever was let in; of those who were not it hears nothing."""
    counted, seen = Counted(), Seen()
    app = _app(where, intercept(before=seen.before, after=seen.after)(roles("maker")(counted.endpoint())))
    protect(app, SmallGate())
    for who in (None, "nonsense", "checker"):
        assert (await call(app, "/leaf", who)).status in {401, 403}
    assert seen.told == []
    assert (await call(app, "/leaf", "maker")).body == b"endpoint"
    assert seen.told == [("before", "id-of-maker", "/leaf"), (200, "text/plain")]


@pytest.mark.parametrize("where", PLACES)
async def test_before_may_refuse(where: str) -> None:
    """Its reason is told, the handler does not run, and nothing is seen of the refusal."""
    counted, seen = Counted(), Seen()
    no = intercept(before=lambda principal, request: Decision.deny("closed_today"), after=seen.after)
    app = _app(where, no(counted.endpoint()))
    protect(app, SmallGate())
    reply = await call(app, "/leaf", "maker")
    assert (reply.status, reply.code, reply.json()["detail"]) == (403, "policy_denied", "closed_today")
    assert (counted.ran, seen.told) == ([], [])


async def _broken(principal: Principal, request: HTTPConnection) -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("name", ["an exception", "True", "a class"])
@pytest.mark.parametrize("where", PLACES)
async def test_a_fault_before_is_answered_500_and_nothing_runs(name: str, where: str) -> None:
    """Neither an exception nor a word that is no decision lets anybody in."""
    faults: dict[str, Any] = {"an exception": _broken, "True": lambda a, b: True, "a class": lambda a, b: Decision}
    counted = Counted()
    app = _app(where, intercept(before=faults[name])(counted.endpoint()))
    protect(app, SmallGate())
    reply = await call(app, "/leaf", "maker")
    assert (reply.status, reply.code, counted.ran) == (500, "internal_error", [])


async def _too_late(principal: Principal, request: HTTPConnection, start: ResponseStart) -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("name", ["an exception", "a Decision", "a change"])
@pytest.mark.parametrize("where", PLACES)
async def test_a_fault_after_keeps_the_answer_back(name: str, where: str) -> None:
    """500, and nothing of what the handler said; neither a yes nor a changed status comes through."""

    def changes(principal: Principal, request: HTTPConnection, start: Any) -> None:
        start.status = 200

    faults: dict[str, Any] = {
        "an exception": _too_late,
        "a Decision": lambda a, b, c: Decision.allow(),
        "a change": changes,
    }
    counted = Counted()
    app = _app(where, intercept(after=faults[name])(counted.endpoint()))
    protect(app, SmallGate())
    reply = await call(app, "/leaf", "maker")
    assert (reply.status, reply.code, counted.ran) == (500, "internal_error", ["endpoint"])
    assert b"endpoint" not in reply.body


async def test_what_a_handler_swallows_is_a_fault_all_the_same() -> None:
    """Neither a handler nor an exception handler of the application turns a kept back answer into another one."""

    async def swallows(request: Request) -> Response:
        inner = PlainTextResponse("inner")

        class Quiet(Response):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                for attempt in (inner, PlainTextResponse("again")):
                    try:
                        await attempt(scope, receive, send)
                    except Exception:  # noqa: S112 - this is what is tested
                        continue

        return Quiet()

    async def revived(request: Request, error: Exception) -> Response:
        return JSONResponse({"revived": True})

    for endpoint in (swallows, Counted().endpoint()):
        app = FastAPI(exception_handlers={Exception: revived, 500: revived})
        app.add_route("/leaf", intercept(after=_too_late)(endpoint))
        protect(app, SmallGate())
        reply = await call(app, "/leaf", "maker")
        assert (reply.status, reply.code) == (500, "internal_error")


async def test_it_sees_what_a_handler_refuses() -> None:
    """An exception of the framework's, one of limen's, and an answer with an error's status look alike to it."""
    app, seen = FastAPI(), Seen()

    async def leaf(how: str) -> Response:
        if how == "framework":
            raise HTTPException(418)
        if how == "limen":
            raise Forbidden()
        return Response(status_code=409)

    app.get("/{how}")(intercept(after=seen.after)(leaf))
    protect(app, SmallGate())
    assert [(await call(app, f"/{how}", "maker")).status for how in ("framework", "limen", "plain")] == [418, 403, 409]
    assert [status for status, _ in seen.told] == [418, 403, 409]


async def test_the_outermost_comes_first_and_last() -> None:
    """Like layers: what is written around everything is asked first, and sees the answer last."""
    order: list[str] = []

    def layer(name: str) -> Any:
        return intercept(
            before=lambda principal, request: order.append(f"{name} before"),
            after=lambda principal, request, start: order.append(f"{name} after"),
        )

    app, counted = Starlette(), Counted()
    inner = layer("inner")(counted.endpoint())
    app.add_route("/leaf", layer("outer")(inner))
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 200
    assert sorted(order) == ["inner after", "inner before", "outer after", "outer before"]
    befores = [each for each in order if each.endswith("before")]
    afters = [each for each in order if each.endswith("after")]
    assert [each.split()[0] for each in befores] == [each.split()[0] for each in reversed(afters)]


async def test_a_socket_is_seen_when_it_opens() -> None:
    """101 for one that is opened, 403 for one that is closed before; a fault keeps it closed."""
    counted, seen = Counted(), Seen()

    async def closes(websocket: Any) -> None:
        await websocket.close()

    app = Starlette(
        routes=[
            WebSocketRoute("/open", intercept(before=seen.before, after=seen.after)(counted.socket())),
            WebSocketRoute("/closed", intercept(after=seen.after)(closes)),
            WebSocketRoute("/broken", intercept(after=_too_late)(counted.socket())),
        ]
    )
    protect(app, SmallGate())
    assert (await call(app, "/open", "maker", method="SOCKET")).status == 101
    assert (await call(app, "/closed", "maker", method="SOCKET")).status == 403
    assert seen.told == [("before", "id-of-maker", "/open"), (101, ""), (403, "")]
    assert (await call(app, "/broken", "maker", method="SOCKET")).status == 500


async def test_around_a_mount_it_sees_everything_below() -> None:
    """What a router's dependencies say holds for what is mounted in it."""
    seen, counted = Seen(), Counted()
    app = FastAPI(dependencies=[intercept(before=seen.before, after=seen.after)])
    app.router.routes.append(Mount("/sub", app=Starlette(routes=[Route("/leaf", counted.endpoint())])))
    protect(app, SmallGate())
    assert (await call(app, "/sub/leaf", "maker")).status == 200
    assert seen.told == [("before", "id-of-maker", "/sub/leaf"), (200, "text/plain")]
    assert (await call(app, "/sub/none", "maker")).status == 404
    assert seen.told[2:] == [("before", "id-of-maker", "/sub/none"), (404, "text/plain")]


async def test_background_work_and_parts_go_on() -> None:
    """What follows the beginning of an answer passes as it was sent."""
    ran: list[str] = []

    async def leaf(request: Request) -> Response:
        return PlainTextResponse("body", background=BackgroundTask(ran.append, "background"))

    app = Starlette(routes=[Route("/leaf", intercept(after=Seen().after)(leaf))])
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).body == b"body"
    assert ran == ["background"]


async def test_beside_a_check_it_comes_second() -> None:
    """What may be refused is refused before anybody looks on."""
    seen, counted = Seen(), Counted()
    app = Starlette()
    app.add_route(
        "/leaf",
        intercept(before=seen.before)(guard(lambda principal, request: Decision.deny("no"))(counted.endpoint())),
    )
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 403
    assert (seen.told, counted.ran) == ([], [])


async def test_called_by_another_function_it_refuses() -> None:
    """Nobody can stand around what no route led to."""
    app, counted = Starlette(), Counted()
    inner = intercept(after=Seen().after)(counted.endpoint("inner"))

    async def outer(request: Request) -> Response:
        return await inner(request)

    app.add_route("/leaf", outer)
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).code == "policy_denied"
    assert counted.ran == []


def test_what_cannot_be_called_is_refused_at_once() -> None:
    """Nothing at all, and functions of other arguments."""
    with pytest.raises(ConfigurationError, match="before=, after=, or both"):
        intercept()
    with pytest.raises(ConfigurationError, match="function of 2 arguments"):
        intercept(before=lambda principal: None)  # type: ignore[arg-type, misc]
    with pytest.raises(ConfigurationError, match="function of 3 arguments"):
        intercept(after=lambda principal, request: None)  # type: ignore[arg-type, misc]


def test_it_is_told_in_openapi() -> None:
    """By the names of its functions."""
    app, seen = FastAPI(), Seen()
    app.get("/leaf")(intercept(before=seen.before, after=seen.after)(Counted().handler()))
    protect(app, SmallGate())
    assert app.openapi()["paths"]["/leaf"]["get"]["x-limen"]["intercepts"] == ["before", "after"]
