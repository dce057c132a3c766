"""``/auth/refresh``, ``/auth/logout``, ``/auth/logout-all`` and ``/auth/sessions``."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.issuing import Issued
from limen.core.errors import CredentialMalformed, CredentialsConflict, SessionEnded
from limen.core.events import Origin
from limen.features.sessions.devices import warm_up
from limen.features.sessions.service import ListedSession, SessionService
from limen.features.throttling.requests import Purpose, RequestThrottle
from limen.web.body import read_json, read_optional_json
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, no_content, origin_of, principal_of
from limen.web.routes.lists import asked, list_answer, rfc3339
from limen.web.routes.refresh_cookie import RefreshCookies, tokens_answer
from limen.web.routes.schema import BEARER, PAGE, Paths, listed, object_of, operation, parameter, text
from limen.web.routes.session_cookie import Cookies
from limen.web.starlette import interactive, live, public


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token in a body."""

    refresh_token: str


class ListedAs(msgspec.Struct):
    """One session in a list. Times are RFC 3339 in UTC; ``current`` is the session that the request belongs to."""

    id: str
    kind: str
    device: str
    user_agent: str
    address: str
    created_at: str
    last_used_at: str
    current: bool


def listed_as(listed: ListedSession, current_sid: str | None) -> ListedAs:
    """Return what is shown of a session."""
    session = listed.session
    return ListedAs(
        id=session.sid,
        kind=session.kind,
        device=listed.device,
        user_agent=session.user_agent,
        address=session.address,
        created_at=rfc3339(session.created_at),
        last_used_at=rfc3339(session.last_used_at),
        current=session.sid == current_sid,
    )


SESSION = object_of(
    {
        "id": text(format="uuid"),
        "kind": text(enum=["refresh", "cookie"]),
        "device": text(),
        "user_agent": text(),
        "address": text(),
        "created_at": text(format="date-time"),
        "last_used_at": text(format="date-time"),
        "current": {"type": "boolean"},
    }
)
"""The schema of a session in a list."""


def session_routes(
    sessions: SessionService,
    cookies: Cookies,
    refresh_cookies: RefreshCookies,
    throttle: RequestThrottle,
    *,
    prefix: str,
) -> Routes:
    """Make the endpoints of refresh, logout and the list of one's own sessions under ``prefix``."""
    warm_up()

    @live
    @endpoint
    async def own_sessions(request: Request) -> Response:
        """List the caller's living sessions, the newest first."""
        principal = principal_of(request)
        limit, after = asked(request)
        page = await sessions.of_account(principal.sub, limit=limit, after=after)
        return list_answer([listed_as(each, principal.sid) for each in page.items], page.next)

    @live
    @interactive
    @endpoint
    async def end_own_session(request: Request) -> Response:
        """End one of the caller's sessions."""
        sid = str(request.path_params["id"])
        await sessions.end_own(principal_of(request), sid, origin=origin_of(request))
        return no_content()

    return {
        f"{prefix}/sessions": {"GET": own_sessions},
        f"{prefix}/sessions/{{id}}": {"DELETE": end_own_session},
        **_token_routes(sessions, cookies, refresh_cookies, throttle, prefix=prefix),
    }


async def _refreshed(sessions: SessionService, throttle: RequestThrottle, token: str, origin: Origin) -> Issued:
    counted = await throttle.admit(Purpose.REFRESH, origin.address)
    issued = await sessions.refresh(token, origin=origin)
    await throttle.granted(counted)
    return issued


def _token_routes(
    sessions: SessionService,
    cookies: Cookies,
    refresh_cookies: RefreshCookies,
    throttle: RequestThrottle,
    *,
    prefix: str,
) -> Routes:
    @public
    @endpoint
    async def refresh(request: Request) -> Response:
        """Exchange a refresh token for a new access and refresh token."""
        token = await refresh_cookies.presented(request)
        if token is not None:
            # A refusal clears no cookie: another tab may have been given its successor in the meantime.
            return refresh_cookies.answer(request, await _refreshed(sessions, throttle, token, origin_of(request)))
        body = await read_json(request.scope, request.receive, RefreshRequest)
        return tokens_answer(await _refreshed(sessions, throttle, body.refresh_token, origin_of(request)))

    async def logout_by_cookie(request: Request, token: str) -> Response:
        """End the session of the refresh cookie, and that of the request where another credential let it in."""
        origin, rejection = origin_of(request), state_of(request.scope).rejection
        if isinstance(rejection, CredentialMalformed | CredentialsConflict):
            raise rejection
        await sessions.logout(token, origin=origin)
        answer = refresh_cookies.clear(request, no_content())
        # An access token may be over by then, and a session cookie beside it without its proof is not this page's.
        if rejection is None:
            await sessions.logout_principal(state_of(request.scope).principal, origin=origin)
        return cookies.clear(request, answer) if rejection is None or isinstance(rejection, SessionEnded) else answer

    @public
    @endpoint
    async def logout(request: Request) -> Response:
        """End a session: that of the refresh token, or that of the request where there is none."""
        origin = origin_of(request)
        token = await refresh_cookies.presented(request)
        if token is not None:
            return await logout_by_cookie(request, token)
        body = await read_optional_json(request.scope, request.receive, RefreshRequest)
        if body is not None:
            await sessions.logout(body.refresh_token, origin=origin)
            return no_content()
        rejection = state_of(request.scope).rejection
        if isinstance(rejection, SessionEnded):
            return cookies.clear(request, no_content())
        if rejection is not None:
            raise rejection
        await sessions.logout_principal(principal_of(request), origin=origin)
        return cookies.clear(request, no_content())

    @interactive
    @endpoint
    async def logout_all(request: Request) -> Response:
        """End every session of the caller's account."""
        principal = principal_of(request)
        await sessions.logout_everywhere(principal.sub, actor=principal.sub, origin=origin_of(request))
        return refresh_cookies.clear(request, cookies.clear(request, no_content()))

    return {
        f"{prefix}/refresh": {"POST": refresh},
        f"{prefix}/logout": {"POST": logout},
        f"{prefix}/logout-all": {"POST": logout_all},
    }


def session_paths(prefix: str) -> Paths:
    """Describe the list of one's own sessions."""
    one = (parameter("id", text(maxLength=36), where="path"),)
    return {
        f"{prefix}/sessions": {
            "get": operation("My sessions", {200: listed(SESSION)}, 401, 422, 503, parameters=PAGE, security=BEARER)
        },
        f"{prefix}/sessions/{{id}}": {
            "delete": operation("End one of my sessions", {204: None}, 401, 404, 503, parameters=one, security=BEARER)
        },
    }
