"""``/auth/me`` and ``/auth/password``."""

from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import AccountNotActive, NotFound, SessionEnded
from limen.features.accounts.service import AccountService
from limen.features.throttling.service import LoginThrottle
from limen.web.body import read_json
from limen.web.disconnect import while_connected
from limen.web.routes.endpoint import Routes, endpoint, json_answer, no_content, origin_of, principal_of
from limen.web.routes.session_cookie import Cookies
from limen.web.starlette import interactive, live


class Me(msgspec.Struct):
    """Who the caller is, and what they may do. Times are RFC 3339 in UTC."""

    sub: str
    kind: str
    username: str
    roles: list[str]
    permissions: list[str]
    sid: str | None
    amr: list[str]
    auth_time: str | None


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The present password and the one to be."""

    current_password: str
    new_password: str


def account_routes(accounts: AccountService, cookies: Cookies, throttle: LoginThrottle, *, prefix: str) -> Routes:
    """Make the endpoints about the caller's own account under ``prefix``."""

    async def me(request: Request) -> Response:
        """Tell the caller who they are."""
        principal = principal_of(request)
        try:
            account = await accounts.by_id(principal.sub)
        except NotFound:
            raise AccountNotActive() from None
        authentication = principal.authentication
        return json_answer(
            Me(
                sub=principal.sub,
                kind=principal.kind.value,
                username=account.username,
                roles=sorted(principal.roles),
                permissions=sorted(principal.permissions),
                sid=principal.sid,
                amr=list(authentication.methods) if authentication else [],
                auth_time=_rfc3339(authentication.time) if authentication else None,
            )
        )

    @live
    @interactive
    @endpoint
    async def change_password(request: Request) -> Response:
        """Change the password; every other session of the account ends."""
        principal = principal_of(request)
        if principal.sid is None:
            raise SessionEnded()
        body = await read_json(request.scope, request.receive, PasswordChange)
        async with throttle.guess(principal.sub):
            changing = accounts.change_password(
                principal.sub,
                body.current_password,
                body.new_password,
                sid=principal.sid,
                origin=origin_of(request),
            )
            account = await while_connected(request.receive, changing)
        answer = await cookies.renew(request, no_content())
        # The other devices of the account are strangers from now on; here somebody has just proved the password.
        cookies.devices.remember(request, answer, account.username, account.id, account.session_epoch)
        return answer

    return {
        f"{prefix}/me": {"GET": endpoint(me)},
        f"{prefix}/password": {"POST": change_password},
    }


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
