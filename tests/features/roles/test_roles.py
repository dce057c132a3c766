"""Who may change roles, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen, Principal
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.authz.administration import ADMINISTRATION, Administration
from limen.core.errors import (
    AccountNotActive,
    Conflict,
    InvalidInput,
    LimenError,
    NotFound,
    OwnRequest,
    PermissionRequired,
    Unavailable,
)
from limen.core.events import EventName, Origin, Outcome
from limen.core.principal import PrincipalKind
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR
from limen.features.roles.store import RoleSource
from limen.features.roles.views import RoleView
from limen.storage import StoredEvent
from tests.support.gates import PASSWORD, settings_for

ROLES = {
    "maker": ["order:create", "order:read"],
    "checker": ["order:approve", "order:read"],
    "admin": [*ADMINISTRATION, "order:create", "order:read", "order:approve"],
    "personnel": ["roles:assign", "roles:write", "order:read", "order:create"],
}
ORIGIN = Origin(request_id="request-1", address="192.0.2.7", user_agent="test/1")


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate whose roles administer."""
    async with Limen(settings_for(tmp_path), roles=ROLES).running() as started:
        yield started


async def made(gate: Limen, name: str, *roles: str) -> Account:
    """Make an account that nobody logs in to."""
    return await gate.accounts.create(name, None, roles=frozenset(roles), actor="cli")


def principal(gate: Limen, account: Account) -> Principal:
    """Return whom a request of this account is attributed to."""
    permissions = gate.catalogue.permissions_of(account.roles)
    return Principal(account.id, PrincipalKind.PERSON, account.roles, permissions)


async def roles_of(gate: Limen, account: Account) -> frozenset[str]:
    """Return the roles that an account holds."""
    return (await gate.accounts.by_id(account.id)).roles


async def events(gate: Limen, name: EventName) -> list[StoredEvent]:
    """Return the records of this name."""
    return [record for record in await gate.storage.events(limit=10_000) if record.event == name]


# --- granting and revoking


async def test_whoever_holds_it_gives_it(gate: Limen) -> None:
    """With ``roles:assign`` and everything that the roles give; the record has actor, target, source and outcome."""
    actor, target = await made(gate, "pat", "personnel"), await made(gate, "ann")
    assert await gate.roles.grant(principal(gate, actor), target.id, ["maker"], origin=ORIGIN) == {"maker"}
    assert await roles_of(gate, target) == {"maker"}
    assert await gate.roles.revoke(principal(gate, actor), target.id, ["maker"], origin=ORIGIN) == frozenset()
    assert await roles_of(gate, target) == frozenset()
    granted, revoked = await events(gate, EventName.ROLES_ASSIGNED)
    assert (granted.actor, granted.target, granted.source, granted.outcome, granted.request_id) == (
        actor.id,
        target.id,
        "192.0.2.7",
        "success",
        "request-1",
    )
    assert granted.data == {"granted": ["maker"], "revoked": [], "roles": ["maker"]}
    assert revoked.data == {"granted": [], "revoked": ["maker"], "roles": []}


@pytest.mark.parametrize("role", ["checker", "admin"])
async def test_nobody_gives_or_takes_more_than_they_hold(gate: Limen, role: str) -> None:
    """A role with one permission more is refused, given or taken (ASVS 8.2.1), and the attempt is recorded."""
    actor = principal(gate, await made(gate, "pat", "personnel"))
    target, stronger = await made(gate, "ann"), await made(gate, "bob", role)
    with pytest.raises(PermissionRequired):
        await gate.roles.grant(actor, target.id, [role], origin=ORIGIN)
    with pytest.raises(PermissionRequired):
        await gate.roles.set_roles(actor, target.id, ["maker", role], origin=ORIGIN)
    with pytest.raises(PermissionRequired):
        await gate.roles.revoke(actor, stronger.id, [role], origin=ORIGIN)
    with pytest.raises(PermissionRequired):
        await gate.roles.set_roles(actor, stronger.id, [], origin=ORIGIN)
    assert await roles_of(gate, target) == frozenset()
    assert await roles_of(gate, stronger) == {role}
    records = await events(gate, EventName.ROLES_ASSIGNED)
    assert {(record.outcome, record.actor) for record in records} == {(Outcome.FAILURE, actor.sub)}
    assert [record.target for record in records] == [target.id, target.id, stronger.id, stronger.id]
    assert records[0].data == {"roles": [role], "reason": "permission_required"}


