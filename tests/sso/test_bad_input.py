"""Whatever is sent: 4xx with a code, never 500."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.sso.conftest import PAGE

LONG = "x" * 20_000
TEXTS = [
    "",
    "%00",
    "%ff",
    "%F0%9F%92%A9",
    "%0d%0a",
    "..%2f..",
    "a%2fb",
    "%25",
    "'\"<>",
    "{}",
    "-1",
    "null",
    "x" * 300,
    LONG,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("headers", [{}, PAGE], ids=["program", "browser"])
def test_addresses(browser: TestClient, text: str, headers: Any) -> None:
    """In the name of the provider, and in each parameter."""
    paths = [f"/auth/sso/{text}/{end}" for end in ("login", "callback", "logout")]
    paths += [
        f"/auth/sso/corp/{end}={text}"
        for end in (
            "login?next",
            "login?code_challenge",
            "callback?state",
            "callback?code",
            "callback?iss",
            "callback?error",
        )
    ]
    paths.append(f"/auth/sso/corp/login?code_challenge={'a' * 43}&code_challenge_method={text}&next={text}")
    for path in paths:
        answer = browser.get(path, headers=headers)
        assert answer.status_code < 500, path
        if answer.status_code >= 400 and "json" in answer.headers["content-type"]:
            assert answer.json()["code"]
        if answer.status_code == 302:
            assert answer.headers["location"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"code":1}',
        b'{"code":"a","code":"b"}',
        b'{"code":"a","code_verifier":null}',
    ],
    ids=range(8),
)
def test_bodies(browser: TestClient, body: bytes) -> None:
    """Of the exchange, and of what takes a session."""
    for path in ("exchange", "corp/link", "corp/logout", "corp/backchannel-logout"):
        for content_type in ("application/json", "application/x-www-form-urlencoded", "text/plain", ""):
            answer = browser.post(f"/auth/sso/{path}", content=body, headers={"Content-Type": content_type})
            assert 400 <= answer.status_code < 500
            assert answer.json()["code"]


@pytest.mark.parametrize("value", [b"\xff" * 43, b"\x80", b"a=b=c", b'"quoted"', b"x" * 15_000], ids=range(5))
def test_cookies_and_hosts(browser: TestClient, value: bytes) -> None:
    """Bytes that are no text are nobody's."""
    for name in (b"__Host-limen-sso", b"__Host-limen"):
        for path in (
            "/auth/sso/corp/login",
            f"/auth/sso/corp/callback?state={'x' * 43}&code=y",
            "/auth/sso/corp/logout",
        ):
            headers = [(b"cookie", name + b"=" + value)]
            assert browser.get(path, headers=headers).status_code < 500
    assert browser.get("/auth/sso/corp/login", headers=[(b"host", value[:200])]).status_code < 500


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "OPTIONS", "TRACE", "HEAD"])
def test_methods(browser: TestClient, method: str) -> None:
    """Nothing begins or ends but by the method that the page names."""
    for path in ("corp/login", "corp/callback?state=a&code=b"):
        answer = browser.request(method, f"/auth/sso/{path}")
        assert answer.status_code in (204, 400, 401, 403, 405)
        assert "set-cookie" not in answer.headers
