"""``/auth/register`` and ``/auth/login``."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authn.issuing import Issued
from limen.core.errors import NotFound
from limen.features.accounts.service import AccountService
from limen.features.login.service import LoginService
from limen.web.body import read_json
from limen.web.disconnect import while_connected
from limen.web.routes.endpoint import Routes, endpoint, json_answer, origin_of
from limen.web.starlette import public


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """What a registration says: nothing else is accepted, so a role cannot be slipped in (mass assignment)."""

    username: str
    password: str
    email: str | None = None


class Credentials(msgspec.Struct, forbid_unknown_fields=True):
    """What a login says; ``new_password`` takes the place of a temporary password."""

    username: str
    password: str
    new_password: str | None = None


class Registered(msgspec.Struct):
    """The account that was made."""

    id: str
    username: str


class Tokens(msgspec.Struct):
    """An access and a refresh token (RFC 6749, section 5.1); durations are seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    refresh_expires_in: int


def tokens_answer(issued: Issued) -> Response:
    """Answer freshly issued tokens."""
    return json_answer(
        Tokens(issued.access_token, issued.refresh_token, "Bearer", issued.expires_in, issued.refresh_expires_in)
    )


def login_routes(login: LoginService, accounts: AccountService, *, prefix: str, registration_open: bool) -> Routes:
    """Make the endpoints of registration and login under ``prefix``."""

    @public
    @endpoint
    async def register(request: Request) -> Response:
        """Make an account with a username and a password."""
        if not registration_open:
            raise NotFound("Registration is closed.")
        body = await read_json(request.scope, request.receive, Registration)
        making = accounts.create(body.username, body.password, email=body.email, origin=origin_of(request))
        account = await while_connected(request.receive, making)
        return json_answer(Registered(account.id, account.username), 201)

    @public
    @endpoint
    async def log_in(request: Request) -> Response:
        """Exchange a username and a password for an access and a refresh token."""
        body = await read_json(request.scope, request.receive, Credentials)
        checking = login.login(body.username, body.password, new_password=body.new_password, origin=origin_of(request))
        return tokens_answer(await while_connected(request.receive, checking))

    return {f"{prefix}/register": {"POST": register}, f"{prefix}/login": {"POST": log_in}}
