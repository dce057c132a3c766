"""API keys over HTTP: made, listed, rotated, revoked, and presented."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from limen.authn.open_sockets import FRESH_SECONDS
from limen.starlette import interactive, live, permissions, public, roles
from tests.support.gates import PASSWORD, settings_for
from tests.support.waiting import felt_here

ROLES = {
    "maker": ["order:create", "order:read", "api-keys:own"],
    "robot": ["order:create", "order:read"],
    "admin": [*ADMINISTRATION, "order:create", "order:read", "order:approve"],
}
KEYS = "/auth/api-keys"
SERVICES = "/admin/api/services"
BOUND = 2.0
"""Seconds within which a change has to be felt."""


def _whoami() -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of its own: what is stated is written on the function."""

    async def whoami(request: Request) -> Response:
        user = request.user
        told = {"sub": user.sub, "kind": user.kind, "roles": sorted(user.roles)}
        return JSONResponse({**told, "permissions": sorted(user.permissions)})

    return whoami


@public
async def _open(request: Request) -> Response:
    return JSONResponse({"somebody": request.user.is_authenticated})


APP_ROUTES = [
    Route("/who", _whoami()),
    Route("/open", _open),
    Route("/live", live(_whoami())),
    Route("/by-role", roles("maker")(_whoami())),
    Route("/create", permissions("order:create")(_whoami())),
    Route("/person", interactive(_whoami())),
]


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with roles that may have keys."""
    return Limen(settings_for(tmp_path), roles=ROLES)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application with limen's own routes and some of its own; it comes from 192.0.2.7."""
    app = Starlette(routes=[*APP_ROUTES])
    gate.protect(app, administration=True)
    with TestClient(app, client=("192.0.2.7", 50000)) as client:
        yield client


@dataclass
class Person:
    """Somebody who has logged in."""

    client: TestClient
    id: str
    token: str

    def ask(self, method: str, path: str, json: Any = None) -> Any:
        """Send a request with the access token."""
        return self.client.request(method, path, json=json, headers={"Authorization": f"Bearer {self.token}"})

    def key(self, **wanted: Any) -> dict[str, Any]:
        """Make a key and return the answer."""
        answer = self.ask("POST", KEYS, {"name": "mine", **wanted})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@pytest.fixture
def log_in(client: TestClient, gate: Limen) -> Callable[[str, str], Person]:
    """Make an account with a role and log it in."""

    def act(name: str, role: str) -> Person:
        account = client.portal.call(_create, gate, name, role)  # type: ignore[union-attr]
        tokens = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
        return Person(client, account, tokens["access_token"])

    return act


async def _create(gate: Limen, name: str, role: str) -> str:
    return (await gate.accounts.create(name, PASSWORD, roles=frozenset({role}))).id


@pytest.fixture
def maker(log_in: Callable[[str, str], Person]) -> Person:
    """Somebody who may have keys."""
    return log_in("ann", "maker")


@pytest.fixture
def admin(log_in: Callable[[str, str], Person]) -> Person:
    """Somebody who administers."""
    return log_in("root", "admin")


def present(client: TestClient, key: str, path: str = "/who", **more: Any) -> Any:
    """Send a request with a key in its header."""
    return client.get(path, headers={"X-API-Key": key, **more})


def felt(check: Callable[[], bool]) -> None:
    """Wait until it is so, at most as long as is promised."""
    felt_here(check, within=BOUND)


# --- making and presenting


