"""The object an application holds: start, stop, and what it asks of the store."""

import logging
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from limen import Limen
from limen.authn.strategy import Authenticated
from limen.core.errors import ConfigurationError, Unavailable
from limen.core.events import NOWHERE
from limen.starlette import live, roles
from tests.support.gates import PASSWORD, gate_for, settings_for


def _application(gate: Limen) -> Starlette:
    app = Starlette()
    gate.protect(app)

    @roles("maker")
    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("plain")

    @roles("maker")
    @live
    async def checked(request: Request) -> PlainTextResponse:
        return PlainTextResponse("checked")

    app.add_route("/plain", plain)
    app.add_route("/checked", checked)
    return app


async def _account_and_token(gate: Limen) -> str:
    await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
    return (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token


def test_importing_limen_imports_no_web_framework() -> None:
    """A worker or a command that serves nothing pays for no framework, and needs none installed."""
    code = "import limen, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "'limen'" in loaded
    assert "'fastapi'" not in loaded
    assert "'starlette'" not in loaded


def test_a_guarded_request_makes_no_store_call(tmp_path: Path) -> None:
    """Without @live nothing is asked of the store, for a new token and for one seen before; with it, once a request."""
    gate = gate_for(tmp_path)
    with TestClient(_application(gate)) as client:
        assert client.portal is not None
        token = client.portal.call(_account_and_token, gate)
        headers = {"Authorization": f"Bearer {token}"}
        # The list of ended sessions is read beside the requests, once a second: not counted here.
        for task in gate._background:
            client.portal.call(task.cancel)
        before = gate.storage.calls
        for _ in range(20):
            assert client.get("/plain", headers=headers).text == "plain"
        assert gate.storage.calls == before
        assert client.get("/checked", headers=headers).text == "checked"
        assert gate.storage.calls == before + 1


def test_without_a_lifespan_it_starts_at_the_first_request(tmp_path: Path) -> None:
    """Most tests of FastAPI applications use a client that runs no lifespan: the guard works there too."""
    gate = gate_for(tmp_path)
    client = TestClient(_application(gate))
    assert client.get("/plain").status_code == 401
    assert client.post("/auth/register", json={"username": "ann", "password": PASSWORD}).status_code == 201
    assert client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 200


def test_it_can_be_started_again(tmp_path: Path) -> None:
    """After a stop, the same application serves again, and what was stored is there."""
    gate = gate_for(tmp_path)
    app = _application(gate)
    with TestClient(app) as client:
        assert client.portal is not None
        token = client.portal.call(_account_and_token, gate)
    with TestClient(app) as client:
        assert client.get("/plain", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 200


def test_live_without_a_database_is_a_no(tmp_path: Path) -> None:
    """Where the store does not answer, @live answers 503 and the handler does not run; plain routes go on."""
    gate = gate_for(tmp_path)
    with TestClient(_application(gate)) as client:
        assert client.portal is not None
        token = client.portal.call(_account_and_token, gate)
        headers = {"Authorization": f"Bearer {token}"}
        client.portal.call(gate.storage.stop)
        answer = client.get("/checked", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "retry-after" in answer.headers
        assert client.get("/plain", headers=headers).status_code == 200


def test_live_sees_what_the_token_does_not(tmp_path: Path) -> None:
    """An account disabled behind this process's back: the plain route may lag, the live one refuses at once."""
    gate = gate_for(tmp_path)
    with TestClient(_application(gate)) as client:
        assert client.portal is not None
        token = client.portal.call(_account_and_token, gate)
        headers = {"Authorization": f"Bearer {token}"}

        async def disable_elsewhere() -> None:
            async with Limen(gate.settings).running() as other:
                await other.accounts.disable(await other.accounts.by_username("ann"), actor="cli")

        client.portal.call(disable_elsewhere)
        answer = client.get("/checked", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")


async def test_roles_declared_in_code_are_found_by_whoever_declares_none(tmp_path: Path) -> None:
    """The command line goes by the roles that the application wrote into the database."""
    gate = gate_for(tmp_path)
    async with gate.running():
        pass
    async with Limen(gate.settings).running() as other:
        assert other.catalogue.names == gate.catalogue.names
        assert other.catalogue.permissions_of(frozenset({"checker"})) == {"order:read", "order:approve"}


async def test_not_ready_before_the_start(tmp_path: Path) -> None:
    """Readiness is false until everything is open, and again after the stop."""
    gate = gate_for(tmp_path)
    with pytest.raises(Unavailable):
        await gate.ready()
    async with gate.running():
        await gate.ready()
    with pytest.raises(Unavailable):
        await gate.ready()


async def test_the_line_at_start_tells_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line says what is safe to say; no secret is in it, nor in what the object shows of itself."""
    settings = settings_for(tmp_path)
    gate = Limen(settings)
    with caplog.at_level(logging.DEBUG, "limen"):
        async with gate.running():
            pass
    told = repr([vars(record) for record in caplog.records]) + repr(gate) + repr(settings)
    assert "started" in told
    for secret in (settings.jwt_access_secret, settings.jwt_refresh_secret):
        assert secret.get_secret_value() not in told


def test_rules_for_mounts_need_a_protected_application(tmp_path: Path) -> None:
    """A rule that would belong to nothing is an error, not a rule that is forgotten."""
    with pytest.raises(ConfigurationError, match="protect"):
        gate_for(tmp_path).public_mount("/static")


async def test_permissions_of_then_are_forgotten_at_a_new_start(tmp_path: Path) -> None:
    """A gate that takes its roles from the database gives a token seen before the permissions of now."""
    changed = {"maker": ["order:create"]}
    async with gate_for(tmp_path).running() as declaring:
        token = await _account_and_token(declaring)
        settings = declaring.settings
    reading = Limen(settings)
    headers = [(b"authorization", b"Bearer " + token.encode())]
    async with reading.running():
        before = reading.chain.recall(headers)
        assert isinstance(before, Authenticated)
        assert before.principal.permissions == {"order:create", "order:read"}
    async with Limen(settings, roles=changed).running():
        pass
    async with reading.running():
        after = reading.chain.recall(headers)
        assert isinstance(after, Authenticated)
        assert after.principal.permissions == {"order:create"}


def test_two_applications_under_one_gate(tmp_path: Path) -> None:
    """The end of one application does not stop the other; the end of both stops the gate."""
    gate = gate_for(tmp_path)
    first, second = _application(gate), _application(gate)
    with TestClient(first) as one:
        with TestClient(second) as two:
            assert two.post("/auth/register", json={"username": "ann", "password": PASSWORD}).status_code == 201
        assert one.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 200
    with pytest.raises(Unavailable):
        anyio.run(gate.ready)


def test_other_middleware_does_not_take_limens_own_routes_away(tmp_path: Path) -> None:
    """An application's middleware that writes its own ``request.user`` changes nothing for limen's routes."""

    class Nobody:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope["user"] = None
            await self.app(scope, receive, send)

    app = Starlette(middleware=[Middleware(Nobody)])
    gate = gate_for(tmp_path)
    gate.protect(app)
    with TestClient(app) as client:
        assert client.portal is not None
        headers = {"Authorization": f"Bearer {client.portal.call(_account_and_token, gate)}"}
        assert client.get("/auth/me", headers=headers).json()["username"] == "ann"
        assert client.post("/auth/logout", headers=headers).status_code == 204
