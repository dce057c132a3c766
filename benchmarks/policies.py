"""Policies in one thread: decisions beside a function written by hand and beside other libraries, in the same run.

A call is timed in loops over a handful of questions of which half are answered yes; what the empty loop takes is taken
off, the same for limen and for the function written by hand. It is the processor's time, as what one thread does a
second is asked, and not what else the machine does; only the slowest calls are timed by the clock on the wall.
"""

import gc
import json
import statistics
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.peers import installing
from benchmarks.peers.installing import NotThereError
from benchmarks.rows import Effort, Row, Target, median_ratio, percentile
from limen import Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.engine import Policies
from limen.authz.policy.rules import Rule
from limen.authz.roles import RoleCatalogue

ACTION = "order:approve"
READING = "order:read"
MEBIBYTE = 2**20


class Base(DeclarativeBase):
    """The mapped classes of this benchmark."""


class Order(Base):
    """An order of the design's example, as SQLAlchemy maps it."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    maker_id: Mapped[str]
    checker_id: Mapped[str | None]
    amount: Mapped[int]
    status: Mapped[str]


@dataclass
class PlainOrder:
    """The same as a dataclass, whose fields a function written by hand reads faster."""

    id: int
    maker_id: str
    checker_id: str | None
    amount: int
    status: str


def rules_of(model: Any) -> list[Rule]:
    """Return the design's example, and a permission of a role."""
    U, O = subject(), resource(model)  # noqa: N806, E741 - as one writes policies
    return [
        allow(ACTION, (O.checker_id == U.id) & (O.maker_id != U.id) & (O.amount <= U.limit), id="four-eyes"),
        allow(ACTION, U.has_role("admin") & (O.maker_id != U.id), id="admin-approves"),
        deny(ACTION, O.status.in_({"closed", "void"}), id="closed-is-closed"),
        allow(READING, U.has_permission(READING), id="may-read"),
    ]


def by_hand(principal: Principal, order: Any) -> bool:
    """Answer the same, values that are missing included, as somebody would write it."""
    status, maker = order.status, order.maker_id
    if status is None or status in {"closed", "void"} or maker is None or not principal.sub or maker == principal.sub:
        return False
    if "admin" in principal.roles:
        return True
    amount, limit = order.amount, (principal.attributes or {}).get("limit")
    return order.checker_id == principal.sub and amount is not None and limit is not None and amount <= limit


def questions(model: Any) -> list[tuple[Principal, Any, bool]]:
    """Return who asks about what, and what the answer is."""
    roles = RoleCatalogue({"reader": [READING], "admin": [READING]})

    def person(sub: str, role: str, limit: int) -> Principal:
        held = frozenset({role})
        return Principal(sub, PrincipalKind.PERSON, held, roles.permissions_of(held), attributes={"limit": limit})

    carla, ada, eve = person("carla", "reader", 100), person("ada", "admin", 0), person("eve", "reader", 100)
    pending = model(id=1, maker_id="mara", checker_id="carla", amount=50, status="open")
    void = model(id=2, maker_id="mara", checker_id="carla", amount=50, status="void")
    return [(carla, pending, True), (ada, pending, True), (eve, pending, False), (carla, void, False)]


def others(model: Any, number: int) -> list[Rule]:
    """Return policies of other actions, of three comparisons each."""
    U, O = subject(), resource(model)  # noqa: N806, E741 - as one writes policies
    return [
        allow(f"thing{each}:read", (O.checker_id == U.id) & (O.maker_id != U.id) & (O.amount <= each), id=f"r{each}")
        for each in range(number)
    ]


