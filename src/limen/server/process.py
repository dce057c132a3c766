"""Runs an ASGI application under uvicorn, the way limen wants it run."""

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from types import FrameType
from typing import Any

import uvicorn

from limen.server.addresses import BACKLOG, url_of
from limen.server.head_deadline import HeadLimits
from limen.settings import Settings
from limen.web.logs import configure_logging

KEEP_ALIVE_SECONDS = 15
SHUTDOWN_SECONDS = 15
MOST_CONNECTIONS = 4096
MOST_WEBSOCKET_BYTES = 1024 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Lifespan:
    """Keeps why an application did not start or end well, which uvicorn would only print with its traceback."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.failure: Exception | None = None

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        answer: Awaitable[None] = self._app(scope, receive, send)
        return answer

    async def _lifespan(self, scope: Message, receive: Receive, send: Send) -> None:
        last = "lifespan.startup.failed"

        async def told_at_the_end(message: Message) -> None:
            nonlocal last
            if message["type"] == "lifespan.startup.complete":
                await send(message)
                last = "lifespan.shutdown.failed"
            else:
                last = message["type"]

        try:
            await self._app(scope, receive, told_at_the_end)
        except Exception as error:
            self.failure = error
        # Only now: once it is told, the loop is closed, and with it whatever the application still has to put away.
        await send({"type": last})


class _Server(uvicorn.Server):
    """Calls back once connections are accepted: not before the application has started."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_ready()


def serve(
    app: Any,
    listener: socket.socket,
    settings: Settings,
    on_ready: Callable[[str], None],
    *,
    heads: HeadLimits = HeadLimits(),  # noqa: B008 - frozen
) -> None:
    """Serve until SIGTERM or SIGINT, and end the process then with 0, after the requests under way were answered.

    Forwarding headers are not believed here (uvicorn would take them from any local process, and rewrite the peer's
    address before limen looks at it), the server does not name itself, and there is no access log of its own: query
    strings may hold secrets.

    Args:
        app: the ASGI application.
        listener: a bound socket.
        settings: for the log.
        on_ready: called with the address once connections are accepted.
        heads: how long, and on how many connections of one peer, the head of a request is awaited.

    Raises:
        ConfigurationError, LimenError: what kept the application from starting, or from ending well.
    """
    lifespan = _Lifespan(app)
    server = _Server(_configuration(lifespan, heads), lambda: on_ready(url_of(listener)))
    restore = configure_logging(settings.log_level, settings.log_format, loggers=("limen", "uvicorn"))
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn answers the first signal by finishing its work, and then sends it to whoever listened before.
            signal.signal(number, _end)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        if lifespan.failure is not None:
            raise lifespan.failure from None
        raise
    finally:
        restore()
        listener.close()


def _configuration(app: Any, heads: HeadLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=_protocol(heads),
        lifespan="on",
        log_config=None,
        # Its own lines about starting and ending say nothing that ours do not.
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ws_max_size=MOST_WEBSOCKET_BYTES,
    )


def _protocol(heads: HeadLimits) -> type[asyncio.Protocol]:
    if find_spec("httptools") is None:
        from limen.server.timed_head import plain_protocol

        return plain_protocol(heads)
    from limen.server.bounded_head import fast_protocol

    return fast_protocol(heads)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
