"""The table of revocation: every act that takes something away, against everything that may be alive at that moment.

The act is done in one process. What is alive belongs to another, which learns of it from the database: at once where
it asks the database anyway (refresh, ``@live``, the end of a login), and by its poll where it does not (access tokens).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from limen import Limen
from limen.authn.issuing import Issued
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import (
    AccountNotActive,
    InvalidCredentials,
    InvalidRefreshToken,
    LimenError,
    SessionEnded,
    TokenStale,
)
from limen.core.events import NOWHERE
from limen.core.principal import Principal
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from tests.revocation.conftest import Held, Two
from tests.support.gates import PASSWORD

PATIENCE: Final = 60.0
"""Seconds: far beyond the promised two, which is measured elsewhere, with processes that are truly two."""
NEW: Final = "another battery, another horse"
LOST, KEPT = "maker", "checker"

Act = Callable[[Limen, AccountView], Awaitable[object]]

ENDING: dict[str, Act] = {
    "disable": lambda gate, ann: gate.administration.disable(OPERATOR, ann.id),
    "block": lambda gate, ann: gate.administration.block(OPERATOR, ann.id),
    "delete": lambda gate, ann: gate.administration.delete(OPERATOR, ann.id),
    "changed password": lambda gate, ann: gate.accounts.change_password(ann.id, PASSWORD, NEW, sid=None),
    "temporary password": lambda gate, ann: gate.administration.set_temporary_password(OPERATOR, ann.id),
    "logout everywhere": lambda gate, ann: gate.sessions.logout_everywhere(ann.id, actor=ann.id, origin=NOWHERE),
    "sessions ended": lambda gate, ann: gate.administration.end_sessions(OPERATOR, ann.id),
}
"""Whatever ends every session of an account."""


async def lose_role(gate: Limen, ann: AccountView) -> None:
    """Take one of the two roles away: the sessions stay, and what they may do is less."""
    await gate.roles.revoke(OPERATOR, ann.id, [LOST])


async def make(gate: Limen) -> AccountView:
    """Make the account that it is done to."""
    return await gate.accounts.create("ann", PASSWORD, roles=frozenset({LOST, KEPT}))


async def log_in(gate: Limen) -> Issued:
    """Log in with the password of before."""
    return await gate.login.login("ann", PASSWORD, origin=NOWHERE)


async def refused_with(gate: Limen, issued: Issued) -> LimenError | None:
    """Return why a process refuses an access token; None where it does not."""
    outcome = await _outcome(gate, issued)
    return outcome.error if isinstance(outcome, Rejected) else None


async def principal_of(gate: Limen, issued: Issued) -> Principal:
    """Return whom a process takes the bearer of an access token for."""
    outcome = await _outcome(gate, issued)
    assert isinstance(outcome, Authenticated)
    return outcome.principal


async def _outcome(gate: Limen, issued: Issued) -> Authenticated | Rejected:
    outcome = gate.chain.recall([(b"authorization", f"Bearer {issued.access_token}".encode())])
    assert outcome is not None
    return await gate.chain.authenticate(outcome) if isinstance(outcome, PresentedCredential) else outcome


async def dies(gate: Limen, issued: Issued, error: type[LimenError]) -> None:
    """Wait until a process refuses an access token, for the right reason and not for long."""
    end = time.monotonic() + PATIENCE
    while (found := await refused_with(gate, issued)) is None:
        assert time.monotonic() < end, "the access token lives on"
        await asyncio.sleep(0.05)
    assert isinstance(found, error)


async def is_dead(gate: Limen, issued: Issued) -> None:
    """Check that a refresh token is refused like any that is wrong."""
    with pytest.raises(InvalidRefreshToken):
        await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)


# --- the access token


@pytest.mark.parametrize("act", ENDING)
async def test_an_access_token_dies(two: Two, act: str) -> None:
    """Here at once; in the other process with its poll, also where the token was remembered; ``@live`` at once."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    principal = await principal_of(two.there, issued)
    assert await refused_with(two.here, issued) is None
    await ENDING[act](two.here, ann)
    assert isinstance(await refused_with(two.here, issued), SessionEnded)
    with pytest.raises((SessionEnded, AccountNotActive)):
        await two.there.live(principal)
    await dies(two.there, issued, SessionEnded)


async def test_an_access_token_with_a_lost_role_is_stale(two: Two) -> None:
    """Here at once, there with its poll: 401 ``token_stale``. ``@live`` has the roles of now at once."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    principal = await principal_of(two.there, issued)
    assert principal.roles == {LOST, KEPT}
    await lose_role(two.here, ann)
    assert isinstance(await refused_with(two.here, issued), TokenStale)
    assert (await two.there.live(principal)).roles == {KEPT}
    await dies(two.there, issued, TokenStale)


# --- the refresh token


@pytest.mark.parametrize("act", ENDING)
async def test_a_refresh_token_dies(two: Two, act: str) -> None:
    """In every process, from the moment the act was acknowledged."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    await ENDING[act](two.here, ann)
    await is_dead(two.there, issued)
    await is_dead(two.here, issued)
    assert (await two.there.sessions.of_account(ann.id)).items == []


