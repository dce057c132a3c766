"""An export of one's own data, over HTTP and by the command line."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.errors import NotFound
from limen.core.events import Event, EventName, Origin
from limen.features.personal_data.service import RECENT_SECONDS
from limen.features.roles.service import OPERATOR
from limen.storage.sql import personal_data
from limen.storage.sql.tables import METADATA
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, settings_for

EXPORT = "/auth/me/export"
ROLES = {"maker": ["order:create", "api-keys:own"]}


@pytest.fixture
def clock() -> TurnableClock:
    """The one clock of gate and database."""
    return TurnableClock()


@pytest.fixture
def gate(tmp_path: Path, clock: TurnableClock) -> Limen:
    """A gate with a role that may have keys."""
    return Limen(settings_for(tmp_path), roles=ROLES, clock=clock)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client with an account, and another account beside it."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app) as client:
        portal = client.portal
        assert portal is not None
        for name in ("ann", "bob"):
            made = client.post(
                "/auth/register", json={"username": name, "password": PASSWORD, "email": f"{name}@example.org"}
            )
            portal.call(_give_role, gate, made.json()["id"])
        yield client


async def _give_role(gate: Limen, account_id: str) -> None:
    await gate.roles.grant(OPERATOR, account_id, ["maker"])


def log_in(client: TestClient, name: str = "ann") -> dict[str, str]:
    """Log in, and return the header that says so."""
    answer = client.post(
        "/auth/login", json={"username": name, "password": PASSWORD}, headers={"User-Agent": f"{name}'s browser"}
    )
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def exported(client: TestClient, headers: dict[str, str]) -> dict[str, Any]:
    """Return one's own data."""
    answer = client.get(EXPORT, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == 'attachment; filename="account.json"'
    told: dict[str, Any] = answer.json()
    return told


def test_everything_about_oneself_and_no_secret(client: TestClient, tmp_path: Path) -> None:
    """Account, sessions, keys and the trail are in it; what a secret is stored as, and what opens anything, is not."""
    headers = log_in(client)
    key = client.post("/auth/api-keys", json={"name": "my robot", "expires_in": 86_400}, headers=headers).json()["key"]
    told = exported(client, headers)
    account = told["account"]
    assert (account["username"], account["email"], account["status"]) == ("ann", "ann@example.org", "active")
    assert (account["is_password_set"], account["is_email_verified"]) == (True, False)
    assert account["roles"] == [{"role": "maker", "expires_at": None}]
    assert [(each["kind"], each["user_agent"]) for each in told["sessions"]] == [("refresh", "ann's browser")]
    assert [each["name"] for each in told["api_keys"]] == ["my robot"]
    happened = [(each["event"], each["by"]) for each in told["events"]]
    assert ("login_succeeded", "you") in happened
    assert ("roles_assigned", "operator") in happened
    assert told["events_complete"] is True
    assert told["exported_at"].endswith("Z")
    text = json.dumps(told)
    assert key not in text
    with closing(sqlite3.connect(tmp_path / "limen.db")) as file:
        secrets = [row[0] for row in file.execute("SELECT password_hash FROM limen_accounts")]
        octets = [row[0] for row in file.execute("SELECT token_hash FROM limen_sessions")]
        octets += [row[0] for row in file.execute("SELECT secret_hash FROM limen_api_keys")]
    assert len(octets) >= 2
    assert not [each for each in (*secrets, *(each.hex() for each in octets)) if each in text]


def test_nothing_about_anybody_else(client: TestClient, gate: Limen) -> None:
    """Neither another's name, address and device, nor the id and the place of who acted on the account."""
    other = log_in(client, "bob")
    bob = client.get("/auth/me", headers=other).json()["sub"]
    headers = log_in(client)
    ann = client.get("/auth/me", headers=headers).json()["sub"]
    act = Event(
        EventName.EMAIL_CHANGED,
        actor=bob,
        target=ann,
        origin=Origin(address="203.0.113.9", user_agent="bob's own"),
        data={"removed": False, "approvers": [bob, ann]},
    )
    assert client.portal is not None
    client.portal.call(gate.sessions.record, act)
    told = exported(client, headers)
    text = json.dumps(told)
    assert not [each for each in ("bob", bob, "203.0.113.9") if each in text]
    (seen,) = [each for each in told["events"] if each["event"] == "email_changed"]
    assert (seen["by"], seen["address"], seen["data"]) == (
        "somebody else",
        "",
        {"removed": False, "approvers": ["", ann]},
    )


def test_it_takes_a_recent_login_of_a_person(client: TestClient, clock: TurnableClock) -> None:
    """Nobody, a key, and a session that was left open get nothing; whoever logs in once more does."""
    assert client.get(EXPORT).status_code == 401
    headers = log_in(client)
    key = client.post("/auth/api-keys", json={"name": "k", "expires_in": 86_400}, headers=headers).json()["key"]
    by_key = client.get(EXPORT, headers={"X-API-Key": key})
    assert (by_key.status_code, by_key.json()["code"]) == (401, "step_up_required")
    clock.turn(RECENT_SECONDS - 100)
    refreshed = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()["refresh_token"]
    clock.turn(RECENT_SECONDS + 1)
    again = client.post("/auth/refresh", json={"refresh_token": refreshed}).json()["access_token"]
    late = client.get(EXPORT, headers={"Authorization": f"Bearer {again}"})
    assert (late.status_code, late.json()["code"]) == (401, "step_up_required")
    assert exported(client, log_in(client))["account"]["username"] == "ann"


def test_it_is_counted_and_recorded(client: TestClient) -> None:
    """After ten in an hour it is 429 with the time to wait; each of those before left a record."""
    headers = log_in(client)
    for _ in range(9):
        exported(client, headers)
    told = exported(client, headers)
    assert [each["event"] for each in told["events"]].count("account_exported") == 9
    refused = client.get(EXPORT, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) > 0
    assert client.get(EXPORT, headers=log_in(client, "bob")).status_code == 200


async def test_a_deleted_account_has_no_data(gate: Limen) -> None:
    """Nor has an id that is none."""
    async with gate.running():
        account = await gate.accounts.create("ann", PASSWORD)
        assert (await gate.personal_data.of_account(account.id, actor="cli"))["account"]["id"] == account.id
        await gate.administration.delete(OPERATOR, account.id)
        for account_id in (account.id, "nobody"):
            with pytest.raises(NotFound):
                await gate.personal_data.of_account(account_id, actor="cli")


async def test_a_long_trail_is_cut_and_says_so(gate: Limen) -> None:
    """Of more records than fit the newest are told, and that it is not all."""
    async with gate.running():
        account = await gate.accounts.create("ann", PASSWORD)
        for number in range(1_010):
            await gate.sessions.record(Event(EventName.REFRESHED, actor=account.id, data={"number": number}))
        told = await gate.personal_data.of_account(account.id, actor="cli")
    assert (len(told["events"]), told["events_complete"]) == (1_000, False)
    assert told["events"][-1]["data"] == {"number": 1_009}


def test_no_table_that_names_accounts_is_forgotten() -> None:
    """Each table with an account's id is in the export, or has a reason why it is not."""
    naming = {
        name
        for name, table in METADATA.tables.items()
        if {"account_id", "maker_account", "approver_id", "held_by"} & set(table.columns.keys())
    }
    asked = " ".join(statement.sqlite for statement in personal_data._STATEMENTS.values())
    exported_tables = {name for name in naming if f"{name} " in asked}
    assert exported_tables | personal_data.NOT_EXPORTED.keys() == naming | {"limen_sso_sessions"}
    assert exported_tables.isdisjoint(personal_data.NOT_EXPORTED)
