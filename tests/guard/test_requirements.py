"""Requirements as plain values."""

from dataclasses import fields, replace
from enum import StrEnum
from typing import Any

import pytest

from limen.core.errors import ConfigurationError
from limen.guard import AUTHENTICATED, PUBLIC, Requirement


class Role(StrEnum):
    MAKER = "maker"


class Action(StrEnum):
    APPROVE = "order:approve"


def test_names_keep_their_order_and_come_once() -> None:
    """A refusal lists them as the code does; members of a StrEnum are text."""
    assert Requirement.of_roles(["b", "a", "b"]).roles_any == (("b", "a"),)
    assert Requirement.of_roles([Role.MAKER]).roles_any == (("maker",),)
    assert type(Requirement.of_roles([Role.MAKER]).roles_any[0][0]) is str
    assert Requirement.of_permissions([Action.APPROVE]).permissions_all == ("order:approve",)


@pytest.mark.parametrize("make", [Requirement.of_roles, Requirement.of_permissions, Requirement.of_any_permission])
def test_an_empty_list_is_refused(make: type) -> None:
    """It would allow either everybody or nobody."""
    with pytest.raises(ConfigurationError, match="names nothing"):
        make([])


@pytest.mark.parametrize("name", ["", "a b", "a,b", "1st", "-", "x" * 65, "rôle", None, 7, b"maker"])
def test_a_malformed_role_is_refused(name: object) -> None:
    """Roles travel in lists that commas and spaces would break."""
    with pytest.raises(ConfigurationError):
        Requirement.of_roles([name])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "name", ["", "order", "order:", ":approve", "order:*", "*", "order approve", "a:b:c:d:e", None]
)
def test_a_malformed_permission_is_refused(name: object) -> None:
    """resource:action, without wildcards."""
    with pytest.raises(ConfigurationError):
        Requirement.of_permissions([name])  # type: ignore[list-item]


def test_together_both_hold() -> None:
    """Combining only ever adds; the order does not matter for what must hold, and nothing is doubled."""
    first = Requirement.of_roles(["a"]) & Requirement.of_permissions(["x:y"])
    second = Requirement(live=True) & Requirement.of_roles(["b"]) & Requirement.of_any_permission(["p:q", "r:s"])
    both = first & second
    assert both.roles_any == (("a",), ("b",))
    assert both.permissions_all == ("x:y",)
    assert both.permissions_any == (("p:q", "r:s"),)
    assert both.live
    assert both & both == both
    assert both.role_names == {"a", "b"}
    assert both.permission_names == {"x:y", "p:q", "r:s"}


def test_public_survives_no_restriction() -> None:
    """What is public for one of two only is not public."""
    assert (PUBLIC & PUBLIC).public
    assert not (PUBLIC & AUTHENTICATED).public
    assert not (Requirement.of_roles(["a"]) & PUBLIC).public


NAMES = {"public", "roles_any", "permissions_all", "permissions_any"}


@pytest.mark.parametrize("name", [each.name for each in fields(Requirement) if each.name not in NAMES])
def test_whatever_is_no_name_is_asked_every_time(name: str) -> None:
    """A leaf remembers the names that met it only where names alone decide; nothing new does."""
    assert Requirement.of_roles(["maker"]).is_by_names
    asked: Any = {name: True}
    assert not replace(Requirement.of_roles(["maker"]), **asked).is_by_names
