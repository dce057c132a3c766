"""The normal form of conditions."""

import random

import pytest

from limen import resource, subject
from limen.authz.policy import nodes as n
from limen.authz.policy.normal_form import FALSE, TRUE, joined, negated, normal_form
from limen.authz.policy.text import text_of
from tests.policies.orders import Item, Sheet
from tests.policies.test_python import some_condition

S, U, I = resource(Sheet), subject(), resource(Item)  # noqa: E741 - as one writes policies


def levels(node: n.Node) -> list[n.Node]:
    """Return a tree and all that is in it, the conditions on rows as well."""
    match node:
        case n.And(parts) | n.Or(parts):
            return [node, *(each for part in parts for each in levels(part))]
        case n.Not(part) | n.AnyRow(condition=part):
            return [node, *levels(part)]
        case _:
            return [node]


@pytest.mark.parametrize(
    ("written", "plain", "opposite"),
    [
        (S.number == 1, "Sheet.number == 1", "Sheet.number != 1"),
        (S.number < 1, "Sheet.number < 1", "Sheet.number >= 1"),
        (S.number <= 1, "Sheet.number <= 1", "Sheet.number > 1"),
        (~(S.number > 1), "Sheet.number <= 1", "Sheet.number > 1"),
        (S.text.in_(["a"]), "Sheet.text.in_(['a'])", "Sheet.text.not_in(['a'])"),
        (S.text.is_null(), "Sheet.text.is_null()", "Sheet.text.is_not_null()"),
        (S.text.contains("a"), "Sheet.text.contains('a')", "~Sheet.text.contains('a')"),
        (U.has_role("admin"), "subject.has_role('admin')", "~subject.has_role('admin')"),
        (
            ~((S.number == 1) & ((S.text == "a") | ~U.has_role("x"))),
            "(Sheet.number != 1) | ((Sheet.text != 'a') & subject.has_role('x'))",
            "(Sheet.number == 1) & ((Sheet.text == 'a') | ~subject.has_role('x'))",
        ),
        (S.items.any(~(I.count > 1)), "Sheet.items.any(Item.count <= 1)", "~Sheet.items.any(Item.count <= 1)"),
    ],
    ids=str,
)
def test_negations_go_to_the_leaves(written: object, plain: str, opposite: str) -> None:
    """De Morgan's laws, and every leaf knows its opposite."""
    assert text_of(normal_form(written.node)) == plain  # type: ignore[attr-defined]
    assert text_of(negated(written.node)) == opposite  # type: ignore[attr-defined]


def test_a_normal_form_stays_as_it_is() -> None:
    """Twice is once, the opposite of the opposite is the same, and no «not» is left anywhere."""
    rng = random.Random(7)
    for _ in range(300):
        tree = some_condition(rng).node
        form = normal_form(tree)
        assert normal_form(form) == form
        assert negated(negated(tree)) == form
        assert negated(form) == negated(tree)
        for part in levels(form):
            assert not isinstance(part, n.Not)
            assert not (isinstance(part, n.And | n.Or) and any(type(each) is type(part) for each in part.parts))


def test_what_is_certain_is_gone() -> None:
    """A truth that cannot change the answer is dropped; one that settles it is the answer."""
    leaf = (S.number == 1).node
    assert joined(n.And, [TRUE, leaf, TRUE]) == leaf
    assert joined(n.And, [leaf, FALSE]) == FALSE
    assert joined(n.Or, [leaf, TRUE]) == TRUE
    assert joined(n.Or, [FALSE, leaf]) == leaf
    assert joined(n.And, []) == TRUE
    assert joined(n.Or, []) == FALSE
    assert normal_form(n.Not(n.And((TRUE, n.Not(TRUE))))) == TRUE


def test_no_leaf_is_taken_for_certain() -> None:
    """``in_([])`` is never true; yet it may be unknown, and then its opposite is not true either."""
    for empty in (S.text.in_([]).node, S.text.not_in([]).node, S.items.any(I.name.in_([])).node):
        assert normal_form(empty) == empty
        assert negated(negated(empty)) == empty
    assert text_of(negated(S.text.in_([]).node)) == "Sheet.text.not_in([])"
