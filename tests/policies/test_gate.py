"""A gate's policies: loaded when the roles are known, replaced as a whole, refused aloud, and asked by services."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from limen import Limen, PolicySet, Principal, PrincipalKind, allow, deny, python, resource, subject
from limen.authz.policy.rules import Rule
from limen.core import metrics
from limen.core.errors import ConfigurationError, PolicyDenied, Unavailable
from limen.core.principal import ANONYMOUS
from limen.features.roles.service import OPERATOR
from tests.support.gates import ROLES, settings_for


@dataclass
class Order:
    """An order."""

    maker_id: str
    amount: int = 1


U, O = subject(), resource(Order)  # noqa: E741 - as in the documentation
SOME = (
    allow("order:approve", O.amount < 100, id="small"),
    deny("order:approve", O.maker_id == U.id, id="own_order"),
    deny("order:*", U.kind == "service", id="people_only"),
)
LIMITED = allow("order:approve", O.amount <= U.limit, id="limited")
ME = Principal(sub="me", kind=PrincipalKind.PERSON, roles=frozenset({"checker"}))


def _gate(folder: Path, policies: Any = SOME, **more: Any) -> Limen:
    return Limen(settings_for(folder), roles=more.pop("roles", ROLES), policies=policies, **more)


def test_a_gate_answers_as_its_policies_do(tmp_path: Path) -> None:
    """can, decide, check, can_many, explain, fields and scope are the snapshot's; a deny is a no in all of them."""
    gate = _gate(tmp_path)
    mine, others, big = Order("me"), Order("you"), Order("you", 100)
    asked = [gate.can(ME, "order:approve", each) for each in (mine, others, big)]
    assert asked == gate.can_many(ME, "order:approve", [mine, others, big]) == [False, True, False]
    decision = gate.decide(ME, "order:approve", mine)
    assert (decision.allowed, decision.reason, decision.version) == (False, "own_order", gate.policies.version)
    with pytest.raises(PolicyDenied, match="own_order"):
        gate.check(ME, "order:approve", mine)
    gate.check(ME, "order:approve", others)
    assert gate.explain(ME, "order:approve", mine).allowed is False
    assert gate.fields(ME, "order:approve", others) == {"maker_id", "amount"}
    assert gate.scope(ME, "order:approve", Order) is gate.policies.scope(ME, "order:approve", Order)


def test_without_policies_a_gate_says_what_is_missing(tmp_path: Path) -> None:
    """Asking a gate that has none is a mistake in the code, and raises; it is never a yes."""
    gate = _gate(tmp_path, None)
    with pytest.raises(ConfigurationError, match="policies="):
        gate.can(ME, "order:approve", Order("you"))


@pytest.mark.parametrize(
    "policies",
    [
        [deny("order:aprove", id="misspelt")],
        [allow("order:read", id="twice"), allow("order:read", id="twice")],
        [allow("invoice:*", id="of_nothing")],
    ],
    ids=["unknown_action", "two_rules_of_one_id", "empty_wildcard"],
)
def test_what_cannot_be_loaded_stops_the_start(tmp_path: Path, policies: Any) -> None:
    """A gate with unusable policies is not made."""
    with pytest.raises(ConfigurationError):
        _gate(tmp_path, policies)


