"""The file of the guide «Lists, and filtering by default» is run as printed."""

import secrets
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.own_user.guides import Guide

PASSWORD = "correct horse battery staple"


def test_the_sample_does_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lists and counts what they may read, and the UPDATE decides who approves, once."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
    }
    page = Guide("filter-by-default", tmp_path, environment)
    page.write()
    with page.imported("listing") as module, TestClient(module.app) as client:
        people: dict[str, tuple[str, dict[str, str]]] = {}
        assert client.portal is not None
        for name, roles in (("ann", {"maker"}), ("ben", {"maker", "checker"})):
            account = client.portal.call(partial(module.gate.accounts.create, name, PASSWORD, roles=roles))
            tokens = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
            people[name] = account.id, {"Authorization": f"Bearer {tokens['access_token']}"}

        async def fill() -> None:
            async with module.engine.begin() as connection:
                await connection.run_sync(module.Base.metadata.create_all)
            async with module.sessions.begin() as session:
                for maker, amount in (("ann", 50), ("ann", 500), ("ben", 5)):
                    session.add(module.Order(maker_id=people[maker][0], amount=amount))

        def ask(who: str, method: str, path: str) -> tuple[int, Any]:
            answer = client.request(method, path, headers=people[who][1])
            return answer.status_code, answer.json() if answer.status_code == 200 else answer.json()["code"]

        client.portal.call(fill)
        assert ask("ann", "GET", "/orders") == (200, [1, 2])
        assert ask("ann", "GET", "/orders/count") == (200, 2)
        assert ask("ben", "GET", "/orders") == (200, [1, 2, 3])
        assert ask("ann", "POST", "/orders/1/approve") == (404, "not_found")
        assert ask("ben", "POST", "/orders/2/approve") == (404, "not_found")
        assert ask("ben", "POST", "/orders/3/approve") == (404, "not_found")
        assert ask("ben", "POST", "/orders/1/approve") == (200, "approved")
        assert ask("ben", "POST", "/orders/1/approve") == (404, "not_found")
        client.portal.call(module.engine.dispose)
