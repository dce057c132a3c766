"""Valkey away, hanging, killed or emptied: what is refused, what goes on, and that it comes back by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from limen import Limen
from limen.authn.issuing import Issued
from limen.core.errors import InvalidRefreshToken, Unavailable
from limen.core.events import NOWHERE
from limen.core.metrics import VALKEY_FAILURES
from limen.starlette import public
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gates import PASSWORD, ROLES, gate_for, settings_for
from tests.support.postgres import Databases
from tests.support.valkey import Server, serving

HOST = "https://app.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
ANN = {"username": "ann", "password": PASSWORD}
PATIENCE = 30.0
"""Seconds for one answer, whatever hangs: a connection, and an answer, each take two at most."""


@public
async def anybody(request: Request) -> PlainTextResponse:
    """Open to everybody."""
    return PlainTextResponse("anybody")


async def somebody(request: Request) -> PlainTextResponse:
    """For whoever has logged in."""
    return PlainTextResponse("somebody")


class Browser:
    """A client that has a token and a cookie, each of a session of its own."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.tokens = client.post("/auth/login", json=ANN).json()
        answer = client.post("/auth/session", json=ANN, headers=OWN)
        assert answer.status_code == 200, answer.text
        self.cookie = client.cookies["__Host-limen"]
        client.cookies.clear()

    def by_token(self) -> Any:
        return self.client.get("/somebody", headers={"Authorization": f"Bearer {self.tokens['access_token']}"})

    def by_cookie(self) -> Any:
        return self.client.get("/somebody", headers={"Cookie": f"__Host-limen={self.cookie}"})

    def refresh(self) -> Any:
        answer = self.client.post("/auth/refresh", json={"refresh_token": self.tokens["refresh_token"]})
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    def log_in(self) -> Any:
        return self.client.post("/auth/login", json=ANN)


@pytest.fixture
def proxy(valkey: Server) -> Iterator[FaultProxy]:
    """What stands before the Valkey of this worker."""
    with fault_proxy(valkey.port) as proxy:
        yield proxy


def client_of(gate: Limen) -> TestClient:
    """Return a client of an application with both."""
    app = Starlette()
    app.add_route("/anybody", anybody)
    app.add_route("/somebody", somebody)
    gate.protect(app, health=True)
    return TestClient(app, base_url=HOST)


@pytest.fixture
def browser(tmp_path: Path, proxy: FaultProxy) -> Iterator[Browser]:
    """A client of an application whose sessions are in Valkey, behind the proxy."""
    gate = gate_for(tmp_path, session_store="valkey", valkey_url=f"valkey://127.0.0.1:{proxy.port}/0")
    with client_of(gate) as client:
        assert client.post("/auth/register", json=ANN).status_code == 201
        yield Browser(client)


def is_unavailable(answer: Any) -> bool:
    """Tell whether it is the one answer to what cannot be asked."""
    told = (answer.status_code, answer.json()["code"], answer.headers["Retry-After"].isdigit())
    return bool(told == (503, "unavailable", True))


@pytest.mark.parametrize("fault", ["refuse", "reset", "hang"])
def test_valkey_away(browser: Browser, proxy: FaultProxy, fault: str) -> None:
    """Cookies, refreshes and logins are 503 in time; tokens, open routes and logouts go on; then all is as before."""
    getattr(proxy, fault)()
    begun = time.monotonic()
    assert is_unavailable(browser.by_cookie())
    assert time.monotonic() - begun < PATIENCE
    assert is_unavailable(browser.refresh())
    assert is_unavailable(browser.log_in())
    assert is_unavailable(browser.client.post("/auth/session", json=ANN, headers=OWN))
    assert browser.client.get("/readyz").status_code == 503
    begun = time.monotonic()
    assert browser.by_token().status_code == 200
    assert browser.client.get("/anybody", headers={"Cookie": f"__Host-limen={browser.cookie}"}).status_code in {
        200,
        503,
    }
    assert browser.client.get("/anybody").status_code == 200
    assert browser.client.get("/healthz").status_code == 200
    proxy.ok()
    assert browser.by_cookie().status_code == 200
    assert browser.refresh().status_code == 200
    assert browser.log_in().status_code == 200
    time.sleep(1.1)  # readiness is asked once a second
    assert browser.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_logout_while_valkey_is_away(browser: Browser, proxy: FaultProxy, fault: str) -> None:
    """It is done, and told so: what Valkey still has when it is back opens nothing."""
    getattr(proxy, fault)()
    begun = time.monotonic()
    answer = browser.client.post("/auth/logout", json={"refresh_token": browser.tokens["refresh_token"]})
    assert answer.status_code == 204
    assert browser.client.post("/auth/logout-all", headers=bearer_of(browser)).status_code in {204, 401}
    assert time.monotonic() - begun < PATIENCE
    proxy.ok()
    assert browser.refresh().status_code == 401
    assert browser.by_token().status_code == 401


