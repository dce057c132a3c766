"""What is checked before an application serves, and when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.authz.roles import RoleCatalogue
from limen.core.errors import ConfigurationError, Unavailable
from limen.fastapi import live, permissions, public, roles
from limen.web.guard import Protection, protect
from tests.web.guard.kit import Counted, SmallGate, call
from tests.web.guard.rows import ForeignRoute


def _fastapi() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get("/leaf")(roles("maker")(Counted().handler()))
    return app


async def _refusal(app: Any) -> str:
    """Return why the application refuses to serve."""
    with pytest.raises(ConfigurationError) as told:
        await call(app, "/leaf", "admin")
    return str(told.value)


async def test_a_route_that_is_public_and_restricted_is_refused_at_start() -> None:
    """In whatever order, and at whatever level, the two stand."""
    for number, app in enumerate(FastAPI(openapi_url=None) for _ in range(6)):
        counted = Counted()
        if number == 0:
            app.get("/leaf")(public(roles("maker")(counted.handler())))
        elif number == 1:
            app.get("/leaf")(roles("maker")(public(counted.handler())))
        elif number == 2:
            app.get("/leaf")(public(live(counted.handler())))
        elif number == 3:
            app.get("/leaf", dependencies=[roles("maker")])(public(counted.handler()))
        elif number == 4:
            router = APIRouter()
            router.get("/leaf")(public(counted.handler()))
            app.include_router(router, dependencies=[roles("maker")])
        else:
            app.get("/leaf", dependencies=[public, roles("maker")])(counted.handler())
        protect(app, SmallGate())
        assert "GET /leaf: it is @public and restricted at once" in await _refusal(app), number
        assert counted.ran == []


async def test_the_same_contradiction_in_a_route_added_later_is_denied() -> None:
    """After the start nobody gets in, whatever role they hold."""
    counted = Counted()
    app = _fastapi()
    protect(app, SmallGate())
    assert (await call(app, "/leaf", "maker")).status == 200
    app.get("/late")(public(roles("maker")(counted.handler())))
    for who in (None, "maker", "admin"):
        assert (await call(app, "/late", who)).status in {401, 403}
    assert counted.ran == []


async def test_names_that_are_not_declared_are_refused_at_start() -> None:
    """A misspelt role or permission could never be held: it is told with its route."""
    app = _fastapi()
    app.get("/role")(roles("chekcer")(Counted().handler()))
    app.get("/permission", dependencies=[permissions("order:aprove")])(Counted().handler())
    protection = protect(app, SmallGate())
    app.mount("/files", Counted().application())
    protection.mount_rule("/files", roles("admim"))
    told = await _refusal(app)
    assert "GET /role: the role chekcer is not declared" in told
    assert "GET /permission: no role gives the permission order:aprove" in told
    assert "/files: the role admim is not declared" in told


@pytest.mark.parametrize("catalogue", [None, RoleCatalogue({})])
async def test_names_are_not_checked_where_the_roles_are_not_known(catalogue: RoleCatalogue | None) -> None:
    """Without a catalogue, or with an empty one, any well-formed name will do."""
    app = FastAPI()
    app.get("/leaf")(roles("whatever")(Counted().handler()))
    protect(app, SmallGate(catalogue=catalogue))
    assert (await call(app, "/leaf")).status == 401


async def test_an_application_without_any_route_is_refused() -> None:
    """A walk that finds nothing cannot be trusted."""
    app = Starlette()
    protect(app, SmallGate())
    assert "no route at all" in await _refusal(app)


async def test_a_foreign_route_is_refused_at_start_until_declared() -> None:
    """Its endpoint cannot be seen, so it needs a rule for its path."""
    counted = Counted()
    app = Starlette(routes=[ForeignRoute("/foreign", counted)])
    protection = protect(app, SmallGate())
    assert "declare gate.mount_rule('/foreign'" in await _refusal(app)
    other = Starlette(routes=[ForeignRoute("/foreign", counted)])
    protection = protect(other, SmallGate())
    protection.mount_rule("/foreign", roles("maker"))
    assert (await call(other, "/foreign")).status == 401
    assert counted.ran == []


async def test_a_router_whose_dispatch_was_replaced_is_refused() -> None:
    """Whoever puts the router's own dispatch back takes the guard out, at the application or in what is mounted."""
    for mounted in (False, True):
        counted, inner = Counted(), Starlette()
        inner.add_route("/leaf", counted.endpoint())
        app = Starlette(routes=[Mount("/sub", app=inner)]) if mounted else inner
        protection = protect(app, SmallGate())
        assert [each.path for each in protection.leaves()]
        inner.router.middleware_stack = inner.router.app
        assert "without the guard" in await _refusal(app)
        assert counted.ran == []


async def test_a_rule_that_no_leaf_needs_is_refused() -> None:
    """A misspelt path would leave the mount closed and its owner wondering; a route carries its own marks."""
    for path in ("/statics", "/leaf", "/sub"):
        app = _fastapi()
        app.mount("/sub", Starlette(routes=[Route("/leaf", Counted().endpoint())]))
        protect(app, SmallGate()).public_mount(path)
        assert f"a rule is declared for {path}" in await _refusal(app)


