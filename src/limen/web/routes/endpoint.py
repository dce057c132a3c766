"""What every one of limen's own endpoints shares: strict input, JSON out, every error as problem details."""

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import CredentialMissing, LimenError
from limen.core.principal import Principal
from limen.web.headers import OWN_JSON_HEADERS
from limen.web.origin import origin_of
from limen.web.problems import problem

_log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Endpoint]]
"""Endpoints by path, then by method."""

_encode = msgspec.json.Encoder().encode


def json_answer(content: object, status: int = 200) -> Response:
    """Answer JSON that no cache keeps (``no-store``: a credential or personal data may be in it)."""
    response = Response(_encode(content), status)
    response.raw_headers.extend(OWN_JSON_HEADERS)
    return response


def no_content() -> Response:
    """Answer 204: done, and nothing to say."""
    response = Response(status_code=204)
    response.headers["Cache-Control"] = "no-store"
    return response


def principal_of(request: Request) -> Principal:
    """Return whom the request is attributed to; the guard has already let it in.

    Raises:
        CredentialMissing: nobody is there, which the guard would not have let through.
    """
    principal = request.scope.get("user")
    if not isinstance(principal, Principal) or not principal.is_authenticated:
        raise CredentialMissing()
    return principal


def endpoint(handler: Endpoint) -> Endpoint:
    """Turn what the handler raises into problem details (RFC 9457); an unexpected error tells the caller nothing."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except LimenError as error:
            return problem_answer(request, error)
        except Exception:
            error = LimenError()
            _log.exception("unexpected error", extra={"request_id": origin_of(request.scope).request_id})
            return problem_answer(request, error)

    return answer


def problem_answer(request: Request, error: LimenError) -> Response:
    """Answer an error of the catalogue as problem details."""
    status, headers, body = problem(error, origin_of(request.scope).request_id)
    response = Response(body, status)
    response.raw_headers = list(headers)
    return response
