"""A full disk: nothing is torn, everybody is told to come back, and what worked before works again."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.servers import Server
from tests.faults.wire import Answer

UNLIMITED = 1_000_000


@contextmanager
def files_that_cannot_grow(server: Server) -> Iterator[None]:
    """Let the process write no byte into any file: writes fail in the operating system (EFBIG), as on a full disk."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def a_database_that_cannot_grow(server: Server) -> Iterator[None]:
    """Let the database have the pages that it has: SQLite itself says that the disk is full (SQLITE_FULL)."""
    assert server.post("/test/most-pages/1").status == 200
    try:
        # Rows still fit into the pages that are there: fill them.
        for _ in range(400):
            if (
                server.post("/auth/login", {"username": "nobody-at-all", "password": "no password of anybody"}).status
                == 503
            ):
                break
        else:
            raise AssertionError("the database did not fill up")
        yield
    finally:
        assert server.post(f"/test/most-pages/{UNLIMITED}").status == 200


FAULTS = [
    pytest.param(
        files_that_cannot_grow,
        marks=pytest.mark.skipif(sys.platform != "linux", reason="limits of another process (prlimit) need Linux"),
        id="no byte into any file",
    ),
    pytest.param(a_database_that_cannot_grow, id="no page into the database"),
]


def assert_unavailable(answer: Answer) -> None:
    """See that the caller is told to come back, and nothing else."""
    assert (answer.status, answer.code) == (503, "unavailable"), answer
    assert int(answer.header("retry-after") or "") >= 1
    assert answer.header("content-type") == "application/problem+json"
    assert b"sqlite" not in answer.body.lower()
    assert b"disk" not in answer.body.lower()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_full_disk_is_503_and_nothing_is_torn(
    server: Server, fault: Callable[[Server], AbstractContextManager[None]]
) -> None:
    """Login and refresh answer 503 with Retry-After, guarded requests go on, and the same token works afterwards."""
    server.register("client")
    before = server.log_in("client")
    token, access = before["refresh_token"], before["access_token"]
    credentials = {"username": "client", "password": "correct horse battery staple"}
    sessions = server.rows("SELECT id, generation, token_hash FROM limen_sessions ORDER BY id")
    with fault(server):
        # A refresh writes into a row and adds an event; the pages that are there may still take the row.
        answers = [server.refresh(token) for _ in range(3)]
        for answer in answers:
            assert_unavailable(answer)
        assert_unavailable(server.post("/auth/login", credentials))
        assert_unavailable(server.post("/auth/login", {**credentials, "password": "not the right password"}))
        assert_unavailable(server.post("/auth/logout", {"refresh_token": token}))
        assert server.get("/guarded", token=access).status == 200
        assert server.get("/live", token=access).status == 200
        assert server.rows("SELECT id, generation, token_hash FROM limen_sessions ORDER BY id") == sessions
    assert server.rows("PRAGMA integrity_check") == [("ok",)]
    successor = server.refresh(token)
    assert successor.status == 200
    assert server.refresh(successor.json()["refresh_token"]).status == 200
    assert server.post("/auth/login", credentials).status == 200
    assert "Traceback" not in server.output()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process (prlimit) need Linux")
def test_a_server_killed_on_a_full_disk_comes_back(server: Server) -> None:
    """Full disk, kill -9, space again: the token of before works, and the one before that does not."""
    server.register("client")
    oldest = server.log_in("client")["refresh_token"]
    parent = server.refresh(oldest).json()["refresh_token"]
    current = server.refresh(parent).json()["refresh_token"]
    with files_that_cannot_grow(server):
        assert_unavailable(server.refresh(current))
        # The limit dies with the process.
        server.kill()
        server.start()
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    answer = server.refresh(current)
    assert answer.status == 200
    assert server.refresh(oldest).status == 401
    assert server.refresh(answer.json()["refresh_token"]).status == 401
