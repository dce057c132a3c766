"""``/auth/password/forgot``, ``/auth/password/reset``, ``/auth/email`` and ``/auth/email/verify``."""

from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.core import metrics
from limen.core.errors import BadRequest, LimenError
from limen.features.recovery.service import RecoveryService
from limen.features.throttling.building import Throttling
from limen.features.throttling.requests import Purpose, RequestThrottle, by_administrator
from limen.web.body import is_form, read_body, read_json
from limen.web.disconnect import while_connected
from limen.web.guard.state import state_of
from limen.web.problems import as_limen_error
from limen.web.routes.endpoint import Endpoint, Routes, endpoint, no_content, origin_of, principal_of
from limen.web.routes.recovery_pages import done_page, reset_page, verify_page
from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    GUARDED,
    Paths,
    Schema,
    object_of,
    operation,
    parameter,
    text,
)
from limen.web.starlette import interactive, live, permissions, public


class Forgotten(msgspec.Struct, forbid_unknown_fields=True):
    """The address of an account whose password is forgotten."""

    email: str


class Reset(msgspec.Struct, forbid_unknown_fields=True):
    """What a link proves, and the password to be."""

    token: str
    new_password: str


class Verification(msgspec.Struct, forbid_unknown_fields=True):
    """What a link proves."""

    token: str


class EmailChange(msgspec.Struct, forbid_unknown_fields=True):
    """The address to be, and the present password."""

    email: str
    current_password: str


def recovery_routes(recovery: RecoveryService, throttling: Throttling, *, prefix: str) -> Routes:
    """Make the endpoints of recovery under ``prefix``."""
    throttle = throttling.requests

    @public
    @endpoint
    async def forgot(request: Request) -> Response:
        """Send a link, if the address is somebody's; the answer is the same if not."""
        body = await read_json(request.scope, request.receive, Forgotten)
        origin = origin_of(request)
        await throttle.count(Purpose.RESET, address=origin.address, key=recovery.compared(body.email))
        await recovery.forgot(body.email, origin=origin)
        return _accepted()

    @live
    @interactive
    @endpoint
    async def change_email(request: Request) -> Response:
        """Send a link to a new address."""
        principal = principal_of(request)
        body = await read_json(request.scope, request.receive, EmailChange)
        origin = origin_of(request)
        recipient = recovery.compared(body.email)
        await throttle.count(Purpose.VERIFY, address=origin.address, key=principal.sub, recipient=recipient)
        async with throttling.logins.guess(principal.sub):
            changing = recovery.change_email(principal.sub, body.email, body.current_password, origin=origin)
            await while_connected(request.receive, changing)
        return _accepted()

    @live
    @interactive
    @endpoint
    async def ask_verification(request: Request) -> Response:
        """Send the link for the present address once more."""
        principal = principal_of(request)
        origin = origin_of(request)
        recipient = await recovery.recipient_of(principal.sub)
        await throttle.count(Purpose.VERIFY, address=origin.address, key=principal.sub, recipient=recipient)
        await recovery.ask_verification(principal.sub, origin=origin)
        return _accepted()

    return {
        f"{prefix}/password/forgot": {"POST": forgot},
        f"{prefix}/password/reset": {"GET": _show_reset(), "POST": _reset(recovery, throttle)},
        f"{prefix}/email": {"POST": change_email},
        f"{prefix}/email/verification": {"POST": ask_verification},
        f"{prefix}/email/verify": {"GET": _show_verify(), "POST": _verify(recovery, throttle)},
    }


def start_routes(recovery: RecoveryService, throttle: RequestThrottle, *, prefix: str) -> Routes:
    """Make the endpoint by which an administrator starts the reset of somebody's password, and never sees it."""

    @live
    @interactive
    @permissions(Administration.ACCOUNTS_WRITE)
    @endpoint
    async def start_reset(request: Request) -> Response:
        """Send a link to the account's address."""
        account_id = str(request.path_params["id"])
        # No address has NUL in it: whoever types the id where an address belongs uses up nothing of this account's.
        recipient = by_administrator(await recovery.recipient_of(account_id))
        await throttle.count(Purpose.RESET, key=f"account\0{account_id}", recipient=recipient)
        await recovery.start(principal_of(request), account_id, origin=origin_of(request))
        return _accepted()

    return {f"{prefix}/accounts/{{id}}/start-reset": {"POST": start_reset}}


def _show_reset() -> Endpoint:
    @public
    @endpoint
    async def show_reset(request: Request) -> Response:
        """Show the page; nothing of a request is in it."""
        return reset_page()

    return show_reset


