"""The models and the rules of the engine's tests: the example of the design, and a class of every sort."""

import enum
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import ForeignKey, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from limen import Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.engine import Policies
from limen.authz.policy.rules import Rule


class Status(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


class Base(DeclarativeBase):
    pass


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[str | None]
    orders: Mapped[list["Order"]] = relationship(back_populates="team")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    maker_id: Mapped[str]
    checker_id: Mapped[str | None]
    amount: Mapped[int]
    status: Mapped[str]
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))
    team: Mapped[Team | None] = relationship(back_populates="orders")
    lines: Mapped[list["Line"]] = relationship()


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    item: Mapped[str | None]
    owner: Mapped[UUID | None] = mapped_column(Uuid())


@dataclass
class Item:
    name: str | None
    count: int | None


@dataclass
class Sheet:
    """A field of every kind that is compared."""

    text: str | None = None
    number: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    flag: bool | None = None
    status: Status | None = None
    key: UUID | None = None
    moment: datetime | None = None
    tags: frozenset[str] | None = None
    items: list[Item] = field(default_factory=list)
    parent: "Sheet | None" = None


class Parcel(TypedDict, total=False):
    maker_id: str
    weight: int


def example(model: Any) -> list[Rule]:
    """Return the rules of the design's example for a model with the fields of an order."""
    U, O = subject(), resource(model)  # noqa: N806, E741 - as one writes policies
    return [
        allow(
            "order:approve",
            (O.checker_id == U.id) & (O.maker_id != U.id) & (O.amount <= U.limit),
            id="four-eyes",
        ),
        allow("order:approve", U.has_role("admin") & (O.maker_id != U.id), id="admin-approves"),
        deny("order:approve", O.status.in_({"closed", "void"}), id="closed-is-closed"),
    ]


def person(sub: str = "carla", **told: Any) -> Principal:
    """Return somebody: ``roles``, ``permissions``, and attributes."""
    roles, permissions = (frozenset(told.pop(name, ())) for name in ("roles", "permissions"))
    attributes = told.pop("attributes", told)
    return Principal(sub, PrincipalKind.PERSON, roles, permissions, attributes=attributes)


def order(**other: Any) -> Order:
    """Return a new order that Carla, whose limit is 100, may approve."""
    told = {"maker_id": "mara", "checker_id": "carla", "amount": 50, "status": "open", **other}
    return Order(**told)


def loaded(*rules: Rule, **told: Any) -> Policies:
    """Return rules, loaded."""
    return Policies.load(rules, **told)
