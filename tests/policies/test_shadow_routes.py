"""Policies in the shadow on routes and messages: nobody is answered by them, and what only they read is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI

from limen import (
    PolicySet,
    Principal,
    allow,
    consumers,
    context,
    deny,
)
from limen.consumers import Consumer, GuardedMessage, Message, Verdict
from limen.core.errors import Unavailable
from limen.fastapi import CurrentPrincipal, permissions, policy, roles
from limen.features.roles.service import OPERATOR
from limen.guard.requirements import Question, Requirement
from limen.web.guard import protect
from tests.policies.guarding import ORDERS, RULES, SUSPENDED, C, gate_with, loaded
from tests.policies.guarding import Order as GuardedOrder
from tests.policies.guarding import U as GuardedUser
from tests.policies.shadowed import ME, SECRET, SMALL, YOU, O, U, gate_of, kinds_of, shadowed
from tests.web.guard.kit import SmallGate, call


def _shop(gate: SmallGate) -> FastAPI:
    app = FastAPI()

    async def get_order(order_id: int) -> GuardedOrder | None:
        return ORDERS.get(order_id)

    @app.post("/orders/{order_id}")
    async def approve(order: Annotated[GuardedOrder, policy("order:approve", load=get_order)]) -> str:
        return "approved"

    @app.post("/drafts")
    @permissions("order:create")
    async def create() -> str:
        return "created"

    @app.post("/desk")
    @roles("maker")
    async def desk() -> str:
        return "open"

    @app.get("/mine")
    async def mine(me: CurrentPrincipal) -> dict[str, Any]:
        assert gate.loaded_policies is not None
        return {"may": gate.loaded_policies.can(me, "order:read")}

    protect(app, gate)
    return app


async def test_routes_answer_as_those_in_force_and_what_differs_is_counted() -> None:
    """A route with a policy and one with a permission; those whom a leaf would remember are compared each time."""
    in_force = (*RULES, allow("order:list", id="list"))
    none_create = deny("order:create", id="none_create")
    shadow = (allow("order:approve", id="anybody"), allow("order:read", id="read"), none_create)
    gate = gate_with()
    gate.loaded_policies = shadowed(in_force, shadow)
    app = _shop(gate)
    assert [(await call(app, f"/orders/{each}", "checker", method="POST")).status for each in (1, 3)] == [200, 403]
    for _ in range(3):
        assert (await call(app, "/drafts", "maker", method="POST")).status == 200
    assert (await call(app, "/desk", "maker", method="POST")).status == 200
    assert kinds_of(gate) == [
        ("order:create", True, False, "", "none_create", 3),
        ("maker", True, False, "", "none_create", 1),
        ("order:approve", False, True, "", "anybody", 1),
    ]


async def test_a_shadow_lifts_no_denial() -> None:
    """What those in force deny by name stays denied where the shadow does not."""
    gate = gate_with()
    gate.loaded_policies = shadowed((*RULES, deny("order:create", id="none_create")), RULES)
    assert (await call(_shop(gate), "/drafts", "maker", method="POST")).status == 403
    assert kinds_of(gate) == [("order:create", False, True, "none_create", "", 1)]


async def test_what_only_the_shadow_reads_is_loaded_for_it() -> None:
    """Attributes that no rule in force reads, so that the shadow is not compared without them."""
    gate = gate_with((), maker={"suspended": True}, checker={"suspended": False})
    open_to_all = (allow(["order:create", "order:read", "order:approve"], id="open"),)
    reading = deny("order:read", GuardedUser.suspended == True, id="no_reading")  # noqa: E712 - a field
    gate.loaded_policies = shadowed(open_to_all, (*open_to_all, SUSPENDED, reading))
    app = _shop(gate)
    for who in ("maker", "checker"):
        for path, method in (("/mine", "GET"), ("/orders/1", "POST")):
            assert (await call(app, path, who, method=method)).status == 200
    assert (await call(app, "/drafts", "maker", method="POST")).status == 200
    assert sorted(kinds_of(gate)) == [
        ("order:approve", True, False, "open", "suspended", 1),
        ("order:create", True, False, "", "suspended", 1),
        ("order:read", True, False, "open", "no_reading", 1),
    ]


class _Blind(SmallGate):
    """Its loader fails."""

    async def attributes_of(self, who: Principal) -> Any:
        self.loader_asked.append(who.sub)
        raise Unavailable()


async def test_what_cannot_be_loaded_for_the_shadow_refuses_nobody() -> None:
    """A loader and a context that fail are asked for the shadow's sake, and the request goes on without them."""

    def told(_request: object) -> dict[str, object]:
        raise RuntimeError(SECRET)

    open_to_all = (allow(["order:create", "order:read", "order:approve"], id="open"),)
    by_day = deny("order:*", C.entrance == "night", id="not_by_night", unknown="deny")
    gate = _Blind(loaded_policies=shadowed(open_to_all, (*open_to_all, SUSPENDED, by_day)), policy_context=told)
    app = _shop(gate)
    for path, method in (("/mine", "GET"), ("/orders/1", "POST"), ("/drafts", "POST")):
        assert (await call(app, path, "maker", method=method)).status == 200
    assert len(gate.loader_asked) == 3
    assert {each[2] for each in kinds_of(gate)} == {False}
    gate.loaded_policies = loaded((*open_to_all, SUSPENDED))
    assert (await call(app, "/drafts", "maker", method="POST")).status == 503


