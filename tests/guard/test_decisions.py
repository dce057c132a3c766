"""Requirements held against principals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.guard import AUTHENTICATED, PUBLIC, Requirement, decide

NAMES = ["a", "b", "c"]
PERMISSIONS = ["o:x", "o:y", "o:z"]


def _somebody(roles: set[str] | None = None, permissions: set[str] | None = None) -> Principal:
    return Principal("sub", PrincipalKind.PERSON, frozenset(roles or ()), frozenset(permissions or ()))


@pytest.mark.parametrize(
    ("requirement", "principal", "code", "reason"),
    [
        (AUTHENTICATED, ANONYMOUS, "credential_missing", "Authentication is required."),
        (AUTHENTICATED, _somebody(), "", ""),
        (PUBLIC, ANONYMOUS, "", ""),
        (Requirement.of_roles(["a"]), ANONYMOUS, "credential_missing", "Authentication is required."),
        (Requirement.of_roles(["a"]), _somebody(), "role_required", "The role a is required."),
        (Requirement.of_roles(["b", "a"]), _somebody(), "role_required", "One of the roles b, a is required."),
        (Requirement.of_roles(["b", "a"]), _somebody({"a"}), "", ""),
        (
            Requirement.of_permissions(["o:x", "o:y", "o:z"]),
            _somebody(permissions={"o:y"}),
            "permission_required",
            "The permissions o:x, o:z are required.",
        ),
        (
            Requirement.of_permissions(["o:x", "o:y"]),
            _somebody(permissions={"o:y"}),
            "permission_required",
            "The permission o:x is required.",
        ),
        (
            Requirement.of_any_permission(["o:x", "o:y"]),
            _somebody(permissions={"o:z"}),
            "permission_required",
            "One of the permissions o:x, o:y is required.",
        ),
        (Requirement.of_any_permission(["o:x", "o:y"]), _somebody(permissions={"o:y"}), "", ""),
    ],
)
def test_the_reason_says_what_is_missing(
    requirement: Requirement, principal: Principal, code: str, reason: str
) -> None:
    """A decision names the code, and in one sentence what the caller lacks."""
    decision = decide(requirement, principal)
    assert (decision.allowed, decision.code, decision.reason) == (code == "", code, reason)


_names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
_permissions = st.lists(st.sampled_from(PERMISSIONS), min_size=1, max_size=3)
_requirements = st.one_of(
    st.just(AUTHENTICATED),
    st.just(Requirement(live=True)),
    _names.map(Requirement.of_roles),
    _permissions.map(Requirement.of_permissions),
    _permissions.map(Requirement.of_any_permission),
)


@given(
    st.lists(_requirements, min_size=1, max_size=4),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(PERMISSIONS)),
)
def test_a_combination_allows_exactly_what_each_part_allows(
    parts: list[Requirement], roles: set[str], permissions: set[str]
) -> None:
    """Stacked requirements must all hold, and nobody anonymous meets any of them."""
    combined = parts[0]
    for part in parts[1:]:
        combined &= part
    principal = _somebody(roles, permissions)
    assert decide(combined, principal).allowed is all(decide(part, principal).allowed for part in parts)
    assert not decide(combined, ANONYMOUS).allowed
