"""Logging out: at the provider too, and when the provider says so."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.features.sso.proofs import challenge_of
from tests.sso.conftest import HOST, PAGE, code_of, declared, kept, log_in, me
from tests.sso.provider import LOGOUT_EVENT, Provider
from tests.support.gates import PASSWORD
from tests.support.valkey import Server

OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
VERIFIER = "v" * 43


def csrf(browser: TestClient) -> dict[str, str]:
    """What a page of this origin sends with a change."""
    token = browser.get("/auth/session", headers=OWN).json()["csrf_token"]
    return {**OWN, "X-CSRF-Token": token}


def back_channel(browser: TestClient, token: str, name: str = "corp") -> Any:
    """Say that somebody has logged out at the provider."""
    return browser.post(f"/auth/sso/{name}/backchannel-logout", data={"logout_token": token})


def is_in(browser: TestClient) -> bool:
    """Tell whether the browser has a session."""
    return browser.get("/auth/me").status_code == 200


def mallorys_browser(gate: Limen, serve: Callable[..., TestClient], provider: Provider, subject: str) -> TestClient:
    """Return a browser in which somebody else has logged in."""
    other = serve(gate)
    provider.subject = subject
    log_in(other, provider)
    provider.subject = "Ann-1"
    return other


# --- OpenID Connect RP-Initiated Logout


def test_logging_out_goes_on_to_the_provider(browser: TestClient, provider: Provider) -> None:
    """With the ID token of this session as a hint, and the address that is registered, exactly."""
    tokens = kept(provider)
    log_in(browser, provider)
    answer = browser.post("/auth/sso/corp/logout?post_logout_redirect_uri=https://evil.example", headers=csrf(browser))
    assert answer.status_code == 200
    location = urlsplit(answer.json()["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == f"{provider.issuer}/end"
    assert dict(parse_qsl(location.query)) == {
        "kept": "1",
        "client_id": "limen-at-op",
        "id_token_hint": tokens[0],
        "post_logout_redirect_uri": f"{HOST}/",
    }
    assert answer.headers["clear-site-data"] == '"cache"'
    assert not is_in(browser)


def test_where_the_provider_sends_back_to_is_declared(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """The address of the declaration takes the place of the application's root."""
    browser = serve(make_gate(declared(provider, logout_url="https://app.example/bye")))
    log_in(browser, provider)
    location = browser.post("/auth/sso/corp/logout", headers=csrf(browser)).json()["location"]
    assert "post_logout_redirect_uri=" + quote("https://app.example/bye", safe="") in location


