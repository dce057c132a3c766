"""``/auth/session``: the session of a browser, begun, looked at and ended."""

from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.cookie import CookieSession, IssuedCookie, PresentedCookie, read_cookie
from limen.core.errors import CredentialMissing, SessionEnded
from limen.features.login.cookies import CookieLogin
from limen.web.body import read_json
from limen.web.cookies import clear_cookie, cookie_session_of, set_cookie
from limen.web.csrf import TOKEN_HEADER, CsrfCheck
from limen.web.devices import DeviceCookies
from limen.web.disconnect import while_connected
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of
from limen.web.routes.lists import rfc3339
from limen.web.routes.schema import (
    BODY_PROBLEMS,
    COOKIE,
    Paths,
    object_of,
    operation,
    parameter,
    text,
)
from limen.web.starlette import public


class SessionCredentials(msgspec.Struct, forbid_unknown_fields=True):
    """What the login of a browser says; ``new_password`` takes the place of a temporary password."""

    username: str
    password: str
    remember: bool = False
    new_password: str | None = None


class BrowserSession(msgspec.Struct):
    """What a page is told of its session: the anti-forgery token, and the absolute end as RFC 3339 in UTC."""

    csrf_token: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Cookies:
    """What limen's routes need for sessions by cookie.

    Attributes:
        login: the use cases.
        csrf: decides what a page may do with its cookie.
        https_only: see `limen.authn.cookie.cookie_name`.
        devices: the cookies of devices that are known.
    """

    login: CookieLogin
    csrf: CsrfCheck
    https_only: bool
    devices: DeviceCookies

    async def renew(self, request: Request, response: Response) -> Response:
        """Give the session another id where the request came with a cookie: its holder has just proved who they are."""
        session = cookie_session_of(request.scope)
        if session is not None:
            issued = await self.login.renew(session, origin=origin_of(request))
            set_cookie(response, request.scope, issued, https_only=self.https_only)
            response.headers[TOKEN_HEADER] = self.csrf.tokens.token_of(issued.presented)
        return response

    def clear(self, request: Request, response: Response) -> Response:
        """Have the browser forget its cookie where the request came with one."""
        if read_cookie(request.scope, https_only=self.https_only) is not None:
            clear_cookie(response, request.scope, https_only=self.https_only)
        return response

    def told(self, presented: PresentedCookie, ends_at: int) -> BrowserSession:
        """Return what a page is told of its session."""
        return BrowserSession(self.csrf.tokens.token_of(presented), rfc3339(ends_at * 1000))


def cookie_routes(cookies: Cookies, *, prefix: str) -> Routes:
    """Make the endpoints of sessions by cookie under ``prefix``."""

    @public
    @endpoint
    async def open_session(request: Request) -> Response:
        """Exchange a username and a password for a session cookie."""
        # Also without a session: a page that logs its visitor in to the attacker's account reads what they then write.
        fault = cookies.csrf.origin_fault(request.scope)
        if fault is not None:
            raise fault
        body = await read_json(request.scope, request.receive, SessionCredentials)
        before = read_cookie(request.scope, https_only=cookies.https_only)
        opening = cookies.login.open(
            body.username,
            body.password,
            remembered=body.remember,
            new_password=body.new_password,
            replaced=before if isinstance(before, PresentedCookie) else None,
            origin=origin_of(request),
            device=cookies.devices.presented(request),
        )
        issued: IssuedCookie = await while_connected(request.receive, opening)
        response = json_answer(cookies.told(issued.presented, issued.ends_at))
        set_cookie(response, request.scope, issued, https_only=cookies.https_only)
        cookies.devices.remember(request, response, body.username, issued.account_id, issued.account_epoch)
        return response

    @endpoint
    async def session(request: Request) -> Response:
        """Tell a page that was loaded anew the anti-forgery token of its session."""
        found = _cookie_session(request)
        fault = cookies.csrf.reading_fault(request.scope)
        if fault is not None:
            raise fault
        return json_answer(cookies.told(PresentedCookie(found.principal.sid or "", found.token_hash), found.ends_at))

    @public
    @endpoint
    async def end_session(request: Request) -> Response:
        """End the session of the cookie, and have the browser forget it."""
        rejection = state_of(request.scope).rejection
        if rejection is None:
            await cookies.login.end(_cookie_session(request), origin=origin_of(request))
        elif not isinstance(rejection, SessionEnded):
            raise rejection
        return cookies.clear(request, no_content())

    return {f"{prefix}/session": {"POST": open_session, "GET": session, "DELETE": end_session}}


def _cookie_session(request: Request) -> CookieSession:
    found = cookie_session_of(request.scope)
    if found is None:
        raise CredentialMissing("There is no session cookie.")
    return found


def cookie_paths(prefix: str) -> Paths:
    """Describe sessions by cookie."""
    password = text(format="password", maxLength=1024)
    credentials = object_of(
        {
            "username": text(),
            "password": password,
            "remember": {"type": "boolean", "default": False},
            "new_password": {**password, "type": ["string", "null"]},
        },
        "remember",
        "new_password",
    )
    told = object_of({"csrf_token": text(), "expires_at": text(format="date-time")})
    token = parameter(TOKEN_HEADER, text(), where="header", description="the session's anti-forgery token")
    return {
        f"{prefix}/session": {
            "post": operation(
                "Open a browser's session", {200: told}, 401, 403, *BODY_PROBLEMS, 429, 503, body=credentials
            ),
            "get": operation("My browser's session", {200: told}, 401, 403, 503, security=COOKIE),
            "delete": operation("End my browser's session", {204: None}, 401, 403, 503, parameters=(token,)),
        }
    }
