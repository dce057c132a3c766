"""``/auth/sessions``: one's own sessions, listed and ended."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from tests.support.gates import PASSWORD
from tests.web.routes.test_own_routes import bearer, code_of, login, register

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0"
ADDRESS = "192.0.2.9"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client with an address."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app, client=(ADDRESS, 50_000)) as client:
        yield client


def logged_in(client: TestClient, username: str = "ann", user_agent: str = "curl/8.5.0") -> dict[str, Any]:
    """Log in, with an account that is made where it is not there, and return the tokens."""
    register(client, username)
    answer = client.post(
        "/auth/login", json={"username": username, "password": PASSWORD}, headers={"User-Agent": user_agent}
    )
    tokens: dict[str, Any] = answer.json()
    return tokens


def sessions(client: TestClient, tokens: dict[str, Any], query: str = "") -> Any:
    """List the sessions as whoever has these tokens."""
    answer = client.get(f"/auth/sessions{query}", headers=bearer(tokens["access_token"]))
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def end(client: TestClient, tokens: dict[str, Any], sid: str) -> Any:
    """End a session as whoever has these tokens."""
    return client.delete(f"/auth/sessions/{sid}", headers=bearer(tokens["access_token"]))


def sid_of(client: TestClient, tokens: dict[str, Any]) -> str:
    """Return the id of the session."""
    answer: str = client.get("/auth/me", headers=bearer(tokens["access_token"])).json()["sid"]
    return answer


def test_my_sessions_are_listed(client: TestClient) -> None:
    """Each with its device and its times, and which one it is that asks; nobody else's."""
    first = logged_in(client, user_agent=FIREFOX)
    second = logged_in(client)
    logged_in(client, "bob")
    listed = sessions(client, second)
    assert listed["next"] is None
    by_id = {item["id"]: item for item in listed["items"]}
    assert set(by_id) == {sid_of(client, first), sid_of(client, second)}
    item = by_id[sid_of(client, first)]
    assert set(item) == {
        "id",
        "kind",
        "device",
        "user_agent",
        "address",
        "created_at",
        "last_used_at",
        "current",
    }
    assert (item["kind"], item["device"], item["user_agent"]) == ("refresh", "Firefox on Windows", FIREFOX)
    assert item["address"] == ADDRESS
    assert TIME.match(item["created_at"])
    assert TIME.match(item["last_used_at"])
    assert not item["current"]
    assert by_id[sid_of(client, second)]["current"]


def test_sessions_come_in_pages(client: TestClient) -> None:
    """Following ``next`` meets each once, whatever the size of a page."""
    all_tokens = [logged_in(client) for _ in range(5)]
    met: list[str] = []
    query = "?limit=2"
    while True:
        page = sessions(client, all_tokens[0], query)
        assert len(page["items"]) <= 2
        met += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit=2&after={page['next']}"
    assert sorted(met) == sorted(sid_of(client, tokens) for tokens in all_tokens)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1e2",
        "limit=%D9%A1",
        "limit=" + "9" * 5000,
        "after=1",
        "after=%00",
        "after=a%27--",
        "limit=1&limit=2",
    ],
)
def test_a_page_that_is_none_is_refused(client: TestClient, query: str) -> None:
    """What is no limit and no place in the list is 422, and never the first page."""
    tokens = logged_in(client)
    answer = client.get(f"/auth/sessions?{query}", headers=bearer(tokens["access_token"]))
    assert code_of(answer) == (422, "invalid_input")


def test_ending_one_leaves_the_others(client: TestClient) -> None:
    """204; its tokens are dead at once, the others' live, and doing it again is 404."""
    lost, mine = logged_in(client), logged_in(client)
    sid = sid_of(client, lost)
    answer = end(client, mine, sid)
    assert (answer.status_code, answer.content) == (204, b"")
    assert code_of(client.get("/auth/me", headers=bearer(lost["access_token"]))) == (401, "session_ended")
    refused = client.post("/auth/refresh", json={"refresh_token": lost["refresh_token"]})
    assert code_of(refused) == (401, "invalid_refresh_token")
    assert client.post("/auth/refresh", json={"refresh_token": mine["refresh_token"]}).status_code == 200
    assert code_of(end(client, mine, sid)) == (404, "not_found")


