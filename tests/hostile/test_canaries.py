"""Canaries: a text that nobody else uses in every field and header. It must not come out where it does not belong."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.servers import Nursery, Server, running
from tests.faults.wire import Answer, request_bytes
from tests.support.gates import PASSWORD


def canary(name: str) -> str:
    """Return a text that stands nowhere but where it is planted."""
    return f"canary-{name}-7f3a9c"


HEADER_NAMES = (
    "Cookie",
    "Referer",
    "Origin",
    "X-Forwarded-For",
    "X-Api-Key",
    "Proxy-Authorization",
    "X-Request-ID",
    "Accept-Language",
    "X-Anything",
)
HEADERS = tuple(
    (
        name.encode(),
        # Not of the form of a request id, which a client may choose and the log then names.
        (canary(name.lower()) + "!").encode(),
    )
    for name in HEADER_NAMES
)
USER_AGENT = canary("user-agent")
BASIC = base64.b64encode(f"client:{canary('basic')}".encode()).decode()
JWT_HEAD = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": canary("kid"), "typ": "at+jwt"}).encode())
JWT = f"{JWT_HEAD.decode().rstrip('=')}.{canary('payload')}.{canary('signature')}"
AUTHORIZATIONS = (
    f"Bearer {JWT}",
    f"Bearer {canary('token')}",
    f"Basic {BASIC}",
    f"{canary('scheme')} x",
    f"Bearer {canary('two')} {canary('parts')}",
)
BODIES = (
    {"username": canary("username"), "password": canary("password")},
    {"username": "client", "password": canary("password")},
    {"username": "client", "password": [canary("password")]},
    {"username": "client", "password": PASSWORD, canary("field"): canary("value")},
    {"username": canary("username") * 9, "password": canary("password"), "email": canary("email")},
    {"username": "cl ient", "password": canary("password"), "email": canary("email") + "@example.org"},
    {"refresh_token": canary("refresh")},
    {"refresh_token": JWT},
    {"refresh_token": {"x": canary("refresh")}},
    {"current_password": canary("password"), "new_password": canary("new-password")},
    {"current_password": PASSWORD, "new_password": canary("new")},
)
PATHS = ("/auth/register", "/auth/login", "/auth/refresh", "/auth/logout", "/auth/password", "/orders")
PLACES = {
    # Where a session came from is told to its owner, and the audit trail says the same.
    ("limen_events", "user_agent"): USER_AGENT,
    ("limen_sessions", "user_agent"): USER_AGENT,
    ("limen_accounts", "username"): canary("username"),
}
"""Where one canary belongs: it was sent to be kept there."""


@pytest.fixture(scope="module")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own for the canaries, which says everything it can say."""
    with running(nursery, tmp_path_factory.mktemp("canaries"), log_level="debug") as started:
        started.register("client")
        yield started


@pytest.fixture(autouse=True)
def nothing_failed() -> None:
    """Here errors are forced."""


def planted(server: Server, access: str) -> Iterator[Answer]:
    """Yield the answers to requests with canaries everywhere."""
    everywhere = (*HEADERS, (b"User-Agent", USER_AGENT.encode()))
    query = f"?password={canary('query')}&access_token={canary('query-token')}"
    for authorization in (*AUTHORIZATIONS, f"Bearer {access}"):
        headers = (*everywhere, (b"Authorization", authorization.encode()))
        for path in ("/guarded", "/auth/me", "/live", "/open", "/broken", "/docs", f"/{canary('path')}"):
            yield server.send(request_bytes("GET", path + query, headers=headers))
    headers = (*everywhere, (b"Authorization", f"Bearer {access}".encode()))
    for path in PATHS:
        for body in BODIES:
            yield server.send(request_bytes("POST", path + query, json_body=body, headers=headers))
        for raw in (canary("raw").encode(), b'{"' + canary("raw").encode()):
            json_type = (b"Content-Type", b"application/json")
            yield server.send(request_bytes("POST", path + query, body=raw, headers=(*headers, json_type)))


def contents(server: Server) -> Iterator[tuple[str, str, str]]:
    """Yield everything in the database: table, column, value as text."""
    for (table,) in server.rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        names = [name for _, name, *_ in server.rows(f"PRAGMA table_info({table})")]
        for row in server.rows(f"SELECT * FROM {table}"):
            for name, value in zip(names, row, strict=True):
                yield table, name, value.decode("latin-1") if isinstance(value, bytes) else str(value)


def assert_nowhere(server: Server, answers: list[Answer]) -> None:
    """See that no canary, and no secret, is in an answer, in the log, or in the database outside of its own column."""
    for answer in answers:
        registered = canary("username").encode() if answer.status == 201 else b""
        assert b"canary-" not in answer.body.replace(registered, b""), answer
        assert "canary-" not in repr(answer.headers), answer
    secrets = [value for name, value in server.environment.items() if name.endswith("_SECRET")]
    secrets += [PASSWORD, PASSWORD.replace(" ", "%20")]
    log = server.output()
    for line in log.splitlines():
        assert "canary-" not in line
        assert BASIC not in line
        assert "eyJ" not in line
        for secret in secrets:
            assert secret not in line
    for table, column, value in contents(server):
        own = PLACES.get((table, column), "")
        assert "canary-" not in value.replace(own, ""), (table, column)
        assert "eyJ" not in value, (table, column)
        for secret in secrets:
            assert secret not in value, (table, column)


def test_canaries_in_every_field_and_header_come_out_nowhere(server: Server) -> None:
    """With the log at debug, nothing planted in fields, headers, tokens or queries is in log, events or answers."""
    tokens = server.log_in("client")
    answers = list(planted(server, tokens["access_token"]))
    assert {answer.status for answer in answers} >= {200, 401, 404, 415, 422, 500} - {415}
    assert_nowhere(server, answers)
    for token in tokens["access_token"], tokens["refresh_token"]:
        for part in token.split("."):
            assert part not in server.output()


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("by_username", "/auth/login", {"username": canary("username"), "password": canary("password")}),
        ("create", "/auth/register", {"username": canary("name"), "password": canary("long-password-of-a-kind")}),
        ("rotate", "/auth/refresh", None),
        ("end", "/auth/logout", None),
        ("read", "/live", None),
    ],
)
def test_a_failure_inside_tells_neither_caller_nor_log_what_was_sent(
    nursery: Nursery, tmp_path: Path, verb: str, path: str, body: dict[str, str] | None
) -> None:
    """A store that fails in a way nobody foresaw: 500 without a word, a traceback in the log, no canary in either."""
    with running(nursery, tmp_path, log_level="debug") as server:
        server.register("client")
        tokens = server.log_in("client")
        assert server.post(f"/test/broken-store/{verb}").status == 200
        sent = body or {"refresh_token": tokens["refresh_token"]}
        method = "GET" if path == "/live" else "POST"
        text = request_bytes(
            method,
            path,
            json_body=None if method == "GET" else sent,
            token=tokens["access_token"],
            headers=(*HEADERS, (b"User-Agent", USER_AGENT.encode())),
        )
        answer = server.send(text)
        assert answer.status == 500, answer
        assert "the store failed" not in answer.body.decode()
        assert server.wait_for_output("the store failed"), "the log says what happened"
        if path.startswith("/auth/"):
            assert answer.code == "internal_error"
            assert answer.json()["trace_id"] in server.output()
        assert_nowhere(server, [answer])
        for token in tokens.values():
            assert len(str(token)) < 20 or str(token) not in server.output()
