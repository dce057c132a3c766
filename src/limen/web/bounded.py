"""Bodies of an application's own routes, bounded in bytes and in time where the operator says so.

limen's own routes have bounds of their own (`limen.web.body`). What an application reads, and for how long it waits, is
otherwise up to it: nobody can know here how large its uploads are.
"""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core.errors import BadRequest, BodyTooLarge, LimenError
from limen.web.origin import new_request_id
from limen.web.problems import send_problem


class BoundedBodies:
    """Pure ASGI middleware that answers 413 to what is larger, and 400 to what is later, than was said.

    What is announced as larger is refused before anything runs. Of a body in chunks no more than the bound and one
    message of the server's is handed on; the application then gets an error from where it reads, and whatever it makes
    of that, the answer is the refusal. An answer that has begun by then is broken off.

    Args:
        app: what it stands around.
        limit: the most bytes of a body; None for any number.
        seconds: how long a whole body may take, from where the application begins to read; None for any time.
    """

    def __init__(self, app: ASGIApp, limit: int | None, seconds: float | None) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self.limit is not None and _announced(scope) > self.limit:
            await _refuse(BodyTooLarge(), scope, send)
            return
        body = _Body(receive, send, self.limit, self.seconds)
        try:
            await self.app(scope, body.receive, body.send)
        except Exception:
            if body.fault is None or body.answered:
                raise
        if body.fault is not None and not body.answered:
            await _refuse(body.fault, scope, send)


class _Body:
    """The body of one request, on its way to the application.

    Attributes:
        fault: why it is read no further.
        answered: the answer has begun.
    """

    def __init__(self, receive: Receive, send: Send, limit: int | None, seconds: float | None) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._seconds = seconds
        self._deadline: float | None = None
        self._size = 0
        self._is_whole = False
        self.fault: LimenError | None = None
        self.answered = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            BodyTooLarge: there are more bytes than the limit.
            BadRequest: they did not arrive in time.
        """
        if self.fault is not None:
            raise self.fault
        if self._is_whole:
            # What comes now is that the client has gone, which may take as long as it likes.
            return await self._receive()
        message = await self._in_time()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            if self._limit is not None and self._size > self._limit:
                self.fault = BodyTooLarge()
                raise self.fault
            self._is_whole = not message.get("more_body", False)
        return message

    async def _in_time(self) -> Message:
        if self._seconds is None:
            return await self._receive()
        if self._deadline is None:
            self._deadline = anyio.current_time() + self._seconds
        with anyio.CancelScope(deadline=self._deadline):
            return await self._receive()
        self.fault = BadRequest("The body did not arrive in time.")
        raise self.fault

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, unless the answer is another one by now."""
        if self.fault is not None and not self.answered:
            return
        self.answered = True
        await self._send(message)


def _announced(scope: Scope) -> int:
    """Return how many bytes are announced; 0 where nothing is, or what is no number, which servers refuse."""
    values = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(values[0][:20]) if len(values) == 1 and values[0].isdigit() else 0


async def _refuse(error: LimenError, scope: Scope, send: Send) -> None:
    # Nobody reads the rest of the body, which would otherwise be taken for the next request.
    close = [(b"connection", b"close")] if str(scope.get("http_version", "")).startswith("1") else []
    await send_problem(scope, send, error, new_request_id(), headers=close)
