"""What an order that takes two is to limen's approvals."""

import hashlib
import json
from typing import Any

from .models import Order  # noqa: TID252 - works under any name
from .policies import ONE_IS_ENOUGH  # noqa: TID252

ACTION = "order:approve"


def takes_two(order: Order) -> bool:
    """Tell whether one approval is not enough."""
    return order.amount_cents > ONE_IS_ENOUGH


def as_asked(order: Order) -> dict[str, Any]:
    """Return what is approved of an order: a change of it is another request, and takes both anew."""
    asked = {"id": order.id, "maker_id": order.maker_id, "item": order.item, "amount_cents": order.amount_cents}
    # Whoever has changed it does not approve it, on the routes of approvals either.
    return asked if order.changed_by_id is None else {**asked, "changed_by_id": order.changed_by_id}


def digest(order: Order) -> str:
    """Return by which digest limen knows this order as it is now: SHA-256 of its canonical JSON."""
    text = json.dumps(as_asked(order), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
