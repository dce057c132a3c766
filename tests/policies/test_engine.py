"""The engine: what is decided, what a failure is worth, and that nothing of one question gets into the next."""

import logging
import os
import random
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from itertools import product
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

from limen import Principal, PrincipalKind, allow, context, deny, resource, subject
from limen.authz import engine as module
from limen.authz.engine import Policies
from limen.authz.policy.expressions import python
from limen.authz.policy.rules import PolicySet
from limen.authz.roles import RoleCatalogue
from limen.core.errors import Forbidden, PolicyDenied
from limen.core.principal import ANONYMOUS
from tests.policies.orders import Line, Order, Parcel, Sheet, Team, example, loaded, order, person

CASES = int(os.environ.get("LIMEN_TEST_POLICY_CASES", "1500"))
O, U, S, P = resource(Order), subject(), resource(Sheet), resource(Parcel)  # noqa: E741 - as one writes policies
CARLA = person("carla", limit=100)
ADMIN = person("ada", roles={"admin"})


class Action(StrEnum):
    APPROVE = "order:approve"


class RushOrder(Order):
    """An order of a special sort, without a rule of its own."""


class OrderOut:
    """What an application shows of an order; no rule knows it."""

    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)


def test_the_example_decides_as_it_reads() -> None:
    """Four eyes, a limit, an administrator, and what is closed is closed."""
    policies = loaded(*example(Order))
    assert policies.can(CARLA, "order:approve", order()) is True
    assert policies.can(CARLA, Action.APPROVE, order()) is True
    assert policies.can(CARLA, "order:approve", order(amount=101)) is False
    assert policies.can(CARLA, "order:approve", order(checker_id="mara")) is False
    assert policies.can(CARLA, "order:approve", order(maker_id="carla")) is False
    assert policies.can(ADMIN, "order:approve", order()) is True
    assert policies.can(ADMIN, "order:approve", order(maker_id="ada")) is False
    assert policies.can(ADMIN, "order:approve", order(status="void")) is False
    assert policies.can(ADMIN, "order:approve", order(status=None)) is False, "whether it is closed is not known"
    assert policies.can(ANONYMOUS, "order:approve", order()) is False
    assert policies.can_many(CARLA, "order:approve", [order(), order(amount=101), None]) == [True, False, False]
    assert policies.failures == 0


def test_a_decision_tells_rule_and_version() -> None:
    """A deny is named to whoever an allow lets in; to others it would tell of a resource that is not theirs."""
    policies = loaded(*example(Order))
    yes = policies.decide(CARLA, "order:approve", order())
    assert (yes.allowed, yes.rule, yes.version, yes.code, yes.reason) == (True, "four-eyes", policies.version, "", "")
    no = policies.decide(ADMIN, "order:approve", order(status="void"))
    assert (no.allowed, no.code, no.reason, no.rule) == (False, "policy_denied", "closed-is-closed", "closed-is-closed")
    other = policies.decide(person("eve"), "order:approve", order(status="void"))
    assert (other.allowed, other.reason, other.rule, other.version) == (False, "", "", policies.version)
    policies.check(CARLA, "order:approve", order())
    with pytest.raises(PolicyDenied) as refused:
        policies.check(ADMIN, "order:approve", order(status="void"))
    assert isinstance(refused.value, Forbidden)
    assert refused.value.detail == "closed-is-closed"
    with pytest.raises(PolicyDenied) as refused:
        policies.check(ADMIN, "order:unknown")
    assert refused.value.detail is None


def test_a_deny_wins_whatever_the_order() -> None:
    """Allows and denies are sets, not a list that is read until something fits (R153)."""
    rules = [allow("a:b", id="yes"), deny("a:b", U.has_role("out"), id="no"), allow("a:b", U.has_role("out"), id="too")]
    for order_of in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        policies = loaded(*(rules[number] for number in order_of))
        assert policies.can(person(roles={"out"}), "a:b") is False
        assert policies.can(person(), "a:b") is True


