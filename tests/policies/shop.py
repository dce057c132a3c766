"""A small shop in two databases: classes with every kind of column that policies compare, relations and heirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, WriteOnlyMapped, mapped_column, relationship

from limen.core.principal import Principal, PrincipalKind


class State(Enum):
    NEW = "n"
    OPEN = "o"
    CLOSED = "c"


class Base(DeclarativeBase):
    pass


tagging = sa.Table(
    "tagging",
    Base.metadata,
    sa.Column("order_id", sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    lead: Mapped[str | None]
    size: Mapped[int | None]
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    parent: Mapped["Team | None"] = relationship(remote_side="Team.id")
    orders: Mapped[list["Order"]] = relationship(back_populates="team")


class Line(Base):
    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"))
    owner: Mapped[str | None]
    price: Mapped[int | None]


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str | None]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str | None]
    note: Mapped[str | None]
    amount: Mapped[int | None]
    large: Mapped[int | None] = mapped_column(sa.BigInteger)
    weight: Mapped[float | None] = mapped_column(sa.Float)
    total: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 2))
    paid: Mapped[bool | None]
    state: Mapped[State | None] = mapped_column(sa.Enum(State))
    key: Mapped[UUID | None]
    made_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local_at: Mapped[datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[date | None]
    hour: Mapped[time | None]
    took: Mapped[timedelta | None]
    team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    before_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"))
    team: Mapped[Team | None] = relationship(back_populates="orders")
    before: Mapped["Order | None"] = relationship(remote_side="Order.id", back_populates="after")
    after: Mapped[list["Order"]] = relationship(back_populates="before")
    lines: Mapped[list[Line]] = relationship(order_by=Line.id)
    stream: WriteOnlyMapped[Line] = relationship(viewonly=True)
    tags: Mapped[list[Tag]] = relationship(secondary=tagging)


class Paper(Base):
    """The root of joined tables."""

    __tablename__ = "papers"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "paper"}  # noqa: RUF012


class Contract(Paper):
    __tablename__ = "contracts"

    id: Mapped[int] = mapped_column(sa.ForeignKey("papers.id"), primary_key=True)
    secret: Mapped[bool | None]
    text: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "contract"}  # noqa: RUF012


class Animal(Base):
    """The root of heirs in one table."""

    __tablename__ = "animals"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    tame: Mapped[bool | None]
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Note(Base):
    """A class that no policy names."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"))
    order: Mapped[Order | None] = relationship()


def somebody(sub: str = "me", *roles: str, permissions: tuple[str, ...] = (), **attributes: Any) -> Principal:
    """Return a principal whose attributes are loaded."""
    held = frozenset(roles), frozenset(permissions)
    return Principal(sub, PrincipalKind.PERSON, *held, attributes=attributes)


def asynchronous(url: str) -> str:
    """Return a PostgreSQL URL for SQLAlchemy with asyncpg."""
    return url.replace("postgresql://", "postgresql+asyncpg://")


@asynccontextmanager
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    """Run a database with the shop's tables."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield engine
    finally:
        await engine.dispose()


NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
