"""What can be done with orders. No HTTP here.

The route has asked the policy about the order that it loaded; between that look and the act somebody else may have
acted. So each act is one UPDATE (or DELETE) with the policy in its WHERE: the database asks it again, of the row that
it writes. Check, then write, would be a race: of two who approve at once both would have seen «pending».
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Update, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from limen import ApprovalView, Conflict, Forbidden, Limen, LimenError, NotFound, Principal

from .errors import AlreadyDecided, NotAsked, OrderNotFound, OwnOrder  # noqa: TID252 - works under any name
from .models import Order, OrderStatus, new_id  # noqa: TID252
from .policies import ONE_IS_ENOUGH  # noqa: TID252
from .roles import Permission  # noqa: TID252
from .seen import require_seen  # noqa: TID252
from .together import ACTION, as_asked, digest, takes_two  # noqa: TID252

_BY_ITS_MAKER = {"changed_by_id": None}
IS_PENDING = Order.status == OrderStatus.PENDING


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Some orders in the order of their making; ``next`` is what to hand in as ``after`` for those that follow."""

    items: Sequence[Order]
    next: str | None


def _is(asked: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    return [getattr(Order, name) == value for name, value in {**_BY_ITS_MAKER, **asked}.items()]


class OrderService:
    """The use cases of orders, in one session with the database.

    Args:
        session: with the application's own database.
        gate: has the policies and the approvals.
    """

    def __init__(self, session: AsyncSession, gate: Limen) -> None:
        self._session = session
        self._gate = gate

    async def create(self, me: Principal, *, item: str, amount_cents: int) -> Order:
        """Make a pending order that belongs to the caller; one that takes two asks for them at once."""
        order = Order(id=new_id(), item=item, amount_cents=amount_cents, maker_id=me.sub)
        # Before it is there: what asks for an order that never came about is asking for nothing, and is over in a week.
        order.approval_id = await self._ask(me, order)
        self._session.add(order)
        await self._session.commit()
        return order

    async def page(self, *, limit: int, after: str | None) -> OrderPage:
        """List at most ``limit`` orders, after the one with the id ``after``.

        There is no condition about whoever asks: the session is bound to them (`gate.bind`), so that it shows what they
        may see, whatever the statement is.
        """
        query = select(Order).order_by(Order.id).limit(limit + 1)
        if after is not None:
            query = query.where(Order.id > after)
        found = (await self._session.scalars(query)).all()
        return OrderPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def find(self, order_id: str) -> Order | None:
        """Find an order, whosever it is, as it is now: whoever calls this asks the policy about it."""
        return await self._session.get(Order, order_id, populate_existing=True)

    async def change(self, me: Principal, order: Order, changes: Mapping[str, object]) -> Order:
        """Change an order while it is pending; ``changes`` maps columns to their new values.

        One that takes two asks for them anew, as it is then; a change of nothing will do. Nobody asks in another's
        name: where somebody else than its maker changed it, its maker has to ask.
        """
        if changes:
            may = self._gate.where(me, Permission.UPDATE, Order)
            by = None if me.sub == order.maker_id else me.sub
            changing = update(Order).where(Order.id == order.id, may, IS_PENDING)
            changed = await self._one(changing.values(**changes, changed_by_id=by))
            if changed is None:
                raise await self._why_not(me, Permission.UPDATE, order.id)
            order = changed
        if order.maker_id == me.sub and order.status == OrderStatus.PENDING:
            # What ends between the two commits leaves an order that nobody was asked about, and nobody can approve.
            asked = await self._ask(me, order)
            if asked != order.approval_id:
                noting = update(Order).where(Order.id == order.id).values(approval_id=asked)
                await self._session.execute(noting, execution_options={"synchronize_session": False})
                await self._session.commit()
        return order

    async def remove(self, me: Principal, order: Order) -> None:
        """Remove an order while it is pending: what was approved stays on record."""
        may = self._gate.where(me, Permission.DELETE, Order)
        statement = delete(Order).where(Order.id == order.id, may, IS_PENDING).returning(Order.id)
        removed = await self._session.scalar(statement, execution_options={"synchronize_session": False})
        await self._session.commit()
        if removed is None:
            raise await self._why_not(me, Permission.DELETE, order.id)
        await self._take_back(me, order)

    async def assign(self, order_id: str, checker_id: str) -> Order:
        """Make somebody the checker of a pending order; its maker cannot be."""
        order = await self._one(
            update(Order)
            .where(Order.id == order_id, Order.maker_id != checker_id, IS_PENDING)
            .values(checker_id=checker_id)
        )
        if order is None:
            present = await self._present(order_id)
            raise OwnOrder() if present.maker_id == checker_id else AlreadyDecided()
        return order

    async def approve(self, me: Principal, order: Order, *, as_seen: bool = False) -> Order:
        """Approve a pending order for which one is enough. Of two who try at once, one is told that it is decided.

        Args:
            me: who approves it.
            order: as it was loaded.
            as_seen: that this is what the caller has seen: then it is approved only while it still is.
        """
        may = self._gate.where(me, Permission.APPROVE, Order)
        is_the_one = _is(as_asked(order)) if as_seen else [Order.id == order.id]
        approved = await self._one(
            update(Order)
            # That one is enough is asked here as well: its maker may have changed the amount since it was looked at.
            .where(*is_the_one, may, IS_PENDING, Order.amount_cents <= ONE_IS_ENOUGH)
            .values(status=OrderStatus.APPROVED)
        )
        if approved is None:
            raise await self._why_not(me, Permission.APPROVE, order.id)
        return approved

    async def approve_with_another(self, me: Principal, order: Order, *, as_seen: bool) -> ApprovalView:
        """Give one of the two approvals that an order takes; with the second it is as good as approved.

        limen asks whether it is another person than the maker and whoever has approved it before, and still may.

        Args:
            me: who approves it.
            order: as it was loaded.
            as_seen: that this is what the caller has seen. Without it nothing is approved: the order may have been
                another one when they looked, and two that have not seen the same are one each.
        """
        if order.status != OrderStatus.PENDING:
            raise AlreadyDecided()
        if order.approval_id is None:
            raise NotAsked()
        if not as_seen:
            raise require_seen()
        return await self._gate.approvals.approve(me, order.approval_id, seen=digest(order))

    async def approve_as_asked(self, asked: Mapping[str, Any]) -> None:
        """Do what two have approved, however often it is called: the order has to be what they have seen."""
        is_as_asked = _is(asked)
        done = await self._one(update(Order).where(*is_as_asked, IS_PENDING).values(status=OrderStatus.APPROVED))
        if done is not None:
            return
        before = await self._session.scalar(select(Order).where(*is_as_asked, Order.status == OrderStatus.APPROVED))
        if before is None:
            raise Conflict("The order was changed or removed since it was approved.")

    async def _ask(self, me: Principal, order: Order) -> str | None:
        """Ask for the approvals that an order of the caller's takes, and return by which id; None where one is enough.

        The same again is the same request; of a changed order it is another one, and the one before is withdrawn.
        """
        if not takes_two(order):
            await self._take_back(me, order)
            return None
        asked = await self._gate.approvals.request(me, ACTION, payload=as_asked(order), resource=f"order:{order.id}")
        return asked.id

    async def _take_back(self, me: Principal, order: Order) -> None:
        if order.approval_id is None or order.maker_id != me.sub:
            return
        # Where it is decided by now, what was approved finds no order that is as it was asked for.
        with suppress(Conflict, NotFound):
            await self._gate.approvals.withdraw(me, order.approval_id)

    async def _one(self, statement: Update) -> Order | None:
        """Run an UPDATE and return the row it changed, or None where its conditions did not hold."""
        options = {"synchronize_session": False, "populate_existing": True}
        found: Order | None = await self._session.scalar(statement.returning(Order), execution_options=options)
        # At once, also where nothing was written: on SQLite others wait for it.
        await self._session.commit()
        return found

    async def _why_not(self, me: Principal, action: Permission, order_id: str) -> LimenError:
        """Return why an act has found nothing to do, though the route was allowed a moment ago."""
        present = await self._present(order_id)
        decision = self._gate.decide(me, action, present)
        if not decision.allowed:
            # Another's order is not there, for whoever wants to change it; who checks orders is told why not.
            return Forbidden(decision.reason) if action is Permission.APPROVE else OrderNotFound()
        if present.status != OrderStatus.PENDING:
            return AlreadyDecided()
        return Conflict("The order was changed a moment ago; look at it again.")

    async def _present(self, order_id: str) -> Order:
        order = await self.find(order_id)
        if order is None:
            raise OrderNotFound()
        return order
