"""One answer at login: who failed to log in cannot tell why, nor whether there is such an account (ASVS 5.0, 6.3.8)."""

import pytest

from tests.faults.servers import Server
from tests.faults.wire import Answer
from tests.support.gates import PASSWORD

pytestmark = pytest.mark.serial

OWN_TO_EACH = {"date"}
"""Headers that differ from one answer to the next, whatever was asked."""
PASSWORDS = ["x", "not the right password", "x" * 72, "x" * 73, "é" * 37, "x" * 1_024]


@pytest.fixture(scope="module")
def closed(server: Server) -> Server:
    """The server, with accounts that may not log in although their password is right."""
    for name, status in (("off", "disabled"), ("shut", "blocked"), ("later", "a state of a later version")):
        server.register(name)
        server.set_status(name, status)
    return server


def shape(answer: Answer) -> tuple[int, tuple[tuple[str, str], ...], dict[str, object]]:
    """Return all of an answer but what names this very request."""
    content = {name: value for name, value in answer.json().items() if name != "trace_id"}
    return answer.status, tuple(pair for pair in answer.headers if pair[0] not in OWN_TO_EACH), content


def test_a_login_that_fails_has_one_answer(closed: Server) -> None:
    """Unknown, wrong, disabled, blocked, or in a state of a later version: status, headers and body are the same."""
    attempts = [("nobody", PASSWORD), ("client", "not the right password")]
    attempts += [(name, PASSWORD) for name in ("off", "shut", "later")]
    attempts += [(name, "not the right password") for name in ("off", "shut", "later")]
    shapes = [
        shape(closed.post("/auth/login", {"username": name, "password": password})) for name, password in attempts
    ]
    assert shapes == [shapes[0]] * len(attempts)
    status, headers, content = shapes[0]
    assert (status, content["code"]) == (401, "invalid_credentials")
    assert dict(headers)["cache-control"] == "no-store"
    assert dict(headers)["www-authenticate"]


@pytest.mark.parametrize("password", PASSWORDS, ids=lambda password: f"{len(password.encode())} bytes")
def test_no_length_of_a_password_tells_whether_the_account_exists(closed: Server, password: str) -> None:
    """Passwords of 1, 72, 73 and 1 024 bytes are answered alike for an account and for none (bcrypt ends at 72)."""
    shapes = [
        shape(closed.post("/auth/login", {"username": name, "password": password}))
        for name in ("nobody", "client", "off", "shut")
    ]
    assert shapes == [shapes[0]] * 4
    assert shapes[0][0] == 401


def test_the_audit_trail_knows_why_although_the_caller_does_not(closed: Server) -> None:
    """What the answer hides stands in the events: the reason, and for an unknown name its pseudonym, not the name."""
    before = closed.rows("SELECT coalesce(max(seq), 0) FROM limen_events")[0][0]
    for name, password in (
        ("nobody", PASSWORD),
        ("client", "wrong wrong wrong"),
        ("off", PASSWORD),
        ("shut", PASSWORD),
    ):
        closed.post("/auth/login", {"username": name, "password": password})
    rows = closed.rows("SELECT event, outcome, target, data FROM limen_events WHERE seq > ? ORDER BY seq", before)
    assert [(event, outcome) for event, outcome, _, _ in rows] == [("login_failed", "failure")] * 4
    reasons = ("unknown_account", "wrong_password", "refused_disabled", "refused_blocked")
    for (_, _, target, data), reason in zip(rows, reasons, strict=True):
        assert reason in data
        assert "nobody" not in target
