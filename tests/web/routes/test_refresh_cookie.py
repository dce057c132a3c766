"""The refresh token as a cookie: asked for at a login, sent to limen's own routes alone, and for no script to read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from limen import Limen
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for
from tests.web.routes.test_own_routes import bearer, code_of, register

HOST = "https://app.example"
LISTED = "https://pages.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
NAME = "__Secure-limen-refresh"

FOREIGN: dict[str, dict[str, str]] = {
    "nothing at all": {},
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "a sub-domain": {"Sec-Fetch-Site": "same-site", "Origin": "https://sub.app.example"},
    "the address bar": {"Sec-Fetch-Site": "none"},
    "an older browser, another port": {"Origin": "https://app.example:8443"},
    "a sandboxed page": {"Origin": "null"},
    "two origins": {"Origin": f"{HOST}, {HOST}"},
}


@pytest.fixture
def clock() -> TurnableClock:
    """The clock of gate and database."""
    return TurnableClock()


@pytest.fixture
def gate(tmp_path: Path, clock: TurnableClock) -> Limen:
    """A gate that is started with the client."""
    return gate_for(tmp_path, clock=clock, cors_origins=[LISTED])


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client, over https, which keeps no cookie of its own accord: each test says what is sent."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app, base_url=HOST, cookies=None) as client:
        register(client, "ann")
        register(client, "bob")
        yield client


def log_in(client: TestClient, username: str = "ann", headers: dict[str, str] = OWN, **fields: Any) -> Any:
    """Log in and ask for the cookie; the client forgets it at once."""
    body = {"username": username, "password": PASSWORD, "refresh": "cookie", **fields}
    answer = client.post("/auth/login", json=body, headers=headers)
    client.cookies.clear()
    return answer


def cookie_of(answer: Any) -> str:
    """Return the refresh token that the answer's cookie holds."""
    assert answer.status_code == 200, answer.text
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    assert name == NAME
    return str(value)


def send(client: TestClient, path: str, *cookies: str, headers: dict[str, str] = OWN, json: Any = None) -> Any:
    """Post with exactly these refresh cookies."""
    sent = {**headers, "Cookie": "; ".join(f"{NAME}={cookie}" for cookie in cookies)}
    answer = client.post(path, headers=sent, **({"json": json} if json is not None else {}))
    client.cookies.clear()
    return answer


def test_the_answer_has_no_refresh_token(client: TestClient) -> None:
    """Neither that of a login nor that of a refresh: it is in the cookie, and nowhere that a script could read."""
    answer = log_in(client)
    first = cookie_of(answer)
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "refresh_expires_in"}
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/auth/me", headers=bearer(answer.json()["access_token"])).json()["username"] == "ann"
    refreshed = send(client, "/auth/refresh", first)
    second = cookie_of(refreshed)
    assert set(refreshed.json()) == set(answer.json())
    assert second != first
    assert second not in refreshed.text


def test_the_cookie_has_all_of_its_attributes(client: TestClient) -> None:
    """Secure, HttpOnly, Strict, limen's own routes and no others, no Domain, as long as the token; under 4096 bytes."""
    header, _ = log_in(client).headers.get_list("set-cookie")
    _, *attributes = [each.strip() for each in header.split(";")]
    assert set(attributes) == {"Max-Age=604800", "Path=/auth", "Secure", "HttpOnly", "SameSite=Strict"}
    assert len(header) < 4096


def test_without_being_asked_for_there_is_none(client: TestClient) -> None:
    """A login that does not ask for the cookie answers both tokens, as ever, and sets none."""
    for body in ({}, {"refresh": "body"}):
        answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD, **body})
        assert "refresh_token" in answer.json()
        (given,) = answer.headers.get_list("set-cookie")
        assert given.startswith("__Host-limen-device=")
    refused = client.post("/auth/login", json={"username": "ann", "password": PASSWORD, "refresh": "Cookie"})
    assert code_of(refused) == (422, "invalid_input")


