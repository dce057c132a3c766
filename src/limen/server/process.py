"""Runs an ASGI application under uvicorn, the way limen wants it run."""

import asyncio
import gc
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from types import FrameType
from typing import Any, Protocol

import uvicorn

from limen.core import metrics
from limen.core.errors import BadRequest, Busy
from limen.server.addresses import url_of
from limen.server.bounds import (
    BACKLOG,
    GC_THRESHOLD,
    INTERRUPTED,
    KEEP_ALIVE_SECONDS,
    MOST_CONNECTIONS,
    MOST_FIELDS,
    MOST_WEBSOCKET_BYTES,
    SHUTDOWN_SECONDS,
    SIGNALS,
)
from limen.server.exposition import MetricsServer, bind_metrics, of_this_process
from limen.server.graceful import GracefulServer
from limen.server.head_deadline import HeadLimits, Heads
from limen.server.observing import gate_of, observe
from limen.server.tls_context import Handshakes, server_context
from limen.settings import Settings
from limen.web.logs import configure_logging
from limen.web.origin import new_request_id
from limen.web.problems import send_problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Leash(Protocol):
    """What a worker is held by: the connection to its supervisor."""

    async def follow(self, server: GracefulServer) -> None:
        """Tell that requests are answered from now on, and do what the supervisor says until it says no more."""
        ...


class _Front:
    """Stands before the application: keeps why it did not start or end well, and refuses what is beyond the bounds.

    uvicorn would print the reason with its traceback, and refuse without saying when to come back.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.failure: Exception | None = None
        self.connections: set[Any] = set()

    def __call__(self, scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._lifespan(scope, receive, send)
        if len(self.connections) > MOST_CONNECTIONS:
            return send_problem(
                scope,
                send,
                Busy("There are too many connections."),
                new_request_id(),
                headers=[(b"connection", b"close")],
            )
        if len(scope["headers"]) > MOST_FIELDS:
            refused = BadRequest(f"There are more than {MOST_FIELDS} header fields.")
            return send_problem(scope, send, refused, new_request_id(), headers=[(b"connection", b"close")])
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


def _spare_the_collector() -> None:
    """Let the garbage collector leave alone what was made at the start, and look for circles less often.

    What stays for as long as the process lives (modules, routes, statements) would otherwise be walked again and again
    under load: a tenth of a refresh. A request makes no circles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def serve(
    app: Any,
    listener: socket.socket,
    settings: Settings,
    on_ready: Callable[[str], None],
    *,
    heads: HeadLimits = HeadLimits(),  # noqa: B008 - frozen
    leash: Leash | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, and return then, after the requests under way were answered.

    Forwarding headers are not believed here (uvicorn would take them from any local process, and rewrite the peer's
    address before limen looks at it), the server does not name itself, and there is no access log of its own: query
    strings may hold secrets.

    Args:
        app: the ASGI application.
        listener: a bound socket.
        settings: for the log, the metrics and the delay of the shutdown.
        on_ready: called with the address once connections are accepted.
        heads: how long, and on how many connections of one peer, the head of a request is awaited.
        leash: of a worker among others, who accept from the same socket.

    Raises:
        ConfigurationError, LimenError: what kept the application from starting, or from ending well.
        SystemExit: a second signal ended it (130), or the first one before it had started (0).
    """
    background: set[asyncio.Task[None]] = set()

    def ready(server: GracefulServer) -> None:
        # The guard has tested itself by now, with requests that it refused.
        metrics.REFUSALS.forget()
        metrics.GUARD_DECISIONS.forget()
        _spare_the_collector()
        if leash is not None:
            background.add(asyncio.create_task(leash.follow(server)))
        if telling is not None:
            background.add(asyncio.create_task(MetricsServer(telling, of_this_process).serve()))
        on_ready(url_of(listener, tls=context is not None))

    telling = None
    try:
        context = server_context(settings)
        # Those of workers are asked for by their supervisor.
        telling = bind_metrics(settings) if leash is None else None
        handshakes = None if context is None else Handshakes(context, Heads(heads))
        _serve(app, listener, settings, ready, heads, handshakes, is_worker=leash is not None)
    finally:
        listener.close()
        if telling is not None:
            telling.close()


def _serve(
    app: Any,
    listener: socket.socket,
    settings: Settings,
    on_ready: Callable[[GracefulServer], None],
    heads: HeadLimits,
    handshakes: Handshakes | None,
    *,
    is_worker: bool,
) -> None:
    front = _Front(app)
    gate = gate_of(app)
    server = GracefulServer(
        _configuration(front, heads),
        on_ready=on_ready,
        on_leaving=lambda: None if gate is None else gate.leave(),
        delay=settings.shutdown_delay,
        among_others=is_worker,
        force=not is_worker,
        handshakes=handshakes,
    )
    front.connections = server.server_state.connections
    observe(gate, front.connections)
    restore = configure_logging(settings.log_level, settings.log_format, loggers=("limen", "uvicorn"), others=True)
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            # For the time before and after uvicorn listens to them itself.
            signal.signal(number, _end)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        if front.failure is not None:
            raise front.failure from None
        raise
    finally:
        restore()
    if front.failure is not None:
        raise front.failure
    if server.force_exit:
        raise SystemExit(INTERRUPTED)


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
