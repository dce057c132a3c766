"""Connections on which no whole request head arrives, at real servers with either HTTP protocol."""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from limen.server.head_deadline import HeadLimits, peer_of
from tests.server.conftest import READY_WITHIN_SECONDS
from tests.support.ports import free_port
from tests.support.processes import until

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("heads_server.py")
SECONDS = 1.5
LATE_SECONDS = 13.0
"""A connection that is open for so long was not closed at its deadline; by itself uvicorn closes it after 15 s."""
PROTOCOLS = ["httptools", "h11"]
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: limen\r\n\r\n"
HALF = WHOLE[:-2] + b"X-Half: "


@contextlib.contextmanager
def running(folder: Path, protocol: str, limits: HeadLimits) -> Iterator[int]:
    """Run a server with an HTTP protocol and limits; yield its port."""
    number = free_port()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, folder, str(number), protocol, json.dumps(dataclasses.asdict(limits))],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            assert process.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError), connected(number):
                break
            time.sleep(0.1)
        yield number
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=PROTOCOLS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running server with short deadlines."""
    limits = HeadLimits(seconds=SECONDS, patient=20, hurried_seconds=0.3, most=1000)
    with running(tmp_path_factory.mktemp("heads"), request.param, limits) as number:
        yield number


def connected(port: int) -> socket.socket:
    """Connect to the server."""
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def answered(connection: socket.socket) -> bool:
    """Ask for the health, and tell whether it was answered."""
    connection.sendall(WHOLE)
    answer = b""
    while not answer.endswith(b"}") and (more := connection.recv(4096)):
        answer += more
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}")


def open_for(connection: socket.socket, began: float) -> float:
    """Return the seconds from then until the server closes a connection, whatever it sends before."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"\r\n", HALF])
def test_a_late_head_is_not_waited_for(port: int, sent: bytes) -> None:
    """A connection that says nothing, a blank line or half a head is closed at its deadline."""
    began = time.monotonic()
    with connected(port) as connection:
        connection.sendall(sent)
        # h11 answers a blank line at once.
        assert (SECONDS - 0.5 if sent != b"\r\n" else 0) < open_for(connection, began) < LATE_SECONDS


def test_a_trickle_does_not_put_the_deadline_off(port: int) -> None:
    """A client that sends a byte of its head now and then is closed at the same moment."""
    with connected(port) as connection:
        connection.sendall(HALF)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < LATE_SECONDS + 5:
                connection.sendall(b"x")
                time.sleep(0.2)
        assert time.monotonic() - began < LATE_SECONDS


@pytest.mark.parametrize("sent", [b"\r\n", HALF])
def test_the_next_head_has_a_deadline_too(port: int, sent: bytes) -> None:
    """After an answer the first bytes of what follows begin a new deadline; a whole request is answered as before."""
    with connected(port) as connection:
        for _ in range(2):
            assert answered(connection)
        time.sleep(SECONDS + 0.5)
        assert answered(connection), "an idle connection was closed too early"
        began = time.monotonic()
        connection.sendall(sent)
        # h11 answers a blank line at once.
        assert (SECONDS - 0.5 if sent == HALF else 0) < open_for(connection, began) < LATE_SECONDS


def test_a_request_that_takes_long_is_not_cut_off(port: int) -> None:
    """A body that arrives after the deadline for heads is read and answered."""
    head = b"POST /auth/login HTTP/1.1\r\nHost: limen\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    with connected(port) as connection:
        connection.sendall(head)
        time.sleep(SECONDS + 0.7)
        connection.sendall(b"{}")
        assert connection.recv(4096).startswith(b"HTTP/1.1 4")


def closed_of(connections: list[socket.socket]) -> int:
    """Count those that the server has closed."""
    closed = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            closed += connection.recv(1) == b""
        except ConnectionError:
            closed += 1
        except BlockingIOError:
            pass
    return closed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_peer_with_many_is_waited_for_less(tmp_path: Path, protocol: str) -> None:
    """Beyond the patient number the deadline is short; everybody is answered, and places are given back."""
    limits = HeadLimits(seconds=60, patient=20, hurried_seconds=0.3, most=1000)
    with running(tmp_path, protocol, limits) as port:
        with contextlib.ExitStack() as held:
            connections = [held.enter_context(connected(port)) for _ in range(60)]
            assert until(lambda: closed_of(connections) >= 40)
            # The one that looked whether the server is up may still have been there.
            assert closed_of(connections) in {40, 41}
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60, trust_env=False).status_code == 200
        assert until(lambda: is_waited_for(port)), "places were not given back"


def is_waited_for(port: int) -> bool:
    """Tell whether a connection that says nothing is not closed at the short deadline."""
    with connected(port) as connection:
        time.sleep(1)
        return closed_of([connection]) == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_peer_cannot_take_all_places(tmp_path: Path, protocol: str) -> None:
    """Beyond the most of one peer, connections are closed at once; those that ask something do not count."""
    limits = HeadLimits(seconds=60, patient=20, hurried_seconds=60, most=40)
    with running(tmp_path, protocol, limits) as port, contextlib.ExitStack() as held:
        asking = [held.enter_context(connected(port)) for _ in range(30)]
        assert all(answered(connection) for connection in asking)
        connections = [held.enter_context(connected(port)) for _ in range(60)]
        assert until(lambda: closed_of(connections) >= 20)
        assert closed_of(connections) == 20
        assert all(answered(connection) for connection in asking)


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_customer_with_many_addresses_is_one_peer(address: str, peer: str) -> None:
    """IPv6 addresses count by their /64, IPv4 ones singly, in whatever notation."""
    assert peer_of(address) == peer
