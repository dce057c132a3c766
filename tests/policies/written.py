"""Models that policies are written about: every way to declare one, and what is refused of them."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from limen import context, resource, subject


class State(Enum):
    OPEN = "open"
    CLOSED = "closed"
    ENDED = CLOSED


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class RoleName(StrEnum):
    MAKER = "maker"
    APPROVE = "order:approve"


class Base(DeclarativeBase):
    pass


class Team(Base):
    __tablename__ = "written_teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[str]
    node: Mapped[str]
    _row: Mapped[str] = mapped_column("row")


class Order(Base):
    __tablename__ = "written_orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(sa.BigInteger)
    pages: Mapped[int] = mapped_column(sa.SmallInteger)
    amount: Mapped[Decimal] = mapped_column(sa.Numeric(12, 2))
    weight: Mapped[float]
    title: Mapped[str]
    maker_id: Mapped[str | None]
    owner_id: Mapped[UUID]
    paid: Mapped[bool]
    state: Mapped[State]
    channel: Mapped[Literal["web", "shop"]]
    made_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))
    local_at: Mapped[datetime] = mapped_column(sa.DateTime())
    due_on: Mapped[date]
    opens: Mapped[time]
    patience: Mapped[timedelta]
    seal: Mapped[bytes]
    settings: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("written_teams.id"))
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("written_orders.id"))
    team: Mapped[Team | None] = relationship()
    lines: Mapped[list["Line"]] = relationship(back_populates="order")
    parts: Mapped[list["Order"]] = relationship(back_populates="whole")
    whole: Mapped["Order | None"] = relationship(back_populates="parts", remote_side="Order.id")

    def shout(self) -> str:
        return self.title.upper()


class Line(Base):
    __tablename__ = "written_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("written_orders.id"))
    order: Mapped[Order] = relationship(back_populates="lines")


@dataclass
class Person:
    id: int
    limit: Decimal
    score: int
    ratio: float
    nickname: str | None
    active: bool
    region: Literal["north", "south"]
    state: State
    teams: list[int]
    seen_at: datetime
    owned: list[UUID]
    boss: "Person | None"


U = subject(Person)
O = resource(Order)  # noqa: E741 - as in the documentation
L = resource(Line)
C = context(address=str, day=date)