def test_without_a_rule_and_of_an_unknown_action_the_answer_is_no() -> None:
    """A permission of a role makes an action known, and allows nothing by itself."""
    policies = loaded(allow("a:b", id="x"), permissions=["a:c"])
    holder = person(permissions={"a:c"})
    assert policies.actions == {"a:b", "a:c"}
    for action in ("a:c", "a:d", "", "a:*"):
        assert policies.can(holder, action) is False
        assert policies.can(holder, action, order()) is False
    wrong: list[Any] = [None, [], {}, 1, object()]
    for each in wrong:
        assert policies.can(holder, each) is False
    nobody: Any = None
    assert loaded(allow("a:b", U.has_role("x"), id="x")).can(nobody, "a:b") is False


def test_roles_extend_roles_in_the_catalogue_and_policies_ask_for_the_permission() -> None:
    """The written semantics of the hierarchy: a permission comes with every role below; the name of a role does not."""
    roles = RoleCatalogue({"reader": ["order:read"]})
    held = frozenset({"reader"})
    reader = Principal("r", PrincipalKind.PERSON, held, roles.permissions_of(held))
    policies = loaded(
        allow("order:read", U.has_permission("order:read"), id="may-read"),
        allow("order:print", U.has_role("printer"), id="printers"),
    )
    assert policies.can(reader, "order:read") is True
    assert policies.can(reader, "order:print") is False
    assert policies.can(person(), "order:read") is False


def test_a_rule_about_one_model_says_nothing_of_another() -> None:
    """Its allow does not hold there, its deny is nothing to it; subclasses are what they inherit from."""
    policies = loaded(
        allow("thing:read", O.amount < 10, id="small-orders"),
        allow("thing:read", S.number < 10, id="small-sheets"),
        deny("thing:read", S.text == "secret", id="secret-sheets"),
        allow("thing:read", U.has_role("admin"), id="admins"),
    )
    assert policies.can(CARLA, "thing:read", order(amount=1)) is True
    assert policies.can(CARLA, "thing:read", RushOrder(amount=1)) is True
    assert policies.can(CARLA, "thing:read", Sheet(number=1, text="a")) is True
    assert policies.can(CARLA, "thing:read", Sheet(number=1, text="secret")) is False
    assert policies.can(CARLA, "thing:read", Sheet(number=1)) is False
    assert policies.can(ADMIN, "thing:read", order(amount=100)) is True


def test_what_a_policy_does_not_know_is_denied_by_what_might_deny_it() -> None:
    """No resource, or an object of a class that no rule is about, such as the order's data for the answer."""
    root = person("root", roles={"admin", "root"})
    policies = loaded(
        *example(Order),
        allow("order:approve", U.has_role("root"), id="root"),
        allow("order:list", U.has_role("admin"), id="list"),
    )
    assert policies.can(root, "order:approve", order()) is True
    foreign = OrderOut(status="void", maker_id="mara")
    for unknown in (None, foreign, {"status": "open", "maker_id": "mara"}, 7, Sheet()):
        assert policies.can(root, "order:approve", unknown) is False
        assert policies.decide(root, "order:approve", unknown).reason == "closed-is-closed"
    assert policies.can(ADMIN, "order:list") is True
    assert policies.can(ADMIN, "order:list", foreign) is True


def test_a_mapping_is_the_one_typed_dict_of_its_action() -> None:
    """Missing keys are missing values; any mapping will do."""
    policies = loaded(allow("parcel:send", (P.maker_id == U.id) & (P.weight < 5), id="own"))
    assert policies.can(CARLA, "parcel:send", {"maker_id": "carla", "weight": 1}) is True
    assert policies.can(CARLA, "parcel:send", MappingProxyType({"maker_id": "carla", "weight": 1})) is True
    assert policies.can(CARLA, "parcel:send", {"maker_id": "carla"}) is False
    assert policies.can(CARLA, "parcel:send", {}) is False
    assert policies.can(CARLA, "parcel:send", Parcel(maker_id="carla", weight=9)) is False


