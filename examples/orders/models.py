"""The application's own table, in its own database. It refers to people by the ids that limen gives them."""

import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class OrderStatus(StrEnum):
    """An order waits for its checker, or was approved."""

    PENDING = "pending"
    APPROVED = "approved"


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7), so that ids sort by the time they were made."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62
    return str(UUID(int=value | secrets.randbits(62)))


class Base(DeclarativeBase):
    """What the tables share."""


class Order(Base):
    """One order.

    Amounts are in hundredths, so that they add up; people are ``sub`` of their tokens, never names, which may change.
    ``approval_id`` names the request for approval of an order that takes two. ``changed_by_id`` is who has changed it
    last, where that was somebody else than its maker.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("amount_cents > 0"),
        # Four eyes, whatever the code above forgets.
        CheckConstraint("checker_id IS NULL OR checker_id <> maker_id"),
        Index("orders_of_maker", "maker_id", "id"),
        Index("orders_of_checker", "checker_id", "id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    item: Mapped[str] = mapped_column(String(200))
    amount_cents: Mapped[int]
    status: Mapped[OrderStatus] = mapped_column(String(16), default=OrderStatus.PENDING)
    maker_id: Mapped[str] = mapped_column(String(36))
    checker_id: Mapped[str | None] = mapped_column(String(36))
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    approval_id: Mapped[str | None] = mapped_column(String(36))
    changed_by_id: Mapped[str | None] = mapped_column(String(36))
