"""Roles and the catalogue of them."""

from enum import StrEnum

import pytest

from limen.authz import Role, RoleCatalogue
from limen.authz import roles as module
from limen.core.errors import ConfigurationError


class Action(StrEnum):
    READ = "order:read"
    APPROVE = "order:approve"


def test_a_catalogue_is_made_of_a_mapping_or_of_roles() -> None:
    """Both say the same; members of a StrEnum come out as text."""
    declared: dict[str, list[str]] = {"reader": [Action.READ], "checker": ["order:approve", "order:read"]}
    plain = RoleCatalogue(declared)
    rich = RoleCatalogue([Role("reader", ["order:read"]), Role("checker", [Action.APPROVE], extends=["reader"])])
    for catalogue in (plain, rich):
        assert catalogue.names == {"reader", "checker"}
        assert catalogue.permissions == {"order:read", "order:approve"}
        assert catalogue.permissions_of(frozenset({"checker"})) == {"order:read", "order:approve"}
        assert all(type(name) is str for name in catalogue.permissions)
    assert "reader" in plain
    assert "nobody" not in plain
    assert repr(plain) == "RoleCatalogue(checker, reader)"


def test_permissions_add_up_and_unknown_roles_give_none() -> None:
    """A token may carry a role that was deleted since."""
    catalogue = RoleCatalogue({"a": ["o:x"], "b": ["o:y"]})
    assert catalogue.permissions_of(frozenset({"a", "b", "gone"})) == {"o:x", "o:y"}
    assert catalogue.permissions_of(frozenset()) == frozenset()
    assert catalogue.permissions_of(frozenset({"gone"})) == frozenset()


def test_the_same_roles_get_the_same_object() -> None:
    """The guard compares by identity first."""
    catalogue = RoleCatalogue({"a": ["o:x"]})
    assert catalogue.permissions_of(frozenset({"a"})) is catalogue.permissions_of(frozenset({"a"}))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens choose the sets of roles, so they must not fill the memory."""
    monkeypatch.setattr(module, "_REMEMBERED_SETS", 10)
    catalogue = RoleCatalogue({"a": ["o:x"]})
    for number in range(100):
        assert catalogue.permissions_of(frozenset({"a", f"r{number}"})) == {"o:x"}
    assert len(catalogue._remembered) <= 10


def test_inheritance_reaches_through() -> None:
    """Extending what extends gives everything."""
    catalogue = RoleCatalogue(
        [Role("c", ["o:z"], extends=["b"]), Role("b", ["o:y"], extends=["a"]), Role("a", ["o:x"]), Role("empty")]
    )
    assert catalogue.permissions_of(frozenset({"c"})) == {"o:x", "o:y", "o:z"}
    assert catalogue.permissions_of(frozenset({"a"})) == {"o:x"}
    assert catalogue.permissions_of(frozenset({"empty"})) == frozenset()


@pytest.mark.parametrize(
    "wrong",
    [
        [Role("a", extends=["a"])],
        [Role("a", extends=["b"]), Role("b", extends=["a"])],
        [Role("a", extends=["missing"])],
        [Role("a"), Role("a")],
        {"a b": []},
        {"a": ["order:*"]},
        {"a": ["order"]},
        {"": []},
        {"a,b": []},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: object) -> None:
    """Circles, unknown or doubled roles, malformed names."""
    with pytest.raises(ConfigurationError):
        RoleCatalogue(wrong)  # type: ignore[arg-type]


def test_one_text_is_not_a_list() -> None:
    """`Role("a", "order:read")` would be ten permissions of one letter."""
    with pytest.raises(ConfigurationError, match="lists"):
        Role("a", "order:read")
    with pytest.raises(ConfigurationError, match="lists"):
        RoleCatalogue({"a": "order:read"})


def test_a_catalogue_cannot_be_changed() -> None:
    """Decisions that were remembered stay right."""
    catalogue = RoleCatalogue({"a": ["o:x"]})
    with pytest.raises(TypeError):
        catalogue.roles["b"] = Role("b")  # type: ignore[index]