def tenanted(**other: Any) -> Policies:
    """Return rules of an application with tenants."""
    return Policies.load(
        PolicySet(
            [
                allow("order:read", O.maker_id == U.id, id="own"),
                allow("order:read", U.has_role("admin"), id="admin"),
                allow("team:read", U.has_role("admin"), id="teams"),
                allow("order:list", U.has_role("admin"), id="list"),
                deny("order:read", O.status == "void", id="void"),
            ],
            tenants=[O.team_id == U.team],
            untenanted=[Team],
            **other,
        )
    )


def test_a_tenants_condition_stands_beside_every_allow() -> None:
    """Also beside one that reads no resource: an administrator is one of their own tenant (R146)."""
    policies = tenanted()
    mine, theirs = order(maker_id="ada", team_id=1), order(maker_id="ada", team_id=2)
    admin = person("ada", roles={"admin"}, team=1)
    assert policies.can(admin, "order:read", mine) is True
    assert policies.can(admin, "order:read", theirs) is False
    assert policies.can(person("ada", team=2), "order:read", theirs) is True
    assert policies.can(person("ada", team=2), "order:read", mine) is False
    assert policies.can(person("ada", roles={"admin"}), "order:read", mine) is False, "without a tenant, no tenant's"
    assert policies.can(admin, "order:read", order(maker_id="ada", team_id=1, status="void")) is False
    assert policies.can(admin, "team:read", Team()) is True, "which belongs to no tenant"
    assert policies.can(admin, "order:list") is True, "which is about no row"
    foreign: Any
    for foreign in (Sheet(), {}, OrderOut(team_id=1)):
        assert policies.can(admin, "order:list", foreign) is False, "of which it is not known whose it is"


def test_an_exception_is_a_no_counted_and_logged_once_a_rule(caplog: pytest.LogCaptureFixture) -> None:
    """With the type of what was raised, and never its message."""
    broken = python(lambda *_: dict[str, bool]()["4111-1111"])
    policies = loaded(
        allow("order:read", broken, id="broken"),
        allow("order:read", U.has_role("admin"), id="admin"),
        deny("order:write", broken, id="broken-deny"),
        allow("order:write", id="everybody"),
    )
    with caplog.at_level(logging.INFO, logger="limen"):
        for _ in range(3):
            assert policies.can(CARLA, "order:read", order()) is False
        assert policies.can(ADMIN, "order:write", order()) is False
        assert policies.decide(ADMIN, "order:write", order()).allowed is False
    assert policies.failures == 5
    logged = [(each.message, each.__dict__["rule"], each.__dict__["failure"]) for each in caplog.records]
    assert logged == [("policy_failed", "broken", "KeyError"), ("policy_failed", "broken-deny", "KeyError")]
    assert "4111" not in caplog.text
    assert policies.explain(CARLA, "order:read", order()).failed[0].code == "policy.failed"


def test_an_interruption_is_not_taken_for_an_answer() -> None:
    """Only exceptions are a no; what ends the process or the task goes on."""

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    policies = loaded(allow("a:b", python(interrupted), id="x"))
    with pytest.raises(KeyboardInterrupt):
        policies.can(CARLA, "a:b")


def test_attributes_that_nobody_loaded_are_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """Not even their absence is known; the log says so once for each rule."""
    bare = Principal("carla", PrincipalKind.PERSON)
    policies = loaded(
        allow("order:approve", (O.checker_id == U.id) & (O.amount <= U.limit), id="limited"),
        allow("order:read", U.blocked.is_null() | U.limit.is_not_null(), id="not-blocked"),
        deny("order:write", U.branch == "north", id="not-north"),
        allow("order:write", id="all"),
    )
    with caplog.at_level(logging.INFO, logger="limen"):
        for _ in range(2):
            assert policies.can(bare, "order:approve", order()) is False
            assert policies.can(bare, "order:read") is False
            assert policies.can(bare, "order:write") is False
    assert policies.can(person(), "order:read") is True
    logged = [(each.message, each.__dict__["rule"]) for each in caplog.records]
    assert logged == [("policy_attributes_not_loaded", name) for name in ("limited", "not-blocked", "not-north")]
    assert policies.failures == 0
    assert policies.explain(bare, "order:approve", order()).code == "policy.attributes_not_loaded"
    assert policies.denied_by_names(bare, "order:write") == "not-north"


