"""`guard(check)`: a function of the application's own is asked at dispatch, and only a clear yes lets anybody in."""

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from limen import Decision, Principal
from limen.core.errors import ConfigurationError, NotFound
from limen.fastapi import guard, live, public, roles
from limen.web.guard import own_code, protect
from tests.web.guard.kit import Counted, SmallGate, call


class Asked:
    """A check that notes what it was asked, and lets in whoever the path names."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []

    def __call__(self, principal: Principal, request: HTTPConnection) -> Decision:
        self.calls.append((principal.sub, request.url.path, request.path_params.get("who")))
        return (
            Decision.allow()
            if principal.sub == f"id-of-{request.path_params.get('who')}"
            else Decision.deny("not_yours")
        )


def _decorated(app: Any, counted: Counted, asked: Asked) -> str:
    @guard(asked)
    async def leaf(who: str) -> str:
        counted.ran.append(who)
        return who

    app.get("/of/{who}")(leaf)
    return "/of/"


def _dependency(app: Any, counted: Counted, asked: Asked) -> str:
    async def leaf(who: str, payload: Annotated[dict[str, str] | None, Body()] = None) -> str:
        counted.ran.append(who)
        return f"{who}{payload}"

    app.get("/of/{who}", dependencies=[guard(asked)])(leaf)
    return "/of/"


def _annotation(app: Any, counted: Counted, asked: Asked) -> str:
    async def leaf(who: str, me: Annotated[Principal, guard(asked)]) -> str:
        counted.ran.append(who)
        return me.sub

    app.get("/of/{who}")(leaf)
    return "/of/"


def _deep(app: Any, counted: Counted, asked: Asked) -> str:
    inner, outer = APIRouter(), APIRouter()
    _decorated(inner, counted, asked)
    outer.include_router(inner, prefix="/inner")
    app.include_router(outer, prefix="/outer")
    return "/outer/inner/of/"


def _include(app: Any, counted: Counted, asked: Asked) -> str:
    router = APIRouter()
    router.get("/of/{who}")(_handler(counted))
    app.include_router(router, prefix="/in", dependencies=[guard(asked)])
    return "/in/of/"


def _depends(app: Any, counted: Counted, asked: Asked) -> str:
    app.get("/of/{who}", dependencies=[Depends(guard(asked))])(_handler(counted))
    return "/of/"


def _plain(app: Any, counted: Counted, asked: Asked) -> str:
    app.router.routes.append(Route("/of/{who}", guard(asked)(counted.endpoint())))
    return "/of/"


def _mounted(app: Any, counted: Counted, asked: Asked) -> str:
    app.mount("/sub", Starlette(routes=[Route("/of/{who}", guard(asked)(counted.endpoint()))]))
    return "/sub/of/"


def _view(app: Any, counted: Counted, asked: Asked) -> str:
    class View(HTTPEndpoint):
        @guard(asked)
        async def get(self, request: Request) -> Response:
            counted.ran.append("view")
            return PlainTextResponse(request.path_params["who"])

    app.add_route("/of/{who}", View)
    return "/of/"


def _synchronous(app: Any, counted: Counted, asked: Asked) -> str:
    @guard(asked)
    def leaf(request: Request) -> Response:
        counted.ran.append("synchronous")
        return PlainTextResponse(request.path_params["who"])

    app.add_route("/of/{who}", leaf)
    return "/of/"


def _static(app: Any, counted: Counted, asked: Asked) -> str:
    app.mount("/of/{who}", counted.application())
    return "/of/"


def _handler(counted: Counted) -> Callable[[str], Any]:
    async def leaf(who: str) -> str:
        counted.ran.append(who)
        return who

    return leaf


EVERYWHERE = [_plain, _mounted, _view, _synchronous, _static]
WITH_FASTAPI = [_decorated, _dependency, _annotation, _deep, _include, _depends]


@pytest.mark.parametrize(
    ("framework", "add"),
    [(FastAPI, add) for add in WITH_FASTAPI] + [(kind, add) for kind in (FastAPI, Starlette) for add in EVERYWHERE],
)
async def test_it_is_asked_wherever_it_is_written(framework: Any, add: Any) -> None:
    """With the principal and the leaf's own path parameters, once, before anything runs; its reason is told."""
    app, counted, asked = framework(), Counted(), Asked()
    prefix = add(app, counted, asked)
    protection = protect(app, SmallGate())
    if add is _static:
        protection.mount_rule("/of/{who}", guard(asked))
    path = f"{prefix}maker{'/below' if add is _static else ''}"
    # A body that is none is read after the decision, and never before.
    allowed, ran = (422, 0) if add is _dependency else (200, 1)
    assert (await call(app, path, body=b"{")).code == "credential_missing"
    reply = await call(app, path, "checker", body=b"{")
    assert (reply.status, reply.code, reply.json()["detail"]) == (403, "policy_denied", "not_yours")
    assert counted.ran == []
    reply = await call(app, path, "maker", body=b"{")
    assert (reply.status, len(counted.ran)) == (allowed, ran)
    assert [(sub, named) for sub, _, named in asked.calls] == [("id-of-checker", "maker"), ("id-of-maker", "maker")]


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_a_socket_is_asked_about_at_its_handshake(framework: Any) -> None:
    """The function sees the handshake, and a no keeps it closed."""
    app, counted, asked = framework(), Counted(), Asked()
    app.router.routes.append(WebSocketRoute("/of/{who}", guard(asked)(counted.socket())))
    protect(app, SmallGate())
    assert (await call(app, "/of/maker", "checker", method="SOCKET")).code == "policy_denied"
    assert counted.ran == []
    assert (await call(app, "/of/maker", "maker", method="SOCKET")).status == 101


