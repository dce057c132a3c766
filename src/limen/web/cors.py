"""Cross-origin requests: an exact list of origins (Fetch Standard, 3.3; ASVS 5.0, 3.4.2), and WebSocket handshakes.

limen answers every preflight itself. A preflight carries no credentials, so a rule «preflights pass» lets anybody who
writes three headers by hand run the application's OPTIONS handlers without being asked who they are. Two do that:

- `Cors`, outermost, where limen has a list of origins;
- the guard, innermost, which calls `preflight_answer` for what reaches it: nothing of the application runs behind it.

So an application that uses a CORS middleware of its own, and gives limen no origins, keeps it: its middleware stands
between the two and answers its preflights before the guard sees them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core.errors import ConfigurationError
from limen.settings import canonical_origin
from limen.web.fields import values_of
from limen.web.headers import RawHeaders, is_https
from limen.web.problems import Answer, send_answer

_METHODS: Final = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
_EXPOSED: Final = b"www-authenticate, retry-after, ratelimit, ratelimit-policy, location, x-request-id"
_HEADER_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*\Z")
_MOST_HEADER_BYTES: Final = 1024
_PREFLIGHT_VARY: Final = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Which origins may read answers. Make one with `CorsPolicy.of`, which checks them.

    Attributes:
        origins: each as browsers send it.
        credentials: whether their requests may carry cookies.
        max_age: seconds for which a browser may keep the answer to a preflight.
    """

    origins: frozenset[bytes] = frozenset()
    credentials: bool = False
    max_age: int = 600

    @classmethod
    def of(cls, origins: Iterable[str], *, credentials: bool = False, max_age: int = 600) -> Self:
        """Return the policy for a list of exact origins.

        Raises ConfigurationError for ``*``, ``null`` and whatever else is not exactly one origin: there is no way to
        allow all of them, with credentials or without.
        """
        if isinstance(origins, str):
            raise ConfigurationError("cors origins must be a list of origins, not one text")
        exact = set()
        for number, origin in enumerate(origins, start=1):
            try:
                exact.add(canonical_origin(origin).encode("ascii"))
            except ValueError as error:
                raise ConfigurationError(f"cors origin {number} {error}") from None
        return cls(frozenset(exact), credentials, max_age)

    def allows(self, origin: bytes | None) -> bool:
        """Tell whether exactly this origin is on the list."""
        return origin in self.origins


NO_ORIGINS: Final = CorsPolicy()


def preflight_answer(scope: Scope, policy: CorsPolicy = NO_ORIGINS) -> Answer | None:
    """Return the answer to a preflight, or None for every other request.

    A preflight is OPTIONS with Origin and Access-Control-Request-Method (Fetch Standard, section 3.3.2). For a foreign
    origin the answer is the same 204 without any ``Access-Control-`` header; it does not tell which routes exist.
    """
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return None
    origins, methods, names = (
        values_of(scope, name)
        for name in (b"origin", b"access-control-request-method", b"access-control-request-headers")
    )
    if not origins or not methods:
        return None
    headers: RawHeaders = [(b"vary", _PREFLIGHT_VARY), (b"cache-control", b"no-store")]
    if len(origins) == 1 and policy.allows(origins[0]):
        headers += _grant(policy, origins[0])
        headers.append((b"access-control-allow-methods", _METHODS))
        headers.append((b"access-control-max-age", b"%d" % policy.max_age))
        wanted = b", ".join(names)
        if len(wanted) <= _MOST_HEADER_BYTES and _HEADER_NAMES.match(wanted):
            headers.append((b"access-control-allow-headers", wanted))
    return Answer(204, headers, b"")


def origin_allowed(scope: Scope, policy: CorsPolicy = NO_ORIGINS) -> bool:
    """Tell whether a WebSocket handshake comes from a page that may open it (RFC 6455, section 10.2).

    Browsers let every page open a socket to everywhere and send cookies along; the server has to look at Origin.
    Allowed are the listed origins, the same host and port as asked for, and clients that send no Origin: no browser
    omits it, and what is no browser has no visitor to abuse.
    """
    origins = values_of(scope, b"origin")
    if not origins:
        return True
    if len(origins) != 1:
        return False
    return policy.allows(origins[0]) or is_same_origin(scope, origins[0])


def is_same_origin(scope: Scope, origin: bytes) -> bool:
    """Compare the origin with the Host header.

    Behind a proxy that ends TLS the scope says ``ws`` while the page is https, so without TLS the scheme is not
    compared; with TLS a page from plain http is foreign: anybody on the way may have written it.
    """
    hosts = values_of(scope, b"host")
    scheme, found, authority = origin.partition(b"://")
    if len(hosts) != 1 or not found or not authority or scheme not in _DEFAULT_PORTS:
        return False
    if is_https(scope) and scheme != b"https":
        return False
    return authority.lower() == hosts[0].strip().lower().removesuffix(_DEFAULT_PORTS[scheme])


class Cors:
    """Pure ASGI middleware: answers preflights, and lets listed origins read the answers.

    What the application says itself stands: its own ``Access-Control-Allow-Origin`` is neither changed nor doubled.
    """

    def __init__(self, app: ASGIApp, policy: CorsPolicy) -> None:
        self.app = app
        self.policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        preflight = preflight_answer(scope, self.policy)
        if preflight is not None:
            await send_answer(scope, send, preflight)
            return
        if not self.policy.origins:
            await self.app(scope, receive, send)
            return

        async def with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._headers(scope, message.get("headers", ()))}
            await send(message)

        await self.app(scope, receive, with_cors)

    def _headers(self, scope: Scope, given: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        headers = _varying_by_origin(given)
        origins = values_of(scope, b"origin")
        present = {name.lower() for name, _ in headers}
        if len(origins) == 1 and self.policy.allows(origins[0]) and _ALLOW_ORIGIN not in present:
            granted = [*_grant(self.policy, origins[0]), (b"access-control-expose-headers", _EXPOSED)]
            headers += [header for header in granted if header[0] not in present]
        return headers


def _grant(policy: CorsPolicy, origin: bytes) -> RawHeaders:
    """Return what lets this origin read the answer."""
    credentials = [(b"access-control-allow-credentials", b"true")] if policy.credentials else []
    return [(_ALLOW_ORIGIN, origin), *credentials]


def _varying_by_origin(given: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers with Origin in Vary, once.

    Also where the origin is foreign or missing: a cache would hand the answer to a listed one (Fetch Standard, «CORS
    protocol and HTTP caches»).
    """
    headers = list(given)
    places = [place for place, (name, _) in enumerate(headers) if name.lower() == b"vary"]
    fields = {field.strip() for place in places for field in headers[place][1].lower().split(b",")}
    if fields.isdisjoint({b"origin", b"*"}):
        if places:
            name, value = headers[places[0]]
            headers[places[0]] = (name, value + b", Origin")
        else:
            headers.append((b"vary", b"Origin"))
    return headers
