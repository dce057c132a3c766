"""Work for clients that hang up: with a bare ``receive``, and at a real server whose hashing queue they would fill."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive

from limen.core.errors import BadRequest, InvalidCredentials
from limen.crypto.hashing_pool import HashingPool, usable_cores
from limen.web.disconnect import while_connected
from tests.support.gates import PASSWORD, gate_for


async def gone() -> Message:
    """Receive that the client went away."""
    return {"type": "http.disconnect"}


async def silent() -> Message:
    """Receive nothing more."""
    await asyncio.Event().wait()
    raise AssertionError("never set")


async def not_liked() -> Message:
    """Receive as a middleware that does not like to be asked again."""
    raise RuntimeError("everything was received")


async def more() -> Message:
    """Receive another message of the body."""
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("receive", [silent, not_liked, more])
async def test_work_for_who_stays_is_done(receive: Receive) -> None:
    """Its result comes back, also where the next message is none about the connection."""

    async def work() -> int:
        await asyncio.sleep(0.02)
        return 7

    assert await while_connected(receive, work()) == 7
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    """What the work raises is raised, not wrapped."""

    async def work() -> None:
        raise InvalidCredentials

    with pytest.raises(InvalidCredentials):
        await while_connected(silent, work())
    assert len(asyncio.all_tasks()) == 1


async def test_a_place_in_the_queue_is_given_back() -> None:
    """A job that waits when its client goes is withdrawn: the place is free for the next one, and it never runs."""
    pool, running, finish = HashingPool(1, queue=1), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        running.set()
        finish.wait(30)

    try:
        busy = asyncio.create_task(pool.run(first))
        assert await asyncio.to_thread(running.wait, 30)
        went = asyncio.Event()

        async def receive() -> Message:
            await went.wait()
            return {"type": "http.disconnect"}

        waiting = asyncio.create_task(while_connected(receive, pool.run(done.append, 1)))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        went.set()
        with pytest.raises(BadRequest):
            await waiting
        other = asyncio.create_task(pool.run(done.append, 2))
        await asyncio.sleep(0)
        finish.set()
        await asyncio.wait_for(asyncio.gather(busy, other), 30)
        assert done == [2]
    finally:
        finish.set()
        pool.close()


async def test_who_is_cancelled_cancels_the_work() -> None:
    """A cancelled request leaves neither its work nor its watch behind."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    request = asyncio.create_task(while_connected(silent, work()))
    await asyncio.sleep(0.02)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == 1


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a server with limen's own routes, whose hashes take about half a second each."""
    # All of them try one name, which the limits would end before any hash.
    gate, app = gate_for(tmp_path, bcrypt_cost=13, throttle="off"), FastAPI()
    gate.protect(app)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)


def _request(path: str) -> bytes:
    body = json.dumps({"username": "nobody", "password": PASSWORD}).encode()
    head = "POST {} HTTP/1.1\r\nHost: limen\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    return head.format(path, len(body)).encode() + body


def _login_seconds(port: int) -> float:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(_request("/auth/login"))
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    return time.monotonic() - began


@pytest.mark.serial
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register"])
def test_who_hung_up_holds_no_place(port: int, path: str) -> None:
    """Twenty clients for each core send a password and hang up; the next login waits for the hashes in hand only."""
    for _ in range(3):  # a machine that stood still for a while does so once
        one = _login_seconds(port)
        left = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(20 * usable_cores())]
        for connection in left:
            connection.sendall(_request(path))
        time.sleep(0.3)  # now they wait in the queue
        for connection in left:
            connection.close()
        if _login_seconds(port) < 8 * one:
            return
    raise AssertionError("the next login waits for those who hung up")
