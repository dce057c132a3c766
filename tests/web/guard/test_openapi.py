"""What the guard requires is in the application's OpenAPI document."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.security import HTTPBearer
from starlette.responses import Response
from starlette.routing import Route

from limen.fastapi import live, permissions, public, roles
from limen.web.guard import protect
from limen.web.guard.own_routes import OwnRoutes
from tests.web.guard.kit import Counted, SmallGate, call

EXTRA: dict[str, Any] = {
    "paths": {"/auth/me": {"get": {"summary": "Who am I", "responses": {"200": {"description": "You"}}}}},
    "components": {"schemas": {"Me": {"type": "object"}}},
}


def _app() -> FastAPI:
    counted = Counted()
    app, router = FastAPI(), APIRouter()

    async def documented() -> str:
        """Do it."""
        return ""

    app.get("/open")(public(counted.handler()))
    app.get("/silent")(counted.handler())
    app.post("/leaf/{number}")(live(roles("checker", "admin")(documented)))
    app.put("/many")(permissions.any("order:read")(permissions("order:approve", "order:create")(counted.handler())))
    router.get("/{number:int}", dependencies=[roles("maker")])(counted.handler())
    app.include_router(router, prefix="/in", dependencies=[roles("admin")])
    own = OwnRoutes("/auth", {"/me": {"GET": counted.endpoint()}})
    protect(app, SmallGate(), own_routes=own, openapi_extra=EXTRA)
    return app


@pytest.fixture
def document() -> Any:
    """Return the document of the application above."""
    return _app().openapi()


def test_a_public_operation_asks_for_nothing(document: Any) -> None:
    """Its security is an empty list, which is how OpenAPI says «none»."""
    operation = document["paths"]["/open"]["get"]
    assert operation["security"] == []
    assert operation["x-limen"] == {"public": True}
    assert "401" not in operation["responses"]


def test_an_operation_that_states_nothing_asks_for_authentication(document: Any) -> None:
    """The scheme is HTTP bearer, and 401 is documented as problem details."""
    operation = document["paths"]["/silent"]["get"]
    assert operation["security"] == [{"limen": []}, {"limenCookie": []}, {"limenApiKey": []}]
    assert document["components"]["securitySchemes"]["limen"]["scheme"] == "bearer"
    content = operation["responses"]["401"]["content"]
    assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/LimenProblem"}
    assert "code" in document["components"]["schemas"]["LimenProblem"]["required"]
    assert operation["description"] == "**Requires** authentication."
    assert "403" not in operation["responses"]


def test_roles_and_permissions_are_shown_to_people_and_to_programs(document: Any) -> None:
    """In the description below the handler's own, and in an extension."""
    operation = document["paths"]["/leaf/{number}"]["post"]
    assert operation["x-limen"] == {"public": False, "live": True, "roles": [["checker", "admin"]]}
    assert operation["description"] == (
        "Do it.\n\n**Requires** one of the roles `checker`, `admin`, and an account that is active at this moment."
    )
    assert "403" in operation["responses"]
    many = document["paths"]["/many"]["put"]
    assert many["x-limen"]["permissions"] == ["order:approve", "order:create"]
    assert many["x-limen"]["any_permission"] == [["order:read"]]


def test_what_routers_demand_is_part_of_it(document: Any) -> None:
    """An included route shows the requirements of all levels."""
    operation = document["paths"]["/in/{number}"]["get"]
    assert sorted(operation["x-limen"]["roles"]) == [["admin"], ["maker"]]


def test_routes_of_limen_are_merged_in(document: Any) -> None:
    """They are no operations of FastAPI's, and stand in the document all the same, with their requirement."""
    operation = document["paths"]["/auth/me"]["get"]
    assert operation["summary"] == "Who am I"
    assert operation["security"] == [{"limen": []}, {"limenCookie": []}, {"limenApiKey": []}]
    assert document["components"]["schemas"]["Me"] == {"type": "object"}
    assert "security" not in EXTRA["paths"]["/auth/me"]["get"]


def test_the_document_is_made_once_and_again_when_routes_are_added() -> None:
    """As FastAPI itself does it, where it notices."""
    app = _app()
    first = app.openapi()
    assert app.openapi() is first
    app.get("/late")(roles("maker")(Counted().handler()))
    app.openapi_schema = None
    assert app.openapi()["paths"]["/late"]["get"]["x-limen"]["roles"] == [["maker"]]


def test_the_security_that_an_operation_has_already_stays() -> None:
    """A scheme of the application's own is not removed."""
    from fastapi import Security

    app = FastAPI()
    app.get("/leaf", dependencies=[Security(HTTPBearer(auto_error=False))])(Counted().handler())
    protect(app, SmallGate())
    assert app.openapi()["paths"]["/leaf"]["get"]["security"] == [
        {"HTTPBearer": []},
        {"limen": []},
        {"limenCookie": []},
        {"limenApiKey": []},
    ]


async def test_the_document_that_is_served_is_this_one() -> None:
    """/openapi.json, once it is open, has the requirements in it."""
    app, gate = FastAPI(), SmallGate()
    app.get("/silent")(Counted().handler())
    protect(app, gate).public_docs()
    assert "x-limen" in (await call(app, "/openapi.json")).json()["paths"]["/silent"]["get"]


async def test_a_plain_route_beside_them_disturbs_nothing() -> None:
    """Starlette's routes are no operations."""
    app = FastAPI()
    app.router.routes.append(Route("/plain", lambda request: Response()))
    app.get("/leaf")(Counted().handler())
    protect(app, SmallGate())
    assert list(app.openapi()["paths"]) == ["/leaf"]
