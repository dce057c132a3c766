import secrets
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from limen import Limen, Settings
from limen.testing import TurnableClock

PASSWORD = "a pass phrase of my own"


def test_stands_still_until_it_is_turned() -> None:
    """The clock shows the same time until it is turned, forward or back, by exactly what was said."""
    clock = TurnableClock(1_800_000_000)
    assert clock() == clock() == 1_800_000_000
    clock.turn(900.5)
    assert clock() == 1_800_000_900.5
    clock.turn(-60)
    assert clock() == 1_800_000_840.5


def test_begins_now() -> None:
    """Unless told otherwise it begins at the time of the machine."""
    assert TurnableClock()() == pytest.approx(time.time(), abs=5)


def test_tokens_and_sessions_grow_old_by_it(tmp_path: Path) -> None:
    """Turned by the life of an access token the token has expired; by that of a refresh token, the session has."""
    clock = TurnableClock()
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'limen.db'}",
        jwt_access_secret=secrets.token_urlsafe(48),
        jwt_refresh_secret=secrets.token_urlsafe(48),
        bcrypt_cost=10,
        registration="open",
    )
    app = FastAPI()
    Limen(settings, roles={}, clock=clock).protect(app)
    with TestClient(app) as client:
        assert client.post("/auth/register", json={"username": "ann", "password": PASSWORD}).status_code == 201
        tokens = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert client.get("/auth/me", headers=headers).status_code == 200
        clock.turn(settings.access_ttl + 61)
        assert client.get("/auth/me", headers=headers).json()["code"] == "token_expired"
        refreshed = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == 200
        clock.turn(settings.refresh_ttl + 61)
        late = client.post("/auth/refresh", json={"refresh_token": refreshed.json()["refresh_token"]})
        assert late.json()["code"] == "invalid_refresh_token"