async def test_services_get_what_the_shadow_reads_and_no_failure_of_it(tmp_path: Path) -> None:
    """subject_of loads attributes for the shadow alone too; where that fails it returns who was handed in."""

    async def load(principal: Principal) -> dict[str, object]:
        if principal.sub == "you":
            raise RuntimeError(SECRET)
        return {"limit": 3}

    gate = gate_of(tmp_path, attributes=load)
    gate.shadow_policies([allow("order:approve", O.amount <= U.limit, id="limited")])
    assert (await gate.subject_of(ME)).attributes == {"limit": 3}
    assert await gate.subject_of(YOU) is YOU
    assert gate.can(await gate.subject_of(ME), "order:approve", SMALL) is True
    assert kinds_of(gate) == [("order:approve", True, False, "small", "", 1)]


async def test_messages_are_handled_as_those_in_force_say(tmp_path: Path) -> None:
    """A handler with a policy runs although the shadow denies it, by a context that fails and nobody else reads."""

    def told(_entrance: object) -> dict[str, object]:
        raise RuntimeError(SECRET)

    ran: list[GuardedMessage] = []

    @consumers.policy("order:create")
    async def handler(message: GuardedMessage) -> None:
        ran.append(message)

    makers = allow("order:create", U.has_role("maker"), id="makers")
    gate = gate_of(tmp_path, (makers,), policy_context=told)
    night = deny("order:create", C.entrance == "night", id="night", unknown="deny")
    async with gate.running():
        gate.shadow_policies(PolicySet([makers, night], context={"entrance"}))
        assert gate.api_keys is not None
        await gate.api_keys.services.create(OPERATOR, "shop", roles=frozenset({"maker"}))
        attributes = await gate.messages.attributes(service="shop", audience="orders", body=b"1")
        outcome = await Consumer(gate, handler, audience="orders").handle(Message(b"1", attributes, "message-1"))
        assert (outcome.verdict, len(ran)) == (Verdict.HANDLED, 1)
        assert ("order:create", True, False, "makers", "night", 1) in kinds_of(gate)


def test_a_denial_by_name_is_compared_once() -> None:
    """Of a policy about an action, its own denies count where it is answered, and not once more by the name."""
    both = shadowed(RULES, (deny("order:approve", id="never"), *RULES))
    who = replace(ME, sub="id-of-checker", attributes={"limit": 100})
    question = Question("order:approve")
    assert both.denial(Requirement(questions=(question,)), who, None) is None
    assert both.answer(question, who, ORDERS[1], None).allowed is True
    found = both.differences.snapshot().differences
    assert [(each.action, each.rule, each.shadow_rule, each.count) for each in found] == [
        ("order:approve", "four-eyes", "never", 1)
    ]


def test_context_names_are_read_by_the_shadow_alone() -> None:
    """A gate knows that only the shadow reads what the application tells of a request."""
    read = context(entrance=str)
    both = shadowed(RULES, (*RULES, deny("order:*", read.entrance == "night", id="night")))
    assert (both.reads_context, both.shadow_reads_context) == (False, True)
    assert both.in_force.shadow_reads_context is False
