"""FastAPI's answer to input that does not fit, without the input: its own echoes what was sent, a password with it."""

from typing import Any

from fastapi import FastAPI
from fastapi.exception_handlers import (
    request_validation_exception_handler,
    websocket_request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from limen.core.errors import InputFault, InvalidInput

_POLICY_VIOLATION = 1008
_MOST_FAULTS = 20
"""A list of ten thousand wrong items is not answered with ten thousand sentences."""


async def answer_invalid_input(request: Request, error: Exception) -> JSONResponse:
    """Answer as problem details: an exception handler for ``RequestValidationError``.

    ``app.add_exception_handler(RequestValidationError, answer_invalid_input)`` makes an application speak like limen.

    Raises:
        InvalidInput: 422 with the field, the code and the message of each fault; the guard answers it.
    """
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    raise InvalidInput(errors=[InputFault(_place(each), each["type"], each["msg"]) for each in faults[:_MOST_FAULTS]])


def hide_input(app: object) -> None:
    """Let a FastAPI application answer 422 without the input, in the shape its clients know; its own way stands."""
    if not isinstance(app, FastAPI):
        return
    handlers: dict[Any, Any] = app.exception_handlers
    if handlers.get(RequestValidationError) is request_validation_exception_handler:
        handlers[RequestValidationError] = _without_input
    if handlers.get(WebSocketRequestValidationError) is websocket_request_validation_exception_handler:
        handlers[WebSocketRequestValidationError] = _close_without_input


async def _without_input(request: Request, error: RequestValidationError) -> JSONResponse:
    return JSONResponse({"detail": _told(error.errors())}, 422)


async def _close_without_input(websocket: WebSocket, error: WebSocketRequestValidationError) -> None:
    await websocket.close(_POLICY_VIOLATION)


def _told(faults: Any) -> list[dict[str, Any]]:
    return [{"type": each["type"], "loc": _place(each), "msg": each["msg"]} for each in faults[:_MOST_FAULTS]]


def _place(fault: Any) -> tuple[str | int, ...]:
    # The last part of an unknown field's path is the caller's own text: it may be a secret in the wrong place.
    place = tuple(fault["loc"])
    return place[:-1] if fault["type"] == "extra_forbidden" else place
