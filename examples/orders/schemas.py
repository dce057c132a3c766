"""What comes in and what goes out."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from limen import ApprovalView

from .models import Order, OrderStatus  # noqa: TID252 - works under any name

MAX_CENTS = 10**11


def _number(value: object) -> object:
    """Refuse what JSON does not call a number: "12" and true would otherwise count as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic turns only a ValueError into an answer
    # By its shortest decimal form: 0.1 is what the caller wrote, not the nearest binary fraction.
    return Decimal(repr(value)) if isinstance(value, float) else value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    return text


Amount = Annotated[
    Decimal, BeforeValidator(_number), Field(gt=0, lt=MAX_CENTS / 100, decimal_places=2, allow_inf_nan=False)
]
Item = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_printable)
]
Username = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Strict(BaseModel):
    """A body in which nothing is accepted that is not named: no ``status`` or ``maker_id`` slips in."""

    model_config = ConfigDict(extra="forbid")


class NewOrder(Strict):
    """An order to be made; the amount has at most two decimals."""

    item: Item
    amount: Amount


class OrderChange(Strict):
    """What is to be different; what is left out stays."""

    item: Item = Field(default="", validate_default=False)
    amount: Amount = Field(default=Decimal(1), validate_default=False)

    def columns(self) -> dict[str, object]:
        """Return the columns that were named, with their new values."""
        changes: dict[str, object] = {}
        if "item" in self.model_fields_set:
            changes["item"] = self.item
        if "amount" in self.model_fields_set:
            changes["amount_cents"] = cents(self.amount)
        return changes


class Assignment(Strict):
    """Who is to check an order."""

    username: Username


class OrderOut(BaseModel):
    """An order as it is shown."""

    id: str
    item: str
    amount: int | float
    status: OrderStatus
    maker_id: str
    checker_id: str | None

    @classmethod
    def of(cls, order: Order) -> Self:
        """Show an order: whole amounts as integers, others with their two decimals."""
        whole, rest = divmod(order.amount_cents, 100)
        return cls(
            id=order.id,
            item=order.item,
            amount=order.amount_cents / 100 if rest else whole,
            status=OrderStatus(order.status),
            maker_id=order.maker_id,
            checker_id=order.checker_id,
        )


class OrderList(BaseModel):
    """Some orders, and what to send as ``after`` for those that follow."""

    items: list[OrderOut]
    next: str | None


class GivenOut(BaseModel):
    """One approval: whose, and when."""

    approver: str
    approved_at: datetime


class ApprovalOut(BaseModel):
    """How far an order is that takes two: who has approved it, and how many are missing.

    With none missing it is as good as approved: the order shows it within a second or so.
    """

    id: str
    action: str
    resource: str | None
    status: str
    approvals: list[GivenOut]
    quorum: int
    missing: int
    expires_at: datetime

    @classmethod
    def of(cls, asked: ApprovalView) -> Self:
        """Show a request for approval, of which `GET /approvals/{id}` shows more."""
        return cls(
            id=asked.id,
            action=asked.action,
            resource=asked.resource,
            status=asked.status.value,
            approvals=[
                GivenOut(approver=given.approver, approved_at=_moment(given.approved_at)) for given in asked.approvals
            ],
            quorum=asked.quorum,
            missing=asked.quorum - len(asked.approvals),
            expires_at=_moment(asked.expires_at),
        )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def cents(amount: Decimal) -> int:
    """Return an amount in hundredths."""
    return int(amount * 100)