async def test_a_refresh_after_a_lost_role_lacks_it(two: Two) -> None:
    """The session goes on; what the refresh answers has the roles of now, and is not stale in any process."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    await lose_role(two.here, ann)
    refreshed = await two.there.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    assert refreshed.sid == issued.sid
    await dies(two.there, issued, TokenStale)
    for gate in (two.here, two.there):
        assert (await principal_of(gate, refreshed)).roles == {KEPT}


# --- a login in flight: the password is proved, the session is not yet there


async def begin_login(gate: Limen) -> tuple[Held, "asyncio.Task[Issued]"]:
    """Log in as far as the insertion of the session, and stop before it."""
    held = Held(gate.storage.issuing, "open", after=False)
    gate.door._store = held
    login = asyncio.create_task(log_in(gate))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    return held, login


@pytest.mark.parametrize("act", ENDING)
async def test_a_login_in_flight_opens_nothing(two: Two, act: str) -> None:
    """It ends like any login that fails, although its password was right when it was checked."""
    ann = await make(two.here)
    held, login = await begin_login(two.there)
    await ENDING[act](two.here, ann)
    held.go_on.set()
    with pytest.raises(InvalidCredentials):
        await login
    assert (await two.here.sessions.of_account(ann.id)).items == []


async def test_a_login_in_flight_has_the_roles_of_now(two: Two) -> None:
    """It succeeds without the role that was lost while it was under way, and stays so when the poll has come."""
    ann = await make(two.here)
    held, login = await begin_login(two.there)
    await lose_role(two.here, ann)
    held.go_on.set()
    issued = await login
    for gate in (two.here, two.there):
        assert (await principal_of(gate, issued)).roles == {KEPT}
    await asyncio.sleep(1.5)
    assert (await principal_of(two.there, issued)).roles == {KEPT}


# --- a replay in flight: the row was read before the act, the successor is stated again after it


async def begin_replay(gate: Limen, issued: Issued) -> tuple[Held, "asyncio.Task[Issued]"]:
    """Send a spent refresh token within the leeway, and stop once the session was read."""
    held = Held(gate.storage.sessions, "read", after=True)
    gate.sessions._store = held
    replay = asyncio.create_task(gate.sessions.refresh(issued.refresh_token, origin=NOWHERE))
    await asyncio.wait_for(held.arrived.wait(), PATIENCE)
    return held, replay


@pytest.mark.parametrize("act", ENDING)
async def test_a_replay_in_flight_answers_dead_tokens(two: Two, act: str) -> None:
    """What it states again was ended meanwhile: the refresh token is refused, the access token with the poll."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    successor = await two.there.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    held, replay = await begin_replay(two.there, issued)
    await ENDING[act](two.here, ann)
    held.go_on.set()
    restated = await replay
    assert restated.refresh_token == successor.refresh_token
    await is_dead(two.here, restated)
    await is_dead(two.there, restated)
    assert isinstance(await refused_with(two.here, restated), SessionEnded)
    await dies(two.there, restated, SessionEnded)


async def test_a_replay_in_flight_with_a_lost_role_is_stale(two: Two) -> None:
    """Its access token has the roles that were read: stale. Its refresh token answers one with those of now."""
    ann = await make(two.here)
    issued = await log_in(two.there)
    await two.there.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    held, replay = await begin_replay(two.there, issued)
    await lose_role(two.here, ann)
    held.go_on.set()
    restated = await replay
    assert isinstance(await refused_with(two.here, restated), TokenStale)
    await dies(two.there, restated, TokenStale)
    refreshed = await two.there.sessions.refresh(restated.refresh_token, origin=NOWHERE)
    assert (await principal_of(two.there, refreshed)).roles == {KEPT}


# --- one session, ended from the list of one's own


async def test_one_session_ends_and_the_others_go_on(two: Two) -> None:
    """Ended here, its refresh and access token and a replay in flight are dead there; the other session lives."""
    ann = await make(two.here)
    lost, kept = await log_in(two.there), await log_in(two.there)
    await two.there.sessions.refresh(lost.refresh_token, origin=NOWHERE)
    principal = await principal_of(two.here, kept)
    held, replay = await begin_replay(two.there, lost)
    await two.here.sessions.end_own(principal, lost.sid, origin=NOWHERE)
    held.go_on.set()
    restated = await replay
    await is_dead(two.there, restated)
    await dies(two.there, lost, SessionEnded)
    await dies(two.there, restated, SessionEnded)
    assert await refused_with(two.there, kept) is None
    assert [each.session.sid for each in (await two.there.sessions.of_account(ann.id)).items] == [kept.sid]


# --- and what is to go on


@pytest.mark.parametrize("act", ENDING)
async def test_nobody_else_is_touched(two: Two, act: str) -> None:
    """Another account's tokens go on in every process, once the polls have come."""
    ann = await make(two.here)
    await two.here.accounts.create("bob", PASSWORD, roles=frozenset({LOST}))
    other = await two.there.login.login("bob", PASSWORD, origin=NOWHERE)
    issued = await log_in(two.there)
    await ENDING[act](two.here, ann)
    await dies(two.there, issued, SessionEnded)
    for gate in (two.here, two.there):
        assert await refused_with(gate, other) is None
    assert (await two.here.sessions.refresh(other.refresh_token, origin=NOWHERE)).sid == other.sid