def test_the_context_tells_the_time_and_what_is_handed_in() -> None:
    """The clock's time, in UTC, unless another one is handed in; what is not handed in is missing."""
    C = context(address=str)  # noqa: N806
    nine = datetime(2026, 1, 1, 9, tzinfo=UTC)
    clock = [nine.timestamp()]
    policies = Policies.load(
        [
            allow("a:b", C.now >= nine, id="late"),
            allow("a:c", C.address == "::1", id="local"),
            allow("a:d", C.address != "::1", id="remote"),
        ],
        clock=lambda: clock[0],
    )
    assert policies.can(CARLA, "a:b") is True
    clock[0] -= 1
    assert policies.can(CARLA, "a:b") is False
    assert policies.can(CARLA, "a:b", None, {"now": nine}) is True
    assert policies.can(CARLA, "a:c", None, {"address": "::1"}) is True
    assert policies.can(CARLA, "a:d", None, {"address": "::2"}) is True
    for told in (None, {}, {"address": None}, {"address": 1}):
        assert policies.can(CARLA, "a:c", None, told) is False
        assert policies.can(CARLA, "a:d", None, told) is False


def test_fields_are_what_allows_give_and_denies_do_not_take() -> None:
    """None where the action is denied; a deny of fields takes them even where it cannot be told."""
    policies = loaded(
        allow("order:read", O.maker_id == U.id, id="own"),
        allow("order:read", O.checker_id == U.id, id="checker", fields=["id", "amount", "status"]),
        deny("order:read", ~U.has_role("payroll"), id="no-amounts", fields=["amount"]),
        deny("order:read", O.team_id == 9, id="team-9", fields=["status"]),
        deny("order:read", O.status == "void", id="void"),
    )
    every = {"id", "maker_id", "checker_id", "amount", "status", "team_id", "team", "lines"}
    assert policies.fields(person("mara"), "order:read", order(team_id=1)) == every - {"amount"}
    assert policies.fields(person("mara", roles={"payroll"}), "order:read", order(team_id=1)) == every
    assert policies.fields(CARLA, "order:read", order(team_id=1)) == {"id", "status"}
    assert policies.fields(CARLA, "order:read", order(team_id=9)) == {"id"}
    assert policies.fields(CARLA, "order:read", order()) == {"id"}, "whose team is not known"
    assert policies.fields(CARLA, "order:read", order(status="void", team_id=1)) == set()
    assert policies.fields(person("eve"), "order:read", order(team_id=1)) == set()
    assert policies.can(CARLA, "order:read", order(team_id=9)) is True, "a deny of fields leaves the action"


def test_denies_that_need_no_resource_are_told_to_whoever_asks_by_names() -> None:
    """A rule about a resource is not among them; one that fails denies."""
    policies = loaded(
        allow("order:read", id="all"),
        deny("order:read", U.has_role("trainee"), id="no-trainees"),
        deny("order:read", O.status == "void", id="void"),
        allow("order:write", id="write"),
        deny("order:write", python(lambda *_: 1 / 0 > 1), id="broken"),
    )
    assert policies.denied_by_names(person(roles={"trainee"}), "order:read") == "no-trainees"
    assert policies.denied_by_names(CARLA, "order:read") is None
    assert policies.denied_by_names(CARLA, "order:write") == "broken"
    assert policies.denied_by_names(CARLA, "order:unknown") is None
    assert policies.failures == 1


