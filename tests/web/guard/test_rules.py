"""A rule decides the leaf it was declared for, and no other."""

from typing import Any

import fastapi.routing
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import ConfigurationError, CredentialMissing, RoleRequired
from limen.fastapi import live, roles
from limen.web.guard import protect
from tests.web.guard.kit import Counted, SmallGate, call
from tests.web.guard.rows import ForeignRoute


async def test_of_two_templates_that_match_a_path_the_one_of_the_mount_decides() -> None:
    """The order of the declarations means nothing; the router's match does."""
    counted = Counted()
    routes = [Mount("/{n:int}", app=counted.application("admin")), Mount("/{tenant}", app=counted.application("open"))]
    app = Starlette(routes=routes)
    protection = protect(app, SmallGate())
    protection.public_mount("/{tenant}")
    protection.mount_rule("/{n:int}", roles("admin"))
    assert (await call(app, "/7/x")).status == 401
    assert (await call(app, "/7/x", "maker")).status == 403
    assert (await call(app, "/acme/x")).status == 200
    assert counted.ran == ["open"]


async def test_a_mount_without_a_rule_is_not_opened_by_the_rule_of_another() -> None:
    """Its path matches the other's template; it stays closed, for whoever asks."""
    counted = Counted()
    app = Starlette(routes=[Mount("/admin", app=counted.application()), Mount("/{tenant}", app=counted.application())])
    protect(app, SmallGate()).public_mount("/{tenant}")
    assert (await call(app, "/admin/x")).status == 401
    assert (await call(app, "/admin/x", "admin")).status == 403
    assert counted.ran == []


async def test_a_template_has_to_be_the_one_of_a_mount() -> None:
    """One that merely matches what is registered would be a rule for several; the start refuses it."""
    app = Starlette(routes=[Mount("/{n:int}", app=Counted().application())])
    protection = protect(app, SmallGate())
    protection.public_mount("/{anything}")
    with pytest.raises(ConfigurationError, match=r"a rule is declared for /\{anything\}"):
        await protection.ensure_started()


async def test_one_application_under_two_hosts_has_the_rule_of_each() -> None:
    """The host that matched decides, not the one that was registered last."""
    counted = Counted()
    shared = counted.application()
    app = Starlette(routes=[Host("admin.example", app=shared), Host("www.example", app=shared)])
    protection = protect(app, SmallGate())
    protection.mount_rule("admin.example", roles("admin"))
    protection.public_mount("www.example")
    for _ in range(2):
        assert (await call(app, "/", host="www.example")).status == 200
        assert (await call(app, "/", host="admin.example")).status == 401
        assert (await call(app, "/", "maker", host="admin.example")).status == 403
    assert (await call(app, "/", "admin", host="admin.example")).status == 200
    assert len(counted.ran) == 3


async def test_one_application_under_two_paths_has_the_rule_of_each() -> None:
    """In the application's own router, and in an included one."""
    counted = Counted()
    shared = counted.application()
    for build in (_in_the_application, _included):
        app, prefix = build(shared)
        protection = protect(app, SmallGate())
        protection.public_mount(f"{prefix}/open")
        protection.mount_rule(f"{prefix}/closed/{{n:int}}", roles("admin"))
        assert (await call(app, f"{prefix}/open/a")).status == 200
        assert (await call(app, f"{prefix}/closed/1/a")).status == 401
        assert (await call(app, f"{prefix}/closed/1/a", "admin")).status == 200
    assert len(counted.ran) == 4


def _in_the_application(shared: Any) -> tuple[Any, str]:
    return Starlette(routes=[Mount("/open", app=shared), Mount("/closed/{n:int}", app=shared)]), ""


def _included(shared: Any) -> tuple[Any, str]:
    app, router = FastAPI(openapi_url=None), APIRouter()
    router.mount("/open", shared)
    router.mount("/closed/{n:int}", shared)
    app.include_router(router, prefix="/in")
    if not hasattr(fastapi.routing, "_IncludedRouter"):
        app.mount("/in", router)  # older ones leave mounts behind when they include a router
    return app, "/in"


async def test_one_router_under_two_paths_has_rules_of_its_own_at_each() -> None:
    """The name of a leaf begins with the mount by which the request came, however deep it is."""
    counted = Counted()
    shared = Router(routes=[Mount("/files", app=counted.application())])
    app = Starlette(routes=[Mount("/{n:int}", app=shared), Mount("/{tenant}", app=shared)])
    protection = protect(app, SmallGate())
    protection.public_mount("/{tenant}/files")
    protection.mount_rule("/{n:int}/files", roles("admin"))
    assert (await call(app, "/acme/files/a")).status == 200
    assert (await call(app, "/7/files/a")).status == 401
    assert counted.ran == ["application"]


async def test_what_is_below_a_host_is_named_by_the_host() -> None:
    """The same path below two hosts has two rules."""
    counted = Counted()
    sub = [Mount("/files", app=counted.application())]
    app = Starlette(routes=[Host("a.example", app=Router(routes=sub)), Host("b.example", app=Router(routes=sub))])
    protection = protect(app, SmallGate())
    protection.public_mount("a.example/files")
    assert (await call(app, "/files/x", host="a.example")).status == 200
    assert (await call(app, "/files/x", host="b.example")).status == 401
    assert (await call(app, "/files/x", "admin", host="b.example")).status == 403
    assert counted.ran == ["application"]


