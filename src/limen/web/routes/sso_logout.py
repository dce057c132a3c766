"""``/auth/sso/{provider}/logout``: logging out of a provider of single sign-on, and hearing that somebody did."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from limen.authn.cookie import CookieSession, PresentedCookie, read_cookie
from limen.core.errors import BadRequest, CredentialMissing, CsrfFailed, NotFound, UnsupportedMediaType
from limen.core.principal import Principal
from limen.features.sso.building import Sso
from limen.features.sso.providers import SSOProvider
from limen.features.throttling.building import Throttling
from limen.features.throttling.requests import Purpose
from limen.web.body import is_form, read_body
from limen.web.cookies import clear_cookie, cookie_session_of
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, json_answer, origin_of, principal_of
from limen.web.routes.session_cookie import Cookies
from limen.web.routes.sso_pages import confirm_page, for_browsers, leaving_page, page, wants_page
from limen.web.routes.sso_requests import Location, provider_name, refuse_head
from limen.web.starlette import public

MAX_FORM: Final = 32_768
"""Bytes of a form: a logout token, or the anti-forgery token."""


class SsoLogoutRoutes:
    """The endpoints, and what they share.

    Args:
        sso: the use cases.
        cookies: sessions by cookie.
        throttling: counts what providers say.
    """

    def __init__(self, sso: Sso, cookies: Cookies, throttling: Throttling) -> None:
        self._sso = sso
        self._cookies = cookies
        self._throttling = throttling

    async def ask_logout(self, request: Request) -> Response:
        """Ask whether to log out; nothing happens before the answer."""
        refuse_head(request)
        provider, session = self._provider(request), cookie_session_of(request.scope)
        if session is None:
            raise CredentialMissing("There is no session cookie.")
        presented = PresentedCookie(session.principal.sid or "", session.token_hash)
        return confirm_page(provider.title, self._cookies.csrf.tokens.token_of(presented))

    async def logout(self, request: Request) -> Response:
        """End the session here, and say where the browser goes to end the one at the provider."""
        provider = self._provider(request)
        principal = await self._confirmed(request) if is_form(request.scope) else principal_of(request)
        left = await self._sso.logout.log_out(provider.name, principal, origin=origin_of(request))
        if not wants_page(request):
            return self._cookies.clear(request, json_answer(Location(left.location)))
        if left.location is None:
            response = page("You are logged out.", '<p><a href="/">Go on</a></p>')
        else:
            response = leaving_page(provider.title, left.location)
        clear_cookie(response, request.scope, https_only=self._cookies.https_only)
        return response

    async def _confirmed(self, request: Request) -> Principal:
        """Return who answered the page that asked: its form has the token that a script sends in a header."""
        fault = self._cookies.csrf.origin_fault(request.scope)
        if fault is not None:
            raise fault
        fields = await _read_form(request)
        presented = read_cookie(request.scope, https_only=self._cookies.https_only)
        if not isinstance(presented, PresentedCookie):
            raise CredentialMissing("There is no session cookie.")
        token = fields.get("csrf_token", "").encode("utf-8", "replace")
        if not self._cookies.csrf.tokens.fits(token, presented):
            raise CsrfFailed("The page is not of this session: open it again.")
        session: CookieSession | None = await self._sso.service.session_of(presented)
        if session is None:
            raise CredentialMissing("There is no session.")
        return session.principal

    async def heard_logout(self, request: Request) -> Response:
        """End the sessions that a provider names (OpenID Connect Back-Channel Logout, section 2.5)."""
        name = provider_name(request)
        token = (await _read_form(request)).get("logout_token")
        if token is None:
            raise BadRequest("There is no logout_token.")
        origin = origin_of(request)
        counted = await self._throttling.requests.admit(Purpose.PROVIDER_LOGOUT, origin.address)
        await self._sso.logout.heard(name, token, origin=origin)
        await self._throttling.requests.granted(counted)
        # 200 and nothing else (section 2.8); some providers do not take 204.
        response = Response(status_code=200)
        response.headers["Cache-Control"] = "no-store"
        return response

    def _provider(self, request: Request) -> SSOProvider:
        found = self._sso.providers.get(provider_name(request))
        if found is None:
            raise NotFound("There is no sign-in provider of that name.")
        return found


def sso_logout_routes(sso: Sso, cookies: Cookies, throttling: Throttling, *, at: str) -> Routes:
    """Make the endpoints under ``at``."""
    routes = SsoLogoutRoutes(sso, cookies, throttling)

    @public
    @for_browsers
    @endpoint
    async def ask_logout(request: Request) -> Response:
        """Ask whether to log out."""
        rejection = state_of(request.scope).rejection
        # Whether there is a session cannot be told: that there was none would be a lie.
        if rejection is not None and rejection.status >= 500:
            raise rejection
        return await routes.ask_logout(request)

    @public
    @for_browsers
    @endpoint
    async def logout(request: Request) -> Response:
        """End the session, here and at the provider."""
        rejection = state_of(request.scope).rejection
        # A form has its token in the body; whatever else came with a cookie was asked for it in a header.
        if rejection is not None and not (isinstance(rejection, CsrfFailed) and is_form(request.scope)):
            raise rejection
        return await routes.logout(request)

    @public
    @endpoint
    async def backchannel_logout(request: Request) -> Response:
        """End the sessions that a provider names."""
        return await routes.heard_logout(request)

    return {
        f"{at}/{{provider}}/logout": {"GET": ask_logout, "POST": logout},
        f"{at}/{{provider}}/backchannel-logout": {"POST": backchannel_logout},
    }


async def _read_form(request: Request) -> dict[str, str]:
    """Read a small form; a field that is given twice is none."""
    if not is_form(request.scope):
        raise UnsupportedMediaType("Send application/x-www-form-urlencoded.")
    body = await read_body(request.scope, request.receive, limit=MAX_FORM)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=16)
    except ValueError:
        raise BadRequest("The form cannot be read.") from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise BadRequest("A field of the form is given twice.")
    return dict(pairs)
