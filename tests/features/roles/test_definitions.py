"""Who may say what a role is, and what becomes of it."""

import pytest

from limen import Limen
from limen.authz.administration import ADMINISTRATION, Administration
from limen.core.errors import (
    Conflict,
    InvalidInput,
    LimenError,
    NotFound,
    PermissionRequired,
)
from limen.core.events import EventName
from limen.features.roles.service import OPERATOR
from limen.features.roles.store import RoleSource
from limen.features.roles.views import RoleView
from tests.features.roles.acting import ORIGIN, ROLES, events, made, principal

# --- making, changing and deleting


async def test_a_role_is_made_of_what_one_holds(gate: Limen) -> None:
    """Everything that it gives, also by what it extends, has to be held; the record tells what it is."""
    account = await made(gate, "pat", "personnel")
    actor = principal(gate, account)
    assert await gate.roles.put(actor, "reader", permissions=["order:read"], extends=["maker"], origin=ORIGIN)
    role = await gate.roles.show("reader")
    assert role == RoleView(
        "reader",
        RoleSource.DATABASE,
        permissions=frozenset({"order:read"}),
        extends=frozenset({"maker"}),
        gives=frozenset({"order:read", "order:create"}),
    )
    (record,) = await events(gate, EventName.ROLE_CREATED)
    assert (record.actor, record.target, record.source) == (account.id, "reader", "192.0.2.7")
    assert record.data == {"permissions": ["order:read"], "extends": ["maker"]}
    assert gate.catalogue.permissions_of(frozenset({"reader"})) == role.gives


@pytest.mark.parametrize(
    ("permissions", "extends"),
    [
        (["order:approve"], []),
        (["order:pay"], []),
        (["roles:read"], []),
        ([], ["checker"]),
        (["order:read"], ["admin"]),
    ],
)
async def test_nobody_defines_more_than_they_hold(gate: Limen, permissions: list[str], extends: list[str]) -> None:
    """Not a permission of others, not one that nobody has yet, not one by way of another role."""
    actor = principal(gate, await made(gate, "pat", "personnel"))
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "stronger", permissions=permissions, extends=extends)
    with pytest.raises(NotFound):
        await gate.roles.show("stronger")
    await gate.roles.put(OPERATOR, "present", permissions=permissions, extends=extends)
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "present", permissions=["order:read"])
    with pytest.raises(PermissionRequired):
        await gate.roles.delete(actor, "present")
    assert (await gate.roles.show("present")).permissions == frozenset(permissions)
    records = await events(gate, EventName.ROLE_CHANGED) + await events(gate, EventName.ROLE_DELETED)
    assert [record.outcome for record in records] == ["failure"] * 3


async def test_one_cannot_add_to_a_role_that_one_holds(gate: Limen) -> None:
    """A role of the database that one holds gets no permission that one lacks: no way up by the definition."""
    await gate.roles.put(OPERATOR, "writer", permissions=["roles:write", "order:read"])
    actor = principal(gate, await made(gate, "ann", "writer"))
    for permissions in (["roles:write", "order:read", "order:approve"], ["roles:write", "roles:assign"]):
        with pytest.raises(PermissionRequired):
            await gate.roles.put(actor, "writer", permissions=permissions)
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "writer", permissions=["roles:write"], extends=["admin"])
    assert (await gate.roles.show("writer")).gives == {"roles:write", "order:read"}


async def test_the_same_again_changes_nothing(gate: Limen) -> None:
    """No record, and no new version; the answer says that it was there."""
    assert await gate.roles.put(OPERATOR, "reader", permissions=["order:read"])
    before = (await gate.storage.roles.read()).version
    assert not await gate.roles.put(OPERATOR, "reader", permissions=["order:read", "order:read"])
    assert (await gate.storage.roles.read()).version == before
    with pytest.raises(Conflict):
        await gate.roles.put(OPERATOR, "reader", permissions=["order:read"], must_be_new=True)