@pytest.mark.parametrize(
    "sid",
    [
        "00000000-0000-7000-8000-000000000000",
        "0",
        "me",
        "%00",
        "%27%20OR%201=1--",
        "%F0%9F%94%91",
        "A" * 5000,
    ],
)
def test_what_is_no_session_is_404(client: TestClient, sid: str) -> None:
    """An unknown id and a text that is none are one answer."""
    assert code_of(end(client, logged_in(client), sid)) == (404, "not_found")


def test_anothers_session_is_not_there(client: TestClient, gate: Limen) -> None:
    """404 as for an unknown one; it lives, and nothing is recorded as ended."""
    mine, others = logged_in(client), logged_in(client, "bob")
    unknown = end(client, mine, "00000000-0000-7000-8000-000000000000").json()
    answer = end(client, mine, sid_of(client, others))
    assert code_of(answer) == (404, "not_found")
    assert {**answer.json(), "trace_id": ""} == {**unknown, "trace_id": ""}
    assert client.post("/auth/refresh", json={"refresh_token": others["refresh_token"]}).status_code == 200
    assert client.portal is not None
    events = client.portal.call(_events, gate)
    assert "session_ended" not in events


async def _events(gate: Limen) -> list[str]:
    return [event.event for event in await gate.storage.events(limit=1000)]


def test_the_listed_id_opens_nothing(client: TestClient) -> None:
    """R051, CVE-2020-5224: whoever reads the list has no credential: not as a token, not as a refresh token."""
    tokens = logged_in(client)
    (item,) = sessions(client, tokens)["items"]
    sid = item["id"]
    for value in (f"Bearer {sid}", sid, f"Bearer {sid}.{sid}.{sid}", f"Session {sid}"):
        assert client.get("/auth/me", headers={"Authorization": value}).status_code == 401
    assert client.get("/auth/me", headers={"Cookie": f"limen={sid}; __Host-limen={sid}"}).status_code == 401
    assert code_of(client.post("/auth/refresh", json={"refresh_token": sid})) == (401, "invalid_refresh_token")
    assert client.post("/auth/logout", json={"refresh_token": sid}).status_code == 204
    assert client.get("/auth/me", headers=bearer(tokens["access_token"])).status_code == 200
    secrets = {part for token in ("access_token", "refresh_token") for part in tokens[token].split(".")[1:]}
    assert not secrets & set(map(str, item.values()))


@pytest.mark.parametrize(("method", "path"), [("GET", "/auth/sessions"), ("DELETE", "/auth/sessions/0")])
def test_sessions_are_asked_live(client: TestClient, gate: Limen, method: str, path: str) -> None:
    """Nobody without a token; and a session that ended a moment ago in another process lists and ends nothing."""
    assert code_of(client.request(method, path)) == (401, "credential_missing")
    tokens = logged_in(client)
    client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})
    gate.ended.clear()  # as in a process that has not read the list yet
    assert code_of(client.request(method, path, headers=bearer(tokens["access_token"]))) == (401, "session_ended")


def test_an_ending_says_who_and_what(client: TestClient, gate: Limen) -> None:
    """The event names the account, the session that ended and the one that ended it."""
    lost, mine = logged_in(client), logged_in(client)
    sid, by = sid_of(client, lost), sid_of(client, mine)
    assert login(client).status_code == 200
    end(client, mine, sid)
    assert client.portal is not None
    (record,) = [each for each in client.portal.call(_records, gate) if each.event == "session_ended"]
    assert (record.target, record.outcome, record.source) == (sid, "success", ADDRESS)
    assert record.data == {"reason": "revoked", "by": by}
    assert record.request_id


async def _records(gate: Limen) -> list[Any]:
    return list(await gate.storage.events(limit=1000))
