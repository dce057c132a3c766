"""An open WebSocket lives no longer than what opened it (OWASP ASVS 5.0, 4.4): expired or ended, it is closed."""

import logging
from contextlib import suppress

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.web.guard.state import GuardState
from limen.web.headers import is_https
from limen.web.problems import POLICY_VIOLATION

POLL_SECONDS = 1.0
"""How often an open socket is asked whether it may stay open."""

GRACE_SECONDS = 5.0
"""How long a handler may go on after its socket was closed, before it is cancelled."""

_ENDED = "The session has ended."

_log = logging.getLogger("limen.guard")


class UndecidedAnswerError(Exception):
    """An answer was about to begin, and nobody had decided whether the request may have it."""


class WatchedSocket:
    """Stands between one WebSocket and the application.

    Args:
        receive: the server's.
        send: the server's.
        state: the state of the handshake; its credential is asked about as long as the socket is open.
        https: whether it came over TLS.
    """

    def __init__(self, receive: Receive, send: Send, state: GuardState, *, https: bool) -> None:
        self._receive = receive
        self._send = send
        self._state = state
        self._https = https
        self._accepted = anyio.Event()
        self._waiting: anyio.CancelScope | None = None
        self._ended = False

    async def send(self, message: Message) -> None:
        """Pass a message on; refuse to open the socket where nobody decided."""
        kind = message["type"]
        if self._ended:
            # Starlette turns this into WebSocketDisconnect, so a handler that only sends ends as well.
            raise OSError(_ENDED)
        if kind in {"websocket.accept", "websocket.http.response.start"}:
            opens = kind == "websocket.accept" or message["status"] < 300
            if opens and not self._state.decided:
                raise UndecidedAnswerError
            self._state.answered = True
            headers = list(message.get("headers", ()))
            state = self._state
            state.gate.front.headers.add(headers, self._https, state.decided and not state.is_open)
            message = {**message, "headers": headers}
        await self._send(message)
        if kind == "websocket.accept":
            self._accepted.set()

    async def receive(self) -> Message:
        """Return the next message; once the socket was ended, that the client is gone."""
        if not self._ended:
            with anyio.CancelScope() as waiting:
                self._waiting = waiting
                message = await self._receive()
                self._waiting = None
                return message
        return {"type": "websocket.disconnect", "code": POLICY_VIOLATION, "reason": _ENDED}

    async def watch(self, running: anyio.CancelScope) -> None:
        """Close the socket as soon as it may not stay open."""
        await self._accepted.wait()
        while self._is_valid():  # noqa: ASYNC110 - it is the clock that is waited for, and there is no event of that
            await anyio.sleep(POLL_SECONDS)
        self._ended = True
        # Shielded: the handler may notice the end at once, and its return would take the close back.
        with anyio.move_on_after(GRACE_SECONDS, shield=True), suppress(Exception):  # the client may be gone already
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": _ENDED})
        if self._waiting is not None:
            self._waiting.cancel()
        await anyio.sleep(GRACE_SECONDS)
        running.cancel()

    def _is_valid(self) -> bool:
        state: GuardState | None = self._state
        try:
            while state is not None:
                if state.principal.is_authenticated and not state.gate.still_valid(state):
                    return False
                state = state.parent
        except Exception:
            _log.exception("an open socket is closed: whether it may stay open cannot be told")
            return False
        return True


async def serve_socket(app: ASGIApp, scope: Scope, receive: Receive, send: Send, state: GuardState) -> None:
    """Serve a WebSocket, and close it when the token expires or the session ends.

    Raises:
        UndecidedAnswerError: the socket was about to be opened without a decision.
    """
    socket = WatchedSocket(receive, send, state, https=is_https(scope))
    if not state.principal.is_authenticated:
        await app(scope, socket.receive, socket.send)
        return
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as running:
            tasks.start_soon(socket.watch, running)
            try:
                await app(scope, socket.receive, socket.send)
            except Exception as error:
                failure = error  # raised below, outside of the task group, which would wrap it
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
