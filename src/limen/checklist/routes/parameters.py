"""What FastAPI hands to a function by name, for a request that shows nothing, or something nobody has verified."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.values import IDENTITY, ORDINARY_HEADERS, Instance, Sign

_CREDENTIAL: Final = re.compile(r"token|api_?key|secret|signature|authorization|session", re.IGNORECASE)

ValueOf = Callable[[Any, bool], Any]
"""Returns what a node of the tree of dependencies hands on, for a request that shows something or nothing."""


def handed_to(dependant: Any, value_of: ValueOf, *, shown: bool) -> dict[str, Any]:
    """Return the parameters of a function that say something of who is calling.

    Args:
        dependant: FastAPI's node of the function.
        value_of: tells what its dependencies hand on.
        shown: the request shows a credential.
    """
    found = {}
    for node in dependant.dependencies:
        if node.name:
            value = value_of(node, shown)
            if value is not MISSING:
                found[node.name] = value
    for field, is_credential in fields_of(dependant):
        if is_credential:
            info = field.field_info
            is_asked = info.is_required()
            if is_asked or info.default in (None, ""):
                found[field.name] = Sign.GIVEN if shown or is_asked else Sign.ABSENT
            elif isinstance(info.default, str):
                found[field.name] = Sign.GIVEN if shown else info.default
    for field in dependant.query_params:
        if isinstance(field.field_info.default, bool):
            found[field.name] = Sign.PLACE  # whoever asks says so
    for name, kind in (
        (dependant.request_param_name, "Request"),
        (dependant.websocket_param_name, "WebSocket"),
        (dependant.http_connection_param_name, "HTTPConnection"),
    ):
        if name:
            found[name] = _connection(kind)
    return found


def shows_who(parameters: dict[str, Any]) -> bool:
    """Tell whether a function is handed anything by which it could tell who is calling."""
    return any(isinstance(each, Sign | Instance) for each in parameters.values())


def has_cookie(dependant: Any) -> bool:
    """Tell whether a function is handed a credential out of a cookie."""
    return any(IDENTITY.search(field.alias) for field in dependant.cookie_params)


def fields_of(dependant: Any) -> Iterator[tuple[Any, bool]]:
    """Yield what a function is handed out of headers, cookies and the query, and whether it reads as a credential."""
    for field in dependant.header_params:
        alias = field.alias.lower().replace("_", "-")
        yield field, alias not in ORDINARY_HEADERS and bool(IDENTITY.search(alias.replace("-", "_")))
    for field in dependant.cookie_params:
        yield field, bool(IDENTITY.search(field.alias))
    for field in dependant.query_params:
        yield field, bool(_CREDENTIAL.search(field.alias))


def _connection(kind: str) -> Instance:
    from starlette.requests import HTTPConnection, Request
    from starlette.websockets import WebSocket

    return Instance({"Request": Request, "WebSocket": WebSocket}.get(kind, HTTPConnection))
