"""The outer position of the guard: middleware that finds out who is calling, and seals the answer."""

import logging
from collections.abc import Awaitable
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.authn.cookie import SCHEME_KEY
from limen.core import telemetry
from limen.core.errors import ConfigurationError, LimenError, MethodNotAllowed, PolicyDenied
from limen.web.bounded import BoundedBodies
from limen.web.cors import Cors, origin_allowed, preflight_answer
from limen.web.front import Front
from limen.web.guard.answering import refuse
from limen.web.guard.dispatch import InnerGuard, instrument
from limen.web.guard.leaves import calls_as_known
from limen.web.guard.rules import PathRules
from limen.web.guard.sockets import UndecidedAnswerError, serve_socket
from limen.web.guard.state import GUARD_KEY, Gate, GuardState
from limen.web.guard.streams import go_on
from limen.web.headers import is_https
from limen.web.hosts import HostCheck
from limen.web.origin import new_request_id
from limen.web.peers import note_scheme
from limen.web.problems import send_problem
from limen.web.tracing import traced_requests

UNDECIDED_FROM_ROUTER = frozenset({400, 404, 405, 307, 308})
"""What a router may answer without a decision: there is no such leaf, it is spelt otherwise, or has other methods."""

LIMEN_KEY = "limen"

TRACE = "TRACE"
_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
"""What an application may have; which of them it has at a path is its own to say."""

_HARMLESS = frozenset(
    {
        b"cache-control",
        b"content-length",
        b"content-type",
        b"date",
        b"etag",
        b"last-modified",
        b"location",
        b"set-cookie",
        b"vary",
    }
)
"""Names that are no security headers: an answer with these alone, which is most, needs no closer look."""

_log = logging.getLogger("limen.guard")