async def test_a_path_that_the_server_puts_in_front_is_no_part_of_a_name() -> None:
    """Behind ``root_path`` the same rules hold."""
    counted = Counted()
    app = Starlette(routes=[Mount("/sub", routes=[Mount("/files", app=counted.application())])])
    protect(app, SmallGate()).mount_rule("/sub/files", roles("maker"))
    assert (await call(app, "/behind/sub/files/x", "maker", root_path="/behind")).status == 200
    assert (await call(app, "/behind/sub/files/x", "admin", root_path="/behind")).status == 403


async def test_two_foreign_routes_without_a_path_are_refused() -> None:
    """They would both be named by their class, and one rule would mean both."""
    app = Starlette(routes=[_without_path(), _without_path(), Route("/leaf", Counted().endpoint())])
    protection = protect(app, SmallGate())
    protection.public_mount("<ForeignRoute>")
    with pytest.raises(ConfigurationError, match="two foreign routes without a path"):
        await protection.ensure_started()


def _without_path() -> ForeignRoute:
    route = ForeignRoute("/foreign", Counted())
    del route.path
    return route


# --- a public rule beside restrictions


async def test_a_public_rule_inside_restricting_dependencies_is_refused_at_start() -> None:
    """Both are told, instead of one silently winning."""
    app = FastAPI(openapi_url=None, dependencies=[roles("admin")])
    app.mount("/files", Counted().application())
    protection = protect(app, SmallGate())
    protection.public_mount("/files")
    with pytest.raises(ConfigurationError, match="/files: its rule is public, but dependencies around it restrict it"):
        await protection.ensure_started()


async def test_a_public_rule_inside_restricting_dependencies_lets_nobody_in() -> None:
    """Also where it comes to be while the application runs."""
    counted = Counted()
    app = FastAPI(openapi_url=None, dependencies=[roles("admin")])
    app.get("/leaf")(counted.handler())
    protection = protect(app, SmallGate())
    await protection.ensure_started()
    app.mount("/files", counted.application())
    protection.public_mount("/files")
    for who in (None, "maker", "admin"):
        assert (await call(app, "/files/x", who)).status == 403
    assert counted.ran == []


async def test_the_pages_of_the_documentation_may_be_public_in_a_restricted_application() -> None:
    """They describe what is restricted; `public_docs` names them one by one."""
    app = FastAPI(dependencies=[roles("admin")])
    app.get("/leaf")(Counted().handler())
    protect(app, SmallGate()).public_docs()
    assert (await call(app, "/openapi.json")).status == 200
    assert (await call(app, "/leaf", "maker")).status == 403


# --- below an opaque mount


class _Noting:
    """Middleware around an application, which makes it opaque."""

    def __init__(self, app: ASGIApp, ran: list[str]) -> None:
        self.app = app
        self.ran = ran

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ran.append("middleware")
        await self.app(scope, receive, send)


async def test_below_an_opaque_mount_the_rule_decides_and_decorators_still_hold() -> None:
    """Nothing is decided, and nothing dispatched, a second time by the scope that the mount was entered with."""
    counted = Counted()
    sub, gate = FastAPI(), SmallGate()
    sub.get("/plain")(counted.handler("plain"))
    sub.get("/admin")(roles("admin")(counted.handler("admin")))
    sub.post("/pay")(live(counted.handler("pay")))
    app = FastAPI()
    app.mount("/o", _Noting(sub, counted.ran))
    protect(app, gate).public_mount("/o")
    assert (await call(app, "/o/plain")).status == 200
    assert (await call(app, "/o/pay", "maker", method="POST")).status == 200
    assert gate.live_asked == ["id-of-maker"]
    with pytest.raises(CredentialMissing):  # the application below answered it by itself, as an error of its own
        await call(app, "/o/pay", method="POST")
    with pytest.raises(RoleRequired):
        await call(app, "/o/admin", "maker")
    assert counted.ran == ["middleware", "plain", "middleware", "pay", "middleware", "middleware"]


async def test_below_an_opaque_mount_an_application_that_is_mounted_elsewhere_too_guards_itself() -> None:
    """It was put under guard where it is seen; the way around that mount is no way around the guard."""
    counted = Counted()
    sub = FastAPI(openapi_url=None)
    sub.get("/leaf")(counted.handler("leaf"))
    sub.mount("/files", counted.application("files"))
    app = FastAPI()
    app.mount("/o", _Noting(sub, []))
    app.mount("/seen", sub)
    protection = protect(app, SmallGate())
    protection.public_mount("/o")
    protection.public_mount("/seen/files")
    assert (await call(app, "/seen/files/x")).status == 200
    assert (await call(app, "/o/leaf")).status == 401
    assert (await call(app, "/o/files/x")).status == 401
    assert counted.ran == ["files"]
