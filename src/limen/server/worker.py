"""One worker of several: ``python -m limen.server.worker LISTENER LEASH [SETTINGS_FILE]``, started by a supervisor.

It inherits two descriptors: the socket that all workers accept from, and its leash, a connection to the supervisor.
On it go lines of JSON, from the worker:

- ``{"ready": true}``: requests are answered.
- ``{"failed": {"kind", "text"}}``: why they are not; the worker then ends.
- ``{"families": […]}``: its numbers, where it was asked for them.

and words from the supervisor: ``end``, ``families``. Where the leash ends, so does the worker: nobody would miss it
otherwise, and it would keep the port. Secrets come from the environment and the settings file, as everywhere: what
stands in the arguments of a process can be read by every account of the machine.
"""

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from limen.core import metrics
from limen.core.errors import ConfigurationError, LimenError
from limen.server.graceful import GracefulServer
from limen.server.process import serve
from limen.server.supervisor import END, FAMILIES, MOST_LINE_BYTES
from limen.settings import ServerSettings, Settings

_log = logging.getLogger(__name__)


class WorkerLeash:
    """The worker's end of the connection to its supervisor.

    Args:
        connection: the socket that was inherited.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def failed(self, error: Exception) -> None:
        """Tell why the worker ends."""
        kind, text = _kind_of(error)
        if kind == "fault":
            _log.error("a worker failed", exc_info=error)
        try:
            self._connection.sendall(_line({"failed": {"kind": kind, "text": text}}))
        except OSError:
            _log.error("a worker failed, and its supervisor is gone", extra={"reason": text})

    async def follow(self, server: GracefulServer) -> None:
        """Tell that requests are answered, and do what the supervisor says until it ends, which ends the server."""
        reader, writer = await asyncio.open_connection(sock=self._connection.dup(), limit=MOST_LINE_BYTES)
        try:
            writer.write(_line({"ready": True}))
            while word := (await reader.readline()).decode("ascii").strip():
                if word == FAMILIES:
                    writer.write(_line({"families": metrics.families()}))
                elif word == END:
                    server.leave()
            if not server.should_exit:
                _log.error("the supervisor is gone; this worker ends")
        except OSError:
            _log.error("the supervisor cannot be heard; this worker ends")
        finally:
            server.leave()
            writer.close()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def _kind_of(error: Exception) -> tuple[str, str]:
    if isinstance(error, ConfigurationError):
        return "configuration", str(error)
    if isinstance(error, LimenError) and error.status == 503:
        return "unavailable", error.detail or error.title
    return "fault", type(error).__name__


def work(application: Callable[[Settings], Any], arguments: Sequence[str], *, kind: type[Settings] = Settings) -> int:
    """Be a worker until the supervisor, or a signal, ends it.

    Args:
        application: makes the ASGI application.
        arguments: those of the process, as the module says.
        kind: the settings to read.

    Returns:
        the exit code: 0, or 1 where it could not start, which the supervisor has been told.
    """
    listener, connection = (socket.socket(fileno=int(number)) for number in arguments[:2])
    for inherited in (listener, connection):
        inherited.set_inheritable(False)
    # Ctrl-C reaches every process of the terminal; what it means is the supervisor's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leash = WorkerLeash(connection)
    # What is odd about the settings was said once, by the supervisor.
    logging.getLogger("limen").setLevel(logging.ERROR)
    try:
        settings = kind.load(env_file=arguments[2] if len(arguments) > 2 else None)
        serve(application(settings), listener, settings, lambda _: None, leash=leash)
    except Exception as error:
        leash.failed(error)
        return 1
    return 0


if __name__ == "__main__":
    from limen.server.standalone import application

    sys.exit(work(application, sys.argv[1:], kind=ServerSettings))
