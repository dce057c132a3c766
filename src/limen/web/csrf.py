"""Forged requests from other pages (OWASP ASVS 5.0, 3.5.1; Fetch Metadata, section 2): asked of cookies alone.

A browser sends a cookie with whatever request a page makes it send. So a request that changes something has to show
that a page of this very origin made it, and that the page knows the session's anti-forgery token. A request whose
credential is an ``Authorization`` header is never asked: no browser sends one of its own accord.
"""

from collections.abc import Iterable, Mapping
from hmac import compare_digest, digest
from typing import Any, Final, cast

from starlette.types import Scope

from limen.authn.cookie import LOOPBACK_NAME, SAFE_METHODS, CookieSession, PresentedCookie, cookie_name
from limen.core.errors import CsrfFailed
from limen.crypto.encoding import b64url_encode
from limen.crypto.keys import hkdf_sha256
from limen.web.cors import CorsPolicy, is_same_origin
from limen.web.fields import values_of

TOKEN_HEADER: Final = "X-CSRF-Token"

_HEADER: Final = TOKEN_HEADER.lower().encode("ascii")
_KEY_INFO: Final = b"limen/csrf/1"
_LABEL: Final = b"limen/csrf/token/1\0"
_FOREIGN: Final = "A page of another origin made this request."
_UNPROVED: Final = "Neither Sec-Fetch-Site nor Origin says which page made this request."
_TOKEN: Final = "The anti-forgery token is missing, or is not this session's: GET /auth/session tells it."
_REWRITTEN: Final = (
    "The page came over https and the request over plain http at a loopback address: set LIMEN_PUBLIC_URL, or have the "
    "proxy pass the Host header on."
)


class CsrfTokens:
    """Makes and checks anti-forgery tokens: an HMAC over the session's id and the hash of its cookie.

    Args:
        secrets: the first makes tokens, every one of them checks. The key is derived for this purpose alone.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [hkdf_sha256(secret.encode(), _KEY_INFO) for secret in secrets]

    def token_of(self, cookie: PresentedCookie) -> str:
        """Return the token of a session cookie: 43 characters. Another cookie, renewed ones too, has another one."""
        return _token(self._keys[0], cookie).decode("ascii")

    def fits(self, given: bytes, cookie: PresentedCookie) -> bool:
        """Tell whether a token is this cookie's, in a time that does not depend on how much of it is right."""
        found = [compare_digest(given, _token(key, cookie)) for key in self._keys]
        return any(found)


def _token(key: bytes, cookie: PresentedCookie) -> bytes:
    return b64url_encode(digest(key, _LABEL + cookie.sid.encode("ascii") + cookie.token_hash, "sha256"))


class CsrfCheck:
    """Decides whether a request may use the session cookie that came with it.

    Args:
        tokens: the sessions' tokens.
        policy: further origins whose pages may call, each exactly.
        public_origin: the origin of LIMEN_PUBLIC_URL, where the Host header is not what the browser sees.
        https_only: see `limen.authn.cookie.cookie_name`.
    """

    def __init__(
        self, tokens: CsrfTokens, policy: CorsPolicy, *, public_origin: bytes | None = None, https_only: bool = False
    ) -> None:
        self.tokens = tokens
        self._policy = policy
        self._public_origin = public_origin
        self._https_only = https_only

    def fault(self, scope: Mapping[str, Any], session: CookieSession) -> CsrfFailed | None:
        """Return why a request may not use its cookie; None where it may.

        A WebSocket handshake is asked for its Origin: a page cannot add headers to it, and a foreign one would read
        what the socket sends. Everything else is asked, unless its method changes nothing, for origin and token.
        """
        if scope["type"] == "websocket":
            return self.origin_fault(scope)
        if scope["method"] in SAFE_METHODS:
            return None
        fault = self.origin_fault(scope)
        if fault is not None:
            return fault
        given = values_of(scope, _HEADER)
        cookie = PresentedCookie(session.principal.sid or "", session.token_hash)
        return None if len(given) == 1 and self.tokens.fits(given[0], cookie) else CsrfFailed(_TOKEN)

    def origin_fault(self, scope: Mapping[str, Any]) -> CsrfFailed | None:
        """Return why a request does not show that a page of this origin, or of a listed one, made it.

        ``Sec-Fetch-Site`` decides where it is sent; ``same-site`` is a foreign page (of a sub-domain, or a
        neighbour's), ``none`` nobody's. What the list of origins allows is allowed in any case: no page can write
        ``Origin`` itself.
        """
        sites, origins = values_of(scope, b"sec-fetch-site"), values_of(scope, b"origin")
        if not sites and not origins:
            return CsrfFailed(_UNPROVED)
        if len(sites) > 1 or len(origins) > 1:
            return CsrfFailed(_FOREIGN)
        if origins and self._policy.allows(origins[0]):
            return None
        if not (sites[0] == b"same-origin" if sites else self._is_own(scope, origins[0])):
            return CsrfFailed(_FOREIGN)
        is_plain = cookie_name(scope, https_only=self._https_only) == LOOPBACK_NAME
        return CsrfFailed(_REWRITTEN) if is_plain and origins and origins[0].startswith(b"https:") else None

    def _is_own(self, scope: Mapping[str, Any], origin: bytes) -> bool:
        return origin == self._public_origin or is_same_origin(cast("Scope", scope), origin)

    def reading_fault(self, scope: Mapping[str, Any]) -> CsrfFailed | None:
        """Return why a page may not be told the token: it says itself that it is a foreign one."""
        if values_of(scope, b"sec-fetch-site") or values_of(scope, b"origin"):
            sites = values_of(scope, b"sec-fetch-site")
            # Typed into the address bar: nobody's page reads it.
            return None if sites == [b"none"] else self.origin_fault(scope)
        return None
