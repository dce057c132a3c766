"""Policies in a Starlette application: a decorator, and a question in the handler. FastAPI is not needed."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from limen import allow, deny
from limen.core.errors import ConfigurationError
from limen.starlette import CurrentPrincipal, enforce_policy, permissions, policy, public, roles
from limen.web.guard import protect
from limen.web.guard.declarations import Declaration
from tests.policies.guarding import NOT_BY_NIGHT, ORDERS, RULES, SUSPENDED, O, U, gate_with
from tests.web.guard.kit import SmallGate, call


def _app(gate: SmallGate, *routes: Any) -> Starlette:
    app = Starlette(routes=list(routes))
    protect(app, gate)
    return app


@pytest.mark.parametrize(
    ("order", "hide", "status"),
    [(1, False, 200), (1, True, 200), (2, False, 403), (2, True, 404), (99, False, 404), (99, True, 404)],
    ids=["allowed", "allowed_hidden", "denied", "denied_hidden", "absent", "absent_hidden"],
)
async def test_a_handler_asks_about_what_it_has_loaded(order: int, hide: bool, status: int) -> None:
    """``enforce_policy`` loads what the policy reads, decides, and hands the resource back."""
    ran: list[Any] = []

    async def approve(request: Request) -> Response:
        found = ORDERS.get(request.path_params["order_id"])
        ran.append(await enforce_policy(request, "order:approve", found, hide=hide))
        return JSONResponse({})

    gate = gate_with()
    reply = await call(_app(gate, Route("/orders/{order_id:int}", approve)), f"/orders/{order}", "checker")
    assert (reply.status, ran) == (status, [ORDERS[1]] if status == 200 else [])
    assert reply.status == 200 or reply.code == ("policy_denied" if status == 403 else "not_found")
    assert gate.loader_asked == ([] if order == 99 else ["id-of-checker"])


async def test_asking_in_an_unprotected_application_fails() -> None:
    """Without the guard nobody can say who is calling, so the question raises in place of answering."""

    async def approve(request: Request) -> Response:
        await enforce_policy(request, "order:approve", ORDERS[1])
        return JSONResponse({})

    with pytest.raises(ConfigurationError, match="protect"):
        await call(Starlette(routes=[Route("/", approve)]), "/", "checker")


async def test_asking_on_a_public_route_asks_for_somebody() -> None:
    """The anonymous principal is told to authenticate."""

    @public
    async def approve(request: Request) -> Response:
        await enforce_policy(request, "order:read", ORDERS[1])
        return JSONResponse({})

    app = _app(gate_with(), Route("/", approve))
    assert [(await call(app, "/", who)).status for who in (None, "checker")] == [401, 200]


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create"), roles("maker")], ids=str)
@pytest.mark.parametrize("kind", ["route", "mount", "view", "socket"])
async def test_denies_by_who_asks_count_on_every_kind_of_leaf(asked: Declaration, kind: str) -> None:
    """Routes, routes of a mount, methods of class views and sockets refuse whom a deny by attribute is about."""
    ran: list[str] = []

    @asked
    async def endpoint(request: Request) -> Response:
        ran.append(kind)
        return JSONResponse({})

    class View(HTTPEndpoint):
        @asked
        async def get(self, request: Request) -> Response:
            ran.append(kind)
            return JSONResponse({})

    @asked
    async def socket(websocket: WebSocket) -> None:
        ran.append(kind)
        await websocket.accept()
        await websocket.close()

    leaf: Any = {
        "route": Route("/leaf", endpoint),
        "mount": Mount("/", routes=[Route("/leaf", endpoint)]),
        "view": Route("/leaf", View),
        "socket": WebSocketRoute("/leaf", socket),
    }[kind]
    gate = gate_with([*RULES, SUSPENDED])
    app = _app(gate, leaf)
    method = "SOCKET" if kind == "socket" else "GET"
    let_in = await call(app, "/leaf", "maker", method=method)
    gate.told["id-of-maker"]["suspended"] = True
    refused = await call(app, "/leaf", "maker", method=method)
    assert (let_in.status in {200, 101}, refused.status, ran) == (True, 403, [kind])


async def test_a_rule_by_path_may_be_a_policy() -> None:
    """What is mounted as a foreign application is opened by a policy that needs no resource."""
    ran: list[str] = []

    async def foreign(scope: Any, receive: Any, send: Any) -> None:
        ran.append(scope["path"])
        await JSONResponse({})(scope, receive, send)

    gate = gate_with()
    app = Starlette(routes=[Mount("/files", app=foreign)])
    protect(app, gate).mount_rule("/files", policy("order:create"))
    statuses = [(await call(app, "/files/x", who)).status for who in ("maker", "checker", None)]
    assert (statuses, len(ran)) == ([200, 403, 401], 1)


async def test_what_the_application_tells_of_a_request_is_told_to_policies() -> None:
    """``policy_context`` is given the request, path parameters and all, once for each."""
    seen: list[str] = []

    def tell(connection: Any) -> dict[str, object]:
        seen.append(connection.path_params["name"])
        return {"entrance": connection.path_params["name"]}

    @policy("order:create")
    async def endpoint(request: Request) -> Response:
        return JSONResponse({})

    gate = gate_with([*RULES, NOT_BY_NIGHT])
    gate.policy_context = tell
    app = _app(gate, Route("/{name}", endpoint))
    assert [(await call(app, f"/{name}", "maker")).status for name in ("day", "night")] == [200, 403]
    assert seen == ["day", "night"]


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create")], ids=str)
async def test_a_gate_around_a_gate_asks_its_own_policies_too(asked: Declaration) -> None:
    """Where one protected application is mounted in another, both have to say yes."""

    @asked
    async def endpoint(request: Request) -> Response:
        return JSONResponse({})

    nobody = [allow("order:create", U.id == "nobody", id="nobody"), deny("order:create", O.amount > 0, id="closed")]
    by_names = [*RULES, deny("order:create", id="closed")]
    closed = nobody if asked.requirement.questions else by_names
    for outer_rules, status in ((RULES, 200), (closed, 403)):
        inner = _app(gate_with(), Route("/leaf", endpoint))
        outer = _app(gate_with(outer_rules), Mount("/inner", app=inner))
        assert (await call(outer, "/inner/leaf", "maker")).status == status


async def test_a_decorated_starlette_handler_gets_a_principal_with_attributes() -> None:
    """What the decorator hands in carries what the loader told."""

    @roles("checker")
    async def endpoint(request: Request, me: CurrentPrincipal) -> Response:
        return JSONResponse(dict(me.attributes or {}))

    reply = await call(_app(gate_with(), Route("/", endpoint)), "/", "checker")
    assert reply.json() == {"limit": 100, "suspended": False}
