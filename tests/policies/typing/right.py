"""Policies that are right: type checkers understand each of them, and know what each expression is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import assert_type
from uuid import UUID

from limen import PolicySet, allow, context, deny, expect, python, resource, subject
from limen.authz.policy.conditions import Condition, Expression
from limen.authz.policy.expressions import Context, Resource, Subject
from limen.authz.policy.fields import Field
from limen.authz.policy.rules import Expectation, Rule


class Status(Enum):
    OPEN = "open"
    CLOSED = "closed"


class Action(StrEnum):
    APPROVE = "order:approve"


@dataclass
class Line:
    price: Decimal


@dataclass
class Order:
    maker_id: str | None
    amount: Decimal
    status: Status
    paid: bool
    seen: UUID
    lines: list[Line]


@dataclass
class User:
    limit: Decimal
    teams: list[str]


U, O, L, C = subject(User), resource(Order), resource(Line), context(address=str, day=int | None)  # noqa: E741

assert_type(U, Subject)
assert_type(O, Resource)
assert_type(C, Context)
assert_type(O.amount, Field)
assert_type(O["amount"], Field)
assert_type(O.maker_id == U.id, Condition)
assert_type(O.maker_id != U.id, Condition)
assert_type(O.amount <= U.limit, Condition)
assert_type(O.amount > 5, Condition)
assert_type(O.amount < Decimal("9.99"), Condition)
assert_type(C.now >= datetime(2026, 1, 1, tzinfo=UTC), Condition)
assert_type(O.status == Status.OPEN, Condition)
assert_type(O.seen != UUID(int=0), Condition)
assert_type(5 < O.amount, Condition)  # noqa: SIM300
assert_type(O.status.in_({Status.OPEN}), Condition)
assert_type(O.maker_id.not_in(["a", "b"]), Condition)
assert_type(O.maker_id.in_(U.teams), Condition)
assert_type(U.teams.contains(O.maker_id), Condition)
assert_type(O.maker_id.starts_with("a"), Condition)
assert_type(O.maker_id.is_null() | O.paid, Condition)
assert_type(~O.paid, Condition)
assert_type(O.paid & (O.amount > 5), Condition)
assert_type(O.lines.any(L.price > 5), Condition)
assert_type(U.has_role("maker") & U.has_permission(Action.APPROVE), Condition)
assert_type(python(lambda user, order, about: True, sql=lambda user, model: model.paid), Condition)


def own(name: str) -> Expression:
    """Return a condition that several rules share; one's own functions are annotated with `Expression`."""
    return (O[name] == U.id) & (C.now > datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1))


RULES = [
    allow(Action.APPROVE, own("maker_id"), id="own", fields=["amount"]),
    allow(["order:read", "order:list"], O.paid, id="paid"),
    deny("order:*", id="closed", unknown="deny"),
]
assert_type(RULES, list[Rule])
assert_type(expect("order:read", {"paid": True}, allowed=True, roles={"maker"}, limit=5), Expectation)
POLICIES = PolicySet(RULES, tenants=[O.maker_id == U.id], untenanted=[Line], reads={Order: "order:read"})
