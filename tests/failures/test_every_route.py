"""Every route of limen's, with every credential, while the database or Valkey is away: what the table says, no more.

Whatever is added to the table of routes is asked here as well.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from limen import Settings
from limen.core.errors import Busy, Unavailable
from tests.failures.everything import Asked, Everything, everything, take_credentials
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gates import settings_for
from tests.support.valkey import Server

PATIENCE: Final = 120.0
"""Seconds for several hundred answers on a slow machine; each waits ten at most for a hanging database."""
BELIEVED_SECONDS: Final = 1.1
"""As long as an API key is believed, and readiness is."""

OPEN: Final = {
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/healthz"),
    ("GET", "/anybody"),
    # Pages that hold nothing: the token of a link is behind the «#».
    ("GET", "/auth/password/reset"),
    ("GET", "/auth/email/verify"),
}
"""What asks nobody, whoever comes."""
BY_TOKEN: Final = {
    *((method, "/auth/verify") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
    ("GET", "/somebody"),
    ("GET", "/by-permission"),
}
"""What goes on for an access token."""
BY_TOKEN_WITHOUT_VALKEY: Final = {
    *BY_TOKEN,
    ("GET", "/auth/me"),
    ("GET", "/auth/ended"),
    ("GET", "/auth/sso/identities"),
}
"""What an access token does as well where only Valkey is away: the database has it. Endings have tests of their own."""


def settings_of(folder: Path, **more: Any) -> Settings:
    """Everything that can be switched on, with limits that nobody reaches here."""
    return settings_for(
        folder,
        public_url="https://app.example",
        mail_from="App <no-reply@app.example>",
        login_limit="1000/minute",
        login_network_limit="10000/minute",
        **more,
    )


class Usual:
    """What the same questions are answered when nothing is amiss."""

    def __init__(self, control: Sequence[Asked]) -> None:
        self.answers = {(each.credential, each.route): each for each in control}
        for each in control:
            # There is no such provider: nobody can be sent there.
            assert each.status < 500 or "/sso/{provider}/" in each.path, each
        for credential in ("access token", "session cookie", "API key"):
            assert sum(each.status < 300 for each in control if each.credential == credential) > 20, credential

    def lets_in(self, asked: Asked) -> bool:
        """Tell whether this is answered on other days."""
        return self.answers[asked.credential, asked.route].status < 400

    def assert_refused(self, answers: Sequence[Asked], admitted: set[tuple[str, tuple[str, str]]]) -> None:
        """Check that what was done is what may be, and the rest is 503, or is refused on any other day, too."""
        assert {(each.credential, each.route) for each in answers} <= set(self.answers)
        for each in answers:
            if each.status == 503:
                assert each.code in (Unavailable.code, Busy.code), each
                assert int(each.headers["retry-after"]) >= 1, each
                assert "set-cookie" not in each.headers, each
            elif each.status >= 400:
                # Nobody came, or nothing that could be read: that is said without asking.
                assert each.status < 500, each
                assert not self.lets_in(each), each
        assert {(each.credential, each.route) for each in answers if each.status < 400} == admitted


async def usual(made: Everything) -> Usual:
    """Ask everything when nothing is amiss; the credentials are other ones then."""
    control = await made.ask_all(at_once=False)
    await take_credentials(made)
    return Usual(control)


async def asked_while(made: Everything, proxy: FaultProxy, fault: str, *, endings: bool = True) -> list[Asked]:
    """Return the answers of the time of the fault; it is over then."""
    getattr(proxy, fault)()
    await asyncio.sleep(BELIEVED_SECONDS)
    begun = time.monotonic()
    answers = await made.ask_all(endings=endings)
    assert len(answers) > 400
    assert time.monotonic() - begun < PATIENCE
    proxy.ok()
    deadline = time.monotonic() + PATIENCE
    while (await made.ask("nobody", "GET", "/readyz")).status != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return answers


@pytest.mark.timeout(300)
async def test_without_the_database(tmp_path: Path, postgres_url: str) -> None:
    """Gone or hanging: only what asks nobody, and what an access token opens, is answered; all else is 503."""
    with fault_proxy(postgres_url) as proxy:
        async with everything(settings_of(tmp_path, database_url=proxy.url(postgres_url))) as made:
            on_other_days = await usual(made)
            admitted = {(credential, route) for credential in made.credentials for route in OPEN}
            admitted |= {("access token", route) for route in BY_TOKEN}
            for fault in ("refuse", "hang"):
                on_other_days.assert_refused(await asked_while(made, proxy, fault), admitted)


@pytest.mark.timeout(300)
async def test_without_valkey(tmp_path: Path, valkey: Server) -> None:
    """Sessions and counts are there: neither a cookie nor what is counted gets past it; tokens and keys go on."""
    with fault_proxy(valkey.port) as proxy:
        url = f"valkey://127.0.0.1:{proxy.port}/0"
        async with everything(settings_of(tmp_path, session_store="valkey", valkey_url=url)) as made:
            on_other_days = await usual(made)
            admitted = {(credential, route) for credential in made.credentials for route in OPEN}
            admitted |= {("access token", route) for route in BY_TOKEN_WITHOUT_VALKEY}
            answers = await asked_while(made, proxy, "refuse", endings=False)
            by_key = [each for each in answers if each.credential == "API key" and each.status < 400]
            # Its account is in the database: all that it may do on any other day, except what is counted.
            assert all(on_other_days.lets_in(each) for each in by_key)
            routes = {each.route for each in by_key}
            assert ("GET", "/live") in routes
            assert ("POST", "/auth/login") not in routes
            on_other_days.assert_refused(answers, admitted | {("API key", route) for route in routes})
