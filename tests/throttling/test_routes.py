"""Throttling over HTTP: the answer, its fields, the cookie of known devices, and the routes it stands before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.rates import Rate
from limen.features.throttling.requests import Purpose
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for, settings_for

WRONG = "wrong horse battery staple"
LOCAL = "http://localhost"


def client_of(gate: Limen) -> TestClient:
    """Return a client of an application that has nothing but limen's own routes."""
    app = Starlette()
    gate.protect(app)
    return TestClient(app, base_url=LOCAL, headers={"Origin": LOCAL})


@pytest.fixture
def client(tmp_path: Path, clock: TurnableClock) -> Iterator[TestClient]:
    """A client of a gate where ann has an account."""
    with client_of(gate_for(tmp_path, clock=clock, login_limit="3/minute", register_limit="4/minute")) as client:
        assert client.post("/auth/register", json={"username": "ann", "password": PASSWORD}).status_code == 201
        yield client


@pytest.mark.parametrize("path", ["/auth/login", "/auth/session"])
@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_too_many_attempts_are_told_when_to_come_again(
    client: TestClient, hashed: list[str], path: str, name: str
) -> None:
    """429, a problem with Retry-After and the RateLimit fields: for whom there is and for whom there is not."""
    for _ in range(3):
        assert client.post(path, json={"username": name, "password": WRONG}).status_code == 401
    answer = client.post(path, json={"username": name, "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "rate_limited"
    assert answer.json()["title"] == "Too many attempts."
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["ratelimit-policy"] == '"login-account";q=3;w=60'
    assert answer.headers["ratelimit"] == '"login-account";r=0;t=60'
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert len(hashed) == 3


def test_both_ways_to_log_in_are_one_limit(client: TestClient, hashed: list[str], clock: TurnableClock) -> None:
    """Tokens and cookies are given for the same password, so its guesses are counted together."""
    paths = ["/auth/login", "/auth/session"] * 2
    codes = [client.post(path, json={"username": "ann", "password": WRONG}).status_code for path in paths]
    assert codes == [401, 401, 401, 429]
    clock.turn(60)
    assert client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("path", ["/auth/login", "/auth/session"])
def test_where_somebody_logged_in_they_are_known(client: TestClient, hashed: list[str], path: str) -> None:
    """The browser keeps a cookie that no script reads, and gets in while strangers do not."""
    answer = client.post(path, json={"username": "Ann", "password": PASSWORD})
    given = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("limen-device="))
    assert given.partition("; ")[2] == "Max-Age=34560000; Path=/; HttpOnly; SameSite=Strict"
    cookie = given.partition(";")[0]
    client.cookies.clear()
    for _ in range(4):
        client.post(path, json={"username": "ann", "password": WRONG})
    right = {"username": "ann", "password": PASSWORD}
    assert client.post(path, json=right).status_code == 429
    assert client.post(path, json=right, headers={"Cookie": f"{cookie}; {cookie}"}).status_code == 429
    assert client.post(path, json=right, headers={"Cookie": cookie}).status_code == 200


def test_behind_tls_the_cookie_has_the_prefix(tmp_path: Path) -> None:
    """Which no sub-domain and no plain http can set: Secure, for this host, for the whole of it."""
    with client_of(gate_for(tmp_path, public_url="https://limen.example")) as client:
        client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
        answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD})
        (given,) = answer.headers.get_list("set-cookie")
        assert given.startswith("__Host-limen-device=")
        assert given.endswith("; Max-Age=34560000; Path=/; Secure; HttpOnly; SameSite=Strict")


def test_registration_is_limited_by_network(client: TestClient) -> None:
    """A taken name cannot be hidden, so names are not asked for without end."""
    answers = [client.post("/auth/register", json={"username": f"b-{at}", "password": PASSWORD}) for at in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert answers[-1].headers["ratelimit-policy"] == '"register-network";q=4;w=60'


def test_the_present_password_is_not_guessed_by_who_has_a_session(client: TestClient, hashed: list[str]) -> None:
    """Ten wrong ones in a row, and the right one is answered the same; a login begins the count anew."""
    right = {"username": "ann", "password": PASSWORD}
    token = client.post("/auth/login", json=right).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    def change(current: str) -> int:
        body = {"current_password": current, "new_password": "another horse battery staple"}
        return client.post("/auth/password", json=body, headers=headers).status_code

    assert [change(WRONG) for _ in range(10)] == [401] * 10
    assert change(PASSWORD) == 429
    assert client.post("/auth/login", json=right).status_code == 200
    assert change(PASSWORD) == 204


def test_refreshes_that_are_refused_are_limited_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is over cannot be asked for without end; who refreshes is counted nowhere."""
    monkeypatch.setattr("limen.features.throttling.requests.BY_NETWORK", {Purpose.REFRESH: Rate(3, 900)})
    with client_of(gate_for(tmp_path)) as client:
        client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
        tokens = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()
        for _ in range(8):
            answer = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
            assert answer.status_code == 200
            tokens = answer.json()
        refused = [client.post("/auth/refresh", json={"refresh_token": "nothing"}).status_code for _ in range(4)]
        assert refused == [401, 401, 401, 429]


def test_keys_are_limited_by_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills the store with keys of their own."""
    monkeypatch.setattr("limen.features.throttling.requests.BY_KEY", {Purpose.KEYS: Rate(2, 900)})
    gate = Limen(settings_for(tmp_path), roles={"maker": ["api-keys:own"]})
    with client_of(gate) as client:
        assert client.portal is not None
        client.portal.call(lambda: gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"})))
        token = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
        made = [
            client.post("/auth/api-keys", json={"name": "a key"}, headers={"Authorization": f"Bearer {token}"})
            for _ in range(3)
        ]
        assert [answer.status_code for answer in made] == [201, 201, 429]


def test_switched_off_nothing_is_counted(tmp_path: Path, hashed: list[str]) -> None:
    """And no cookie is set."""
    with client_of(gate_for(tmp_path, throttle="off", login_limit="1/minute")) as client:
        client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
        codes = [client.post("/auth/login", json={"username": "ann", "password": WRONG}).status_code for _ in range(20)]
        assert codes == [401] * 20
        assert "set-cookie" not in client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).headers


def test_in_memory_no_question_is_asked_of_the_store(tmp_path: Path, hashed: list[str]) -> None:
    """One process counts by itself, by the same rules."""
    with client_of(gate_for(tmp_path, throttle="memory", login_limit="2/minute")) as client:
        codes = [client.post("/auth/login", json={"username": "ann", "password": WRONG}).status_code for _ in range(3)]
        assert codes == [401, 401, 429]
