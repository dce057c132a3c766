"""A real PostgreSQL is stopped under a running application: what each way to come in is answered, and afterwards."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from limen.starlette import live, public
from tests.support.gates import PASSWORD, gate_for
from tests.support.postgres import Cluster

HOST = "https://app.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
CREDENTIALS = {"username": "ann", "password": PASSWORD}
PATIENCE = 30.0


@dataclass
class Ways:
    """An application, and everything that somebody can have in hand when the database goes.

    Attributes:
        client: of the application; it keeps no cookie.
        tokens: access and refresh token.
        cookie: a session cookie, as the header says it.
        csrf: its anti-forgery token.
        refresh_cookie: a refresh cookie.
        key: an API key.
    """

    client: TestClient
    tokens: dict[str, Any]
    cookie: str
    csrf: str
    refresh_cookie: str
    key: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header of the access token."""
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, json: Any = None) -> Any:
        """Send a request and forget what it set."""
        answer = self.client.request(method, path, headers=headers or {}, **({"json": json} if json else {}))
        self.client.cookies.clear()
        return answer


async def guarded(request: Request) -> Response:
    """Answer whoever is authenticated."""
    return PlainTextResponse(request.user.sub)


@live
async def asked_live(request: Request) -> Response:
    """Answer whoever is active at this moment."""
    return PlainTextResponse(request.user.sub)


@public
async def anybody(_request: Request) -> Response:
    """Answer anybody."""
    return PlainTextResponse("anybody")


async def _make(gate: Limen) -> str:
    account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    assert gate.api_keys is not None
    return (await gate.api_keys.service.create_for(OPERATOR, account.id, Wanted("a program"))).key


@pytest.fixture
def ways(own_postgres: Cluster, tmp_path: Path) -> Iterator[Ways]:
    """The application on a server of its own, with everything made."""
    gate = gate_for(tmp_path, database_url=own_postgres.create())
    routes = [Route("/guarded", guarded), Route("/live", asked_live), Route("/anybody", anybody)]
    app = Starlette(routes=routes)
    gate.protect(app, health=True)
    with TestClient(app, base_url=HOST) as client:
        assert client.portal is not None
        key = client.portal.call(_make, gate)
        session = client.post("/auth/session", json=CREDENTIALS, headers=OWN)
        client.cookies.clear()
        by_cookie = client.post("/auth/login", json={**CREDENTIALS, "refresh": "cookie"}, headers=OWN)
        client.cookies.clear()
        yield Ways(
            client,
            client.post("/auth/login", json=CREDENTIALS).json(),
            session.headers["set-cookie"].partition(";")[0],
            session.json()["csrf_token"],
            by_cookie.headers["set-cookie"].partition(";")[0],
            key,
        )


REFUSED: dict[str, Callable[[Ways], Any]] = {
    "login": lambda ways: ways.ask("POST", "/auth/login", json=CREDENTIALS),
    "login by cookie": lambda ways: ways.ask("POST", "/auth/session", OWN, CREDENTIALS),
    "refresh": lambda ways: ways.ask("POST", "/auth/refresh", json={"refresh_token": ways.tokens["refresh_token"]}),
    "refresh by cookie": lambda ways: ways.ask("POST", "/auth/refresh", {**OWN, "Cookie": ways.refresh_cookie}),
    "cookie session": lambda ways: ways.ask("GET", "/guarded", {"Cookie": ways.cookie}),
    "API key": lambda ways: ways.ask("GET", "/guarded", {"X-API-Key": ways.key}),
    "live": lambda ways: ways.ask("GET", "/live", ways.bearer),
    "who am I": lambda ways: ways.ask("GET", "/auth/me", ways.bearer),
    "my sessions": lambda ways: ways.ask("GET", "/auth/sessions", ways.bearer),
    "ready": lambda ways: ways.ask("GET", "/readyz"),
    "logout": lambda ways: ways.ask("POST", "/auth/logout", ways.bearer),
}

GOES_ON: dict[str, Callable[[Ways], Any]] = {
    "access token": lambda ways: ways.ask("GET", "/guarded", ways.bearer),
    "public route": lambda ways: ways.ask("GET", "/anybody"),
    "public route with a cookie": lambda ways: ways.ask("GET", "/anybody", {"Cookie": ways.cookie}),
    "public route with a key": lambda ways: ways.ask("GET", "/anybody", {"X-API-Key": ways.key}),
    "public keys": lambda ways: ways.ask("GET", "/.well-known/jwks.json"),
    "alive": lambda ways: ways.ask("GET", "/healthz"),
}


def test_while_it_is_down_and_afterwards(ways: Ways, own_postgres: Cluster) -> None:
    """What asks it is 503 with a code and Retry-After, sets and clears no cookie; the rest goes on; then all does."""
    assert ways.ask("GET", "/guarded", {"X-API-Key": ways.key}).status_code == 200
    own_postgres.stop("immediate")
    time.sleep(1.1)  # a key is believed for a second, and readiness is asked once in it
    for name, ask in REFUSED.items():
        begun = time.monotonic()
        answer = ask(ways)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), name
        assert answer.headers["retry-after"].isdigit(), name
        assert "set-cookie" not in answer.headers, name
        assert time.monotonic() - begun < PATIENCE, name
    for name, ask in GOES_ON.items():
        assert ask(ways).status_code == 200, name
    own_postgres.start()
    time.sleep(1.1)
    for name, ask in {**GOES_ON, **REFUSED}.items():
        answer = ask(ways)
        assert answer.status_code in {200, 204}, (name, answer.text)


def test_what_is_refused_meanwhile_was_not_done(ways: Ways, own_postgres: Cluster) -> None:
    """A refresh token that was refused with 503 is still the current one; a session whose logout was refused lives."""
    own_postgres.stop("immediate")
    for ask in (REFUSED["refresh"], REFUSED["refresh by cookie"], REFUSED["logout"]):
        assert ask(ways).status_code == 503
    own_postgres.start()
    time.sleep(1.1)
    assert REFUSED["refresh by cookie"](ways).status_code == 200
    assert REFUSED["refresh"](ways).status_code == 200
    assert ways.ask("GET", "/guarded", {"Cookie": ways.cookie}).status_code == 200
