"""``limen doctor --listen``: what limen sees of a request that came through a proxy."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limen.cli.findings import FAIL, OK, WARN
from limen.cli.peer_checkup import examine_peer
from limen.web.peers import FORWARDED, FORWARDED_FOR, TrustedProxies
from tests.support.gates import settings_for
from tests.support.ports import free_port
from tests.support.processes import uncounted, until


def scope(*headers: tuple[str, str], peer: str = "10.0.0.5") -> dict[str, Any]:
    """Return a request."""
    named = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "scheme": "http", "client": (peer, 5), "headers": named, "method": "GET"}


def told(request: dict[str, Any], header: str = FORWARDED_FOR) -> list[tuple[str, str, str]]:
    """Return the findings about a request."""
    findings = examine_peer(request, TrustedProxies(["10.0.0.0/8"], header))
    return [(each.standing, each.what, each.found) for each in findings]


def test_a_proxy_that_is_believed() -> None:
    """All is well: the peer is trusted, and names a client and its scheme."""
    found = told(scope(("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")))
    assert {standing for standing, _, _ in found} == {OK}
    assert found[-1] == (OK, "client", "203.0.113.9, over https")


def test_a_proxy_that_is_not_believed() -> None:
    """A peer that is not on the list and speaks for others is told, with the line that would trust it."""
    findings = examine_peer(scope(("x-forwarded-for", "203.0.113.9"), peer="192.0.2.1"), TrustedProxies(["10.0.0.0/8"]))
    (warned,) = [each for each in findings if each.standing == WARN]
    assert "LIMEN_TRUSTED_PROXIES=192.0.2.1" in warned.advice
    assert findings[-1].found == "192.0.2.1, over http"


@pytest.mark.parametrize(
    ("headers", "header"),
    [
        ([], FORWARDED_FOR),
        ([("forwarded", "for=203.0.113.9")], FORWARDED_FOR),
        ([("x-forwarded-for", "203.0.113.9")], FORWARDED),
        ([("x-forwarded-for", "unknown")], FORWARDED_FOR),
        ([("x-forwarded-for", "")], FORWARDED_FOR),
    ],
)
def test_a_proxy_that_names_nobody_fails(headers: list[tuple[str, str]], header: str) -> None:
    """Where every client would have the proxy's address, that is a failure."""
    assert FAIL in {standing for standing, _, _ in told(scope(*headers), header)}


def test_nothing_raw_is_printed() -> None:
    """What a header says is shown without control characters."""
    found = told(scope(("x-forwarded-for", "a\x1b[31m"), peer="192.0.2.1"))
    assert (OK, "header", "x-forwarded-for: a?[31m") in found


def test_one_request_over_a_socket(tmp_path: Path) -> None:
    """The command takes one request, answers it, prints what limen makes of it, and ends."""
    settings = settings_for(tmp_path, trusted_proxies=["127.0.0.1"])
    told = {
        "LIMEN_DATABASE_URL": settings.database_url,
        "LIMEN_JWT_ACCESS_SECRET": settings.jwt_access_secret.get_secret_value(),
        "LIMEN_JWT_REFRESH_SECRET": settings.jwt_refresh_secret.get_secret_value(),
        "LIMEN_TRUSTED_PROXIES": "127.0.0.1",
    }
    port = free_port()
    command = [sys.executable, "-m", "limen.cli", "doctor", "--json", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, env=uncounted() | told, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answers: list[int] = []

    def asked() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("BREW", "/x", headers={"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})
            answers.append(connection.getresponse().status)
        except OSError:
            return process.poll() is not None
        finally:
            connection.close()
        return True

    try:
        assert until(asked, 20)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, answers) == (0, [204]), error
    findings = json.loads(out)["findings"]
    assert findings[-1]["found"] == "203.0.113.9, over https"


@pytest.mark.parametrize("listen", ["8000", "localhost:8000", "127.0.0.1:", ":8000", "127.0.0.1:x"])
def test_wrong_address_is_wrong_usage(tmp_path: Path, listen: str) -> None:
    """What is no address and port ends with 2."""
    settings = settings_for(tmp_path)
    told = {
        "LIMEN_DATABASE_URL": settings.database_url,
        "LIMEN_JWT_ACCESS_SECRET": settings.jwt_access_secret.get_secret_value(),
        "LIMEN_JWT_REFRESH_SECRET": settings.jwt_refresh_secret.get_secret_value(),
    }
    command = [sys.executable, "-m", "limen.cli", "doctor", "--listen", listen]
    assert subprocess.run(command, env=uncounted() | told, capture_output=True, timeout=60).returncode == 2
