"""``/admin/api/roles`` and ``/admin/api/permissions``: what is answered, to whom, and what never is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from limen.features.roles.service import OPERATOR
from tests.support.gates import settings_for
from tests.web.routes.administering import ADDRESS, Somebody, records, run, somebody
from tests.web.routes.test_own_routes import code_of

PATH = "/admin/api/roles"
PERMISSIONS = "/admin/api/permissions"
ROLES: dict[str, list[str]] = {
    "chief": [*ADMINISTRATION, "order:create", "order:approve"],
    "author": ["roles:write", "roles:read", "order:create"],
    "reader": ["roles:read"],
    "granter": ["roles:assign", "order:create"],
    "maker": ["order:create"],
}
ROUTES = [
    ("GET", PATH, "roles:read"),
    ("GET", f"{PATH}/maker", "roles:read"),
    ("GET", PERMISSIONS, "roles:read"),
    ("PUT", f"{PATH}/new", "roles:write"),
    ("DELETE", f"{PATH}/spare", "roles:write"),
]


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with roles that administer, wholly or in part."""
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


def put(who: Somebody, name: str, *permissions: str, extends: list[str] | None = None) -> Any:
    """Make or replace a role."""
    body: dict[str, Any] = {"permissions": list(permissions)}
    return who.send("PUT", f"{PATH}/{name}", json=body if extends is None else {**body, "extends": extends})


def test_a_role_is_made_shown_replaced_and_deleted(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """201 for a new one, 200 for another content, 204 for its end; each with a record of who, what and from where."""
    answer = put(chief, "writer", "order:approve", extends=["maker"])
    told = {
        "name": "writer",
        "source": "database",
        "permissions": ["order:approve"],
        "extends": ["maker"],
        "gives": ["order:approve", "order:create"],
    }
    assert (answer.status_code, answer.json()) == (201, told)
    assert answer.headers["cache-control"] == "no-store"
    assert chief.send("GET", f"{PATH}/writer").json() == told
    answer = put(chief, "writer", "order:create")
    assert (answer.status_code, answer.json()["gives"]) == (200, ["order:create"])
    answer = chief.send("DELETE", f"{PATH}/writer")
    assert (answer.status_code, answer.content) == (204, b"")
    assert code_of(chief.send("GET", f"{PATH}/writer")) == (404, "not_found")
    assert code_of(chief.send("DELETE", f"{PATH}/writer")) == (404, "not_found")
    for name in ("role_created", "role_changed", "role_deleted"):
        (record,) = records(gate, client, name)
        assert (record.actor, record.target, record.source, record.outcome) == (chief.id, "writer", ADDRESS, "success")
        assert record.request_id


def test_roles_are_listed_in_pages(chief: Somebody) -> None:
    """In the order of their names, with ``next`` until the end."""
    met: list[str] = []
    query = "?limit=2"
    while True:
        page = chief.send("GET", PATH + query).json()
        assert len(page["items"]) <= 2
        met += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit=2&after={page['next']}"
    assert met == sorted(ROLES)


@pytest.mark.parametrize("path", [PATH, PERMISSIONS])
@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "after=%00"])
def test_a_page_that_is_none(chief: Somebody, path: str, query: str) -> None:
    """422, and the field."""
    answer = chief.send("GET", f"{path}?{query}")
    assert code_of(answer) == (422, "invalid_input")
    assert answer.json()["errors"][0]["loc"][0] == "query"


def test_permissions_are_listed_with_the_roles_that_give_them(chief: Somebody) -> None:
    """Those of the application and limen's own."""
    page = chief.send("GET", f"{PERMISSIONS}?limit=200").json()
    found = {item["name"]: item["roles"] for item in page["items"]}
    assert found.keys() == ADMINISTRATION | {"order:create", "order:approve"}
    assert found["order:create"] == ["author", "chief", "granter", "maker"]
    assert found["events:read"] == ["chief"]
    assert page["next"] is None


