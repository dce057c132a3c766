"""Takes connections from a socket that several processes may listen on, and leaves nobody behind when it stops."""

import asyncio
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
    """Accepts one connection in each turn of the event loop.

    An event loop by itself accepts all that wait, so whichever process wakes up first would take a whole burst, and
    keep it for as long as those clients stay. One at a time, a process that is busy with requests takes fewer.

    Args:
        listener: a bound socket; other processes may accept from it as well.
        serve: what is done with each connection.
    """

    def __init__(self, listener: socket.socket, serve: Serve) -> None:
        self._listener = listener
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._setting_up: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and accept from now on."""
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client is gone
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.error("no connection can be accepted for a second", extra={"reason": error.strerror})
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._loop.add_reader, self._listener, self._accept)
            return
        task = self._loop.create_task(self._set_up(connection))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)

    async def _set_up(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._serve(connection)
        except OSError:
            connection.close()


def waiting(listener: socket.socket) -> list[socket.socket]:
    """Accept all who were let in by the system and wait: once the socket is closed, they would be cut off."""
    found: list[socket.socket] = []
    if not listener.getblocking():
        while len(found) < BACKLOG:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            connection.setblocking(False)
            found.append(connection)
    return found
