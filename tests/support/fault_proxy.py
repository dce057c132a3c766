"""A TCP proxy before PostgreSQL that breaks what a test wants broken, in a process of its own.

Being another process it shares neither a loop nor the interpreter's lock with what is tested. ``python -m
tests.support.fault_proxy PORT`` stands before that port of 127.0.0.1, prints its own port, obeys one JSON command a
line and answers each with what it has counted; it ends with its input.

It reads the messages of PostgreSQL's protocol (PostgreSQL documentation, "Frontend/Backend Protocol", message formats)
as far as is needed to know which statement a client runs, so a connection can be broken on either side of one.
"""

import asyncio
import json
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.support.processes import uncounted

ROOT = Path(__file__).resolve().parent.parent.parent
CHUNK = 65_536
ANSWER_SECONDS = 60.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset instead of a farewell."""
READY = b"Z\0\0\0\5"
"""The head of ReadyForQuery, which ends the answer to a statement and is followed by one byte."""


@dataclass
class Statements:
    """What one client runs, read from its messages; a message may come in pieces."""

    _unread: bytes = b""
    _begun: bool = False
    _prepared: dict[bytes, bytes] = field(default_factory=dict)

    def run_by(self, chunk: bytes) -> list[bytes]:
        """Return the texts of the statements that a further piece of the client's bytes runs."""
        self._unread += chunk
        run = []
        while message := self._message():
            kind, body = message
            if kind == b"P":
                name, text, _ = body.split(b"\0", 2)
                self._prepared[name] = text
            elif kind == b"B":
                _, name, _ = body.split(b"\0", 2)
                run.append(self._prepared.get(name, b""))
            elif kind == b"Q":
                run.append(body.rstrip(b"\0"))
        return run

    def _message(self) -> tuple[bytes, bytes] | None:
        # What comes before the first statement (requests for encryption, the greeting) has no byte for its kind.
        head = 1 if self._begun else 0
        if len(self._unread) < head + 4:
            return None
        length = int(struct.unpack_from("!i", self._unread, head)[0])
        if len(self._unread) < head + length:
            return None
        kind, body = self._unread[:head], self._unread[head + 4 : head + length]
        self._unread = self._unread[head + length :]
        if not self._begun:
            # The greeting bears the version 3.x of the protocol; the requests before it bear numbers of their own.
            self._begun = body[:2] == b"\0\3"
            return b"greeting", body
        return kind, body


