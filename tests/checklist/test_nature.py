"""Which open routes have to be open, by their paths."""

import pytest

from limen.checklist.facts import Route
from limen.checklist.nature import is_webhook, open_by_nature


def route(method: str, path: str) -> Route:
    """Return a route that nobody guards."""
    return Route(path, (method,))


@pytest.mark.parametrize(
    "line",
    [
        *("POST /login", "POST /auth/login", "POST /api/v1/login/access-token", "POST /auth/jwt/login", "GET /login"),
        *("POST /users/register", "POST /register", "POST /api/auth/signUp", "POST /auth/forgot-password"),
        *("POST /auth/refresh", "POST /auth/request-verify-token", "POST /auth/verify", "POST /password/reset"),
        *("GET /auth/{provider}/callback", "GET /sso/{name}/login", "GET /oauth2/authorize", "POST /token"),
        *("GET /verify-email/{token}", "POST /auth/reset_password/{token}", "POST /logout"),
        *("GET /", "GET /health", "GET /api/v1/health", "GET /healthz/ready", "GET /ping", "GET /version"),
        *("GET /.well-known/jwks.json", "GET /favicon.ico", "POST /admin/login"),
    ],
)
def test_what_has_to_be_open(line: str) -> None:
    """A login, a link from a mail, a probe: nobody can bring a credential there."""
    assert open_by_nature(route(*line.split()))


@pytest.mark.parametrize(
    "line",
    [
        *("POST /admin/reset-database", "POST /orders/{id}/confirm", "POST /cache/refresh", "GET /users/token-list"),
        *("GET /users/{id}/token", "GET /webhooks", "GET /orders/live", "GET /login-history", "POST /refresh"),
        *("POST /devices/{id}/register", "GET /documents/{id}/version", "POST /payments/authorize"),
        *("POST /users/verify", "GET /files/.well-known/secrets", "POST /orders/.well-known", "GET /token"),
        *("POST /health", "POST /", "DELETE /login", "PUT /auth/reset", "GET /internal/health", "GET /health/users"),
        *("POST /users/{user_id}/login", "GET /{anything}", "POST /users/{id}/reset-password", "GET /api/users"),
        *("POST /admin/register", "POST /internal/login", "POST /tokens", "GET /auth/users"),
    ],
)
def test_what_only_sounds_like_it(line: str) -> None:
    """Somebody's device, another's order, a cache: the word stands behind something else."""
    assert not open_by_nature(route(*line.split()))


def test_sockets_and_routes_for_every_method_are_not() -> None:
    """Nobody logs in by a socket, and what takes every method also takes what removes."""
    assert not open_by_nature(Route("/login", kind="websocket"))
    assert not open_by_nature(Route("/login"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("POST /webhook", True),
        ("POST /webhooks/{provider}", True),
        ("POST /api/stripe/webhook", True),
        ("GET /webhooks", False),
        ("POST /admin/webhooks", False),
        ("POST /webhooks/{id}/deliveries/{delivery}", False),
    ],
)
def test_what_other_services_call(line: str, expected: bool) -> None:
    """A webhook asks for a signature, or should; a list of webhooks is data."""
    assert is_webhook(route(*line.split())) is expected
