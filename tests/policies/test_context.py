"""What the context does not tell: neither null nor not, for the check, the list and the explanation alike."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from limen import allow, context, deny, resource
from limen.authz.engine import Policies
from limen.authz.policy.expressions import Expression
from limen.authz.policy.rules import Effect, Rule
from tests.policies.orders import Base, Order, loaded, order, person

C = context(ip=str, day=date, score=float, whatever=Any)
O = resource(Order)  # noqa: E741 - as one writes policies
ANY = O.id.is_not_null()
UNTOLD: tuple[Mapping[str, object] | None, ...] = (None, {}, {"other": "x"})
FIELDS: dict[str, tuple[Any, object]] = {
    "ip": (C.ip, "192.0.2.7"),
    "day": (C.day, date(2026, 1, 1)),
    "score": (C.score, 1.5),
    "whatever": (C.whatever, "x"),
}


def answers(policies: Policies, told: Mapping[str, object] | None) -> set[bool]:
    """Return what the check, the list and the explanation say of an order that is stored."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(order(id=1))
        session.commit()
        stored = session.scalars(select(Order)).one()
        listed = session.scalars(select(Order).where(policies.where(person(), "order:read", Order, told))).all()
        asked = person(), "order:read", stored, told
        said = {bool(listed), policies.can(*asked), policies.decide(*asked).allowed, policies.explain(*asked).allowed}
    engine.dispose()
    return said


def rules(effect: Effect, condition: Expression) -> list[Rule]:
    """Return rules that decide by this condition alone."""
    if effect is Effect.ALLOW:
        return [allow("order:read", ANY & condition, id="one")]
    return [allow("order:read", ANY, id="everybody"), deny("order:read", condition, id="one")]


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("field", list(FIELDS))
def test_what_is_not_told_is_neither_null_nor_not(field: str, effect: Effect) -> None:
    """An allow that asks either does not hold, a deny that asks either denies: leaving it out passes nothing."""
    operand, _ = FIELDS[field]
    for condition in (operand.is_null(), operand.is_not_null(), ~operand.is_null(), ~operand.is_not_null()):
        policies = loaded(*rules(effect, condition))
        assert [answers(policies, told) for told in UNTOLD] == [{False}] * 3, repr(condition)


@pytest.mark.parametrize("name", list(FIELDS))
def test_what_is_told_to_be_nothing_is_null(name: str) -> None:
    """None is an answer; whoever tells it knows that there is no value."""
    operand, value = FIELDS[name]
    for effect, whether in ((Effect.ALLOW, True), (Effect.DENY, False)):
        null, there = loaded(*rules(effect, operand.is_null())), loaded(*rules(effect, operand.is_not_null()))
        assert (answers(null, {name: None}), answers(null, {name: value})) == ({whether}, {not whether})
        assert (answers(there, {name: None}), answers(there, {name: value})) == ({not whether}, {whether})


def test_the_explanation_names_what_was_not_told() -> None:
    """The deny, unknown for want of this field; without a resource as well."""
    policies = loaded(allow("order:read", id="everybody"), deny("order:read", C.ip.is_not_null(), id="from-outside"))
    explanation = policies.explain(person(), "order:read")
    assert (explanation.allowed, explanation.rule, explanation.code) == (False, "from-outside", "policy.unknown")
    assert [failed.field for failed in explanation.failed] == ["context.ip"]
    assert policies.denied_by_names(person(), "order:read") == "from-outside"
    assert policies.denied_by_names(person(), "order:read", {"ip": None}) is None


def test_the_time_is_told_where_nobody_tells_it() -> None:
    """``now`` is never missing, and not null: neither left out nor told to be nothing."""
    policies = loaded(*rules(Effect.ALLOW, C.now.is_not_null()))
    assert [answers(policies, told) for told in (None, {}, {"now": None})] == [{True}] * 3
