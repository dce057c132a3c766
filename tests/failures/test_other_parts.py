"""A standby instead of the database, a replica instead of Valkey, a mail server that is silent, a log that is full."""

import asyncio
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.features.mail.smtp import SmtpServer, SmtpTransport
from tests.faults.servers import Nursery, Server
from tests.mail.conftest import Clock, Making, Sink, queued, serving
from tests.support.gates import PASSWORD, gate_for
from tests.support.ports import free_port
from tests.support.postgres import Cluster
from tests.support.processes import until
from tests.support.valkey import serving as valkey_serving

HOST: Final = "https://app.example"
OWN: Final = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
ANN: Final = {"username": "ann", "password": PASSWORD}
LIMIT: Final = 3


async def somebody(_request: Request) -> PlainTextResponse:
    """Answer whoever has logged in."""
    return PlainTextResponse("somebody")


def client_of(gate: Limen) -> TestClient:
    """Return a client of an application of that gate."""
    app = Starlette(routes=[Route("/somebody", somebody)])
    gate.protect(app, health=True)
    return TestClient(app, base_url=HOST)


def is_unavailable(answer: Any) -> bool:
    """Tell whether it says to come back, and nothing else."""
    return bool((answer.status_code, answer.json()["code"]) == (503, "unavailable") and answer.headers["retry-after"])


def make_standby(cluster: Cluster) -> None:
    """Start the server again as one that only reads, as the old primary is after a failover."""
    cluster.stop()
    signal = cluster.folder / "data" / "standby.signal"
    signal.touch()
    there = (cluster.folder / "data").stat()
    shutil.chown(signal, there.st_uid, there.st_gid)
    cluster.start()


@pytest.mark.timeout(300)
def test_a_standby_in_the_place_of_the_database(tmp_path: Path, own_postgres: Cluster) -> None:
    """Who asks a server that only reads is refused, not believed: it may be behind. Promoted, it is used again."""
    with client_of(gate_for(tmp_path, database_url=own_postgres.create())) as client:
        client.post("/auth/register", json=ANN)
        tokens = client.post("/auth/login", json=ANN).json()
        cookie = client.post("/auth/session", json=ANN, headers=OWN).headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        refresh = {"refresh_token": tokens["refresh_token"]}
        make_standby(own_postgres)
        assert is_unavailable(client.post("/auth/login", json=ANN))
        assert is_unavailable(client.post("/auth/refresh", json=refresh))
        assert is_unavailable(client.post("/auth/logout", headers=bearer))
        assert is_unavailable(client.get("/somebody", headers={"Cookie": cookie}))
        assert client.get("/somebody", headers=bearer).status_code == 200
        own_postgres.execute("SELECT pg_promote()")
        assert until(lambda: client.post("/auth/refresh", json=refresh).status_code == 200)
        assert client.get("/somebody", headers={"Cookie": cookie}).status_code == 200


def test_a_replica_in_the_place_of_valkey(tmp_path: Path) -> None:
    """What it cannot write is refused: logins, refreshes, and whatever is counted before it is tried."""
    with valkey_serving() as server:
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=server.url)
        with client_of(gate) as client, server.client as admin:
            client.post("/auth/register", json=ANN)
            tokens = client.post("/auth/login", json=ANN).json()
            admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
            assert is_unavailable(client.post("/auth/login", json=ANN))
            assert is_unavailable(client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
            assert is_unavailable(client.post("/auth/register", json={**ANN, "username": "bob"}))
            admin.execute_command("REPLICAOF", "NO", "ONE")
            assert client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200


def test_counts_begin_anew_where_valkey_was_emptied(tmp_path: Path) -> None:
    """As at the end of their window: so many attempts and no more, and none without a count."""
    with valkey_serving() as server:
        limit = f"{LIMIT}/900 seconds"
        gate = gate_for(tmp_path, session_store="valkey", valkey_url=server.url, login_limit=limit)
        with client_of(gate) as client:
            client.post("/auth/register", json=ANN)
            wrong = {**ANN, "password": "not the right one"}
            for _ in range(2):
                told = [client.post("/auth/login", json=wrong).status_code for _ in range(LIMIT + 2)]
                assert told == [401] * LIMIT + [429] * 2
                server.flush()
            assert client.post("/auth/login", json=ANN).status_code == 200


async def test_a_mail_server_that_is_silent(making: Making, clock: Clock) -> None:
    """It takes the connection and says nothing: given up in time, and the mail goes to one that answers."""
    # Nobody takes the connection out of the queue that the system keeps.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        hanging = making(SmtpTransport(SmtpServer.of(f"smtp://127.0.0.1:{port}"), timeout=0.2))
        new = await queued(hanging)
        assert await asyncio.wait_for(hanging.work(), 60) == 1
    async with serving(Sink()) as sink:
        clock.now += 3600
        assert await making(SmtpTransport(SmtpServer.of(f"smtp://127.0.0.1:{sink.port}"), timeout=60)).work() == 1
        assert [got["Message-ID"] for got in sink.mails] == [f"<{new.id}@app.example>"]


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full (/dev/full) is Linux's")
@pytest.mark.timeout(300)
def test_a_log_that_cannot_be_written(nursery: Nursery, tmp_path: Path) -> None:
    """The disk of the log is full: what is refused stays refused, what is done is done, and is in the trail."""
    server = Server(nursery, tmp_path, log_level="debug")
    server.write_to(Path("/dev/full"))
    try:
        server.start()
        server.register("client")
        tokens = server.log_in("client")
        assert server.post("/auth/login", {"username": "client", "password": "not the right one"}).status == 401
        assert server.get("/broken", token=tokens["access_token"]).status == 500
        assert server.get("/guarded").status == 401
        assert server.get("/guarded", token=tokens["access_token"]).status == 200
        assert server.refresh(tokens["refresh_token"]).status == 200
        events = {event for (event,) in server.rows("SELECT DISTINCT event FROM limen_events")}
    finally:
        server.close()
    assert {"login_succeeded", "login_failed"} <= events
