import concurrent.futures
import json
import signal
import socket
import sqlite3
import time
from pathlib import Path

import httpx

from tests.server.conftest import PASSWORD, Start, limen, log_in, serve
from tests.support.ports import free_port


def test_issues_refreshes_and_ends(start: Start, installed: Path) -> None:
    """The server logs in an account of the command line, tells who it is, refreshes, and logs out."""
    server = serve(start, installed)
    tokens = log_in(server, "alice", PASSWORD)
    with server.client(tokens["access_token"]) as client:
        assert client.get("/auth/me").json()["username"] == "alice"
        refreshed = client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == 200
        assert client.post("/auth/logout").status_code == 204
        assert client.get("/auth/me").json()["code"] == "session_ended"


def test_registration_and_docs_are_off_by_default(start: Start, installed: Path) -> None:
    """Without being asked to, the server neither registers nor describes itself."""
    server = serve(start, installed)
    with server.client() as client:
        assert client.post("/auth/register", json={"username": "eve", "password": PASSWORD}).status_code == 404
        assert client.get("/docs").status_code in {401, 404}
        assert client.get("/openapi.json").status_code in {401, 404}
        assert client.get("/healthz").json() == {"status": "ok"}
    assert limen("accounts", "show", "eve", "--env-file", str(installed), folder=installed.parent).returncode == 1


def test_docs_can_be_switched_on(start: Start, installed: Path) -> None:
    """With LIMEN_DOCS=on ``/docs`` and ``/openapi.json`` are for everybody."""
    server = serve(start, installed, LIMEN_DOCS="on")
    with server.client() as client:
        assert client.get("/docs").status_code == 200
        assert "/auth/login" in client.get("/openapi.json").json()["paths"]


def test_does_not_name_itself_and_logs_json(start: Start, installed: Path) -> None:
    """No answer has a Server header; each line of the log is a JSON object, and none holds a secret."""
    server = serve(start, installed)
    tokens = log_in(server, "alice", PASSWORD)
    with server.client() as client:
        assert "server" not in client.get("/healthz").headers
        client.get("/auth/me", headers={"Authorization": "Bearer forged\x7f"})
    lines = server.log.splitlines()
    assert "started" in [json.loads(line)["event"] for line in lines][:3]
    secrets = [line.partition("=")[2] for line in installed.read_text().splitlines() if "SECRET=" in line]
    for secret in (PASSWORD, tokens["access_token"], tokens["refresh_token"], *secrets):
        assert secret not in server.log
    assert server.out == f"limen serves {server.address}\n"


def test_forwarding_headers_are_not_believed(start: Start, installed: Path) -> None:
    """A forged X-Forwarded-For does not change the address in the audit trail."""
    server = serve(start, installed)
    with server.client() as client:
        headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
        body = {"username": "alice", "password": PASSWORD}
        assert client.post("/auth/login", json=body, headers=headers).status_code == 200
    with sqlite3.connect(installed.parent / "limen.db") as connection:
        row = connection.execute("SELECT source FROM limen_events WHERE event = 'login_succeeded'").fetchone()
    connection.close()
    assert row == ("127.0.0.1",)


def test_lets_what_is_under_way_end(start: Start, installed: Path) -> None:
    """A login that is being hashed when SIGTERM comes is answered; the process then ends with 0."""
    # A hash that takes long enough to be met half-way.
    server = serve(start, installed, LIMEN_BCRYPT_COST="14")
    body = {"username": "nobody", "password": PASSWORD}
    with concurrent.futures.ThreadPoolExecutor() as threads, server.client() as client:
        answer = threads.submit(client.post, "/auth/login", json=body)
        time.sleep(1)
        assert not answer.done()
        assert server.end(signal.SIGTERM) == 0
        assert answer.result().status_code == 401
    assert "Traceback" not in server.log


def test_more_processes_than_sqlite_serves_are_refused(installed: Path) -> None:
    """``--workers 2`` on SQLite is wrong usage: 2, with the reason."""
    done = limen("serve", "--workers", "2", "--env-file", str(installed), folder=installed.parent)
    assert done.returncode == 2
    assert "SQLite" in done.stderr


def test_a_taken_port_is_4(installed: Path) -> None:
    """A port that somebody else has ends the server with 4 and one sentence."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = limen("serve", "--port", port, "--env-file", str(installed), folder=installed.parent)
    assert done.returncode == 4
    assert done.stderr.startswith(f"limen: Port {port}")


def test_a_database_that_cannot_be_used_ends_the_start(installed: Path) -> None:
    """A file that is no database ends the start with 4, one that is newer with 3, and neither with a traceback."""
    database = installed.parent / "limen.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
        connection.execute("DELETE FROM limen_schema_compatible")
    connection.close()
    command = ("serve", "--port", str(free_port()), "--env-file", str(installed))
    newer = limen(*command, folder=installed.parent)
    assert (newer.returncode, "newer" in newer.stderr) == (3, True)
    for file in installed.parent.glob("limen.db*"):
        file.unlink()
    database.write_bytes(b"certainly not a database file " * 100)
    broken = limen(*command, folder=installed.parent)
    assert broken.returncode == 4
    assert "Traceback" not in newer.stderr + broken.stderr


def test_an_oversized_head_is_refused(start: Start, installed: Path) -> None:
    """A request head of two megabytes is answered 400 or cut off, a large body is not; the server goes on."""
    server = serve(start, installed)
    with server.client() as client:
        try:
            status = client.get("/healthz", headers={"X-Large": "x" * 2_000_000}).status_code
        except httpx.TransportError:
            status = 400
        assert status == 400
        # A body of that size behind a small head is not counted, nor is the next request on the same connection.
        assert client.post("/auth/login", content=b"x" * 2_000_000).status_code in {413, 415}
        assert client.get("/healthz", headers={"X-Small": "x" * 1000}).status_code == 200
