"""What can be done with orders, and whose they must be. No HTTP here.

The route has asked for the permission already; the service asks for the relation between the person and the order. Each
act is one conditional statement: between a look and an act somebody else may have acted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Update, delete, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from limen import Principal

from .errors import AlreadyDecided, NotAssigned, OrderNotFound, OwnOrder  # noqa: TID252 - works under any name
from .models import Order, OrderStatus  # noqa: TID252
from .roles import SEE_EVERY_ORDER, Role  # noqa: TID252


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some orders in the order of their making; ``next`` is what to hand in as ``after`` for those that follow."""

    items: Sequence[Order]
    next: str | None


def owned_by(me: Principal) -> ColumnElement[bool]:
    """The ownership rule: the maker who created the order, or an admin."""
    return true() if Role.ADMIN in me.roles else Order.maker_id == me.sub


def visible_to(me: Principal) -> ColumnElement[bool]:
    """What a list shows: one's own, those one is to check, or all."""
    if me.roles & SEE_EVERY_ORDER:
        return true()
    return or_(Order.maker_id == me.sub, Order.checker_id == me.sub)


def decidable_by(me: Principal) -> ColumnElement[bool]:
    """Who may approve: the assigned checker, or an admin; never the maker."""
    assigned = true() if Role.ADMIN in me.roles else Order.checker_id == me.sub
    return assigned & (Order.maker_id != me.sub)


class OrderService:
    """The use cases of orders, in one session with the database."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, me: Principal, *, item: str, amount_cents: int) -> Order:
        """Make a pending order that belongs to the caller."""
        order = Order(item=item, amount_cents=amount_cents, maker_id=me.sub)
        self._session.add(order)
        await self._session.commit()
        return order

    async def page(self, me: Principal, *, limit: int, after: str | None) -> OrderPage:
        """List at most ``limit`` orders that the caller may see, after the one with the id ``after``."""
        query = select(Order).where(visible_to(me)).order_by(Order.id).limit(limit + 1)
        if after is not None:
            query = query.where(Order.id > after)
        found = (await self._session.scalars(query)).all()
        return OrderPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def get(self, me: Principal, order_id: str) -> Order:
        """Find the caller's order; another's is not found."""
        order = await self._session.scalar(select(Order).where(Order.id == order_id, owned_by(me)))
        if order is None:
            raise OrderNotFound()
        return order

    async def change(self, me: Principal, order_id: str, changes: dict[str, object]) -> Order:
        """Change the caller's order while it is pending; ``changes`` maps columns to their new values."""
        if not changes:
            return await self.get(me, order_id)
        order = await self._one(
            update(Order).where(Order.id == order_id, owned_by(me), Order.status == OrderStatus.PENDING).values(changes)
        )
        if order is None:
            # Tells «another's», which is not found, from «decided».
            await self.get(me, order_id)
            raise AlreadyDecided()
        return order

    async def remove(self, me: Principal, order_id: str) -> None:
        """Remove the caller's order while it is pending: what was approved stays on record."""
        statement = (
            delete(Order)
            .where(Order.id == order_id, owned_by(me), Order.status == OrderStatus.PENDING)
            .returning(Order.id)
        )
        removed = await self._session.scalar(statement)
        await self._session.commit()
        if removed is None:
            await self.get(me, order_id)
            raise AlreadyDecided()

    async def assign(self, order_id: str, checker_id: str) -> Order:
        """Make somebody the checker of a pending order; its maker cannot be."""
        order = await self._one(
            update(Order)
            .where(Order.id == order_id, Order.maker_id != checker_id, Order.status == OrderStatus.PENDING)
            .values(checker_id=checker_id)
        )
        if order is not None:
            return order
        present = await self._present(order_id)
        raise OwnOrder() if present.maker_id == checker_id else AlreadyDecided()

    async def approve(self, me: Principal, order_id: str) -> Order:
        """Approve a pending order. Of two who try at once, one is told that it is decided."""
        order = await self._one(
            update(Order)
            .where(Order.id == order_id, decidable_by(me), Order.status == OrderStatus.PENDING)
            .values(status=OrderStatus.APPROVED)
        )
        if order is not None:
            return order
        present = await self._present(order_id)
        if present.maker_id == me.sub:
            raise OwnOrder()
        if present.checker_id != me.sub and Role.ADMIN not in me.roles:
            raise NotAssigned()
        raise AlreadyDecided()

    async def _one(self, statement: Update) -> Order | None:
        """Run an UPDATE and return the row it changed, or None where its conditions did not hold."""
        found = await self._session.scalar(statement.returning(Order), execution_options={"synchronize_session": False})
        await self._session.commit()
        return found

    async def _present(self, order_id: str) -> Order:
        order = await self._session.get(Order, order_id)
        if order is None:
            raise OrderNotFound()
        return order
