"""``/auth/refresh``, ``/auth/logout`` and ``/auth/logout-all``."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import SessionEnded
from limen.features.sessions.service import SessionService
from limen.web.body import read_json, read_optional_json
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, no_content, origin_of, principal_of
from limen.web.routes.login import tokens_answer
from limen.web.starlette import public


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token, in the body and nowhere else."""

    refresh_token: str


def session_routes(sessions: SessionService, *, prefix: str) -> Routes:
    """Make the endpoints of refresh and logout under ``prefix``."""

    @public
    @endpoint
    async def refresh(request: Request) -> Response:
        """Exchange a refresh token for a new access and refresh token."""
        body = await read_json(request.scope, request.receive, RefreshRequest)
        return tokens_answer(await sessions.refresh(body.refresh_token, origin=origin_of(request)))

    @public
    @endpoint
    async def logout(request: Request) -> Response:
        """End a session: that of the refresh token in the body, or that of the Bearer token where there is no body."""
        origin = origin_of(request)
        body = await read_optional_json(request.scope, request.receive, RefreshRequest)
        if body is not None:
            await sessions.logout(body.refresh_token, origin=origin)
            return no_content()
        rejection = state_of(request.scope).rejection
        if isinstance(rejection, SessionEnded):
            return no_content()
        if rejection is not None:
            raise rejection
        await sessions.logout_principal(principal_of(request), origin=origin)
        return no_content()

    async def logout_all(request: Request) -> Response:
        """End every session of the caller's account."""
        principal = principal_of(request)
        await sessions.logout_everywhere(principal.sub, actor=principal.sub, origin=origin_of(request))
        return no_content()

    return {
        f"{prefix}/refresh": {"POST": refresh},
        f"{prefix}/logout": {"POST": logout},
        f"{prefix}/logout-all": {"POST": endpoint(logout_all)},
    }
