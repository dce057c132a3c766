"""The policy of each route is in the application's OpenAPI document."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI

from limen.fastapi import policy, roles
from limen.web.guard import protect
from tests.policies.guarding import ORDERS, Order, gate_with


async def _get_order(order_id: int) -> Order | None:
    return ORDERS.get(order_id)


@pytest.fixture
def document() -> Any:
    """Return the document of an application with policies of every spelling."""
    app, router = FastAPI(), APIRouter()

    @app.post("/orders")
    @policy("order:create")
    async def create() -> None:
        """Order something."""

    @app.post("/orders/{order_id}/approve")
    @roles("checker")
    async def approve(order: Annotated[Order, policy("order:approve", load=_get_order, hide=True)]) -> None: ...

    @router.get("/{order_id}", dependencies=[policy("order:read", load=_get_order)])
    async def look(order: Annotated[Order, policy("order:approve", load=_get_order)]) -> None: ...

    app.include_router(router, prefix="/in")
    protect(app, gate_with())
    return app.openapi()


def test_the_action_is_shown_to_people_and_to_programs(document: Any) -> None:
    """In the description below the handler's own, and in the extension that has roles and permissions too."""
    operation = document["paths"]["/orders"]["post"]
    assert operation["x-limen"]["policies"] == [{"action": "order:create", "resource": False, "hide": False}]
    assert operation["description"] == "Order something.\n\n**Requires** that the policies allow `order:create`."
    assert "403" in operation["responses"]
    assert "404" not in operation["responses"]


def test_a_policy_about_a_resource_shows_404_and_the_loaders_parameters(document: Any) -> None:
    """What the loader takes is documented by FastAPI, and the answer for what is not there by the guard."""
    operation = document["paths"]["/orders/{order_id}/approve"]["post"]
    assert operation["x-limen"]["policies"] == [{"action": "order:approve", "resource": True, "hide": True}]
    assert operation["description"] == (
        "**Requires** the role `checker`, and that the policies allow `order:approve` of what is asked for."
    )
    assert [each["name"] for each in operation["parameters"]] == ["order_id"]
    assert "#/components/schemas/LimenProblem" in str(operation["responses"]["404"])


def test_policies_of_dependencies_are_shown_too(document: Any) -> None:
    """A route shows what its dependencies and its parameters ask."""
    asked = document["paths"]["/in/{order_id}"]["get"]["x-limen"]["policies"]
    assert sorted(each["action"] for each in asked) == ["order:approve", "order:read"]