@pytest.mark.parametrize(
    ("url", "name", "secure"),
    [("http://localhost:8000", "limen-refresh", False), ("http://app.internal", NAME, True)],
)
def test_the_cookie_on_plain_http(gate: Limen, url: str, name: str, secure: bool) -> None:
    """Without TLS it goes without its prefix at a loopback address only."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app, base_url=url) as client:
        register(client, "ann")
        header, _ = log_in(client, headers={"Origin": url}).headers.get_list("set-cookie")
        assert header.startswith(f"{name}=")
        assert ("Secure" in header.split("; ")) == secure


@pytest.mark.parametrize(
    ("mounted", "public_url", "prefix", "path"),
    [
        ("/shop", None, "/auth", "/shop/auth"),
        ("/sh;op", None, "/auth", "/sh%3Bop/auth"),
        ("", "https://app.example/base", "/auth", "/base/auth"),
        ("", None, "/identity", "/identity"),
    ],
)
def test_the_path_is_the_browsers(tmp_path: Path, mounted: str, public_url: str | None, prefix: str, path: str) -> None:
    """Below a mount, behind a proxy that takes a part of the path away, and with another prefix."""
    gate = gate_for(tmp_path, public_url=public_url)
    inner = Starlette()
    gate.protect(inner, prefix=prefix)
    app = Starlette(routes=[Mount(mounted, app=inner)]) if mounted else inner
    with TestClient(app, base_url=HOST) as client:
        body = {"username": "ann", "password": PASSWORD}
        assert client.post(f"{mounted}{prefix}/register", json=body).status_code == 201
        answer = client.post(f"{mounted}{prefix}/login", json={**body, "refresh": "cookie"}, headers=OWN)
        assert f"; Path={path}; " in answer.headers["set-cookie"]


@pytest.mark.parametrize("page", FOREIGN)
def test_a_foreign_page_uses_no_cookie(client: TestClient, page: str) -> None:
    """Not for a login, a refresh or a logout: 403, nothing is set, and the session is as before."""
    token = cookie_of(log_in(client))
    assert code_of(log_in(client, headers=FOREIGN[page])) == (403, "csrf_failed")
    for path in ("/auth/refresh", "/auth/logout"):
        for json in (None, {}, {"refresh_token": token}):
            answer = send(client, path, token, headers=FOREIGN[page], json=json)
            assert code_of(answer) == (403, "csrf_failed")
            assert "set-cookie" not in answer.headers
    assert send(client, "/auth/refresh", token).status_code == 200


def test_a_listed_origin_may(client: TestClient) -> None:
    """A page of an origin that LIMEN_CORS_ORIGINS lists refreshes by the cookie, and may read the answer."""
    page = {"Sec-Fetch-Site": "same-site", "Origin": LISTED}
    token = cookie_of(log_in(client, headers=page))
    answer = send(client, "/auth/refresh", token, headers=page)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == LISTED
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_two_cookies_are_refused(client: TestClient) -> None:
    """A sub-domain can plant a second one of the same name: which of them counts is not for chance to say."""
    mine, planted = cookie_of(log_in(client)), cookie_of(log_in(client, "bob"))
    for path in ("/auth/refresh", "/auth/logout"):
        for cookies in ((mine, planted), (planted, mine), (mine, mine)):
            assert code_of(send(client, path, *cookies)) == (401, "credential_malformed")
    for token in (mine, planted):
        assert send(client, "/auth/refresh", token).status_code == 200


def test_another_token_in_the_body_is_refused(client: TestClient) -> None:
    """400: whose session is meant would be a guess. The same token in both is one token, answered as a cookie."""
    mine, other = cookie_of(log_in(client)), cookie_of(log_in(client, "bob"))
    for path in ("/auth/refresh", "/auth/logout"):
        refused = send(client, path, mine, json={"refresh_token": other})
        assert code_of(refused) == (400, "credentials_conflict")
        assert "set-cookie" not in refused.headers
    both = send(client, "/auth/refresh", mine, json={"refresh_token": mine})
    assert cookie_of(both) != mine
    assert "refresh_token" not in both.json()
    assert send(client, "/auth/refresh", other, json={}).status_code == 200


@pytest.mark.parametrize("value", ["", "x", "a.b.c", '"quoted"', "caf\u00e9", "A" * 8192])
def test_what_is_no_token_is_refused_and_clears_nothing(client: TestClient, value: str) -> None:
    """401 with a code: another tab may have been given a good one in the meantime."""
    headers = [(name.encode(), value.encode()) for name, value in OWN.items()]
    answer = client.post("/auth/refresh", headers=[*headers, (b"Cookie", f"{NAME}={value}".encode())])
    assert code_of(answer)[0] == 401
    assert "set-cookie" not in answer.headers
    assert "clear-site-data" not in answer.headers


def test_two_tabs_refresh_at_once(client: TestClient, clock: TurnableClock) -> None:
    """Within the leeway both are given the same successor; later the spent one ends the session, clearing no cookie."""
    token = cookie_of(log_in(client))
    first = cookie_of(send(client, "/auth/refresh", token))
    assert cookie_of(send(client, "/auth/refresh", token)) == first
    clock.turn(11)
    late = send(client, "/auth/refresh", token)
    assert code_of(late) == (401, "invalid_refresh_token")
    assert "set-cookie" not in late.headers
    assert code_of(send(client, "/auth/refresh", first)) == (401, "invalid_refresh_token")


def test_a_login_ends_the_session_it_takes_the_place_of(client: TestClient) -> None:
    """Nobody holds its token any more; a token that is not ours changes nothing."""
    before = cookie_of(log_in(client))
    answer = log_in(client, "bob", headers={**OWN, "Cookie": f"{NAME}={before}"})
    assert cookie_of(answer) != before
    assert code_of(send(client, "/auth/refresh", before)) == (401, "invalid_refresh_token")
    assert log_in(client, headers={**OWN, "Cookie": f"{NAME}=nonsense"}).status_code == 200


def test_a_failed_login_ends_and_sets_nothing(client: TestClient) -> None:
    """A wrong password leaves the session of the cookie that came along as it was."""
    token = cookie_of(log_in(client))
    body = {"username": "ann", "password": "not the right one", "refresh": "cookie"}
    refused = client.post("/auth/login", json=body, headers={**OWN, "Cookie": f"{NAME}={token}"})
    assert code_of(refused) == (401, "invalid_credentials")
    assert "set-cookie" not in refused.headers
    assert send(client, "/auth/refresh", token).status_code == 200


def assert_cleared(answer: Any) -> None:
    """Check that the browser is told to forget the cookie and what it cached, and nothing else."""
    assert answer.status_code == 204
    assert answer.headers["set-cookie"] == f"{NAME}=; Max-Age=0; Path=/auth; Secure; HttpOnly; SameSite=Strict"
    assert answer.headers["clear-site-data"] == '"cache"'


def test_logout_by_the_cookie(client: TestClient, clock: TurnableClock) -> None:
    """It ends the session and clears the cookie: with or without an access token, also an expired one, also twice."""
    answer = log_in(client)
    token, access = cookie_of(answer), answer.json()["access_token"]
    clock.turn(1_000)
    assert_cleared(send(client, "/auth/logout", token, headers={**OWN, **bearer(access)}))
    assert code_of(send(client, "/auth/refresh", token)) == (401, "invalid_refresh_token")
    assert_cleared(send(client, "/auth/logout", token))
    assert_cleared(send(client, "/auth/logout", "nonsense"))
    again = cookie_of(log_in(client))
    assert_cleared(send(client, "/auth/logout", again, json={}))


def test_logout_ends_what_else_the_request_came_with(client: TestClient) -> None:
    """An access token of another session: both end. A malformed header ends nothing."""
    answer, other = log_in(client), log_in(client)
    token, access = cookie_of(answer), other.json()["access_token"]
    refused = send(client, "/auth/logout", token, headers={**OWN, "Authorization": "Bearer"})
    assert code_of(refused) == (401, "credential_malformed")
    assert_cleared(send(client, "/auth/logout", token, headers={**OWN, **bearer(access)}))
    assert code_of(send(client, "/auth/refresh", cookie_of(other))) == (401, "invalid_refresh_token")
    assert code_of(client.get("/auth/me", headers=bearer(access))) == (401, "session_ended")


def test_a_session_cookie_without_its_proof_stays(client: TestClient) -> None:
    """A logout by the refresh cookie ends the cookie session beside it only with that session's own token."""
    opened = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    session, csrf = opened.headers["set-cookie"].partition(";")[0], opened.json()["csrf_token"]
    for proof, alive in (({}, 200), ({"X-CSRF-Token": csrf}, 401)):
        token = cookie_of(log_in(client))
        sent = {**OWN, **proof, "Cookie": f"{session}; {NAME}={token}"}
        answer = client.post("/auth/logout", headers=sent)
        client.cookies.clear()
        assert answer.status_code == 204
        assert ("__Host-limen=;" in ", ".join(answer.headers.get_list("set-cookie"))) == (alive == 401)
        assert code_of(send(client, "/auth/refresh", token)) == (401, "invalid_refresh_token")
        assert client.get("/auth/me", headers={"Cookie": session}).status_code == alive


def test_logout_everywhere_clears_it(client: TestClient) -> None:
    """Its session ended with the others."""
    answer = log_in(client)
    token = cookie_of(answer)
    assert_cleared(send(client, "/auth/logout-all", token, headers=bearer(answer.json()["access_token"])))
    assert code_of(send(client, "/auth/refresh", token)) == (401, "invalid_refresh_token")


def test_it_opens_nothing_but_a_refresh(client: TestClient) -> None:
    """On every other route a refresh cookie is no credential."""
    token = cookie_of(log_in(client))
    answer = client.get("/auth/me", headers={**OWN, "Cookie": f"{NAME}={token}"})
    assert code_of(answer) == (401, "credential_missing")
    assert code_of(client.post("/auth/refresh", headers=OWN)) == (415, "unsupported_media_type")