def test_nothing_of_one_question_is_in_the_answer_to_another() -> None:
    """One snapshot asked everything at random answers as one that was never asked before (R151).

    Principals that differ in one role, one attribute or the tenant alone, contexts, resources, and versions.
    """
    C = context(address=str)  # noqa: N806
    rules = [
        *example(Order),
        allow("order:read", (C.address == "in") & (O.team_id == U.team), id="inside"),
        deny("order:read", U.has_role("out"), id="out"),
    ]
    versions = [rules, rules[1:], rules[:-1]]
    asked = [Policies.load(each) for each in versions]
    people = [
        person(sub, roles=roles, limit=limit, team=team)
        for sub, roles, limit, team in product(("carla", "mara"), ((), ("admin",), ("out",)), (10, 100), (1, 2))
    ]
    orders = [
        order(amount=amount, team_id=team, status=s) for amount, team, s in product((5, 50), (1, 2), ("open", "void"))
    ]
    contexts = [None, {"address": "in"}, {"address": "out"}]
    rng = random.Random(151)
    for _ in range(CASES // 5):
        number, action = rng.randrange(3), rng.choice(["order:approve", "order:read"])
        who, what, told = rng.choice(people), rng.choice(orders), rng.choice(contexts)
        fresh = Policies.load(versions[number])
        expected = fresh.can(who, action, what, told)
        assert asked[number].can(who, action, what, told) is expected
        assert asked[number].decide(who, action, what, told) == fresh.decide(who, action, what, told)
        assert asked[number].explain(who, action, what, told) == fresh.explain(who, action, what, told)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes made on the fly do not fill the memory, and are decided about all the same; nor do actions."""
    monkeypatch.setattr(module, "_REMEMBERED_CLASSES", 5)
    policies = loaded(allow("thing:read", S.number > 1, id="x"))
    for number in range(50):
        made = type(f"Sheet{number}", (Sheet,), {})
        assert policies.can(CARLA, "thing:read", made(number=2)) is True
        assert policies.can(CARLA, "thing:read", made(number=1)) is False
        assert policies.decide(CARLA, "thing:read", made(number=2)).allowed is True
        assert policies.can(CARLA, f"thing:read{number}", made(number=2)) is False
        assert policies.decide(CARLA, f"thing:read{number}", made(number=2)).allowed is False
        assert policies.denied_by_names(CARLA, f"thing:read{number}") is None
    assert len(policies._decided["thing:read"]) == 5
    assert len(policies._cases) == 1
    assert set(policies._units) | set(policies._models) | set(policies._by_names) <= {"thing:read"}


def test_what_is_not_asked_is_not_compiled() -> None:
    """Ten thousand policies cost nothing before their first question."""
    policies = loaded(*(allow(f"thing{number}:read", S.number > number, id=f"r{number}") for number in range(2000)))
    assert policies.can(CARLA, "thing7:read", Sheet(number=8)) is True
    assert len(policies._cases) == 1
    assert repr(policies) == f"<Policies {policies.version}: 2000 rules, 2000 actions>"


def test_lists_and_menus_are_asked_the_same_rules() -> None:
    """``scope`` says whether there is a row at all, ``where`` which ones; both with tenants and times."""
    policies = tenanted()
    admin = person("ada", roles={"admin"}, team=1)
    assert policies.scope(person("ada"), "order:read", Order).value == "none"
    assert policies.scope(admin, "order:read", Order).value == "some"
    assert policies.scope(admin, "team:read", Team).value == "all"
    assert policies.scope(admin, "order:unknown", Order).value == "none"
    compiled = str(policies.where(admin, "order:read", Order).compile(compile_kwargs={"literal_binds": True}))
    assert "team_id = 1" in compiled
    assert "void" in compiled
    assert Line.__tablename__ not in compiled


def test_the_pages_example_says_what_is_true() -> None:
    """What the reference shows is run as it stands."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "policies-engine.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    module_of_page = ModuleType("policies_engine_page")
    sys.modules["policies_engine_page"] = module_of_page
    try:
        exec(compile(code, str(page), "exec"), module_of_page.__dict__)  # noqa: S102 - the page's own code
    finally:
        del sys.modules["policies_engine_page"]
    assert module_of_page.policies.failures == 0
