"""Random conditions, subjects and rows of the shop, hostile ones among them."""

import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from limen import python, resource, subject
from limen.authz.policy.expressions import Expression
from tests.policies.shop import NOW, Line, Order, State, Tag, Team

U, L, T, P = subject(), resource(Line), resource(Tag), resource(Order, "other")
O = resource(Order)  # noqa: E741 - as one writes policies

TEXTS = ["", "a", "b", "B", "ab", "a%", "a_b", "100%", "é", "É", "ß", "\u007f", "\U0001f600", "z", "me", "10"]
WHOLE = [0, 1, -1, 2, 3, 10, 2**31 - 1, -(2**31)]
LARGE = [*WHOLE, 2**53 + 1, 2**63 - 1, -(2**63)]
REAL = [0.0, 0.5, 1.0, -1.5, 2.0, 1e300, float("inf"), float("-inf")]
EXACT = [Decimal("0.00"), Decimal("0.10"), Decimal("1.00"), Decimal("-2.50"), Decimal("10.25")]
KEYS = [UUID(int=each) for each in range(3)]
AWARE = [NOW, NOW.astimezone(timezone(timedelta(hours=5, minutes=45))), NOW + timedelta(microseconds=1)]
NAIVE = [datetime(2026, 5, 4, 12, 30), datetime(2026, 5, 4, 12, 30, 0, 1), datetime(1999, 1, 1)]  # noqa: DTZ001
DAYS = [date(2026, 5, 4), date(2026, 5, 5)]
HOURS = [time(12, 30), time(12, 30, 0, 1), time(0)]
TOOK = [timedelta(0), timedelta(days=30), timedelta(seconds=-1), timedelta(microseconds=1)]
POOLS: dict[str, list[Any]] = {
    "owner": TEXTS, "note": TEXTS, "amount": WHOLE, "large": LARGE, "weight": REAL, "total": EXACT,
    "paid": [True, False], "state": list(State), "key": KEYS, "made_at": AWARE, "local_at": NAIVE, "day": DAYS,
    "hour": HOURS, "took": TOOK,
}  # fmt: skip
UNORDERED = {"paid", "state", "key"}
HOSTILE: list[Any] = [
    None, "", "1", 1, True, 1.0, 0.5, float("nan"), float("inf"), Decimal(1), Decimal("0.5"), Decimal("NaN"), 2**63,
    -(2**70), 10**400, 2.5, b"a", KEYS[1], str(KEYS[1]), State.OPEN, "OPEN", "o", NOW, NAIVE[0], DAYS[0], HOURS[0],
    TOOK[1], [], [None], ["a", "b"], [1, 2], [1, "a"], [1, 2.5, Decimal(2)], frozenset({"me"}), {"a": 1}, object(),
    [State.OPEN], [NOW], KEYS, 1e16, Decimal("1e400"), Decimal("0.105"),
]  # fmt: skip


def attributes(chance: random.Random) -> dict[str, Any]:
    """Return what a loader may tell, right and wrong."""
    told = {f"x{number}": chance.choice(HOSTILE) for number in range(4)}
    name = chance.choice(list(POOLS))
    return {**told, "y0": chance.choice(POOLS[name]), "y1": [chance.choice(POOLS[name]) for _ in range(2)]}


def _value(chance: random.Random, name: str) -> Any:
    if chance.random() < 0.5:
        return getattr(U, chance.choice(["id", "x0", "x1", "x2", "y0", "gone"]))
    finite = [each for each in POOLS[name] if not isinstance(each, float) or abs(each) < float("inf")]
    return chance.choice(finite)


def _compared(chance: random.Random, field: Any, name: str) -> Expression:
    signs = ["__eq__", "__ne__"] if name in UNORDERED else ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]
    made: Expression = getattr(field, chance.choice(signs))(_value(chance, name))
    return made


def _in(chance: random.Random, field: Any, name: str) -> Expression:
    listed: Any = getattr(U, chance.choice(["x3", "y1"]))
    if chance.random() < 0.5:
        finite = [each for each in POOLS[name] if not isinstance(each, float) or abs(each) < float("inf")]
        listed = chance.sample(finite, chance.randrange(min(3, len(finite)) + 1))
    made: Expression = field.in_(listed) if chance.random() < 0.5 else field.not_in(listed)
    return made


