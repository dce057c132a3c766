"""What is refused when policies are loaded, and what they become."""

from dataclasses import replace
from typing import Any, TypedDict

import pytest

from limen import allow, deny, resource, subject
from limen.authz.engine import Policies, PolicyRefused
from limen.authz.policy import nodes as n
from limen.authz.policy.expressions import python
from limen.authz.policy.rules import Effect, PolicySet, Rule, expect
from limen.authz.policy.text import text_of
from limen.core.errors import ConfigurationError
from tests.policies.orders import Order, Parcel, Sheet, Team, example, order, person

O, U, S, T = resource(Order), subject(), resource(Sheet), resource(Team)  # noqa: E741 - as one writes policies


class Crate(TypedDict, total=False):
    maker_id: str


def faults(declared: Any, **told: Any) -> tuple[str, ...]:
    """Return what is wrong."""
    with pytest.raises(PolicyRefused) as refused:
        Policies.load(declared, **told)
    assert isinstance(refused.value, ConfigurationError)
    assert all(fault in str(refused.value) for fault in refused.value.faults)
    return refused.value.faults


def test_a_deny_of_an_action_that_nobody_knows_is_refused() -> None:
    """A misspelt deny would never deny anything; the message says which name was meant."""
    rules = [*example(Order), deny("order:aprove", U.has_role("trainee"), id="no-trainees")]
    (fault,) = faults(rules)
    assert "deny no-trainees: no role and no allow names the action order:aprove" in fault
    assert "Did you mean order:approve?" in fault
    assert Policies.load([*rules[:-1], deny("order:ship", id="x")], permissions=["order:ship"]).actions == {
        "order:approve",
        "order:ship",
    }
    assert Policies.load(PolicySet([deny("order:ship", id="x")], actions=["order:ship"])).actions == {"order:ship"}


def test_a_wildcard_stands_for_what_is_known_and_for_nothing_else() -> None:
    """It is literal and anchored: of ``order:*`` neither ``orders:read`` nor ``order`` is one (R155)."""
    policies = Policies.load(
        [allow("order:*", U.has_role("admin"), id="admin"), deny("order:*", U.has_role("out"), id="out")],
        permissions=["order:read", "order:write", "orders:read", "border:read", "order:line:read"],
    )
    admin, out = person(roles={"admin"}), person(roles={"admin", "out"})
    for action in ("order:read", "order:write", "order:line:read"):
        assert policies.can(admin, action) is True
        assert policies.can(out, action) is False
    for action in ("orders:read", "border:read", "order:", "order:*", "order:ship", "", "*"):
        assert policies.can(admin, action) is False
    assert policies.rules[0].actions == ("order:*",)
    assert policies.rules_for("order:read")[0].actions == ("order:line:read", "order:read", "order:write")
    (fault,) = faults([deny("parcel:*", id="x")], permissions=["order:read"])
    assert fault == "deny x: parcel:* stands for no action that is known."


@pytest.mark.parametrize(
    "pattern",
    ["*", "*:*", "order:", "order:.", "order:(", "*/admin/*", "order:re*", "order:**", "order\u200b:*", "o*:read"],
)
def test_other_patterns_are_refused_where_they_are_written(pattern: str) -> None:
    """A bad pattern neither matches everything nor is skipped (R155)."""
    with pytest.raises(ConfigurationError):
        allow(pattern, id="x")
    with pytest.raises(ConfigurationError):
        deny(["order:read", pattern], id="x")


def test_every_fault_is_listed_at_once() -> None:
    """Nobody has to start again for each of them."""
    found = faults(
        PolicySet(
            [
                allow("order:read", O.status == "open", id="same"),
                allow("order:read", python(lambda *_: True, name="by-hand"), id="same"),
                deny("ordr:read", id="misspelt"),
                allow("sheet:*", id="nothing"),
                replace(allow("order:write", O.amount > 1, id="fields"), fields=frozenset({"amuont"})),
                allow("box:read", resource(Parcel).weight > 1, id="parcel"),
                allow("box:read", resource(Crate).maker_id == U.id, id="crate"),
            ],
            tenants=[T.lead_id == U.id],
            reads={Order: "order:read"},
        )
    )
    text = "\n".join(found)
    for part in (
        "allow same: another rule has this id",
        "deny misspelt:",
        "allow nothing: sheet:* stands for no action",
        "Order has no field amuont. Did you mean amount?",
        "box:read: a dict does not tell whether it is Crate or Parcel",
        "tenants: Order belongs to no tenant",
        "tenants: Parcel belongs to no tenant",
        "allow same: lists of Order are filtered by order:read, and python(by-hand) has no sql=",
    ):
        assert part in text, part


def test_a_function_without_sql_is_only_refused_where_lists_need_it() -> None:
    """Another action, or one with sql=, is fine."""
    by_hand = python(lambda *_: True)
    in_both = python(lambda *_: True, sql=lambda *_: None)
    rules = [allow("order:write", by_hand, id="a"), allow("order:read", in_both, id="b")]
    assert Policies.load(PolicySet(rules, reads={Order: "order:read"})).rules
    nested = allow("order:list", ~(in_both | (O.amount > 1) & ~by_hand), id="c")
    assert "allow c" in faults(PolicySet([nested], reads={Order: "order:list"}))[0]


def test_a_model_is_named_once_among_the_tenants() -> None:
    """A model has one tenant, or none."""
    rules = [allow("order:read", O.amount > 1, id="a")]
    assert "Order is named twice" in faults(PolicySet(rules, tenants=[O.amount > 1, O.amount > 2]))[0]
    assert "Order is named twice" in faults(PolicySet(rules, tenants=[O.amount > 1], untenanted=[Order]))[0]