async def test_it_comes_after_what_limen_asks() -> None:
    """Nobody, the wrong role and an account that was ended are refused without the function being called."""
    app, counted, asked, gate = FastAPI(), Counted(), Asked(), SmallGate()
    app.get("/of/{who}")(guard(asked)(live(roles("maker")(_handler(counted)))))
    protect(app, gate)
    for who in (None, "nonsense", "checker"):
        assert (await call(app, "/of/maker", who)).status in {401, 403}
    gate.ended.add("maker")
    assert (await call(app, "/of/maker", "maker")).code == "session_ended"
    gate.ended.clear()
    gate.live_roles["id-of-maker"] = frozenset()
    assert (await call(app, "/of/maker", "maker")).code == "role_required"
    assert (asked.calls, counted.ran) == ([], [])


async def test_with_a_live_check_it_is_given_the_principal_of_now() -> None:
    """What the store answers is what the function sees."""
    app, counted, gate = FastAPI(), Counted(), SmallGate()
    seen: list[frozenset[str]] = []

    async def look(principal: Principal, request: HTTPConnection) -> Decision:
        seen.append(principal.roles)
        return Decision.allow()

    app.get("/of/{who}")(live(guard(look)(_handler(counted))))
    protect(app, gate)
    gate.live_roles["id-of-maker"] = frozenset({"admin"})
    assert (await call(app, "/of/maker", "maker")).status == 200
    assert seen == [frozenset({"admin"})]


async def _fails(principal: Principal, request: HTTPConnection) -> Decision:
    raise RuntimeError("broken")


async def _never(principal: Principal, request: HTTPConnection) -> Decision:
    await asyncio.sleep(60)
    return Decision.allow()


async def _body(principal: Principal, request: Request) -> Decision:
    await request.body()
    return Decision.allow()


NOT_A_YES: dict[str, Any] = {
    "no": lambda principal, request: Decision.deny(),
    "True": lambda principal, request: True,
    "None": lambda principal, request: None,
    "the class": lambda principal, request: Decision,
    "1 for True": lambda principal, request: Decision(allowed=1),  # type: ignore[arg-type]
    "an unknown code": lambda principal, request: Decision.deny(code="whatever"),
    "an exception": _fails,
    "an exception in a thread": lambda principal, request: 1 / 0,
    "too slow": _never,
    "a look at the body": _body,
    "a function for True": lambda principal, request: Decision.allow,
}


