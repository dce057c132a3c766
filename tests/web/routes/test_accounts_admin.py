"""``/admin/api/accounts``: what an administrator sees and does, and what nobody may."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from tests.support.gates import PASSWORD, settings_for
from tests.web.routes.administering import ADDRESS, ROLES, Somebody, records, run, somebody
from tests.web.routes.test_own_routes import UUID7, code_of

PATH = "/admin/api/accounts"
VERBS = ["disable", "enable", "block", "unblock", "end-sessions"]
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with administrators."""
    return Limen(settings_for(tmp_path), roles=ROLES)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application that is administered over HTTP."""
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app, client=(ADDRESS, 50_000)) as client:
        yield client


@pytest.fixture
def chief(gate: Limen, client: TestClient) -> Somebody:
    """An administrator who may everything."""
    return somebody(gate, client, "chief", "chief")


@pytest.fixture
def clerk(gate: Limen, client: TestClient) -> Somebody:
    """One who looks after accounts, and can grant nothing."""
    return somebody(gate, client, "clerk", "clerk")


@pytest.fixture
def maker(gate: Limen, client: TestClient) -> Somebody:
    """Somebody without any permission of limen's own."""
    return somebody(gate, client, "mary", "maker")


def test_accounts_are_listed_and_searched(chief: Somebody, maker: Somebody) -> None:
    """In pages, in the order of names, by part of name or address; and never a hash."""
    answer = chief.send("GET", PATH)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert [item["username"] for item in answer.json()["items"]] == ["chief", "mary"]
    assert answer.json()["next"] is None
    first = chief.send("GET", f"{PATH}?limit=1").json()
    rest = chief.send("GET", f"{PATH}?limit=1", params={"limit": 1, "after": first["next"]}).json()
    assert [page["items"][0]["username"] for page in (first, rest)] == ["chief", "mary"]
    assert [item["id"] for item in chief.send("GET", f"{PATH}?q=MARY@").json()["items"]] == [maker.id]
    assert chief.send("GET", f"{PATH}?q=%25").json()["items"] == []
    assert "$2b$" not in answer.text
    assert "password_hash" not in answer.text


def test_one_account_is_shown(chief: Somebody, maker: Somebody) -> None:
    """With its roles and its state, and no more than that."""
    answer = chief.send("GET", f"{PATH}/{maker.id}")
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "id": maker.id,
        "username": "mary",
        "email": "mary@example.test",
        "status": "active",
        "roles": ["maker"],
        "password_temporary": False,
        "permissions": [],
        "roles_ending": [],
    }


def test_an_account_is_made(chief: Somebody, client: TestClient) -> None:
    """201 with where it is; it can log in, and has the roles it was given."""
    body = {"username": "Nora", "password": PASSWORD, "email": "n@example.test", "roles": ["maker"]}
    answer = chief.send("POST", PATH, json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["username"], made["roles"], made["status"]) == ("nora", ["maker"], "active")
    assert UUID7.match(made["id"])
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert chief.send("GET", answer.headers["location"]).json() == {**made, "permissions": [], "roles_ending": []}
    assert client.post("/auth/login", json={"username": "nora", "password": PASSWORD}).status_code == 200
    assert code_of(chief.send("POST", PATH, json=body)) == (409, "username_taken")


def test_an_account_is_made_without_a_password(chief: Somebody, client: TestClient) -> None:
    """Nobody logs in with one then, not with an empty one either."""
    assert chief.send("POST", PATH, json={"username": "nora"}).status_code == 201
    for password in ("", "null", PASSWORD):
        answer = client.post("/auth/login", json={"username": "nora", "password": password})
        assert answer.status_code in (401, 422)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": "nora", "password": "short"}, "password_too_short"),
        ({"username": "n ora"}, "invalid_input"),
        ({"username": "nora", "roles": ["emperor"]}, "invalid_input"),
        ({"username": "nora", "roles": "maker"}, "invalid_input"),
        ({"username": "nora", "status": "active"}, "invalid_input"),
        ({"username": "nora", "id": UNKNOWN}, "invalid_input"),
        ({"username": "nora", "email": "none"}, "invalid_input"),
        ({}, "invalid_input"),
    ],
)
def test_what_cannot_be_made_is_refused(chief: Somebody, body: dict[str, object], code: str) -> None:
    """The rules of registration hold for administrators too, and nothing else can be slipped in."""
    assert code_of(chief.send("POST", PATH, json=body)) == (422, code)
    assert [item["username"] for item in chief.send("GET", PATH).json()["items"]] == ["chief"]