class Pair:
    """One client's connection and the one to the server behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.statements = Statements()
        self.loses_answer = False

    def reset(self) -> None:
        """Break both connections off."""
        for writer in self.writers:
            reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off: the other side gets a reset at once, and nothing more."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Proxy:
    """The proxy itself, in its own process."""

    def __init__(self, upstream: int) -> None:
        self.counts = {"accepted": 0, "statements_lost": 0, "answers_lost": 0}
        self._upstream = upstream
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._resets = False
        self._latency = 0.0
        self._flowing = asyncio.Event()
        self._pairs: set[Pair] = set()
        self._lost: dict[str, tuple[bytes, int]] = {}

    async def listen(self) -> int:
        """Accept connections, again on the same port if there was one; return the port."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = int(self._listener.sockets[0].getsockname()[1])
        return self._port

    async def obey(self, mode: str, *, seconds: float = 0.0, text: str = "", times: int = 1) -> None:
        """Change what happens from now on; see `FaultProxy` for the modes."""
        if mode in ("lose_statement", "lose_answer"):
            self._lost[mode] = (text.encode(), times)
            return
        self._latency = seconds
        self._resets = mode in ("reset", "refuse")
        if mode == "ok":
            self._lost.clear()
        if mode == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
        elif mode != "refuse":
            await self.listen()
        if self._resets:
            for pair in tuple(self._pairs):
                pair.reset()
        if mode == "hang":
            self._flowing.clear()
        else:
            self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["accepted"] += 1
        if not self._resets:
            await self._flowing.wait()
        if self._resets:
            reset(writer)
            return
        try:
            upstream, server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            reset(writer)
            return
        pair = Pair(writer, server)
        self._pairs.add(pair)
        there = asyncio.ensure_future(self._forward(reader, server, pair))
        back = asyncio.ensure_future(self._bring_back(upstream, writer, pair))
        try:
            await asyncio.wait({there, back})
        finally:
            self._pairs.discard(pair)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Pair) -> None:
        """Pass on what the client says."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._pass()
                run = pair.statements.run_by(chunk)
                if self._is_hit("lose_statement", run):
                    self.counts["statements_lost"] += 1
                    pair.reset()
                    return
                pair.loses_answer = pair.loses_answer or self._is_hit("lose_answer", run)
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Pair) -> None:
        """Pass on what the server says, unless the answer is to be lost: then wait for all of it and break off."""
        kept = b""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._pass()
                if pair.loses_answer:
                    kept = (kept + chunk)[-len(READY) - 1 :]
                    if kept[:-1] == READY:
                        self.counts["answers_lost"] += 1
                        pair.reset()
                        return
                    continue
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def _pass(self) -> None:
        await self._flowing.wait()
        if self._latency:
            await asyncio.sleep(self._latency)

    def _is_hit(self, mode: str, run: list[bytes]) -> bool:
        text, times = self._lost.get(mode, (b"", 0))
        if times < 1 or not any(text in statement for statement in run):
            return False
        self._lost[mode] = (text, times - 1)
        return True

    def told(self) -> dict[str, int]:
        """Return what was counted, and how many connections are open."""
        return {**self.counts, "open": len(self._pairs)}


class FaultProxy:
    """The handle of a running proxy; every call has taken effect when it returns.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self, upstream_port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_proxy", str(upstream_port)],
            cwd=ROOT,
            env=uncounted(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.port = int(self._answer())

    def _answer(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        assert select.select([stdout], [], [], ANSWER_SECONDS)[0], "the proxy does not answer"
        return stdout.readline()

    def _tell(self, **command: Any) -> dict[str, int]:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        told: dict[str, int] = json.loads(self._answer())
        return told

    def url(self, url: str) -> str:
        """Return a database's URL with the proxy's address in it."""
        parts = urlsplit(url)
        before, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{before}{at}127.0.0.1:{self.port}"))

    def ok(self) -> None:
        """Pass everything on, at once; what was held back goes on its way, and nothing is lost on purpose any more."""
        self._tell(mode="ok")

    def latency(self, seconds: float) -> None:
        """Pass everything on that many seconds late, in each direction."""
        self._tell(mode="latency", seconds=seconds)

    def hang(self) -> None:
        """Accept connections, and let nothing through, old connections included, until the mode changes."""
        self._tell(mode="hang")

    def reset(self) -> None:
        """Break all connections off, and each new one as soon as it is there."""
        self._tell(mode="reset")

    def refuse(self) -> None:
        """Break all connections off and refuse new ones."""
        self._tell(mode="refuse")

    def lose_statement(self, text: str, times: int = 1) -> None:
        """Break off before the server gets a statement that holds this text, that many times."""
        self._tell(mode="lose_statement", text=text, times=times)

    def lose_answer(self, text: str, times: int = 1) -> None:
        """Break off when the server has done a statement that holds this text, and before the client knows."""
        self._tell(mode="lose_answer", text=text, times=times)

    def counts(self) -> dict[str, int]:
        """Return ``accepted``, ``open``, ``statements_lost`` and ``answers_lost``."""
        return self._tell(mode="count")

    def close(self) -> None:
        """End it, and every connection through it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def fault_proxy(upstream: int | str) -> Iterator[FaultProxy]:
    """Run a proxy before a port of 127.0.0.1, or before the one in a database's URL."""
    port = upstream if isinstance(upstream, int) else urlsplit(upstream).port
    assert port, "a URL without a port"
    proxy = FaultProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


async def serve(upstream: int) -> None:
    """Serve until the input ends."""
    proxy = Proxy(upstream)
    await proxy.obey("ok")
    sys.stdout.write(f"{await proxy.listen()}\n")
    sys.stdout.flush()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        if command["mode"] != "count":
            await proxy.obey(**command)
        sys.stdout.write(json.dumps(proxy.told()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
