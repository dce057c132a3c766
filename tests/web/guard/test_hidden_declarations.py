"""What stands below the top of an annotation, where no framework reads it, is refused: nobody answers for us."""

import dataclasses
import json
from typing import Annotated, Any, NamedTuple, NewType, Optional

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Query, WebSocket
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from typing_extensions import Doc, TypeAliasType, TypedDict

from limen.core.errors import ConfigurationError
from limen.core.principal import Principal
from limen.fastapi import CurrentPrincipal, live, policy, public, roles
from limen.starlette import CurrentPrincipal as PlainCurrentPrincipal
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call


@dataclasses.dataclass
class Order:
    id: int = 1
    maker: str = ""


def get_order() -> Order:
    """Return the order that a policy would be asked about."""
    return Order()


class Caller(BaseModel):
    me: CurrentPrincipal


class Outer(BaseModel):
    callers: "list[Caller] | None" = None


class Brought(BaseModel):
    order: Annotated[Order, policy("order:read", load=get_order)]


@dataclasses.dataclass
class Said:
    me: "Principal"


class Told(TypedDict):
    me: Principal


class Tuple(NamedTuple):
    me: Principal


Loaded = Annotated[Order, policy("order:read", load=get_order)]
Renamed = NewType("Renamed", Principal)
Alias = TypeAliasType("Alias", CurrentPrincipal | None)

PRINCIPALS: dict[str, Any] = {
    "union": CurrentPrincipal | None,
    "optional": Optional[CurrentPrincipal],  # noqa: UP045 - people write it
    "list": list[CurrentPrincipal],
    "deep": dict[str, list[CurrentPrincipal] | None],
    "string": "CurrentPrincipal | None",
    "forward": Optional["CurrentPrincipal"],
    "alias": Alias,
    "starlette": PlainCurrentPrincipal | None,
    "around": Annotated[CurrentPrincipal | None, Doc("who")],
    "body": Annotated[CurrentPrincipal | None, Body()],
    "plain": Principal,
    "plain-union": Principal | None,
    "plain-body": Annotated[Principal, Body()],
    "query": Annotated[Caller, Query()],
    "plain-dependency": Annotated[Principal, Depends()],
    "renamed": Renamed,
    "model": Caller,
    "models": Outer,
    "dataclass": Said,
    "typed-dict": Told,
    "named-tuple": dict[str, Tuple],
}
DECLARATIONS: dict[str, Any] = {
    "policy": Loaded | None,
    "policy-optional": Optional[Loaded],  # noqa: UP045 - people write it
    "policy-list": list[Loaded],
    "policy-string": "Loaded | None",
    "policy-model": Brought,
    "policy-depends": Annotated[Loaded | None, Depends(get_order)],
    "roles": Annotated[str, roles("admin")] | None,
}
FORGED = {"sub": "forged", "kind": "person", "id": 1, "maker": "forged", "me": {"sub": "forged", "kind": "person"}}
FORMS = pytest.mark.parametrize("form", [*PRINCIPALS, *DECLARATIONS])


def _handler(counted: Counted, form: str) -> Any:
    async def handler(asked: Any = None) -> str:
        counted.ran.append(repr(asked))
        return "in"

    annotation = {**PRINCIPALS, **DECLARATIONS}[form]
    # Without a default where it is a dependency: FastAPI would not have both.
    handler.__annotations__ = {"asked": annotation}
    if form in {"plain-dependency", "policy-depends"}:
        handler.__defaults__ = None
    return handler


async def _refusal(app: Any) -> str:
    with pytest.raises(ConfigurationError) as told:
        await call(app, "/there", "maker")
    return str(told.value)


@FORMS
async def test_a_hidden_declaration_does_not_start(form: str) -> None:
    """Below the top, or as a type that is read from the request, it is told with route, parameter and remedy."""
    app = FastAPI(openapi_url=None)
    app.post("/hidden")(_handler(Counted(), form))
    protect(app, SmallGate())
    told = await _refusal(app)
    assert "POST /hidden: the parameter asked of " in told
    assert ("asked: CurrentPrincipal" if form in PRINCIPALS else "asked: Annotated[") in told