@pytest.mark.parametrize(("method", "path", "needed"), ROUTES)
@pytest.mark.parametrize("role", ["chief", "author", "reader", "granter", "maker"])
def test_each_route_is_by_permission(
    gate: Limen, client: TestClient, method: str, path: str, needed: str, role: str
) -> None:
    """Exactly who holds the permission of the route gets in."""
    run(client, lambda: gate.roles.put(OPERATOR, "spare", permissions=["order:create"]))
    caller = somebody(gate, client, "ann", role)
    body = {"json": {"permissions": ["order:create"]}} if method == "PUT" else {}
    answer = caller.send(method, path, **body)
    if needed in ROLES[role]:
        assert answer.status_code in {200, 201, 204}
    else:
        assert code_of(answer) == (403, "permission_required")


@pytest.mark.parametrize(("method", "path", "needed"), ROUTES)
def test_nobody_without_a_token_gets_in(client: TestClient, method: str, path: str, needed: str) -> None:
    """401 before the body is looked at."""
    answer = client.request(method, path, content=b"{" if method == "PUT" else None)
    assert code_of(answer) == (401, "credential_missing")


@pytest.mark.parametrize(("method", "path", "needed"), ROUTES)
def test_each_route_asks_live(
    gate: Limen, client: TestClient, chief: Somebody, method: str, path: str, needed: str
) -> None:
    """A role that the database no longer has is missed at once, although the token is not known to be stale yet."""
    other = somebody(gate, client, "other", "chief")
    run(client, lambda: gate.roles.revoke(OPERATOR, other.id, ["chief"]))
    gate.changed.clear()  # as in another process, before it has heard of it
    body: dict[str, Any] = {"json": {"permissions": []}} if method == "PUT" else {}
    assert code_of(other.send(method, path, **body)) == (403, "permission_required")


def test_nobody_defines_more_than_they_hold(gate: Limen, client: TestClient) -> None:
    """Neither what is to be, nor what is; not by extending, not by deleting (ASVS 8.2.1)."""
    author = somebody(gate, client, "ann", "author")
    assert put(author, "mine", "order:create", "roles:read").status_code == 201
    assert code_of(put(author, "more", "order:approve")) == (403, "permission_required")
    assert code_of(put(author, "more", "order:unheard-of")) == (403, "permission_required")
    assert code_of(put(author, "more", "order:create", extends=["chief"])) == (403, "permission_required")
    run(client, lambda: gate.roles.put(OPERATOR, "strong", permissions=["order:approve"]))
    assert code_of(put(author, "strong")) == (403, "permission_required")
    assert code_of(author.send("DELETE", f"{PATH}/strong")) == (403, "permission_required")
    assert author.send("GET", f"{PATH}/strong").json()["gives"] == ["order:approve"]
    refused = [record for record in records(gate, client, "role_changed") if record.outcome == "failure"]
    assert {record.actor for record in refused} == {author.id}
    assert {record.data["reason"] for record in refused} == {"permission_required"}


def test_a_role_of_the_code_is_read_only(chief: Somebody) -> None:
    """409, put or deleted."""
    assert code_of(put(chief, "maker", "order:create")) == (409, "conflict")
    assert code_of(chief.send("DELETE", f"{PATH}/maker")) == (409, "conflict")


def test_a_role_in_use_is_not_deleted(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """409 while an account holds it, or another role extends it."""
    put(chief, "held", "order:create")
    put(chief, "extended", "order:create")
    put(chief, "extending", extends=["extended"])
    somebody(gate, client, "ann", "held")
    assert code_of(chief.send("DELETE", f"{PATH}/held")) == (409, "conflict")
    assert code_of(chief.send("DELETE", f"{PATH}/extended")) == (409, "conflict")


def test_the_last_administrator_is_not_defined_away(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """409: whoever administers by a role of the database cannot take ``roles:assign`` out of it, being the last."""
    put(chief, "admin", *ADMINISTRATION)
    admin = somebody(gate, client, "root", "admin")
    run(client, lambda: gate.roles.revoke(OPERATOR, chief.id, ["chief"]))
    assert code_of(put(admin, "admin", "roles:write")) == (409, "conflict")
    assert admin.send("GET", f"{PATH}/admin").json()["gives"] == sorted(ADMINISTRATION)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "permissions"]),
        ({"permissions": ["order:create"], "source": "code"}, ["body"]),
        ({"permissions": "order:create"}, ["body", "permissions"]),
        ({"permissions": ["order:create", "order"]}, ["body", "permissions", 1]),
        ({"permissions": ["order:*"]}, ["body", "permissions", 0]),
        ({"permissions": [], "extends": ["nothing"]}, ["body", "extends"]),
        ({"permissions": [], "extends": ["new"]}, ["body", "extends"]),
        ({"permissions": [], "extends": [7]}, ["body", "extends", 0]),
    ],
)
def test_what_is_no_role(chief: Somebody, body: object, loc: list[str | int]) -> None:
    """422 with the place of what is wrong, and no role."""
    answer = chief.send("PUT", f"{PATH}/new", json=body)
    assert code_of(answer) == (422, "invalid_input")
    assert answer.json()["errors"][0]["loc"] == loc
    assert code_of(chief.send("GET", f"{PATH}/new")) == (404, "not_found")


