"""A server that all tests of hostile input share: none of them may leave it in another state."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.crypto import hostile_tokens
from tests.faults.servers import Nursery, Server, running
from tests.support.gates import PASSWORD

USERNAME = "client"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where servers come from."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one account, which signs access tokens with the secret that the hostile tokens are made with."""
    settings: dict[str, Any] = {
        "jwt_access_secret": hostile_tokens.SECRET.decode(),
        "issuer": hostile_tokens.ISSUER,
        "audience": hostile_tokens.AUDIENCE,
        "log_level": "debug",
    }
    with running(nursery, tmp_path_factory.mktemp("hostile"), **settings) as started:
        started.register(USERNAME, PASSWORD)
        yield started


@pytest.fixture(autouse=True)
def nothing_failed(server: Server) -> Iterator[None]:
    """No test of hostile input may cause an error inside, and every line of the log is one escaped record."""
    before = len(server.output())
    yield
    written = server.output()[before:]
    assert "Traceback" not in written
    for line in written.splitlines():
        assert line.isascii(), line
        assert line.isprintable(), line
        assert line.startswith("{"), line
        assert line.endswith("}"), line
        assert '"level":"error"' not in line.replace(" ", ""), line
