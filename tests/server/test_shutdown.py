"""The end of a server: whoever has sent a request is answered, whoever has not is not kept, and it does not last."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from limen.server.bounds import IDLE_SECONDS, INTERRUPTED
from tests.server.conftest import ENDS_WITHIN_SECONDS, PASSWORD, Server, Start, serve, serve_workers
from tests.server.hammer import Client, Tally, hammer
from tests.support.waiting import in_one_of

ALICE = {"username": "alice", "password": PASSWORD}
CLIENTS = 16
SLOW_HASH = "15"


def port_of(server: Server) -> int:
    """Return the port of a server."""
    return int(server.address.rpartition(":")[2])


def raw(server: Server) -> socket.socket:
    """Connect to a server."""
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=ENDS_WITHIN_SECONDS)


@contextlib.contextmanager
def slow_login(server: Server) -> Iterator["concurrent.futures.Future[httpx.Response]"]:
    """Have a login under way that takes seconds; nobody's, so that nothing but the hash takes time."""
    with concurrent.futures.ThreadPoolExecutor(1) as threads, server.client() as client:
        answer = threads.submit(client.post, "/auth/login", json={"username": "nobody", "password": PASSWORD})
        time.sleep(0.5)
        assert not answer.done()
        yield answer


@pytest.mark.serial
@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_dropped_under_load(start: Start, installed: Path, workers: int) -> None:
    """Clients that log in, refresh and ask without a pause get every answer when SIGTERM comes; the exit code is 0."""
    # All of them log in to one account at the same moment, and what is under way is counted.
    limit = {"LIMEN_LOGIN_LIMIT": "1000/minute"}
    server = serve(start, installed, **limit) if workers == 1 else serve_workers(start, installed, workers, **limit)
    tally = Tally()

    async def load() -> None:
        clients = [
            asyncio.create_task(hammer(port_of(server), tally, ALICE, logs_in=number % 4 == 0))
            for number in range(CLIENTS)
        ]
        await asyncio.sleep(2)
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(ENDS_WITHIN_SECONDS):
            await asyncio.gather(*clients)

    asyncio.run(load())
    assert server.ended() == 0
    assert tally.dropped == []
    assert set(tally.answers) == {200}
    assert tally.answers[200] > CLIENTS * 3
    assert tally.goodbyes >= CLIENTS


@pytest.mark.serial
@in_one_of(3)
def test_an_open_connection_is_served_once_more(start: Start, installed: Path) -> None:
    """A request on an idle connection just after SIGTERM is answered, and told to be the last one."""
    server = serve(start, installed)
    tally = Tally()

    async def ask() -> None:
        client = Client(port_of(server), tally)
        assert (await client.ask("GET", "/healthz"))[0] == 200
        assert tally.goodbyes == 0
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(IDLE_SECONDS / 2)
        assert (await client.ask("GET", "/healthz"))[0] == 200

    asyncio.run(ask())
    assert tally.goodbyes == 1
    assert server.ended() == 0


@pytest.mark.serial
@in_one_of(3)
def test_idle_connections_do_not_hold_it_up(start: Start, installed: Path) -> None:
    """Connections that say nothing are closed a second after SIGTERM, without an answer; nobody new gets in."""
    server = serve(start, installed)
    with raw(server) as silent, raw(server) as asked:
        asked.sendall(b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += asked.recv(4096)
        assert b"200 OK" in answer
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert silent.recv(1) == asked.recv(1) == b""
        assert IDLE_SECONDS - 0.1 < time.monotonic() - began < IDLE_SECONDS + 2
        with pytest.raises(ConnectionRefusedError):
            raw(server)
    assert server.ended() == 0


@pytest.mark.serial
@in_one_of(3)
def test_nobody_waits_where_nobody_is_there(start: Start, installed: Path) -> None:
    """Without a connection the end takes less than the second that idle ones are given."""
    server = serve(start, installed)
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < IDLE_SECONDS


@pytest.mark.serial
@in_one_of(3)
def test_half_a_head_may_be_finished(start: Start, installed: Path) -> None:
    """A request whose head has begun when SIGTERM comes is answered, though its rest takes longer than a second."""
    server = serve(start, installed)
    with raw(server) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: li")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(IDLE_SECONDS + 0.5)
        slow.sendall(b"men\r\n\r\n")
        answer = slow.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert server.ended() == 0


@pytest.mark.serial
@in_one_of(3)
def test_readiness_goes_first(start: Start, installed: Path) -> None:
    """With LIMEN_SHUTDOWN_DELAY ``/readyz`` is 503 from SIGTERM on, and all else is served, on new connections too."""
    server = serve(start, installed, LIMEN_SHUTDOWN_DELAY="3")
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    # The signal is taken by the main thread, which may be busy for a moment.
    time.sleep(0.3)
    with server.client() as client:
        refused = client.get("/readyz")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
        alive = client.get("/healthz")
        assert (alive.status_code, alive.headers["connection"]) == (200, "close")
        assert client.post("/auth/login", json=ALICE).status_code == 200
        assert time.monotonic() - began < 3
    assert server.ended() == 0
    assert 3 <= time.monotonic() - began < 10


@pytest.mark.serial
@in_one_of(3)
def test_readiness_is_false_while_the_last_are_answered(start: Start, installed: Path) -> None:
    """Without a delay, a probe on a connection that it keeps learns it too, while a login is still being hashed."""
    server = serve(start, installed, LIMEN_BCRYPT_COST=SLOW_HASH)
    tally = Tally()

    async def probe() -> None:
        client = Client(port_of(server), tally)
        assert (await client.ask("GET", "/readyz"))[0] == 200
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        status, body = await client.ask("GET", "/readyz")
        assert (status, body["code"]) == (503, "unavailable")

    with slow_login(server) as answer:
        asyncio.run(probe())
        assert server.ended() == 0
        assert answer.result().status_code == 401


@pytest.mark.serial
@pytest.mark.parametrize("workers", [1, 2])
@in_one_of(3)
def test_a_second_signal_is_not_waited_for(start: Start, installed: Path, workers: int) -> None:
    """A second SIGTERM ends at once what the first one let finish; the exit code is 130, and nobody stays behind."""
    more = {"LIMEN_BCRYPT_COST": SLOW_HASH, "LIMEN_SHUTDOWN_DELAY": "60"}
    server = serve(start, installed, **more) if workers == 1 else serve_workers(start, installed, workers, **more)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None
    began = time.monotonic()
    assert server.end(signal.SIGINT) == INTERRUPTED
    assert time.monotonic() - began < 30
    with pytest.raises(ConnectionRefusedError):
        raw(server)


def test_who_waits_to_be_accepted_is_served(start: Start, installed: Path) -> None:
    """Connections that the system let in while the process stood still are accepted and answered before the end."""
    server = serve(start, installed)
    os.kill(server.process.pid, signal.SIGSTOP)
    waiting = [raw(server) for _ in range(20)]
    for each in waiting:
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n")
    server.process.send_signal(signal.SIGTERM)
    threading.Timer(0.2, os.kill, (server.process.pid, signal.SIGCONT)).start()
    answers = [each.recv(4096) for each in waiting]
    for each in waiting:
        each.close()
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    assert server.ended() == 0