async def test_nobody_changes_their_own_roles(gate: Limen) -> None:
    """Neither up nor down, whatever they hold; what changes nothing is no change."""
    for name, role in (("pat", "personnel"), ("root", "admin")):
        account = await made(gate, name, role)
        actor = principal(gate, account)
        for change in (
            gate.roles.grant(actor, account.id, ["maker"]),
            gate.roles.revoke(actor, account.id, [role]),
            gate.roles.set_roles(actor, account.id, ["admin", "maker"]),
        ):
            with pytest.raises(OwnRequest):
                await change
        assert await gate.roles.set_roles(actor, account.id, [role]) == {role}
        assert await roles_of(gate, account) == {role}
    assert {record.data["reason"] for record in await events(gate, EventName.ROLES_ASSIGNED)} == {"own_request"}


async def test_without_the_permission_nothing_is_assigned(gate: Limen) -> None:
    """Whoever holds what a role gives may still not give it without ``roles:assign``."""
    actor, target = principal(gate, await made(gate, "ann", "maker")), await made(gate, "bob")
    with pytest.raises(PermissionRequired):
        await gate.roles.grant(actor, target.id, ["maker"])
    with pytest.raises(PermissionRequired):
        await gate.roles.set_roles(actor, target.id, [])
    assert await roles_of(gate, target) == frozenset()


async def test_the_database_says_who_acts(gate: Limen) -> None:
    """A principal whose account has lost the role, or is not active any more, changes nothing, whatever it says."""
    account, target = await made(gate, "pat", "personnel"), await made(gate, "ann")
    await made(gate, "root", "admin")
    actor = principal(gate, account)
    await gate.roles.revoke(OPERATOR, account.id, ["personnel"])
    with pytest.raises(PermissionRequired):
        await gate.roles.grant(actor, target.id, ["maker"])
    await gate.roles.grant(OPERATOR, account.id, ["personnel"])
    await gate.accounts.disable(account, actor="cli")
    with pytest.raises(AccountNotActive):
        await gate.roles.grant(actor, target.id, ["maker"])
    with pytest.raises(AccountNotActive):
        await gate.roles.put(actor, "reader", permissions=["order:read"])
    nobody = Principal("01890000-0000-7000-8000-000000000000", PrincipalKind.PERSON, permissions=actor.permissions)
    with pytest.raises(AccountNotActive):
        await gate.roles.grant(nobody, target.id, ["maker"])
    assert await roles_of(gate, target) == frozenset()


async def test_a_credential_that_allows_less_gives_less(gate: Limen) -> None:
    """What the account holds beyond the credential does not count."""
    account, target = await made(gate, "root", "admin"), await made(gate, "ann")
    limited = Principal(account.id, PrincipalKind.PERSON, account.roles, frozenset({"roles:assign", "order:read"}))
    with pytest.raises(PermissionRequired):
        await gate.roles.grant(limited, target.id, ["maker"])
    with pytest.raises(PermissionRequired):
        await gate.roles.put(limited, "reader", permissions=["order:read"])


async def test_the_operator_grants_anything_but_takes_no_last_administrator(gate: Limen) -> None:
    """The command line needs no permission; what must not be, is refused to it as well."""
    account = await made(gate, "root")
    await gate.roles.grant(OPERATOR, account.id, ["admin"])
    with pytest.raises(Conflict):
        await gate.roles.set_roles(OPERATOR, account.id, ["maker"])
    assert await roles_of(gate, account) == {"admin"}
    other = await made(gate, "other", "admin")
    assert await gate.roles.set_roles(OPERATOR, account.id, ["maker"]) == {"maker"}
    with pytest.raises(Conflict):
        await gate.accounts.disable(other, actor="cli")
    assert (await gate.accounts.by_id(other.id)).status == "active"


