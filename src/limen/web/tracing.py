"""The spans of a request: the request itself, who is calling, and whether they may."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.authn.strategy import Attribute, Attribution
from limen.core.telemetry import Span, Tracer
from limen.web.measuring import ROUTE_KEY

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Others are told as ``_OTHER``: a caller does not choose the names of spans."""

Decide = Callable[..., None]


def traced_requests(app: ASGIApp, tracer: Tracer) -> ASGIApp:
    """Return an application whose requests of HTTP are spans, unless whoever stands around has begun one."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        around = tracer.request(scope)
        if around is None:
            await app(scope, receive, send)
            return
        with around as span:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_answer(span, message["status"])
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                _note_route(span, scope)

    return serve


def _note_answer(span: Span, status: int) -> None:
    span.note(http_response_status__code=status)
    if status >= 500:
        span.note(error_type=str(status))


def _note_route(span: Span, scope: Scope) -> None:
    # As it was declared: what stood in the address is the caller's.
    route = scope.get(ROUTE_KEY) or getattr(scope.get("route"), "path", None)
    if isinstance(route, str) and route:
        span.note(http_route=route)
        span.rename(f"{method_of(scope)} {route}")


def traced_attribution(attribute: Attribute, tracer: Tracer) -> Attribute:
    """Return what finds out who is calling, within a span that says by what kind of credential, and how it ended."""

    async def within(scope: Mapping[str, Any], state: Attribution) -> None:
        with tracer.step("limen.authenticate") as span:
            pending = attribute(scope, state)
            if pending is not None:
                await pending
            if state.rejection is not None:
                span.note(limen_outcome="rejected", limen_code=state.rejection.code)
            elif state.credential is None:
                span.note(limen_outcome="none")
            else:
                kind = type(state.credential).__name__.removesuffix("Credential").lower()
                span.note(limen_outcome="authenticated", limen_credential=kind)
                span.note(limen_principal_kind=state.principal.kind.value)

    return within


def traced_decision(decide: Decide, tracer: Tracer, first: type[Exception]) -> Decide:
    """Return what decides a leaf, within a span that says which leaf and what came of it.

    Args:
        decide: raises a refusal, or ``first``.
        tracer: makes spans.
        first: raised where something has to be asked first; it is decided once more then.
    """

    def within(state: Any, leaf: Any, scope: Scope) -> None:
        with tracer.step("limen.decide", code_function_name=_name_of(leaf.endpoint)) as span:
            try:
                decide(state, leaf, scope)
            except first:
                span.note(limen_effect="ask_first")
                raise
            except Exception:
                span.note(limen_effect="denied")
                raise
            span.note(limen_effect="allowed")

    return within


def _name_of(endpoint: object) -> str:
    kind = endpoint if hasattr(endpoint, "__qualname__") else type(endpoint)
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"


def method_of(scope: Mapping[str, Any]) -> str:
    """Return the method of a request as spans name it."""
    method = str(scope.get("method", ""))
    return method if method in METHODS else "_OTHER"


def carrier_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers in which a trace is handed on (W3C Trace Context), bounded, and none but these."""
    wanted = {b"traceparent": 128, b"tracestate": 512}
    return {
        name.decode("ascii"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in wanted and len(value) <= wanted[name]
    }
