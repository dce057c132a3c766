"""Clients that never stop asking, over connections that they keep, and notice each answer that does not come."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


class Dropped(Exception):
    """A request was sent on a connection that was there, and no whole answer came."""


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        answers: how many of each status.
        dropped: what happened to the requests that were not answered.
        goodbyes: answers that closed their connection.
    """

    answers: Counter[int] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    goodbyes: int = 0


class Client:
    """One client with one connection at a time, which it opens anew where the server has closed it with an answer."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Send a request and return the status and the JSON of the answer.

        Raises:
            ConnectionError: nobody listens any more; nothing was sent.
            Dropped: the answer did not come, or not whole.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: limen\r\nContent-Length: {len(content)}\r\n"
        head += "Content-Type: application/json\r\n" if content else ""
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        try:
            writer.write(f"{head}\r\n".encode() + content)
            told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(told.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            answer = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self._tally.dropped.append(f"{method} {path}: {error!r}")
            raise Dropped from error
        status = int(told.split()[1])
        self._tally.answers[status] += 1
        if "\r\nconnection: close\r\n" in told:
            self._tally.goodbyes += 1
            await self.hang_up()
        return status, json.loads(answer) if answer else None

    async def hang_up(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()


async def hammer(port: int, tally: Tally, account: dict[str, str], *, logs_in: bool) -> None:
    """Log in, then refresh and ask who one is, until nobody listens any more."""
    client = Client(port, tally)
    try:
        while True:
            status, tokens = await client.ask("POST", "/auth/login", account)
            for _ in range(1 if logs_in else 1_000_000):
                if status != 200:
                    break
                _, me = await client.ask("GET", "/auth/me", token=tokens["access_token"])
                assert me["username"] == account["username"]
                refresh = {"refresh_token": tokens["refresh_token"]}
                status, tokens = await client.ask("POST", "/auth/refresh", refresh)
    except (ConnectionError, Dropped):
        pass
    finally:
        await client.hang_up()
