"""Who may grant and revoke roles, and what becomes of it."""

import asyncio

import pytest

from limen import Limen, Principal
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
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
from limen.core.events import EventName, Outcome
from limen.core.principal import PrincipalKind
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR
from tests.features.roles.acting import ORIGIN, ROLES, events, made, principal, roles_of
from tests.support.gates import PASSWORD

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
