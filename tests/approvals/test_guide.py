"""The files of the guide «Approvals» are run as printed, on SQLite and on PostgreSQL."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from tests.own_user.conftest import sqlalchemy_url
from tests.own_user.guides import Guide
from tests.support.gates import PASSWORD


@pytest.fixture
def page(tmp_path: Path, database_url: str) -> Guide:
    """The page, with its files written beside an empty database."""
    environment = {
        "LIMEN_DATABASE_URL": database_url,
        "APP_DATABASE_URL": sqlalchemy_url(database_url),
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
    }
    page = Guide("approvals", tmp_path, environment)
    page.write()
    return page


@pytest.fixture
def module(page: Guide) -> Iterator[ModuleType]:
    """The application."""
    with page.imported("payouts") as module:
        yield module


async def _begin(module: ModuleType) -> None:
    async with module.engine.begin() as connection:
        await connection.run_sync(module.Base.metadata.create_all)
        await connection.execute(
            text("INSERT INTO payouts (id, amount, state) VALUES (42, 900, 'open'), (43, 5000, 'open')")
        )
    for name, role in (("ann", "clerk"), ("bob", "checker"), ("cid", "checker"), ("dan", "checker")):
        await module.gate.accounts.create(name, PASSWORD, roles=frozenset({role}))


async def _states(module: ModuleType) -> list[str]:
    async with module.engine.connect() as connection:
        return [state for (state,) in await connection.execute(text("SELECT state FROM payouts ORDER BY id"))]


def _token(client: TestClient, name: str) -> dict[str, str]:
    answer = client.post("/auth/login", json={"username": name, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_the_application_does_what_the_page_says(module: ModuleType) -> None:
    """Asked for, found, approved and released in one commit; refused as the page says; two above a thousand."""
    with TestClient(module.app) as client:
        call = client.portal.call  # type: ignore[union-attr]
        call(_begin, module)
        ann, bob, cid, dan = (_token(client, name) for name in ("ann", "bob", "cid", "dan"))

        def ask(payout: int, amount: int, who: dict[str, str] = ann) -> Any:
            return client.post(f"/payouts/{payout}/release", json={"amount": amount}, headers=who)

        def approve(place: str, who: dict[str, str]) -> Any:
            answer = client.post(f"{place}/approve", json={}, headers=who)
            return answer.json().get("code") or answer.json()["status"]

        assert ask(42, -1).status_code == 422
        place = ask(42, 900).headers["location"]
        assert call(_states, module) == ["open", "open"]
        assert client.get("/approvals", headers=bob).json()["items"][0]["payload"] == {"amount": 900}
        assert approve(place, ann) == "own_request"
        assert client.get(place, headers=dan).json()["status"] == "pending"
        assert approve(place, bob) == "approved"
        assert call(_states, module) == ["released", "open"]
        assert approve(place, cid) == "already_decided"
        # The payout has another amount by now: nothing happens, and the request is pending as before.
        place = ask(43, 901).headers["location"]
        assert approve(place, bob) == "conflict"
        assert client.get(place, headers=ann).json()["status"] == "pending"
        # Edited it is another request, and takes two; who asks may not be one of them.
        place = ask(43, 5000).headers["location"]
        assert [approve(place, who) for who in (bob, bob, cid)] == ["pending", "already_decided", "approved"]
        assert call(_states, module) == ["released", "released"]
        place = ask(43, 5000, bob).headers["location"]
        assert approve(place, bob) == "own_request"
        assert client.get(place, headers=ann).status_code == 404
        call(module.engine.dispose)


def test_the_other_files(page: Guide, module: ModuleType) -> None:
    """Asking from code, the outbox, and a judge of one's own."""
    with page.imported("asking") as asking, page.imported("letters") as letters, page.imported("own_limit") as limits:
        assert set(module.gate.approvals.actions) == {"payout:release", "letter:send", "refund:pay"}
        with TestClient(module.app) as client:
            client.portal.call(_begin, module)  # type: ignore[union-attr]
            client.portal.call(_other_files, module, asking, letters, limits)  # type: ignore[union-attr]


async def _other_files(module: ModuleType, asking: Any, letters: Any, limits: Any) -> None:
    from limen import Principal, PrincipalKind

    gate = module.gate
    ann = Principal((await gate.accounts.by_username("ann")).id, PrincipalKind.PERSON)
    first = await asking.ask(ann, 42, 900)
    assert (await asking.ask(ann, 42, 900)).id == first.id
    assert (await asking.ask(ann, 42, 901)).id != first.id
    assert first.version == "3"
    for amount, is_allowed in ((500, True), (501, False)):
        request = await gate.approvals.request(ann, "refund:pay", payload={"amount": amount})
        bob = Principal("bob", PrincipalKind.PERSON, frozenset({"checker"}))
        assert limits.WithinLimit().decide(bob, "refund:pay", request).allowed is is_allowed
    from limen import Approved

    approved = Approved("1", "letter:send", None, {"text": "hello"}, None, ann.sub, (), 1)
    for _ in range(2):
        await letters.send(approved)
    assert letters.SENT == {"1": "hello"}
    await module.engine.dispose()
