"""The cap on sessions: as many live at a time as may, whichever way they were opened; the oldest end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen import Limen
from limen.authn.cookie import IssuedCookie
from limen.authn.issuing import Issued
from limen.core.errors import InvalidRefreshToken
from limen.core.events import EventName, Origin
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for

HERE = Origin("request-1", "192.0.2.1", "a browser")
MOST = 3


@pytest.fixture
async def capped(tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Limen]:
    """A started gate whose accounts have three sessions at a time."""
    gate = gate_for(tmp_path, clock=clock, max_sessions=str(MOST), login_limit="1000/minute")
    async with gate.running() as started:
        yield started


async def log_in(gate: Limen, *, cookie: bool = False) -> Issued | IssuedCookie:
    """Log in, for tokens or for a cookie."""
    if cookie:
        return await gate.login.open_cookie_session("ann", PASSWORD, remembered=False, origin=HERE)
    return await gate.login.login("ann", PASSWORD, origin=HERE)


async def test_of_parallel_logins_as_many_live_as_may(capped: Limen) -> None:
    """Five more than that at the same moment, by tokens and by cookie; the rest refresh no more, and are recorded."""
    account = await capped.accounts.create("ann", PASSWORD)
    opened = await asyncio.gather(*(log_in(capped, cookie=number % 2 == 1) for number in range(MOST + 5)))
    living = await capped.storage.sessions.of_account(account.id, limit=100, after=None)
    assert len(living) == MOST
    alive = {each.sid for each in living}
    tokens = [each for each in opened if isinstance(each, Issued)]
    refreshed = []
    for each in tokens:
        try:
            await capped.sessions.refresh(each.refresh_token, origin=HERE)
            refreshed.append(each.sid)
        except InvalidRefreshToken:
            pass
    assert set(refreshed) == alive & {each.sid for each in tokens}
    ended = [each for each in await capped.storage.events(limit=1000) if each.event == EventName.SESSION_ENDED]
    assert len(ended) == 5
    assert {each.data["reason"] for each in ended} == {"displaced"}


async def test_the_oldest_goes_and_its_access_token_with_it(capped: Limen) -> None:
    """Every process is told, as of any other end."""
    await capped.accounts.create("ann", PASSWORD)
    first = await log_in(capped)
    assert isinstance(first, Issued)
    for _ in range(MOST - 1):
        await log_in(capped)
    await capped.sessions.refresh(first.refresh_token, origin=HERE)
    await log_in(capped, cookie=True)
    await capped.sessions.catch_up()
    assert first.sid in capped.ended


async def test_without_the_setting_there_is_no_cap(tmp_path: Path, clock: TurnableClock) -> None:
    """As many as log in, each by itself."""
    async with gate_for(tmp_path, clock=clock).running() as gate:
        account = await gate.accounts.create("ann", PASSWORD)
        for _ in range(MOST + 2):
            await log_in(gate)
        assert len(await gate.storage.sessions.of_account(account.id, limit=100, after=None)) == MOST + 2