async def test_the_last_but_one_administrator_can_be_taken_by_the_other(gate: Limen) -> None:
    """One administrator takes the role from another; then nobody is left to take it from that one."""
    one, other = await made(gate, "one", "admin"), await made(gate, "other", "admin")
    await gate.roles.revoke(principal(gate, one), other.id, ["admin"])
    with pytest.raises(PermissionRequired):
        await gate.roles.revoke(principal(gate, other), one.id, ["admin"])
    assert await roles_of(gate, one) == {"admin"}


async def test_two_administrators_take_the_role_from_each_other(gate: Limen) -> None:
    """At the same moment: one succeeds, the other one has lost the right to; an administrator remains."""
    one, other = await made(gate, "one", "admin"), await made(gate, "other", "admin")
    for _ in range(10):
        answers = await asyncio.gather(
            gate.roles.revoke(principal(gate, one), other.id, ["admin"]),
            gate.roles.revoke(principal(gate, other), one.id, ["admin"]),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["PermissionRequired", "frozenset"]
        held = [await roles_of(gate, one), await roles_of(gate, other)]
        assert sorted(map(len, held)) == [0, 1]
        await gate.roles.grant(OPERATOR, one.id if not held[0] else other.id, ["admin"])


async def test_one_administrator_is_switched_off_while_taking_the_role(gate: Limen) -> None:
    """One revokes, the other one disables, at the same moment: never both, and an administrator remains."""
    one, other = await made(gate, "one", "admin"), await made(gate, "other", "admin")
    for _ in range(10):
        answers = await asyncio.gather(
            gate.roles.revoke(principal(gate, one), other.id, ["admin"]),
            gate.administration.disable(principal(gate, other), one.id),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, LimenError) for answer in answers) == 1, answers
        status = (await gate.accounts.by_id(one.id)).status
        assert (status == "active") != (await roles_of(gate, other) == {"admin"})
        if status == "active":
            await gate.roles.grant(OPERATOR, other.id, ["admin"])
        else:
            await gate.administration.enable(OPERATOR, one.id)


@pytest.mark.parametrize("account_id", ["", "nothing", "01890000-0000-7000-8000-000000000000", "x" * 4000])
async def test_an_account_that_is_none(gate: Limen, account_id: str) -> None:
    """Not found, whatever the id looks like."""
    with pytest.raises(NotFound):
        await gate.roles.grant(OPERATOR, account_id, ["maker"])


async def test_a_role_that_is_none(gate: Limen) -> None:
    """The input is refused, and what cannot be a name is not repeated."""
    target = await made(gate, "ann")
    with pytest.raises(InvalidInput, match="There is no role nothing, other"):
        await gate.roles.grant(OPERATOR, target.id, ["other", "maker", "nothing"])
    with pytest.raises(InvalidInput) as refused:
        await gate.roles.set_roles(OPERATOR, target.id, ["<script>"])
    assert "script" not in str(refused.value)
    assert await roles_of(gate, target) == frozenset()


async def test_many_changes_at_once_are_all_made_or_told(gate: Limen) -> None:
    """Of parallel grants to one account each is made, or says that it was not; nothing is lost."""
    target = await made(gate, "ann")
    names = ["maker", "checker", "personnel", "admin"]
    answers = await asyncio.gather(
        *(gate.roles.grant(OPERATOR, target.id, [name]) for name in names), return_exceptions=True
    )
    made_of = {name for name, answer in zip(names, answers, strict=True) if not isinstance(answer, BaseException)}
    assert made_of
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} <= {Unavailable}
    assert await roles_of(gate, target) == made_of


async def test_what_the_code_no_longer_declares_can_be_revoked(gate: Limen) -> None:
    """By its name, or by setting exactly other roles: it does not come back when it is declared again."""
    accounts = [await made(gate, name, "checker", "maker") for name in ("ann", "bob", "cem")]
    settings = gate.settings
    async with Limen(settings, roles={**ROLES, "checker": []}).running():
        pass
    async with Limen(settings, roles={name: ROLES[name] for name in ROLES if name != "checker"}).running() as later:
        ann, bob, cem = accounts
        assert await later.roles.revoke(OPERATOR, ann.id, ["checker"]) == {"maker"}
        assert await later.roles.set_roles(OPERATOR, bob.id, ["maker"]) == {"maker"}
        assert await later.roles.grant(OPERATOR, cem.id, ["personnel"]) == {"maker", "personnel"}
        for change in (
            later.roles.grant(OPERATOR, ann.id, ["checker"]),
            later.roles.set_roles(OPERATOR, ann.id, ["checker"]),
            later.roles.revoke(OPERATOR, ann.id, ["checker"]),
        ):
            with pytest.raises(InvalidInput):
                await change
    async with Limen(settings, roles=ROLES).running() as again:
        held = [await roles_of(again, account) for account in accounts]
        assert held == [{"maker"}, {"maker"}, {"maker", "personnel", "checker"}]


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


