"""Receivers of the trail on the loopback: a syslog server, and an HTTP server that verifies signatures."""

import asyncio
import hmac
import json
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self


class Receiver:
    """Keeps what it was sent.

    Attributes:
        places: the places of the records that it took, in the order in which they came.
        checkpoints: the checkpoints that it took.
        port: where it listens.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.port = 0

    def take(self, told: dict[str, Any]) -> None:
        """Keep one item."""
        if "checkpoint" in told:
            self.checkpoints.append(told["checkpoint"])
        else:
            self.places.append(told["seal"]["place"])

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        raise NotImplementedError

    @asynccontextmanager
    async def listening(self, port: int = 0, trust: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Listen meanwhile."""
        server = await asyncio.start_server(self.answer, "127.0.0.1", port, ssl=trust)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    @property
    def distinct(self) -> list[int]:
        """The places without those that came again."""
        return list(dict.fromkeys(self.places))


class Syslog(Receiver):
    """A syslog server over TCP or TLS: octet counting, and the connection is ended once the other side has ended it.

    Attributes:
        heads: what stood before the JSON of each message.
        hang_up_after: messages of one connection after which it is reset; None for never.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.hang_up_after: int | None = None

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end."""
        count = 0
        try:
            while size := await reader.readuntil(b" "):
                message = (await reader.readexactly(int(size))).decode("ascii")
                head, brace, rest = message.partition("{")
                self.heads.append(head)
                self.take(json.loads(brace + rest))
                count += 1
                if count == self.hang_up_after:
                    self.hang_up_after = None
                    # As the system does for a process that dies before it has read everything.
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class Webhook(Receiver):
    """An HTTP receiver that takes a batch whose signature holds.

    Attributes:
        statuses: what it answers next, without taking anything; 200 once there is none left.
        forged: how many batches did not verify.
        names: the ``webhook-id`` of the batches that it took.
    """

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._key = b64decode(secret.removeprefix("whsec_"))
        self.statuses: list[int] = []
        self.forged = 0
        self.names: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; nothing where the other side is gone before its end."""
        try:
            await self._answered(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.statuses.pop(0) if self.statuses else self._taken(headers, body)
        writer.write(f"HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode("ascii"))
        await writer.drain()

    def _taken(self, headers: dict[str, str], body: bytes) -> int:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + b64encode(hmac.digest(self._key, signed, "sha256")).decode()
        if expected not in headers["webhook-signature"].split(" "):
            self.forged += 1
            return 401
        told = json.loads(body)
        assert told["type"] == "limen.trail"
        self.names.append(headers["webhook-id"])
        for each in told["records"]:
            self.take(each)
        return 204
