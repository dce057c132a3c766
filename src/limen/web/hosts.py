"""For which hosts an application answers: an exact list, asked before anything else (RFC 9110, section 15.5.20).

Whoever makes a link, a key of a cache or a decision from the Host header believes what the client wrote there; and a
page of a stranger whose name leads to this machine (DNS rebinding) is of the same origin as what it asks.

Only Host is asked. X-Forwarded-Host is read by nobody here: most proxies pass it on as the client wrote it.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import BadRequest, HostNotAllowed, LimenError
from limen.core.networks import canonical_address
from limen.web.origin import new_request_id
from limen.web.problems import send_problem

_HOST: Final = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?))(?::[0-9]{1,5})?\Z"
)
_MOST_REMEMBERED: Final = 1024
HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Where no host is asked: whoever watches over a process comes by its address, and learns nothing but that it lives."""


class AllowedHosts:
    """The hosts that are answered for.

    Args:
        names: host names and addresses in lower case, without a port, IPv6 in its shortest form without brackets;
            ``*.app.example`` stands for every name below ``app.example``, and not for that one.
    """

    def __init__(self, names: Iterable[str]) -> None:
        listed = tuple(names)
        self._exact = frozenset(name for name in listed if not name.startswith("*."))
        self._below = tuple(name[1:] for name in listed if name.startswith("*."))
        self._host_of = lru_cache(_MOST_REMEMBERED)(self._read)

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> LimenError | None:
        """Return why a request with these headers is not answered, or None.

        A port does not count, nor does a dot at the end, which is the same name (RFC 1034, section 3.1). There has to
        be one Host that can be read, whatever the request line says (RFC 9112, section 3.2).
        """
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            return BadRequest("There has to be one Host.")
        allowed = self._host_of(hosts[0])
        if allowed is None:
            return BadRequest("The Host cannot be read.")
        return None if allowed else HostNotAllowed()

    def _read(self, value: bytes) -> bool | None:
        found = _HOST.match(value)
        if found is None:
            return None
        address, name = found.groups()
        if address is not None:
            host = canonical_address(address.decode("ascii"))
        else:
            host = name.decode("ascii").lower().removesuffix(".")
        return None if not host else host in self._exact or (bool(self._below) and host.endswith(self._below))


class HostCheck:
    """Pure ASGI middleware: answers only for the listed hosts, requests and WebSocket handshakes alike.

    Args:
        app: what it stands around.
        hosts: the list.
        own_paths: the paths of limen's own routes there; of those of health no host is asked.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, own_paths: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = hosts
        self.open = HEALTH.intersection(own_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        refused = self.hosts.refusal(scope["headers"])
        if refused is not None and not (scope["type"] == "http" and scope["path"] in self.open):
            await send_problem(scope, send, refused, new_request_id())
            return
        await self.app(scope, receive, send)
