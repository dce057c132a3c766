"""What every one of limen's own endpoints shares: strict input, JSON out, every error as problem details."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import CredentialMissing, LimenError, PolicyDenied
from limen.core.events import Origin
from limen.core.principal import Principal
from limen.web.guard.state import state_of
from limen.web.headers import OWN_JSON_HEADERS

Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Endpoint]]
"""Endpoints by path, then by method."""

_encode = msgspec.json.Encoder().encode
_CONTENT_TYPE: Final = (b"content-type", b"application/json")


class _Json(Response):
    """Bytes of JSON, with all of their headers in one step."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the raw headers, for which `Response` would look through those that it was given."""
        length = b"%d" % len(self.body)
        self.raw_headers = [(b"content-length", length), _CONTENT_TYPE, *OWN_JSON_HEADERS]


def json_answer(content: object, status: int = 200) -> Response:
    """Answer JSON that no cache keeps (``no-store``: a credential or personal data may be in it)."""
    return _Json(_encode(content), status)


def no_content() -> Response:
    """Answer 204: done, and nothing to say."""
    response = Response(status_code=204)
    response.headers["Cache-Control"] = "no-store"
    return response


def origin_of(request: Request) -> Origin:
    """Return where the request came from, under the id that the log and the answer name it by."""
    return state_of(request.scope).origin


def principal_of(request: Request) -> Principal:
    """Return whom the request is attributed to; the guard has already let it in.

    Raises:
        CredentialMissing: nobody is there, which the guard would not have let through.
        PolicyDenied: another issuer vouches for it: it has no account here, and these routes are about accounts.
    """
    # Not ``request.user``: other middleware inside the guard may have written its own there.
    principal = state_of(request.scope).principal
    if not principal.is_authenticated:
        raise CredentialMissing()
    if principal.issuer is not None:
        raise PolicyDenied("These routes are for accounts of this service.")
    return principal


def endpoint(handler: Endpoint) -> Endpoint:
    """Let nothing but an error of the catalogue out of the handler: the guard answers that as problem details."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except LimenError:
            raise
        except Exception as error:
            # The cause goes to the log with the trace id; the caller is told nothing of it.
            raise LimenError() from error

    return answer