def test_an_image_logs_nobody_out(browser: TestClient, provider: Provider) -> None:
    """GET only asks; the page's form has the token of this session."""
    log_in(browser, provider)
    asked = browser.get("/auth/sso/corp/logout", headers={**PAGE, "Sec-Fetch-Site": "cross-site"})
    assert asked.status_code == 200
    assert is_in(browser)
    assert "form-action 'self'" in asked.headers["content-security-policy"]
    token = asked.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    for headers, field, status in (
        ({**OWN, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, token, 403),
        ({}, token, 403),
        (OWN, "x" * 43, 403),
        (OWN, "", 403),
    ):
        answer = browser.post("/auth/sso/corp/logout", data={"csrf_token": field}, headers={**PAGE, **headers})
        assert answer.status_code == status
        assert is_in(browser)
    done = browser.post("/auth/sso/corp/logout", data={"csrf_token": token}, headers={**PAGE, **OWN})
    assert done.status_code == 200
    assert f'http-equiv="refresh" content="0;url={provider.issuer}/end?kept=1&amp;client_id=' in done.text
    assert not is_in(browser)


def test_a_token_of_another_session_logs_nobody_out(
    browser: TestClient, gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """The attacker's own anti-forgery token does not fit the victim's cookie."""
    other = mallorys_browser(gate, serve, provider, "Mallory")
    token = csrf(other)["X-CSRF-Token"]
    log_in(browser, provider)
    answer = browser.post("/auth/sso/corp/logout", data={"csrf_token": token}, headers={**PAGE, **OWN})
    assert answer.status_code == 403
    assert browser.post("/auth/sso/corp/logout", headers={**OWN, "X-CSRF-Token": token}).status_code == 403
    assert is_in(browser)


def test_a_session_of_a_password_does_not_go_to_the_provider(browser: TestClient, provider: Provider) -> None:
    """It ends here, and there is nowhere to go on to."""
    browser.post("/auth/register", json={"username": "ann", "password": PASSWORD})
    browser.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    answer = browser.post("/auth/sso/corp/logout", headers=csrf(browser))
    assert answer.json() == {"location": None}
    assert not is_in(browser)


def test_a_provider_that_is_down_keeps_nobody_in(
    browser: TestClient, gate: Limen, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session ends here first."""
    from limen.features.sso import discovery

    log_in(browser, provider)
    monkeypatch.setattr(discovery, "REFRESH_SECONDS", -1.0)
    monkeypatch.setattr(discovery, "KEEP_SECONDS", -1.0)
    provider.down = True
    answer = browser.post("/auth/sso/corp/logout", headers=csrf(browser))
    assert answer.json() == {"location": None}
    assert not is_in(browser)


def test_nobody_logs_out(browser: TestClient) -> None:
    """Without a session there is nothing to end."""
    assert browser.post("/auth/sso/corp/logout").status_code == 401
    assert browser.get("/auth/sso/corp/logout").status_code == 401
    assert browser.post("/auth/sso/other/logout").status_code in (401, 404)


# --- OpenID Connect Back-Channel Logout


def test_a_logout_elsewhere_ends_the_session_here(
    browser: TestClient, gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Of that subject, and of nobody else; sessions by password go on."""
    other = mallorys_browser(gate, serve, provider, "Bob-2")
    by_password = serve(gate)
    by_password.post("/auth/register", json={"username": "ann", "password": PASSWORD})
    by_password.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    log_in(browser, provider)
    answer = back_channel(browser, provider.logout_token())
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert [is_in(each) for each in (browser, other, by_password)] == [False, True, True]


def test_it_ends_sessions_that_are_used_in_valkey(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider, valkey: Server
) -> None:
    """The row is the database's there too, and the session goes with it."""
    browser = serve(make_gate(declared(provider), session_store="valkey", valkey_url=valkey.url))
    assert log_in(browser, provider).status_code == 302
    assert is_in(browser)
    assert back_channel(browser, provider.logout_token()).status_code == 200
    assert not is_in(browser)


def test_a_logout_of_one_session_leaves_the_others(
    browser: TestClient, gate: Limen, serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Where the token names the provider's session, that one ends, of this very subject."""
    second = serve(gate)
    log_in(browser, provider)
    provider.id_token = lambda told: told | {"sid": "another"}
    log_in(second, provider)
    assert back_channel(browser, provider.logout_token(sub=None, sid="op-Ann-1")).status_code == 200
    assert [is_in(each) for each in (browser, second)] == [False, True]
    assert back_channel(browser, provider.logout_token(sub="Bob-2", sid="another")).status_code == 200
    assert is_in(second)
    assert back_channel(browser, provider.logout_token(sid="another")).status_code == 200
    assert not is_in(second)


def test_tokens_of_an_exchange_die_too(browser: TestClient, gate: Limen, provider: Provider) -> None:
    """An access token is refused at once in this process, and the refresh token is spent."""
    challenge = f"&code_challenge={challenge_of(VERIFIER)}&code_challenge_method=S256"
    location = log_in(browser, provider, f"?next=/spa{challenge}").headers["location"]
    body = {"code": location.partition("code=")[2], "code_verifier": VERIFIER}
    tokens = browser.post("/auth/sso/exchange", json=body).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert browser.get("/auth/me", headers=bearer).status_code == 200
    assert back_channel(browser, provider.logout_token()).status_code == 200
    assert code_of(browser.get("/auth/me", headers=bearer)) == (401, "session_ended")
    refreshed = browser.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert code_of(refreshed) == (401, "invalid_refresh_token")


@pytest.mark.parametrize("named", [{}, {"sub": None, "sid": "op-Ann-1"}], ids=["person", "session"])
def test_a_code_that_is_under_way_dies_too(browser: TestClient, provider: Provider, named: Any) -> None:
    """Whoever logged out at the provider gets no tokens afterwards, whether the token names them or the session."""
    challenge = f"&code_challenge={challenge_of(VERIFIER)}&code_challenge_method=S256"
    location = log_in(browser, provider, f"?next=/spa{challenge}").headers["location"]
    assert back_channel(browser, provider.logout_token(**named)).status_code == 200
    body = {"code": location.partition("code=")[2], "code_verifier": VERIFIER}
    assert code_of(browser.post("/auth/sso/exchange", json=body)) == (400, "sso_code_invalid")


def test_a_logout_token_is_used_once(browser: TestClient, provider: Provider) -> None:
    """A copy of it ends no later session."""
    token = provider.logout_token()
    assert back_channel(browser, token).status_code == 200
    log_in(browser, provider)
    assert code_of(back_channel(browser, token)) == (400, "sso_failed")
    assert is_in(browser)


async def test_fifty_copies_of_a_logout_token(gate: Limen, provider: Provider) -> None:
    """Of fifty at once, one is heard."""
    app = Starlette()
    gate.protect(app)
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST) as client,
    ):
        body = {"logout_token": provider.logout_token()}
        asking = (client.post("/auth/sso/corp/backchannel-logout", data=body) for _ in range(50))
        assert sorted(each.status_code for each in await asyncio.gather(*asking)) == [200, *[400] * 49]


NOW = int(time.time())
WRONG: dict[str, dict[str, Any]] = {
    "iss of another": {"iss": "https://other.example"},
    "aud of another": {"aud": "somebody-else"},
    "no events": {"events": None},
    "other events": {"events": {"https://other.example/event": {}}},
    "events no object": {"events": LOGOUT_EVENT},
    "event no object": {"events": {LOGOUT_EVENT: True}},
    "a nonce": {"nonce": "n"},
    "no jti": {"jti": None},
    "no one": {"sub": None},
    "expired": {"iat": NOW - 600, "exp": NOW - 300},
    "no exp": {"exp": None},
    "for a day": {"exp": NOW + 86_400},
    "of the future": {"iat": NOW + 3_600, "exp": NOW + 3_700},
    "another type": {"typ": "JWT"},
    "an access token": {"typ": "at+jwt"},
    "another key": {"key": 1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_logout_token_that_is_not_believed(browser: TestClient, provider: Provider, wrong: str) -> None:
    """It ends nothing (Back-Channel Logout, section 2.6)."""
    log_in(browser, provider)
    assert code_of(back_channel(browser, provider.logout_token(**WRONG[wrong]))) == (400, "sso_failed")
    assert is_in(browser)


def test_an_id_token_is_no_logout_token(browser: TestClient, provider: Provider) -> None:
    """Whoever has seen somebody's ID token cannot end their sessions with it."""
    tokens = kept(provider)
    log_in(browser, provider)
    assert code_of(back_channel(browser, tokens[0])) == (400, "sso_failed")
    assert is_in(browser)


def test_an_old_provider_may_leave_out_the_type(
    make_gate: Callable[..., Limen], serve: Callable[..., TestClient], provider: Provider
) -> None:
    """Where that is declared; an ID token is none even then."""
    tokens = kept(provider)
    browser = serve(make_gate(declared(provider, untyped_logout=True)))
    log_in(browser, provider)
    assert back_channel(browser, tokens[0]).status_code == 400
    assert is_in(browser)
    assert back_channel(browser, provider.logout_token(typ=None)).status_code == 200
    assert not is_in(browser)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 400),
        (b"logout_token=x", "application/json", 415),
        (b"logout_token=x", "text/plain", 415),
        (b"logout_token=x&logout_token=y", "application/x-www-form-urlencoded", 400),
        (b"logout_token=\xff", "application/x-www-form-urlencoded", 400),
        (b"logout_token=x", "application/x-www-form-urlencoded", 400),
        (b"logout_token=" + b"x" * 40_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded", 400),
    ],
    ids=["empty", "JSON", "text", "twice", "bytes", "no token", "too large", "many fields"],
)
def test_a_form_that_is_none(browser: TestClient, content: bytes, content_type: str, status: int) -> None:
    """Bad input is 4xx with a code."""
    headers = {"Content-Type": content_type}
    answer = browser.post("/auth/sso/corp/backchannel-logout", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["code"]


def test_while_the_keys_cannot_be_had_nothing_ends(browser: TestClient, provider: Provider) -> None:
    """The provider is told to try again."""
    token = provider.logout_token()
    provider.down = True
    answer = back_channel(browser, token)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


def test_the_sessions_of_a_login_are_recorded(browser: TestClient, gate: Limen, provider: Provider) -> None:
    """The audit trail names the provider at the login, and at the logout that it asked for."""
    log_in(browser, provider)
    who = me(browser)
    back_channel(browser, provider.logout_token())
    events = asyncio.run(_events(gate))
    assert ("login_succeeded", who["sub"], {"grant": "sso", "provider": "corp"}) in events
    assert ("sessions_ended", "sso:corp", {"reason": "sso_logout", "provider": "corp"}) in events


async def _events(gate: Limen) -> list[tuple[str, str, Any]]:
    return [(each.event, each.actor, each.data) for each in await gate.storage.events(limit=1_000)]


def test_a_callback_after_the_logout_begins_anew(browser: TestClient, provider: Provider) -> None:
    """A login that is begun after a back-channel logout opens a session as ever."""
    log_in(browser, provider)
    back_channel(browser, provider.logout_token())
    assert log_in(browser, provider).status_code == 302
    assert is_in(browser)
