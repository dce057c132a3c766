"""uvicorn's fast HTTP protocol, with the bounds on the head of a request that it does not have."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from limen.server.bounds import MOST_HEAD_BYTES
from limen.server.head_deadline import HeadDeadline, HeadLimits, Heads
from limen.server.tls import TellsOfTls


class BoundedHeadProtocol(TellsOfTls, HttpToolsProtocol):
    """Answers 400 to a head that does not end within 64 KiB and one read of the socket; closes where it is late.

    The parser underneath collects a head of any length: a few connections that never end theirs would fill the memory.
    The same holds for the trailers of a body in chunks. They are read and forgotten (RFC 9110, section 6.5.1): the
    protocol underneath puts them among the header fields, where a proxy that lets them through has checked nothing.
    """

    heads = Heads(HeadLimits())
    _deadline: HeadDeadline | None = None
    _in_head = False
    _began_just_now = False
    _head_bytes = 0
    _had_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Await the first head."""
        super().connection_made(transport)
        self._deadline = HeadDeadline(self.heads, transport, self.client)
        self._deadline.follow(self.loop, self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing any more."""
        if self._deadline is not None:
            self._deadline.end()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol, which has timeouts of its own."""
        if self._deadline is not None:
            self._deadline.end()
            self._deadline = None
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take what arrived; count it where the head has not ended with it."""
        self._began_just_now = self._had_body = False
        super().data_received(data)
        if self._deadline is not None:
            # Whatever it was, a blank line or the rest of a refused body: uvicorn has stopped its own clock for it.
            self._deadline.follow(self.loop, self.cycle)
        if self._began_just_now or self._had_body or not (self._in_head or self._is_in_message):
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            if self._in_head or not self.cycle.response_started:
                self.send_400_response("The head of the request is too large.")
            else:
                self.transport.close()

    @property
    def _is_in_message(self) -> bool:
        """Whether more of a body is awaited, or its trailers."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.more_body

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request of which nothing has come yet."""
        cycle: RequestResponseCycle | None = self.cycle
        return not self._in_head and (cycle is None or cycle.response_complete)

    def close_when_answered(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Close the connection after the request under way; of several that were sent at once, after the last."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cycle.default_headers = headers
            cycle.keep_alive = False

    def on_message_begin(self) -> None:
        """Begin to count: what else came in this read may belong to the request before."""
        self._in_head, self._began_just_now, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; one of the trailers is forgotten."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End counting; what of the body has no content, and its trailers, are counted anew."""
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._had_body, self._head_bytes = True, 0
        super().on_body(body)


def fast_protocol(limits: HeadLimits) -> type[asyncio.Protocol]:
    """Make the protocol for one server, which counts by itself."""

    class Limited(BoundedHeadProtocol):
        heads = Heads(limits)

    return Limited