@pytest.mark.parametrize("name", NOT_A_YES)
@pytest.mark.parametrize("where", ["direct", "included", "mounted"])
async def test_whatever_is_no_clear_yes_is_a_no(name: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """403 `policy_denied`, and no handler runs."""
    monkeypatch.setattr(own_code, "MOST_SECONDS", 0.2)
    app, counted, router = FastAPI(), Counted(), APIRouter()
    endpoint = guard(NOT_A_YES[name])(counted.endpoint())
    if where == "direct":
        app.add_route("/leaf", endpoint)
    elif where == "included":
        router.add_route("/leaf", endpoint)
        app.include_router(router)
    else:
        app.mount("/", Starlette(routes=[Route("/leaf", endpoint)]))
    protect(app, SmallGate())
    reply = await call(app, "/leaf", "maker")
    assert (reply.status, reply.code, counted.ran) == (403, "policy_denied", [])


async def test_a_refusal_of_limens_own_is_answered_as_such() -> None:
    """A function may hide what is there by raising `NotFound`, and ask for a login by the code of its decision."""

    def hides(principal: Principal, request: HTTPConnection) -> Decision:
        raise NotFound()

    def asks(principal: Principal, request: HTTPConnection) -> Decision:
        return Decision.deny("Log in again.", code="step_up_required")

    app, counted = FastAPI(), Counted()
    app.get("/hidden")(guard(hides)(counted.handler()))
    app.get("/step")(guard(asks)(counted.handler()))
    protect(app, SmallGate())
    assert (await call(app, "/hidden", "maker")).code == "not_found"
    reply = await call(app, "/step", "maker")
    assert (reply.status, reply.code, reply.json()["detail"]) == (401, "step_up_required", "Log in again.")
    assert counted.ran == []


async def test_all_of_several_have_to_say_yes() -> None:
    """In the order in which they are written from the outside in; the first no ends it."""
    order: list[str] = []

    def says(name: str, decision: Decision) -> Any:
        def check(principal: Principal, request: HTTPConnection) -> Decision:
            order.append(name)
            return decision

        return check

    app, counted = FastAPI(dependencies=[guard(says("application", Decision.allow()))]), Counted()
    router = APIRouter(dependencies=[guard(says("router", Decision.allow()))])
    router.get("/no")(
        guard(says("first", Decision.deny("first")))(guard(says("second", Decision.allow()))(counted.handler()))
    )
    app.include_router(router)
    protect(app, SmallGate())
    reply = await call(app, "/no", "maker")
    assert (reply.status, reply.json()["detail"], counted.ran) == (403, "first", [])
    assert {"first"} <= set(order) <= {"application", "router", "first", "second"}


async def test_a_function_that_is_not_asynchronous_does_not_stop_the_others() -> None:
    """It runs in a thread, as handlers do that are written so."""
    threads: list[int] = []

    def check(principal: Principal, request: HTTPConnection) -> Decision:
        threads.append(threading.get_ident())
        return Decision.allow()

    app, counted = Starlette(), Counted()
    app.add_route("/leaf", guard(check)(counted.endpoint()))
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 200
    assert threads != [threading.get_ident()]


class Twice:
    """Middleware that dispatches one request to several paths, as batch endpoints do."""

    statuses: list[int]

    def __init__(self, app: Any, paths: list[str]) -> None:
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        type(self).statuses = []
        for path in self.paths:

            async def note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    type(self).statuses.append(message["status"])

            await self.app(dict(scope, path=path), receive, note)
        await PlainTextResponse("")(scope, receive, send)


@pytest.mark.parametrize("included", [False, True])
async def test_one_yes_is_good_for_one_dispatch(included: bool) -> None:
    """A request that is dispatched twice to one leaf, with other parameters, is asked about twice."""
    app, counted, asked = FastAPI(), Counted(), Asked()
    prefix = (_deep if included else _decorated)(app, counted, asked)
    app.add_middleware(Twice, paths=[f"{prefix}maker", f"{prefix}checker", f"{prefix}maker"])
    protect(app, SmallGate())
    await call(app, "/", "maker")
    assert (Twice.statuses, counted.ran) == ([200, 403, 200], ["maker", "maker"])


async def test_overriding_dependencies_switches_nothing_off() -> None:
    """The guard reads what was registered."""
    app, counted, requirement = FastAPI(), Counted(), guard(lambda principal, request: Decision.deny())
    assert requirement.dependency is not None
    app.get("/leaf", dependencies=[requirement])(counted.handler())
    app.dependency_overrides[requirement.dependency] = lambda: None
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 403
    assert counted.ran == []


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
async def test_called_by_another_function_it_is_asked_as_well(kind: str) -> None:
    """A decorated function that no route led to asks for itself where it can wait, and refuses where it cannot."""
    app, counted = Starlette(), Counted()

    @guard(lambda principal, request: Decision.allow() if principal.sub == "id-of-maker" else Decision.deny("inner"))
    async def waiting(request: Request) -> Response:
        counted.ran.append("inner")
        return PlainTextResponse("")

    @guard(lambda principal, request: Decision.allow())
    def at_once(request: Request) -> Response:
        counted.ran.append("inner")
        return PlainTextResponse("")

    async def outer(request: Request) -> Response:
        return await waiting(request) if kind == "asynchronous" else at_once(request)

    app.add_route("/leaf", outer)
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "checker")).code == "policy_denied"
    assert counted.ran == []
    assert (await call(app, "/leaf", "maker")).status == (200 if kind == "asynchronous" else 403)