class Starting(Protocol):
    """What the middleware asks of the protection it belongs to."""

    gate: Gate
    rules: PathRules
    ready: bool

    async def ensure_started(self) -> None:
        """Start, walk and test, unless that is done."""
        ...

    async def serve_lifespan(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop together with the application."""
        ...


class OuterGuard:
    """Pure ASGI middleware around a protected application.

    Args:
        app: what it stands around.
        protection: the protection it belongs to.
        inner: the position around the application's router.
    """

    def __init__(self, app: ASGIApp, *, protection: Starting, inner: InnerGuard) -> None:
        self.app = app
        self.protection = protection
        self._gate = protection.gate
        self._rules = protection.rules
        self._proxies = protection.gate.proxies or None
        self._headers = protection.gate.front.headers
        self._own = inner.own
        self._serve_http: ASGIApp = self._guarded_http
        self._serve_socket: ASGIApp = self._guarded_socket
        self._put_front(self._gate.front)
        if (tracer := telemetry.tracer()) is not None:
            self._serve_http = traced_requests(self._serve_http, tracer)

    def _put_front(self, front: Front) -> None:
        """Put in front what is asked before anybody is looked at; what is not asked costs nothing."""
        if front.bounds_bodies:
            self._serve_http = BoundedBodies(self._serve_http, front.most_body_bytes, front.body_seconds)
        if self._gate.cors.origins:
            self._serve_http = Cors(self._serve_http, self._gate.cors)
        if front.hosts is not None:
            paths = () if self._own is None else self._own.exact
            self._serve_http = HostCheck(self._serve_http, front.hosts, paths)
            self._serve_socket = HostCheck(self._serve_socket, front.hosts)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection; a function that returns what is to be awaited, which saves a frame a request."""
        if scope["type"] == "http" and self.protection.ready and GUARD_KEY not in scope and scope["method"] != TRACE:
            return self._serve_http(scope, receive, send)
        return self._serve(scope, receive, send)

    def _serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        kind = scope["type"]
        if kind == "lifespan":
            return self.protection.serve_lifespan(self.app, scope, receive, send)
        if not self.protection.ready:
            return self._start_first(scope, receive, send)
        if is_guarded_by(scope.get(GUARD_KEY), self._gate):
            return self.app(scope, receive, send)
        if kind != "http":
            return self._serve_socket(scope, receive, send)
        return (self._refuse_trace if scope["method"] == TRACE else self._serve_http)(scope, receive, send)

    async def _refuse_trace(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Refuse what would send a request back with its credentials in it (RFC 9110, section 9.3.8), on any path."""
        own = None if self._own is None else self._own.methods_at(scope)
        allow = (b"allow", (own or _METHODS).encode("ascii"))
        await send_problem(scope, send, MethodNotAllowed(), new_request_id(), headers=[allow])

    async def _guarded_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate, security = self._gate, self._headers
        scope[LIMEN_KEY] = gate
        if self._proxies is not None:
            note_scheme(scope, self._proxies)
        state = GuardState(gate, self._rules, scope["headers"], scope.get("client"), scope.get(GUARD_KEY))
        scope[GUARD_KEY] = state

        def sealed(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                if not state.decided and not _may_be_undecided(scope, state, message["status"]):
                    state.blocked = True
                    raise UndecidedAnswerError
                state.answered = True
                headers = list(message.get("headers", ()))
                kept = state.decided and not state.is_open
                for name, _ in headers:
                    if name not in _HARMLESS:
                        security.add(headers, is_https(scope), kept)
                        break
                else:
                    headers += security.sets[kept][(scope.get(SCHEME_KEY) or scope.get("scheme")) == "https"]
                return send({**message, "headers": headers})
            if state.blocked or state.ended or message.get("more_body"):
                _let_part_pass(message, state)
            return send(message)

        try:
            pending = gate.authenticate(scope, state)
            if pending is not None:
                await pending
            scope["user"] = state.principal
            await self.app(scope, receive, sealed)
        except Exception as error:
            if not await _is_settled(error, scope, sealed, state):
                raise
        if state.blocked and not state.answered:
            await self._refuse_undecided(scope, sealed, state)

    async def _guarded_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[LIMEN_KEY] = self._gate
        if self._proxies is not None:
            note_scheme(scope, self._proxies)
        state = GuardState(self._gate, self._rules, scope["headers"], scope.get("client"), scope.get(GUARD_KEY))
        scope[GUARD_KEY] = state
        try:
            pending = self._gate.authenticate(scope, state)
            if pending is not None:
                await pending
            scope["user"] = state.principal
            if not origin_allowed(scope, self._gate.cors):
                raise PolicyDenied("Pages of this origin may not open sockets here.")
            await serve_socket(self.app, scope, receive, send, state)
        except LimenError as error:
            await refuse(error, scope, send, state)
        except UndecidedAnswerError:
            await self._refuse_undecided(scope, send, state)

    async def _start_first(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start at the first request, where the server runs no lifespan: most tests of applications do so.

        Raises:
            ConfigurationError: the application is unsafe; it stays closed.
        """
        try:
            await self.protection.ensure_started()
        except LimenError as error:
            await send_problem(scope, send, error, new_request_id())
            return
        await self(scope, receive, send)

    async def _refuse_undecided(self, scope: Scope, send: Send, state: GuardState) -> None:
        _log.error(
            "an answer without a decision was blocked: middleware that answers by itself belongs outside of the guard "
            "(add it after gate.protect), anything else is a fault",
            extra={"request_id": state.request_id},
        )
        state.mark_decided()
        await send_problem(scope, send, LimenError(), state.request_id)


def put_guard_around(app: Starlette, protection: Starting) -> None:
    """Put both positions of the guard into an application.

    Raises:
        ConfigurationError: it or its router cannot be guarded.
    """
    inner = instrument(app.router)
    if not calls_as_known(app):
        raise ConfigurationError(
            f"{type(app).__name__} takes connections by code of its own (__call__ or build_middleware_stack), which "
            "would run before the guard decides; make middleware of it"
        )
    app.add_middleware(OuterGuard, protection=protection, inner=inner)
    if not {500, Exception}.intersection(app.exception_handlers):
        # What answers an unforeseen error stands outside of all middleware, and would answer without any header.
        app.exception_handlers[Exception] = _answer_unforeseen


async def _answer_unforeseen(request: Request, _error: Exception) -> Response:
    """Answer as the framework does where it is told nothing else; it raises the error again after this."""
    response = PlainTextResponse("Internal Server Error", 500)
    state = request.scope.get(GUARD_KEY)
    if isinstance(state, GuardState):
        state.gate.front.headers.add(response.raw_headers, is_https(request.scope), kept=True)
    return response


def is_guarded_by(state: GuardState | None, gate: Gate) -> bool:
    """Tell whether a request has passed the guard of this gate already."""
    while state is not None:
        if state.gate is gate:
            return True
        state = state.parent
    return False


def _let_part_pass(message: Message, state: GuardState) -> None:
    """Let a part of an answer be sent that is not just the only one.

    Raises:
        UndecidedAnswerError: the answer it belongs to was kept back.
        StreamEndedError: whoever asked for it is no longer authenticated.
    """
    if state.blocked and not state.answered:
        raise UndecidedAnswerError
    if message.get("more_body") or state.ended:
        go_on(state)


async def _is_settled(error: Exception, scope: Scope, send: Send, state: GuardState) -> bool:
    """Answer an error of limen's, and tell whether there is nothing left for the framework to do about it."""
    if isinstance(error, LimenError) and not state.ended:
        await refuse(error, scope, send, state)
        return True
    # Whatever the application makes of the end of a stream, a group of exceptions for instance, says nothing new.
    return isinstance(error, UndecidedAnswerError) or state.ended


def _may_be_undecided(scope: Scope, state: GuardState, status: int) -> bool:
    """Tell whether an answer may begin although nothing was decided.

    Once a router was reached, only what the router itself says. Before that, middleware may refuse or redirect, and an
    application's own CORS middleware may answer a preflight; content it may not serve from inside the guard.
    """
    if state.entered:
        return status in UNDECIDED_FROM_ROUTER
    return status >= 300 or preflight_answer(scope) is not None