async def test_two_rules_for_one_path_are_refused() -> None:
    """The same rule twice is one rule."""
    protection = protect(_fastapi(), SmallGate())
    protection.public_mount("/static")
    protection.public_mount("/static/")
    with pytest.raises(ConfigurationError, match="two different rules"):
        protection.mount_rule("/static", roles("maker"))


async def test_a_rule_may_be_a_template() -> None:
    """Mounts with parameters are declared as they are written."""
    counted = Counted()
    app = Starlette(routes=[Mount("/{tenant}/files", app=counted.application())])
    protect(app, SmallGate()).mount_rule("/{tenant}/files", roles("maker"))
    assert (await call(app, "/acme/files/a")).status == 401
    assert (await call(app, "/acme/files/a", "maker")).status == 200


async def test_strict_refuses_a_route_that_states_nothing() -> None:
    """protect(strict=True) names each of them; limen's own routes and declared mounts are not asked."""
    app = _fastapi()
    app.get("/silent")(Counted().handler())
    app.mount("/files", Counted().application())
    protect(app, SmallGate(), strict=True).public_mount("/files")
    told = await _refusal(app)
    assert "GET /silent: it states nothing" in told
    assert "/files" not in told
    strict = _fastapi()
    protect(strict, SmallGate(), strict=True)
    assert (await call(strict, "/leaf", "maker")).status == 200


class _Hiding:
    """Middleware that does not show what it wraps."""

    def __init__(self, app: ASGIApp) -> None:
        self._hidden = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._hidden(scope, receive, send)


class _OwnDispatch(Router):
    """A router that dispatches by code of its own."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.routes[0].handle(scope, receive, send)


async def test_a_router_that_the_guard_cannot_stand_in_is_refused() -> None:
    """Middleware that hides the dispatch, and a dispatch of its own, are told at `protect` or at start."""
    counted = Counted()
    hiding = Router(routes=[Route("/leaf", counted.endpoint())], middleware=[Middleware(_Hiding)])
    app = Starlette(routes=[Mount("/sub", app=hiding), Route("/leaf", counted.endpoint())])
    protect(app, SmallGate())
    assert "_Hiding" in await _refusal(app)
    own = Starlette()
    own.router = _OwnDispatch(routes=[Route("/leaf", counted.endpoint())])
    with pytest.raises(ConfigurationError, match="code of its own"):
        protect(own, SmallGate())
    assert counted.ran == []


async def test_a_mounted_router_with_a_dispatch_of_its_own_is_opaque() -> None:
    """It is denied until a rule is declared."""
    counted = Counted()
    app = Starlette(routes=[Mount("/sub", app=_OwnDispatch(routes=[Route("/leaf", counted.endpoint())]))])
    protect(app, SmallGate())
    assert (await call(app, "/sub/leaf", "admin")).status == 403
    assert counted.ran == []


async def test_a_refusal_stays_a_refusal() -> None:
    """Every request gets it, not only the first."""
    app = _fastapi()
    app.get("/wrong")(roles("nobody-declared-this")(Counted().handler()))
    protect(app, SmallGate())
    assert await _refusal(app) == await _refusal(app)


async def test_what_the_gate_stands_on_may_come_back() -> None:
    """While the gate cannot start the answer is 503; once it can, the application serves."""
    gate = SmallGate(unavailable=Unavailable())
    app = _fastapi()
    protect(app, gate)
    reply = await call(app, "/leaf", "maker")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unavailable", "2")
    gate.unavailable = None
    assert (await call(app, "/leaf", "maker")).status == 200


async def test_parallel_first_requests_start_once() -> None:
    """Fifty at once find one start."""
    gate = SmallGate()
    app = _fastapi()
    protect(app, gate)
    replies = await asyncio.gather(*(call(app, "/leaf", "maker") for _ in range(50)))
    assert {reply.status for reply in replies} == {200}
    assert gate.started == 1


# --- protect


def test_protecting_twice_is_protecting_once() -> None:
    """The same gate gets its protection back; another gate is refused."""
    app, gate = _fastapi(), SmallGate()
    first = protect(app, gate)
    assert protect(app, gate, strict=True) is first
    assert first.strict
    assert len(app.user_middleware) == 1
    with pytest.raises(ConfigurationError, match="another Limen object"):
        protect(app, SmallGate())


async def test_protecting_a_running_application_is_refused() -> None:
    """Its middleware is built already, so the guard would stand nowhere."""
    app = Starlette(routes=[Route("/leaf", Counted().endpoint())])
    await call(app, "/leaf")
    with pytest.raises(ConfigurationError, match="first request"):
        protect(app, SmallGate())


@pytest.mark.parametrize("thing", [None, Router(), lambda scope, receive, send: None])
def test_only_applications_can_be_protected(thing: Any) -> None:
    """A bare ASGI callable has no routes to look at."""
    with pytest.raises(ConfigurationError, match="Starlette or FastAPI"):
        protect(thing, SmallGate())


@pytest.mark.parametrize("same_gate", [True, False])
async def test_an_application_protected_on_its_own_may_be_mounted_in_a_protected_one(same_gate: bool) -> None:
    """Both guards must say yes: the inner one's roles hold, and the outer one's gate must know the caller."""
    counted = Counted()
    inner, outer = _fastapi(), FastAPI()
    inner.get("/admin")(roles("admin")(counted.handler()))
    gate = SmallGate()
    other = gate if same_gate else SmallGate()
    protect(inner, gate)
    outer.mount("/sub", inner)
    protect(outer, other)
    for who, status in ((None, 401), ("maker", 403), ("admin", 200)):
        assert (await call(outer, "/sub/admin", who)).status == status
    assert counted.ran == ["handler"]
    if not same_gate:
        other.people.clear()
        assert (await call(outer, "/sub/admin", "admin")).status == 401
        assert counted.ran == ["handler"]


async def test_a_protected_application_inside_an_unprotected_one_guards_itself() -> None:
    """Mounting it somewhere else opens nothing."""
    counted = Counted()
    inner = FastAPI()
    inner.get("/leaf")(counted.handler())
    protect(inner, SmallGate())
    outer = Starlette(routes=[Mount("/sub", app=inner)])
    assert (await call(outer, "/sub/leaf")).status == 401
    assert (await call(outer, "/sub/leaf", "maker")).status == 200


# --- lifespan


async def _lifespan(app: Any) -> list[Message]:
    sent: list[Message] = []
    incoming = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> Message:
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    with contextlib.suppress(ConfigurationError, Unavailable):
        await app(scope, receive, send)
    return sent


async def test_the_gate_starts_before_the_application_and_stops_after_it() -> None:
    """The application's own start may need accounts, and its end as well."""
    gate = SmallGate()
    order: list[tuple[str, int, int]] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        order.append(("up", gate.started, gate.stopped))
        yield
        order.append(("down", gate.started, gate.stopped))

    app = Starlette(routes=[Route("/leaf", Counted().endpoint())], lifespan=lifespan)
    protection = protect(app, gate)
    sent = await _lifespan(app)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [(name, started > 0, stopped) for name, started, stopped in order] == [("up", True, 0), ("down", True, 0)]
    assert gate.stopped == 1
    assert not protection.ready


