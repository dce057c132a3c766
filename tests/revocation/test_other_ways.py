"""The table of revocation, for whoever came in by a cookie or by an API key.

A cookie is asked of the database at each request, so the other process refuses it at once. A key is believed for a
second. What ends every session of an account leaves its keys alone, unless it ends the account.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp

from limen.core.errors import Conflict
from limen.features.roles.service import OPERATOR
from tests.revocation.conftest import Two
from tests.revocation.presenting import WAYS, application, by_api_key
from tests.revocation.test_table import ENDING, LOST, PATIENCE, lose_role, make

KEEPS_KEYS = ("changed password", "logout everywhere", "sessions ended")
"""Acts that are about logins: keys are listed and revoked by themselves (decision 0046).

A temporary password is for one that was lost, and takes the keys along (decision 0084).
"""
REFUSALS = {
    "cookie session": {"session_ended"},
    "refresh cookie": {"invalid_refresh_token"},
    "API key": {"account_not_active", "token_invalid"},
}


Applications = tuple[ASGIApp, ASGIApp]


@pytest.fixture
async def applications(two: Two) -> AsyncIterator[Applications]:
    """An application in each of the two processes, running: here and there."""
    async with LifespanManager(application(two.here)) as here, LifespanManager(application(two.there)) as there:
        yield here.app, there.app


async def eventually(way: str, app: ASGIApp, headers: dict[str, str]) -> Any:
    """Ask until it is refused, for no longer than a key may be believed, and return the refusal."""
    end = time.monotonic() + PATIENCE
    while (answer := await WAYS[way].ask(app, headers)).status_code == 200:
        assert way == "API key", "a cookie is refused at once"
        assert time.monotonic() < end, "the key lives on"
        await asyncio.sleep(0.05)
    return answer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("act", ENDING)
async def test_what_ends_sessions(two: Two, applications: Applications, act: str, way: str) -> None:
    """By a cookie nothing opens from then on, here and there. By a key neither, where the account is over."""
    here, there = applications
    ann = await make(two.here)
    headers = await WAYS[way].open(two.there, there, ann)
    if way != "refresh cookie":
        assert (await WAYS[way].ask(there, headers)).status_code == 200
    await ENDING[act](two.here, ann)
    if way == "API key" and act in KEEPS_KEYS:
        await asyncio.sleep(1.5)
        for app in (there, here):
            assert (await WAYS[way].ask(app, headers)).status_code == 200
        return
    for app in (there, here):
        refused = await eventually(way, app, headers)
        assert refused.status_code == 401
        assert refused.json()["code"] in REFUSALS[way]
        assert "set-cookie" not in refused.headers


async def test_a_lost_role_ends_a_cookie_session(two: Two, applications: Applications) -> None:
    """No id of before is to be worth more or less: the next login has the roles of now (ASVS 5.0, 7.2.4)."""
    _, there = applications
    ann = await make(two.here)
    headers = await WAYS["cookie session"].open(two.there, there, ann)
    await lose_role(two.here, ann)
    assert (await WAYS["cookie session"].ask(there, headers)).json()["code"] == "session_ended"


async def test_a_refresh_cookie_after_a_lost_role_lacks_it(two: Two, applications: Applications) -> None:
    """The session goes on; the access token that it answers has the roles of now."""
    _, there = applications
    ann = await make(two.here)
    headers = await WAYS["refresh cookie"].open(two.there, there, ann)
    await lose_role(two.here, ann)
    answer = await WAYS["refresh cookie"].ask(there, headers)
    access = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert LOST not in (await WAYS["API key"].ask(there, access)).json()["roles"]


async def test_a_key_after_a_lost_role_lacks_it(two: Two, applications: Applications) -> None:
    """Within the second for which it is believed: a key may never more than its owner now."""
    _, there = applications
    ann = await make(two.here)
    way = WAYS["API key"]
    headers = await way.open(two.there, there, ann)
    assert LOST in (await way.ask(there, headers)).json()["roles"]
    await lose_role(two.here, ann)
    end = time.monotonic() + PATIENCE
    while LOST in (await way.ask(there, headers)).json()["roles"]:
        assert time.monotonic() < end, "the role lives on"
        await asyncio.sleep(0.05)


async def test_a_revoked_key_dies_and_the_others_go_on(two: Two, applications: Applications) -> None:
    """Revoked here, it is refused there within the second; another key of the same account is not."""
    _, there = applications
    ann = await make(two.here)
    lost, kept = [await WAYS["API key"].open(two.there, there, ann) for _ in range(2)]
    for headers in (lost, kept):
        assert (await WAYS["API key"].ask(there, headers)).status_code == 200
    assert two.here.api_keys is not None
    page = await two.here.api_keys.service.page(ann.id)
    await two.here.api_keys.service.revoke_for(OPERATOR, ann.id, page.items[-1].id)
    assert (await eventually("API key", there, lost)).json()["code"] == "token_invalid"
    assert (await WAYS["API key"].ask(there, kept)).status_code == 200


@pytest.mark.parametrize("way", WAYS)
async def test_a_restore(two: Two, applications: Applications, way: str) -> None:
    """``limen db restored``: cookies are over at once; a key within the second, until somebody confirms it."""
    _, there = applications
    ann = await make(two.here)
    headers = await WAYS[way].open(two.there, there, ann)
    await two.here.maintenance.restored(actor="cli")
    refused = await eventually(way, there, headers)
    assert refused.json()["code"] in {*REFUSALS[way], "token_invalid"}
    if way == "API key":
        assert two.here.api_keys is not None
        page = await two.here.api_keys.service.page(ann.id)
        await two.here.api_keys.service.confirm_for(OPERATOR, ann.id, page.items[0].id)
        assert (await WAYS[way].ask(there, headers)).status_code == 200


async def test_a_key_that_is_being_made_while_its_owner_is_disabled(two: Two, applications: Applications) -> None:
    """The door asks for the account as it was when it was read: whoever is disabled meanwhile gets none that opens."""
    _, there = applications
    ann = await make(two.here)
    making = asyncio.create_task(by_api_key(two.there, there, ann))
    disabling = asyncio.create_task(two.here.administration.disable(OPERATOR, ann.id))
    await asyncio.wait({making, disabling})
    assert disabling.exception() is None
    if making.exception() is None:
        assert (await eventually("API key", there, making.result())).json()["code"] == "account_not_active"
    else:
        assert isinstance(making.exception(), Conflict)
