"""All of limen's own routes together: each is described, decided and answered like the others."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from limen.web.guard.dispatch import instrument
from limen.web.guard.marks import read_marks
from limen.web.routes.administration import PREFIX
from limen.web.routes.table import paths_of_schema
from tests.support.gates import gate_for


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with everything that can be switched on."""
    return gate_for(tmp_path, registration="open")


@pytest.fixture
def app(gate: Limen) -> FastAPI:
    """An application with all of limen's own routes."""
    app = FastAPI()
    gate.protect(app, health=True, administration=True)
    return app


def listed(app: FastAPI) -> list[tuple[str, str, Any]]:
    """Return path, method and endpoint of each of limen's own routes."""
    own = instrument(app.router).own
    assert own is not None
    return [(path, method, each) for path, methods, each in own.listed() for method in methods - {"HEAD"}]


def test_each_route_is_described(app: FastAPI) -> None:
    """What there is and what the schema says are the same, both ways."""
    described = paths_of_schema("/auth", registration_open=True, health=True, administration=True, api_keys=True)
    told = {(path, method.upper()) for path, operations in described.items() for method in operations}
    assert {(path, method) for path, method, _ in listed(app)} == told


def test_whatever_has_a_parameter_in_its_path_says_so(app: FastAPI) -> None:
    """Each name in braces is described as a parameter of the path."""
    described = paths_of_schema("/auth", registration_open=True, health=True, administration=True, api_keys=True)
    for path, operations in described.items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for method, operation in operations.items():
            told = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert told == named, (method, path)


def test_every_administrative_route_is_live_and_by_permission(app: FastAPI) -> None:
    """Each asks the store again and states permissions of limen's own; none is public, none merely authenticated."""
    found = [(path, method, read_marks(endpoint)) for path, method, endpoint in listed(app) if path.startswith(PREFIX)]
    assert len(found) > 5
    for path, method, stated in found:
        assert stated.restriction is not None, (method, path)
        assert stated.restriction.live, (method, path)
        assert stated.restriction.permission_names, (method, path)
        assert stated.restriction.permission_names <= ADMINISTRATION, (method, path)
        assert not stated.public


def test_every_act_of_an_administrator_takes_a_person(app: FastAPI) -> None:
    """What only reads may be called with an API key; whatever changes something asks that a person has logged in."""
    for path, method, endpoint in listed(app):
        if path.startswith(PREFIX) and method != "GET":
            restriction = read_marks(endpoint).restriction
            assert restriction is not None, (method, path)
            assert restriction.interactive, (method, path)


def test_every_administrative_route_refuses_strangers(app: FastAPI) -> None:
    """401 for anybody without a token, whatever the path names, before any body is read."""
    with TestClient(app) as client:
        for path, method, _ in listed(app):
            if path.startswith(PREFIX):
                answer = client.request(method, path.replace("{", "").replace("}", ""), content=b"{")
                assert (answer.status_code, answer.json()["code"]) == (401, "credential_missing"), (method, path)
