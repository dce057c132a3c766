"""``/auth/session``: a browser's session from its login to its end."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import NOWHERE
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for
from tests.web.routes.test_own_routes import bearer, code_of, register

HOST = "https://app.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
NEW_PASSWORD = "another correct battery horse"


@pytest.fixture
def clock() -> TurnableClock:
    """The clock of gate and database."""
    return TurnableClock()


@pytest.fixture
def gate(tmp_path: Path, clock: TurnableClock) -> Limen:
    """A gate that is started with the client."""
    return gate_for(tmp_path, clock=clock)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A browser, over https."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app, base_url=HOST) as client:
        register(client, "ann")
        yield client


def log_in(client: TestClient, username: str = "ann", password: str = PASSWORD, **fields: Any) -> Any:
    """Open a session; the client keeps the cookie."""
    return client.post("/auth/session", json={"username": username, "password": password, **fields}, headers=OWN)


def proof(answer: Any) -> dict[str, str]:
    """Return what a page of this origin sends with a change."""
    return {**OWN, "X-CSRF-Token": answer.json()["csrf_token"]}


def cookie_of(client: TestClient) -> str:
    """Return the session cookie that the browser has."""
    value: str = client.cookies["__Host-limen"]
    return value


def as_cookie(client: TestClient, value: str, path: str = "/auth/me") -> Any:
    """Ask with exactly this cookie."""
    return client.get(path, headers={"Cookie": f"__Host-limen={value}"})


def test_a_session_from_login_to_logout(client: TestClient) -> None:
    """The cookie is the credential; after the end it opens nothing, and the browser is told to forget it."""
    answer = log_in(client)
    assert answer.status_code == 200
    assert set(answer.json()) == {"csrf_token", "expires_at"}
    assert answer.headers["cache-control"] == "no-store"
    me = client.get("/auth/me").json()
    assert (me["username"], me["amr"]) == ("ann", ["pwd"])
    (listed,) = client.get("/auth/sessions").json()["items"]
    assert (listed["id"], listed["kind"], listed["current"]) == (me["sid"], "cookie", True)
    value = cookie_of(client)
    ended = client.delete("/auth/session", headers=proof(answer))
    assert (ended.status_code, ended.headers["clear-site-data"]) == (204, '"cache"')
    assert "__Host-limen=; Max-Age=0; Path=/; Secure; HttpOnly" in ended.headers["set-cookie"]
    assert "__Host-limen" not in client.cookies
    assert code_of(as_cookie(client, value)) == (401, "session_ended")


@pytest.mark.parametrize("remember", [False, True])
def test_the_cookie_has_all_of_its_attributes(client: TestClient, remember: bool) -> None:
    """`__Host-`, Secure, HttpOnly, SameSite, the whole site and no Domain; kept by the browser only if remembered."""
    given, _ = log_in(client, remember=remember).headers.get_list("set-cookie")
    name, *attributes = [each.strip() for each in given.split(";")]
    assert name.startswith("__Host-limen=")
    assert len(name) < 100
    expected = {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"}
    assert set(attributes) == ({*expected, "Max-Age=2592000"} if remember else expected)


@pytest.mark.parametrize(
    ("host", "name", "secure"), [("localhost:8000", "limen", False), ("app.internal", "__Host-limen", True)]
)
def test_the_cookie_on_plain_http(gate: Limen, host: str, name: str, secure: bool) -> None:
    """Without TLS the cookie goes without its prefix at a loopback address only."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app, base_url=f"http://{host}") as client:
        register(client, "ann")
        body = {"username": "ann", "password": PASSWORD}
        header = client.post("/auth/session", json=body, headers={"Origin": f"http://{host}"}).headers["set-cookie"]
        assert header.startswith(f"{name}=")
        assert ("Secure" in header) == secure
        assert client.get("/auth/me").status_code == (401 if secure else 200)
        if not secure:
            rewritten = {"Origin": HOST, "Sec-Fetch-Site": "same-origin"}
            assert code_of(client.post("/auth/session", json=body, headers=rewritten)) == (403, "csrf_failed")


