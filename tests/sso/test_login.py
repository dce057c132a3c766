"""A login at a provider, from the click to the session."""

import asyncio
import logging
import time
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.testing.clock import TurnableClock
from tests.sso.conftest import HOST, PAGE, begin, code_of, declared, log_in, me
from tests.sso.provider import Provider, callback
from tests.support.gates import PASSWORD

OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}


def cookies_set(answer: Any) -> SimpleCookie:
    """Every cookie that an answer sets."""
    found = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


def test_a_login_opens_a_session(browser: TestClient, provider: Provider) -> None:
    """The browser comes back with a session cookie, and the account is the identity's, at the second login too."""
    answer = log_in(browser, provider)
    assert (answer.status_code, answer.headers["location"]) == (302, "/")
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    who = me(browser)
    assert who["amr"] == ["sso"]
    browser.cookies.clear()
    log_in(browser, provider)
    assert me(browser)["sub"] == who["sub"]
    assert me(browser)["sid"] != who["sid"]


def test_what_the_provider_is_asked(browser: TestClient, provider: Provider) -> None:
    """A code, PKCE with S256, a state and a nonce that are new each time, and the address of this application."""
    first, second = (dict(parse_qsl(urlsplit(begin(browser)).query)) for _ in range(2))
    assert first["response_type"] == "code"
    assert (first["client_id"], first["scope"]) == ("limen-at-op", "openid email profile")
    assert first["redirect_uri"] == f"{HOST}/auth/sso/corp/callback"
    assert first["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) == 43
        assert first[name] != second[name]


def test_cookies_have_their_attributes(browser: TestClient, provider: Provider) -> None:
    """Both cookies have the prefix, so no sub-domain can plant them, and no script reads them."""
    going = browser.get("/auth/sso/corp/login")
    coming = browser.get(callback(provider.authorize(going.headers["location"])))
    for answer, name, age in ((going, "__Host-limen-sso", "600"), (coming, "__Host-limen", "")):
        cookie = cookies_set(answer)[name]
        assert (cookie["path"], cookie["domain"], cookie["samesite"]) == ("/", "", "Lax")
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["max-age"] == age


def test_the_session_before_ends(browser: TestClient, gate: Limen, provider: Provider) -> None:
    """A login gives a new session id; what the browser had is over, whoever's it was."""
    browser.post("/auth/register", json={"username": "bob", "password": PASSWORD})
    browser.post("/auth/session", json={"username": "bob", "password": PASSWORD}, headers=OWN)
    before = browser.cookies["__Host-limen"]
    log_in(browser, provider)
    assert browser.cookies["__Host-limen"] != before
    assert browser.get("/auth/me", headers={"Cookie": f"__Host-limen={before}"}).status_code == 401


def test_two_tabs_of_one_browser(browser: TestClient, provider: Provider) -> None:
    """Logins that were begun beside each other are each ended."""
    one, two = begin(browser), begin(browser)
    for location in (one, two):
        assert browser.get(callback(provider.authorize(location))).status_code == 302


def test_times_and_methods_are_the_providers(
    browser: TestClient, gate: Limen, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """The time of the login there is the session's, and only methods of RFC 8176 are passed on: never limen's own."""
    then = int(time.time()) - 3_000
    provider.claims |= {"auth_time": then, "amr": ["pwd", "mfa", "mtls", "api_key", "made-up"], "acr": "urn:high"}
    log_in(browser, provider)
    who = me(browser)
    assert who["amr"] == ["sso", "mfa", "pwd"]
    assert who["auth_time"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))


@pytest.mark.parametrize("counts", [False, True])
def test_a_second_factor_elsewhere_counts_where_it_is_declared(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, tmp_path: Any, counts: bool
) -> None:
    """An account that requires two factors is let in where the provider is trusted with them, and says mfa."""
    import sqlite3

    gate = make_gate(declared(provider, second_factor=counts))
    browser = serve(gate)
    provider.claims["amr"] = ["pwd", "mfa", "otp"]
    log_in(browser, provider)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET second_factor_required = 1")
    answer = log_in(browser, provider)
    assert answer.status_code == (302 if counts else 401)


def test_head_begins_and_ends_nothing(browser: TestClient, provider: Provider) -> None:
    """What only looks spends no state and sets no cookie."""
    assert browser.head("/auth/sso/corp/login").status_code == 405
    back = callback(provider.authorize(begin(browser)))
    assert browser.head(back).status_code == 405
    assert browser.get(back).status_code == 302


def test_an_unknown_provider_is_not_there(browser: TestClient, provider: Provider) -> None:
    """Nothing says what else there might be."""
    for path in ("login", "callback?code=a&state=b"):
        assert code_of(browser.get(f"/auth/sso/other/{path}")) == (404, "not_found")


@pytest.mark.parametrize("error", ["access_denied", "login_required", "<b>made up</b>"])
def test_the_provider_says_no(browser: TestClient, provider: Provider, error: str) -> None:
    """Its word is repeated where it is one of the standards', and the state is spent."""
    location = begin(browser)
    back = provider.authorize(location)
    answer = browser.get(callback({"error": error, "state": back["state"], "iss": provider.issuer}))
    assert code_of(answer) == (403, "sso_denied")
    assert answer.json().get("detail") == (error if "<" not in error else None)
    assert code_of(browser.get(callback(back))) == (400, "sso_state_invalid")


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_the_provider_says_not_now(browser: TestClient, provider: Provider, error: str) -> None:
    """That is a 503 with a time."""
    back = provider.authorize(begin(browser))
    answer = browser.get(callback({"error": error, "state": back["state"], "iss": provider.issuer}))
    assert code_of(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "10"


def test_a_provider_that_is_down_is_503(browser: TestClient, provider: Provider) -> None:
    """At the beginning and at the end; then it is asked again, a few seconds later."""
    provider.down = True
    answer = browser.get("/auth/sso/corp/login")
    assert code_of(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "10"


def test_a_provider_that_goes_down_meanwhile(browser: TestClient, provider: Provider) -> None:
    """Its token endpoint does not answer: 503, no session, and a new login works afterwards."""
    back = callback(provider.authorize(begin(browser)))
    provider.down = True
    assert code_of(browser.get(back)) == (503, "unavailable")
    assert browser.get("/auth/me").status_code == 401
    provider.down = False
    assert log_in(browser, provider).status_code == 302


def test_its_description_outlives_an_outage(browser: TestClient, provider: Provider) -> None:
    """What was fetched is used while the description is fresh: one fetch for many logins."""
    log_in(browser, provider)
    log_in(browser, provider)
    asked = [path for path, _, _ in provider.requests]
    assert asked.count("/.well-known/openid-configuration") == 1
    assert asked.count("/jwks") == 1


def test_a_refusal_is_a_page_for_a_browser(browser: TestClient, provider: Provider) -> None:
    """It says what to do, and nothing in it is run or loaded; a program gets problem details."""
    answer = browser.get(callback({"code": "<script>", "state": "x", "iss": "<img>"}), headers=PAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "begin again" in answer.text
    assert '<a href="/auth/sso/corp/login">' in answer.text
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    provider.down = True
    down = browser.get("/auth/sso/corp/login", headers=PAGE)
    assert (down.status_code, down.headers["retry-after"]) == (503, "10")
    assert browser.get(callback({})).headers["content-type"] == "application/problem+json"


def test_what_belongs_to_no_login_writes_nothing(browser: TestClient, gate: Limen) -> None:
    """Whoever sends answers of no provider, or codes that are none, fills no table."""

    async def events() -> int:
        return len(await gate.storage.events(limit=1_000))

    before = asyncio.run(events())
    for _ in range(3):
        browser.get(callback({"state": "x" * 43, "code": "y"}), headers={"Cookie": f"__Host-limen-sso={'z' * 43}"})
        browser.post("/auth/sso/exchange", json={"code": "x" * 43, "code_verifier": "v" * 43})
    assert asyncio.run(events()) == before


def test_a_page_about_a_401_names_the_schemes(browser: TestClient) -> None:
    """As every 401 does."""
    answer = browser.get("/auth/sso/corp/logout", headers=PAGE)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_a_public_address_only_this_machine_logs_in(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """The Host header of a stranger never becomes the address that codes are sent to."""
    gate = make_gate(declared(provider), public_url=None)
    local = serve(gate, "http://127.0.0.1:8000")
    location = begin(local)
    assert dict(parse_qsl(urlsplit(location).query))["redirect_uri"] == "http://127.0.0.1:8000/auth/sso/corp/callback"
    assert local.get(callback(provider.authorize(location))).status_code == 302
    assert "limen" in local.cookies
    stranger = local.get("/auth/sso/corp/login", headers={"Host": "evil.example"})
    assert code_of(stranger) == (503, "unavailable")


def test_nothing_secret_is_logged_or_kept(
    browser: TestClient, gate: Limen, provider: Provider, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    """Neither log nor database holds code, state, verifier, nonce, token or the browser's cookie."""
    caplog.set_level(logging.DEBUG, logger="limen")
    location = begin(browser)
    asked = dict(parse_qsl(urlsplit(location).query))
    back = provider.authorize(location)
    during = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    browser.get(callback(back))
    provider.sign = lambda claims: provider.signed(claims | {"nonce": "other"})
    log_in(browser, provider)
    after = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    _, form, _ = next(each for each in provider.requests if each[0] == "/token")
    secrets = {
        "code": back["code"],
        "state": asked["state"],
        "nonce": asked["nonce"],
        "verifier": form["code_verifier"],
        "browser": browser.cookies["__Host-limen-sso"],
        "session": browser.cookies["__Host-limen"],
        "access token": next(iter(provider.subjects)),
    }
    logged = caplog.text + "".join(str(vars(each)) for each in caplog.records if each.name.startswith("limen"))
    for name, secret in secrets.items():
        assert secret not in logged, name
        assert secret.encode() not in during + after, name
    assert "sso_refused" in caplog.text


async def test_fifty_callbacks_open_one_session(gate: Limen, provider: Provider, clock: TurnableClock) -> None:
    """Of fifty requests with the same answer of the provider, one gets a session; the code is redeemed once."""
    app = Starlette()
    gate.protect(app)
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as browser,
    ):
        going = await browser.get("/auth/sso/corp/login")
        back = callback(provider.authorize(going.headers["location"]))
        answers = await asyncio.gather(*(browser.get(back) for _ in range(50)))
        assert [each.status_code for each in answers].count(302) == 1
        assert {each.json()["code"] for each in answers if each.status_code == 400} == {"sso_state_invalid"}
        assert len([path for path, _, _ in provider.requests if path == "/token"]) == 1
        sub = (await browser.get("/auth/me")).json()["sub"]
        assert len((await gate.sessions.of_account(sub)).items) == 1


async def test_fifty_first_logins_make_one_account(gate: Limen, provider: Provider) -> None:
    """Fifty browsers of one person who is new here end in one account."""
    app = Starlette()
    gate.protect(app)

    async def one(number: int) -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as browser:
            going = await browser.get("/auth/sso/corp/login")
            coming = await browser.get(callback(provider.authorize(going.headers["location"])))
            assert coming.status_code == 302, coming.text
            sub: str = (await browser.get("/auth/me")).json()["sub"]
            return sub

    async with gate.running():
        assert len(set(await asyncio.gather(*(one(number) for number in range(50))))) == 1
        assert len((await gate.accounts.page()).items) == 1


def test_the_whole_way_on_postgresql(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, postgres_url: str
) -> None:
    """Login, session, roles and the provider's logout, where the database is another."""
    rule = {"makers": "maker"}
    browser = serve(make_gate(declared(provider, roles=rule, trusted_email=True), database_url=postgres_url))
    provider.claims["groups"] = ["makers"]
    for _ in range(2):
        assert log_in(browser, provider).status_code == 302
        assert me(browser)["roles"] == ["maker"]
    token = {"logout_token": provider.logout_token()}
    assert browser.post("/auth/sso/corp/backchannel-logout", data=token).status_code == 200
    assert browser.get("/auth/me").status_code == 401
