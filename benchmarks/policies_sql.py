"""Policies in SQL: what making the condition costs, and what a list costs with it, in one run on SQLite.

Beside it stands what somebody would write by hand. Both are made, compiled (from SQLAlchemy's cache), run and fetched,
all in this thread: its processor time is what counts.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.rows import Effort, Row, Target, median_ratio
from limen import PolicySet, Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.compilers.sql.bind import bind
from limen.authz.engine import Policies

BENCH = "policies-sql"
ACTION = "order:approve"
ROWS, VISIBLE = 100_000, 428


class Base(DeclarativeBase):
    """The mapped classes of this benchmark."""


class Order(Base):
    """An order of the design's example."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    maker_id: Mapped[str]
    checker_id: Mapped[str | None] = mapped_column(index=True)
    amount: Mapped[int]
    status: Mapped[str]


def loaded() -> Policies:
    """Return the design's example, which is asked before an order is read as well."""
    U, O = subject(), resource(Order)  # noqa: N806, E741 - as one writes policies
    rules = [
        allow(ACTION, (O.checker_id == U.id) & (O.maker_id != U.id) & (O.amount <= U.limit), id="four-eyes"),
        allow(ACTION, U.has_role("admin") & (O.maker_id != U.id), id="admin-approves"),
        deny(ACTION, O.status.in_({"closed", "void"}), id="closed-is-closed"),
    ]
    return Policies.load(PolicySet(rules, reads={Order: ACTION}))


def by_hand(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the same condition, as somebody would write it for this principal."""
    limit = (principal.attributes or {}).get("limit")
    return sa.and_(
        Order.checker_id == principal.sub,
        Order.maker_id != principal.sub,
        Order.amount <= limit,
        Order.status.not_in(["closed", "void"]),
    )


def _filled(rows: int) -> sa.Engine:
    """Return a database in which every 233rd order is visible to the one who asks."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    every = ROWS // VISIBLE
    values = [
        {
            "id": number,
            "maker_id": "maker",
            "checker_id": "me" if number % every == 0 and number // every < VISIBLE else f"other-{number % 97}",
            "amount": number % 100,
            "status": "open",
        }
        for number in range(rows)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(Order), values)
    return engine


def _seconds(work: Callable[[], object], count: int) -> float:
    start = time.thread_time()
    for _ in range(count):
        work()
    return (time.thread_time() - start) / count


def _beside(
    ours: Callable[[], object], other: Callable[[], object], rounds: int, count: int
) -> tuple[float, float, float]:
    """Return both medians in µs and the median of the ratios; the rounds alternate."""
    ours(), other()
    pairs = [(_seconds(ours, count), _seconds(other, count)) for _ in range(rounds)]
    mine, others = [pair[0] * 1e6 for pair in pairs], [pair[1] * 1e6 for pair in pairs]
    return statistics.median(mine), statistics.median(others), median_ratio(mine, others)


def conditions(effort: Effort) -> Sequence[Row]:
    """Measure the condition alone, the list with it, and the list of a session that filters by default."""
    policies = loaded()
    principal = Principal("me", PrincipalKind.PERSON, frozenset({"checker"}), attributes={"limit": 1000})
    engine = _filled(ROWS if not effort.quick else 1000)
    rounds = effort.rounds(15)
    made = _beside(
        lambda: policies.where(principal, ACTION, Order), lambda: by_hand(principal), rounds, effort.count(500, 5)
    )
    columns = sa.select(Order.id, Order.maker_id, Order.amount, Order.status)

    def listed(condition: Callable[[], sa.ColumnElement[bool]]) -> int:
        with Session(engine) as session:
            return len(session.execute(columns.where(condition())).all())

    def bound() -> int:
        with Session(engine) as session:
            bind(session, policies, principal)
            return len(session.execute(columns).all())

    count = effort.count(30, 1)
    found = listed(lambda: by_hand(principal))
    if not effort.quick and (found, bound()) != (VISIBLE, VISIBLE):
        raise AssertionError(f"{found} rows are visible by hand, {bound()} by policy")
    lists = _beside(
        lambda: listed(lambda: policies.where(principal, ACTION, Order)),
        lambda: listed(lambda: by_hand(principal)),
        rounds,
        count,
    )
    by_default = _beside(bound, lambda: listed(lambda: by_hand(principal)), rounds, count)
    engine.dispose()
    what = f"list {VISIBLE} visible of {ROWS} rows"
    return [
        Row(BENCH, "make the condition", "µs", *made[:2], "by hand", made[2], Target("at most", 100), rounds),
        Row(BENCH, what, "µs", *lists[:2], "by hand", lists[2], Target("at most", 1.2, "ratio"), rounds),
        Row(BENCH, f"{what}, by default", "µs", *by_default[:2], "by hand", by_default[2], None, rounds,
            "a session of its own, bound"),
    ]  # fmt: skip