@FORMS
@pytest.mark.parametrize("way", ["undecorated", "decorated", "dependency", "included"])
async def test_nobody_enters_a_route_with_one_that_was_added_later(form: str, way: str) -> None:
    """Whatever the caller sends, and whoever they are: the handler does not run."""
    app, counted = FastAPI(openapi_url=None), Counted()
    app.get("/there")(counted.handler())
    protect(app, SmallGate())
    assert (await call(app, "/there", "admin")).status == 200
    counted.ran.clear()
    hidden = _handler(counted, form)
    if way == "dependency":
        app.post("/hidden", dependencies=[Depends(hidden)])(counted.handler())
    elif way == "included":
        router = APIRouter()
        router.post("/hidden")(counted.handler())
        app.include_router(router, dependencies=[Depends(hidden)])
    else:
        app.post("/hidden")(live(hidden) if way == "decorated" else hidden)
    for who in (None, "maker", "admin"):
        for body in (FORGED, {"asked": FORGED}, [FORGED], None):
            sent = b"" if body is None else json.dumps(body).encode()
            reply = await call(
                app, "/hidden", who, method="POST", body=sent, query_string=b"sub=forged&kind=person&asked=forged"
            )
            assert reply.status in {401, 403}, reply.body
    assert counted.ran == []


async def test_a_public_route_does_not_let_the_caller_say_who_they_are() -> None:
    """An anonymous caller would have been whoever they liked."""
    app, counted = FastAPI(openapi_url=None), Counted()
    app.get("/there")(counted.handler())
    protect(app, SmallGate())
    await call(app, "/there", "admin")
    app.post("/hidden")(public(_handler(counted, "union")))
    counted.ran.clear()
    assert (await call(app, "/hidden", method="POST", body=json.dumps(FORGED).encode())).status in {401, 403}
    assert counted.ran == []


async def test_a_socket_with_one_does_not_start() -> None:
    """WebSockets read parameters from the request as well."""
    app = FastAPI(openapi_url=None)

    async def socket(websocket: WebSocket, order: Annotated[str, roles("admin")] | None = None) -> None:
        await websocket.accept()

    app.websocket("/socket")(socket)
    protect(app, SmallGate())
    assert "/socket: the parameter order of " in await _refusal(app)


async def test_endpoints_of_starlette_do_not_start_with_one() -> None:
    """A function and a method of a class view: nobody would hand the principal in."""

    async def function(request: Request, me: PlainCurrentPrincipal | None = None) -> PlainTextResponse:
        return PlainTextResponse(repr(me))

    class View(HTTPEndpoint):
        @live
        async def get(self, request: Request, me: PlainCurrentPrincipal | None = None) -> PlainTextResponse:
            return PlainTextResponse(repr(me))

    app = Starlette(routes=[Route("/function", live(function)), Route("/view", View)])
    protect(app, SmallGate())
    told = await _refusal(app)
    assert "/function: the parameter me of " in told
    assert "/view: the parameter me of " in told


@pytest.mark.parametrize("decorated", [False, True], ids=["undecorated", "decorated"])
async def test_what_is_written_at_the_top_works_whatever_the_body_says(decorated: bool) -> None:
    """The principal is the caller's own, in every spelling that FastAPI reads."""
    app = FastAPI(openapi_url=None)

    async def bare(me: CurrentPrincipal) -> str:
        return me.sub

    async def documented(me: Annotated[CurrentPrincipal, Doc("who calls")]) -> str:
        return me.sub

    async def text(me: "CurrentPrincipal") -> str:
        return me.sub

    async def through(me: Annotated[Any, Depends(bare)]) -> str:
        return str(me)

    async def beside(me: CurrentPrincipal, payload: dict[str, Any]) -> str:
        return me.sub if payload else ""

    for each in (bare, documented, text, through, beside):
        app.post(f"/{each.__name__}")(live(each) if decorated else each)
    protect(app, SmallGate())
    for each in (bare, documented, text, through, beside):
        reply = await call(app, f"/{each.__name__}", "maker", method="POST", body=json.dumps(FORGED).encode())
        assert (reply.status, reply.json()) == (200, "id-of-maker"), each.__name__


async def test_a_default_beside_the_principal_works_under_a_decorator() -> None:
    """``me: CurrentPrincipal = None`` is handed in by the decorator, in Starlette and FastAPI."""
    app = FastAPI(openapi_url=None)

    async def handler(me: CurrentPrincipal = None) -> str:  # type: ignore[assignment]
        return me.sub

    app.post("/default")(live(handler))
    protect(app, SmallGate())
    reply = await call(app, "/default", "maker", method="POST", body=json.dumps(FORGED).encode())
    assert (reply.status, reply.json()) == (200, "id-of-maker")