@pytest.mark.parametrize("name", ["two%20words", "a,b", "7up", "x" * 65, "%C3%A4", "a%00b"])
def test_what_is_no_name(chief: Somebody, name: str) -> None:
    """Not found where it is looked for, 422 where it is to be made; never repeated."""
    assert code_of(chief.send("GET", f"{PATH}/{name}")) == (404, "not_found")
    assert code_of(chief.send("DELETE", f"{PATH}/{name}")) == (404, "not_found")
    answer = put(chief, name, "order:create")
    assert code_of(answer) == (422, "invalid_input")
    assert answer.json()["errors"][0]["loc"] == ["path", "name"]
    assert "words" not in answer.text


def test_a_change_counts_at_once(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """Whoever holds the role may what it gives now, with the token of before: its roles are the same."""
    put(chief, "helper", "order:create")
    ann = somebody(gate, client, "ann", "helper")
    assert ann.send("GET", "/auth/me").json()["permissions"] == ["order:create"]
    put(chief, "helper", "order:approve")
    assert ann.send("GET", "/auth/me").json()["permissions"] == ["order:approve"]


def test_granted_roles_make_the_token_stale(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """401 ``token_stale`` at once in this process; a refresh, and the roles of now."""
    ann = somebody(gate, client, "ann", "maker")
    answer = chief.send("PATCH", f"/admin/api/accounts/{ann.id}", json={"roles": ["maker", "reader"]})
    assert answer.status_code == 200
    assert code_of(ann.send("GET", "/auth/me")) == (401, "token_stale")
    assert ann.refresh().status_code == 200
    assert ann.send("GET", "/auth/me").json()["roles"] == ["maker", "reader"]


def test_granting_more_than_one_holds(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """R154: somebody with ``roles:assign`` who grants an administrator's role is refused; so is one's own."""
    granter = somebody(gate, client, "pat", "granter", "reader")
    ann = somebody(gate, client, "ann")
    run(client, lambda: gate.roles.put(OPERATOR, "clerk", permissions=["accounts:write", "accounts:read"]))
    run(client, lambda: gate.roles.grant(OPERATOR, granter.id, ["clerk"]))
    granter.refresh()
    path = "/admin/api/accounts"
    assert code_of(granter.send("PATCH", f"{path}/{ann.id}", json={"roles": ["chief"]})) == (403, "permission_required")
    assert code_of(granter.send("PATCH", f"{path}/{granter.id}", json={"roles": ["clerk"]})) == (403, "own_request")
    assert granter.send("PATCH", f"{path}/{ann.id}", json={"roles": ["maker"]}).status_code == 200


def test_without_administration_there_is_nothing(gate: Limen) -> None:
    """An application that does not ask for it has none of the routes, and its description names none."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app) as client:
        chief = somebody(gate, client, "chief", "chief")
        for method, path, _ in ROUTES:
            assert chief.send(method, path).status_code == 404
    from limen.web.routes.table import paths_of_schema

    assert not [path for path in paths_of_schema("/auth", registration_open=True, health=True) if "admin" in path]


def test_an_application_whose_roles_administer_nothing_starts(tmp_path: Path) -> None:
    """The permissions of the administration are known, although no role of the code gives them yet."""
    app = Starlette()
    bare = Limen(settings_for(tmp_path), roles={"maker": ["order:create"]})
    bare.protect(app, administration=True, strict=True)
    with TestClient(app) as client:
        ann = somebody(bare, client, "ann", "maker")
        assert code_of(ann.send("GET", PATH)) == (403, "permission_required")
