"""Permissions of single accounts, and grants that end: who may give them, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen, Principal
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import Conflict, InvalidInput, NotFound, OwnRequest, PermissionRequired, TokenStale
from limen.core.events import EventName, Outcome
from limen.core.principal import PrincipalKind
from limen.features.roles.permissions import MOST, Grants
from limen.features.roles.service import OPERATOR
from tests.features.conftest import Turned
from tests.features.roles.acting import ORIGIN, ROLES, events, made, principal
from tests.support.gates import PASSWORD, settings_for

HOUR = 3_600
GRANTING = {**ROLES, "registrar": ["roles:assign", "grant:order:approve", "grant:order:create"]}


@pytest.fixture
async def gate(tmp_path: Path, clock: Turned) -> AsyncIterator[Limen]:
    """A started gate whose roles administer, and whose clock is turned."""
    async with Limen(settings_for(tmp_path), roles=GRANTING, clock=clock).running() as started:
        yield started


async def now(gate: Limen) -> int:
    """Return the database's clock in seconds."""
    return (await gate.storage.roles.read()).now // 1000


async def acting(gate: Limen, sub: str) -> Principal:
    """Return whom a request of this account is attributed to at this moment, asked live."""
    account = await gate.accounts.by_id(sub)
    permissions = gate.catalogue.permissions_of(account.roles) | account.permissions
    return Principal(account.id, PrincipalKind.PERSON, account.roles, permissions)


async def test_whoever_holds_it_gives_it(gate: Limen) -> None:
    """With ``roles:assign`` and the permission; the record has actor, target, source, what and until when."""
    actor, target = await made(gate, "pat", "personnel"), await made(gate, "ann")
    end = await now(gate) + HOUR
    who = principal(gate, actor)
    grants = await gate.permissions.grant(who, target.id, ["order:create"], until=end, origin=ORIGIN)
    assert grants == Grants({}, {"order:create": end})
    assert await gate.permissions.of_account(target.id) == grants
    assert await gate.permissions.revoke(who, target.id, ["order:create"], origin=ORIGIN) == Grants({}, {})
    (granted,) = await events(gate, EventName.PERMISSIONS_GRANTED)
    (revoked,) = await events(gate, EventName.PERMISSIONS_REVOKED)
    assert (granted.actor, granted.target, granted.source, granted.outcome) == (
        actor.id,
        target.id,
        "192.0.2.7",
        Outcome.SUCCESS,
    )
    assert granted.data == {"changed": ["order:create"], "permissions": 1, "until": end}
    assert revoked.data == {"changed": ["order:create"], "permissions": 0}


async def test_what_changes_nothing_leaves_no_record(gate: Limen) -> None:
    """The same again, with the same end, and revoking what is not held."""
    target = await made(gate, "ann")
    end = await now(gate) + HOUR
    for _ in range(2):
        await gate.permissions.grant(OPERATOR, target.id, ["order:create"], until=end)
    await gate.permissions.revoke(OPERATOR, target.id, ["order:read"])
    assert len(await events(gate, EventName.PERMISSIONS_GRANTED)) == 1
    assert await events(gate, EventName.PERMISSIONS_REVOKED) == []


async def test_nobody_gives_or_takes_more_than_they_hold(gate: Limen) -> None:
    """A permission that is not held is refused, given or taken (ASVS 8.2.1), and the attempt is recorded."""
    actor = principal(gate, await made(gate, "pat", "personnel"))
    target = await made(gate, "ann")
    await gate.permissions.grant(OPERATOR, target.id, ["order:approve"])
    with pytest.raises(PermissionRequired):
        await gate.permissions.grant(actor, target.id, ["order:create", "order:refund"])
    with pytest.raises(PermissionRequired):
        await gate.permissions.revoke(actor, target.id, ["order:approve"])
    assert (await gate.permissions.of_account(target.id)).permissions == {"order:approve": None}
    refused = [e for e in await events(gate, EventName.PERMISSIONS_GRANTED) if e.outcome == Outcome.FAILURE]
    assert [(e.actor, e.target, e.data["reason"]) for e in refused] == [(actor.sub, target.id, "permission_required")]


async def test_a_right_to_pass_on_passes_it_on(gate: Limen) -> None:
    """``grant:order:approve`` gives the permission away without having it, and is not given away with it."""
    actor = principal(gate, await made(gate, "reg", "registrar"))
    target = await made(gate, "ann")
    grants = await gate.permissions.grant(actor, target.id, ["order:approve"])
    assert set(grants.permissions) == {"order:approve"}
    with pytest.raises(PermissionRequired):
        await gate.permissions.grant(actor, target.id, ["grant:order:delete"])


