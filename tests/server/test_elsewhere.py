"""Services elsewhere, as real processes: what they learn of ended sessions, how soon, and tokens of another limen."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from limen import ClaimRule, ExternalIssuer, Limen
from limen.authn.external import external_sub
from limen.starlette import roles
from tests.server.conftest import PASSWORD, Server, launch, limen, log_in
from tests.support.gates import ROLES, settings_for
from tests.support.processes import until
from tests.support.waiting import STEP_SECONDS, Awake

ISSUER = "https://auth.example"
BOUND_SECONDS = 2.0
"""What is promised: from the answer to the logout to the last token that is let in elsewhere."""
ROUNDS = 8

Serve = Callable[..., Server]


@dataclass(frozen=True)
class Place:
    """An installation that is served, with an administrator, bob, and services with API keys."""

    settings: Path
    server: Server

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command of the operator's, and return what it printed."""
        done = limen(*command, "--env-file", str(self.settings), folder=self.settings.parent, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, service: str, *roles: str) -> str:
        """Make a service with these roles, and return a key of it."""
        self.run("services", "create", service, *(word for role in roles for word in ("--role", role)))
        return str(json.loads(self.run("api-keys", "create", service, "--json"))["key"])


@contextmanager
def installation(folder: Path) -> Iterator[Place]:
    """Make an installation, and serve it as a real ``limen serve`` with ES256."""
    assert limen("init", folder=folder).returncode == 0
    settings = folder / ".env"
    server = launch(folder, "serve", "--env-file", str(settings), LIMEN_ISSUER=ISSUER, LIMEN_AUDIENCE=ISSUER)
    try:
        place = Place(settings, server)
        place.run("accounts", "create", "bob", "--role", "admin", "--password-stdin", stdin=PASSWORD)
        place.run("roles", "create", "watcher", "--permission", "sessions:watch")
        yield place
    finally:
        server.end()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One installation for the tests that leave it running."""
    with installation(tmp_path_factory.mktemp("issuer")) as made:
        yield made


@pytest.fixture
def issuer(place: Place) -> Server:
    """Its server."""
    return place.server


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Serve]:
    """Start services elsewhere, which know an issuer by its address."""
    running: list[Server] = []

    def call(issuer: Server, **more: str) -> Server:
        folder = tmp_path / f"elsewhere-{len(running)}"
        folder.mkdir()
        program = (sys.executable, Path(__file__).with_name("orders_elsewhere.py"))
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        told = {"ORDERS_ISSUER": ISSUER, "ORDERS_AUTH": issuer.address, "PYTHONPATH": path, **more}
        running.append(launch(folder, program=program, **told))
        return running[-1]

    yield call
    for server in running:
        server.end()


def status(server: Server, token: str) -> int:
    """Return how a service elsewhere answers a token."""
    with server.client(token) as client:
        return client.get("/orders").status_code


def log_out(issuer: Server, tokens: dict[str, Any]) -> None:
    """End a session at the issuer."""
    with issuer.client() as client:
        done = client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})
    assert done.status_code == 204


@pytest.mark.serial
def test_ended_sessions_are_learnt_within_the_bound(place: Place, issuer: Server, elsewhere: Serve) -> None:
    """From the answer to the logout on, tokens of that session are let in for two seconds at most; others go on."""
    orders = elsewhere(issuer, ORDERS_KEY=place.key("orders", "watcher"))
    stays = log_in(issuer, "bob", PASSWORD)["access_token"]
    took: list[float] = []
    for _ in range(ROUNDS):
        tokens = log_in(issuer, "bob", PASSWORD)
        assert status(orders, tokens["access_token"]) == 200
        log_out(issuer, tokens)
        awake = Awake()
        while status(orders, tokens["access_token"]) != 401:
            assert awake.step() < 10
            time.sleep(STEP_SECONDS)
        took.append(awake.step())
        assert status(orders, stays) == 200
    # Shown by pytest -s: what the manual of signing keys states was taken from here.
    sys.stdout.write(f"ended sessions were learnt after {min(took):.2f} to {max(took):.2f} s ({ROUNDS} rounds)\n")
    assert max(took) <= BOUND_SECONDS


def test_without_a_key_a_token_ends_with_its_time(issuer: Server, elsewhere: Serve) -> None:
    """That is what is promised then: fifteen minutes; and readiness does not speak of what nobody asked for."""
    orders = elsewhere(issuer)
    tokens = log_in(issuer, "bob", PASSWORD)
    assert status(orders, tokens["access_token"]) == 200
    log_out(issuer, tokens)
    time.sleep(BOUND_SECONDS)
    assert status(orders, tokens["access_token"]) == 200
    with orders.client() as client:
        assert client.get("/state").json() == {}


@pytest.mark.serial
def test_what_happens_while_the_issuer_is_silent(tmp_path: Path, elsewhere: Serve) -> None:
    """After ten seconds one service says so and serves on, and the other serves nobody, as each was told."""
    (tmp_path / "issuer").mkdir()
    with installation(tmp_path / "issuer") as own:
        key, tokens = own.key("orders", "watcher"), log_in(own.server, "bob", PASSWORD)["access_token"]
        lenient = elsewhere(own.server, ORDERS_KEY=key)
        strict = elsewhere(own.server, ORDERS_KEY=key, ORDERS_WHEN_BLIND="refuse")
        assert until(lambda: status(strict, tokens) == 200, 5)
        assert status(lenient, tokens) == 200
    assert until(lambda: status(strict, tokens) == 503, 15)
    assert status(lenient, tokens) == 200
    with lenient.client() as client:
        assert until(lambda: client.get("/state").json() == {"ended_sessions": "unknown"}, 5)
    with strict.client() as client:
        assert client.get("/state").status_code == 503
        assert client.get("/readyz").status_code == 200
        assert client.get("/orders").status_code == 401


def test_a_key_that_may_not_watch_is_told(place: Place, issuer: Server, elsewhere: Serve) -> None:
    """A strict service lets nobody in with it; the log of the service says why."""
    key = place.key("idle")
    strict = elsewhere(issuer, ORDERS_KEY=key, ORDERS_WHEN_BLIND="refuse")
    token = log_in(issuer, "bob", PASSWORD)["access_token"]
    assert status(strict, token) == 503
    with issuer.client() as client:
        assert client.get("/auth/ended", headers={"X-API-Key": key}).status_code == 403


async def test_another_limen_as_an_external_issuer(issuer: Server, tmp_path: Path) -> None:
    """Its ES256 tokens count where its keys are named; the account is that of its issuer and subject."""
    folder = tmp_path / "here"
    folder.mkdir()
    rules = [ClaimRule("roles", "admin", roles=["checker"])]
    declared = ExternalIssuer(
        issuer=ISSUER, audience=ISSUER, algorithms=["ES256"], types=["at+jwt"], rules=rules,
        jwks_uri=f"{issuer.address}/.well-known/jwks.json",
    )  # fmt: skip
    settings = settings_for(folder, outbound_allow=["127.0.0.0/8"], issuer="https://here.example")
    gate = Limen(settings, roles=ROLES, issuers=[declared])
    app = Starlette()
    gate.protect(app)

    @roles("checker")
    async def who(request: Request) -> JSONResponse:
        return JSONResponse([request.user.sub, request.user.subject, sorted(request.user.roles)])

    app.add_route("/who", who)
    tokens = log_in(issuer, "bob", PASSWORD)
    with issuer.client(tokens["access_token"]) as client:
        sub = client.get("/auth/me").json()["sub"]
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here.test") as here,
    ):
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await here.get("/who", headers=headers)).json() == [external_sub(ISSUER, sub), sub, ["checker"]]
        headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
        assert (await here.get("/who", headers=headers)).status_code == 401
        for protection in gate._protections:
            protection.ready = False
