"""limen's own limits count as limits, where limen counts: in an application that is protected."""

from pathlib import Path

from fastapi import APIRouter, FastAPI

from limen.checklist.judging import judge, named_public
from limen.checklist.routes.reading import read_application
from limen.fastapi import public, rate_limit
from tests.support.gates import gate_for


def application() -> FastAPI:
    """Return an application with a limit on a route, on a router, and on none."""
    app = FastAPI()
    router = APIRouter(prefix="/auth", dependencies=[rate_limit("9/minute")])

    @app.post("/auth/login")
    @public
    @rate_limit("10/minute")
    async def login() -> None: ...

    @router.post("/forgot-password")
    @public
    async def forgotten() -> None: ...

    @app.post("/auth/register")
    @public
    async def register() -> None: ...

    app.include_router(router)
    return app


def test_limits_of_limen(tmp_path: Path) -> None:
    """A limit of a route and one of its router are seen, and what has none is a finding."""
    app = application()
    gate_for(tmp_path).protect(app)
    found = named_public(read_application(app, "tests:app"))
    limits = {each.path: each.throttled_by for each in found.routes if each.path.startswith("/auth/")}
    assert limits["/auth/login"].startswith("10/minute")
    assert limits["/auth/forgot-password"].startswith("9/minute")
    assert not limits["/auth/register"]
    assert {each.route for each in judge(found) if each.rule.id == "LC010"} == {"/auth/register"}


def test_limits_where_nobody_counts() -> None:
    """In an application that limen does not protect a mark limits nothing."""
    found = read_application(application(), "tests:app")
    assert {each.throttled_by for each in found.routes} == {""}