async def test_it_takes_the_right_to_assign(gate: Limen) -> None:
    """Holding a permission is not enough to give it away."""
    actor = principal(gate, await made(gate, "mia", "maker"))
    with pytest.raises(PermissionRequired):
        await gate.permissions.grant(actor, (await made(gate, "ann")).id, ["order:create"])


async def test_nobody_grants_to_themselves(gate: Limen) -> None:
    """Neither up nor down, whatever they hold."""
    account = await made(gate, "root", "admin")
    await gate.permissions.grant(OPERATOR, account.id, ["order:refund"])
    actor = await acting(gate, account.id)
    with pytest.raises(OwnRequest):
        await gate.permissions.grant(actor, account.id, ["order:approve"])
    with pytest.raises(OwnRequest):
        await gate.permissions.revoke(actor, account.id, ["order:refund"])


async def test_what_is_held_for_a_time_is_passed_on_for_no_longer(gate: Limen) -> None:
    """Otherwise an hour's right becomes a second account's for good: permissions, roles and new accounts alike."""
    pat, target = await made(gate, "pat", "personnel"), await made(gate, "ann")
    end = await now(gate) + HOUR
    await gate.permissions.grant(OPERATOR, pat.id, ["order:approve"], until=end)
    await gate.roles.grant(OPERATOR, pat.id, ["checker"], until=end + HOUR)
    actor = await acting(gate, pat.id)
    for until in (None, end + HOUR + 1):
        with pytest.raises(PermissionRequired):
            await gate.permissions.grant(actor, target.id, ["order:approve"], until=until)
        with pytest.raises(PermissionRequired):
            await gate.roles.grant(actor, target.id, ["checker"], until=until)
    with pytest.raises(PermissionRequired):
        await gate.roles.set_roles(actor, target.id, ["checker"])
    with pytest.raises(PermissionRequired):
        await gate.roles.put(actor, "mine", permissions=["order:approve"])
    with pytest.raises(PermissionRequired):
        await gate.administration.create(
            Principal(actor.sub, actor.kind, actor.roles, actor.permissions | {"accounts:write"}),
            "bob",
            None,
            roles=frozenset({"checker"}),
        )
    assert await gate.permissions.of_account(target.id) == Grants({}, {})
    await gate.permissions.grant(actor, target.id, ["order:approve"], until=end + HOUR)
    await gate.roles.grant(actor, target.id, ["checker"], until=end)
    assert await gate.permissions.of_account(target.id) == Grants({"checker": end}, {"order:approve": end + HOUR})


async def test_a_role_for_a_time_is_not_made_one_for_good(gate: Limen) -> None:
    """Whoever holds something for an hour does not write it into a role that they keep."""
    pat = await made(gate, "pat", "personnel")
    await gate.roles.put(OPERATOR, "kept", permissions=["order:read"])
    await gate.roles.grant(OPERATOR, pat.id, ["kept"])
    end = await now(gate) + HOUR
    await gate.roles.grant(OPERATOR, pat.id, ["checker"], until=end)
    with pytest.raises((PermissionRequired, OwnRequest)):
        await gate.roles.put(await acting(gate, pat.id), "kept", permissions=["order:read", "order:approve"])


async def test_a_role_for_a_time_is_not_prolonged_by_one_that_ends_later(gate: Limen) -> None:
    """Nor by what one may pass on: at no moment does who acts have more than before, now, later or for good."""
    await gate.roles.put(OPERATOR, "passer", permissions=["roles:write", "order:read", "grant:order:approve"])
    await gate.roles.put(OPERATOR, "longer", permissions=["order:read"])
    await gate.roles.put(OPERATOR, "as-long", permissions=["order:read"])
    pat = await made(gate, "pat", "passer")
    end = await now(gate) + HOUR
    await gate.roles.grant(OPERATOR, pat.id, ["checker", "as-long"], until=end)
    await gate.roles.grant(OPERATOR, pat.id, ["longer"], until=end + 1)
    actor = await acting(gate, pat.id)
    for name in ("longer", "passer"):
        given = ["order:approve", *(["roles:write", "grant:order:approve"] if name == "passer" else [])]
        with pytest.raises(OwnRequest):
            await gate.roles.put(actor, name, permissions=["order:read", *given])
        with pytest.raises(OwnRequest):
            await gate.roles.put(actor, name, permissions=given[1:], extends=["checker"])
        assert "order:approve" not in (await gate.roles.show(name)).gives
    assert await gate.roles.put(actor, "as-long", permissions=["order:read", "order:approve"]) is not None


async def test_whoever_holds_more_by_a_permission_is_not_acted_on(gate: Limen) -> None:
    """An account's own permissions count as its roles do, where somebody would switch it off."""
    actor = await made(gate, "pat", "personnel")
    target = await made(gate, "ann")
    await gate.permissions.grant(OPERATOR, target.id, ["order:approve"])
    with pytest.raises(PermissionRequired):
        await gate.roles.authority(principal(gate, actor), "roles:assign", over=target.id)


