"""Clients that go away in the middle: nobody else notices, and nothing is left half done."""

import socket
import struct
import time
from pathlib import Path

import pytest

from tests.faults.servers import Nursery, Server, running
from tests.faults.wire import request_bytes
from tests.support.gates import PASSWORD

pytestmark = pytest.mark.serial

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset instead of a farewell."""


def desert(server: Server, text: bytes, after: float) -> None:
    """Send bytes and break the connection without reading."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(text)
        time.sleep(after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def login_bytes(password: str = PASSWORD) -> bytes:
    """Return a login as it goes over the wire."""
    return request_bytes("POST", "/auth/login", json_body={"username": "client", "password": password})


def test_logins_whose_clients_leave_do_not_hold_up_others(server: Server) -> None:
    """Forty clients leave while their passwords are hashed; the queue drains, and logins and guarded requests work."""
    server.register("client")
    for number in range(40):
        desert(server, login_bytes(), 0.002 * (number % 10))
    deadline = time.monotonic() + 30
    credentials = {"username": "client", "password": PASSWORD}
    answer = server.post("/auth/login", credentials)
    while answer.status != 200 and time.monotonic() < deadline:
        assert answer.code == "busy"
        time.sleep(0.1)
        answer = server.post("/auth/login", credentials)
    assert answer.status == 200
    assert server.get("/guarded", token=answer.json()["access_token"]).status == 200
    assert "Traceback" not in server.output()


def test_a_refresh_whose_client_leaves_can_be_tried_again(server: Server) -> None:
    """A client that leaves before the answer repeats its refresh within the leeway and stays logged in."""
    server.register("client")
    token = server.log_in("client")["refresh_token"]
    for number in range(30):
        desert(server, server.refresh_bytes(token), 0.001 * (number % 6))
        answer = server.refresh(token)
        assert (answer.status, answer.code) == (200, "")
        token = answer.json()["refresh_token"]
    assert "Traceback" not in server.output()


def test_half_a_body_is_no_request(server: Server) -> None:
    """Clients that send half a body and leave, or announce more than they send, cause no error and no session."""
    server.register("client")
    whole = login_bytes()
    for end in (len(whole) // 2, len(whole) - 1, whole.index(b"\r\n\r\n") + 4):
        desert(server, whole[:end], 0.05)
    assert server.get("/open").status == 200
    assert server.rows("SELECT count(*) FROM limen_sessions") == [(0,)]
    assert "Traceback" not in server.output()


def test_a_full_queue_of_hashes_is_503_busy(nursery: Nursery, tmp_path: Path) -> None:
    """More logins at once than may wait: the surplus is told at once to come back, and later everybody gets in."""
    # More at once than an account may have under way: it is the queue that is to be full.
    with running(nursery, tmp_path, one_core=True, throttle="off") as server:
        server.register("client")
        connections = []
        for _ in range(60):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(login_bytes())
            connections.append(connection)
        heads = []
        for connection in connections:
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(65_536)
                assert chunk
                head += chunk
            heads.append(head)
            connection.close()
        statuses = [int(head[9:12]) for head in heads]
        assert set(statuses) == {200, 503}
        busy = next(head for head in heads if head[9:12] == b"503")
        assert b"retry-after: " in busy.lower()
        assert server.post("/auth/login", {"username": "client", "password": PASSWORD}).status == 200
