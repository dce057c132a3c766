"""The rules of the design's example in other libraries; a program of its own, in an environment that has them.

It reads lines of JSON, ``{"peer": NAME, "policies": NUMBER, "seconds": S}``, and answers each with how many decisions a
second one thread made: ``{"rate": …}``, or ``{"lacking": …}``. Everything that can be parsed before is parsed before.
"""
# mypy: disable-error-code="import-not-found,untyped-decorator"
# The libraries are not where limen is checked.

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from types import SimpleNamespace
from typing import Any

ACTION = "order:approve"
PEOPLE: dict[str, dict[str, Any]] = {
    "carla": {"id": "carla", "limit": 100, "roles": ["checker"]},
    "ada": {"id": "ada", "limit": 0, "roles": ["admin"]},
    "eve": {"id": "eve", "limit": 100, "roles": []},
}
ORDERS: dict[str, dict[str, Any]] = {
    "open": {"maker_id": "mara", "checker_id": "carla", "amount": 50, "status": "open"},
    "void": {"maker_id": "mara", "checker_id": "carla", "amount": 50, "status": "void"},
}
ASKED = [("carla", "open", True), ("ada", "open", True), ("eve", "open", False), ("carla", "void", False)]
Decide = Callable[[str, str], bool]


def casbin(policies: int) -> Decide:
    """Return pycasbin with rules as texts that its matcher evaluates, deny overriding."""
    from casbin import Enforcer
    from casbin.model import Model

    model = Model()
    model.load_model_from_text(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = rule, act, eft\n"
        "[policy_effect]\ne = some(where (p.eft == allow)) && !some(where (p.eft == deny))\n"
        "[matchers]\nm = r.act == p.act && eval(p.rule)\n"
    )
    enforcer = Enforcer(model)
    mine = "r.obj.checker_id == r.sub.id && r.obj.maker_id != r.sub.id && r.obj.amount <= r.sub.limit"
    enforcer.add_policies(
        [
            [mine, ACTION, "allow"],
            ["r.sub.is_admin && r.obj.maker_id != r.sub.id", ACTION, "allow"],
            ["r.obj.status == 'closed' || r.obj.status == 'void'", ACTION, "deny"],
            *([f"r.obj.amount <= {number}", f"thing{number}:read", "allow"] for number in range(policies - 3)),
        ]
    )
    people = {name: SimpleNamespace(**fields, is_admin="admin" in fields["roles"]) for name, fields in PEOPLE.items()}
    orders = {name: SimpleNamespace(**fields) for name, fields in ORDERS.items()}
    return lambda who, what: enforcer.enforce(people[who], orders[what], ACTION)


def cedar(policies: int) -> Decide:
    """Return cedarpy with policies and entities that were parsed before."""
    from cedarpy import Decision, Entities, PolicySet, is_authorized

    head = f'(principal, action == Action::"{ACTION}", resource) when'
    text = (
        f"permit {head} {{ resource.checker_id == principal.sub && resource.maker_id != principal.sub"
        " && resource.amount <= principal.limit };\n"
        f'permit {head} {{ principal.roles.contains("admin") && resource.maker_id != principal.sub }};\n'
        f'forbid {head} {{ ["closed", "void"].contains(resource.status) }};\n'
    )
    text += "".join(
        f'permit (principal, action == Action::"thing{number}:read", resource)'
        f" when {{ resource.amount <= {number} }};\n"
        for number in range(policies - 3)
    )
    parsed = PolicySet.from_str(text)
    listed = [
        {"uid": {"type": "User", "id": name}, "attrs": {"sub": name, **fields}, "parents": []}
        for name, fields in PEOPLE.items()
    ]
    listed += [
        {"uid": {"type": "Order", "id": name}, "attrs": fields, "parents": []} for name, fields in ORDERS.items()
    ]
    entities = Entities.from_json_str(json.dumps(listed))

    def decide(who: str, what: str) -> bool:
        request = {"principal": f'User::"{who}"', "action": f'Action::"{ACTION}"', "resource": f'Order::"{what}"'}
        return bool(is_authorized(request, parsed, entities).decision == Decision.Allow)

    return decide


