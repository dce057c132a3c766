"""Columns that a class computes from other rows are filtered in a bound session, or the class is not read there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, joinedload, mapped_column, relationship

from limen import PolicySet, allow, resource, subject
from limen.authz.compilers.sql.bind import bind
from limen.authz.compilers.sql.statements import StatementNotFiltered
from limen.authz.engine import Policies
from tests.policies.shop import asynchronous, somebody


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    basket_id: Mapped[int] = mapped_column(sa.ForeignKey("baskets.number"))
    owner: Mapped[str]
    price: Mapped[int]


class Basket(Base):
    """Sums its items by their class, and when asked, by their table."""

    __tablename__ = "baskets"

    number: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    by_class: Mapped[int | None] = column_property(
        select(func.sum(Item.price)).where(Item.basket_id == number).correlate_except(Item).scalar_subquery()
    )
    by_table: Mapped[int | None] = column_property(
        select(func.sum(Item.__table__.c.price)).scalar_subquery(), deferred=True
    )
    items: Mapped[list[Item]] = relationship()


class Shelf(Base):
    """Sums all items by their table, whenever it is loaded."""

    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    total: Mapped[int | None] = column_property(select(func.sum(Item.__table__.c.price)).scalar_subquery())


class Room(Base):
    """Has shelves."""

    __tablename__ = "rooms"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    shelf_id: Mapped[int] = mapped_column(sa.ForeignKey("shelves.id"))
    shelf: Mapped[Shelf] = relationship()


OWNED: list[Any] = [Item, Basket, Shelf, Room]
POLICIES = Policies.load(
    PolicySet(
        [allow(f"{cls.__name__}:read", resource(cls).owner == subject().id, id=cls.__name__) for cls in OWNED],
        reads={cls: f"{cls.__name__}:read" for cls in OWNED},
    )
)


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """A basket with an own item and somebody else's, in either database."""
    is_lite = request.param == "sqlite"
    made = create_async_engine(
        "sqlite+aiosqlite://" if is_lite else asynchronous(request.getfixturevalue("postgres_url"))
    )
    async with made.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(made) as session:
        session.add_all([Basket(number=1, owner="me"), Shelf(id=1, owner="me")])
        await session.flush()
        session.add_all([Item(id=1, basket_id=1, owner="me", price=1), Item(id=2, basket_id=1, owner="you", price=666)])
        session.add(Room(id=1, owner="me", shelf_id=1))
        await session.commit()
    yield made
    await made.dispose()


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session that shows what ``me`` may read."""
    async with AsyncSession(engine) as found:
        bind(found, POLICIES, somebody())
        yield found


async def test_of_a_class_it_is_filtered(session: AsyncSession) -> None:
    """A sum over a class is of own rows: with the object, as a column, by key and refreshed."""
    assert (await session.execute(select(Basket.number, Basket.by_class))).all() == [(1, 1)]
    basket = (await session.scalars(select(Basket).options(joinedload(Basket.items)))).unique().one()
    assert (basket.by_class, [item.id for item in basket.items]) == (1, [1])
    await session.refresh(basket)
    assert basket.by_class == 1
    await session.refresh(basket, ["by_class"])
    assert basket.by_class == 1
    session.expunge_all()
    assert (await session.get_one(Basket, 1)).by_class == 1


async def test_of_an_object_that_was_added_it_is_filtered(session: AsyncSession) -> None:
    """An object that no statement has loaded gets a sum of own rows when it is refreshed."""
    basket = Basket(number=2, owner="me")
    session.add(basket)
    await session.flush()
    items = [Item(id=3, basket_id=2, owner="me", price=2), Item(id=4, basket_id=2, owner="you", price=700)]
    session.add_all(items)
    await session.flush()
    await session.refresh(basket)
    assert basket.by_class == 2


async def test_of_a_table_it_is_refused(session: AsyncSession) -> None:
    """A sum over a table is refused: with the object, as a column, by key, and at the end of a relation."""
    for statement in (
        select(Shelf),
        select(Shelf.total),
        select(Room).options(joinedload(Room.shelf)),
        select(Basket.by_table),
    ):
        with pytest.raises(StatementNotFiltered):
            await session.execute(statement)
    with pytest.raises(StatementNotFiltered):
        await session.get(Shelf, 1)


async def test_of_a_table_it_is_refused_later(session: AsyncSession) -> None:
    """A deferred sum over a table is refused when it is asked for, and the other columns are refreshed as ever."""
    basket = await session.get_one(Basket, 1)
    await session.refresh(basket, ["owner"])
    with pytest.raises(StatementNotFiltered):
        await session.refresh(basket, ["by_table"])

    def touched(_: Session) -> int | None:
        return basket.by_table

    with pytest.raises(StatementNotFiltered):
        await session.run_sync(touched)
    session.expire(basket)
    await session.refresh(basket)
    assert (basket.owner, basket.by_class) == ("me", 1)
