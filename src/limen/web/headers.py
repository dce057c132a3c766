"""Security headers (OWASP ASVS 5.0, 3.4): set where the application has not set its own, which always stands.

Two sets. Every answer gets what breaks no page. limen's own JSON answers get a Content-Security-Policy on top, and take
it from `OWN_JSON_HEADERS`: on an application's pages it would stop their scripts (`/docs` loads some from elsewhere).
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.authn.cookie import SCHEME_KEY, SECURE_SCHEMES

RawHeaders = list[tuple[bytes, bytes]]

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_FRAMES: Final = (b"x-frame-options", b"DENY")
# The browsers' default, made certain. Not no-referrer: under it browsers send «Origin: null» with a form of the same
# site, and a check of the origin would refuse the application's own pages.
_REFERRER: Final = (b"referrer-policy", b"strict-origin-when-cross-origin")
# One year (ASVS 3.4.1). Without includeSubDomains: the domains below may belong to somebody who has no https.
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")

ON_HTTP: Final = (_NOSNIFF, _FRAMES, _REFERRER)
ON_HTTPS: Final = (*ON_HTTP, _HSTS)
_NAMES: Final = frozenset(name for name, _ in ON_HTTPS)

OWN_JSON_HEADERS: Final = (
    _NOSNIFF,
    _FRAMES,
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""What limen's own JSON answers carry: nothing in them is to be run, framed, or kept by a cache."""

_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


def is_https(scope: Scope) -> bool:
    """Tell whether the client's request came over TLS: as the server sees it, or as a trusted proxy told the guard."""
    return (scope.get(SCHEME_KEY) or scope.get("scheme")) in SECURE_SCHEMES


def add_security_headers(headers: RawHeaders, https: bool) -> None:
    """Append to the headers of an answer those security headers that it does not have yet.

    Args:
        headers: names and values as ASGI has them; names are compared without regard to case.
        https: whether the request came over TLS; Strict-Transport-Security is sent only then (RFC 6797, section 7.2).
    """
    wanted = ON_HTTPS if https else ON_HTTP
    present = {name.lower() for name, _ in headers}
    if _NAMES.isdisjoint(present):  # nearly every answer: a third of the time of asking for each one
        headers += wanted
    else:
        headers += [header for header in wanted if header[0] not in present]


class SecurityHeaders:
    """Pure ASGI middleware that puts `add_security_headers` on every answer, refused WebSocket handshakes included.

    The list of headers and the message that the application hands over are not changed: it may use them again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        https = is_https(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = list(message.get("headers", ()))
                add_security_headers(headers, https)
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, with_headers)
