"""An application whose policies an administrator asks about; also named at the command line."""

from dataclasses import dataclass
from typing import Any

from limen import Limen, PolicySet, Principal, allow, deny, resource, subject
from limen.authz.policy.shapes import Model
from limen.core.errors import NotFound

NOBODY_ELSES = "never shown"


@dataclass
class Order:
    """An order, with something that no rule reads."""

    maker_id: str
    amount: int
    note: str = NOBODY_ELSES


U, O = subject(), resource(Order)  # noqa: E741 - as in the documentation
POLICIES = PolicySet(
    [
        allow("order:approve", U.has_role("checker") & (O.amount <= U.limit), id="limited"),
        allow("order:create", U.has_role("checker"), id="any"),
        deny("order:approve", O.maker_id == U.id, id="own_order"),
    ]
)
ROLES = {"checker": ["order:read"], "explainer": ["policies:explain"], "clerk": ["accounts:read", "roles:read"]}
MADE_BY: dict[str, str] = {}


async def attributes(_principal: Principal) -> dict[str, object]:
    """Tell the limit of everybody."""
    return {"limit": 100, "salary": 5_000}


async def load(key: str) -> object | None:
    """Return an order by its amount."""
    if key == "broken":
        raise RuntimeError("postgresql://secret")
    if key == "other":
        return object()
    if key == "hidden":
        raise NotFound("Not here.")
    return Order(MADE_BY.get(key, "nobody"), int(key)) if key.isascii() and key.isdigit() else None


def gate(settings: Any, **more: Any) -> Limen:
    """Return a gate with these policies."""
    loaders: dict[Model, Any] = {Order: load}
    told = {"policies": POLICIES, "attributes": attributes, "policy_resources": loaders, "roles": ROLES, **more}
    return Limen(settings, **told)


def from_environment() -> Limen:
    """Return one for the command line."""
    return Limen.from_env(policies=POLICIES, attributes=attributes, policy_resources={Order: load}, roles=ROLES)
