"""Verifying scales with the services that do it: without ``@live`` a guarded request asks no store."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from limen import Limen
from limen.core.events import Origin
from limen.fastapi import CurrentPrincipal, live, permissions, public, roles
from tests.support.gates import PASSWORD, gate_for


@pytest.fixture(autouse=True)
def nothing_failed() -> None:
    """There is no server here."""


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Limen]:
    """A gate without its work in the background, which calls the store once a second."""
    made = gate_for(tmp_path)
    async with made.running():
        for task in made._background:
            task.cancel()
            with contextlib.suppress(BaseException):
                await task
        yield made


def application(gate: Limen) -> FastAPI:
    """Make an application with a route of every kind of requirement."""
    app = FastAPI()
    gate.protect(app)

    @app.get("/open")
    @public
    async def open_to_all() -> str:
        return "open"

    @app.get("/plain")
    async def plain(me: CurrentPrincipal) -> str:
        return me.sub

    @app.get("/role")
    @roles("maker", "admin")
    async def by_role() -> str:
        return "role"

    @app.get("/permission", dependencies=[permissions("order:create")])
    async def by_permission() -> str:
        return "permission"

    @app.get("/forbidden")
    @roles("checker")
    async def forbidden() -> str:
        return "never"

    @app.get("/live")
    @live
    async def alive() -> str:
        return "live"

    return app


async def calls_of(gate: Limen, client: httpx.AsyncClient, path: str, token: str, times: int, status: int) -> int:
    """Return how many store verbs a number of requests called."""
    before = gate.storage.calls
    for _ in range(times):
        assert (await client.get(path, headers={"Authorization": f"Bearer {token}"})).status_code == status
    return gate.storage.calls - before


async def test_a_guarded_request_calls_no_store_verb_and_a_live_one_calls_one(gate: Limen) -> None:
    """Counted: none for roles, permissions, refusals and bad tokens, the first time as later; one for each @live."""
    await gate.accounts.create("client", PASSWORD, roles=frozenset({"maker"}))
    issued = await gate.login.login("client", PASSWORD, origin=Origin())
    token = issued.access_token
    transport = httpx.ASGITransport(application(gate))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/open")).status_code == 200  # started, and its guard tested
        for path in ("/plain", "/role", "/permission", "/open"):
            assert await calls_of(gate, client, path, token, 20, 200) == 0, path
        assert await calls_of(gate, client, "/forbidden", token, 20, 403) == 0
        assert await calls_of(gate, client, "/plain", "not.a.token", 20, 401) == 0
        assert await calls_of(gate, client, "/live", token, 20, 200) == 20
        await gate.sessions.logout(issued.refresh_token, origin=Origin())
        assert await calls_of(gate, client, "/plain", token, 20, 401) == 0
