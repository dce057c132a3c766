"""Orders, policies about them, and a small gate that has loaded them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from limen import PolicySet, allow, context, deny, resource, subject
from limen.authz.engine import Policies
from limen.authz.policy.rules import Rule
from limen.guard.policies import LoadedPolicies
from tests.web.guard.kit import CATALOGUE, SmallGate


@dataclass
class Order:
    """An order."""

    id: int
    maker_id: str = "id-of-maker"
    checker_id: str | None = "id-of-checker"
    amount: int = 10
    status: str = "pending"


@dataclass
class User:
    """What the loader tells."""

    limit: int | None = None
    suspended: bool | None = None


U, O, C = subject(User), resource(Order), context(entrance=str)  # noqa: E741 - as in the documentation

RULES = (
    allow("order:approve", (O.checker_id == U.id) & (O.amount <= U.limit), id="four-eyes"),
    deny("order:approve", O.maker_id == U.id, id="own_order"),
    allow("order:create", U.has_role("maker"), id="makers-create"),
    allow("order:read", id="all-read"),
)
SUSPENDED = deny(["order:create", "order:approve"], U.suspended == True, id="suspended")  # noqa: E712 - a field
NOT_BY_NIGHT = deny("order:*", C.entrance == "night", id="not_by_night", unknown="deny")

ORDERS = {
    1: Order(1),
    2: Order(2, maker_id="id-of-checker"),
    3: Order(3, amount=1000),
    4: Order(4, checker_id=None),
}


def loaded(rules: Iterable[Rule], **clock: Any) -> LoadedPolicies:
    """Load rules as a gate does."""
    declared = PolicySet(tuple(rules), context={"entrance"})
    policies = Policies.load(declared, permissions=CATALOGUE.permissions, **clock)
    return LoadedPolicies(policies, declared, CATALOGUE.permissions_of)


def gate_with(rules: Iterable[Rule] = RULES, **told: dict[str, object]) -> SmallGate:
    """Return a gate with these rules, whose loader knows the checker's limit."""
    gate = SmallGate(loaded_policies=loaded(rules))
    gate.told = {"id-of-checker": {"limit": 100, "suspended": False}, "id-of-maker": {"limit": 0, "suspended": False}}
    gate.told.update({f"id-of-{name}": values for name, values in told.items()})
    return gate
