"""``/admin/api/events``: the audit trail over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from tests.support.gates import PASSWORD, settings_for
from tests.web.routes.administering import ADDRESS, ROLES, Somebody, somebody
from tests.web.routes.test_own_routes import code_of

PATH = "/admin/api/events"


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
def auditor(gate: Limen, client: TestClient) -> Somebody:
    """Somebody who reads the audit trail, and may do nothing else."""
    return somebody(gate, client, "auditor", "auditor")


def events(auditor: Somebody, query: str = "") -> Any:
    """Read a page."""
    answer = auditor.send("GET", f"{PATH}{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_an_act_is_found_with_who_and_whence(gate: Limen, client: TestClient, auditor: Somebody) -> None:
    """The latest page has it, the newest last, with exactly the members of the contract."""
    chief, mary = somebody(gate, client, "chief", "chief"), somebody(gate, client, "mary")
    answer = chief.send("POST", f"/admin/api/accounts/{mary.id}/block")
    assert answer.status_code == 204
    items = events(auditor)["items"]
    assert [item["seq"] for item in items] == sorted(item["seq"] for item in items)
    item = items[-1]
    assert set(item) == {"seq", "time", "event", "actor", "source", "target", "outcome", "request_id", "data"}
    assert (item["event"], item["outcome"]) == ("account_blocked", "success")
    assert (item["actor"], item["target"], item["source"]) == (chief.id, mary.id, ADDRESS)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item["time"])
    assert item["request_id"]


def test_a_refusal_is_found_too(gate: Limen, client: TestClient, auditor: Somebody) -> None:
    """Who tried what they may not, and why it was refused."""
    chief, clerk = somebody(gate, client, "chief", "chief"), somebody(gate, client, "clerk", "clerk")
    refused = clerk.send("POST", f"/admin/api/accounts/{chief.id}/disable")
    assert refused.status_code == 403
    (item,) = events(auditor, f"?event=account_disabled&actor={clerk.id}&target={chief.id}")["items"]
    assert (item["outcome"], item["data"]) == ("failure", {"reason": "permission_required"})
    assert item["request_id"] == refused.json()["trace_id"]


def test_pages_and_filters(gate: Limen, client: TestClient, auditor: Somebody) -> None:
    """Back from the latest by ``next``, onwards from a number; filters choose exactly."""
    for _ in range(3):
        client.post("/auth/login", json={"username": "auditor", "password": PASSWORD})
    everything = events(auditor, "?limit=200")["items"]
    met: list[Any] = []
    page = events(auditor, "?limit=2")
    while True:
        met = page["items"] + met
        if page["next"] is None:
            break
        page = events(auditor, f"?limit=2&after={page['next']}")
    assert met == everything
    forward = events(auditor, f"?after={everything[1]['seq']}")
    assert forward["items"] == everything[2:]
    logins = events(auditor, f"?event=login_succeeded&actor={auditor.id}")["items"]
    assert len(logins) == 4
    assert events(auditor, "?actor=nobody")["items"] == []


@pytest.mark.parametrize(
    "query", ["event=nonsense", "after=x", "after=before-", "limit=0", "event=refreshed&event=refreshed", "actor=%00"]
)
def test_what_cannot_be_asked_is_refused(auditor: Somebody, query: str) -> None:
    """422, instead of an answer that looks like an empty trail."""
    assert code_of(auditor.send("GET", f"{PATH}?{query}")) == (422, "invalid_input")


def test_nobody_writes_or_deletes_it(auditor: Somebody) -> None:
    """There is no method but reading."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert code_of(auditor.send(method, PATH)) == (405, "method_not_allowed")
