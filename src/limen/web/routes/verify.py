"""``/auth/verify``: what a gateway asks before it lets a request through to a service behind it (forward-auth).

The question is in the gateway's own configuration (``?roles=&permissions=``), the credential in the headers that it
passes on. What it says of the original request counts only where the socket's peer is a trusted proxy: for anybody
else ``X-Forwarded-Method: GET`` would be a way around the proof that a cookie needs for a change.
"""

import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from limen.authn.client_certificate import CertificateCredential, foreign_page
from limen.authn.cookie import CookieSession
from limen.authn.strategy import Authenticated
from limen.core.errors import ConfigurationError, InputFault, InvalidInput, LimenError
from limen.features.forwarding.service import ForwardingService, Told
from limen.guard.requirements import Requirement
from limen.web.csrf import CsrfCheck
from limen.web.fields import values_of
from limen.web.guard.state import GuardState, state_of
from limen.web.peers import TrustedProxies
from limen.web.routes.endpoint import Routes, endpoint
from limen.web.routes.schema import BEARER, Paths, operation, parameter, text

MOST_QUERY: Final = 2048
"""Bytes of a query that are looked at."""
UNKNOWN: Final = "UNKNOWN"
"""Stands for a method that nobody who is trusted has named. It is none of those that change nothing."""

_METHOD: Final = re.compile(rb"[A-Z]{1,32}\Z")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""Envoy asks by the method of the original request, the others by GET."""
_ASKING: Final = frozenset({"GET", "HEAD"})
_FIXED: Final = ((b"cache-control", b"no-store"), (b"content-length", b"0"))
_LONGEST_PATH_TOLD: Final = 256

_log = logging.getLogger(__name__)


class _Passed(Response):
    """An empty 200 with what the service behind the gateway is told."""

    def __init__(self, told: Told) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers = [*_FIXED, *told]


def verify_routes(forwarding: ForwardingService, csrf: CsrfCheck, proxies: TrustedProxies, *, prefix: str) -> Routes:
    """Make the endpoint.

    Args:
        forwarding: says what the service is told.
        csrf: what a request with a session cookie has to show besides.
        proxies: who is believed about the original request.
        prefix: what the path begins with.
    """

    @endpoint
    async def verify(request: Request) -> Response:
        """Answer 200 and who it is, for somebody who holds one of the roles and all of the permissions."""
        scope = request.scope
        state = state_of(scope)
        requirement = requirement_of(scope["query_string"])
        try:
            _require(scope, state, requirement, csrf, proxies)
        except LimenError as error:
            _tell(scope, state, proxies, error)
            raise
        credential = state.credential
        expires_at = credential.expires_at if isinstance(credential, Authenticated) else None
        return _Passed(forwarding.told_of(state.principal, expires_at=expires_at))

    return {f"{prefix}/verify": dict.fromkeys(_METHODS, verify)}


def _require(
    scope: Scope, state: GuardState, requirement: Requirement, csrf: CsrfCheck, proxies: TrustedProxies
) -> None:
    refusal = state.refusal(requirement)
    if refusal is not None:
        raise refusal
    fault: LimenError | None = None
    if isinstance(state.credential, CookieSession):
        fault = csrf.fault(original_of(scope, proxies), state.credential)
    elif isinstance(state.credential, CertificateCredential):
        # It was judged by the gateway's GET; a browser sends its certificate along whatever a page makes it ask.
        original = original_of(scope, proxies)
        fault = csrf.reading_fault(original) if original["type"] == "websocket" else foreign_page(original)
    if fault is not None:
        raise fault


def original_of(scope: Scope, proxies: TrustedProxies) -> Mapping[str, Any]:
    """Return the request that a gateway asks about, as far as the check of forged requests has to know it.

    A handshake of a WebSocket is one, though its method is GET: a foreign page would read what the socket sends. Over
    HTTP/2 its method is CONNECT (RFC 8441, section 5); the version of the protocol is named in both.
    """
    is_socket = any(name == b"sec-websocket-version" or name == b"upgrade" for name, _ in scope["headers"])  # noqa: PLR1714
    return {**scope, "type": "websocket" if is_socket else "http", "method": original_method(scope, proxies)}


def original_method(scope: Scope, proxies: TrustedProxies) -> str:
    """Return the method that the client of a trusted gateway used; `UNKNOWN` where no such gateway says it once.

    A gateway that asks by another method than GET asks by the client's.
    """
    if proxies.trusts(scope):
        named = values_of(scope, b"x-forwarded-method")
        if len(named) == 1 and _METHOD.match(named[0]):
            return str(named[0], "ascii")
    method: str = scope["method"]
    return UNKNOWN if method in _ASKING else method


@lru_cache(maxsize=256)
def requirement_of(query: bytes) -> Requirement:
    """Return what a gateway requires: one of ``roles``, all of ``permissions``, somebody at least.

    A word that was misspelt must not open what it was to close: another parameter, one twice, an empty list or a name
    that can be none is an error. A role that does not exist is held by nobody.

    Raises:
        InvalidInput: the query is none of these.
    """
    if len(query) > MOST_QUERY:
        raise _fault("query", "too_long", f"at most {MOST_QUERY} bytes")
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace")
    named = dict(given)
    if len(named) != len(given) or not named.keys() <= {"roles", "permissions"} or (query and not given):
        raise _fault("query", "unknown", "roles and permissions, each once")
    requirement = Requirement()
    for name, value in named.items():
        make = Requirement.of_roles if name == "roles" else Requirement.of_permissions
        try:
            requirement &= make(value.split(","))
        except ConfigurationError:
            raise _fault(name, "malformed", "names separated by commas") from None
    return requirement


def _fault(name: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(errors=(InputFault(("query", name), code, message),))


def _tell(scope: Scope, state: GuardState, proxies: TrustedProxies, error: LimenError) -> None:
    """Log what was refused: where a service has no log of its own, this is the only place that knows."""
    path = b""
    if proxies.trusts(scope):
        path = next((value for name, value in scope["headers"] if name == b"x-forwarded-uri"), b"").partition(b"?")[0]
    told = path[:_LONGEST_PATH_TOLD].decode("latin-1")
    _log.info(
        "a gateway's request was refused",
        extra={
            "code": error.code,
            "method": original_method(scope, proxies),
            "path": "".join(character for character in told if character.isprintable()),
            "request_id": state.request_id,
        },
    )


def verify_paths(prefix: str) -> Paths:
    """Describe the question of a gateway."""
    names = (
        parameter("roles", text(minLength=1), description="separated by commas; one of them must be held"),
        parameter("permissions", text(minLength=1), description="separated by commas; all of them must be held"),
    )
    answer = operation("May this request pass", {200: None}, 401, 403, 422, 503, parameters=names, security=BEARER)
    return {f"{prefix}/verify": {method.lower(): answer for method in _METHODS}}
