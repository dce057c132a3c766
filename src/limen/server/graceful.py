"""A server that ends without dropping anybody: who has sent a request is answered, and then shown the door."""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

import uvicorn

from limen.server.accepting import Acceptor
from limen.server.bounds import IDLE_SECONDS, SHUTDOWN_SECONDS
from limen.server.tls_context import Handshakes

ACCEPT_AT_ONCE = 64

_LOOK_SECONDS = 0.02
_FORCED_SECONDS = 2.0

_log = logging.getLogger(__name__)


@runtime_checkable
class Patient(Protocol):
    """A connection that can be ended between two requests."""

    transport: asyncio.Transport

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request of which nothing has come yet."""
        ...

    def close_when_answered(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Close it after the request under way, whose answer gets these headers if it has not begun."""
        ...


class GracefulServer(uvicorn.Server):
    """uvicorn's server with an end, and a beginning, of its own.

    uvicorn closes idle connections at once, also those on which a request has just arrived, and those that nobody has
    accepted yet. Here, from the first signal on, every answer says ``Connection: close`` (RFC 9112, section 9.6), and:

    1. For ``delay`` seconds connections are still accepted, while `on_leaving` has made ``/readyz`` false.
    2. Those who wait to be accepted are; then nobody is any more.
    3. A connection that is idle is closed a second later, one with a request after its answer.
    4. What is still under way after fifteen seconds is cancelled. A second signal does that at once.

    Args:
        config: uvicorn's.
        on_ready: called once connections are accepted.
        on_leaving: called with the first signal.
        delay: see above, in seconds.
        among_others: other processes accept from the same socket.
        force: whether a second signal cuts everything short; a process under a supervisor leaves that to it.
        handshakes: do TLS first; None for plain HTTP.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_ready: Callable[["GracefulServer"], None],
        on_leaving: Callable[[], None],
        delay: float = 0,
        among_others: bool = False,
        force: bool = True,
        handshakes: Handshakes | None = None,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_leaving = on_leaving
        self._delay = delay
        self._at_once = 1 if among_others else ACCEPT_AT_ONCE
        self._force = force
        self._handshakes = handshakes
        self._leave_at = 0.0
        self._acceptors: list[Acceptor] = []

    def leave(self) -> None:
        """End, as the first signal does."""
        if self.should_exit:
            return
        self.should_exit = True
        self._leave_at = time.monotonic() + self._delay
        self._on_leaving()
        # It is repeated by uvicorn for each request from here on, and both HTTP protocols act on it.
        goodbye = (b"connection", b"close")
        if self.config.loaded and goodbye not in self.config.encoded_headers:
            self.config.encoded_headers.append(goodbye)
            self.server_state.default_headers = [*self.server_state.default_headers, goodbye]

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Take a signal; unlike uvicorn's, it is not raised again once everything has ended."""
        if self.should_exit and self._force:
            self.force_exit = True
        self.leave()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        if sys.platform == "win32":  # its event loop cannot watch a socket for us
            self.config.ssl = None if self._handshakes is None else self._handshakes.context
            await super().startup(sockets)
        else:
            await super().startup([])
            for listener in sockets or []:
                acceptor = Acceptor(listener, self._serve_connection, at_once=self._at_once)
                acceptor.start()
                self._acceptors.append(acceptor)
        if self.started and not self.should_exit:
            self._on_ready(self)

    def _serve_connection(self, connection: socket.socket) -> Awaitable[object]:
        if self._handshakes is not None:
            return self._handshakes.serve(self._protocol, connection)
        loop = asyncio.get_running_loop()
        return loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to end: not before the delay is over."""
        leaving = await super().on_tick(counter)
        return leaving and (self.force_exit or time.monotonic() >= self._leave_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in the order that the class tells."""
        await self._accept_the_last(sockets or [])
        for connection in list(self.server_state.connections):
            if isinstance(connection, Patient):
                connection.close_when_answered(self.server_state.default_headers)
            else:
                connection.shutdown()  # a WebSocket: it is told to come back (1012)
        began = time.monotonic()
        await self._until_nobody_is_left(began + IDLE_SECONDS)
        # What has arrived meanwhile is read before anything is closed.
        for _ in range(2):
            await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Patient) and connection.is_idle:
                connection.transport.close()
        await self._until_nobody_is_left(began + SHUTDOWN_SECONDS)
        await self._cut_off()
        if self.force_exit:
            await asyncio.wait({asyncio.ensure_future(self.lifespan.shutdown())}, timeout=_FORCED_SECONDS)
        else:
            await self.lifespan.shutdown()

    async def _accept_the_last(self, listeners: list[socket.socket]) -> None:
        last = [connection for acceptor in self._acceptors for connection in acceptor.close()]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        await asyncio.gather(*(self._serve_connection(each) for each in last), return_exceptions=True)

    async def _until_nobody_is_left(self, deadline: float) -> None:
        counter = 0
        state = self.server_state
        while (state.connections or state.tasks) and not self.force_exit and time.monotonic() < deadline:
            await super().on_tick(counter)  # keeps the Date of the answers
            await asyncio.sleep(_LOOK_SECONDS)
            counter = (counter + 1) % 50

    async def _cut_off(self) -> None:
        tasks = set(self.server_state.tasks)
        if not tasks and not self.server_state.connections:
            return
        _log.warning(
            "what was still under way is cut off",
            extra={"requests": len(tasks), "connections": len(self.server_state.connections)},
        )
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FORCED_SECONDS)
        for connection in list(self.server_state.connections):
            transport: Any = connection.transport
            transport.abort()
