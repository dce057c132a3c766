"""Takes connections from a socket that several processes may listen on, and leaves nobody behind when it stops."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable, Callable

from limen.server.bounds import BACKLOG

PAUSE_SECONDS = 1.0
"""How long nobody is accepted where the system has no descriptor or no memory left for one more."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger(__name__)

Serve = Callable[[socket.socket], Awaitable[object]]
"""Serves one connection from now on; returns once it is set up."""


class Acceptor:
    """Accepts connections, a few in each turn of the event loop, until it is closed.

    An event loop by itself accepts all that wait, so of several processes whichever wakes up first would take a whole
    burst, and keep it for as long as those clients stay. One at a time, a process that is busy with requests takes
    fewer. And an event loop by itself closes its socket a while after it has accepted for the last time, which cuts off
    whoever came in between.

    Args:
        listener: a bound socket; other processes may accept from it as well.
        serve: what is done with each connection.
        at_once: how many are accepted in one turn; 1 where other processes accept, too.
    """

    def __init__(self, listener: socket.socket, serve: Serve, *, at_once: int) -> None:
        self._listener = listener
        self._serve = serve
        self._at_once = at_once
        self._loop = asyncio.get_running_loop()
        self._setting_up: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and accept from now on."""
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> list[socket.socket]:
        """Close the socket, and return the connections that the system had let in by then: they would be cut off."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        last: list[socket.socket] = []
        # Nothing else between the last one and the closing: whoever comes there has never been accepted.
        with contextlib.suppress(OSError):
            while len(last) < BACKLOG:
                last.append(self._listener.accept()[0])
        self._listener.close()
        for connection in last:
            connection.setblocking(False)
        return last

    def _accept(self) -> None:
        for _ in range(self._at_once):
            if not self._accept_one():
                break

    def _accept_one(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another process was faster, or the client is gone
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.error("no connection can be accepted for a second", extra={"reason": error.strerror})
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._loop.add_reader, self._listener, self._accept)
            return False
        task = self._loop.create_task(self._set_up(connection))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)
        return True

    async def _set_up(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._serve(connection)
        except OSError:
            connection.close()
