"""Requirements of the login that are about what an answer, or the time it takes, gives away."""

import secrets
import statistics
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from limen import Limen
from tests.support.gates import PASSWORD

ROUNDS = 7


def login(client: TestClient, username: str, password: str) -> Any:
    """Log in."""
    return client.post("/auth/login", json={"username": username, "password": password})


def _disable(client: TestClient, gate: Limen, name: str) -> None:
    async def act() -> None:
        await gate.accounts.disable(await gate.accounts.by_username(name), actor="test")

    assert client.portal is not None
    client.portal.call(act)


@pytest.mark.serial
@pytest.mark.parametrize("length", [1, 72, 73, 1024])
def test_every_failure_takes_the_same_work(client: TestClient, gate: Limen, length: int) -> None:
    """An unknown, a known and a disabled account cost the same processor time, whatever the password's length."""
    for name in ("known", "off"):
        client.post("/auth/register", json={"username": name, "password": PASSWORD})
    _disable(client, gate, "off")
    spent: dict[str, list[float]] = {"nobody": [], "known": [], "off": []}
    for number in range(ROUNDS + 1):
        for name, times in spent.items():
            # Another password each time: nothing may depend on one that was seen before.
            password = (secrets.token_hex(8) + "x" * length)[-length:]
            began = time.process_time()
            assert login(client, name, password).status_code == 401
            if number:  # the first round pays for what is made once
                times.append(time.process_time() - began)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    assert max(medians.values()) < 1.1 * min(medians.values()), medians


def test_a_taken_name_is_told_and_an_address_is_not(client: TestClient) -> None:
    """A taken username is a 409, which cannot be hidden; an address that somebody has is answered like a free one."""
    first = {"username": "ann", "password": PASSWORD, "email": "ann@app.example"}
    assert client.post("/auth/register", json=first).status_code == 201
    taken = client.post("/auth/register", json={**first, "email": "other@app.example"})
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
    known = client.post("/auth/register", json={**first, "username": "bob"})
    free = client.post("/auth/register", json={**first, "username": "eve", "email": "free@app.example"})
    assert known.status_code == free.status_code == 201
    assert set(known.json()) == set(free.json()) == {"id", "username"}
    assert known.headers.keys() == free.headers.keys()


@pytest.mark.parametrize(
    "email",
    [
        ["v@app.example", "a@app.example"],
        "v@app.example,a@app.example",
        "v@app.example\na@app.example",
        "mıke@app.example",
        "v@app.example%0d%0a",
        "<v@app.example>",
        "v@app.example ",
        {"address": "v@app.example"},
        7,
        "İ@app.example",
    ],
)
def test_an_address_is_one_plain_address(client: TestClient, email: object) -> None:
    """Lists, line breaks, look-alikes and other types are refused, and no account is made."""
    answer = client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "email": email})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert login(client, "ann", PASSWORD).status_code == 401


@pytest.mark.parametrize("spelling", ["MİKE", "\uff4dİke"])
def test_spellings_of_a_name_are_one_name(client: TestClient, spelling: str) -> None:
    """A name registered in one spelling is taken in every other one that folds to it, and logs in by each."""
    body = {"username": "mi̇ke", "password": PASSWORD}
    assert client.post("/auth/register", json=body).status_code == 201
    assert client.post("/auth/register", json={**body, "username": spelling}).status_code == 409
    assert login(client, spelling, PASSWORD).status_code == 200


@pytest.mark.parametrize("name", ["ann bob", "ann\n", "ann\r\nbob", "ann\u0000", "ann\u200b", "ann\u202ebob", ["ann"]])
def test_what_is_no_name(client: TestClient, name: object) -> None:
    """Spaces, line breaks, NUL, invisible characters and lists are no username, neither to register nor to log in."""
    body = {"username": name, "password": PASSWORD}
    for path in ("/auth/register", "/auth/login"):
        assert client.post(path, json=body).status_code in {400, 422}
