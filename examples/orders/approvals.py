"""Orders that take two: their makers ask, two others say yes (limen's approvals), and then the order is approved.

The orders are in a database of their own, so what was approved is done from limen's outbox, within a second or so and
at least once. Where both were in one database, ``session=`` would make it one commit with the second yes.
"""

from limen import ApprovalView, Approved, Decision, Limen, Principal

from .database import Database  # noqa: TID252 - works under any name
from .models import Order  # noqa: TID252
from .roles import Permission  # noqa: TID252
from .service import OrderService  # noqa: TID252
from .together import ACTION  # noqa: TID252

HOW_MANY = 2
A_WEEK = 7 * 86_400


class ByPolicy:
    """Says who may approve what was asked for: whomever the policy lets approve such an order. It looks nothing up."""

    def __init__(self, gate: Limen) -> None:
        self._gate = gate

    def decide(self, principal: Principal, action: str, request: ApprovalView) -> Decision:
        """Ask the policy about the order as it was asked for."""
        return self._gate.decide(principal, action, Order(**request.payload))


def declare(gate: Limen, store: Database) -> None:
    """Tell limen how many have to approve an order that takes two, who may, and what is done then."""

    @gate.approvals.action(
        ACTION, quorum=HOW_MANY, permission=Permission.APPROVE, may_approve=ByPolicy(gate), expires_in=A_WEEK
    )
    async def approve(approved: Approved) -> None:
        async with store.session() as session:
            await OrderService(session, gate).approve_as_asked(approved.payload)
