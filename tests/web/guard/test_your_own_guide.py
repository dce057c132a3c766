"""The file of the guide «Code of your own in the guard» is run as printed."""

import secrets
from pathlib import Path

from fastapi.testclient import TestClient

from tests.own_user.guides import Guide


def test_the_sample_does_what_the_page_says(tmp_path: Path) -> None:
    """A badge lets in, the check tells whose order it is, and the answer is noted before it leaves."""
    environment = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "BADGE_SECRET": secrets.token_urlsafe(16),
    }
    page = Guide("your-own", tmp_path, environment)
    page.write()
    with page.imported("badges") as module, TestClient(module.app) as client:
        code = module.badges.code_of(b"7").decode()

        def ask(order: str, badge: str | None) -> tuple[int, str]:
            answer = client.get(f"/orders/{order}", headers={} if badge is None else {"X-Badge": badge})
            return answer.status_code, answer.json().get("detail") or answer.json().get("code") or answer.json()["of"]

        assert ask("1", f"7.{code}") == (200, "badge:7")
        assert ask("2", f"7.{code}") == (403, "not_yours")
        assert ask("none", f"7.{code}") == (403, "not_yours")
        assert ask("1", f"8.{code}")[0] == 401
        assert ask("1", "7")[0] == 401
        assert ask("1", None)[0] == 401
        assert module.NOTED == ["badge:7 /orders/1 200"]
        document = module.app.openapi()
        assert document["paths"]["/orders/{order_id}"]["get"]["x-limen"]["guards"] == ["is_theirs"]
        assert document["components"]["securitySchemes"]["badge"]["name"] == "X-Badge"
