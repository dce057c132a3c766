"""``/admin/api/policies/differences``: where policies in the shadow differ, and who is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen, Principal, PrincipalKind, allow
from tests.policies import explained
from tests.support.gates import settings_for
from tests.web.routes.administering import Somebody, somebody
from tests.web.routes.test_own_routes import code_of

PATH = "/admin/api/policies/differences"
NEW = [allow(["order:approve", "order:create"], explained.U.has_role("clerk"), id="clerks")]


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with policies."""
    return explained.gate(settings_for(tmp_path))


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application that is administered over HTTP."""
    app = Starlette()
    gate.protect(app, administration=True)
    with TestClient(app) as client:
        yield client


@pytest.fixture
def asker(gate: Limen, client: TestClient) -> Somebody:
    """Somebody who may ask, and nothing else."""
    return somebody(gate, client, "asker", "explainer")


def test_the_differences(gate: Limen, asker: Somebody) -> None:
    """Both versions, what was counted, and each kind with its rules, times and examples; nothing of a resource."""
    gate.shadow_policies(NEW)
    ben = Principal("ben", PrincipalKind.PERSON, frozenset({"checker"}))
    gate.can(ben, "order:create", explained.Order("nobody", 5))
    gate.can(ben, "order:read")
    answer = asker.send("GET", PATH)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    (found,) = told.pop("differences")
    assert told.pop("since").endswith("Z")
    assert told == {
        "version": gate.policies.version,
        "shadow_version": told["shadow_version"],
        "compared": 2,
        "failures": 0,
        "unlisted": 0,
    }
    assert told["shadow_version"] != told["version"]
    assert found.pop("first_seen") <= found.pop("last_seen")
    assert found == {
        "action": "order:create",
        "allowed": True,
        "shadow_allowed": False,
        "rule": "any",
        "shadow_rule": "",
        "count": 1,
        "samples": [{"kind": "person", "id": "ben", "resource": "Order"}],
    }
    assert explained.NOBODY_ELSES not in answer.text


def test_none_in_the_shadow(gate: Limen, asker: Somebody) -> None:
    """404, before there is one and after it was taken out."""
    assert code_of(asker.send("GET", PATH)) == (404, "not_found")
    gate.shadow_policies(NEW)
    assert asker.send("GET", PATH).status_code == 200
    gate.shadow_policies(None)
    assert code_of(asker.send("GET", PATH)) == (404, "not_found")


def test_nobody_else_is_told(gate: Limen, client: TestClient) -> None:
    """It takes ``policies:explain``: nobody anonymous is told, and no other administrator."""
    gate.shadow_policies(NEW)
    assert client.get(PATH).status_code == 401
    clerk = somebody(gate, client, "clerk", "clerk")
    assert code_of(clerk.send("GET", PATH)) == (403, "permission_required")
