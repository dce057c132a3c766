"""Request bodies of limen's own routes: bounded in bytes and in time, and read by the strict JSON reader.

The time is asyncio's: like limen's storage, these routes need its event loop.
"""

import asyncio
import re
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Receive, Scope

from limen.core.errors import BadRequest, BodyTooLarge, InvalidInput, UnsupportedMediaType
from limen.crypto.strict_json import JsonError, read_struct
from limen.web.fields import values_of

MAX_BYTES: Final = 65_536
MAX_SECONDS: Final = 30.0

_JSON: Final = re.compile(
    rb'application/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|"utf-8")[ \t]*)?\Z', re.IGNORECASE
)
_FORM: Final = b"application/x-www-form-urlencoded"

T = TypeVar("T", bound=msgspec.Struct)


def is_form(scope: Scope) -> bool:
    """Tell whether the body is a form, as a page sends it, by its one Content-Type."""
    types = values_of(scope, b"content-type")
    return len(types) == 1 and types[0].partition(b";")[0].strip().lower() == _FORM


async def read_body(scope: Scope, receive: Receive, *, limit: int = MAX_BYTES, seconds: float = MAX_SECONDS) -> bytes:
    """Return the whole body of an HTTP request.

    Args:
        scope: the request; a Content-Length over the limit is refused before anything is read.
        receive: where the body comes from.
        limit: the most bytes accepted; no more than that and one message of the server's is ever held.
        seconds: how long the whole body may take: a client that sends a byte now and then holds a connection, and what
            hangs on it, for as long as it likes.

    Raises:
        BodyTooLarge: there are more bytes than the limit.
        BadRequest: the client went away, was too slow, or announced a length that is no number.
    """
    announced = values_of(scope, b"content-length")
    if announced:
        if len(announced) != 1 or not announced[0].isdigit():
            raise BadRequest("The Content-Length is not a number.")
        if len(announced[0]) > 18 or int(announced[0]) > limit:
            raise BodyTooLarge
    reading = _read(receive, limit)
    # Nearly every body is there when it is asked for. Begun by hand, its reading then ends at once, and no timer is
    # needed: one costs more than the reading.
    try:
        awaited = reading.send(None)
    except StopIteration as end:
        return bytes(end.value)
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await _go_on(reading, awaited)
    except TimeoutError:
        if not deadline.expired():
            raise
    raise BadRequest("The body did not arrive in time.")


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise BadRequest("The connection was closed before the whole body had arrived.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


@coroutine
def _go_on(begun: Coroutine[Any, Any, bytes], awaited: Any) -> Generator[Any, Any, bytes]:
    """Await a coroutine that was begun by hand and now waits for this; a cancellation reaches it where it waits."""
    try:
        while True:
            try:
                sent = yield awaited
            except BaseException as error:
                awaited = begun.throw(error)
            else:
                awaited = begun.send(sent)
    except StopIteration as end:
        return bytes(end.value)


def require_json(scope: Scope) -> None:
    """Refuse a request whose body is not said to be plain JSON in UTF-8.

    Raises UnsupportedMediaType unless there is one Content-Type, ``application/json`` with no parameter but
    ``charset=utf-8``, and no Content-Encoding: a page of another site can send text/plain without a preflight, and
    nothing here unpacks what may be a bomb.
    """
    types = values_of(scope, b"content-type")
    if len(types) != 1 or not _JSON.match(types[0].strip()):
        raise UnsupportedMediaType
    if any(value.strip().lower() != b"identity" for value in values_of(scope, b"content-encoding")):
        raise UnsupportedMediaType("A body with a Content-Encoding is not accepted.")


async def read_json(
    scope: Scope, receive: Receive, struct: type[T], *, limit: int = MAX_BYTES, seconds: float = MAX_SECONDS
) -> T:
    """Return the JSON body of a request as a value of the given msgspec Struct.

    Raises:
        UnsupportedMediaType: see `require_json`.
        BodyTooLarge, BadRequest: see `read_body`; BadRequest also where the body is not one well-formed JSON object.
        InvalidInput: fields are missing, unknown or of another type; `errors` says which, never what was sent.
    """
    require_json(scope)
    return _as_struct(await read_body(scope, receive, limit=limit, seconds=seconds), struct, limit)


async def read_optional_json(
    scope: Scope, receive: Receive, struct: type[T], *, limit: int = MAX_BYTES, seconds: float = MAX_SECONDS
) -> T | None:
    """Return the JSON body as `read_json` does, or None where the body is empty, whatever its type is said to be."""
    body = await read_body(scope, receive, limit=limit, seconds=seconds)
    if not body:
        return None
    require_json(scope)
    return _as_struct(body, struct, limit)


def _as_struct(body: bytes, struct: type[T], limit: int) -> T:
    try:
        return read_struct(body, struct, limit=limit)
    except JsonError as error:
        reason, faults = error.reason, error.faults
    # Outside the handler: the chain of exceptions would carry the parser's, which may quote the input.
    if faults:
        raise InvalidInput(errors=faults)
    raise BadRequest(_SENTENCES.get(reason, _SENTENCES["syntax"]))


_SENTENCES: Final = {
    "syntax": "The body is not well-formed JSON.",
    "encoding": "The body is not plain UTF-8.",
    "duplicate_name": "A name is given twice in one object.",
    "number": "A number in the body is not one that JSON has, or has too many digits.",
    "string": "A text in the body holds NUL or half of a surrogate pair.",
    "too_deep": "The body is nested too deeply.",
    "not_an_object": "The body is not a JSON object.",
}