def bearer_of(browser: Browser) -> dict[str, str]:
    """The header of the browser's token."""
    return {"Authorization": f"Bearer {browser.tokens['access_token']}"}


def test_an_everywhere_logout_while_valkey_is_away(browser: Browser, proxy: FaultProxy) -> None:
    """Every session of the account is over, the cookie's too, although Valkey could not be told."""
    proxy.refuse()
    assert browser.client.post("/auth/logout-all", headers=bearer_of(browser)).status_code == 204
    proxy.ok()
    assert browser.by_cookie().status_code == 401
    assert browser.refresh().status_code == 401


def test_what_fails_is_counted(browser: Browser, proxy: FaultProxy) -> None:
    """An operator sees that Valkey fails, before anybody complains; the log names the failure, and no address."""

    def failures() -> float:
        (sample,) = VALKEY_FAILURES.read().samples
        assert isinstance(sample[1], (int, float))
        return sample[1]

    before = failures()
    assert browser.by_cookie().status_code == 200
    assert failures() == before
    proxy.refuse()
    browser.by_cookie()
    assert failures() > before
    proxy.ok()


def test_slow_is_not_away(browser: Browser, proxy: FaultProxy) -> None:
    """A tenth of a second in each direction makes answers late, and none wrong."""
    proxy.latency(0.1)
    assert browser.by_cookie().status_code == 200
    assert browser.refresh().status_code == 200
    proxy.ok()


def test_killed_and_started_again(tmp_path: Path, own_valkey: Server) -> None:
    """With its log on the disk no session is lost, and nobody restarts limen."""
    gate = gate_for(tmp_path, session_store="valkey", valkey_url=own_valkey.url)
    with client_of(gate) as client:
        client.post("/auth/register", json=ANN)
        browser = Browser(client)
        for _ in range(3):
            assert browser.refresh().status_code == 200
            own_valkey.kill()
            assert is_unavailable(browser.by_cookie())
            assert is_unavailable(browser.refresh())
            assert browser.by_token().status_code == 200
            own_valkey.start()
            assert browser.by_cookie().status_code == 200
            assert browser.refresh().status_code == 200


def test_killed_without_a_log(tmp_path: Path) -> None:
    """What is in memory alone is gone with it: everybody logs in again, and nothing else is lost."""
    with serving() as server:
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=server.url)
        with client_of(gate) as client:
            client.post("/auth/register", json=ANN)
            browser = Browser(client)
            server.kill()
            server.start()
            assert browser.by_cookie().status_code == 401
            assert browser.refresh().status_code == 401
            assert browser.by_token().status_code == 200
            again = Browser(client)
            assert again.by_cookie().status_code == 200
            assert again.refresh().status_code == 200


def test_a_paused_server_holds_nobody_for_long(tmp_path: Path) -> None:
    """A server that stands still is told from one that is slow after two seconds, and is used again when it goes on."""
    with serving() as server:
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=server.url)
        with client_of(gate) as client:
            client.post("/auth/register", json=ANN)
            browser = Browser(client)
            server.pause()
            begun = time.monotonic()
            assert is_unavailable(browser.by_cookie())
            assert 1 < time.monotonic() - begun < PATIENCE
            server.go_on()
            assert browser.by_cookie().status_code == 200
            assert browser.refresh().status_code == 200