def nanoseconds(ask: Callable[[Principal, Any], object], asked: Sequence[tuple[Principal, Any, bool]], n: int) -> float:
    """Return what one call takes, without the loop around it."""
    turns = [(who, what) for who, what, _ in asked] * (n // len(asked))
    start = time.thread_time_ns()
    for who, what in turns:
        ask(who, what)
    spent = time.thread_time_ns() - start
    start = time.thread_time_ns()
    for who, what in turns:  # noqa: B007 - the loop alone
        pass
    return (spent - (time.thread_time_ns() - start)) / len(turns)


def decisions(policies: Policies, asked: Sequence[tuple[Principal, Any, bool]], n: int, action: str = ACTION) -> float:
    """Return what one decision takes, in nanoseconds."""
    can = policies.can
    turns = [(who, what) for who, what, _ in asked] * (n // len(asked))
    start = time.thread_time_ns()
    for who, what in turns:
        can(who, action, what)
    spent = time.thread_time_ns() - start
    start = time.thread_time_ns()
    for who, what in turns:  # noqa: B007 - the loop alone
        pass
    return (spent - (time.thread_time_ns() - start)) / len(turns)


def _checked(policies: Policies, asked: Sequence[tuple[Principal, Any, bool]]) -> None:
    """See to it that all three answer the same before it is measured how fast."""
    for who, what, expected in asked:
        if policies.can(who, ACTION, what) is not expected or by_hand(who, what) is not expected:
            raise RuntimeError("the answers differ")


def policies(effort: Effort) -> Sequence[Row]:
    """Measure deciding, explaining and loading."""
    rounds, n = effort.rounds(15), effort.count(100_000, 400)
    gc.collect()
    return [
        *_against_by_hand(Order, "mapped class", rounds, n),
        *_against_by_hand(PlainOrder, "dataclass", rounds, n),
        _slowest(rounds, n),
        _with_many(rounds, n, effort.count(10_000, 50)),
        _permission(rounds, n),
        _explained(rounds, effort.count(4_000, 40)),
        *_loading(effort.count(1_000, 20), Target("at most", 100), Target("at most", 20), effort.rounds(5)),
        *_loading(effort.count(10_000, 50), Target("at most", 1_000), Target("at most", 100), effort.rounds(3)),
        *_peers(effort),
    ]


def _against_by_hand(model: Any, called: str, rounds: int, n: int) -> list[Row]:
    asked, loaded = questions(model), Policies.load(rules_of(model))
    _checked(loaded, asked)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(decisions(loaded, asked, n))
        theirs.append(nanoseconds(by_hand, asked, n))
    mine, hand = statistics.median(ours), statistics.median(theirs)
    what, ratio = f"can, the three rules of the example, {called}", median_ratio(ours, theirs)
    return [
        Row("policies", what, "/s", 1e9 / mine, 1e9 / hand, "by hand", None, Target("at least", 2e6), rounds),
        Row("policies", what, "ns", mine, hand, "by hand", ratio, Target("at most", 3, "ratio"), rounds),
    ]


def _slowest(rounds: int, n: int) -> Row:
    asked, loaded = questions(Order), Policies.load(rules_of(Order))
    can, clock = loaded.can, time.perf_counter_ns
    shares = []
    for _ in range(rounds):
        samples, empty = [], []
        for who, what, _ in asked * (n // 4):
            start = clock()
            can(who, ACTION, what)
            samples.append(clock() - start)
            start = clock()
            empty.append(clock() - start)
        shares.append((percentile(samples, 0.99) - statistics.median(empty)) / 1000)
    what = "can, p99, mapped class"
    return Row("policies", what, "µs", statistics.median(shares), target=Target("at most", 1), rounds=rounds)


def _with_many(rounds: int, n: int, number: int) -> Row:
    asked, rules = questions(Order), rules_of(Order)
    few, many = (
        Policies.load([*rules, *others(Order, 10 - len(rules))]),
        Policies.load([*rules, *others(Order, number)]),
    )
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(decisions(many, asked, n))
        theirs.append(decisions(few, asked, n))
    return Row(
        "policies",
        f"can, {number} policies loaded",
        "ns",
        statistics.median(ours),
        statistics.median(theirs),
        "10 policies loaded",
        median_ratio(ours, theirs),
        Target("at most", 1.3, "ratio"),
        rounds,
    )


def _permission(rounds: int, n: int) -> Row:
    asked, loaded = questions(Order)[:1], Policies.load(rules_of(Order))
    asked = [(who, None, True) for who, _, _ in asked]
    figures = [decisions(loaded, asked, n, READING) for _ in range(rounds)]
    held = [nanoseconds(lambda who, _: READING in who.permissions, asked, n) for _ in range(rounds)]
    return Row(
        "policies",
        "can, role has permission",
        "/s",
        1e9 / statistics.median(figures),
        1e9 / statistics.median(held),
        "by hand",
        None,
        Target("at least", 4e6),
        rounds,
    )


def _explained(rounds: int, n: int) -> Row:
    asked, loaded = questions(Order), Policies.load(rules_of(Order))
    figures = [nanoseconds(lambda who, what: loaded.explain(who, ACTION, what), asked, n) / 1000 for _ in range(rounds)]
    return Row("policies", "explain", "µs", statistics.median(figures), target=Target("at most", 15), rounds=rounds)


def _loading(number: int, time_bound: Target, size_bound: Target, rounds: int) -> list[Row]:
    spent = []
    for _ in range(rounds):
        rules = others(Order, number)
        start = time.thread_time()
        Policies.load(rules)
        spent.append((time.thread_time() - start) * 1000)
    tracemalloc.start()
    try:
        kept = Policies.load(others(Order, number))
        size = tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()
    what = f"loading {len(kept.rules)} policies"
    return [
        Row("policies", what, "ms", statistics.median(spent), target=time_bound, rounds=rounds),
        Row("policies", f"{what}, at its peak", "MiB", size, target=size_bound, note="the rules themselves included"),
    ]


PEERS = (("pycasbin", 10_000), ("cedarpy", 10_000), ("rules", 10_000), ("purview-authz", 0))
"""Other libraries, and how many policies they are measured with beside three; 0 where the number means nothing."""


def _peers(effort: Effort) -> list[Row]:
    """Return a row for each peer and number of policies; what is not here is told, and nothing is held against it."""
    try:
        python, lacking = installing.policies(installs=effort.installs), ""
    except NotThereError as error:
        python, lacking = Path(), str(error)
    asked, rules = questions(Order), rules_of(Order)
    rows = []
    numbers = [(name, number) for name, many in PEERS for number in ((3, many) if many else (3,))]
    if lacking:
        figure = 1e9 / decisions(Policies.load(rules), asked, effort.count(20_000, 400))
        return [_row_of_peer(name, number, [figure], [], lacking) for name, number in numbers]
    with _program(python) as program:
        for name, number in numbers:
            loaded = Policies.load([*rules, *others(Order, number - 3)])
            ours, theirs = [], []
            for _ in islice(repeat(None), effort.rounds(3)):
                ours.append(1e9 / decisions(loaded, asked, effort.count(50_000, 400)))
                answer = _ask(program, {"peer": name, "policies": number, "seconds": effort.seconds(1.0)})
                if "lacking" in answer:
                    lacking = answer["lacking"]
                    break
                theirs.append(answer["rate"])
            rows.append(_row_of_peer(name, number, ours, theirs, lacking))
            lacking = ""
    return rows


def _program(python: Path) -> "subprocess.Popen[str]":
    script = Path(__file__).parent / "peers" / "policies.py"
    pipe = subprocess.PIPE
    return subprocess.Popen([str(python), str(script)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def _ask(program: "subprocess.Popen[str]", question: dict[str, object]) -> dict[str, Any]:
    if program.stdin is None or program.stdout is None:
        raise RuntimeError("the program has no pipes")
    program.stdin.write(json.dumps(question) + "\n")
    program.stdin.flush()
    answer: dict[str, Any] = json.loads(program.stdout.readline() or '{"lacking": "it ended"}')
    return answer


def _row_of_peer(name: str, number: int, ours: list[float], theirs: list[float], lacking: str) -> Row:
    what = f"can, {number} policies, against {name}"
    mine = statistics.median(ours)
    if lacking:
        return Row("policies", what, "/s", mine, rounds=len(ours), note=f"{name} not measured: {lacking}")
    ratio = median_ratio(ours, theirs)
    return Row("policies", what, "/s", mine, statistics.median(theirs), name, ratio, None, len(ours))