def test_nobody_makes_somebody_stronger(gate: Limen, client: TestClient, clerk: Somebody) -> None:
    """Who may make accounts, but not grant, makes them without roles only; the refusal is recorded."""
    for roles in (["chief"], ["maker"], ["clerk"]):
        answer = clerk.send("POST", PATH, json={"username": "nora", "password": PASSWORD, "roles": roles})
        assert code_of(answer) == (403, "permission_required")
    assert clerk.send("POST", PATH, json={"username": "nora", "password": PASSWORD}).status_code == 201
    failures = [each for each in records(gate, client, "account_created") if each.outcome == "failure"]
    assert [each.data["roles"] for each in failures] == [["chief"], ["maker"], ["clerk"]]
    assert {each.actor for each in failures} == {clerk.id}


def test_an_address_is_changed_and_removed(gate: Limen, client: TestClient, chief: Somebody, maker: Somebody) -> None:
    """PATCH answers the account as it is then; the event does not hold the address."""
    path = f"{PATH}/{maker.id}"
    answer = chief.send("PATCH", path, json={"email": "New@Example.Test"})
    assert (answer.status_code, answer.json()["email"]) == (200, "new@example.test")
    assert chief.send("PATCH", path, json={}).json()["email"] == "new@example.test"
    assert chief.send("PATCH", path, json={"email": None}).json()["email"] is None
    assert code_of(chief.send("PATCH", path, json={"email": "none"})) == (422, "invalid_input")
    told = records(gate, client, "email_changed")
    assert [(each.actor, each.target, each.source, each.data) for each in told] == [
        (chief.id, maker.id, ADDRESS, {"removed": False}),
        (chief.id, maker.id, ADDRESS, {"removed": True}),
    ]


