"""Valkey over TLS: the certificate is checked, and its name."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from limen.core.errors import Unavailable
from limen.storage.valkey.client import Valkey
from tests.support.valkey import Server


@asynccontextmanager
async def encrypted(port: int, certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """Stand before a server and speak TLS to its clients; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, server), copy(upstream, writer))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield int(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()


async def answers(url: str) -> bool:
    """Tell whether limen gets through."""
    valkey = Valkey(url)
    try:
        await valkey.ping()
    except Unavailable:
        return False
    finally:
        await valkey.stop()
    return True


@pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
async def test_the_certificate_is_checked(valkey: Server, tmp_path: Path, scheme: str) -> None:
    """The right authority and the right name: through. Another authority, none, or another name: not."""
    authority, stranger = trustme.CA(), trustme.CA()
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    authority.cert_pem.write_to_path(str(ours))
    stranger.cert_pem.write_to_path(str(theirs))
    async with encrypted(valkey.port, authority.issue_cert("127.0.0.1")) as port:
        url = f"{scheme}://127.0.0.1:{port}/0"
        assert await answers(f"{url}?ssl_ca_certs={ours}")
        assert not await answers(f"{url}?ssl_ca_certs={theirs}")
        assert not await answers(url)
    async with encrypted(valkey.port, authority.issue_cert("valkey.example")) as port:
        assert not await answers(f"{scheme}://127.0.0.1:{port}/0?ssl_ca_certs={ours}")
