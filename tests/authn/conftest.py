"""Fixtures of the tests about who is calling."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.authn.external_issuer import Issuer


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that listens."""
    made = Issuer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
