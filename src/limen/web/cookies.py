"""The session cookie in an answer (RFC 6265bis, section 4.1; OWASP ASVS 5.0, 3.3)."""

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from limen.authn.cookie import HOST_NAME, CookieSession, IssuedCookie, cookie_name
from limen.web.guard.state import state_of

CLEAR_SITE_DATA: Final = '"cache"'
"""Not ``"cookies"``: that takes every cookie of the registrable domain, other applications' too."""


def set_cookie(response: Response, scope: Scope, cookie: IssuedCookie, *, https_only: bool) -> None:
    """Put the session cookie into an answer: never readable by scripts, never sent along by foreign pages' forms."""
    age = "" if cookie.max_age is None else f"; Max-Age={max(0, cookie.max_age)}"
    _append(response, scope, f"{cookie.value}{age}", https_only=https_only)


def clear_cookie(response: Response, scope: Scope, *, https_only: bool) -> None:
    """Have the browser forget the session cookie, and what it has cached of this site."""
    _append(response, scope, "; Max-Age=0", https_only=https_only)
    response.headers["Clear-Site-Data"] = CLEAR_SITE_DATA


def _append(response: Response, scope: Scope, value: str, *, https_only: bool) -> None:
    name = cookie_name(scope, https_only=https_only)
    secure = "; Secure" if name == HOST_NAME else ""
    response.headers.append("Set-Cookie", f"{name.decode('ascii')}={value}; Path=/{secure}; HttpOnly; SameSite=Lax")


def cookie_session_of(scope: Scope) -> CookieSession | None:
    """Return the session whose cookie was accepted as the request's credential; None where it came with another."""
    credential = state_of(scope).credential
    return credential if isinstance(credential, CookieSession) else None