def test_a_key_is_shown_once_and_opens_what_its_owner_may(client: TestClient, maker: Person) -> None:
    """Both headers do; without scopes it is all that the owner may, roles included."""
    made = maker.key()
    assert sorted(made) == ["expires_at", "id", "key", "name", "scopes"]
    assert made["key"].startswith("lim_live_")
    expected = {"sub": maker.id, "kind": "person", "roles": ["maker"], "permissions": sorted(ROLES["maker"])}
    assert present(client, made["key"]).json() == expected
    assert client.get("/who", headers={"Authorization": f"Bearer {made['key']}"}).json() == expected
    assert client.get("/who", headers={"Authorization": f"bearer  {made['key']}"}).json() == expected
    for path in ("/live", "/by-role", "/create"):
        for _ in range(2):
            assert present(client, made["key"], path).status_code == 200, path
    listed = maker.ask("GET", KEYS).json()["items"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert made["key"] not in str(listed)
    assert "key" not in listed[0]


def test_the_use_is_noted(client: TestClient, maker: Person, gate: Limen) -> None:
    """The time of the last use appears a moment after the request, and one event of it."""
    made = maker.key()
    assert maker.ask("GET", KEYS).json()["items"][0]["last_used_at"] is None
    for _ in range(3):
        present(client, made["key"])
    felt(lambda: maker.ask("GET", KEYS).json()["items"][0]["last_used_at"] is not None)

    def told() -> list[str]:
        events = client.portal.call(gate.storage.events)  # type: ignore[union-attr]
        return [each.event for each in events if each.target == made["id"]]

    # The event is written after the time.
    felt(lambda: len(told()) > 1)
    assert told() == ["api_key_created", "api_key_used"]


def test_scopes_limit_to_what_is_named(client: TestClient, maker: Person) -> None:
    """With scopes a key has these permissions and no role, so that no route for a role is open to it."""
    made = maker.key(scopes=["order:read"])
    assert made["scopes"] == ["order:read"]
    told = present(client, made["key"]).json()
    assert (told["roles"], told["permissions"]) == ([], ["order:read"])
    assert present(client, made["key"], "/create").json()["code"] == "permission_required"
    assert present(client, made["key"], "/by-role").json()["code"] == "role_required"
    assert present(client, made["key"], "/live").json()["permissions"] == ["order:read"]


@pytest.mark.parametrize("path", ["/who", "/live"])
def test_a_key_never_has_more_than_its_owner_has_now(
    client: TestClient, maker: Person, admin: Person, path: str
) -> None:
    """A role that the owner loses is lost to the key as well, within two seconds; scopes do not keep it."""
    all_of_it, scoped = maker.key()["key"], maker.key(scopes=["order:create"])["key"]
    assert present(client, scoped, path).json()["permissions"] == ["order:create"]
    assert admin.ask("PATCH", f"/admin/api/accounts/{maker.id}", {"roles": []}).status_code == 200
    for key in (all_of_it, scoped):
        felt(lambda key=key: present(client, key, path).json()["permissions"] == [])  # type: ignore[misc]


@pytest.mark.parametrize("verb", ["disable", "block"])
def test_the_key_of_a_disabled_owner_is_dead(client: TestClient, maker: Person, admin: Person, verb: str) -> None:
    """Within two seconds, and again alive when the account is."""
    key = maker.key()["key"]
    assert present(client, key).status_code == 200
    assert admin.ask("POST", f"/admin/api/accounts/{maker.id}/{verb}").status_code == 204
    felt(lambda: present(client, key).json().get("code") == "account_not_active")
    undo = {"disable": "enable", "block": "unblock"}[verb]
    assert admin.ask("POST", f"/admin/api/accounts/{maker.id}/{undo}").status_code == 204
    assert present(client, key).status_code == 200


def test_the_key_of_a_deleted_owner_is_gone(client: TestClient, maker: Person, admin: Person) -> None:
    """Its row goes with the account."""
    key = maker.key()["key"]
    assert present(client, key).status_code == 200
    assert admin.ask("DELETE", f"/admin/api/accounts/{maker.id}").status_code == 204
    felt(lambda: present(client, key).status_code == 401)


def test_a_revoked_key_is_dead_at_once(client: TestClient, maker: Person) -> None:
    """In this process with the answer; the list shows it no more; a second time there is none."""
    made = maker.key()
    assert present(client, made["key"]).status_code == 200
    assert maker.ask("DELETE", f"{KEYS}/{made['id']}").status_code == 204
    answer = present(client, made["key"])
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert (answer.json()["title"], answer.json()["detail"]) == (
        "The credential is not valid.",
        "The API key is not valid.",
    )
    assert maker.ask("GET", KEYS).json()["items"] == []
    assert maker.ask("DELETE", f"{KEYS}/{made['id']}").status_code == 404
    assert maker.ask("POST", f"{KEYS}/{made['id']}/rotate").status_code == 404


def test_a_revocation_elsewhere_is_felt_in_time(client: TestClient, maker: Person, gate: Limen, tmp_path: Path) -> None:
    """Another process's revocation ends the key here within two seconds, although it was seen a moment ago."""
    made = maker.key()
    assert present(client, made["key"]).status_code == 200

    async def elsewhere() -> None:
        async with Limen(gate.settings, roles=ROLES).running() as other:
            from limen.features.roles.service import OPERATOR

            assert other.api_keys is not None
            await other.api_keys.service.revoke_for(OPERATOR, maker.id, made["id"])

    client.portal.call(elsewhere)  # type: ignore[union-attr]
    felt(lambda: present(client, made["key"]).status_code == 401)


def test_after_a_restore_a_key_waits_to_be_confirmed(
    client: TestClient, gate: Limen, admin: Person, log_in: Callable[[str, str], Person]
) -> None:
    """It opens nothing, in the list it says so, and its owner, or who administers the service, confirms it."""
    service = admin.ask("POST", SERVICES, {"name": "billing", "roles": ["maker"]}).json()["id"]
    below = f"{SERVICES}/{service}/api-keys"
    of_service = admin.ask("POST", below, {"name": "nightly"}).json()
    mine = log_in("ann", "maker").key()
    assert present(client, mine["key"]).status_code == 200
    client.portal.call(_restored, gate)  # type: ignore[union-attr]
    felt(lambda: present(client, mine["key"]).status_code == 401)
    refused = present(client, of_service["key"])
    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
    assert "confirmed" in refused.json()["detail"]
    maker, boss = again(client, "ann"), again(client, "root")
    assert [key["confirmed"] for key in maker.ask("GET", KEYS).json()["items"]] == [False]
    assert maker.ask("POST", f"{KEYS}/{of_service['id']}/confirm").status_code == 404
    assert maker.ask("POST", f"{below}/{of_service['id']}/confirm").status_code == 403
    for _ in range(2):
        assert maker.ask("POST", f"{KEYS}/{mine['id']}/confirm").status_code == 204
        assert boss.ask("POST", f"{below}/{of_service['id']}/confirm").status_code == 204
    for key in (mine, of_service):
        assert present(client, key["key"]).status_code == 200
    assert client.post(f"{KEYS}/{mine['id']}/confirm", headers={"X-API-Key": mine["key"]}).status_code == 401
    assert maker.key()["id"] != mine["id"]
    assert [key["confirmed"] for key in maker.ask("GET", KEYS).json()["items"]] == [True, True]


async def _restored(gate: Limen) -> None:
    await gate.maintenance.restored(actor="cli")


def again(client: TestClient, name: str) -> Person:
    """Log somebody in once more."""
    tokens = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
    return Person(client, "", tokens["access_token"])


def test_a_rotated_key_goes_on_for_a_day(client: TestClient, maker: Person) -> None:
    """Old and new secret open; the one before that does not; a revocation ends all of them."""
    first = maker.key(scopes=["order:read"])
    second = maker.ask("POST", f"{KEYS}/{first['id']}/rotate")
    assert second.status_code == 201
    second = second.json()
    assert (second["id"], second["name"], second["scopes"]) == (first["id"], "mine", ["order:read"])
    assert second["key"] != first["key"]
    assert present(client, first["key"]).status_code == 200
    assert present(client, second["key"]).status_code == 200
    third = maker.ask("POST", f"{KEYS}/{first['id']}/rotate").json()
    felt(lambda: present(client, first["key"]).status_code == 401)
    assert present(client, second["key"]).status_code == 200
    assert present(client, third["key"]).status_code == 200
    assert maker.ask("DELETE", f"{KEYS}/{first['id']}").status_code == 204
    for each in (first, second, third):
        assert present(client, each["key"]).status_code == 401


def test_allowed_networks(client: TestClient, maker: Person) -> None:
    """The socket's address has to be in one of them; another one is refused, also for a key that is remembered."""
    inside = maker.key(networks=["192.0.2.0/24", "2001:db8::/32"])
    outside = maker.key(networks=["198.51.100.1"])
    for _ in range(2):
        assert present(client, inside["key"]).status_code == 200
        answer = present(client, outside["key"], **{"X-Forwarded-For": "198.51.100.1"})
        assert (answer.status_code, answer.json()["code"]) == (403, "policy_denied")
        assert present(client, outside["key"], "/open").json() == {"somebody": False}
    listed = {each["id"]: each["networks"] for each in maker.ask("GET", KEYS).json()["items"]}
    assert listed[outside["id"]] == ["198.51.100.1/32"]


# --- what is refused


def test_a_key_in_the_url_is_no_credential(client: TestClient, maker: Person) -> None:
    """Nobody is there, however the parameter is called: URLs are logged."""
    key = maker.key()["key"]
    for name in ("api_key", "key", "X-API-Key", "access_token", "authorization"):
        answer = client.get("/who", params={name: key})
        assert (answer.status_code, answer.json()["code"]) == (401, "credential_missing")
    assert client.get("/who", headers={"Cookie": f"X-API-Key={key}"}).status_code == 401


def test_hostile_keys(client: TestClient, maker: Person) -> None:
    """A wrong checksum, an unknown id, a part of a key, bytes that are no text, 100 KB: 401 with a code, never 500."""
    key = maker.key()["key"]
    from limen.core.ids import uuid7
    from limen.crypto.api_keys import ApiKey, new_secret, read_key

    real = read_key(key.encode(), "live")
    assert real is not None
    wrong = [
        key[:-1] + ("a" if key[-1] != "a" else "b"),
        key[:-7],
        key + "A",
        key.upper(),
        ApiKey("live", uuid7(), new_secret()).text(),
        ApiKey("live", real.id, new_secret()).text(),
        ApiKey("test", real.id, real.secret).text(),
        "lim_",
        "lim_" + "0" * 100_000,
    ]
    for each in wrong:
        for headers in ({"X-API-Key": each}, {"Authorization": f"Bearer {each}"}):
            answer = client.get("/who", headers=headers)
            assert (answer.status_code, answer.json()["code"]) in (
                (401, "token_invalid"),
                (401, "credential_malformed"),
            ), each[:40]
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    for raw in (b"lim_live_\xff\xfe", "lim_live_ключ".encode(), b"", b"something else", b"lim_live_\x00"):
        answer = client.get("/who", headers={b"X-API-Key": raw})
        assert answer.status_code == 401, raw
    assert client.get("/open", headers={"X-API-Key": "nonsense"}).json() == {"somebody": False}


def test_two_credentials_are_refused(client: TestClient, maker: Person, admin: Person) -> None:
    """Two keys, a key beside a token, the same key twice: nobody guesses which one counts."""
    key, other = maker.key()["key"], maker.key()["key"]
    beside = client.get("/who", headers={"X-API-Key": key, "Authorization": f"Bearer {admin.token}"})
    assert (beside.status_code, beside.json()["code"]) == (400, "credentials_conflict")
    two = client.get("/who", headers={"X-API-Key": key, "Authorization": f"Bearer {other}"})
    assert (two.status_code, two.json()["code"]) == (400, "credentials_conflict")
    same = client.get("/who", headers={"X-API-Key": key, "Authorization": f"Bearer {key}"})
    assert (same.status_code, same.json()["code"]) == (401, "credential_malformed")
    twice = client.get("/who", headers=[("X-API-Key", key), ("X-API-Key", key)])
    assert (twice.status_code, twice.json()["code"]) == (401, "credential_malformed")
    bearers = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    assert client.get("/who", headers=bearers).json()["code"] == "credential_malformed"


SECURITY = [
    ("GET", KEYS),
    ("POST", KEYS),
    ("DELETE", f"{KEYS}/0190aaaa-0000-7000-8000-000000000000"),
    ("POST", f"{KEYS}/0190aaaa-0000-7000-8000-000000000000/rotate"),
    ("POST", "/auth/password"),
    ("POST", "/auth/logout-all"),
    ("DELETE", "/auth/sessions/0190aaaa-0000-7000-8000-000000000000"),
    ("POST", "/admin/api/accounts"),
    ("PATCH", "/admin/api/accounts/0190aaaa-0000-7000-8000-000000000000"),
    ("DELETE", "/admin/api/accounts/0190aaaa-0000-7000-8000-000000000000"),
    ("POST", "/admin/api/accounts/0190aaaa-0000-7000-8000-000000000000/disable"),
    ("PUT", "/admin/api/roles/x"),
    ("DELETE", "/admin/api/roles/x"),
    ("POST", SERVICES),
    ("POST", f"{SERVICES}/0190aaaa-0000-7000-8000-000000000000/api-keys"),
    ("GET", "/person"),
]


def test_no_key_opens_what_takes_a_person(client: TestClient, admin: Person) -> None:
    """Also a key that may whatever an administrator may: 401 `step_up_required` (RFC 9470), and nothing is done."""
    key = admin.key()["key"]
    for method, path in SECURITY:
        body: dict[str, object] | None = {} if method in ("POST", "PUT") else None
        answer = client.request(method, path, headers={"X-API-Key": key}, json=body)
        assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required"), (method, path)
        assert 'error="insufficient_user_authentication"' in answer.headers["www-authenticate"]


def test_a_person_passes_where_a_person_is_asked_for(client: TestClient, maker: Person) -> None:
    """A login is one."""
    assert maker.ask("GET", "/person").status_code == 200


def test_a_key_may_read_where_its_owner_may(client: TestClient, admin: Person) -> None:
    """Reading is no act of account security: the permission decides."""
    assert present(client, admin.key()["key"], "/admin/api/accounts").status_code == 200
    scoped = admin.key(scopes=["order:read"])["key"]
    assert present(client, scoped, "/admin/api/accounts").json()["code"] == "permission_required"


def test_keys_of_ones_own_take_a_permission(client: TestClient, log_in: Callable[[str, str], Person]) -> None:
    """Without ``api-keys:own`` nobody makes one; nobody at all without a login."""
    robot = log_in("bob", "robot")
    assert robot.ask("POST", KEYS, {"name": "x"}).json()["code"] == "permission_required"
    assert client.post(KEYS, json={"name": "x"}).status_code == 401


def test_whose_key_it_is_is_not_for_the_body_to_say(maker: Person, admin: Person) -> None:
    """A field that is not asked for is refused, so a victim's id in the body does nothing (CVE-2025-61928)."""
    for field in ("account_id", "userId", "user_id", "owner", "kind", "created_by", "roles", "key"):
        answer = maker.ask("POST", KEYS, {"name": "x", field: admin.id})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input"), field
    assert admin.ask("GET", KEYS).json()["items"] == []


def test_somebody_elses_key_is_not_found(maker: Person, admin: Person) -> None:
    """Neither revoked nor rotated nor told apart from one that does not exist."""
    made = maker.key()
    for method, path in (("DELETE", f"{KEYS}/{made['id']}"), ("POST", f"{KEYS}/{made['id']}/rotate")):
        assert admin.ask(method, path).status_code == 404
    for wrong in ("x", "0190aaaa-0000-7000-8000-000000000000", "%00", "..%2f"):
        assert maker.ask("DELETE", f"{KEYS}/{wrong}").status_code == 404


WRONG: list[dict[str, Any]] = [
    {"name": ""},
    {"name": " "},
    {"name": "x" * 129},
    {"name": "a\nb"},
    {"name": None},
    {"scopes": []},
    {"scopes": ["*"]},
    {"scopes": ["order:*"]},
    {"scopes": "order:read"},
    {"scopes": [1]},
    {"networks": []},
    {"networks": ["10.0.0.0/33"]},
    {"networks": ["example.com"]},
    {"networks": ["fe80::1%eth0"]},
    {"networks": ["10.0.0.0/8"] * 40 + [f"10.0.{n}.0/24" for n in range(40)]},
    {"expires_in": 0},
    {"expires_in": -1},
    {"expires_in": 59},
    {"expires_in": 365 * 86_400 + 1},
    {"expires_in": 1.5},
    {"expires_in": 10**15},
    {"expires_in": True},
]


def test_input_that_is_refused(maker: Person) -> None:
    """422, and no key is made."""
    for wrong in WRONG:
        assert maker.ask("POST", KEYS, {"name": "x", **wrong}).status_code == 422, wrong
    assert maker.ask("GET", KEYS).json()["items"] == []


def test_scopes_beyond_ones_own_are_refused(maker: Person) -> None:
    """403, and no key is made."""
    answer = maker.ask("POST", KEYS, {"name": "x", "scopes": ["order:read", "order:approve"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_required")
    assert maker.ask("GET", KEYS).json()["items"] == []


# --- services


def test_a_service_has_keys_and_no_login(client: TestClient, admin: Person) -> None:
    """Made, listed, given a key, switched off and on; nobody logs in as it."""
    made = admin.ask("POST", SERVICES, {"name": "billing", "roles": ["robot"]})
    assert made.status_code == 201, made.text
    service = made.json()
    assert (service["name"], service["status"], service["roles"]) == ("billing", "active", ["robot"])
    path = f"{SERVICES}/{service['id']}"
    assert made.headers["location"] == path
    assert admin.ask("GET", path).json() == service
    assert [each["name"] for each in admin.ask("GET", SERVICES).json()["items"]] == ["billing"]
    issued = admin.ask("POST", f"{path}/api-keys", {"name": "k"}).json()
    told = present(client, issued["key"]).json()
    assert (told["sub"], told["kind"], told["roles"]) == (service["id"], "service", ["robot"])
    assert present(client, issued["key"], "/auth/me").json()["kind"] == "service"
    assert present(client, issued["key"], "/person").json()["code"] == "step_up_required"
    assert client.post("/auth/login", json={"username": "billing", "password": PASSWORD}).status_code == 401
    rotated = admin.ask("POST", f"{path}/api-keys/{issued['id']}/rotate").json()
    assert present(client, rotated["key"]).status_code == 200
    assert admin.ask("POST", f"{path}/disable").status_code == 204
    felt(lambda: present(client, issued["key"]).status_code == 401)
    assert admin.ask("POST", f"{path}/enable").status_code == 204
    assert present(client, issued["key"]).status_code == 200
    assert admin.ask("DELETE", f"{path}/api-keys/{issued['id']}").status_code == 204
    assert present(client, issued["key"]).status_code == 401
    assert admin.ask("GET", f"{path}/api-keys").json()["items"] == []


def test_services_take_a_permission(client: TestClient, maker: Person, admin: Person) -> None:
    """Without ``services:write`` none is made, seen or given a key."""
    service = admin.ask("POST", SERVICES, {"name": "billing"}).json()["id"]
    for method, path in (
        ("GET", SERVICES),
        ("POST", SERVICES),
        ("GET", f"{SERVICES}/{service}/api-keys"),
        ("POST", f"{SERVICES}/{service}/api-keys"),
    ):
        assert maker.ask(method, path, {"name": "x"} if method == "POST" else None).status_code == 403


def test_nobody_makes_a_key_for_a_person(maker: Person, admin: Person) -> None:
    """Not even an administrator: it would be a way to act as somebody else."""
    path = f"{SERVICES}/{maker.id}"
    assert admin.ask("POST", f"{path}/api-keys", {"name": "x"}).status_code == 404
    assert admin.ask("GET", f"{path}/api-keys").status_code == 404
    assert admin.ask("POST", f"{path}/disable").status_code == 404
    assert maker.ask("GET", KEYS).json()["items"] == []


def test_nobody_makes_a_key_for_a_service_that_may_more(
    client: TestClient, gate: Limen, admin: Person, log_in: Callable[[str, str], Person]
) -> None:
    """Who has the key may what the service may: it takes all of that, beside ``services:write``."""
    body = {"permissions": ["services:write"], "extends": []}
    assert admin.ask("PUT", "/admin/api/roles/helpdesk", body).status_code in (200, 201, 204)
    clerk = log_in("carl", "helpdesk")
    service = admin.ask("POST", SERVICES, {"name": "billing", "roles": ["robot"]}).json()["id"]
    answer = clerk.ask("POST", f"{SERVICES}/{service}/api-keys", {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_required")
    assert clerk.ask("POST", f"{SERVICES}/{service}/disable").status_code == 403
    empty = clerk.ask("POST", SERVICES, {"name": "own"}).json()["id"]
    assert clerk.ask("POST", f"{SERVICES}/{empty}/api-keys", {"name": "x"}).status_code == 201
    wanted = {"name": "x", "scopes": ["order:read"]}
    assert clerk.ask("POST", f"{SERVICES}/{empty}/api-keys", wanted).status_code == 403


def test_refusals_on_services_and_their_keys_are_recorded(
    gate: Limen, client: TestClient, admin: Person, log_in: Callable[[str, str], Person]
) -> None:
    """As those on accounts are: who, on which one, from where and why; also what does not fit the state."""
    assert admin.ask("PUT", "/admin/api/roles/helpdesk", {"permissions": ["services:write"]}).status_code in (200, 201)
    clerk = log_in("carl", "helpdesk")
    service = admin.ask("POST", SERVICES, {"name": "billing", "roles": ["robot"]}).json()["id"]
    path = f"{SERVICES}/{service}"
    key = admin.ask("POST", f"{path}/api-keys", {"name": "night"}).json()["id"]
    assert clerk.ask("POST", SERVICES, {"name": "own", "roles": ["robot"]}).status_code == 403
    for verb, ending in (("POST", "disable"), ("POST", "enable"), ("POST", "api-keys")):
        assert clerk.ask(verb, f"{path}/{ending}", {"name": "x"} if ending == "api-keys" else None).status_code == 403
    for verb, ending in (("POST", "/rotate"), ("POST", "/confirm"), ("DELETE", "")):
        assert clerk.ask(verb, f"{path}/api-keys/{key}{ending}").status_code == 403
    wanted = {"name": "x", "scopes": ["order:approve"]}
    assert admin.ask("POST", f"{path}/api-keys", wanted).status_code == 403
    assert admin.ask("POST", f"{path}/disable").status_code == 204
    assert admin.ask("POST", f"{path}/api-keys", {"name": "x"}).status_code == 409

    events = client.portal.call(gate.storage.events)  # type: ignore[union-attr]
    told = [(each.event, each.actor, each.target, each.data) for each in events if each.outcome == "failure"]
    refused = {"reason": "permission_required"}
    of_key = {"account": service, **refused}
    assert told == [
        ("account_created", clerk.id, "", {"roles": ["robot"], **refused}),
        ("account_disabled", clerk.id, service, refused),
        ("account_enabled", clerk.id, service, refused),
        ("api_key_created", clerk.id, "", of_key),
        ("api_key_rotated", clerk.id, key, of_key),
        ("api_key_confirmed", clerk.id, key, of_key),
        ("api_key_revoked", clerk.id, key, of_key),
        ("api_key_created", admin.id, "", of_key),
        ("api_key_created", admin.id, "", {"account": service, "reason": "conflict"}),
    ]
    assert {each.source for each in events if each.outcome == "failure"} == {"192.0.2.7"}


def test_without_a_data_secret_there_are_no_keys(tmp_path: Path) -> None:
    """No route, and no header that means anything."""
    gate = Limen(settings_for(tmp_path, data_secrets=""), roles=ROLES)
    app = Starlette(routes=[*APP_ROUTES])
    gate.protect(app, administration=True)
    with TestClient(app) as client:
        assert client.post(KEYS, json={"name": "x"}).status_code in (401, 404)
        assert client.get("/who", headers={"X-API-Key": "lim_live_x"}).json()["code"] == "credential_missing"
        assert client.get("/who", headers={"Authorization": "Bearer lim_live_x"}).status_code == 401


def test_what_is_remembered_is_asked_again_within_the_bound() -> None:
    """The promise is two seconds; an answer of the store is believed for half of that at most."""
    assert FRESH_SECONDS <= BOUND / 2
