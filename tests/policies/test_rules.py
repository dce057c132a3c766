"""Rules and sets of them, as they are declared: what each holds, and that nothing in a pattern is more than it says."""

from enum import StrEnum

import pytest

from limen import PolicySet, allow, deny, expect, resource, subject
from limen.authz.policy.nodes import Row, Truth
from limen.authz.policy.rules import Effect
from limen.core.errors import ConfigurationError
from tests.policies.written import Line, O, Order, U


class Action(StrEnum):
    READ = "order:read"
    APPROVE = "order:approve"


class Id(StrEnum):
    OWN = "own-order"


def test_a_rule_holds_what_was_said() -> None:
    """Actions in order and once, the resource that the condition is about, and the fields."""
    rule = allow([Action.APPROVE, "order:read", "order:approve"], O.paid, id=Id.OWN, fields=["amount", "title"])
    assert (rule.id, rule.effect, rule.row) == ("own-order", Effect.ALLOW, Row(Order, "Order"))
    assert rule.actions == ("order:approve", "order:read")
    assert rule.fields == frozenset({"amount", "title"})
    assert {type(name) for name in (rule.id, *rule.actions, *(rule.fields or ()))} == {str}
    always = deny("order:*", id="closed", unknown="deny")
    assert (always.condition, always.row, always.fields, always.unknown_denies) == (Truth(True), None, None, True)


def test_a_rule_may_read_the_user_alone() -> None:
    """Then it is about every resource, and about none."""
    assert allow("order:read", U.has_role("maker") & U.active, id="makers").row is None
    assert allow("order:read", O.lines.any(resource(Line).price > 5), id="dear").row == Row(Order, "Order")


@pytest.mark.parametrize(
    "pattern",
    [
        "*", "*:*", "*:read", "order*", "order:read*", "order:r?ad", "order:[a-z]+", "order:.*", "order:.", "*/admin/*",
        ".", "(", "order:(", "^order:read$", "order:read\n", "\norder:read", "order:read ", " order:*", "order:*:x",
        "order:**", "order:\u200bread", "order:re\u200bad", "order:read\u200b", "\ufefforder:read", "ord\u00adr:read",
        "\uff4frder:read", "order\uff1aread", "order:\uff0a", "order", "order:", ":read", "", "order:%", "order:_x",
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("declare", [allow, deny])
def test_no_pattern_means_more_than_it_says(declare: type, pattern: str) -> None:
    """A name is literal and whole. There is one wildcard; signs of other languages of patterns are refused (R155)."""
    with pytest.raises(ConfigurationError) as caught:
        declare(pattern, id="pattern")
    assert str(caught.value) == (
        f"{declare.__name__} pattern: {pattern!r} is no action. Write resource:action, or resource:* for every action "
        "of a resource; there are no other patterns."
    )


@pytest.mark.parametrize("text", ["a%", "_", ".*", "a_c", "\\", "'", "*", "[a]", "\u200b", "%"], ids=ascii)
def test_text_in_a_condition_is_text(text: str) -> None:
    """Signs that are patterns to LIKE, to a glob or to a regular expression stand for themselves (R155)."""
    for condition in (O.title == text, O.title.contains(text), O.title.starts_with(text), O.title.in_([text])):
        assert repr(text) in repr(condition)


@pytest.mark.parametrize(
    "written",
    ["", " ", "a b", "a\n", "-a", "a\u200bb", "a" * 129, "ä", 5, None, b"a"],
    ids=ascii,
)
def test_an_id_is_a_plain_name(written: object) -> None:
    """Logs, lock files and answers hold it, so it is short, printable, and ASCII."""
    with pytest.raises(ConfigurationError) as caught:
        allow("order:read", id=written)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"allow: {written!r} is no id. Write letters, digits, and any of _ . : / - between them."
    )


def test_a_fault_names_its_rule() -> None:
    """What is wrong with a condition is told with the id of the rule that it stands in."""
    with pytest.raises(ConfigurationError) as caught:
        allow("order:read", O.title, id="titled")
    assert str(caught.value) == (
        "allow titled: Order.title is text, and no condition. Write (Order.title == …), in brackets."
    )
    with pytest.raises(ConfigurationError) as caught:
        allow("order:read", O.paid, id="titled", fields=["amuont"])
    assert str(caught.value) == "allow titled: Order has no field amuont. Did you mean amount?"


def test_a_set_holds_what_was_declared() -> None:
    """Every part as a plain value that does not change."""
    rules = [allow("order:read", O.paid, id="paid")]
    declared = PolicySet(
        rules,
        tenants=[O.team_id == U.score],
        untenanted=[Line],
        actions=[Action.APPROVE],
        reads={Order: Action.READ},
        tests=[expect("order:read", {"paid": True}, allowed=True, by="paid")],
        context=["address"],
    )
    rules.clear()
    assert [rule.id for rule in declared.rules] == ["paid"]
    assert repr(declared.tenants[0]) == "<condition Order.team_id == subject.score>"
    assert declared.untenanted == frozenset({Line})
    assert (declared.actions, declared.context) == (frozenset({"order:approve"}), frozenset({"address"}))
    assert dict(declared.reads) == {Order: "order:read"}
    assert {type(name) for name in (*declared.actions, *declared.reads.values())} == {str}
    with pytest.raises(TypeError):
        declared.reads[Line] = "line:read"  # type: ignore[index]
    with pytest.raises(AttributeError):
        declared.rules = ()  # type: ignore[misc]


def test_an_expectation_holds_what_was_said() -> None:
    """The subject's own fields and those that a loader would tell, side by side."""
    told = expect(
        Action.APPROVE, allowed=False, id="7", roles=["maker"], permissions=["order:read"], by="own-order", limit=5
    )
    assert told.subject == {
        "id": "7",
        "roles": frozenset({"maker"}),
        "permissions": frozenset({"order:read"}),
        "limit": 5,
    }
    assert (told.action, told.resource, told.allowed, told.by, told.context) == (
        "order:approve",
        None,
        False,
        "own-order",
        {},
    )


def test_two_subjects_are_one() -> None:
    """Whoever acts is one, however often ``subject()`` is written, with a model or without."""
    assert repr(O.maker_id == subject().id) == repr(O.maker_id == U.id)
