"""Requirements of the HTTP interface: what answers carry, what comes in, and what is closed by default."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from limen.server.standalone import application
from tests.support.gates import PASSWORD, settings_for

BODIES: dict[str, tuple[str, ...]] = {
    "/auth/register": ("username", "password", "email"),
    "/auth/login": ("username", "password"),
    "/auth/refresh": ("refresh_token",),
    "/auth/logout": ("refresh_token",),
    "/auth/password": ("current_password", "new_password"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NO_TEXT = JSON.filter(lambda value: not isinstance(value, str))


def access_token(client: TestClient) -> str:
    """Register and log in; return the access token."""
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
    answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()
    return str(answer["access_token"])


def test_nothing_personal_is_cached(client: TestClient) -> None:
    """Every answer of limen's own, granted or refused, says no-store; no cookie is set but that of a known device."""
    bearer = {"Authorization": f"Bearer {access_token(client)}"}
    login = client.post("/auth/login", json={"username": "ann", "password": PASSWORD})
    answers = [
        client.post("/auth/register", json={"username": "bob", "password": PASSWORD}),
        login,
        client.post("/auth/refresh", json={"refresh_token": login.json()["refresh_token"]}),
        client.get("/auth/me", headers=bearer),
        client.post("/auth/logout", json={"refresh_token": login.json()["refresh_token"]}),
        client.post("/auth/password", json={}, headers=bearer),
        client.post("/auth/logout-all", headers=bearer),
        client.get("/auth/me", headers=bearer),
        client.get("/auth/me"),
        client.post("/auth/login", json={"username": "ann", "password": "wrong"}),
        client.post("/auth/login", content=b"{"),
        client.get("/auth/login"),
        client.get("/healthz"),
    ]
    assert [answer.status_code for answer in answers] == [
        201,
        200,
        200,
        200,
        204,
        422,
        204,
        401,
        401,
        401,
        415,
        405,
        200,
    ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        cookies = [each.partition("=")[0] for each in answer.headers.get_list("set-cookie")]
        assert cookies == (["__Host-limen-device"] if answer is login else [])


@pytest.mark.parametrize("path", BODIES)
def test_other_types_are_4xx(client: TestClient, path: str) -> None:
    """Lists, objects, numbers and null where a text is due, unknown members: 4xx with a code, never a 500."""
    bearer = {"Authorization": f"Bearer {access_token(client)}"} if path == "/auth/password" else {}
    fields = BODIES[path]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from([*fields, "role", "id"]), NO_TEXT, min_size=1) | JSON)
    def tried(body: Any) -> None:
        # Infinities and NaN are no JSON, and are sent all the same.
        content = json.dumps(body).encode("utf-8", "surrogatepass")
        answer = client.post(path, content=content, headers={"Content-Type": "application/json", **bearer})
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"]
        assert re.fullmatch(r"[\x20-\x7e]*", answer.text)

    tried()


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/admin", "/.env", "/.git/config"]
)
def test_closed_by_default(tmp_path: Path, path: str) -> None:
    """The server shows nothing of itself unless it is told to: no docs, no metrics, no files."""
    with TestClient(application(settings_for(tmp_path))) as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert "limen" not in answer.text


def test_pages_cannot_be_framed(tmp_path: Path) -> None:
    """A page of limen's allows no frame, no foreign script, no object, no other base, and no guessing of types."""
    with TestClient(application(settings_for(tmp_path, docs=True)), base_url="https://app.example") as client:
        answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert "object-src" not in policy  # so that default-src stands for it
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"]
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "\u2028", "\x1b[31m", "%0d%0aX-Evil:1"])
def test_input_reaches_no_header(client: TestClient, value: str) -> None:
    """Line breaks and control characters in any field come back in no header."""
    for path, fields in BODIES.items():
        answer = client.post(path, json=dict.fromkeys(fields, value))
        for name, told in answer.headers.items():
            assert "evil" not in name.lower()
            assert value not in told