def test_a_tree_that_is_too_deep_is_refused() -> None:
    """However it was built, it ends in a message and not in the interpreter's stack."""
    tree: n.Node = n.HasRole("x")
    for _ in range(5000):
        tree = n.Not(tree)
    (fault,) = faults([Rule("deep", Effect.ALLOW, ("order:read",), tree)])
    assert fault == "allow deep: its condition has more than 200 levels."


def test_the_version_is_that_of_the_rules() -> None:
    """The same in any order and any process; any change of a rule is another one."""
    rules = example(Order)
    version = Policies.load(rules).version
    assert len(version) == 12
    assert int(version, 16) >= 0
    assert Policies.load(reversed(rules)).version == version
    assert Policies.load(PolicySet(rules, tests=[])).version == version
    others = {
        Policies.load(changed).version
        for changed in (
            rules[:2],
            [*rules[:2], deny("order:approve", O.status.in_({"closed"}), id="closed-is-closed")],
            [*rules[:2], deny("order:approve", O.status.in_({"closed", "void"}), id="other")],
            [*rules[:2], allow("order:approve", O.status.in_({"closed", "void"}), id="closed-is-closed")],
            [*rules[:2], deny("order:approve", O.status.in_({"closed", "void"}), id="closed-is-closed", fields=["id"])],
            PolicySet(rules, tenants=[O.team_id == U.team]),
            PolicySet(rules, tenants=[O.team_id == U.group]),
        )
    }
    assert len(others | {version}) == 8
    assert Policies.load(rules, permissions=["order:read"]).version == version


def test_the_policys_own_tests_run_at_loading() -> None:
    """A set that answers otherwise is not loaded, and every test that fails is named."""
    good = [
        expect("order:approve", order(), allowed=True, id="carla", limit=100, by="four-eyes"),
        expect("order:approve", order(), allowed=False, id="carla", limit=10),
        expect("order:approve", order(status="void"), allowed=False, id="ada", roles=["admin"], by="closed-is-closed"),
        expect("order:approve", {"maker_id": "m", "status": "open"}, allowed=True, id="ada", roles=["admin"]),
        expect("order:approve", {"maker_id": "m"}, allowed=False, id="ada", roles=["admin"]),
        expect("order:approve", order(), allowed=False),
    ]
    policies = Policies.load(PolicySet(example(Order), tests=good))
    assert policies.failures == 0
    bad = [
        expect("order:approve", order(), allowed=True, id="carla", limit=10),
        expect("order:approve", order(), allowed=True, id="carla", limit=100, by="admin-approves"),
        expect("order:aprove", order(), allowed=False),
        expect("order:approve", order(status="void"), allowed=True, id="ada", roles=["admin"]),
    ]
    assert faults(PolicySet(example(Order), tests=[*good, *bad])) == (
        "test: order:approve is denied, and must be allowed.",
        "test: order:approve is allowed by four-eyes, and must be by admin-approves.",
        "test: order:aprove is no action that is known. Did you mean order:approve?",
        "test: order:approve is denied by closed-is-closed, and must be allowed.",
    )


def test_the_subject_of_a_test_has_fields_of_its_own() -> None:
    """What a principal has goes to the principal, everything else is an attribute."""
    rules = [
        allow("order:read", (U.kind == "service") & (U.client_id == "c") & (U.branch == "north"), id="service"),
        allow("order:write", U.kind == "anonymous", id="anybody"),
    ]
    tests = [
        expect("order:read", allowed=True, id="s", kind="service", client_id="c", branch="north"),
        expect("order:read", allowed=False, id="s", client_id="c", branch="north"),
        expect("order:write", allowed=True),
        expect("order:write", allowed=False, permissions=["a:b"]),
    ]
    assert Policies.load(PolicySet(rules, tests=tests)).version


def test_a_test_with_a_mapping_needs_one_model() -> None:
    """A mapping does not tell what it stands for, and what a function raises is a fault."""
    rules = [allow("x:read", O.amount > 1, id="a"), allow("x:read", S.number > 1, id="b")]
    (fault,) = faults(PolicySet(rules, tests=[expect("x:read", {"amount": 2}, allowed=True)]))
    assert "about several models" in fault
    failing = [allow("x:read", python(lambda *_: 1 / 0), id="a")]  # type: ignore[arg-type]
    (fault,) = faults(PolicySet(failing, tests=[expect("x:read", {}, allowed=True)]))
    assert "raises ZeroDivisionError" in fault


def test_rules_are_told_for_a_model_with_its_tenant() -> None:
    """That is what lists are filtered by: the same condition that decides."""
    rules = [*example(Order), deny("order:approve", O.amount > 5, id="hide", fields=["amount"])]
    policies = Policies.load(PolicySet(rules, tenants=[resource(Order, "o").team_id == U.team]))
    four_eyes, admin, closed = policies.rules_for("order:approve", Order)
    assert text_of(four_eyes.condition).startswith(
        "(Order.team_id == subject.team) & ((Order.checker_id == subject.id)"
    )
    assert text_of(admin.condition).startswith("(Order.team_id == subject.team) & (subject.has_role('admin')")
    assert text_of(closed.condition) == "Order.status.in_(['closed', 'void'])"
    assert len(policies.rules_for("order:approve")) == 4
    assert policies.rules_for("nothing:known") == ()
    assert policies.rules_for("nothing:known", Order) == ()
