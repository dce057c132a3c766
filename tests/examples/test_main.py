import secrets
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from examples.orders.main import application


def test_runs_by_itself_with_settings_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made from the environment the example is ready, guarded, and describes itself to nobody."""
    monkeypatch.setenv("LIMEN_DATABASE_URL", f"sqlite:///{tmp_path / 'limen.db'}")
    monkeypatch.setenv("LIMEN_JWT_ACCESS_SECRET", secrets.token_urlsafe(48))
    monkeypatch.setenv("LIMEN_JWT_REFRESH_SECRET", secrets.token_urlsafe(48))
    monkeypatch.setenv("ORDERS_DATABASE", str(tmp_path / "orders.db"))
    with TestClient(application()) as client:
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.get("/orders").status_code == 401
        assert client.get("/openapi.json").status_code in {401, 404}