def _show_verify() -> Endpoint:
    @public
    @endpoint
    async def show_verify(request: Request) -> Response:
        """Show the page; nothing of a request is in it."""
        return verify_page()

    return show_verify


def _reset(recovery: RecoveryService, throttle: RequestThrottle) -> Endpoint:
    @public
    @endpoint
    async def reset(request: Request) -> Response:
        """Set a password by what a link proves; from a program, or from the page."""
        if not is_form(request.scope):
            body = await read_json(request.scope, request.receive, Reset)
            await _set(recovery, throttle, request, body.token, body.new_password)
            return no_content()
        fields = await _fields(request, "token", "new_password")
        try:
            await _set(recovery, throttle, request, fields["token"], fields["new_password"])
        except LimenError as error:
            return reset_page(_counted(request, error), fields["token"])
        return done_page("Your password is set", "You can log in with it now. Every session of before has ended.")

    return reset


async def _set(
    recovery: RecoveryService, throttle: RequestThrottle, request: Request, token: str, password: str
) -> None:
    origin = origin_of(request)
    await throttle.count(Purpose.LINK, address=origin.address)
    setting = recovery.reset_password(token.strip(), password, origin=origin)
    await while_connected(request.receive, setting)


def _verify(recovery: RecoveryService, throttle: RequestThrottle) -> Endpoint:
    @public
    @endpoint
    async def verify(request: Request) -> Response:
        """Verify an address by what a link proves; from a program, or from the page."""
        origin = origin_of(request)
        if not is_form(request.scope):
            body = await read_json(request.scope, request.receive, Verification)
            await throttle.count(Purpose.LINK, address=origin.address)
            await recovery.verify_email(body.token, origin=origin)
            return no_content()
        fields = await _fields(request, "token")
        try:
            await throttle.count(Purpose.LINK, address=origin.address)
            await recovery.verify_email(fields["token"].strip(), origin=origin)
        except LimenError as error:
            return verify_page(_counted(request, error), fields["token"])
        return done_page("Your address is confirmed", "There is nothing else to do.")

    return verify


def _accepted() -> Response:
    response = Response(status_code=202)
    response.headers["Cache-Control"] = "no-store"
    return response


async def _fields(request: Request, *names: str) -> dict[str, str]:
    """Return the fields of a form: exactly these, each once.

    Raises:
        BadRequest: it is another form, or no UTF-8.
    """
    body = await read_body(request.scope, request.receive, limit=8192)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(names),
        )
    except ValueError:
        pairs = []
    if sorted(name for name, _ in pairs) != sorted(names):
        raise BadRequest("The form is not the one of this page.")
    return dict(pairs)


def _counted(request: Request, error: LimenError) -> LimenError:
    known = as_limen_error(error, state_of(request.scope).request_id)
    metrics.REFUSALS.add(known.code)
    return known


_PASSWORD: Final = text(format="password", maxLength=1024)
_TOKEN: Final = text(minLength=43, maxLength=43)


def recovery_paths(prefix: str) -> Paths:
    """Describe them."""
    page: Schema = {"get": operation("The page that a mailed link leads to", {200: None})}
    forgot = object_of({"email": text()})
    reset = object_of({"token": _TOKEN, "new_password": _PASSWORD})
    email = object_of({"email": text(), "current_password": _PASSWORD})
    verify = object_of({"token": _TOKEN})

    def post(summary: str, status: int, *problems: int, body: Schema | None = None, guarded: bool = False) -> Schema:
        security = BEARER if guarded else None
        read = BODY_PROBLEMS if body is not None else ()
        return operation(summary, {status: None}, *problems, *read, 429, 503, body=body, security=security)

    return {
        f"{prefix}/password/forgot": {"post": post("Have a link sent, to choose another password", 202, body=forgot)},
        f"{prefix}/password/reset": {**page, "post": post("Set a password by a mailed link", 204, body=reset)},
        f"{prefix}/email": {"post": post("Have a link sent to a new address", 202, 401, body=email, guarded=True)},
        f"{prefix}/email/verification": {"post": post("Have the link sent once more", 202, 401, guarded=True)},
        f"{prefix}/email/verify": {**page, "post": post("Confirm an address by a mailed link", 204, 409, body=verify)},
    }


def start_paths(prefix: str) -> Paths:
    """Describe it."""
    one = (parameter("id", text(maxLength=36), where="path"),)
    summary = "Send a link to an account's address, to choose another password"
    post = operation(summary, {202: None}, *GUARDED, 404, 409, 429, parameters=one, security=BEARER)
    return {f"{prefix}/accounts/{{id}}/start-reset": {"post": post}}
