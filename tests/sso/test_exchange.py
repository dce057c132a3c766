"""The one-time code of a client that is not a browser's page: a single-page application, a mobile one."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import NOWHERE
from limen.features.sso.proofs import challenge_of
from limen.testing.clock import TurnableClock
from tests.sso.conftest import HOST, code_of, declared, kept, log_in
from tests.sso.provider import Provider, callback

VERIFIER = "v" * 43
APP = "com.example.app:/done"
CHALLENGE = f"&code_challenge={challenge_of(VERIFIER)}&code_challenge_method=S256"


@pytest.fixture
def gate(make_gate: Callable[..., Limen], provider: Provider) -> Limen:
    """A gate that an app comes back from."""
    return make_gate(declared(provider), sso_redirects=[APP])


def code_for(browser: TestClient, provider: Provider) -> str:
    """Log in, and return the code that the app is given; the browser gets nothing."""
    answer = log_in(browser, provider, f"?next={quote(APP)}{CHALLENGE}")
    assert "__Host-limen" not in browser.cookies
    location: str = answer.headers["location"]
    return parse_qs(urlsplit(location).query)["code"][0]


def exchange(client: Any, code: str, verifier: str = VERIFIER) -> Any:
    """Exchange a code."""
    return client.post("/auth/sso/exchange", json={"code": code, "code_verifier": verifier})


def test_a_code_becomes_tokens(browser: TestClient, provider: Provider) -> None:
    """As a login answers them; they are refreshed like any other."""
    provider.claims |= {"amr": ["otp"]}
    answer = exchange(browser, code_for(browser, provider))
    assert answer.status_code == 200
    tokens = answer.json()
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in", "refresh_expires_in"}
    who = browser.get("/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json()
    assert who["amr"] == ["sso", "otp"]
    assert browser.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200


def test_a_code_is_used_once(browser: TestClient, provider: Provider) -> None:
    """The second time it is nobody's."""
    code = code_for(browser, provider)
    assert exchange(browser, code).status_code == 200
    assert code_of(exchange(browser, code)) == (400, "sso_code_invalid")


@pytest.mark.parametrize(
    "verifier", ["w" * 43, "", "v" * 42, "v" * 129, "v" * 42 + "ü", challenge_of(VERIFIER), "v" * 43 + "\n"]
)
def test_an_intercepted_code_is_spent_by_a_wrong_verifier(
    browser: TestClient, provider: Provider, verifier: str
) -> None:
    """Whoever guesses has one guess, and the right one is then too late."""
    code = code_for(browser, provider)
    assert code_of(exchange(browser, code, verifier)) == (400, "sso_code_invalid")
    assert code_of(exchange(browser, code)) == (400, "sso_code_invalid")


def test_a_code_holds_sixty_seconds(browser: TestClient, provider: Provider, clock: TurnableClock) -> None:
    """By the database's clock."""
    codes = [code_for(browser, provider) for _ in range(2)]
    clock.turn(58)
    assert exchange(browser, codes[0]).status_code == 200
    clock.turn(3)
    assert code_of(exchange(browser, codes[1])) == (400, "sso_code_invalid")


@pytest.mark.parametrize("code", ["", "x", "x" * 43, "x" * 44, "ü" * 43])
def test_a_code_that_is_none(browser: TestClient, code: str) -> None:
    """All of them are the same answer."""
    assert code_of(exchange(browser, code)) == (400, "sso_code_invalid")


async def test_fifty_exchanges_make_one_session(gate: Limen, provider: Provider) -> None:
    """Of fifty who bring one code, one gets tokens."""
    app = Starlette()
    gate.protect(app)
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as client,
    ):
        going = await client.get(f"/auth/sso/corp/login?next={quote(APP)}{CHALLENGE}")
        coming = await client.get(callback(provider.authorize(going.headers["location"])))
        code = parse_qs(urlsplit(coming.headers["location"]).query)["code"][0]
        body = {"code": code, "code_verifier": VERIFIER}
        answers = await asyncio.gather(*(client.post("/auth/sso/exchange", json=body) for _ in range(50)))
        assert sorted(each.status_code for each in answers) == [200, *[400] * 49]


def test_an_account_that_ended_its_sessions_meanwhile(
    browser: TestClient, gate: Limen, provider: Provider, tmp_path: Any
) -> None:
    """The code is of the epoch that it was made in: whoever logged out everywhere has ended it too."""
    code = code_for(browser, provider)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET session_epoch = session_epoch + 1")
    assert code_of(exchange(browser, code)) == (400, "sso_code_invalid")


@pytest.mark.parametrize(
    "query",
    [
        f"?next={quote(APP)}&code_challenge={'a' * 43}",
        f"?next={quote(APP)}&code_challenge={'a' * 43}&code_challenge_method=plain",
        f"?next={quote(APP)}&code_challenge={'a' * 42}&code_challenge_method=S256",
        f"?next={quote('https://evil.example/')}{CHALLENGE}",
        f"?next={quote('//evil.example')}{CHALLENGE}",
        f"?{CHALLENGE[1:]}",
    ],
    ids=["no method", "plain", "short", "elsewhere", "elsewhere again", "nowhere"],
)
def test_a_client_that_begins_otherwise_is_refused(browser: TestClient, query: str) -> None:
    """Without S256, or to an address that is not listed, no code is made."""
    assert code_of(browser.get(f"/auth/sso/corp/login{query}")) == (422, "invalid_input")


def test_an_app_without_a_challenge_gets_no_code(browser: TestClient, provider: Provider) -> None:
    """Its address alone leads home, with a cookie."""
    answer = log_in(browser, provider, f"?next={quote(APP)}")
    assert answer.headers["location"] == "/"


def test_the_database_holds_no_code(browser: TestClient, provider: Provider, tmp_path: Any) -> None:
    """Only its hash; the ID token lies there sealed."""
    tokens = kept(provider)
    code = code_for(browser, provider)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert code.encode() not in stored
    assert tokens[0].encode() not in stored
    assert tokens[0].split(".")[1].encode() not in stored


async def test_a_session_of_before_is_not_ended(gate: Limen, provider: Provider) -> None:
    """The browser that helps an app to log in keeps its own session."""
    app = Starlette()
    gate.protect(app)
    async with gate.running():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as client:
            going = await client.get("/auth/sso/corp/login")
            await client.get(callback(provider.authorize(going.headers["location"])))
            sub = (await client.get("/auth/me")).json()["sub"]
            going = await client.get(f"/auth/sso/corp/login?next={quote(APP)}{CHALLENGE}")
            await client.get(callback(provider.authorize(going.headers["location"])))
            assert (await client.get("/auth/me")).status_code == 200
        assert await gate.sessions.logout_everywhere(sub, actor="test", origin=NOWHERE) == 1