def predicates(policies: int) -> Decide:
    """Return ``rules``, whose predicates are functions that somebody wrote."""
    import rules

    admin = rules.predicate(lambda user, order: "admin" in user.roles)
    other = rules.predicate(lambda user, order: order.maker_id != user.id)
    assigned = rules.predicate(lambda user, order: order.checker_id == user.id)
    within = rules.predicate(lambda user, order: order.amount <= user.limit)
    closed = rules.predicate(lambda user, order: order.status in {"closed", "void"})
    known = rules.RuleSet()
    known.add_rule(ACTION, ((assigned & other & within) | (admin & other)) & ~closed)
    for number in range(policies - 3):
        known.add_rule(f"thing{number}:read", within)
    people = {name: SimpleNamespace(**fields) for name, fields in PEOPLE.items()}
    orders = {name: SimpleNamespace(**fields) for name, fields in ORDERS.items()}
    return lambda who, what: known.test_rule(ACTION, people[who], orders[what])


def purview(policies: int) -> Decide:
    """Return purview, which asks the database: SQLite in memory here, without a network in between."""
    from purview import Context, Policy
    from purview.sqlalchemy import install
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[str] = mapped_column(primary_key=True)
        tenant_id: Mapped[int]
        maker_id: Mapped[str]
        checker_id: Mapped[str]
        amount: Mapped[int]
        status: Mapped[str]

    policy: Any = Policy()

    @policy.rule(Order, ACTION)
    def approve(ctx: Any) -> list[Any]:
        conditions = [(Order.checker_id == ctx.user_id) & (Order.amount <= PEOPLE[ctx.user_id]["limit"])]
        if ctx.has_role("admin"):
            conditions.append(Order.id.is_not(None))
        return [each & (Order.maker_id != ctx.user_id) & Order.status.not_in(["closed", "void"]) for each in conditions]

    guard: Any = install(Base, policy, strict=False)
    loop = asyncio.new_event_loop()
    engine = create_async_engine("sqlite+aiosqlite://")

    async def prepare() -> dict[str, Any]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            guard.bind(session, Context(user_id="mara", tenant_id=1, roles=set()))
            session.add_all([Order(id=name, tenant_id=1, **fields) for name, fields in ORDERS.items()])
            await session.commit()
        sessions = {}
        for name, fields in PEOPLE.items():
            sessions[name] = AsyncSession(engine)
            guard.bind(sessions[name], Context(user_id=name, tenant_id=1, roles=set(fields["roles"])))
        orders = {}
        for name in ORDERS:
            orders[name] = await sessions["ada"].get(Order, name)
        return {"sessions": sessions, "orders": orders}

    ready = loop.run_until_complete(prepare())

    def decide(who: str, what: str) -> bool:
        asked = guard.authorize(ready["sessions"][who], ACTION, ready["orders"][what])
        return bool(loop.run_until_complete(asked))

    return decide


PEERS: dict[str, Callable[[int], Decide]] = {
    "pycasbin": casbin,
    "cedarpy": cedar,
    "rules": predicates,
    "purview-authz": purview,
}


def rate(decide: Decide, seconds: float) -> float:
    """Return how many decisions a second of the processor are made, in slices until the time is over."""
    for who, what, expected in ASKED:
        if decide(who, what) is not expected:
            raise RuntimeError(f"it decides {who} {what} otherwise")
    asked: Iterator[tuple[str, str, bool]] = cycle(ASKED)
    count, size, start = 0, 4, time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for who, what, _ in islice(asked, size):
            decide(who, what)
        count += size
        size = min(size * 2, 1024)
    return count / spent


def main() -> None:
    """Answer line by line, until there are no more."""
    made: dict[tuple[str, int], Decide] = {}
    for line in sys.stdin:
        told = json.loads(line)
        key = (told["peer"], told["policies"])
        try:
            if key not in made:
                made[key] = PEERS[told["peer"]](told["policies"])
            answer: dict[str, object] = {"rate": rate(made[key], told["seconds"])}
        except Exception as error:
            answer = {"lacking": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
