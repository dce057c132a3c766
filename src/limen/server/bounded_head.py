"""uvicorn's fast HTTP protocol, with a bound on the head of a request, which it does not have."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024


class BoundedHeadProtocol(HttpToolsProtocol):
    """Answers 400 to a request whose head does not end within 64 KiB and one read of the socket.

    The parser underneath collects a head of any length: a few connections that never end theirs would fill the memory.
    """

    _in_head = False
    _began_just_now = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what arrived; count it where the head has not ended with it."""
        self._began_just_now = False
        super().data_received(data)
        if not self._in_head or self._began_just_now:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin to count: what else came in this read may belong to the request before."""
        self._in_head, self._began_just_now, self._head_bytes = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End counting."""
        self._in_head = False
        super().on_headers_complete()