async def test_unusable_policies_keep_those_of_before_and_show(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad policy is refused with its faults, the old one decides on, and /readyz tells until a good one is loaded."""
    async with _gate(tmp_path).running() as gate:
        before = gate.policies
        with caplog.at_level(logging.ERROR, logger="limen"), pytest.raises(ConfigurationError, match="order:aprove"):
            gate.load_policies([*SOME, deny("order:aprove", id="misspelt")])
        assert gate.policies is before
        assert "policies are refused" in caplog.text
        assert await gate.ready() == {"policies": "refused"}
        gate.load_policies([*SOME, deny("order:approve", id="closed")])
        assert gate.policies is not before
        assert await gate.ready() == {}
        assert gate.can(ME, "order:approve", Order("you")) is False


def test_attributes_that_nothing_loads_are_refused(tmp_path: Path) -> None:
    """A policy that reads the principal's limit needs a loader."""
    with pytest.raises(ConfigurationError, match=r"read limit .* attributes="):
        _gate(tmp_path, [LIMITED])


def test_a_role_that_is_read_as_an_attribute_is_told_how_to_ask(tmp_path: Path) -> None:
    """Whoever looks for somebody's roles among the attributes is told of has_role, which needs no loader."""
    with pytest.raises(ConfigurationError, match=r"read roles .* has_role"):
        _gate(tmp_path, [allow("order:read", subject().roles.contains("checker"), id="checkers-read")])


async def test_policies_wait_for_roles_that_are_in_the_database(tmp_path: Path) -> None:
    """Without roles in code the actions are known at the start, and wildcards are spelled out again as roles change."""
    gate = Limen(settings_for(tmp_path), default_roles={"checker": ["order:approve"]}, policies=SOME)
    with pytest.raises(ConfigurationError, match="start the gate"):
        gate.can(ME, "order:approve", Order("you"))
    async with gate.running():
        service = replace(ME, kind=PrincipalKind.SERVICE)
        assert gate.policies.actions == {"order:approve"}
        assert gate.can(ME, "order:approve", Order("you")) is True
        await gate.roles.put(OPERATOR, "clerk", permissions=["order:archive"])
        assert "order:archive" in gate.policies.actions
        assert gate.policies.denied_by_names(service, "order:archive") == "people_only"


async def test_subject_of_loads_what_policies_read_and_nothing_else(tmp_path: Path) -> None:
    """A service asks about a principal with attributes; where no rule reads any, the loader is not called."""
    asked: list[str] = []

    async def load(principal: Principal) -> Mapping[str, object]:
        asked.append(principal.sub)
        return {"limit": 10}

    gate = _gate(tmp_path, [LIMITED], attributes=load)
    me = await gate.subject_of(ME)
    assert (me, me.attributes, ME.attributes) == (ME, {"limit": 10}, None)
    assert await gate.subject_of(me) is me
    assert await gate.subject_of(ANONYMOUS) is ANONYMOUS
    assert [gate.can(each, "order:approve", Order("you", 10)) for each in (me, ME)] == [True, False]
    gate.load_policies(SOME)
    assert await gate.subject_of(ME) is ME
    assert asked == ["me"]


async def test_a_loader_that_fails_is_no_answer(tmp_path: Path) -> None:
    """What is not known is never taken for empty."""

    async def load(principal: Principal) -> Mapping[str, object]:
        raise OSError("down")

    with pytest.raises(Unavailable):
        await _gate(tmp_path, [LIMITED], attributes=load).subject_of(ME)


def test_failures_while_deciding_are_counted_over_all_loads(tmp_path: Path) -> None:
    """The counter does not go back when policies are replaced."""

    def fails(*_: object) -> bool:
        raise RuntimeError

    rules: list[Rule] = [allow("order:approve", python(fails, name="fails"), id="fails")]
    gate = _gate(tmp_path, rules)
    counts = []
    for _ in range(2):
        assert gate.can(ME, "order:approve", Order("you")) is False
        counts.append(metrics.POLICY_FAILURES.read().samples[0][1])
        gate.load_policies(rules)
    assert counts == [1, 2]


def test_other_policies_come_as_a_whole(tmp_path: Path) -> None:
    """While two sets that both refuse one of two orders take turns, nobody is ever allowed both or refused both."""
    first = [allow("order:approve", O.amount == 1, id="ones")]
    second = [allow("order:approve", O.amount == 2, id="twos")]
    gate = _gate(tmp_path, first)
    ended = threading.Event()

    def replace_them() -> None:
        for _ in range(20):
            gate.load_policies(second)
            gate.load_policies(first)
        ended.set()

    thread = threading.Thread(target=replace_them)
    thread.start()
    seen = set()
    while not ended.is_set():
        policies = gate.policies
        seen.add(tuple(policies.can_many(ME, "order:approve", [Order("you", 1), Order("you", 2)])))
    thread.join()
    assert seen <= {(True, False), (False, True)}


class _Base(DeclarativeBase):
    pass


class _Payout(_Base):
    """A row that lists are made of."""

    __tablename__ = "payouts"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[str]


def test_lists_are_filtered_by_the_policies_of_the_gate(tmp_path: Path) -> None:
    """``where`` goes into a statement, and a bound session shows nothing else without it."""
    payout = resource(_Payout)
    rules = PolicySet([allow("payout:read", payout.owner_id == U.id, id="own")], reads={_Payout: "payout:read"})
    gate = _gate(tmp_path, rules)
    engine = create_engine("sqlite://")
    _Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([_Payout(id=1, owner_id="me"), _Payout(id=2, owner_id="you")])
        session.commit()
        asked = select(_Payout.id).where(gate.where(ME, "payout:read", _Payout))
        assert session.scalars(asked).all() == [1]
    with Session(engine) as session:
        gate.bind(session, ME)
        assert [each.id for each in session.scalars(select(_Payout))] == [1]
    engine.dispose()


def test_services_elsewhere_have_policies_of_their_own() -> None:
    """A resource server and a service behind a gateway decide by policies, with the roles that they declare."""
    common: dict[str, Any] = {"issuer": "https://id.example", "roles": ROLES, "policies": SOME}
    for gate in (Limen.resource_server(audience="orders", **common), Limen.behind_gateway(**common)):
        assert [gate.can(ME, "order:approve", Order(each)) for each in ("me", "you")] == [False, True]
        with pytest.raises(ConfigurationError, match="attributes="):
            gate.load_policies([LIMITED])
