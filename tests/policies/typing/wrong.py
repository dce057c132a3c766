"""Policies that are wrong: each line is refused by type checkers as well.

An ``ignore`` that is not needed is an error to mypy (`warn_unused_ignores`), so every line here proves that it is seen.
`make lint` runs mypy, and `test_typing.py` runs each line: what mypy does not see is refused all the same.
"""

from decimal import Decimal

from limen import PolicySet, allow, deny, expect, python, resource, subject
from tests.policies.typing.right import Line, Order, User

U, O, L = subject(User), resource(Order), resource(Line)  # noqa: E741


def wrong() -> None:
    """Hold the lines."""
    allow("order:read", O.maker_id == None, id="a")  # type: ignore[arg-type]  # noqa: E711
    allow("order:read", O.maker_id != None, id="a")  # type: ignore[arg-type]  # noqa: E711
    _ = O.amount < None  # type: ignore[operator]
    allow("order:read", O.amount == [1], id="a")  # type: ignore[arg-type]
    _ = O.amount == 1 & O.paid == 2  # type: ignore[operator]
    _ = 1 & O.paid  # type: ignore[operator]
    _ = (O.amount > 1) & True  # type: ignore[operator]
    _ = O.paid | None  # type: ignore[operator]
    _ = O.amount + 1  # type: ignore[arg-type]
    _ = 1 - O.amount  # type: ignore[operator]
    _ = U & O.paid  # type: ignore[operator]
    _ = ~U  # type: ignore[operator]
    O.maker_id.in_(5)  # type: ignore[arg-type]
    O.maker_id.in_(["a", None])  # type: ignore[list-item]
    O.maker_id.contains(None)  # type: ignore[arg-type]
    O.maker_id.starts_with(5)  # type: ignore[arg-type]
    O.maker_id.is_null("a")  # type: ignore[call-arg]
    O.maker_id.like("a%")  # type: ignore[operator]
    O.lines.any(True)  # type: ignore[arg-type]
    O.lines.any(lambda line: line.price > 5)  # type: ignore[arg-type]
    O.amount = 5  # type: ignore[attr-defined]
    U.has_role(5)  # type: ignore[arg-type]
    U.has_permission(["order:read"])  # type: ignore[arg-type]
    resource("Order")  # type: ignore[arg-type]
    allow("order:read", O.paid)  # type: ignore[call-arg]
    allow("order:read", True, id="a")  # type: ignore[arg-type]
    allow("order:read", U, id="a")  # type: ignore[arg-type]
    allow(5, id="a")  # type: ignore[arg-type]
    allow("order:read", O.paid, id="a", unknown="deny")  # type: ignore[call-arg]
    deny("order:read", O.paid, id="a", unknown="allow")  # type: ignore[arg-type]
    deny("order:read", O.paid, id="a", fields=[5])  # type: ignore[list-item]
    python(lambda user: True)  # type: ignore[arg-type, misc]
    expect("order:read")  # type: ignore[call-arg]
    PolicySet([O.paid])  # type: ignore[list-item]
    PolicySet([], reads={"Order": "order:read"})  # type: ignore[dict-item]
    PolicySet([], tenants=[Decimal(5)])  # type: ignore[list-item]
