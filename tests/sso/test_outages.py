"""What goes on and what does not while something is away; the page about single sign-on has the table."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.authn.outbound import Outbound
from limen.core.errors import Unavailable
from limen.features.sso.discovery import COOL_DOWN_SECONDS, KEEP_SECONDS, REFRESH_SECONDS, Discovery
from tests.sso.conftest import LOOPBACK, begin, code_of, declared, log_in, me
from tests.sso.provider import Provider, callback, running_provider
from tests.support.gates import PASSWORD


async def test_a_description_is_believed_for_an_hour_and_for_a_day(provider: Provider) -> None:
    """Fetched again after an hour; while it cannot be, the one before counts for a day, and then nothing does."""
    now = [0.0]
    discovery = Discovery(declared(provider), Outbound(allow_private=LOOPBACK), monotonic=lambda: now[0])

    def fetched() -> int:
        return [path for path, _, _ in provider.requests].count("/.well-known/openid-configuration")

    first = await discovery.metadata()
    now[0] = REFRESH_SECONDS - 1
    assert await discovery.metadata() is first
    assert fetched() == 1
    now[0] = REFRESH_SECONDS + 1
    assert await discovery.metadata() == first
    assert fetched() == 2
    provider.down = True
    now[0] += KEEP_SECONDS - 1
    assert await discovery.metadata() == first
    assert fetched() == 3
    await discovery.metadata()
    assert fetched() == 3  # nobody is asked again within the cool-down
    now[0] += COOL_DOWN_SECONDS + 1
    with pytest.raises(Unavailable):
        await discovery.metadata()
    provider.down = False
    now[0] += COOL_DOWN_SECONDS + 1
    assert await discovery.metadata() == first


async def test_a_description_of_another_is_forgotten_at_once(provider: Provider) -> None:
    """One that calls itself otherwise is no outage: nothing of before is believed any more."""
    now = [0.0]
    discovery = Discovery(declared(provider), Outbound(allow_private=LOOPBACK), monotonic=lambda: now[0])
    await discovery.metadata()
    provider.metadata = lambda told: told | {"issuer": "https://other.example"}
    now[0] = REFRESH_SECONDS + 1
    with pytest.raises(Unavailable):
        await discovery.metadata()


async def test_whoever_asks_at_the_same_time_shares_one_fetch(provider: Provider) -> None:
    """Fifty logins after a start make one call."""
    discovery = Discovery(declared(provider), Outbound(allow_private=LOOPBACK))
    await asyncio.gather(*(discovery.metadata() for _ in range(50)))
    assert len(provider.requests) == 1


def test_sessions_and_other_ways_in_go_on(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """While one provider is down: who is in stays in, another provider and passwords let people in."""
    with running_provider() as other:
        browser = serve(make_gate(declared(provider, "one"), declared(other, "two")))
        log_in(browser, provider, name="one")
        sid = me(browser)["sid"]
        provider.down = True
        assert me(browser)["sid"] == sid
        assert code_of(browser.get(callback(provider.authorize(begin(browser, name="one")), "one")))[0] == 503
        assert log_in(browser, other, name="two").status_code == 302
        browser.cookies.clear()
        browser.post("/auth/register", json={"username": "ann", "password": PASSWORD})
        assert browser.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 200


def test_without_the_database_nothing_begins_and_nothing_ends(
    gate: Limen, browser: TestClient, provider: Provider
) -> None:
    """Both requests are 503, and no session comes of it."""
    back = callback(provider.authorize(begin(browser)))
    token: dict[str, Any] = {"logout_token": provider.logout_token()}
    asyncio.run(gate.storage.stop())
    try:
        for path in ("/auth/sso/corp/login", back):
            assert code_of(browser.get(path)) == (503, "unavailable")
        assert browser.post("/auth/sso/corp/backchannel-logout", data=token).status_code == 503
        assert "__Host-limen" not in browser.cookies
    finally:
        asyncio.run(gate.storage.start())