def test_roles_are_set(chief: Somebody, maker: Somebody) -> None:
    """PATCH makes the account hold exactly these; its access token is stale, and a refresh has the new ones."""
    path = f"{PATH}/{maker.id}"
    answer = chief.send("PATCH", path, json={"roles": ["reader"], "email": "m@example.test"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["roles"], answer.json()["email"]) == (["reader"], "m@example.test")
    assert code_of(maker.send("GET", "/auth/me")) == (401, "token_stale")
    assert maker.refresh().status_code == 200
    assert maker.send("GET", "/auth/me").json()["roles"] == ["reader"]
    assert code_of(chief.send("PATCH", path, json={"roles": ["emperor"]})) == (422, "invalid_input")
    # The chief does not hold what a checker holds.
    assert code_of(chief.send("PATCH", path, json={"roles": ["checker"]})) == (403, "permission_required")
    assert code_of(chief.send("PATCH", f"{PATH}/{chief.id}", json={"roles": []})) == (403, "own_request")


def test_what_is_refused_of_two_changes_changes_neither(chief: Somebody, clerk: Somebody, maker: Somebody) -> None:
    """Roles and address in one request: where one of them is refused, the other stays too."""
    path = f"{PATH}/{maker.id}"
    before = chief.send("GET", path).json()
    for who, body in (
        (chief, {"roles": [], "email": "none"}),
        (chief, {"roles": ["checker"], "email": "m@example.test"}),
        (clerk, {"roles": [], "email": "m@example.test"}),
    ):
        assert who.send("PATCH", path, json=body).status_code in (403, 422)
        assert chief.send("GET", path).json() == before


@pytest.mark.parametrize("verb", ["disable", "block"])
def test_an_account_is_switched_off_and_on(
    gate: Limen, client: TestClient, chief: Somebody, maker: Somebody, verb: str
) -> None:
    """204, twice as once; its tokens are dead at once; and back again, without its sessions. Each is an event."""
    path = f"{PATH}/{maker.id}"
    back, other, status = {
        "disable": ("enable", "unblock", "disabled"),
        "block": ("unblock", "enable", "blocked"),
    }[verb]
    for _ in range(2):
        answer = chief.send("POST", f"{path}/{verb}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert chief.send("GET", path).json()["status"] == status
    assert code_of(maker.send("GET", "/auth/me")) == (401, "session_ended")
    assert code_of(maker.refresh()) == (401, "invalid_refresh_token")
    assert code_of(chief.send("POST", f"{path}/{other}")) == (409, "conflict")
    assert chief.send("POST", f"{path}/{back}").status_code == 204
    assert code_of(maker.refresh()) == (401, "invalid_refresh_token")
    (record,) = [each for each in records(gate, client, f"account_{status}") if each.outcome == "success"]
    assert (record.actor, record.target, record.source) == (chief.id, maker.id, ADDRESS)
    assert record.request_id


def test_an_account_is_deleted(gate: Limen, client: TestClient, chief: Somebody, maker: Somebody) -> None:
    """204, then 404: it is in no list, its tokens are dead, its name is free, and an event tells who did it."""
    path = f"{PATH}/{maker.id}"
    assert chief.send("DELETE", path).status_code == 204
    for method, where in (
        ("GET", path),
        ("DELETE", path),
        ("PATCH", path),
        ("GET", f"{path}/sessions"),
        *(("POST", f"{path}/{verb}") for verb in VERBS),
    ):
        body = {"json": {"email": "m@example.test"}} if method == "PATCH" else {}
        assert code_of(chief.send(method, where, **body)) == (404, "not_found"), where
    assert [item["username"] for item in chief.send("GET", PATH).json()["items"]] == ["chief"]
    assert maker.send("GET", "/auth/me").status_code == 401
    assert code_of(maker.refresh()) == (401, "invalid_refresh_token")
    assert client.post("/auth/login", json={"username": "mary", "password": PASSWORD}).status_code == 401
    assert client.post("/auth/register", json={"username": "mary", "password": PASSWORD}).status_code == 201
    (record,) = [each for each in records(gate, client, "account_deleted") if each.outcome == "success"]
    assert (record.actor, record.target, record.source) == (chief.id, maker.id, ADDRESS)


def test_sessions_of_an_account_are_listed_and_ended(
    gate: Limen, client: TestClient, chief: Somebody, maker: Somebody
) -> None:
    """Listed as one's own are; ended all at once, and the account stays."""
    second = client.post("/auth/login", json={"username": "mary", "password": PASSWORD}).json()
    path = f"{PATH}/{maker.id}"
    listed = chief.send("GET", f"{path}/sessions").json()
    assert len(listed["items"]) == 2
    assert {item["current"] for item in listed["items"]} == {False}
    assert chief.send("POST", f"{path}/end-sessions").status_code == 204
    assert chief.send("GET", f"{path}/sessions").json() == {"items": [], "next": None}
    for token in (maker.tokens, second):
        answer = client.post("/auth/refresh", json={"refresh_token": token["refresh_token"]})
        assert code_of(answer) == (401, "invalid_refresh_token")
    assert client.post("/auth/login", json={"username": "mary", "password": PASSWORD}).status_code == 200
    (record,) = records(gate, client, "sessions_ended")
    assert (record.actor, record.target, record.data) == (chief.id, maker.id, {"reason": "administration"})


@pytest.mark.parametrize("verb", ["disable", "block", "DELETE"])
def test_nobody_switches_themselves_off(
    gate: Limen, client: TestClient, chief: Somebody, clerk: Somebody, verb: str
) -> None:
    """403 own_request, recorded as a failure; the account goes on."""
    path = f"{PATH}/{chief.id}"
    answer = chief.send("DELETE", path) if verb == "DELETE" else chief.send("POST", f"{path}/{verb}")
    assert code_of(answer) == (403, "own_request")
    assert chief.send("GET", path).json()["status"] == "active"
    name = {"disable": "account_disabled", "block": "account_blocked", "DELETE": "account_deleted"}[verb]
    (record,) = records(gate, client, name)
    assert (record.outcome, record.actor, record.target) == ("failure", chief.id, chief.id)
    assert record.data == {"reason": "own_request"}


@pytest.mark.parametrize("verb", [*VERBS, "DELETE", "PATCH"])
def test_nobody_acts_on_whoever_holds_more(
    gate: Limen, client: TestClient, chief: Somebody, clerk: Somebody, verb: str
) -> None:
    """The clerk has the permission for each verb, and none of them works on the chief. It is recorded."""
    path = f"{PATH}/{chief.id}"
    before = chief.send("GET", path).json()
    if verb == "DELETE":
        answer = clerk.send("DELETE", path)
    elif verb == "PATCH":
        answer = clerk.send("PATCH", path, json={"email": "clerk@example.test"})
    else:
        answer = clerk.send("POST", f"{path}/{verb}")
    assert code_of(answer) == (403, "permission_required")
    assert chief.send("GET", path).json() == before
    assert chief.refresh().status_code == 200

    async def failures() -> list[Any]:
        return [each for each in await gate.storage.events(limit=1000) if each.outcome == "failure"]

    (record,) = run(client, failures)
    assert (record.actor, record.target, record.data["reason"]) == (clerk.id, chief.id, "permission_required")


def test_who_holds_as_much_may(clerk: Somebody, maker: Somebody) -> None:
    """The clerk holds all that a maker holds, and acts on them."""
    for verb in ("disable", "enable", "block", "unblock", "end-sessions"):
        assert clerk.send("POST", f"{PATH}/{maker.id}/{verb}").status_code == 204, verb
    assert clerk.send("DELETE", f"{PATH}/{maker.id}").status_code == 204


def test_the_last_administrator_stays(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """One of two may go, not both: 409, and it is recorded. What an operator does at the command line is held to it."""
    second = somebody(gate, client, "second", "chief")
    assert second.send("POST", f"{PATH}/{chief.id}/disable").status_code == 204

    async def disable() -> str:
        try:
            await gate.accounts.disable(second.account, actor="cli")
        except Exception as error:
            return type(error).__name__
        return ""

    assert run(client, disable) == "Conflict"
    assert second.send("GET", f"{PATH}/{second.id}").json()["status"] == "active"


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", PATH, "accounts:read"),
        ("POST", PATH, "accounts:write"),
        ("GET", f"{PATH}/{UNKNOWN}", "accounts:read"),
        ("PATCH", f"{PATH}/{UNKNOWN}", "accounts:write"),
        ("DELETE", f"{PATH}/{UNKNOWN}", "accounts:delete"),
        ("GET", f"{PATH}/{UNKNOWN}/sessions", "accounts:read"),
        *((("POST", f"{PATH}/{UNKNOWN}/{verb}", "accounts:write")) for verb in VERBS[:-1]),
        ("POST", f"{PATH}/{UNKNOWN}/end-sessions", "sessions:end"),
        ("GET", "/admin/api/events", "events:read"),
    ],
)
def test_each_asks_for_its_permission(
    gate: Limen, client: TestClient, maker: Somebody, method: str, path: str, permission: str
) -> None:
    """Without a token 401; without the permission 403, whatever else is held."""
    assert code_of(client.request(method, path)) == (401, "credential_missing")
    assert code_of(maker.send(method, path)) == (403, "permission_required")
    others = [name for name, gives in ROLES.items() if permission not in gives and name != "maker"]
    most = somebody(gate, client, "most", *others)
    answer = most.send(method, path)
    if permission in {held for name in others for held in ROLES[name]}:
        pytest.fail("this role gives it after all")
    assert code_of(answer) == (403, "permission_required")


def test_administration_is_live(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """A session that ended a moment ago in another process administers nothing, whatever its token says."""
    client.post("/auth/logout", json={"refresh_token": chief.tokens["refresh_token"]})
    gate.ended.clear()  # as in a process that has not read the list yet
    assert code_of(chief.send("GET", PATH)) == (401, "session_ended")


@pytest.mark.parametrize(
    "account_id", ["0", "me", "%00", "%27%20OR%201=1--", UNKNOWN, "A" * 300, UNKNOWN.upper()[:-1] + "A"]
)
def test_what_is_no_account_is_404(chief: Somebody, account_id: str) -> None:
    """An unknown id and a text that is none are one answer, for every verb."""
    path = f"{PATH}/{account_id}"
    assert code_of(chief.send("GET", path)) == (404, "not_found")
    assert code_of(chief.send("DELETE", path)) == (404, "not_found")
    assert code_of(chief.send("PATCH", path, json={"email": None})) == (404, "not_found")
    assert code_of(chief.send("PATCH", path, json={"roles": []})) == (404, "not_found")
    assert code_of(chief.send("GET", f"{path}/sessions")) == (404, "not_found")
    for verb in VERBS:
        assert code_of(chief.send("POST", f"{path}/{verb}")) == (404, "not_found")


def test_without_administration_there_is_nothing(tmp_path: Path) -> None:
    """An application that did not ask for it has no such route."""
    gate = Limen(settings_for(tmp_path), roles=ROLES)
    app = Starlette()
    gate.protect(app)
    with TestClient(app) as client:
        chief = somebody(gate, client, "chief", "chief")
        assert chief.send("GET", PATH).status_code == 404
        assert chief.send("DELETE", f"{PATH}/{chief.id}").status_code == 404
