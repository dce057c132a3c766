"""Security headers (OWASP ASVS 5.0, 3.4): set where the application has not set its own, which always stands.

Two sets. An application's answers get what breaks no page of its own (`AnswerHeaders`). limen's pages and JSON get the
strict one: `OWN_JSON_HEADERS`, `OWN_PAGE_HEADERS`. On an application's pages that one would stop scripts, frames and
popups that the application wants. `docs/guides/browser.md` tells what each header is for, and what is left out.
"""

from typing import Final, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.authn.cookie import SCHEME_KEY, SECURE_SCHEMES

RawHeaders = list[tuple[bytes, bytes]]
FixedHeaders = tuple[tuple[bytes, bytes], ...]
OpenerPolicy = Literal["unsafe-none", "same-origin-allow-popups", "same-origin"]
ResourcePolicy = Literal["cross-origin", "same-site", "same-origin"]

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_FRAMES: Final = (b"x-frame-options", b"DENY")
# The browsers' default, made certain. Not no-referrer: under it browsers send «Origin: null» with a form of the same
# site, and a check of the origin would refuse the application's own pages.
_REFERRER: Final = (b"referrer-policy", b"strict-origin-when-cross-origin")
# What the page itself may use stays as it is. What no foreign frame has to be given, none is given: whoever injects one
# could delegate to it. Camera, microphone, place and payment are not named: embedded meetings, maps and checkouts live
# on their being delegated.
_FEATURES: Final = (b"permissions-policy", b"hid=(self), midi=(self), serial=(self), usb=(self)")
# One year (ASVS 3.4.1). Without includeSubDomains: the domains below may belong to somebody who has no https.
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_DEVICES: Final = b"camera display-capture geolocation hid microphone midi payment serial usb"
_OPENER: Final = b"cross-origin-opener-policy"
_RESOURCE: Final = b"cross-origin-resource-policy"

_STRICT: Final = (
    _NOSNIFF,
    _FRAMES,
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (_RESOURCE, b"same-origin"),
)

OWN_JSON_HEADERS: Final = (
    *_STRICT,
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
)
"""What limen's own JSON answers carry: nothing in them is to be run, framed, embedded, or kept by a cache."""

OWN_PAGE_HEADERS: Final = (
    *_STRICT,
    (_OPENER, b"same-origin"),
    (
        b"permissions-policy",
        b", ".join(feature + b"=()" for feature in _DEVICES.split()),
    ),
)
"""What limen's own pages carry beside a Content-Security-Policy, which each page has of its own.

No page of another origin that opened one of them, or was opened by it, keeps a hold on its window (ASVS 3.4.8)."""

_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


class AnswerHeaders:
    """The security headers of an application's answers.

    Args:
        opener: Cross-Origin-Opener-Policy; ``unsafe-none`` is the browsers' default, and is not sent. Anything else
            takes from a page that comes back from a provider, in a popup, the window that opened it.
        resource: Cross-Origin-Resource-Policy of answers that not everybody may have; ``cross-origin`` is not sent.
            What is declared public never gets one: other sites may embed it, and what a cache keeps of it, is the same
            for everybody.

    Attributes:
        sets: by whether a requirement was decided, unlike for what is declared public and for what nobody decided, such
            as a router's 404; then by whether the request came over TLS.
    """

    __slots__ = ("_names", "sets")

    def __init__(self, opener: OpenerPolicy = "unsafe-none", resource: ResourcePolicy = "same-site") -> None:
        opened = () if opener == "unsafe-none" else ((_OPENER, opener.encode("ascii")),)
        kept = () if resource == "cross-origin" else ((_RESOURCE, resource.encode("ascii")),)
        plain: FixedHeaders = (_NOSNIFF, _FRAMES, _REFERRER, _FEATURES, *opened)
        private: FixedHeaders = (*plain, *kept)
        self.sets = (plain, (*plain, _HSTS)), (private, (*private, _HSTS))
        self._names = frozenset(name for name, _ in self.sets[True][True])

    def add(self, headers: RawHeaders, https: bool, kept: bool = False) -> None:
        """Append to the headers of an answer those security headers that it does not have yet.

        Args:
            headers: names and values as ASGI has them; names are compared without regard to case.
            https: whether the request came over TLS; Strict-Transport-Security is sent only then (RFC 6797, section
                7.2).
            kept: whether not everybody may have the answer.
        """
        wanted = self.sets[kept][https]
        present = {name.lower() for name, _ in headers}
        if self._names.isdisjoint(present):  # nearly every answer: a third of the time of asking for each one
            headers += wanted
        else:
            headers += [header for header in wanted if header[0] not in present]


USUAL: Final = AnswerHeaders()


def is_https(scope: Scope) -> bool:
    """Tell whether the client's request came over TLS: as the server sees it, or as a trusted proxy told the guard."""
    return (scope.get(SCHEME_KEY) or scope.get("scheme")) in SECURE_SCHEMES


class SecurityHeaders:
    """Pure ASGI middleware that puts `AnswerHeaders` on every answer, refused WebSocket handshakes included.

    The list of headers and the message that the application hands over are not changed: it may use them again.
    """

    def __init__(self, app: ASGIApp, headers: AnswerHeaders = USUAL) -> None:
        self.app = app
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        https = is_https(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                headers = list(message.get("headers", ()))
                self.headers.add(headers, https)
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, with_headers)
