"""A route whose doing takes others' yes: what it is asked becomes a request, and it answers 202."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from limen.core.errors import BadRequest, ConfigurationError
from limen.crypto.strict_json import JsonError, read_object
from limen.features.approvals.service import MAX_PAYLOAD, ApprovalService
from limen.guard.requirements import AUTHENTICATED
from limen.web.body import read_body, require_json
from limen.web.canonical_path import named_by, path_itself, written_in
from limen.web.guard.state import state_of
from limen.web.guard.wrapping import CONNECTION_PARAMETER, resolved_signature, wrap_endpoint
from limen.web.routes.approvals import accepted_answer

REQUEST_PARAMETER: Final = "limen_request"
"""The hidden parameter by which FastAPI hands in the request."""

Quorum: TypeAlias = int | Callable[[Mapping[str, Any]], int] | None
"""How many have to say yes: a number, or a function of the payload."""

PayloadOf: TypeAlias = Callable[[Request, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Returns the payload of a request to a route, given the request and the endpoint's arguments."""


def asking_endpoint(
    target: Any, action: str, *, quorum: Quorum, resource: str | None, payload_of: PayloadOf
) -> Callable[..., Any]:
    """Return an endpoint with the parameters of ``target`` that asks for an approval; ``target`` is never called.

    If it ran, whatever somebody writes in it would be done before anybody has said yes.

    Raises:
        ConfigurationError: it is no function.
    """
    if not inspect.isfunction(target):
        raise ConfigurationError(f"requires_approval stands above a function, not above {target!r}")
    signature, name = _with_request(resolved_signature(target))

    @functools.wraps(target)
    async def ask(*args: Any, **kwargs: Any) -> Response:
        # Starlette hands it in first; FastAPI by the name the endpoint gave it.
        request = kwargs.get(name) if not args else args[0]
        if not isinstance(request, Request):
            raise ConfigurationError(f"{target.__qualname__} was called without a request")
        state = state_of(request.scope)
        payload = await payload_of(request, kwargs)
        made = await _service_of(state.gate).request(
            state.principal,
            action,
            payload=payload,
            resource=_resource_of(request, resource, kwargs),
            quorum=quorum(payload) if callable(quorum) else quorum,
            origin=state.origin,
        )
        return accepted_answer(made, request.scope)

    vars(ask).pop("__signature__", None)
    ask.__signature__ = signature  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = wrap_endpoint(ask, AUTHENTICATED)
    return wrapped


async def body_of(request: Request, _arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body of a request, read strictly: one JSON object of 16 KiB at most; nothing is an empty one.

    Raises:
        UnsupportedMediaType, BodyTooLarge, BadRequest: it is something else.
    """
    body = await read_body(request.scope, request.receive, limit=MAX_PAYLOAD)
    if not body:
        return {}
    require_json(request.scope)
    found: Mapping[str, Any] | None = None
    with suppress(JsonError):
        found = read_object(body, limit=MAX_PAYLOAD)
    # Outside the handler: the chain of exceptions would carry the parser's, which may quote the input.
    if found is None:
        raise BadRequest("The body is not one well-formed JSON object.")
    return found


def _with_request(signature: inspect.Signature) -> tuple[inspect.Signature, str]:
    """Return the signature with a parameter for the request, and what that is called."""
    # What a decorator below has added to find out who is calling is added anew above.
    kept = [each for each in signature.parameters.values() if each.name != CONNECTION_PARAMETER]
    for each in kept:
        if inspect.isclass(each.annotation) and issubclass(each.annotation, Request):
            return signature.replace(parameters=kept), each.name
    if any(inspect.isclass(each.annotation) and issubclass(each.annotation, HTTPConnection) for each in kept):
        raise ConfigurationError("requires_approval takes a route of HTTP: write request: Request")
    hidden = inspect.Parameter(REQUEST_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    last = len(kept) - 1 if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else len(kept)
    kept.insert(last, hidden)
    return signature.replace(parameters=kept), REQUEST_PARAMETER


def _service_of(gate: object) -> ApprovalService:
    service = getattr(gate, "approvals", None)
    if not isinstance(service, ApprovalService):
        raise ConfigurationError("this gate has no approvals: they are in a database, so they take a Limen of its own")
    return service


def _resource_of(request: Request, template: str | None, arguments: Mapping[str, Any]) -> str | None:
    """Return what the request is about, by what was validated: 042 and 42 are one payout where its id is a number."""
    named = request.path_params
    converted = {name: arguments.get(name, value) for name, value in named.items()}
    if template is not None:
        return named_by(template, converted)
    if not named:
        return None
    scope = request.scope
    # Of a router that FastAPI keeps as included only the context has the whole path.
    context = scope.get("fastapi", {}).get("effective_route_context")
    found = state_of(scope).found
    routes = (context, getattr(context, "starlette_route", None), scope.get("route"), found[0] if found else None)
    return path_itself(str(scope["path"]), written_in(scope, routes), converted)
