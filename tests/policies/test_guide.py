"""The files of the guide «Policies in routes, messages and services» are run as printed."""

import secrets
from functools import partial
from pathlib import Path

from fastapi.testclient import TestClient

from tests.own_user.guides import Guide

PASSWORD = "correct horse battery staple"


def test_the_sample_does_what_the_page_says(tmp_path: Path) -> None:
    """Reasons, hidden orders, limits, and somebody on leave: each answer is the one of the table."""
    environment = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
    }
    page = Guide("policies-in-routes", tmp_path, environment)
    page.write()
    with page.imported("approvals") as module, TestClient(module.app) as client:
        people = {}
        for name, roles in (("ann", {"maker"}), ("ben", {"maker", "checker"})):
            assert client.portal is not None
            account = client.portal.call(partial(module.gate.accounts.create, name, PASSWORD, roles=roles))
            tokens = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
            people[name] = account.id, {"Authorization": f"Bearer {tokens['access_token']}"}

        def ask(who: str, method: str, path: str, **headers: str) -> tuple[int, str | None]:
            answer = client.request(method, path, headers={**people[who][1], **headers})
            body = answer.json()
            return answer.status_code, body.get("detail") or body.get("code") or body.get("status")

        module.PEOPLE[people["ben"][0]] = {"limit": 100, "on_leave": False}
        assert ask("ann", "POST", "/orders?amount=50") == (201, "pending")
        assert ask("ann", "POST", "/orders?amount=500") == (201, "pending")
        assert ask("ben", "POST", "/orders?amount=5") == (201, "pending")
        assert ask("ann", "GET", "/orders/1") == (200, "pending")
        assert ask("ben", "GET", "/orders/1") == ask("ben", "GET", "/orders/9") == (404, "not_found")
        assert ask("ann", "POST", "/orders/1/approve") == (403, "policy_denied")
        assert ask("ben", "POST", "/orders/2/approve") == (403, "policy_denied")
        assert ask("ben", "POST", "/orders/3/approve") == (403, "own_order")
        assert ask("ben", "POST", "/orders/1/approve") == (200, "approved")
        assert ask("ben", "POST", "/orders/1/approve") == (403, "decided")
        module.PEOPLE[people["ben"][0]] = {"limit": 100, "on_leave": True}
        assert ask("ben", "POST", "/orders?amount=5") == (403, "on_leave")
        assert ask("ben", "POST", "/orders?amount=5", **{"X-Counter": "home"}) == (201, "pending")
        assert client.post("/orders/1/approve").status_code == 401
