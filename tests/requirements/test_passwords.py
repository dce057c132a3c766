"""Requirements of passwords, over HTTP, as a user meets them."""

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.server.standalone import application
from limen.storage.sql.tables import METADATA
from limen.testing import TurnableClock
from tests.support.gates import PASSWORD, gate_for, settings_for

# Of each kind that lists hold at 15 characters and more: doubled words, rows of the keyboard, sentences, digits.
COMMON = (
    "passwordpassword", "password12345678", "1234567890123456", "123456789012345", "qwertyuiopasdfgh",
    "iloveyouiloveyou", "aaaaaaaaaaaaaaaa", "1q2w3e4r5t6y7u8i", "1qaz2wsx3edc4rfv", "qwertyqwertyqwerty",
    "administrator123", "thisismypassword", "correcthorsebatterystaple", "mypasswordispassword", "111111111111111",
    "asdfghjklasdfghjkl", "123123123123123", "abcdefghijklmnop", "iloveyousomuch1", "princessprincess",
)  # fmt: skip


def register(client: TestClient, username: str, password: str, **more: Any) -> Any:
    """Register an account."""
    return client.post("/auth/register", json={"username": username, "password": password, **more})


def login(client: TestClient, username: str, password: str) -> Any:
    """Log in."""
    return client.post("/auth/login", json={"username": username, "password": password})


@pytest.mark.parametrize(("minimum", "accepted"), [(15, {15}), (8, {8, 14, 15})])
def test_the_least_length(tmp_path: Path, minimum: int, accepted: set[int]) -> None:
    """Of 7, 8, 14 and 15 characters those are accepted that the setting says, the others are told their code."""
    app = Starlette()
    gate_for(tmp_path, password_min_length=minimum).protect(app)
    with TestClient(app) as client:
        for length in (7, 8, 14, 15):
            answer = register(client, f"somebody{length}", "kq7 zvu2 wro9 bxy"[:length])
            wanted = (201, None) if length in accepted else (422, "password_too_short")
            assert (answer.status_code, answer.json().get("code")) == wanted


@pytest.mark.parametrize("length", [64, 128, 1024])
def test_long_passwords_are_taken_whole(client: TestClient, length: int) -> None:
    """A long password logs in, and not without its last character or with one more."""
    password = "a long one, " * 100
    assert register(client, "ann", password[:length]).status_code == 201
    assert login(client, "ann", password[:length]).status_code == 200
    assert login(client, "ann", password[: length - 1]).status_code == 401
    assert login(client, "ann", password[: length + 1]).status_code == (401 if length < 1024 else 422)


def test_ten_megabytes_cost_nothing(client: TestClient) -> None:
    """A password of ten megabytes is refused by its size, and no hash is made of it."""
    for path in ("/auth/login", "/auth/register"):
        answer = client.post(path, json={"username": "ann", "password": "x" * 10_000_000})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("other", ["A" * 72 + "y", " " + "A" * 72 + "x", "A" * 72 + "x ", "a" * 72 + "x", "A" * 72])
def test_nothing_is_trimmed_folded_or_cut(client: TestClient, other: str) -> None:
    """Whatever differs from the password is another password: after 72 bytes, at an end, in case."""
    assert register(client, "ann", "A" * 72 + "x").status_code == 201
    assert login(client, "ann", "A" * 72 + "x").status_code == 200
    assert login(client, "ann", other).status_code == 401


@pytest.mark.parametrize(
    "password",
    [PASSWORD, "🦉🦊🐻🐼🦁🐯🐨🐸🐵🐔🐧🐦🦆🦅🐝", "730184629571836402", "                 x", "ÄÖÜ ärgern Ölfässer"],
)
def test_no_rules_of_composition(client: TestClient, password: str) -> None:
    """Words, pictures, digits, spaces and any other letters make a password, one code point being one character."""
    assert register(client, "ann", password).status_code == 201
    assert login(client, "ann", password).status_code == 200


def test_both_normal_forms_log_in(client: TestClient) -> None:
    """Who sets an é as one character logs in with a keyboard that sends two."""
    assert register(client, "ann", "caf\u00e9 au lait, s'il vous pla\u00eet").status_code == 201
    assert login(client, "ann", "cafe\u0301 au lait, s'il vous plai\u0302t").status_code == 200


def test_common_passwords_by_both_ways(client: TestClient) -> None:
    """Twenty common passwords are refused at registration and at a change, and the old one stays."""
    assert register(client, "ann", PASSWORD).status_code == 201
    access = login(client, "ann", PASSWORD).json()["access_token"]
    for number, password in enumerate(COMMON):
        new = register(client, f"somebody{number}", password)
        body = {"current_password": PASSWORD, "new_password": password}
        changed = client.post("/auth/password", json=body, headers={"Authorization": f"Bearer {access}"})
        for answer in (new, changed):
            assert (answer.status_code, answer.json()["code"]) == (422, "password_too_common"), password
    assert login(client, "ann", PASSWORD).status_code == 200


@pytest.mark.parametrize("password", ["annabelle's own words", "words of a.nightingale", "my limen and my words"])
def test_words_of_the_account_are_refused(client: TestClient, password: str) -> None:
    """The username, the e-mail's local part and the product's name are in no password."""
    answer = register(client, "Annabelle", password, email="a.nightingale@app.example")
    assert (answer.status_code, answer.json()["code"]) == (422, "password_contains_name")


def test_a_password_does_not_expire(client: TestClient, clock: TurnableClock) -> None:
    """After four hundred days the password logs in as before."""
    assert register(client, "ann", PASSWORD).status_code == 201
    clock.turn(400 * 86_400)
    assert login(client, "ann", PASSWORD).status_code == 200


def test_a_wrong_present_password_is_recorded(client: TestClient, gate: Limen) -> None:
    """A change with a wrong present password is refused and stands in the audit trail, for whoever limits attempts."""
    register(client, "ann", PASSWORD)
    access = login(client, "ann", PASSWORD).json()["access_token"]
    body = {"current_password": "not the password", "new_password": "another set of words"}
    answer = client.post("/auth/password", json=body, headers={"Authorization": f"Bearer {access}"})
    assert answer.status_code == 401
    assert client.portal is not None
    events = client.portal.call(gate.storage.events)
    assert [event.event for event in events if event.outcome == "failure"] == ["password_change_failed"]


def test_no_hints_and_no_questions(tmp_path: Path) -> None:
    """No field of the interface and no column of the database is for a hint or a secret question."""
    app = application(settings_for(tmp_path, docs=True))
    with TestClient(app) as client:
        description = client.get("/openapi.json").text.casefold()
    # What a provider asks for at a logout is called a hint too (OpenID Connect, id_token_hint): the ID token, sealed.
    tables = [table for name, table in METADATA.tables.items() if not name.startswith("limen_sso_")]
    columns = {column.name for table in tables for column in table.columns}
    assert "limen_accounts" in {table.name for table in tables}
    assert "password" in description
    for word in ("hint", "question", "answer_to", "mother", "maiden"):
        assert word not in description
        assert not [name for name in columns if word in name]


def test_nobody_is_there_at_first(client: TestClient, gate: Limen) -> None:
    """A new installation has no account, so it has no default one."""
    assert client.portal is not None
    assert client.portal.call(gate.accounts.page).items == []
    for name in ("admin", "root", "limen", "test", "user"):
        for password in ("admin", "password", "limen", name):
            assert login(client, name, password).status_code == 401