async def test_a_change_counts_for_whoever_holds_the_role(gate: Limen) -> None:
    """At once in this process, also through roles that extend it."""
    await gate.roles.put(OPERATOR, "base", permissions=["order:read"])
    await gate.roles.put(OPERATOR, "lead", permissions=[], extends=["base"])
    assert gate.catalogue.permissions_of(frozenset({"lead"})) == {"order:read"}
    assert not await gate.roles.put(OPERATOR, "base", permissions=["order:pay"])
    assert gate.catalogue.permissions_of(frozenset({"lead"})) == {"order:pay"}
    await gate.roles.delete(OPERATOR, "lead")
    assert "lead" not in gate.catalogue


@pytest.mark.parametrize(
    ("name", "permissions", "extends", "place"),
    [
        ("two words", ["order:read"], [], ("path", "name")),
        ("", [], [], ("path", "name")),
        ("x" * 65, [], [], ("path", "name")),
        ("fine", ["order:read", "order"], [], ("body", "permissions", 1)),
        ("fine", ["order:*"], [], ("body", "permissions", 0)),
        ("fine", ["order:" + "x" * 65], [], ("body", "permissions", 0)),
        ("fine", [], ["maker", "no name"], ("body", "extends", 1)),
        ("fine", [], ["nothing"], ("body", "extends")),
        ("fine", [], ["fine"], ("body", "extends")),
    ],
)
async def test_what_is_no_role(
    gate: Limen, name: str, permissions: list[str], extends: list[str], place: tuple[str | int, ...]
) -> None:
    """The field and its place are told, and nothing is written."""
    with pytest.raises(InvalidInput) as refused:
        await gate.roles.put(OPERATOR, name, permissions=permissions, extends=extends)
    assert [fault.loc for fault in refused.value.errors] == [place]
    assert await events(gate, EventName.ROLE_CREATED) == []


async def test_roles_do_not_extend_each_other(gate: Limen) -> None:
    """A circle through several roles is refused."""
    for name, extends in (("one", []), ("two", ["one"]), ("three", ["two"])):
        await gate.roles.put(OPERATOR, name, permissions=[], extends=extends)
    with pytest.raises(InvalidInput, match="would extend itself"):
        await gate.roles.put(OPERATOR, "one", permissions=[], extends=["three"])


async def test_a_role_of_the_code_is_read_only(gate: Limen) -> None:
    """Whoever asks: it is changed where it is declared."""
    for act in (gate.roles.put(OPERATOR, "maker", permissions=[]), gate.roles.delete(OPERATOR, "maker")):
        with pytest.raises(Conflict, match="declared by the application"):
            await act
    assert (await gate.roles.show("maker")).source is RoleSource.CODE


async def test_a_role_that_is_none_is_not_deleted(gate: Limen) -> None:
    """Not found, whatever the name looks like."""
    for name in ("nothing", "no name", ""):
        with pytest.raises(NotFound):
            await gate.roles.delete(OPERATOR, name)


# --- lists


async def test_roles_are_listed_in_pages(gate: Limen) -> None:
    """In the order of their names, each once."""
    met: list[str] = []
    after = None
    while True:
        page = await gate.roles.page(limit=3, after=after)
        met += [role.name for role in page.items]
        after = page.next
        if after is None:
            break
    assert met == sorted(ROLES)
    with pytest.raises(LimenError):
        await gate.roles.page(limit=0)


async def test_permissions_are_listed_with_their_roles(gate: Limen) -> None:
    """Every one that a role gives, and limen's own, also where no role gives it."""
    page = await gate.roles.permissions(limit=200)
    found = {each.name: each.roles for each in page.items}
    assert found.keys() == ADMINISTRATION | {"order:create", "order:read", "order:approve"}
    assert found["order:create"] == ("admin", "maker", "personnel")
    assert found[Administration.EVENTS_READ] == ("admin",)
    assert [each.name for each in page.items] == sorted(found)
    first = await gate.roles.permissions(limit=2)
    assert first.next == first.items[-1].name
    assert (await gate.roles.permissions(limit=2, after=first.next)).items[0].name > first.next
