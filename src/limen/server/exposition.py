"""``GET /metrics``: the numbers of one process or of several, in the text format of Prometheus, on a port of its own.

On a port of its own, because who may read them is the operator's matter and no principal's, and because they must be
readable when everything else is too busy to answer.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from limen.core import metrics
from limen.core.errors import ConfigurationError
from limen.core.metrics import Family
from limen.server.addresses import bind
from limen.settings import Settings

MOST_READERS = 16
MOST_HEAD_BYTES = 8 * 1024
ANSWER_SECONDS = 5.0

Read = Callable[[], Awaitable["Numbers"]]

Numbers = tuple[Sequence[Family], Mapping[str, Sequence[Family]]]
"""What belongs to the whole, and what to each worker by its number."""


def bind_metrics(settings: Settings) -> socket.socket | None:
    """Take the port of the metrics, or return None where they are off.

    Raises:
        ConfigurationError: what writes the format is not installed, or the address is none of this machine.
        Unavailable: somebody else has the port.
    """
    if not settings.metrics_port:
        return None
    if find_spec("prometheus_client") is None:
        raise ConfigurationError(
            'LIMEN_METRICS_PORT is set, and prometheus-client is not installed; run: pip install "limen[server]"'
        )
    return bind(
        settings.metrics_host,
        settings.metrics_port,
        host_from="LIMEN_METRICS_HOST",
        port_from="LIMEN_METRICS_PORT",
        inheritable=False,
    )


async def of_this_process() -> Numbers:
    """Return the numbers of a server that is one process."""
    return (), {"0": metrics.families()}


class MetricsServer:
    """Answers ``GET /metrics`` on a socket, and nothing else.

    Args:
        listener: a bound socket.
        read: returns the numbers of now.
    """

    def __init__(self, listener: socket.socket, read: Read) -> None:
        self._listener = listener
        self._read = read
        self._readers = 0

    async def serve(self) -> None:
        """Answer until cancelled."""
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=MOST_HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers += 1
        try:
            if self._readers <= MOST_READERS:
                # Late, too long or cut off in the middle: whoever sends such a thing gets no answer.
                with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                        await writer.drain()
        finally:
            self._readers -= 1
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response("404 Not Found", b"Only /metrics is here.\n")
        if method not in {b"GET", b"HEAD"}:
            return _response("405 Method Not Allowed", b"Only GET is known here.\n", "Allow: GET, HEAD\r\n")
        whole, workers = await self._read()
        content = text(whole, workers)
        answer = _response("200 OK", content, media_type=_media_type())
        return answer.removesuffix(content) if method == b"HEAD" else answer


def _response(status: str, content: bytes, more: str = "", *, media_type: str = "text/plain; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n{more}"
    return f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode("ascii") + content


def _media_type() -> str:
    from prometheus_client import CONTENT_TYPE_LATEST

    return CONTENT_TYPE_LATEST


def text(whole: Sequence[Family], workers: Mapping[str, Sequence[Family]]) -> bytes:
    """Write numbers in the text format of Prometheus; those of workers get a label that tells which one.

    Nothing is added up: a worker that was replaced begins at 0 again, which Prometheus understands of one series, and
    would misread in a sum.
    """
    from prometheus_client import generate_latest

    class Collector:
        def collect(self) -> Iterator[Any]:
            yield from _collected(whole, workers)

    return generate_latest(Collector())


def _collected(whole: Sequence[Family], workers: Mapping[str, Sequence[Family]]) -> Iterator[Any]:
    for family in whole:
        yield _filled(_made(family, family.labels), family, ())
    found: dict[str, Any] = {}
    for number, families in workers.items():
        for family in families:
            made = found.setdefault(family.name, _made(family, ("worker", *family.labels)))
            _filled(made, family, (number,))
    yield from found.values()


def _made(family: Family, labels: Sequence[str]) -> Any:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    kinds: dict[str, Any] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    return kinds[family.kind](family.name, family.text, labels=list(labels))


def _filled(made: Any, family: Family, first: tuple[str, ...]) -> Any:
    for labels, value in family.samples:
        if isinstance(value, Sequence):
            total, *counts = value
            ends = [*(repr(float(bound)) for bound in family.bounds), "+Inf"]
            upto = 0.0
            buckets = []
            for end, count in zip(ends, counts, strict=True):
                upto += count
                buckets.append((end, upto))
            made.add_metric([*first, *labels], buckets, sum_value=total)
        else:
            made.add_metric([*first, *labels], value)
    return made