def _about(chance: random.Random, row: Any, names: list[str]) -> Expression:
    name = chance.choice(names)
    field = getattr(row, name)
    pool = {"lead": "owner", "size": "amount", "price": "amount"}.get(name, name)
    kind = chance.random()
    if kind < 0.2:
        null: Expression = field.is_null() if chance.random() < 0.5 else field.is_not_null()
        return null
    if kind < 0.4:
        return _in(chance, field, pool)
    if pool in {"owner", "note"} and kind < 0.6:
        part = getattr(U, chance.choice(["x0", "id"])) if chance.random() < 0.4 else chance.choice(TEXTS)
        matched: Expression = field.contains(part) if chance.random() < 0.5 else field.starts_with(part)
        return matched
    return _compared(chance, field, pool)


def leaf(chance: random.Random) -> Expression:  # noqa: PLR0911 - a table of kinds
    """Return a random leaf."""
    kind = chance.random()
    if kind < 0.5:
        return _about(chance, O, list(POOLS))
    if kind < 0.58:
        return _about(chance, O.team, ["lead", "size"])
    if kind < 0.62:
        return _about(chance, O.team.parent, ["lead", "size"])
    if kind < 0.66:
        return _about(chance, O.before, ["owner", "amount", "weight"])
    if kind < 0.74:
        return O.lines.any(tree(chance, 1, lambda: _about(chance, L, ["owner", "price"])))
    if kind < 0.78:
        return O.tags.any(_about(chance, T, ["owner"]))
    if kind < 0.82:
        return O.after.any(_about(chance, resource(Order, "later"), ["owner", "total", "state"]))
    if kind < 0.86:
        return O.team.orders.any(_about(chance, P, ["owner"]) | (P.team.lead == U.x1))
    if kind < 0.9:
        return chance.choice(
            [O.owner == O.note, O.owner != O.note, O.owner < O.note, O.amount < O.large, O.amount == O.weight]
        )
    if kind < 0.95:
        return _compared(chance, U.x0, "owner") if chance.random() < 0.5 else U.x1.in_(U.x3)
    return chance.choice(
        [U.has_role("admin"), U.has_permission("order:read"), U.id.is_null(), python(_odd, sql=_odd_sql)]
    )


def _odd(_subject: Any, row: Any, _context: Any) -> bool | None:
    return None if row.amount is None else row.amount > 1


def _odd_sql(_subject: Any, model: Any) -> Any:
    return model.amount > 1


def tree(chance: random.Random, depth: int, make: Any) -> Expression:
    """Return a random condition over leaves."""
    kind = chance.random()
    if depth == 0 or kind < 0.3:
        found: Expression = make()
    elif kind < 0.65:
        found = tree(chance, depth - 1, make) & tree(chance, depth - 1, make)
    else:
        found = tree(chance, depth - 1, make) | tree(chance, depth - 1, make)
    return ~found if chance.random() < 0.3 else found


def rows(chance: random.Random, count: int) -> list[Any]:
    """Return random rows of every class; of each value one in four is missing."""

    def some(pool: list[Any]) -> Any:
        return None if chance.random() < 0.25 else chance.choice(pool)

    teams = [
        Team(id=n, lead=some(TEXTS), size=some(WHOLE), parent_id=some([1]) if n > 1 else None) for n in range(1, 5)
    ]
    orders = [
        Order(
            id=n,
            team_id=some([1, 2, 3, 4]),
            before_id=some([*range(1, n)]) if n > 1 else None,
            **{name: _stored(name, some(pool)) for name, pool in POOLS.items()},
        )
        for n in range(1, count + 1)
    ]
    ids = [*range(1, count + 1)]
    lines = [Line(id=n, order_id=some(ids), owner=some(TEXTS), price=some(WHOLE)) for n in range(1, count)]
    return [teams, orders, [*lines, *(Tag(id=n, owner=some(TEXTS)) for n in range(1, 4))]]


def _stored(name: str, value: Any) -> Any:
    # SQLite keeps no zone: what is stored is UTC.
    return value.astimezone(UTC) if name == "made_at" and value is not None else value
