"""uvicorn's HTTP protocol in pure Python, with a deadline for the head of a request; its length it bounds by itself."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from limen.server.head_deadline import HeadDeadline, HeadLimits, Heads
from limen.server.tls import TellsOfTls


class TimedHeadProtocol(TellsOfTls, H11Protocol):
    """Closes a connection whose head is late."""

    heads = Heads(HeadLimits())
    _deadline: HeadDeadline | None = None

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

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket protocol, which has timeouts of its own."""
        if self._deadline is not None:
            self._deadline.end()
            self._deadline = None
        super().handle_websocket_upgrade(event)

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request of which nothing has come yet."""
        cycle: RequestResponseCycle | None = self.cycle
        answered = cycle is None or cycle.response_complete
        return answered and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def close_when_answered(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Close the connection after the request under way."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None:
            cycle.default_headers = headers
            cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and go by whether a head is awaited after it."""
        super().data_received(data)
        if self._deadline is not None:
            self._deadline.follow(self.loop, self.cycle)


def plain_protocol(limits: HeadLimits) -> type[asyncio.Protocol]:
    """Make the protocol for one server, which counts by itself."""

    class Limited(TimedHeadProtocol):
        heads = Heads(limits)

    return Limited
