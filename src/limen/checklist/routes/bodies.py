"""Whether a route reads the body itself, past what FastAPI would check: in its handler, or in what that hands it to."""

import ast
import inspect
import re
import types
from typing import Any, Final

from starlette.requests import Request

from limen.checklist.routes.code import MISSING, body_of, function_of, hints_of, node_of, resolved
from limen.checklist.routes.libraries import is_closed_book
from limen.checklist.routes.verdicts import owner_of
from limen.checklist.syntax import unparsed

_DEEPEST: Final = 2
_READS: Final = frozenset({"json", "form"})
_REQUESTS: Final = frozenset({"request", "req"})
_VALIDATES: Final = re.compile(
    r"\b(model_validate(_json)?|parse_obj|parse_raw|validate_(python|json|model)|TypeAdapter|msgspec|structure)\b"
)
_LOADS: Final = re.compile(r"\bloads?\(")
_BYTES: Final = re.compile(r"\b(request|req)\.(body|stream)\(")


def reads_body(call: object) -> bool:
    """Tell whether the code of a function reads JSON or a form out of the request, and hands it to no model."""
    function = function_of(inspect.unwrap(call) if callable(call) else call)
    if function is None or is_closed_book(function):
        return False
    seen = _seen(function, owner_of(call))
    return seen.reads and not seen.validates


class _Seen:
    """What was seen in a function, and in those that it hands the request to."""

    reads = False
    validates = False


_known: dict[tuple[int, int], tuple[_Seen, object]] = {}


def _seen(function: types.FunctionType, owner: object) -> _Seen:
    key = (id(function), id(owner))
    if key not in _known:
        seen = _Seen()
        _look(function, owner, seen, 0)
        _known[key] = (seen, (function, owner))
    return _known[key][0]


def _look(function: types.FunctionType, owner: object, seen: _Seen, depth: int) -> None:
    node = node_of(function)
    if node is None:
        return
    calls = [each for each in body_of(node) if isinstance(each, ast.Call)]
    requests = _requests(function)
    text = unparsed(node)
    seen.reads = seen.reads or any(_is_read(each, requests) for each in calls)
    seen.reads = seen.reads or bool(_BYTES.search(text) and _LOADS.search(text))
    seen.validates = seen.validates or bool(_VALIDATES.search(text))
    for each in calls:
        if any(one.arg is None for one in each.keywords):
            seen.validates = seen.validates or hasattr(resolved(each.func, function, owner), "model_fields")
        given = [*each.args, *(one.value for one in each.keywords)]
        if depth < _DEEPEST and any(isinstance(one, ast.Name) and one.id in requests for one in given):
            _follow(each, function, owner, seen, depth)


def _follow(call: ast.Call, function: types.FunctionType, owner: object, seen: _Seen, depth: int) -> None:
    callee = resolved(call.func, function, owner)
    inner = None if callee is MISSING or inspect.isclass(callee) else function_of(inspect.unwrap(callee))
    if inner is None or inner is function or is_closed_book(inner):
        return
    base: Any = MISSING
    if isinstance(call.func, ast.Attribute) and isinstance(callee, types.FunctionType):
        base = resolved(call.func.value, function, owner)
    _look(inner, None if base is MISSING or inspect.ismodule(base) else base, seen, depth + 1)


def _requests(function: types.FunctionType) -> frozenset[str]:
    hinted = [name for name, hint in hints_of(function).items() if inspect.isclass(hint) and issubclass(hint, Request)]
    return _REQUESTS | frozenset(hinted)


def _is_read(call: ast.Call, requests: frozenset[str]) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _READS:
        return False
    return isinstance(call.func.value, ast.Name) and call.func.value.id in requests