def test_every_login_makes_a_new_id(client: TestClient) -> None:
    """What the browser sent along is never adopted, and a session of before ends; its id opens nothing."""
    first = log_in(client)
    before = cookie_of(client)
    client.cookies.clear()
    client.cookies.set("__Host-limen", "A" * 64, domain="app.example")
    assert log_in(client).status_code == 200
    assert cookie_of(client) not in {before, "A" * 64}
    assert as_cookie(client, before).status_code == 200
    client.cookies.clear()
    client.cookies.set("__Host-limen", before, domain="app.example")
    second = log_in(client)
    assert second.json()["csrf_token"] != first.json()["csrf_token"]
    assert code_of(as_cookie(client, before)) == (401, "session_ended")
    assert code_of(as_cookie(client, "A" * 64)) == (401, "session_ended")
    assert client.get(f"/auth/me?session={cookie_of(client)}", headers={"Cookie": ""}).status_code == 401


def test_a_changed_password_renews_the_id(client: TestClient, gate: Limen) -> None:
    """The id before is dead, others' sessions end, this one goes on under another id and another token."""
    log_in(client)
    other = cookie_of(client)
    client.cookies.clear()
    answer = log_in(client)
    before, sid = cookie_of(client), client.get("/auth/me").json()["sid"]
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    changed = client.post("/auth/password", json=body, headers=proof(answer))
    assert changed.status_code == 204
    assert code_of(as_cookie(client, before)) == (401, "session_ended")
    assert code_of(as_cookie(client, other)) == (401, "session_ended")
    client.cookies.clear()
    client.cookies.set("__Host-limen", changed.headers["set-cookie"].split("=", 1)[1].split(";")[0])
    assert client.get("/auth/me").json()["sid"] == sid
    assert client.get("/auth/session").json()["csrf_token"] == changed.headers["x-csrf-token"]
    assert client.post("/auth/logout-all", headers=proof(answer)).status_code == 403


def test_what_ends_a_session(client: TestClient, gate: Limen) -> None:
    """A role granted, an account disabled or ended everywhere, a status of unknown kind: dead at the next request."""
    portal = client.portal
    assert portal is not None

    async def grant() -> None:
        account = await gate.accounts.by_username("ann")
        await gate.roles.grant(OPERATOR, account.id, ["maker"])

    async def end_all() -> None:
        account = await gate.accounts.by_username("ann")
        await gate.sessions.logout_everywhere(account.id, actor="test", origin=NOWHERE)

    async def disable() -> None:
        await gate.accounts.disable(await gate.accounts.by_username("ann"), actor="test")

    for act in (grant, end_all, disable):
        log_in(client)
        assert client.get("/auth/me").status_code == 200
        portal.call(act)
        assert code_of(client.get("/auth/me")) == (401, "session_ended")


def test_idle_and_absolute_ends(client: TestClient, clock: TurnableClock) -> None:
    """Unused for half an hour it is over, and after twelve hours however much it was used."""
    log_in(client)
    clock.turn(1_799)
    assert client.get("/auth/me").status_code == 200
    clock.turn(1_801)
    assert code_of(client.get("/auth/me")) == (401, "session_ended")
    answer = log_in(client)
    assert answer.status_code == 200
    for _ in range(24):
        clock.turn(1_790)
        assert client.get("/auth/me").status_code == 200
    clock.turn(300)
    assert code_of(client.get("/auth/me")) == (401, "session_ended")


def test_a_remembered_session_lasts_longer(client: TestClient, clock: TurnableClock) -> None:
    """Twelve hours unused, thirty days at most."""
    log_in(client, remember=True)
    clock.turn(43_000)
    assert client.get("/auth/me").status_code == 200
    clock.turn(43_201)
    assert code_of(client.get("/auth/me")) == (401, "session_ended")


