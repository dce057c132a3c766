"""Requirements of issued tokens, decoded by another library, and of what a token still opens."""

import json
from typing import Any

import jwt
import pytest
from starlette.testclient import TestClient

from limen import Limen
from limen.core.ids import is_uuid7
from limen.testing import TurnableClock
from tests.support.gates import PASSWORD

NAME = "annabelle"
EMAIL = "a.nightingale@app.example"


@pytest.fixture
def tokens(client: TestClient) -> dict[str, Any]:
    """The tokens of somebody who has just registered and logged in."""
    registered = client.post("/auth/register", json={"username": NAME, "password": PASSWORD, "email": EMAIL})
    assert registered.status_code == 201
    answer: dict[str, Any] = login(client)
    return answer


def login(client: TestClient) -> Any:
    """Log in."""
    return client.post("/auth/login", json={"username": NAME, "password": PASSWORD}).json()


def me(client: TestClient, access: str) -> tuple[int, str]:
    """Ask who a token belongs to; return status and code."""
    answer = client.get("/auth/me", headers={"Authorization": f"Bearer {access}"})
    return answer.status_code, answer.json().get("code", "")


def test_an_access_token_says_what_it_must_and_no_more(tokens: dict[str, Any], gate: Limen) -> None:
    """PyJWT verifies it; its claims are RFC 9068's and limen's own, and no name, address or secret is among them."""
    secret = gate.settings.jwt_access_secret.get_secret_value()
    access = tokens["access_token"]
    claims = jwt.decode(access, secret, algorithms=["HS256"], audience="limen", issuer="limen", leeway=5)
    header = jwt.get_unverified_header(access)
    assert set(header) == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("HS256", "at+jwt")
    required = {"iss", "aud", "sub", "sid", "client_id", "jti", "iat", "exp", "roles", "auth_time", "amr"}
    assert set(claims) == required
    assert is_uuid7(claims["sub"])
    assert is_uuid7(claims["sid"])
    assert claims["exp"] - claims["iat"] == tokens["expires_in"] == 900
    assert claims["amr"] == ["pwd"]
    text = json.dumps([claims, header])
    assert not [told for told in (NAME, EMAIL, "nightingale", PASSWORD, secret) if told in text]


def test_a_refresh_token_is_of_another_kind_and_key(tokens: dict[str, Any], gate: Limen) -> None:
    """It is signed with its own secret, has its own type, and is nobody's access token."""
    secret = gate.settings.jwt_refresh_secret.get_secret_value()
    refresh = tokens["refresh_token"]
    claims = jwt.decode(refresh, secret, algorithms=["HS256"], audience="limen", issuer="limen", leeway=5)
    assert jwt.get_unverified_header(refresh)["typ"] == "rt+jwt"
    assert set(claims) == {"iss", "aud", "sub", "sid", "gen", "jti", "iat", "exp"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(refresh, gate.settings.jwt_access_secret.get_secret_value(), algorithms=["HS256"], audience="limen")


def test_a_token_that_is_known_dies_with_its_session(client: TestClient, tokens: dict[str, Any]) -> None:
    """Claims that are kept outlive neither a logout nor the token's end; another session's token is not touched."""
    other = login(client)["access_token"]
    for _ in range(2):  # the second time it is known
        assert me(client, tokens["access_token"]) == (200, "")
        assert me(client, other) == (200, "")
    assert client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]}).status_code == 204
    assert me(client, tokens["access_token"]) == (401, "session_ended")
    assert me(client, other) == (200, "")


def test_a_token_that_is_known_dies_with_its_time(
    client: TestClient, tokens: dict[str, Any], clock: TurnableClock
) -> None:
    """A token seen a second before its end is refused a second after it."""
    clock.turn(899)
    assert me(client, tokens["access_token"]) == (200, "")
    clock.turn(1)
    assert me(client, tokens["access_token"]) == (401, "token_expired")


def test_the_end_of_a_session_is_absolute(client: TestClient, tokens: dict[str, Any], clock: TurnableClock) -> None:
    """Refreshed every six days, a session is over after ninety; unused for seven, earlier."""
    latest = tokens
    for _ in range(14):
        clock.turn(6 * 86_400)
        answer = client.post("/auth/refresh", json={"refresh_token": latest["refresh_token"]})
        assert answer.status_code == 200
        latest = answer.json()
    assert latest["refresh_expires_in"] == 6 * 86_400
    clock.turn(6 * 86_400)
    over = client.post("/auth/refresh", json={"refresh_token": latest["refresh_token"]})
    assert (over.status_code, over.json()["code"]) == (401, "invalid_refresh_token")


def test_a_token_is_taken_from_the_header_only(client: TestClient, tokens: dict[str, Any]) -> None:
    """Neither the address, nor a cookie, nor a header of another name carries an access token."""
    access = tokens["access_token"]
    assert client.get(f"/auth/me?access_token={access}&token={access}").status_code == 401
    assert client.get("/auth/me", headers={"Cookie": f"access_token={access}; limen={access}"}).status_code == 401
    assert client.get("/auth/me", headers={"X-API-Key": access, "X-Access-Token": access}).status_code == 401
    assert me(client, access) == (200, "")
