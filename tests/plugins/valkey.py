"""A real Valkey for every test that asks for one; where there is none, the end of the run says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.valkey import Lacking, Server, serving


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Server]:
    """The server of this worker: for nobody to stop."""
    try:
        with serving() as server:
            yield server
    except Lacking as error:
        pytest.skip(str(error))


@pytest.fixture
def valkey(shared_valkey: Server) -> Server:
    """The same, empty."""
    shared_valkey.flush()
    return shared_valkey


@pytest.fixture
def own_valkey() -> Iterator[Server]:
    """A server of the test's own that writes everything to its disk, to be stopped, killed and started again."""
    try:
        with serving(appendonly="yes", appendfsync="always") as server:
            yield server
    except Lacking as error:
        pytest.skip(str(error))
