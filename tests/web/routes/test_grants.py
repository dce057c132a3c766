"""``/admin/api/accounts/{id}/permissions`` and ``…/roles``: what one account is granted, and by whom."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from tests.support.gates import settings_for
from tests.web.routes.administering import ADDRESS, Somebody, records, somebody
from tests.web.routes.test_own_routes import code_of

PATH = "/admin/api/accounts"
ROLES: dict[str, list[str]] = {
    "chief": [*ADMINISTRATION, "order:create", "order:approve"],
    "granter": ["roles:assign", "order:create"],
    "maker": ["order:create"],
    "checker": ["order:approve"],
}
LATE = "2099-12-31T00:00:00Z"


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with roles that administer, wholly or in part, where nobody makes and checks."""
    return Limen(settings_for(tmp_path), roles=ROLES, separation_of_duty=[["maker", "checker"]])


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
def maker(gate: Limen, client: TestClient) -> Somebody:
    """Somebody without any permission of limen's own."""
    return somebody(gate, client, "mary", "maker")


def test_a_permission_is_granted_shown_and_revoked(
    gate: Limen, client: TestClient, chief: Somebody, maker: Somebody
) -> None:
    """For good and for a time; the account shows both, and each act leaves a record with who, what and from where."""
    path = f"{PATH}/{maker.id}"
    answer = chief.send("PUT", f"{path}/permissions/order:approve")
    held = [{"name": "order:approve", "expires_at": None}]
    roles = [{"name": "maker", "expires_at": None}]
    assert (answer.status_code, answer.json()) == (200, {"roles": roles, "permissions": held})
    answer = chief.send("PUT", f"{path}/permissions/order:approve", json={"expires_at": LATE})
    held = [{"name": "order:approve", "expires_at": LATE}]
    assert answer.json()["permissions"] == held
    shown = chief.send("GET", path).json()
    assert (shown["roles"], shown["permissions"], shown["roles_ending"]) == (["maker"], held, [])
    assert chief.send("DELETE", f"{path}/permissions/order:approve").status_code == 204
    assert chief.send("GET", path).json()["permissions"] == []
    granted = records(gate, client, "permissions_granted")
    revoked = records(gate, client, "permissions_revoked")
    found = [*granted, *revoked]
    assert (len(granted), len(revoked)) == (2, 1)
    assert {(record.actor, record.target, record.source) for record in found} == {(chief.id, maker.id, ADDRESS)}


def test_a_role_is_granted_for_a_time(gate: Limen, client: TestClient, chief: Somebody) -> None:
    """Beside the others, which stay; it is among the account's roles, with its end."""
    other = somebody(gate, client, "otto", "granter")
    path = f"{PATH}/{other.id}"
    answer = chief.send("PUT", f"{path}/roles/maker", json={"expires_at": "2099-12-31T02:00:00+02:00"})
    ending = {"name": "maker", "expires_at": LATE}
    assert answer.status_code == 200
    assert answer.json()["roles"] == [{"name": "granter", "expires_at": None}, ending]
    shown = chief.send("GET", path).json()
    assert (shown["roles"], shown["roles_ending"]) == (["granter", "maker"], [ending])
    assert chief.send("DELETE", f"{path}/roles/maker").status_code == 204
    assert chief.send("GET", path).json()["roles"] == ["granter"]


def test_the_holder_has_it_after_a_refresh(client: TestClient, chief: Somebody, maker: Somebody) -> None:
    """The token of before is stale; the next one has the permission, and does without it when it was revoked."""
    for method, expected in (("PUT", ["order:approve", "order:create"]), ("DELETE", ["order:create"])):
        assert chief.send(method, f"{PATH}/{maker.id}/permissions/order:approve").status_code in {200, 204}
        assert code_of(maker.send("GET", "/auth/me")) == (401, "token_stale")
        maker.refresh()
        assert maker.send("GET", "/auth/me").json()["permissions"] == expected


@pytest.mark.parametrize("what", ["permissions/order:create", "roles/maker"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_who_may(gate: Limen, client: TestClient, maker: Somebody, method: str, what: str) -> None:
    """``roles:assign``, and what is granted; nobody for themselves; nobody in particular is 401."""
    granter, target = somebody(gate, client, "greg", "granter"), somebody(gate, client, "tom")
    assert client.request(method, f"{PATH}/{target.id}/{what}").status_code == 401
    assert code_of(maker.send(method, f"{PATH}/{target.id}/{what}")) == (403, "permission_required")
    assert granter.send(method, f"{PATH}/{target.id}/{what}").status_code in {200, 204}
    more = what.replace("create", "approve").replace("maker", "checker")
    if method == "PUT":
        assert code_of(granter.send(method, f"{PATH}/{target.id}/{more}")) == (403, "permission_required")
        assert code_of(granter.send(method, f"{PATH}/{granter.id}/{what}")) == (403, "own_request")


def test_a_role_that_excludes_another_is_refused(chief: Somebody, maker: Somebody) -> None:
    """409 ``conflict``, which names the pair."""
    answer = chief.send("PUT", f"{PATH}/{maker.id}/roles/checker")
    assert code_of(answer) == (409, "conflict")
    assert "checker and maker" in answer.json()["detail"]
    answer = chief.send("PATCH", f"{PATH}/{maker.id}", json={"roles": ["maker", "checker"]})
    assert code_of(answer) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"expires_at": "2099-12-31"}, (422, "invalid_input")),
        ({"expires_at": "2099-12-31T00:00:00"}, (422, "invalid_input")),
        ({"expires_at": "20991231T000000Z" * 3}, (422, "invalid_input")),
        ({"expires_at": "1999-12-31T00:00:00Z"}, (422, "invalid_input")),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, (422, "invalid_input")),
        ({"expires_at": 4_102_358_400}, (422, "invalid_input")),
        ({"until": LATE}, (422, "invalid_input")),
        ([], (400, "invalid_input")),
    ],
    ids=["a day", "no offset", "too long", "past", "beyond the last year", "a number", "another name", "a list"],
)
def test_bad_input(chief: Somebody, maker: Somebody, body: Any, expected: tuple[int, str]) -> None:
    """A time that is none, or is past, or not to be stored is refused; nothing is granted."""
    for what in ("permissions/order:approve", "roles/granter"):
        assert code_of(chief.send("PUT", f"{PATH}/{maker.id}/{what}", json=body)) == expected
    shown = chief.send("GET", f"{PATH}/{maker.id}").json()
    assert (shown["roles"], shown["permissions"]) == (["maker"], [])


def test_what_is_not_there(chief: Somebody, maker: Somebody) -> None:
    """No such account, no such role, no name of a permission."""
    unknown = "00000000-0000-7000-8000-000000000000"
    for what in ("permissions/order:approve", "roles/maker"):
        for method in ("PUT", "DELETE"):
            assert code_of(chief.send(method, f"{PATH}/{unknown}/{what}")) == (404, "not_found")
    for what in ("permissions/approve", "permissions/order:*", "roles/nobody"):
        for method in ("PUT", "DELETE"):
            assert code_of(chief.send(method, f"{PATH}/{maker.id}/{what}")) == (422, "invalid_input")