def test_a_full_server_refuses_and_drops_nothing(tmp_path: Path) -> None:
    """With noeviction and no room a login is 503; who is logged in stays so."""
    with serving() as server:
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=server.url)
        with client_of(gate) as client:
            client.post("/auth/register", json=ANN)
            browser = Browser(client)
            with server.client as admin:
                admin.config_set("maxmemory", 1)
            assert is_unavailable(browser.log_in())
            assert is_unavailable(browser.refresh())
            assert browser.by_cookie().status_code == 200
            with server.client as admin:
                admin.config_set("maxmemory", 0)
            assert browser.refresh().status_code == 200


@asynccontextmanager
async def losing(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A proxy that loses the answer to the next script while its event is set, after the script ran."""
    lose = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while chunk := await upstream.read(65_536):
                if lose.is_set() and scripts:
                    lose.clear()
                    writer.transport.abort()
                    server.transport.abort()
                    return
                writer.write(chunk)

        scripts: list[bytes] = []
        task = asyncio.create_task(back())
        try:
            while chunk := await reader.read(65_536):
                if lose.is_set() and b"EVAL" in chunk:
                    scripts.append(chunk)
                server.write(chunk)
        except OSError:
            pass
        finally:
            server.close()
            await task
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(listener.sockets[0].getsockname()[1]), lose
    finally:
        listener.close()


async def logged_in(gate: Limen) -> Issued:
    """Make an account and log it in."""
    await gate.accounts.create("ann", PASSWORD)
    return await gate.login.login("ann", PASSWORD, origin=NOWHERE)


async def test_a_lost_answer_of_a_rotation_logs_nobody_out(tmp_path: Path, valkey: Server) -> None:
    """The script ran, nobody was told: asked again, it brings the successor that the script has left."""
    async with losing(valkey.port) as (port, lose):
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=f"valkey://127.0.0.1:{port}/0")
        async with gate.running():
            first = await logged_in(gate)
            lose.set()
            found = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
            assert not lose.is_set()
            again = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
            assert again.refresh_token == found.refresh_token
            later = await gate.sessions.refresh(again.refresh_token, origin=NOWHERE)
            assert later.sid == first.sid


async def soon(ask: Callable[[], Awaitable[Issued]]) -> Issued:
    """Ask until it is answered: a pool of connections to the database takes a moment to find that it is back."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await ask()
        except Unavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["lose_statement", "lose_answer"])
async def test_a_lost_record_of_a_rotation_logs_nobody_out(
    tmp_path: Path, valkey: Server, postgres: Databases, how: str
) -> None:
    """The database is lost between the script and the record, or after it: 503, nothing handed out; the retry works."""
    url = postgres.create()
    with fault_proxy(url) as proxy:
        settings = settings_for(tmp_path, database_url=proxy.url(url), session_store="valkey", valkey_url=valkey.url)
        async with Limen(settings, roles=ROLES).running() as gate:
            first = await logged_in(gate)
            getattr(proxy, how)("recorded AS")
            with pytest.raises(Unavailable):
                await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
            again = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
            later = await gate.sessions.refresh(again.refresh_token, origin=NOWHERE)
            assert later.sid == first.sid
            with pytest.raises(InvalidRefreshToken):
                await gate.sessions.refresh("x" + first.refresh_token, origin=NOWHERE)
    postgres.drop(url)


async def test_without_its_database_nothing_is_rotated(tmp_path: Path, valkey: Server, postgres: Databases) -> None:
    """While the database is away a refresh fails before it has changed anything: it works afterwards, however late."""
    url = postgres.create()
    with fault_proxy(url) as proxy:
        settings = settings_for(
            tmp_path, database_url=proxy.url(url), session_store="valkey", valkey_url=valkey.url, refresh_leeway=0
        )
        async with Limen(settings, roles=ROLES).running() as gate:
            first = await logged_in(gate)
            proxy.refuse()
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
            proxy.ok()
            assert (await soon(partial(gate.sessions.refresh, first.refresh_token, origin=NOWHERE))).sid == first.sid
    postgres.drop(url)
