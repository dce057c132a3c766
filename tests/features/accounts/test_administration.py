"""What an administrator does to others, while somebody else changes roles."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from limen import Limen
from limen.core.errors import AccountNotActive, Conflict, NotFound, OwnRequest, PermissionRequired
from limen.core.events import NOWHERE
from limen.core.principal import Principal, PrincipalKind
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from tests.revocation.conftest import Held
from tests.support.gates import PASSWORD, settings_for
from tests.support.waiting import PATIENCE

ROLES = {
    "chief": ["accounts:write", "accounts:delete", "sessions:end", "roles:assign", "roles:write", "order:create"],
    "clerk": ["accounts:write", "accounts:delete", "sessions:end", "order:create"],
    "maker": ["order:create"],
}

Act = Callable[[Limen, Principal, str], Awaitable[object]]
ACTS: dict[str, Act] = {
    "disable": lambda gate, actor, target: gate.administration.disable(actor, target),
    "block": lambda gate, actor, target: gate.administration.block(actor, target),
    "delete": lambda gate, actor, target: gate.administration.delete(actor, target),
    "set_email": lambda gate, actor, target: gate.administration.set_email(actor, target, "x@example.test"),
    "end_sessions": lambda gate, actor, target: gate.administration.end_sessions(actor, target),
}


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A gate with administrators of two kinds."""
    async with Limen(settings_for(tmp_path), roles=ROLES).running() as started:
        yield started


async def make(gate: Limen, name: str, *roles: str) -> AccountView:
    """Make an account without a password."""
    return await gate.accounts.create(name, None, roles=frozenset(roles))


def acting(gate: Limen, account: AccountView) -> Principal:
    """Return the principal of an account as the guard hands it to a live route."""
    permissions = gate.catalogue.permissions_of(account.roles)
    return Principal(account.id, PrincipalKind.PERSON, account.roles, permissions)


def hold(gate: Limen) -> Held:
    """Hold every act on an account between its judgement and its transaction."""
    held = Held(gate.roles, "authority", after=True)
    gate.administration._roles = held  # type: ignore[assignment]
    return held


@pytest.mark.parametrize("act", ACTS)
async def test_whoever_became_stronger_meanwhile_is_spared(gate: Limen, act: str) -> None:
    """A role granted between judgement and transaction is not overlooked: judged anew, refused, nothing changed."""
    await make(gate, "chief", "chief")
    clerk, target = await make(gate, "clerk", "clerk"), await make(gate, "mary", "maker")
    held = hold(gate)
    doing = asyncio.create_task(_await(ACTS[act](gate, acting(gate, clerk), target.id)))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    await gate.roles.grant(OPERATOR, target.id, ["chief"])
    before = await gate.accounts.by_id(target.id)
    held.go_on.set()
    with pytest.raises(PermissionRequired):
        await doing
    assert await gate.accounts.by_id(target.id) == before


@pytest.mark.parametrize("act", ACTS)
async def test_whoever_lost_a_role_meanwhile_does_nothing(gate: Limen, act: str) -> None:
    """A role taken from who acts between judgement and transaction is not overlooked either."""
    await make(gate, "chief", "chief")
    clerk, target = await make(gate, "clerk", "clerk"), await make(gate, "mary", "maker")
    held = hold(gate)
    doing = asyncio.create_task(_await(ACTS[act](gate, acting(gate, clerk), target.id)))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    await gate.roles.revoke(OPERATOR, clerk.id, ["clerk"])
    held.go_on.set()
    with pytest.raises(PermissionRequired):
        await doing
    assert (await gate.accounts.by_id(target.id)).status == "active"


@pytest.mark.parametrize("act", ACTS)
async def test_whoever_was_switched_off_meanwhile_does_nothing(gate: Limen, act: str) -> None:
    """Somebody who was disabled between judgement and transaction acts no more."""
    await make(gate, "chief", "chief")
    clerk, target = await make(gate, "clerk", "clerk"), await make(gate, "mary", "maker")
    held = hold(gate)
    doing = asyncio.create_task(_await(ACTS[act](gate, acting(gate, clerk), target.id)))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    await gate.accounts.disable(clerk, actor="test")
    held.go_on.set()
    with pytest.raises(AccountNotActive):
        await doing
    assert (await gate.accounts.by_id(target.id)).status == "active"


async def test_a_change_that_does_not_matter_is_judged_anew_and_done(gate: Limen) -> None:
    """What moved meanwhile is no refusal: where the new judgement is the same, the act is done."""
    await make(gate, "chief", "chief")
    clerk, target = await make(gate, "clerk", "clerk"), await make(gate, "mary")
    held = hold(gate)
    doing = asyncio.create_task(gate.administration.disable(acting(gate, clerk), target.id))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    await gate.roles.grant(OPERATOR, target.id, ["maker"])
    held.go_on.set()
    await doing
    assert (await gate.accounts.by_id(target.id)).status == "disabled"


async def test_two_administrators_at_once(gate: Limen) -> None:
    """Each switches the other off: one of them is left, however it goes, and can switch on the other again."""
    for round_ in range(5):
        one, other = [await make(gate, f"{name}{round_}", "chief") for name in ("one", "other")]
        for account in (await gate.accounts.page(query=f"{round_ - 1}")).items if round_ else []:
            if account.status == "active":
                await gate.accounts.disable(account, actor="test")
        answers = await asyncio.gather(
            gate.administration.disable(acting(gate, one), other.id),
            gate.administration.disable(acting(gate, other), one.id),
            return_exceptions=True,
        )
        assert sum(answer is None for answer in answers) == 1, answers
        assert isinstance(next(answer for answer in answers if answer is not None), (AccountNotActive, Conflict))
        states = [(await gate.accounts.by_id(account.id)).status for account in (one, other)]
        assert sorted(states) == ["active", "disabled"]


async def test_a_token_is_no_more_than_the_account(gate: Limen) -> None:
    """A principal that claims more than its account holds now is judged by the account."""
    chief, mary = await make(gate, "chief", "chief"), await make(gate, "mary", "maker")
    stale = acting(gate, chief)
    forged = Principal(mary.id, PrincipalKind.PERSON, stale.roles, stale.permissions)
    other = await make(gate, "other")
    with pytest.raises(PermissionRequired):
        await gate.administration.disable(forged, other.id)
    less = Principal(chief.id, PrincipalKind.PERSON, frozenset({"maker"}), frozenset({"order:create"}))
    with pytest.raises(PermissionRequired):
        await gate.administration.disable(less, other.id)


async def test_the_operator_may_act_on_anybody(gate: Limen) -> None:
    """The command line is whoever has the machine: it acts on the strongest, but for the last administrator."""
    chief, second = await make(gate, "chief", "chief"), await make(gate, "second", "chief")
    await gate.administration.delete(OPERATOR, chief.id)
    with pytest.raises(Conflict):
        await gate.administration.delete(OPERATOR, second.id)
    with pytest.raises(NotFound):
        await gate.administration.delete(OPERATOR, chief.id)


async def test_one_ends_ones_own_sessions(gate: Limen) -> None:
    """What switches oneself off is refused; what anybody may do to themselves is not."""
    chief = await gate.accounts.create("chief", PASSWORD, roles=frozenset({"chief"}))
    await gate.login.login("chief", PASSWORD, origin=NOWHERE)
    for act in ("disable", "block", "delete"):
        with pytest.raises(OwnRequest):
            await ACTS[act](gate, acting(gate, chief), chief.id)
    assert await gate.administration.end_sessions(acting(gate, chief), chief.id) == 1


async def _await(act: Awaitable[object]) -> object:
    return await act
