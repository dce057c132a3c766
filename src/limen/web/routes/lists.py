"""What the routes that answer lists share: what is asked for, and the shape of the answer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import InputFault, InvalidInput
from limen.core.pages import DEFAULT_PAGE, check_limit
from limen.web.routes.endpoint import json_answer

MAX_SEARCH = 320
"""Characters of a search: no name and no address is longer."""


class Asked(NamedTuple):
    """Which part of a list is asked for: at most ``limit`` items after the place ``after``."""

    limit: int
    after: str | None


class Items(msgspec.Struct):
    """A part of a list; ``next`` is the ``after`` of the part that follows, and null at the end."""

    items: Sequence[Any]
    next: str | None


def asked(request: Request) -> Asked:
    """Read ``?limit=`` (1 to 200, by default 50) and ``?after=``.

    Raises:
        InvalidInput: the limit is no number or out of range, or one of them is given twice.
    """
    text = parameter(request, "limit")
    limit = DEFAULT_PAGE
    if text is not None:
        # More digits than any limit has are not read: int() of a megabyte of them takes its time.
        limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    return Asked(check_limit(limit), parameter(request, "after"))


def parameter(request: Request, name: str) -> str | None:
    """Return a parameter of the query; None where it is absent or empty.

    Raises:
        InvalidInput: it is given twice (which of them counts is a guess), too long, or holds what no text has.
    """
    values = request.query_params.getlist(name)
    if not values or values == [""]:
        return None
    if len(values) > 1 or len(values[0]) > MAX_SEARCH or not values[0].isprintable():
        message = "Give it once, as plain text."
        raise InvalidInput(errors=[InputFault(("query", name), "invalid_value", message)])
    return values[0]


def list_answer(items: Sequence[msgspec.Struct], following: str | None) -> Response:
    """Answer a part of a list."""
    return json_answer(Items(items, following))


def rfc3339(milliseconds: int) -> str:
    """Write a time, milliseconds since 1970 UTC, as RFC 3339 in UTC with whole seconds."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
