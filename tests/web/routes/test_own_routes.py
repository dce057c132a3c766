"""limen's own routes over HTTP: what the contract says of each, byte for byte where it matters."""

import json
import re
import time
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import NOWHERE
from limen.core.probe import KEEP_SECONDS
from tests.support.gates import PASSWORD, gate_for

NEW_PASSWORD = "another battery, another horse"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def register(client: TestClient, username: str = "ann") -> Response:
    """Register an account."""
    return client.post("/auth/register", json={"username": username, "password": PASSWORD})


def login(client: TestClient, username: str = "ann", password: str = PASSWORD) -> Response:
    """Log in."""
    return client.post("/auth/login", json={"username": username, "password": password})


def tokens(client: TestClient) -> dict[str, Any]:
    """Register and log in; return the tokens."""
    register(client)
    answer: dict[str, Any] = login(client).json()
    return answer


def bearer(token: str) -> dict[str, str]:
    """Make the header that carries an access token."""
    return {"Authorization": f"Bearer {token}"}


def code_of(response: Response) -> tuple[int, str]:
    """Return the status and the code of a problem, and check its shape on the way."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["status"] == response.status_code
    assert set(body) - {"detail", "errors"} == {"type", "title", "status", "code", "trace_id"}
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith("Bearer ")
    return response.status_code, body["code"]


# --- register


def test_register_answers_id_and_username(client: TestClient) -> None:
    """201 with the id and the normalised name, and nothing else."""
    response = register(client, "Ann")
    assert response.status_code == 201
    assert set(response.json()) == {"id", "username"}
    assert response.json()["username"] == "ann"
    assert UUID7.match(response.json()["id"])
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"


def test_a_taken_name_is_a_conflict_in_any_spelling(client: TestClient) -> None:
    """409 for the same name in other letters."""
    register(client, "ann")
    assert code_of(register(client, "\uff21NN")) == (409, "username_taken")


@pytest.mark.parametrize(
    "extra", [{"roles": ["admin"]}, {"status": "active"}, {"id": "x"}, {"is_admin": True}, {"session_epoch": 9}]
)
def test_nothing_else_can_be_slipped_in(client: TestClient, extra: dict[str, object]) -> None:
    """Unknown fields are refused, so no role, state or id is given by whoever registers (mass assignment)."""
    response = client.post("/auth/register", json={"username": "ann", "password": PASSWORD, **extra})
    assert code_of(response) == (422, "invalid_input")
    assert code_of(login(client)) == (401, "invalid_credentials")


def test_an_email_reveals_nothing(client: TestClient) -> None:
    """Two accounts may give one address: whether it is known cannot be asked."""
    for name in ("ann", "bob"):
        body = {"username": name, "password": PASSWORD, "email": "shared@example.test"}
        response = client.post("/auth/register", json=body)
        assert response.status_code == 201
        assert "shared" not in response.text


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("fourteen chars", "password_too_short"),
        ("passwordpassword", "password_too_common"),
        ("annabel and the rest", "password_contains_name"),
        ("x" * 1025, "invalid_input"),
    ],
)
def test_bad_passwords_have_codes(client: TestClient, password: str, code: str) -> None:
    """Each reason has its own code, and the answer does not echo the password."""
    response = client.post("/auth/register", json={"username": "annabel", "password": password})
    assert code_of(response) == (422, code)
    assert password not in response.text


def test_registration_can_be_closed(tmp_path: Any) -> None:
    """Closed is the default, and looks like a route that is not there."""
    app = Starlette()
    gate_for(tmp_path, registration="closed").protect(app)
    with TestClient(app) as client:
        assert code_of(register(client)) == (404, "not_found")


# --- login


def test_login_answers_tokens(client: TestClient) -> None:
    """200 with exactly the five members of the contract; durations are seconds."""
    register(client)
    response = login(client, " ann".strip().upper())
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in", "refresh_expires_in"}
    assert (body["token_type"], body["expires_in"], body["refresh_expires_in"]) == ("Bearer", 900, 604800)
    assert response.headers["cache-control"] == "no-store"


def test_login_fails_in_one_way(client: TestClient, gate: Limen) -> None:
    """Unknown, wrong, disabled and blocked: the same status, headers and body but for the trace id."""
    assert client.portal is not None
    for name in ("ann", "off", "blocked"):
        register(client, name)
    for name, verb in (("off", gate.accounts.disable), ("blocked", gate.accounts.block)):
        client.portal.call(_change, gate, name, verb)
    answers = [
        login(client, "nobody"),
        login(client, "ann", "not the password"),
        login(client, "off"),
        login(client, "blocked"),
        login(client, "off", "not the password"),
    ]
    seen = set()
    for answer in answers:
        assert code_of(answer) == (401, "invalid_credentials")
        body = answer.json()
        trace = body.pop("trace_id")
        headers = sorted((name, value) for name, value in answer.headers.items())
        seen.add((json.dumps(body, sort_keys=True), str(headers), len(trace)))
    assert len(seen) == 1


async def _change(gate: Limen, name: str, verb: Any) -> None:
    await verb(await gate.accounts.by_username(name), actor="test")


# --- refresh and logout


def test_refresh_answers_as_login(client: TestClient) -> None:
    """The answer has the members of the login's, the token is another, and the same again within the leeway."""
    first = tokens(client)
    response = client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert response.status_code == 200
    assert set(response.json()) == set(first)
    again = client.post("/auth/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert again["refresh_token"] == response.json()["refresh_token"] != first["refresh_token"]


def test_kinds_of_tokens_are_not_exchanged(client: TestClient) -> None:
    """An access token refreshes nothing, and a refresh token opens no route (RFC 8725, section 3.11)."""
    issued = tokens(client)
    response = client.post("/auth/refresh", json={"refresh_token": issued["access_token"]})
    assert code_of(response) == (401, "invalid_refresh_token")
    assert code_of(client.get("/auth/me", headers=bearer(issued["refresh_token"]))) == (401, "token_invalid")


def test_a_refresh_token_is_taken_from_the_body_only(client: TestClient) -> None:
    """Neither the query, nor a header, nor a form carries a refresh token."""
    token = tokens(client)["refresh_token"]
    assert client.post(f"/auth/refresh?refresh_token={token}").status_code == 415
    assert code_of(client.post("/auth/refresh", headers=bearer(token), json={})) == (422, "invalid_input")
    assert code_of(client.post("/auth/refresh", data={"refresh_token": token})) == (415, "unsupported_media_type")


def test_logout_by_refresh_token(client: TestClient) -> None:
    """204, again 204, and neither token works afterwards."""
    issued = tokens(client)
    for _ in range(2):
        response = client.post("/auth/logout", json={"refresh_token": issued["refresh_token"]})
        assert (response.status_code, response.content) == (204, b"")
    response = client.post("/auth/refresh", json={"refresh_token": issued["refresh_token"]})
    assert code_of(response) == (401, "invalid_refresh_token")
    assert code_of(client.get("/auth/me", headers=bearer(issued["access_token"]))) == (401, "session_ended")


def test_logout_by_bearer_token(client: TestClient) -> None:
    """204 without a body, and again although the session is over; without anything it is 401."""
    issued = tokens(client)
    for _ in range(2):
        assert client.post("/auth/logout", headers=bearer(issued["access_token"])).status_code == 204
    assert code_of(client.post("/auth/logout")) == (401, "credential_missing")
    assert code_of(client.post("/auth/logout", headers=bearer("a.b.c"))) == (401, "token_invalid")


def test_logout_everywhere(client: TestClient) -> None:
    """Every session of the caller ends, the one that asks included."""
    mine = [tokens(client), login(client).json()]
    assert client.post("/auth/logout-all", headers=bearer(mine[0]["access_token"])).status_code == 204
    for issued in mine:
        assert code_of(client.get("/auth/me", headers=bearer(issued["access_token"]))) == (401, "session_ended")
    assert login(client).status_code == 200


# --- me and password


def test_me_tells_who_is_calling(client: TestClient, gate: Limen) -> None:
    """The members of the contract, times in RFC 3339."""
    assert client.portal is not None
    client.portal.call(lambda: gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"})))
    issued = login(client).json()
    body = client.get("/auth/me", headers=bearer(issued["access_token"])).json()
    assert set(body) == {"sub", "kind", "username", "roles", "permissions", "sid", "amr", "auth_time"}
    assert (body["username"], body["kind"], body["amr"]) == ("ann", "person", ["pwd"])
    assert (body["roles"], body["permissions"]) == (["maker"], ["order:create", "order:read"])
    assert UUID7.match(body["sub"])
    assert UUID7.match(body["sid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["auth_time"])
    assert code_of(client.get("/auth/me")) == (401, "credential_missing")


def test_password_change(client: TestClient) -> None:
    """204; the other session ends, the asking one stays, and only the new password logs in."""
    asking = tokens(client)
    other = login(client).json()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = client.post("/auth/password", json=body, headers=bearer(asking["access_token"]))
    assert response.status_code == 204
    assert client.get("/auth/me", headers=bearer(asking["access_token"])).status_code == 200
    assert code_of(client.get("/auth/me", headers=bearer(other["access_token"]))) == (401, "session_ended")
    assert client.post("/auth/refresh", json={"refresh_token": asking["refresh_token"]}).status_code == 200
    assert code_of(login(client)) == (401, "invalid_credentials")
    assert login(client, password=NEW_PASSWORD).status_code == 200


def test_password_change_needs_the_present_password(client: TestClient) -> None:
    """401 for a wrong one, 422 for none, and nothing changed."""
    headers = bearer(tokens(client)["access_token"])
    wrong = {"current_password": "not the password", "new_password": NEW_PASSWORD}
    assert code_of(client.post("/auth/password", json=wrong, headers=headers)) == (401, "invalid_credentials")
    none = {"new_password": NEW_PASSWORD}
    assert code_of(client.post("/auth/password", json=none, headers=headers)) == (422, "invalid_input")
    common = {"current_password": PASSWORD, "new_password": "passwordpassword"}
    response = client.post("/auth/password", json=common, headers=headers)
    assert code_of(response) == (422, "password_too_common")
    assert response.json()["errors"][0]["loc"] == ["body", "new_password"]
    assert login(client).status_code == 200


def test_the_guard_comes_before_the_body(client: TestClient) -> None:
    """An anonymous caller with a body that is no JSON hears 401, not what is wrong with the body."""
    headers = {"Content-Type": "application/json"}
    assert code_of(client.post("/auth/password", content=b"{", headers=headers)) == (401, "credential_missing")


# --- methods, health, bodies


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/auth/register", "POST"),
        ("/auth/login", "POST"),
        ("/auth/refresh", "POST"),
        ("/auth/logout", "POST"),
        ("/auth/logout-all", "POST"),
        ("/auth/password", "POST"),
        ("/auth/me", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
def test_only_documented_methods(client: TestClient, path: str, allow: str) -> None:
    """Another method is 405 with the list of those there are."""
    headers = bearer(tokens(client)["access_token"])
    known = allow.split(", ")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "OPTIONS"}.difference(known):
        response = client.request(method, path, headers=headers)
        assert code_of(response) == (405, "method_not_allowed"), method
        assert response.headers["allow"] == allow


def test_method_override_is_ignored(client: TestClient) -> None:
    """A header does not change the method."""
    response = client.get("/auth/logout", headers={"X-HTTP-Method-Override": "POST"})
    assert response.status_code == 405


def test_health(client: TestClient, gate: Limen) -> None:
    """Alive and ready while it runs; alive and, a second later, not ready once the database does not answer."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.portal is not None
    client.portal.call(gate.storage.stop)
    time.sleep(KEEP_SECONDS)
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert code_of(response) == (503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


BODIES: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"null", 400),
    (b"[]", 400),
    (b'"text"', 400),
    (b"{} {}", 400),
    (b"\xef\xbb\xbf{}", 400),
    ('{"username": "a", "password": "b"}'.encode("utf-16"), 400),
    (b'{"username": "a", "username": "b", "password": "c"}', 400),
    (b'{"username": NaN, "password": "c"}', 400),
    (b'{"username": Infinity, "password": "c"}', 400),
    (b'{"username": "\\ud800", "password": "c"}', 400),
    (b'{"username": "a\\u0000", "password": "c"}', 400),
    (b'{"username": "\xff", "password": "c"}', 400),
    (b"[" * 10_000 + b"]" * 10_000, 400),
    (b'{"username": ' + b"9" * 5_000 + b', "password": "c"}', 400),
    (b'{"username": "a"}', 422),
    (b'{"username": 1, "password": "c"}', 422),
    (b'{"username": null, "password": "c"}', 422),
    (b'{"username": ["a"], "password": "c"}', 422),
    (b'{"username": {"a": 1}, "password": "c"}', 422),
    (b'{"username": "a", "password": "c", "more": 1}', 422),
    (b'{"username": "' + b"a" * 65_536 + b'", "password": "c"}', 413),
]


@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
def test_bodies_are_read_strictly(client: TestClient, path: str) -> None:
    """What is not one plain JSON object of the right shape is a 4xx with a code."""
    codes = {400: "invalid_input", 413: "body_too_large", 422: "invalid_input"}
    for body, status in BODIES:
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert code_of(response) == (status, codes[status]), body[:60]


def test_a_validation_error_names_the_field_and_not_the_input(client: TestClient) -> None:
    """The error says which field and why; what was sent is not in the answer."""
    response = client.post("/auth/login", json={"username": ["canary-1"], "password": "canary-2", "canary-3": 1})
    assert code_of(response) == (422, "invalid_input")
    assert "canary-1" not in response.text
    assert "canary-2" not in response.text
    assert response.json()["errors"]
    assert all(set(each) == {"loc", "code", "message"} for each in response.json()["errors"])


def test_a_password_is_not_changed_by_a_session_that_ended_elsewhere(client: TestClient, gate: Limen) -> None:
    """The route asks the store: a session that another process has just ended changes no password."""
    issued = tokens(client)
    assert client.portal is not None

    async def end_elsewhere() -> None:
        async with Limen(gate.settings).running() as other:
            await other.sessions.logout(issued["refresh_token"], origin=NOWHERE)
            # What the poll would tell a second later is undone, so that only the store can know.
            gate.ended.add = lambda sid, keep_until_ms: None  # type: ignore[method-assign]

    client.portal.call(end_elsewhere)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = client.post("/auth/password", json=body, headers=bearer(issued["access_token"]))
    assert code_of(response) == (401, "session_ended")
    assert login(client).status_code == 200
