"""``/auth/register`` and ``/auth/login``."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import NotFound
from limen.features.accounts.service import AccountService
from limen.features.login.service import LoginService
from limen.features.sessions.service import SessionService
from limen.features.throttling.requests import Purpose, RequestThrottle
from limen.web.body import read_json
from limen.web.devices import DeviceCookies
from limen.web.disconnect import while_connected
from limen.web.routes.endpoint import Routes, endpoint, json_answer, origin_of
from limen.web.routes.refresh_cookie import RefreshCookies, tokens_answer
from limen.web.starlette import public


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """What a registration says: nothing else is accepted, so a role cannot be slipped in (mass assignment)."""

    username: str
    password: str
    email: str | None = None


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """What a login says; ``new_password`` takes the place of a temporary password.

    ``refresh`` says where the refresh token is to go: into the answer's body, or into a cookie that no script can read.
    """

    username: str
    password: str
    new_password: str | None = None
    refresh: Literal["body", "cookie"] = "body"


class Registered(msgspec.Struct):
    """The account that was made."""

    id: str
    username: str


def login_routes(
    login: LoginService,
    accounts: AccountService,
    sessions: SessionService,
    refresh_cookies: RefreshCookies,
    devices: DeviceCookies,
    throttle: RequestThrottle,
    *,
    prefix: str,
    registration_open: bool,
) -> Routes:
    """Make the endpoints of registration and login under ``prefix``."""

    @public
    @endpoint
    async def register(request: Request) -> Response:
        """Make an account with a username and a password."""
        if not registration_open:
            raise NotFound("Registration is closed.")
        body = await read_json(request.scope, request.receive, Registration)
        origin = origin_of(request)
        recipient = accounts.recipient(body.email)
        await throttle.count(Purpose.REGISTER, address=origin.address, recipient=recipient)
        making = accounts.create(body.username, body.password, email=body.email, origin=origin)
        account = await while_connected(request.receive, making)
        return json_answer(Registered(account.id, account.username), 201)

    @public
    @endpoint
    async def log_in(request: Request) -> Response:
        """Exchange a username and a password for an access and a refresh token."""
        body = await read_json(request.scope, request.receive, Credentials)
        by_cookie = body.refresh == "cookie"
        if by_cookie:
            # A page that logs its visitor in to the attacker's account reads what they then write.
            refresh_cookies.require_own_page(request)
        origin = origin_of(request)
        checking = login.login(
            body.username,
            body.password,
            new_password=body.new_password,
            origin=origin,
            device=devices.presented(request),
        )
        issued = await while_connected(request.receive, checking)
        before = refresh_cookies.replaced(request) if by_cookie else None
        if before is not None:
            await sessions.end_replaced_token(before, origin=origin)
        answer = refresh_cookies.answer(request, issued) if by_cookie else tokens_answer(issued)
        devices.remember(request, answer, body.username, issued.account_id, issued.account_epoch)
        return answer

    return {f"{prefix}/register": {"POST": register}, f"{prefix}/login": {"POST": log_in}}
