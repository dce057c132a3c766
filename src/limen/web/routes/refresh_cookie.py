"""The refresh token as a cookie, for single-page applications that ask for it at their login.

Where scripts can read a refresh token, a script that got into the page takes it away and goes on elsewhere for months.
As a cookie it stays in the browser. What a cookie is sent along with is not the page's to say, so each use of it has to
show that a page of this origin, or of a listed one, made the request.
"""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.issuing import Issued
from limen.core.errors import CredentialMalformed, CredentialsConflict
from limen.web.body import read_optional_json
from limen.web.cookies import clear_refresh_cookie, read_refresh_cookie, set_refresh_cookie
from limen.web.csrf import CsrfCheck
from limen.web.routes.endpoint import json_answer

_SAFE_IN_PATH = "/:@!$&'()*+,=-._~"


class Tokens(msgspec.Struct):
    """An access and a refresh token (RFC 6749, section 5.1); durations are seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int


class AccessToken(msgspec.Struct):
    """An access token whose refresh token is in the cookie, where no script can read it."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int


class BesideCookie(msgspec.Struct, forbid_unknown_fields=True):
    """A body beside a refresh cookie; where it names a token as well, it must be the same one."""

    refresh_token: str | None = None


@dataclass(frozen=True, slots=True)
class RefreshCookies:
    """What limen's routes need for refresh tokens by cookie.

    Attributes:
        csrf: decides whose page asks.
        https_only: see `limen.authn.cookie.cookie_name`.
        prefix: of limen's routes; the cookie is sent to what is below it.
        public_url: where others reach the application: its path stands before the prefix.
    """

    csrf: CsrfCheck
    https_only: bool
    prefix: str
    public_url: str | None = None

    def require_own_page(self, request: Request) -> None:
        """Refuse what does not show that a page of this origin, or of a listed one, made it.

        Raises:
            CsrfFailed: it does not.
        """
        fault = self.csrf.origin_fault(request.scope)
        if fault is not None:
            raise fault

    async def presented(self, request: Request) -> str | None:
        """Return the refresh token of the cookie; None where there is none, and then nothing of the body was read.

        Raises:
            CredentialMalformed: the cookie is there twice.
            CsrfFailed: a foreign page made the request.
            CredentialsConflict: the body has another token.
            InvalidInput, …: as `limen.web.body.read_optional_json`.
        """
        found = read_refresh_cookie(request.scope, https_only=self.https_only)
        if found is None:
            return None
        if isinstance(found, CredentialMalformed):
            raise found
        self.require_own_page(request)
        body = await read_optional_json(request.scope, request.receive, BesideCookie)
        if body is not None and body.refresh_token not in (None, found):
            raise CredentialsConflict("The refresh token of the body is not the one of the cookie.")
        return found

    def replaced(self, request: Request) -> str | None:
        """Return the refresh token that the browser had until now, whose session a login is to end; None for none."""
        found = read_refresh_cookie(request.scope, https_only=self.https_only)
        return found if isinstance(found, str) else None

    def answer(self, request: Request, issued: Issued) -> Response:
        """Answer tokens, the refresh token as a cookie and not in the body."""
        body = AccessToken(issued.access_token, "Bearer", issued.expires_in, issued.refresh_expires_in)
        response = json_answer(body)
        set_refresh_cookie(
            response,
            request.scope,
            issued.refresh_token,
            max_age=issued.refresh_expires_in,
            path=self._path(request),
            https_only=self.https_only,
        )
        return response

    def clear(self, request: Request, response: Response) -> Response:
        """Have the browser forget its refresh token where the request came with one."""
        if read_refresh_cookie(request.scope, https_only=self.https_only) is not None:
            clear_refresh_cookie(response, request.scope, path=self._path(request), https_only=self.https_only)
        return response

    def _path(self, request: Request) -> str:
        # As the browser sees it: a path of ASGI is decoded, and a semicolon would end the attribute and begin another.
        below_root = quote(str(request.scope.get("root_path", "")).rstrip("/"), safe=_SAFE_IN_PATH)
        base = quote(urlsplit(self.public_url or "").path, safe=_SAFE_IN_PATH + "%") or below_root
        return base + quote(self.prefix, safe=_SAFE_IN_PATH) or "/"


def tokens_answer(issued: Issued) -> Response:
    """Answer freshly issued tokens, both in the body."""
    return json_answer(
        Tokens(issued.access_token, issued.refresh_token, "Bearer", issued.expires_in, issued.refresh_expires_in)
    )
