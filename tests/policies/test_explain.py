"""Explanations: the rule, the leaf and the values; and no value for whoever asked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen import Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.policy.expressions import python
from limen.core.principal import ANONYMOUS
from tests.policies.orders import Item, Order, Sheet, Status, example, loaded, order, person

O, U, S, I = resource(Order), subject(), resource(Sheet), resource(Item)  # noqa: E741 - as one writes policies
POLICIES = loaded(*example(Order))
CARLA = person("carla", limit=100)


def told(explanation: Any) -> list[tuple[Any, ...]]:
    """Return what did not hold, as tuples."""
    return [(each.rule, each.leaf, each.left, each.right, each.code, each.field) for each in explanation.failed]


def test_what_is_allowed_is_explained_by_the_allow_that_held() -> None:
    """There is nothing that failed."""
    explanation = POLICIES.explain(CARLA, "order:approve", order())
    assert (explanation.allowed, explanation.rule, explanation.code, explanation.failed) == (True, "four-eyes", "", ())
    assert explanation.version == POLICIES.version
    assert explanation.action == "order:approve"


def test_what_no_allow_allows_is_explained_leaf_by_leaf() -> None:
    """Every leaf that did not hold, as one would write it, with both values."""
    explanation = POLICIES.explain(CARLA, "order:approve", order(amount=150))
    assert (explanation.allowed, explanation.rule, explanation.code) == (False, "", "policy.not_met")
    assert told(explanation) == [
        ("four-eyes", "Order.amount <= subject.limit", 150, 100, "policy.not_met", ""),
        ("admin-approves", "subject.has_role('admin')", None, None, "policy.not_met", ""),
    ]


def test_a_deny_is_named_with_what_would_have_had_to_hold() -> None:
    """Where it is known to hold it is policy.denied, where that is not known policy.unknown with the field."""
    explanation = POLICIES.explain(CARLA, "order:approve", order(status="void"))
    assert (explanation.rule, explanation.code) == ("closed-is-closed", "policy.denied")
    (failed,) = explanation.failed
    assert (failed.leaf, failed.left) == ("Order.status.not_in(['closed', 'void'])", "void")
    unknown = POLICIES.explain(CARLA, "order:approve", order(status=None))
    assert (unknown.rule, unknown.code) == ("closed-is-closed", "policy.unknown")
    assert unknown.failed[0].field == "Order.status"


def test_what_is_unknown_names_rule_and_field() -> None:
    """An order without a checker is neither Carla's nor somebody else's."""
    explanation = POLICIES.explain(CARLA, "order:approve", order(checker_id=None))
    assert explanation.code == "policy.unknown"
    assert told(explanation)[0] == (
        "four-eyes", "Order.checker_id == subject.id", None, "carla", "policy.unknown", "Order.checker_id",
    )  # fmt: skip
    anonymous = POLICIES.explain(ANONYMOUS, "order:approve", order())
    assert {each.field for each in anonymous.failed} >= {"subject.id"}


def test_attributes_that_nobody_loaded_have_a_code_of_their_own() -> None:
    """The application has to load them; the rule is not at fault."""
    bare = Principal("carla", PrincipalKind.PERSON)
    explanation = POLICIES.explain(bare, "order:approve", order())
    assert explanation.code == "policy.attributes_not_loaded"
    assert explanation.failed[0].field == "subject.limit"


def test_unknown_actions_and_actions_without_an_allow_have_codes() -> None:
    """The one is a mistake, the other a policy."""
    policies = loaded(*example(Order), deny("order:ship", id="none"), permissions=["order:ship", "order:print"])
    assert policies.explain(CARLA, "order:aprove", order()).code == "policy.unknown_action"
    assert policies.explain(CARLA, "order:print", order()).code == "policy.no_rule"
    assert policies.explain(CARLA, "order:ship", order()).code == "policy.no_rule"


def test_what_raises_is_named_by_its_type_where_it_ends_it() -> None:
    """And where another leaf would have said no anyway, that one is named beside it."""
    broken = python(lambda *_: 1 / 0 > 1, name="broken")
    policies = loaded(
        allow("a:b", U.has_role("x") & broken, id="one"),
        allow("a:c", broken | U.has_role("x"), id="two"),
    )
    assert told(policies.explain(CARLA, "a:b")) == [
        ("one", "subject.has_role('x')", None, None, "policy.not_met", ""),
        ("one", "python(broken)", None, None, "policy.failed", "ZeroDivisionError"),
    ]
    explanation = policies.explain(person(roles={"x"}), "a:c")
    assert explanation.allowed is False
    assert explanation.code in {"policy.failed", "policy.not_met"}


def test_the_caller_is_told_a_code_and_no_value() -> None:
    """Neither a value of the resource or the subject, nor a constant of the policy, nor which leaf it was."""
    policies = loaded(
        allow("order:approve", (O.amount <= 4711) & (O.maker_id != U.id), id="limit"),
        deny("order:approve", O.status.starts_with("hidden"), id="not-hidden"),
    )
    theirs = order(maker_id="mara-id", amount=99999, status="hidden-1")
    explanation = policies.explain(person("mara-id"), "order:approve", theirs)
    assert {each.rule for each in explanation.failed} == {"limit", "not-hidden"}
    shown = explanation.for_caller()
    assert (shown.allowed, shown.code, shown.rule, shown.version) == (False, "policy.not_met", "", policies.version)
    for value in ("4711", "mara-id", "99999", "hidden", "Order."):
        assert value in repr(explanation)
        assert value not in repr(shown)
    ours = policies.explain(person("eve"), "order:approve", order(status="hidden-1")).for_caller()
    assert (ours.code, ours.rule, ours.failed) == ("policy.denied", "not-hidden", ())


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (S.status == Status.OPEN, "Sheet.status == Status.OPEN"),
        (S.text.contains("a"), "Sheet.text.contains('a')"),
        (S.parent.text == U.id, "Sheet.parent.text == subject.id"),
        (S.items.any((I.count > 3) & (I.name == "x")), "Sheet.items.any((Item.count > 3) & (Item.name == 'x'))"),
        (U.has_permission("a:b"), "subject.has_permission('a:b')"),
    ],
    ids=str,
)
def test_leaves_read_as_they_are_written(condition: Any, text: str) -> None:
    """So that one finds them again."""
    policies = loaded(allow("sheet:read", condition, id="x"))
    assert [each.leaf for each in policies.explain(person("c"), "sheet:read", Sheet()).failed] == [text]


@given(
    st.sampled_from(["carla", "mara", ""]),
    st.sampled_from([None, 10, 100, "100"]),
    st.sampled_from([(), ("admin",)]),
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["open", "void", None, 1]),
            "amount": st.sampled_from([5, 50, 500, None, True]),
            "checker_id": st.sampled_from(["carla", "mara", None]),
            "maker_id": st.sampled_from(["carla", "mara", None]),
        }
    ),
)
def test_an_explanation_never_says_another_thing_than_the_decision(
    sub: str, limit: Any, roles: Any, fields: dict[str, Any]
) -> None:
    """Allowed with a rule and nothing that failed; or denied, with a code and what failed."""
    who, what = person(sub, roles=roles, limit=limit), order(**fields)
    explanation, decision = POLICIES.explain(who, "order:approve", what), POLICIES.decide(who, "order:approve", what)
    assert explanation.allowed is decision.allowed is POLICIES.can(who, "order:approve", what)
    assert bool(explanation.code) is bool(explanation.failed) is not explanation.allowed
    assert explanation.rule == decision.rule
