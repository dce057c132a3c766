"""Cookies in an answer (RFC 6265bis, section 4.1; OWASP ASVS 5.0, 3.3): the session's, and the refresh token's."""

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from limen.authn.cookie import HOST_NAME, CookieSession, IssuedCookie, cookie_header, cookie_name, values_named
from limen.core.errors import CredentialMalformed
from limen.web.guard.state import state_of

CLEAR_SITE_DATA: Final = '"cache"'
"""Not ``"cookies"``: that takes every cookie of the registrable domain, other applications' too."""
REFRESH_NAME: Final = b"__Secure-limen-refresh"
"""Not ``__Host-``, which goes with the path ``/`` only: this one is sent to limen's own routes and to no others."""
LOOPBACK_REFRESH_NAME: Final = b"limen-refresh"
"""The name on plain http at a loopback address, where browsers refuse the prefix."""


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


def read_refresh_cookie(scope: Scope, *, https_only: bool) -> str | CredentialMalformed | None:
    """Read the refresh token that came as a cookie; None for none. Nothing is known of it yet.

    The cookie must be there once: a sub-domain can set one of the same name beside it (RFC 6265bis, section 8.6), and
    which of two counts would depend on who reads.
    """
    given = cookie_header(scope)
    if given is None or isinstance(given, CredentialMalformed):
        return given
    values = values_named(given, _refresh_name(scope, https_only=https_only))
    if len(values) > 1 or not all(value.isascii() for value in values):
        return CredentialMalformed("There must be one refresh cookie, and it must be one of ours.")
    return values[0].decode("ascii") if values else None


def set_refresh_cookie(
    response: Response, scope: Scope, token: str, *, max_age: int, path: str, https_only: bool
) -> None:
    """Put the refresh token into an answer as a cookie: for limen's own routes below ``path``, and for no script."""
    _append_refresh(response, scope, f"{token}; Max-Age={max(0, max_age)}", path, https_only=https_only)


def clear_refresh_cookie(response: Response, scope: Scope, *, path: str, https_only: bool) -> None:
    """Have the browser forget the refresh token, and what it has cached of this site."""
    _append_refresh(response, scope, "; Max-Age=0", path, https_only=https_only)
    response.headers["Clear-Site-Data"] = CLEAR_SITE_DATA


def _append_refresh(response: Response, scope: Scope, value: str, path: str, *, https_only: bool) -> None:
    name = _refresh_name(scope, https_only=https_only)
    secure = "; Secure" if name == REFRESH_NAME else ""
    # Strict: nothing but limen's own pages' scripts sends it, so no link from elsewhere has to work with it.
    whole = f"{name.decode('ascii')}={value}; Path={path}{secure}; HttpOnly; SameSite=Strict"
    response.headers.append("Set-Cookie", whole)


def _refresh_name(scope: Scope, *, https_only: bool) -> bytes:
    return REFRESH_NAME if cookie_name(scope, https_only=https_only) == HOST_NAME else LOOPBACK_REFRESH_NAME


def cookie_session_of(scope: Scope) -> CookieSession | None:
    """Return the session whose cookie was accepted as the request's credential; None where it came with another."""
    credential = state_of(scope).credential
    return credential if isinstance(credential, CookieSession) else None