async def test_routes_that_the_lifespan_adds_are_walked() -> None:
    """The check comes after the application's own start."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        app.add_route("/late", public(roles("maker")(Counted().endpoint())))
        yield

    app = Starlette(routes=[Route("/leaf", Counted().endpoint())], lifespan=lifespan)
    protect(app, SmallGate())
    sent = await _lifespan(app)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "/late: it is @public and restricted at once" in sent[0]["message"]


async def test_a_gate_that_cannot_start_fails_the_lifespan() -> None:
    """Servers are told so; otherwise they would take it for «no lifespan», and serve."""
    app = _fastapi()
    protect(app, SmallGate(unavailable=Unavailable("The database is not there.")))
    sent = await _lifespan(app)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "database" in sent[0]["message"]


def test_a_client_without_lifespan_is_served() -> None:
    """`TestClient(app)` without `with` runs no lifespan, and that is how most tests of applications are written."""
    app = _fastapi()
    protect(app, SmallGate())
    client = TestClient(app)
    for _ in range(2):
        assert client.get("/leaf").status_code == 401
        assert client.get("/leaf", headers={"Authorization": "Bearer maker"}).status_code == 200


def test_a_client_with_lifespan_is_served_and_refused() -> None:
    """`with TestClient(app)` raises what is wrong."""
    app = _fastapi()
    protect(app, SmallGate())
    with TestClient(app) as client:
        assert client.get("/leaf", headers={"Authorization": "Bearer maker"}).status_code == 200
    wrong = _fastapi()
    wrong.get("/wrong")(public(roles("maker")(Counted().handler())))
    protect(wrong, SmallGate())
    with pytest.raises(ConfigurationError), TestClient(wrong):
        pytest.fail("it started")


def test_the_leaves_of_an_application_can_be_listed() -> None:
    """Every leaf with its path, however deep it is, each once."""
    app, router, inner = FastAPI(openapi_url=None), APIRouter(), APIRouter()
    inner.get("/{number:int}")(Counted().handler())
    inner.websocket("/socket")(Counted().socket())
    router.include_router(inner, prefix="/b")
    app.include_router(router, prefix="/a")
    app.mount("/sub", Starlette(routes=[Route("/plain", Counted().endpoint())]))
    app.mount("/opaque", Counted().application())
    protection = protect(app, SmallGate())
    assert isinstance(protection, Protection)
    paths = [each.path for each in protection.leaves()]
    assert sorted(paths) == ["/a/b/socket", "/a/b/{number:int}", "/opaque", "/sub/plain"]
