"""Ports for servers that tests start: chosen by the test, since the server has to be told, and bound a while later."""

import os
import socket
from itertools import count
from typing import Final

_FIRST: Final = 30_000
_END: Final = 32_700
"""Below what systems give to outgoing connections, of which a suite makes thousands: one of them takes any port."""
_SHARE: Final = 300
"""Ports for each worker of a run; nine workers, and then two have the same."""
_next = count(os.getpid())


def free_port() -> int:
    """Return a port of the loopback address that is free, and that no other test of this run is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw8").removeprefix("gw")) % ((_END - _FIRST) // _SHARE)
    for _ in range(_SHARE):
        port = _FIRST + worker * _SHARE + next(_next) % _SHARE
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
