"""The permissions of limen's own administration."""

import limen
from limen.authz.administration import ADMINISTRATION, Administration, not_passable
from limen.authz.permissions import permission_name


def test_the_permissions_of_administration() -> None:
    """Each of them is what the routes ask for by name; the set is public and holds plain text."""
    assert {
        "accounts:read",
        "accounts:write",
        "accounts:delete",
        "sessions:end",
        "sessions:watch",
        "roles:read",
        "roles:write",
        "roles:assign",
        "events:read",
        "services:write",
        "api-keys:own",
        "approvals:read",
        "policies:explain",
    } == ADMINISTRATION
    assert limen.ADMINISTRATION is ADMINISTRATION
    assert {type(name) for name in ADMINISTRATION} == {str}


def test_each_is_a_permission_like_any_other() -> None:
    """An application can put them into its own roles, by name or as members."""
    for each in Administration:
        assert permission_name(each) == each.value


def test_what_can_be_passed_on() -> None:
    """What is held, and what is held as ``grant:…``; everything else is told, in order and once."""
    held = {"order:read", "grant:order:create", "grant:grant:order:pay"}
    assert not_passable(["order:read", "order:create", "grant:order:pay"], held) == []
    assert not_passable(["order:pay", "order:approve", "order:pay", "grant:order:read"], held) == [
        "grant:order:read",
        "order:approve",
        "order:pay",
    ]
    assert not_passable(["order:read"], frozenset()) == ["order:read"]