# --- passing on what one does not have


async def a_passer(gate: Limen) -> tuple[Account, Principal]:
    """Return somebody who may make others checkers and is none."""
    await gate.roles.put(
        OPERATOR, "passer", permissions=["roles:assign", "roles:write", "order:read", "grant:order:approve"]
    )
    account = await made(gate, "pat", "passer")
    return account, principal(gate, account)


async def test_what_may_be_passed_on_is_granted_without_having_it(gate: Limen) -> None:
    """``grant:order:approve`` is for separated duties: whoever appoints checkers checks nothing."""
    _, actor = await a_passer(gate)
    target = await made(gate, "ann")
    assert "order:approve" not in actor.permissions
    assert await gate.roles.grant(actor, target.id, ["checker"]) == {"checker"}
    assert await gate.roles.revoke(actor, target.id, ["checker"]) == frozenset()
    assert await gate.roles.put(actor, "approver", permissions=["order:approve"])
    with pytest.raises(PermissionRequired):
        await gate.roles.grant(actor, target.id, ["maker"])
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "approver", permissions=["order:approve", "order:create"])


async def test_what_may_be_passed_on_is_not_for_oneself(gate: Limen) -> None:
    """Not by a grant, and not by the definition of a role that one holds, or that such a role extends."""
    account, actor = await a_passer(gate)
    with pytest.raises(OwnRequest):
        await gate.roles.grant(actor, account.id, ["checker"])
    held = ["roles:assign", "roles:write", "order:read", "grant:order:approve"]
    with pytest.raises(OwnRequest):
        await gate.roles.put(actor, "passer", permissions=[*held, "order:approve"])
    with pytest.raises(OwnRequest):
        await gate.roles.put(actor, "passer", permissions=held, extends=["checker"])
    await gate.roles.put(OPERATOR, "base", permissions=["order:read"])
    await gate.roles.put(OPERATOR, "passer", permissions=held, extends=["base"])
    with pytest.raises(OwnRequest):
        await gate.roles.put(actor, "base", permissions=["order:read", "order:approve"])
    assert "order:approve" not in (await gate.roles.show("passer")).gives


async def test_the_right_to_pass_on_is_passed_on_by_who_has_it(gate: Limen) -> None:
    """It is a permission like any other: nobody makes it up."""
    actor = principal(gate, await made(gate, "sam", "personnel"))
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "passer", permissions=["grant:order:approve"])
    _, passer = await a_passer(gate)
    assert await gate.roles.put(passer, "another", permissions=["grant:order:approve"])
    with pytest.raises(PermissionRequired):
        await gate.roles.put(passer, "another", permissions=["grant:order:create"])


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


# --- tokens


async def test_a_token_with_other_roles_is_stale_at_once(gate: Limen) -> None:
    """In the process that changed them; a refresh has the roles of now, and is good."""
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("ann", PASSWORD, origin=ORIGIN)
    credential = PresentedCredential("bearer", issued.access_token.encode())
    assert isinstance(gate.bearer.recall(credential), Authenticated)
    await gate.roles.grant(OPERATOR, account.id, ["checker"])
    outcome = gate.bearer.recall(credential)
    assert isinstance(outcome, Rejected)
    assert outcome.error.code == "token_stale"
    again = await gate.sessions.refresh(issued.refresh_token, origin=ORIGIN)
    renewed = gate.bearer.recall(PresentedCredential("bearer", again.access_token.encode()))
    assert isinstance(renewed, Authenticated)
    assert renewed.principal.roles == {"maker", "checker"}
