"""Errors as HTTP answers: problem details (RFC 9457), with the challenge of a 401 (RFC 6750, RFC 9110 section 11.6.1).

The one place that turns errors into answers. What an operator needs is in the log under the trace id; what the caller
gets is what the catalogue (`limen.core.errors`) says, and does not help an attacker.
"""

import json
import logging
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from starlette.types import Scope, Send

from limen.core import metrics
from limen.core.errors import LimenError, LimitHit, RateLimited, Unauthenticated
from limen.web.headers import OWN_JSON_HEADERS, USUAL, RawHeaders, is_https

BEARER: Final = "Bearer"
TYPE_PREFIX: Final = "urn:limen:error:"
"""``type`` is this and the code: stable, and never to be fetched (RFC 9457, section 3.1.1 allows that)."""

POLICY_VIOLATION: Final = 1008
INTERNAL_ERROR: Final = 1011

_MEDIA_TYPE: Final = (b"content-type", b"application/problem+json")
_DENIAL: Final = "websocket.http.response"
# RFC 6750, section 3: error_description holds neither quotes nor backslashes, and nothing outside printable ASCII.
_NOT_IN_DESCRIPTION: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A whole HTTP answer.

    Attributes:
        status: the status code.
        headers: names in lower case, and values.
        body: the content; empty where there is none.
    """

    status: int
    headers: RawHeaders
    body: bytes


def problem(
    error: Exception,
    trace_id: str,
    *,
    challenges: tuple[str, ...] = (BEARER,),
    realm: str = "limen",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Answer:
    """Return the answer to an error.

    Args:
        error: a `LimenError`; of anything else nothing is told but «500», and the log gets it with its traceback.
        trace_id: the request's id, by which the log and the caller's report are brought together.
        challenges: the authentication schemes that the resource accepts, one ``WWW-Authenticate`` each on a 401.
        realm: names the protected space in each challenge; printable ASCII without quotes.
        headers: further headers, such as ``Allow`` with a 405 (RFC 9110, section 15.5.6).
    """
    known = as_limen_error(error, trace_id)
    metrics.REFUSALS.add(known.code)
    body: dict[str, object] = {
        "type": TYPE_PREFIX + known.code,
        "title": known.title,
        "status": known.status,
        "code": known.code,
    }
    if known.detail:
        body["detail"] = known.detail
    body["trace_id"] = trace_id
    if known.errors:
        body["errors"] = [{"loc": fault.loc, "code": fault.code, "message": fault.message} for fault in known.errors]
    # ASCII with escapes: no byte of a text can break the answer, half a surrogate pair included.
    content = json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    all_headers = [_MEDIA_TYPE, (b"content-length", b"%d" % len(content)), *OWN_JSON_HEADERS]
    if known.status == 401:
        all_headers += [(b"www-authenticate", challenge(scheme, known, realm)) for scheme in challenges]
    if known.retry_after is not None:
        all_headers.append((b"retry-after", b"%d" % max(0, known.retry_after)))
    elif known.status in {429, 503}:
        all_headers.append((b"retry-after", b"1"))
    if isinstance(known, RateLimited):
        all_headers += rate_fields(known.hits)
    all_headers += headers
    return Answer(known.status, all_headers, content)


def rate_fields(limits: Iterable[LimitHit]) -> RawHeaders:
    """Return the fields that tell limits, and what is left of them; none for none.

    draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: quota ``q`` in a window of ``w`` seconds; ``r`` are left,
    and all are there again in ``t`` seconds.
    """
    told = list(limits)
    if not told:
        return []
    policy = ", ".join(f'"{each.name}";q={each.most};w={each.seconds}' for each in told)
    left = ", ".join(f'"{each.name}";r={each.left};t={each.reset}' for each in told)
    return [(b"ratelimit-policy", policy.encode("ascii")), (b"ratelimit", left.encode("ascii"))]


def as_limen_error(error: Exception, trace_id: str) -> LimenError:
    """Return an error of the catalogue as it is; log any other one and return the 500 that tells nothing of it."""
    if isinstance(error, LimenError):
        if error.status == 500:
            logger.error("a request failed inside limen", exc_info=error, extra={"request_id": trace_id})
        return error
    logger.error("a request failed with an unforeseen error", exc_info=error, extra={"request_id": trace_id})
    return LimenError()


def challenge(scheme: str, error: LimenError, realm: str) -> bytes:
    """Return the value of one ``WWW-Authenticate``.

    RFC 6750, section 3: ``Bearer`` must be followed by at least one parameter, hence the realm; section 3.1: where no
    credential was sent, the challenge should not name an error. Nor is a wrong password a Bearer error.
    """
    value = f'{scheme} realm="{_NOT_IN_DESCRIPTION.sub("", realm)}"'
    oauth_error = error.oauth_error if isinstance(error, Unauthenticated) else None
    if scheme == BEARER and oauth_error:
        description = _NOT_IN_DESCRIPTION.sub("'", error.title)
        value += f', error="{oauth_error}", error_description="{description}"'
    return value.encode("ascii", "replace")


async def send_answer(scope: Scope, send: Send, answer: Answer) -> None:
    """Send a whole answer to an HTTP request, or as the denial of a WebSocket handshake that was not accepted yet.

    A server without the extension ``websocket.http.response`` is asked to close instead, which it turns into a plain
    403: the close code is never seen by the client then (ASGI, WebSocket close).
    """
    if scope["type"] == "websocket":
        if _DENIAL not in (scope.get("extensions") or {}):
            code = INTERNAL_ERROR if answer.status >= 500 else POLICY_VIOLATION
            await send({"type": "websocket.close", "code": code, "reason": ""})
            return
        start, body = f"{_DENIAL}.start", f"{_DENIAL}.body"
    else:
        start, body = "http.response.start", "http.response.body"
    content = b"" if scope.get("method") == "HEAD" else answer.body
    headers = list(answer.headers)
    # What is answered before the guard has nobody else who adds them.
    USUAL.add(headers, is_https(scope))
    await send({"type": start, "status": answer.status, "headers": headers})
    await send({"type": body, "body": content, "more_body": False})


async def send_problem(
    scope: Scope,
    send: Send,
    error: Exception,
    trace_id: str,
    *,
    challenges: tuple[str, ...] = (BEARER,),
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer an HTTP request or a WebSocket handshake with an error; see `problem` and `send_answer`.

    Only before anything was sent: an answer that has begun cannot be replaced.
    """
    await send_answer(scope, send, problem(error, trace_id, challenges=challenges, headers=headers))