async def test_both_of_two_gates_are_asked_about() -> None:
    """In an application in an application, each with its own Limen, the function sees both principals."""
    inner, counted, seen = Starlette(), Counted(), []

    def check(principal: Principal, request: HTTPConnection) -> Decision:
        seen.append(principal.sub)
        return Decision.allow() if principal.sub == "id-of-maker" else Decision.deny("not_both")

    inner.add_route("/leaf", guard(check)(counted.endpoint()))
    gate = SmallGate()
    gate.people["maker"] = gate.people["checker"]
    protect(inner, SmallGate())
    outer = Starlette(routes=[Mount("/in", app=inner)])
    protect(outer, gate)
    assert (await call(outer, "/in/leaf", "maker")).json()["detail"] == "not_both"
    assert (seen, counted.ran) == (["id-of-maker", "id-of-checker"], [])


async def test_public_beside_it_is_refused() -> None:
    """It is a restriction like any other."""
    app = FastAPI()
    app.get("/leaf")(public(guard(lambda principal, request: Decision.allow())(Counted().handler())))
    protect(app, SmallGate())
    with pytest.raises(ConfigurationError, match="public and restricted at once"):
        await call(app, "/leaf", "maker")


async def test_it_refuses_where_no_guard_stands() -> None:
    """In an application that nobody protected the function is not even asked."""
    app, counted = Starlette(), Counted()
    app.add_route("/leaf", guard(lambda principal, request: Decision.allow())(counted.endpoint()))
    with pytest.raises(ConfigurationError, match="not protected"):
        await call(app, "/leaf")
    assert counted.ran == []


async def test_a_rule_with_a_check_opens_nothing_where_there_is_no_leaf() -> None:
    """A router's own default has nothing to come back to after the function was asked, so nobody gets in."""
    counted, asked = Counted(), Asked()
    app = Starlette(routes=[Route("/other", counted.endpoint())])
    app.router.default = counted.application("default")
    protect(app, SmallGate()).mount_rule("*", guard(asked))
    assert (await call(app, "/nowhere", "maker")).code == "policy_denied"
    assert (asked.calls, counted.ran) == ([], [])


@pytest.mark.parametrize(
    "wrong", [None, 3, Decision.allow, lambda principal: Decision.allow(), lambda a, b, c: Decision.allow(), []]
)
def test_what_cannot_be_asked_is_refused_at_once(wrong: Any) -> None:
    """No function, or one that does not take a principal and a request."""
    with pytest.raises(ConfigurationError, match="takes a function of 2 arguments"):
        guard(wrong)


def test_it_is_told_in_openapi() -> None:
    """By the function's name, with the 403 that it may answer."""
    app = FastAPI()

    def works_here(principal: Principal, request: HTTPConnection) -> Decision:
        return Decision.allow()

    app.get("/leaf")(guard(works_here)(Counted().handler()))
    protect(app, SmallGate())
    operation = app.openapi()["paths"]["/leaf"]["get"]
    assert operation["x-limen"]["guards"] == ["works_here"]
    assert "that `works_here` says yes" in operation["description"]
    assert {"401", "403"} <= operation["responses"].keys()
