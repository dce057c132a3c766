"""Hands the trail on by syslog: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).

Syslog has no answers. Over TCP and TLS a batch counts as taken once the other end has read all of it and has ended the
connection in its turn; over UDP once it was sent, which is why what is lost on the way is lost.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final
from urllib.parse import urlsplit

from limen.core.errors import ConfigurationError
from limen.features.audit.lines import rfc3339
from limen.features.audit.sinks import Batch, Item, SinkFailed, sink_name

PORTS: Final = {"syslog+udp": 514, "syslog+tcp": 601, "syslog+tls": 6514}
"""The transports, and the port of each where none is named (RFC 5426, RFC 6587's usual one, RFC 5425)."""
SECONDS: Final = 10.0
"""For one batch, connecting included."""
MOST_BYTES_OF_DATAGRAM: Final = 65_000

_LOG_AUDIT: Final = 13 * 8
_INFORMATIONAL: Final = 6
_WARNING: Final = 4
_NIL: Final = "-"


class SyslogSink:
    """Sends each item as one message, the JSON line as its text.

    Args:
        url: ``syslog+udp://host:514``, ``syslog+tcp://host:601`` or ``syslog+tls://host:6514``.
        trust: the certificates that are trusted by TLS; those of the system where it is not given.

    Raises:
        ConfigurationError: no such address.
    """

    def __init__(self, url: str, *, trust: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme not in PORTS or not host or port == 0 or rest:
            raise ConfigurationError("A syslog sink is syslog+tls://host:6514, syslog+tcp://… or syslog+udp://…")
        self.name = sink_name(url)
        self._kind = parts.scheme
        self._host, self._port = host, port or PORTS[parts.scheme]
        self._trust = trust
        self._machine = _printable(socket.gethostname(), 255)

    async def send(self, batch: Batch) -> None:
        """Send the items; return once the other end has read them, or, over UDP, once they were sent."""
        messages = [self.message(item) for item in batch.items]
        try:
            await asyncio.to_thread(self._datagrams if self._kind == "syslog+udp" else self._stream, messages)
        except ssl.SSLCertVerificationError:
            raise SinkFailed("the certificate of the syslog server is not trusted") from None
        except TimeoutError:
            raise SinkFailed(f"the syslog server has not read everything within {SECONDS:g} s") from None
        except OSError as error:
            raise SinkFailed(f"the syslog server cannot be reached ({type(error).__name__})") from None

    def message(self, item: Item) -> bytes:
        """Return one message (RFC 5424, section 6), without what frames it."""
        priority = _LOG_AUDIT + (_WARNING if item.is_failure else _INFORMATIONAL)
        what = _printable(item.event, 32)
        head = f"<{priority}>1 {rfc3339(item.time)} {self._machine} limen {os.getpid()} {what} {_NIL}"
        return f"{head} {item.line}".encode("ascii")

    def _datagrams(self, messages: Sequence[bytes]) -> None:
        family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
        with closing(socket.socket(family, socket.SOCK_DGRAM)) as connection:
            connection.settimeout(SECONDS)
            # A port that nobody listens at is told by the next message, where the machine answers at all.
            connection.connect(address)
            for message in messages:
                # What no datagram can hold would never be sent, nor anything after it: it is cut, which shows.
                connection.send(message[:MOST_BYTES_OF_DATAGRAM])

    def _stream(self, messages: Sequence[bytes]) -> None:
        # Octet counting (RFC 6587, section 3.4.1; RFC 5425, section 4.3): a line's end in a message ends nothing.
        framed = b"".join(b"%d %s" % (len(message), message) for message in messages)
        ends = time.monotonic() + SECONDS
        with closing(self._connected()) as connection:
            connection.settimeout(SECONDS)
            connection.sendall(framed)
            if isinstance(connection, ssl.SSLSocket):
                self._end(connection)
                return
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1024):
                # Whoever answers byte by byte keeps a thread no longer than whoever is silent.
                left = ends - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)

    @staticmethod
    def _end(connection: ssl.SSLSocket) -> None:
        """Say that this is the end, and wait until the other side has said so (RFC 8446, section 6.1)."""
        try:
            connection.unwrap().close()
        except ssl.SSLEOFError:
            # Many servers only end the connection below. What they had not read by then would have reset it.
            return

    def _connected(self) -> socket.socket:
        plain = socket.create_connection((self._host, self._port), timeout=SECONDS)
        if self._kind == "syslog+tcp":
            return plain
        try:
            trust = self._trust or ssl.create_default_context()
            return trust.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise


def _printable(text: str, most: int) -> str:
    """Return visible ASCII, as a header field has to be (RFC 5424, section 6.2)."""
    return "".join(sign if "!" <= sign <= "~" else "_" for sign in text)[:most] or _NIL