@pytest.mark.parametrize("until", [0, -1, 1, 253_402_300_800])
async def test_an_end_that_is_past_or_never_comes(gate: Limen, until: int) -> None:
    """It is refused by the clock of the database, and nothing is granted."""
    target = await made(gate, "ann")
    with pytest.raises(InvalidInput):
        await gate.permissions.grant(OPERATOR, target.id, ["order:create"], until=until)
    with pytest.raises(InvalidInput):
        await gate.roles.grant(OPERATOR, target.id, ["maker"], until=until)
    assert await gate.permissions.of_account(target.id) == Grants({}, {})


@pytest.mark.parametrize("name", ["", "order", "order:*", "+order:approve", "order:approve@1", "a:b:c:d:e", "ä:b"])
async def test_what_is_no_name_of_a_permission(gate: Limen, name: str) -> None:
    """It is refused, so that nothing else comes to stand among what an account holds."""
    target = await made(gate, "ann")
    with pytest.raises(InvalidInput):
        await gate.permissions.grant(OPERATOR, target.id, [name])
    with pytest.raises(InvalidInput):
        await gate.roles.grant(OPERATOR, target.id, [f"+{name}"])


async def test_an_account_that_is_not_there(gate: Limen) -> None:
    """No id, an unknown one and a deleted one are alike."""
    gone = await made(gate, "ann")
    await gate.administration.delete(OPERATOR, gone.id)
    for account_id in ("nobody", "01900000-0000-7000-8000-000000000000", gone.id):
        with pytest.raises(NotFound):
            await gate.permissions.grant(OPERATOR, account_id, ["order:create"])
        with pytest.raises(NotFound):
            await gate.permissions.of_account(account_id)


async def test_more_than_fits_into_a_token_is_refused(gate: Limen, tmp_path: Path) -> None:
    """Of 2048 bytes the sentence says what to do; where the database is asked, they are granted, up to a bound."""
    target = await made(gate, "ann")
    many = [f"order:may-do-{number:03}" for number in range(107)]
    await gate.permissions.grant(OPERATOR, target.id, many)
    with pytest.raises(Conflict, match=r"2053 bytes .* LIMEN_PERMISSIONS=database"):
        await gate.permissions.grant(OPERATOR, target.id, ["order:may-do-107"])
    settings = gate.settings.model_copy(update={"permissions": "database"})
    async with Limen(settings).running() as asking:
        await asking.permissions.grant(OPERATOR, target.id, ["order:may-do-107"])
        with pytest.raises(Conflict, match=f"at most {MOST}"):
            await asking.permissions.grant(OPERATOR, target.id, [f"order:more-{number}" for number in range(MOST)])


async def test_two_who_grant_at_once_both_do(gate: Limen) -> None:
    """Whoever comes second judges anew, and nothing of the first is lost."""
    target = await made(gate, "ann")
    names = [f"order:may-do-{number}" for number in range(4)]
    await asyncio.gather(*(gate.permissions.grant(OPERATOR, target.id, [name]) for name in names))
    assert set((await gate.permissions.of_account(target.id)).permissions) == set(names)


async def test_a_token_says_what_is_held_and_lives_no_longer(gate: Limen, clock: Turned) -> None:
    """The permission counts from the next refresh on, and neither it nor the token outlives its end."""
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}), actor="cli")
    first = await gate.login.login("ann", PASSWORD, origin=ORIGIN)
    assert "order:approve" not in (await _who(gate, first.access_token)).permissions
    await gate.permissions.grant(OPERATOR, account.id, ["order:approve"], lifetime=400)
    with pytest.raises(TokenStale):
        await _who(gate, first.access_token)
    second = await gate.sessions.refresh(first.refresh_token, origin=ORIGIN)
    assert 340 < second.expires_in <= 400
    principal = await _who(gate, second.access_token)
    assert principal.roles == {"maker"}
    assert principal.permissions == {"order:create", "order:read", "order:approve"}
    assert "order:approve" in (await gate.live(principal)).permissions
    clock.ahead += 401
    assert "order:approve" not in (await gate.live(principal)).permissions
    with pytest.raises(Exception, match=r"expired"):
        await _who(gate, second.access_token)
    third = await gate.sessions.refresh(second.refresh_token, origin=ORIGIN)
    assert third.expires_in == gate.settings.access_ttl
    assert (await _who(gate, third.access_token)).permissions == {"order:create", "order:read"}


async def _who(gate: Limen, token: str) -> Principal:
    """Return whom a request with this token is attributed to, or raise what it is refused with."""
    outcome = await gate.chain.authenticate(PresentedCredential("bearer", token.encode()))
    if isinstance(outcome, Rejected):
        raise outcome.error
    assert isinstance(outcome, Authenticated)
    return outcome.principal
