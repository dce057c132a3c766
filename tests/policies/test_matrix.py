"""The table of who may do what."""

from dataclasses import dataclass

from limen import allow, deny, resource, subject
from limen.authz.engine import Policies
from limen.authz.matrix import Answer, matrix
from limen.authz.roles import Role, RoleCatalogue


@dataclass
class Paper:
    owner_id: str


U, P = subject(), resource(Paper)
CATALOGUE = RoleCatalogue([Role("reader", ["paper:read"]), Role("editor", ["paper:write"], extends=["reader"])])
POLICIES = Policies.load(
    [
        allow("paper:read", U.has_permission("paper:read") | (P.owner_id == U.id), id="read"),
        allow("paper:write", U.has_role("editor") & (P.owner_id == U.id), id="write"),
        allow("shelf:open", ~U.has_role("reader"), id="open"),
        deny("paper:delete", id="never"),
    ],
    permissions={"paper:delete"},
)


def cell(role: str, action: str) -> tuple[Answer, str]:
    """Return one cell."""
    (found,) = (each for each in matrix(POLICIES, CATALOGUE) if (each.role, each.action) == (role, action))
    return found.answer, found.condition


def test_what_a_role_decides_is_settled() -> None:
    """Always or never where the role alone decides, its parents' permissions counted."""
    assert cell("reader", "paper:read") == (Answer.ALWAYS, "")
    assert cell("editor", "paper:read") == (Answer.ALWAYS, "")
    assert cell("reader", "paper:write") == (Answer.NEVER, "")
    assert cell("reader", "shelf:open") == (Answer.NEVER, "")
    assert cell("", "shelf:open") == (Answer.ALWAYS, "")


def test_what_the_resource_decides_is_told() -> None:
    """What is left of the condition stands in the cell."""
    assert cell("editor", "paper:write") == (Answer.DEPENDS, "Paper.owner_id == subject.id")
    assert cell("", "paper:read") == (Answer.DEPENDS, "Paper.owner_id == subject.id")


def test_what_nobody_may_is_never() -> None:
    """A deny without condition, and an action that no rule allows."""
    assert {cell(role, "paper:delete") for role in ("", "reader", "editor")} == {(Answer.NEVER, "")}


def test_the_rows_that_are_asked_for() -> None:
    """Only some roles, in their order; a row for each action with each model."""
    found = matrix(POLICIES, CATALOGUE, ["editor"])
    assert {each.role for each in found} == {"editor"}
    assert [(each.action, each.resource) for each in found] == [
        ("paper:delete", ""), ("paper:read", "Paper"), ("paper:write", "Paper"), ("shelf:open", ""),
    ]  # fmt: skip