def test_one_answer_for_every_failure(client: TestClient) -> None:
    """An unknown name, a wrong password: the same body and headers as a login, and no cookie."""
    answers = [log_in(client, "nobody"), log_in(client, password="not the password at all")]
    for answer in answers:
        assert code_of(answer) == (401, "invalid_credentials")
        assert "set-cookie" not in answer.headers
    first, second = ({**each.json(), "trace_id": ""} for each in answers)
    assert first == second


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_json_is_insisted_on(client: TestClient, content_type: str) -> None:
    """A body that a form could send is 415, also from a page of this origin."""
    headers = {**OWN, "Content-Type": content_type}
    answer = client.post("/auth/session", content=b'{"username": "ann", "password": "x"}', headers=headers)
    assert code_of(answer) == (415, "unsupported_media_type")


def test_two_credentials(client: TestClient) -> None:
    """A header decides alone; beside the living cookie of somebody else it is 400."""
    tokens = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()
    log_in(client)
    mine = bearer(tokens["access_token"])
    assert client.get("/auth/me", headers=mine).json()["sid"] != client.get("/auth/me").json()["sid"]
    for value in ("Bearer", "Bearer x.y.z", "Basic QTpC", "limen:cookie x"):
        assert client.get("/auth/me", headers={"Authorization": value}).status_code == 401
    client.cookies.clear()
    register(client, "bob")
    log_in(client, "bob")
    assert code_of(client.get("/auth/me", headers=mine)) == (400, "credentials_conflict")
    answer = client.post("/auth/logout-all", headers=mine)
    assert code_of(answer) == (400, "credentials_conflict")
    client.cookies.clear()
    assert client.get("/auth/me", headers={**mine, "Cookie": f"__Host-limen={'A' * 64}"}).status_code == 200
    assert client.get("/auth/me", headers={**mine, "Cookie": "__Host-limen=x"}).status_code == 401


def test_bad_cookies_are_refused_with_a_code(client: TestClient) -> None:
    """Doubled, of a hundred kilobytes, of bytes that are no text: 401, never 500; what is public is served."""
    log_in(client)
    mine = f"__Host-limen={cookie_of(client)}"
    for bad in (f"{mine}; {mine}", "a=" + "b" * 100_000, "__Host-limen=\x7f", "__Host-limen=", f"{mine}A"):
        answer = client.get("/auth/me", headers={"Cookie": bad})
        assert code_of(answer) == (401, "credential_malformed"), bad[:40]
        assert client.post("/auth/login", json={}, headers={"Cookie": bad}).status_code == 422


def test_the_database_holds_a_hash_only(client: TestClient, tmp_path: Path) -> None:
    """Neither the cookie nor its secret bits are in the row or anywhere in the file."""
    log_in(client)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        (row,) = connection.execute("SELECT kind, generation, length(token_hash), kid FROM limen_sessions").fetchall()
    connection.close()
    assert row == ("cookie", 0, 32, "cookie")
    content = b"".join(path.read_bytes() for path in tmp_path.glob("limen.db*"))
    assert cookie_of(client).encode()[22:] not in content


def test_nothing_changes_by_get(client: TestClient) -> None:
    """GET is 405 where something changes, and where it is there it sets no cookie."""
    log_in(client)
    for path in ("/auth/login", "/auth/logout", "/auth/logout-all", "/auth/password", "/auth/refresh"):
        assert client.get(path).status_code == 405
    assert "set-cookie" not in client.get("/auth/session").headers


def test_ending_twice(client: TestClient) -> None:
    """A cookie of a session that is over is cleared; without one there is nobody."""
    answer = log_in(client)
    value = cookie_of(client)
    assert client.post("/auth/logout", headers=proof(answer)).headers["clear-site-data"] == '"cache"'
    again = client.delete("/auth/session", headers={**proof(answer), "Cookie": f"__Host-limen={value}"})
    assert again.status_code == 204
    assert "Max-Age=0" in again.headers["set-cookie"]
    assert code_of(client.delete("/auth/session", headers=OWN)) == (401, "credential_missing")
